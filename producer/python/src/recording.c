/* recording.c: see producer.h. Recording keeps the GIL: it takes less than giving it up. */
#include <stdlib.h>
#include <string.h>

#include "producer.h"
#include "stored.h"

PyObject *producer_raise(const struct producer *producer, int64_t status)
{
    const char *text = blotter_status_text((int)status);
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    if (status == BLOTTER_FULL) {
        PyErr_SetString(producer->core->full, text);
    } else if (status == BLOTTER_SYSTEM) {
        PyErr_NoMemory();
    } else {
        PyErr_SetString(PyExc_RuntimeError, text);
    }
    return NULL;
}

bool producer_is_open(const struct producer *producer)
{
    if (producer->handle != NULL || producer->tape != NULL) {
        return true;
    }
    PyErr_SetString(PyExc_RuntimeError, blotter_status_text(BLOTTER_CLOSED));
    return false;
}

struct draft_options recorder_options(const struct producer *producer, struct recorder *recorder,
                                      enum record_kind kind)
{
    return (struct draft_options){
        .table = &producer->core->keys[kind],
        .decimal_type = producer->core->decimal_type,
        .exchange = producer->exchange,
        .take_info = producer->take_info != 0,
        .merge = producer->tape != NULL,
        .memory = &recorder->memory,
        .constants = recorder->constants,
        .bound = recorder->bound != NULL ? &recorder->bound->bound : NULL,
    };
}

/* --- bindings --- */

/* Returns the constants that the kind has fields for, as a new dict; NULL with an exception set. */
static PyObject *constants_of_kind(const struct key_table *table, PyObject *constants)
{
    PyObject *name, *value, *dict = PyDict_New();
    Py_ssize_t position = 0;
    while (dict != NULL && PyDict_Next(constants, &position, &name, &value)) {
        const char *text = PyUnicode_AsUTF8(name);
        if (text == NULL) {
            Py_CLEAR(dict);
        } else if (key_of_name(table, text, strlen(text)) != NULL && value != Py_None &&
                   PyDict_SetItem(dict, name, value) != 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

/* Raises TypeError for a name that is no field of any kind, or one that cannot be constant. */
static int check_names(const struct producer *producer, PyObject *constants)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(constants, &position, &name, &value)) {
        const char *text = PyUnicode_AsUTF8(name);
        bool known = false;
        for (int kind = 0; text != NULL && kind < RECORD_KINDS; kind++) {
            known |= kind != RECORD_SESSION &&
                     key_of_name(&producer->core->keys[kind], text, strlen(text)) != NULL;
        }
        if (!known || strcmp(text, "extra") == 0) {
            PyErr_Format(PyExc_TypeError,
                         "%R cannot be bound: it is not the name of a field that "
                         "can be constant",
                         name);
            return -1;
        }
    }
    return 0;
}

static int bind_draft(struct recorder *recorder, const struct producer *producer,
                      enum record_kind kind)
{
    struct draft_options options = recorder_options(producer, recorder, kind);
    PyObject *args[] = {recorder->held};
    options.strict = options.flat = true;
    options.constants = NULL;
    recorder->constants = PyMem_Calloc(1, sizeof *recorder->constants);
    if (recorder->constants == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (draft_take(recorder->constants, &options, args, 1, NULL) != TAKEN) {
        return -1;
    }
    if (producer->tape != NULL) {
        return 0;
    }
    recorder->bound =
        blotter_bind(producer->handle, (enum blotter_kind)kind, &recorder->constants->of);
    if (recorder->bound == NULL) {
        const char *problem = blotter_problem();
        if (*problem == '\0') {
            PyErr_NoMemory();
        } else {
            draft_raise(recorder->constants, problem);
        }
        return -1;
    }
    return 0;
}

int recorders_bind(struct recorder *recorders, const struct producer *producer, PyObject *constants)
{
    if (check_names(producer, constants) != 0) {
        return -1;
    }
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        PyObject *held = constants_of_kind(&producer->core->keys[kind], constants);
        if (held == NULL) {
            return -1;
        }
        if (PyDict_GET_SIZE(held) == 0 || kind == RECORD_SESSION) {
            Py_DECREF(held);
            continue;
        }
        recorders[kind].held = held;
        if (bind_draft(&recorders[kind], producer, (enum record_kind)kind) != 0) {
            return -1;
        }
    }
    return 0;
}

void recorders_release(struct recorder *recorders)
{
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        struct recorder *recorder = &recorders[kind];
        blotter_unbind(recorder->bound);
        recorder->bound = NULL;
        if (recorder->constants != NULL) {
            draft_release(recorder->constants);
            PyMem_Free(recorder->constants);
            recorder->constants = NULL;
        }
        Py_CLEAR(recorder->held);
        key_memory_release(&recorder->memory);
    }
}

/* --- one record --- */

static int64_t recording_submit(struct producer *producer, enum record_kind kind,
                                const struct draft *draft)
{
    struct blotter_entry entry = {.kind = (int)kind, .record = &draft->of};
    const void *record;
    if (producer->tape != NULL) {
        return stored_submit(producer, &entry, 1);
    }
    const blotter_binding binding = draft_binding(draft, &record);
    return blotter_submit_bound(producer->handle, &binding, record);
}

const char *recording_problem(const struct producer *producer, size_t *index)
{
    static const char prefix[] = "entry ";
    const char *problem = producer->tape != NULL ? stored_problem() : blotter_problem();
    char *end;

    *index = 0;
    if (strncmp(problem, prefix, sizeof prefix - 1) == 0) {
        *index = (size_t)strtoull(problem + sizeof prefix - 1, &end, 10);
        problem = end + strspn(end, ": ");
    }
    return problem;
}

PyObject *recording_raise_long(const char *problem)
{
    return PyErr_Format(PyExc_ValueError, "%s: %s", blotter_status_text(BLOTTER_TOO_LONG), problem);
}

static PyObject *raise_refused(const struct producer *producer, const struct draft *draft,
                               int64_t status)
{
    size_t index;
    const char *problem = recording_problem(producer, &index);
    if (status == BLOTTER_TOO_LONG) {
        return recording_raise_long(problem);
    }
    if (status != BLOTTER_INVALID) {
        return producer_raise(producer, status);
    }
    draft_raise(draft, problem);
    return NULL;
}

static PyObject *keywords_of(PyObject *const *values, PyObject *names)
{
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict != NULL && names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(names, i), values[i]) != 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

PyObject *recording_refuse(struct producer *producer, PyObject *object, enum record_kind kind,
                           PyObject *info, PyObject *keywords)
{
    PyObject *type, *problem, *traceback;
    if (PyErr_ExceptionMatches(producer->core->full)) { /* counted; a reject would find no room */
        if (!producer->rejects) {
            return NULL;
        }
        PyErr_Clear();
        return PyLong_FromLong(0);
    }
    if (!producer->rejects || !PyErr_ExceptionMatches(PyExc_Exception)) {
        producer->refused++;
        return NULL;
    }
    PyErr_Fetch(&type, &problem, &traceback);
    PyErr_NormalizeException(&type, &problem, &traceback);
    PyObject *result = PyObject_CallMethod(object, "_reject_call", "sOOO",
                                           record_schemas[kind].name, info, keywords, problem);
    Py_XDECREF(type);
    Py_XDECREF(problem);
    Py_XDECREF(traceback);
    return result;
}

/* Records what is ODD, or refuses the call, whose exception is set. */
static PyObject *record_otherwise(struct producer *producer, struct recorder *recorders,
                                  PyObject *object, enum record_kind kind, bool odd,
                                  PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *info = count > 0 ? args[0] : Py_None, *result = NULL;
    PyObject *type, *problem, *traceback;
    PyErr_Fetch(&type, &problem, &traceback);
    PyObject *keywords = keywords_of(args + count, names);
    if (keywords == NULL) {
        Py_XDECREF(type);
        Py_XDECREF(problem);
        Py_XDECREF(traceback);
        return NULL;
    }
    PyErr_Restore(type, problem, traceback);
    result = odd ? record_object(producer, recorders, object, kind, info, keywords, 0)
                 : recording_refuse(producer, object, kind, info, keywords);
    Py_DECREF(keywords);
    return result;
}

PyObject *record_call(struct producer *producer, struct recorder *recorders, PyObject *object,
                      enum record_kind kind, PyObject *const *args, Py_ssize_t count,
                      PyObject *names)
{
    struct recorder *recorder = &recorders[kind];
    const struct draft_options options = recorder_options(producer, recorder, kind);
    struct draft draft;
    PyObject *result = NULL;
    enum outcome outcome = FAILED;
    if (producer_is_open(producer)) {
        if (producer->handle != NULL) {
            blotter_prepare(producer->handle);
        }
        outcome = draft_take(&draft, &options, args, count, names);
        if (outcome == TAKEN) {
            int64_t seq = recording_submit(producer, kind, &draft);
            result = seq > 0 ? PyLong_FromLongLong(seq) : raise_refused(producer, &draft, seq);
        }
        draft_release(&draft);
    }
    return result != NULL ? result
                          : record_otherwise(producer, recorders, object, kind, outcome == ODD,
                                             args, count, names);
}

/* --- rejects --- */

/* Shortens the object until it fits a slot. A reject that finds no room is counted only. */
PyObject *record_reject(struct producer *producer, PyObject *args)
{
    const char *about, *reason;
    char *object = NULL; /* PyArg_ParseTuple allocates it */
    Py_ssize_t length = 0;
    if (!PyArg_ParseTuple(args, "sses#:_reject", &about, &reason, "utf-8", &object, &length)) {
        return NULL;
    }
    producer->refused++;
    if (producer->tape != NULL) {
        PyObject *reject = Py_BuildValue("s{ssssss}", "reject", "about", about, "reason", reason,
                                         "object", object);
        int status = reject != NULL ? PyList_Append(producer->tape, reject) : -1;
        Py_XDECREF(reject);
        PyMem_Free(object);
        return status == 0 ? PyLong_FromLong(0) : NULL;
    }
    int64_t seq = BLOTTER_TOO_LONG;
    while (producer->handle != NULL) {
        const struct blotter_reject reject = {.about = about, .reason = reason, .object = object};
        seq = blotter_reject(producer->handle, &reject);
        if ((seq != BLOTTER_TOO_LONG && seq != BLOTTER_INVALID) || length < 2) {
            break;
        }
        for (length = length * 3 / 4; length > 0 && (object[length] & 0xc0) == 0x80;) {
            length--; /* not within a character */
        }
        object[length] = '\0';
    }
    PyMem_Free(object);
    return PyLong_FromLong(0);
}
