/* module.c: puts the module blotter._core together. */
#include <string.h>

#include "producer.h"
#include "value.h"
#include "wakeup.h"

static int add_exceptions(PyObject *module, struct core *core)
{
    core->full = PyErr_NewExceptionWithDoc(
        "blotter.Full",
        "The journal is full: nothing was recorded, and it is counted in stats().full.\n\n"
        "Sending, or loading, has been down for longer than the journal holds. The strategy\n"
        "decides: go on without a record, or stop trading.",
        PyExc_BufferError, NULL);
    return core->full != NULL ? PyModule_AddObjectRef(module, "Full", core->full) : -1;
}

static int import_decimal(struct core *core)
{
    PyObject *module = PyImport_ImportModule("decimal");
    core->decimal_type = module != NULL ? PyObject_GetAttrString(module, "Decimal") : NULL;
    Py_XDECREF(module);
    if (core->decimal_type != NULL && !PyType_Check(core->decimal_type)) {
        PyErr_SetString(PyExc_ImportError, "decimal.Decimal is not a type");
        return -1;
    }
    return core->decimal_type != NULL ? 0 : -1;
}

static PyObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) != 0) {
        Py_CLEAR(type);
    }
    return type;
}

static int add_types(PyObject *module, struct core *core)
{
    core->wakeup_type = add_type(module, &wakeup_spec);
    core->producer_type = core->wakeup_type != NULL ? add_type(module, &producer_spec) : NULL;
    PyObject *book = core->producer_type != NULL ? add_type(module, &book_spec) : NULL;
    Py_XDECREF(book);
    return book != NULL ? 0 : -1;
}

/* Adds FIELDS, the names of the fields by kind, and CCXT_NAMES, the field by ccxt's name by kind.
 */
static int add_names(PyObject *module, const char *name, const struct core *core,
                     PyObject *(*names_of)(const struct key_table *))
{
    PyObject *all = PyDict_New();
    for (int kind = 0; all != NULL && kind < RECORD_KINDS; kind++) {
        PyObject *names = kind != RECORD_SESSION ? names_of(&core->keys[kind]) : Py_NewRef(Py_None);
        if (names == NULL || (names != Py_None &&
                              PyDict_SetItemString(all, record_schemas[kind].name, names) != 0)) {
            Py_CLEAR(all);
        }
        Py_XDECREF(names);
    }
    int status = all != NULL ? PyModule_AddObjectRef(module, name, all) : -1;
    Py_XDECREF(all);
    return status;
}

static int add_constants(PyObject *module, const struct core *core)
{
    return add_names(module, "FIELDS", core, key_field_names) |
           add_names(module, "CCXT_NAMES", core, key_ccxt_names) |
           PyModule_AddIntConstant(module, "SENT", BLOTTER_SENT) |
           PyModule_AddIntConstant(module, "COMMITTED", BLOTTER_COMMITTED) |
           PyModule_AddStringConstant(module, "__version__", BLOTTER_VERSION);
}

static int module_exec(PyObject *module)
{
    struct core *core = PyModule_GetState(module);
    if (value_import() != 0 || import_decimal(core) != 0 || add_exceptions(module, core) != 0) {
        return -1;
    }
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        if (key_table_init(&core->keys[kind], (enum record_kind)kind) != 0) {
            return -1;
        }
    }
    return add_types(module, core) == 0 ? add_constants(module, core) : -1;
}

/* --- functions --- */

/* Writes any object as JSON text, as a record's `extra` is written. */
static PyObject *module_json_text(PyObject *module, PyObject *dict)
{
    struct value_context context = {.decimal_type =
                                        ((struct core *)PyModule_GetState(module))->decimal_type};
    struct json json;
    PyObject *text = NULL;
    arena_init(&context.arena);
    json_init(&json, &context);
    if (json_add_all(&json, dict) == TAKEN) {
        const char *bytes = json_end(&json);
        text = PyUnicode_FromString(bytes != NULL ? bytes : "{}");
    } else if (PyErr_Occurred() == NULL) {
        PyErr_SetString(context.problem_type, context.problem);
    }
    json_release(&json);
    arena_release(&context.arena);
    return text;
}

static PyMethodDef functions[] = {
    {"json_text", module_json_text, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

PyMODINIT_FUNC PyInit__core(void); /* for the interpreter */

PyMODINIT_FUNC PyInit__core(void)
{
    core_definition.m_slots = slots;
    core_definition.m_methods = functions;
    return PyModuleDef_Init(&core_definition);
}
