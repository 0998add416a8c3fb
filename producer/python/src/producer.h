/* producer.h: the object of type _core.Producer, and recording with it or with a binding of it. */
#ifndef BLOTTER_PYTHON_PRODUCER_H
#define BLOTTER_PYTHON_PRODUCER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <blotter.h>
#include <stdbool.h>

#include "core.h"
#include "draft.h"
#include "event_ring.h"

/* The common part of one kind's records: the constants of a binding, and the last dict's keys. */
struct recorder {
    PyObject *held;          /* a dict that keeps the constants' texts; NULL: there are none */
    struct draft *constants; /* NULL: there are none */
    blotter_binding *bound;
    struct key_memory memory;
};

struct producer {
    PyObject_HEAD blotter_producer *handle; /* NULL: never opened */
    struct core *core;                      /* of the module, which the type keeps alive */
    struct event_ring *events;              /* NULL: without a sender */
    PyObject *exchange;
    PyObject *defaults; /* dict: constants of all records */
    struct recorder recorders[RECORD_KINDS];
    PyObject *tape;       /* list: records are kept in it, and there is no handle; see stored.h */
    size_t slot_capacity; /* of the tape: bytes of a record */
    int64_t misplaced; /* values that were kept in `extra` because their field cannot take them */
    int64_t refused;   /* calls that recorded nothing */
    char take_info, closed, rejects;
};

/* Checks and encodes constants for all kinds that have such fields. Returns -1 with an exception
 * set. */
int recorders_bind(struct recorder *, const struct producer *, PyObject *constants);
void recorders_release(struct recorder *);

/* Records the arguments of a call and returns its seq; NULL with an exception set. `object` is the
 * producer or the binding that was called. */
PyObject *record_call(struct producer *, struct recorder *, PyObject *object, enum record_kind,
                      PyObject *const *args, Py_ssize_t count, PyObject *names);

/* Does the same of what is more than a dict of fields, as schema/json_lines.h reads it: together or
 * not at all; returns the first seq. info: a mapping, None, or a list of mappings, of positions.
 * precision_mode: ccxt's, or 0. */
PyObject *record_object(struct producer *, struct recorder *, PyObject *object, enum record_kind,
                        PyObject *info, PyObject *keywords, int precision_mode);

/* Does the same of the arguments of a call of Python code: the name of the kind, info, a dict of
 * the keywords, precision_mode. */
PyObject *record_arguments(struct producer *, struct recorder *, PyObject *object, PyObject *args);

/* Turns the exception that is set into a reject, if the producer was opened for that. */
PyObject *recording_refuse(struct producer *, PyObject *object, enum record_kind, PyObject *info,
                           PyObject *keywords);

struct draft_options recorder_options(const struct producer *, struct recorder *, enum record_kind);

/* Returns what the library said of a record that it refused, "price: …", and which of those of the
 * call it was. */
const char *recording_problem(const struct producer *, size_t *index);
PyObject *recording_raise_long(const char *problem); /* raises ValueError; returns NULL */

/* Records in blotter.rejects what could not be recorded. Returns 0, which is no seq. */
PyObject *record_reject(struct producer *, PyObject *args);

/* Raises what a status means; returns NULL. */
PyObject *producer_raise(const struct producer *, int64_t status);

/* Says whether it is open; false with RuntimeError set. */
bool producer_is_open(const struct producer *);

extern PyType_Spec producer_spec, book_spec;

#endif
