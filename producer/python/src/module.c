/* module.c: blotter._core, the part of the package that is written in C. */
#include "core.h"
#include "events.h"
#include "value.h"

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
    core->decimal_type = module ? PyObject_GetAttrString(module, "Decimal") : NULL;
    Py_XDECREF(module);
    if (core->decimal_type != NULL && !PyType_Check(core->decimal_type)) {
        PyErr_SetString(PyExc_ImportError, "decimal.Decimal is no type");
        return -1;
    }
    return core->decimal_type != NULL ? 0 : -1;
}

static int add_types(PyObject *module, struct core *core)
{
    core->stats_type = stats_type_create();
    if (core->stats_type == NULL || PyModule_AddObjectRef(module, "Stats", core->stats_type) != 0) {
        return -1;
    }
    core->event_type = event_type_create();
    if (core->event_type == NULL || PyModule_AddObjectRef(module, "Event", core->event_type) != 0) {
        return -1;
    }
    core->wakeup_type = PyType_FromModuleAndSpec(module, &wakeup_spec, NULL);
    return core->wakeup_type != NULL ? 0 : -1;
}

static int add_producer(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &producer_spec, NULL);
    int status = type != NULL ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return status;
}

static int add_names(PyObject *module, const char *name, enum record_kind kind)
{
    PyObject *names = key_field_names(kind);
    int status = names != NULL ? PyModule_AddObjectRef(module, name, names) : -1;
    Py_XDECREF(names);
    return status;
}

static int core_exec(PyObject *module)
{
    struct core *core = PyModule_GetState(module);
    if (value_import() != 0 || import_decimal(core) != 0 || add_exceptions(module, core) != 0) {
        return -1;
    }
    if (key_table_init(&core->keys[RECORD_ORDER], RECORD_ORDER) != 0 ||
        key_table_init(&core->keys[RECORD_TRADE], RECORD_TRADE) != 0) {
        return -1;
    }
    if (add_types(module, core) != 0) {
        return -1;
    }
    if (add_names(module, "ORDER_FIELDS", RECORD_ORDER) != 0 ||
        add_names(module, "TRADE_FIELDS", RECORD_TRADE) != 0) {
        return -1;
    }
    if (PyModule_AddIntConstant(module, "SENT", BLOTTER_SENT) != 0 ||
        PyModule_AddIntConstant(module, "COMMITTED", BLOTTER_COMMITTED) != 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "__version__", BLOTTER_VERSION) != 0
               ? -1
               : add_producer(module);
}

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct core *core = PyModule_GetState(module);
    Py_VISIT(core->full);
    Py_VISIT(core->stats_type);
    Py_VISIT(core->event_type);
    Py_VISIT(core->wakeup_type);
    Py_VISIT(core->decimal_type);
    int status = key_table_traverse(&core->keys[RECORD_ORDER], visit, arg);
    return status ? status : key_table_traverse(&core->keys[RECORD_TRADE], visit, arg);
}

static int core_clear(PyObject *module)
{
    struct core *core = PyModule_GetState(module);
    Py_CLEAR(core->full);
    Py_CLEAR(core->stats_type);
    Py_CLEAR(core->event_type);
    Py_CLEAR(core->wakeup_type);
    Py_CLEAR(core->decimal_type);
    key_table_release(&core->keys[RECORD_ORDER]);
    key_table_release(&core->keys[RECORD_TRADE]);
    return 0;
}

static void core_free(void *module)
{
    core_clear(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, core_exec}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "blotter._core",
    .m_doc = "The part of blotter that is written in C.",
    .m_size = sizeof(struct core),
    .m_slots = slots,
    .m_traverse = core_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

struct PyModuleDef *core_definition(void)
{
    return &definition;
}

PyMODINIT_FUNC PyInit__core(void); /* the interpreter's to call */

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
