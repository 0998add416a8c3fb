/* wakeup.h: the type of what wakes an event loop: an eventfd that libblotter, or a ring of events,
 * writes to.
 *
 * It withdraws the descriptor before it closes it, as one that is closed may be anybody's next. No
 * Python code and no weak reference has a part in that: where the loop itself is garbage, the
 * interpreter has cleared all weak references already. */
#ifndef BLOTTER_PYTHON_WAKEUP_H
#define BLOTTER_PYTHON_WAKEUP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <blotter.h>
#include <stdbool.h>

#include "event_ring.h"

/* For a producer that is open; listens: it has the ring's events, too. NULL: an exception is
 * raised. */
PyObject *wakeup_create(PyTypeObject *, blotter_producer *, struct event_ring *, bool listens);

#endif
