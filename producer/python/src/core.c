/* core.c: see core.h. */
#include "core.h"

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct core *core = PyModule_GetState(module);
    Py_VISIT(core->full);
    Py_VISIT(core->wakeup_type);
    Py_VISIT(core->producer_type);
    Py_VISIT(core->decimal_type);
    return 0; /* the keys are plain strings, which refer to nothing */
}

static int core_clear(PyObject *module)
{
    struct core *core = PyModule_GetState(module);
    Py_CLEAR(core->full);
    Py_CLEAR(core->wakeup_type);
    Py_CLEAR(core->producer_type);
    Py_CLEAR(core->decimal_type);
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        key_table_release(&core->keys[kind]);
    }
    return 0;
}

static void core_free(void *module)
{
    core_clear(module);
}

struct PyModuleDef core_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "blotter._core",
    .m_doc = "The part of blotter that is written in C.",
    .m_size = sizeof(struct core),
    .m_traverse = core_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

struct core *core_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &core_definition);
    return module != NULL ? PyModule_GetState(module) : NULL;
}
