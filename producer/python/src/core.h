/* core.h: what the types of the module share, kept once for each interpreter that imports it. */
#ifndef BLOTTER_PYTHON_CORE_H
#define BLOTTER_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "keys.h"

struct core {
    PyObject *full;          /* the exception blotter.Full */
    PyObject *wakeup_type;   /* see wakeup.h */
    PyObject *producer_type; /* see producer_type.c */
    PyObject *decimal_type;  /* decimal.Decimal */
    struct key_table keys[RECORD_KINDS];
};

/* The module's definition, by which a type finds its module. module.c adds the slots. */
extern struct PyModuleDef core_definition;

/* Finds the state of the module that made the type; NULL with an exception set. */
struct core *core_of_type(PyTypeObject *type);

#endif
