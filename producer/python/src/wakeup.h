/* wakeup.h: the type that wakes an event loop: an eventfd that libblotter, or a ring of events,
 * writes to.
 *
 * It withdraws the descriptor before it closes it, because the next file may get the same number.
 * That needs no Python code and no weak reference: where the loop itself is garbage, the
 * interpreter has cleared all weak references already. */
#ifndef BLOTTER_PYTHON_WAKEUP_H
#define BLOTTER_PYTHON_WAKEUP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <blotter.h>
#include <stdbool.h>

#include "event_ring.h"

/* Makes one for a producer that is open; if it listens, it has the ring's events too. Returns NULL
 * with an exception set. */
PyObject *wakeup_create(PyTypeObject *, blotter_producer *, struct event_ring *, bool listens);

extern PyType_Spec wakeup_spec;

#endif
