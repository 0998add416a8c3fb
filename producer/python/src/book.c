/* book.c: the type _core.Book: a producer with constants, which are checked and encoded once. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "producer.h"

struct book {
    PyObject_HEAD struct producer *producer; /* NULL: not initialised */
    struct recorder recorders[RECORD_KINDS];
};

static int book_init(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"producer", "constants", NULL};
    struct book *self = (struct book *)object;
    struct producer *producer;
    PyObject *constants;
    struct core *core = core_of_type(Py_TYPE(object));
    if (core == NULL || !PyArg_ParseTupleAndKeywords(args, keywords, "O!O!:Book", names,
                                                     (PyTypeObject *)core->producer_type, &producer,
                                                     &PyDict_Type, &constants)) {
        return -1;
    }
    if (self->producer != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the binding has been made already");
        return -1;
    }
    if (producer->closed) {
        producer_raise(producer, BLOTTER_CLOSED);
        return -1;
    }
    if (!producer_is_open(producer)) {
        return -1;
    }
    self->producer = (struct producer *)Py_NewRef(producer);
    return recorders_bind(self->recorders, self->producer, constants);
}

static int book_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct book *)object)->producer);
    return 0;
}

static void book_dealloc(PyObject *object)
{
    struct book *self = (struct book *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    recorders_release(self->recorders);
    Py_CLEAR(self->producer);
    type->tp_free(object);
    Py_DECREF(type);
}

static bool is_made(const struct book *self)
{
    if (self->producer == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the binding has no producer");
    }
    return self->producer != NULL;
}

static PyObject *book_record(PyObject *object, enum record_kind kind, PyObject *const *args,
                             Py_ssize_t count, PyObject *names)
{
    struct book *self = (struct book *)object;
    return is_made(self) ? record_call(self->producer, self->recorders, object, kind, args,
                                       PyVectorcall_NARGS((size_t)count), names)
                         : NULL;
}

static PyObject *book_order(PyObject *self, PyObject *const *args, Py_ssize_t count,
                            PyObject *names)
{
    return book_record(self, RECORD_ORDER, args, count, names);
}

static PyObject *book_trade(PyObject *self, PyObject *const *args, Py_ssize_t count,
                            PyObject *names)
{
    return book_record(self, RECORD_TRADE, args, count, names);
}

static PyObject *book_object(PyObject *object, PyObject *args)
{
    struct book *self = (struct book *)object;
    return is_made(self) ? record_arguments(self->producer, self->recorders, object, args) : NULL;
}

#define RECORD(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
static PyMethodDef methods[] = {
    {"order", RECORD(book_order),
     "order(info=None, /, **fields)\n--\n\nRecord an order, as Producer.order() does."},
    {"trade", RECORD(book_trade),
     "trade(info=None, /, **fields)\n--\n\nRecord a trade, as Producer.trade() does."},
    {"_record_object", book_object, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"producer", T_OBJECT, offsetof(struct book, producer), READONLY,
     "the producer it records with"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_init, book_init},
    {Py_tp_traverse, book_traverse},
    {Py_tp_dealloc, book_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_doc, "A producer with constants: account, strategy, symbol ..."},
    {0, NULL},
};

PyType_Spec book_spec = {
    .name = "blotter._core.Book",
    .basicsize = sizeof(struct book),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
