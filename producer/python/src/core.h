/* core.h: what the parts of the module share, for each interpreter that has imported it. */
#ifndef BLOTTER_PYTHON_CORE_H
#define BLOTTER_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "keys.h"

struct core {
    PyObject *full;         /* the exception */
    PyObject *stats_type;   /* what stats() returns */
    PyObject *event_type;   /* of what events() returns a list */
    PyObject *wakeup_type;  /* see wakeup.h */
    PyObject *decimal_type; /* decimal.Decimal */
    struct key_table keys[RECORD_KINDS];
};

/* By which a type finds its module. */
struct PyModuleDef *core_definition(void);

extern PyType_Spec producer_spec, wakeup_spec;

/* The type of what stats() returns; NULL: an exception is raised. */
PyObject *stats_type_create(void);

#endif
