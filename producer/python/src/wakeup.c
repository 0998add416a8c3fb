/* wakeup.c: see wakeup.h. It does not hold its producer: the handle of a closed one stays valid. */
#include "wakeup.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "events.h"
#include "producer.h"

struct wakeup {
    PyObject_HEAD blotter_producer *producer;
    struct event_ring *events; /* NULL: it does not listen */
    pid_t process;
    int fd;
};

PyObject *wakeup_create(PyTypeObject *type, blotter_producer *producer, struct event_ring *events,
                        bool listens)
{
    struct wakeup *self = (struct wakeup *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->producer = producer;
    self->process = getpid();
    self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_CLEAR(self);
    } else if (listens && event_ring_listen(events, self->fd) != 0) {
        PyErr_NoMemory();
        Py_CLEAR(self);
    } else if (listens) {
        self->events = event_ring_share(events);
    }
    return (PyObject *)self;
}

/* Withdraws the descriptor. In a forked child neither the library nor the ring may be called. */
static void withdraw(const struct wakeup *self)
{
    if (self->process != getpid()) {
        return;
    }
    blotter_notify(self->producer, self->fd, BLOTTER_SENT, 0);
    blotter_notify(self->producer, self->fd, BLOTTER_COMMITTED, 0);
    if (self->events != NULL) {
        event_ring_unlisten(self->events, self->fd);
    }
}

static void wakeup_dealloc(PyObject *object)
{
    struct wakeup *self = (struct wakeup *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->fd >= 0) {
        withdraw(self);
        close(self->fd);
    }
    event_ring_release(self->events);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Tells whether it has been written to since the last time. */
static PyObject *wakeup_reset(PyObject *object, PyObject *unused)
{
    (void)unused;
    uint64_t times;
    return PyBool_FromLong(read(((struct wakeup *)object)->fd, &times, sizeof times) ==
                           sizeof times);
}

/* Returns the events that it has not had, or None: it is closed, and there will be no more. */
static PyObject *wakeup_heard(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct wakeup *self = (struct wakeup *)object;
    if (self->events == NULL || !event_ring_is_ours(self->events)) {
        PyErr_SetString(PyExc_RuntimeError, self->events != NULL
                                                ? blotter_status_text(BLOTTER_FORKED)
                                                : "it does not listen");
        return NULL;
    }
    bool closed =
        event_ring_is_closed(self->events); /* before looking, so that the last events are taken */
    PyObject *events = events_take(self->events, self->fd);
    if (events && closed && PyList_GET_SIZE(events) == 0) {
        Py_SETREF(events, Py_NewRef(Py_None));
    }
    return events;
}

static PyMethodDef methods[] = {
    {"reset", wakeup_reset, METH_NOARGS, NULL},
    {"heard", wakeup_heard, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"fd", T_INT, offsetof(struct wakeup, fd), READONLY, "the descriptor, which belongs to it"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, wakeup_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec wakeup_spec = {
    .name = "blotter._core.Wakeup",
    .basicsize = sizeof(struct wakeup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
