/* events.h: turns the events of a ring into Python objects. */
#ifndef BLOTTER_PYTHON_EVENTS_H
#define BLOTTER_PYTHON_EVENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "event_ring.h"

/* Returns what a listener has not had yet as a list of tuples (name, text, at_ns, missed); NULL
 * with an exception set. */
PyObject *events_take(struct event_ring *, int fd);

#endif
