/* events.h: what a ring of events is for Python: blotter.Event, and lists of it. */
#ifndef BLOTTER_PYTHON_EVENTS_H
#define BLOTTER_PYTHON_EVENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "event_ring.h"

/* The type; NULL: an exception is raised. */
PyObject *event_type_create(void);

/* What a listener has not had yet, as a list of that type; NULL: an exception is raised. */
PyObject *events_take(struct event_ring *, int fd, PyTypeObject *event_type);

#endif
