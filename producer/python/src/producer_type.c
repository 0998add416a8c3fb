/* producer_type.c: the type _core.Producer: opening, waiting, counters, events and closing.
 *
 * Calls that may wait give up the GIL, and look for signals ten times a second so that Ctrl-C
 * works. libblotter itself answers calls that meet a close, or come in a forked child. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <structmember.h>

#include "events.h"
#include "producer.h"
#include "schema/clock.h"
#include "stored.h"
#include "wakeup.h"

enum { SLICE_MS = 100 };
static const double close_seconds = 5;

/* --- recording --- */

static PyObject *producer_order(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                PyObject *names)
{
    struct producer *self = (struct producer *)object;
    return record_call(self, self->recorders, object, RECORD_ORDER, args,
                       PyVectorcall_NARGS((size_t)count), names);
}

static PyObject *producer_trade(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                PyObject *names)
{
    struct producer *self = (struct producer *)object;
    return record_call(self, self->recorders, object, RECORD_TRADE, args,
                       PyVectorcall_NARGS((size_t)count), names);
}

static PyObject *producer_object(PyObject *object, PyObject *args)
{
    struct producer *self = (struct producer *)object;
    return record_arguments(self, self->recorders, object, args);
}

static PyObject *producer_reject(PyObject *object, PyObject *args)
{
    return record_reject((struct producer *)object, args);
}

/* --- opening --- */

/* Converts an int that is an option of the library. */
static int to_uint32(PyObject *value, void *out)
{
    long long number = PyLong_AsLongLong(value);
    if (PyErr_Occurred() != NULL) {
        return 0;
    }
    if (number < 0 || number > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%R: an option from 0 to 4294967295 is wanted", value);
        return 0;
    }
    *(uint32_t *)out = (uint32_t)number;
    return 1;
}

/* Returns the number of a word in a list, or -1 with ValueError set. */
static int find_word(const char *option, const char *word, const char *const *words,
                     const char *allowed)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    if (PyErr_Occurred() == NULL) {
        PyErr_Format(PyExc_ValueError, "%s: '%.64s': %s", option, word, allowed);
    }
    return -1;
}

static int raise_open(int status)
{
    PyErr_SetString(status == BLOTTER_OPTION ? PyExc_ValueError : PyExc_OSError,
                    blotter_open_error());
    return -1;
}

static int make_ring(struct producer *self, struct blotter_options *options)
{
    if (options->sender == BLOTTER_SENDER_NONE) {
        return 0;
    }
    options->on_event = event_ring_add;
    options->on_event_arg = self->events = event_ring_create();
    if (self->events == NULL) {
        PyErr_NoMemory();
    }
    return self->events != NULL ? 0 : -1;
}

static int open_handle(struct producer *self, struct blotter_options *options)
{
    if (make_ring(self, options) != 0) {
        return -1;
    }
    PyThreadState *thread = PyEval_SaveThread();
    int status = blotter_open(&self->handle, options);
    PyEval_RestoreThread(thread);
    if (status == BLOTTER_OK) {
        return 0;
    }
    event_ring_release(self->events);
    self->events = NULL;
    return raise_open(status);
}

/* The arguments of Producer() as they were given. */
struct arguments {
    struct blotter_options options;
    PyObject *exchange, *journal, *account, *strategy;
    const char *sender, *sync, *on_error;
    int wake, info;
};

static int parse(struct arguments *given, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"exchange", "redis",          "journal",          "lane",
                            "sender",   "slots",          "slot_bytes",       "info",
                            "wake",     "sync",           "account",          "strategy",
                            "on_error", "redis_password", "poll_interval_us", "sync_interval_ms",
                            NULL};
    struct blotter_options *options = &given->options;
    return PyArg_ParseTupleAndKeywords(
               args, keywords, "U|$zOzsO&O&ppsOOszO&O&:Producer", names, &given->exchange,
               &options->redis, &given->journal, &options->lane, &given->sender, to_uint32,
               &options->slots, to_uint32, &options->slot_bytes, &given->info, &given->wake,
               &given->sync, &given->account, &given->strategy, &given->on_error,
               &options->redis_password, to_uint32, &options->poll_interval_us, to_uint32,
               &options->sync_interval_ms)
               ? 0
               : -1;
}

static int producer_type_take_words(struct producer *self, struct arguments *given)
{
    static const char *const senders[] = {"thread", "none", "memory", NULL};
    static const char *const syncs[] = {"none", "interval", NULL};
    static const char *const errors[] = {"raise", "reject", NULL};
    int sender = find_word("sender", given->sender, senders, "thread or none is allowed");
    int sync = find_word("sync", given->sync, syncs, "none or interval is allowed");
    int rejects = find_word("on_error", given->on_error, errors, "raise or reject is allowed");
    if (PyErr_Occurred() != NULL) {
        return -1;
    }
    self->rejects = (char)rejects;
    if (sender == 2) { /* of blotter.testing */
        stored_set_slot(self, given->options.slot_bytes);
        self->tape = PyList_New(0);
        return self->tape != NULL ? 0 : -1;
    }
    given->options.sender = sender == 1 ? BLOTTER_SENDER_NONE : BLOTTER_SENDER_THREAD;
    given->options.sync = (enum blotter_sync)sync;
    given->options.wake = given->wake;
    return 0;
}

static int open_with(struct producer *self, struct arguments *given)
{
    PyObject *path = NULL;
    given->options.exchange = PyUnicode_AsUTF8(given->exchange);
    if (given->options.exchange == NULL || producer_type_take_words(self, given) != 0) {
        return -1;
    }
    if (self->tape != NULL) {
        return 0;
    }
    if (given->journal != Py_None && !PyUnicode_FSConverter(given->journal, &path)) {
        return -1;
    }
    given->options.journal = path ? PyBytes_AS_STRING(path) : NULL;
    int status = open_handle(self, &given->options);
    Py_XDECREF(path);
    return status;
}

static PyObject *make_defaults(const struct arguments *given)
{
    PyObject *defaults = PyDict_New();
    if (defaults == NULL ||
        (given->account != Py_None &&
         PyDict_SetItemString(defaults, "account", given->account) != 0) ||
        (given->strategy != Py_None &&
         PyDict_SetItemString(defaults, "strategy", given->strategy) != 0)) {
        Py_CLEAR(defaults);
    }
    return defaults;
}

static int producer_init(PyObject *object, PyObject *args, PyObject *keywords)
{
    struct producer *self = (struct producer *)object;
    struct arguments given = {.journal = Py_None,
                              .account = Py_None,
                              .strategy = Py_None,
                              .sender = "thread",
                              .sync = "none",
                              .on_error = "raise"};
    if (self->exchange != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the producer has been opened already");
        return -1;
    }
    if (parse(&given, args, keywords) != 0 || open_with(self, &given) != 0) {
        return -1;
    }
    self->take_info = (char)given.info;
    self->exchange = Py_NewRef(given.exchange);
    self->defaults = make_defaults(&given);
    return self->defaults != NULL ? recorders_bind(self->recorders, self, self->defaults) : -1;
}

static PyObject *producer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)args, (void)keywords;
    struct producer *self = (struct producer *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->core = core_of_type(type);
    if (self->core == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* --- waiting --- */

/* Converts seconds to milliseconds, None to -1. */
static int to_ms(PyObject *seconds, void *out)
{
    double value = seconds == Py_None ? -1 : PyFloat_AsDouble(seconds);
    if (PyErr_Occurred() != NULL) {
        return 0;
    }
    if (seconds != Py_None && !(value >= 0)) {
        PyErr_Format(PyExc_ValueError, "timeout: %R: seconds from 0 on are wanted", seconds);
        return 0;
    }
    *(int *)out = seconds == Py_None         ? -1
                  : value > INT32_MAX / 1000 ? INT32_MAX
                                             : (int)ceil(value * 1000);
    return 1;
}

static int flush_slice(blotter_producer *handle, enum blotter_stage stage, int timeout_ms)
{
    PyThreadState *thread = PyEval_SaveThread();
    int status = blotter_flush(handle, stage, timeout_ms);
    PyEval_RestoreThread(thread);
    return status;
}

/* Returns OK or a status; 1 with an exception set. */
static int flush(blotter_producer *handle, enum blotter_stage stage, int timeout_ms)
{
    int64_t until = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        int64_t left = timeout_ms < 0 ? SLICE_MS : until - clock_monotonic_ms();
        int status =
            flush_slice(handle, stage, left < SLICE_MS ? (int)(left > 0 ? left : 0) : SLICE_MS);
        if (PyErr_CheckSignals() != 0) {
            return 1;
        }
        if (status != BLOTTER_TIMEOUT || (timeout_ms >= 0 && clock_monotonic_ms() >= until)) {
            return status;
        }
    }
}

static int find_stage(const char *word)
{
    static const char *const stages[] = {"", "sent", "committed", NULL};
    return find_word("stage", word, stages, "sent or committed is allowed");
}

/* Raises TimeoutError, with what the records wait for as far as it is known here. */
static void raise_late(const struct producer *self, enum blotter_stage stage)
{
    struct blotter_stats stats;
    if (blotter_stats(self->handle, &stats) != BLOTTER_OK) {
        PyErr_SetString(PyExc_TimeoutError, blotter_status_text(BLOTTER_TIMEOUT));
    } else if (stats.last_error[0] != '\0') {
        PyErr_Format(PyExc_TimeoutError, "not within the time; the records are in the journal: %s",
                     stats.last_error);
    } else if (stage == BLOTTER_SENT) {
        PyErr_Format(PyExc_TimeoutError,
                     "not within the time; Redis has the records up to %lld of %lld",
                     (long long)stats.sent, (long long)stats.accepted);
    } else {
        PyErr_Format(PyExc_TimeoutError,
                     "not within the time; PostgreSQL has the records up to %lld of %lld: `blotter "
                     "status` tells whether a drainer loads them",
                     (long long)stats.committed, (long long)stats.accepted);
    }
}

static PyObject *producer_flush(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"timeout", "stage", NULL};
    struct producer *self = (struct producer *)object;
    int timeout_ms = -1, stage;
    const char *word = "committed";
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O&s:flush", names, to_ms, &timeout_ms,
                                     &word) ||
        !producer_is_open(self) || (stage = find_stage(word)) < 0) {
        return NULL;
    }
    int status = flush(self->handle, (enum blotter_stage)stage, timeout_ms);
    if (status == BLOTTER_OK) {
        return Py_NewRef(Py_None);
    }
    if (status == BLOTTER_TIMEOUT) {
        raise_late(self, (enum blotter_stage)stage);
    } else if (status < 0) {
        producer_raise(self, status);
    }
    return NULL;
}

/* Tells blotter._waiting whether the stage has been reached. */
static PyObject *producer_reached(PyObject *object, PyObject *args)
{
    struct producer *self = (struct producer *)object;
    int stage;
    long long seq;
    if (!PyArg_ParseTuple(args, "iL:_reached", &stage, &seq) || !producer_is_open(self)) {
        return NULL;
    }
    int status = blotter_wait(self->handle, seq, (enum blotter_stage)stage, 0);
    if (status != BLOTTER_OK && status != BLOTTER_TIMEOUT) {
        return producer_raise(self, status);
    }
    return PyBool_FromLong(status == BLOTTER_OK);
}

static PyObject *producer_notify(PyObject *object, PyObject *args)
{
    struct producer *self = (struct producer *)object;
    int fd, stage;
    long long seq;
    if (!PyArg_ParseTuple(args, "iiL:_notify", &fd, &stage, &seq) || !producer_is_open(self)) {
        return NULL;
    }
    int status = blotter_notify(self->handle, fd, (enum blotter_stage)stage, seq);
    if (status != BLOTTER_OK) {
        return producer_raise(self, status);
    }
    return Py_NewRef(Py_None);
}

/* --- looking --- */

static int set(PyObject *dict, const char *name, PyObject *value)
{
    int status = value != NULL ? PyDict_SetItemString(dict, name, value) : -1;
    Py_XDECREF(value);
    return status;
}

static int set_percentiles(PyObject *dict, const struct blotter_stats *stats)
{
    const struct blotter_histogram *submit = &stats->submit_ns, *sent = &stats->submit_to_sent_ns;
    return set(dict, "submit_p50_ns", PyLong_FromLongLong(blotter_percentile(submit, 50))) |
           set(dict, "submit_p99_ns", PyLong_FromLongLong(blotter_percentile(submit, 99))) |
           set(dict, "submit_to_sent_p50_ns", PyLong_FromLongLong(blotter_percentile(sent, 50))) |
           set(dict, "submit_to_sent_p99_ns", PyLong_FromLongLong(blotter_percentile(sent, 99)));
}

static PyObject *make_stats(const struct producer *self, const struct blotter_stats *stats)
{
    PyObject *dict = PyDict_New();
    int status = dict != NULL ? 0 : -1;
#define X(type, name, meaning) \
    status = status != 0 ? -1 : set(dict, #name, PyLong_FromLongLong(stats->name));
    BLOTTER_STATS(X)
#undef X
    if (status != 0 ||
        set(dict, "last_error",
            PyUnicode_DecodeUTF8(stats->last_error, (Py_ssize_t)strlen(stats->last_error),
                                 "replace")) != 0 ||
        set(dict, "journal", PyUnicode_DecodeFSDefault(stats->journal)) != 0 ||
        set_percentiles(dict, stats) != 0 ||
        set(dict, "misplaced", PyLong_FromLongLong(stats->misplaced + self->misplaced)) != 0 ||
        set(dict, "refused", PyLong_FromLongLong(self->refused)) != 0) {
        Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *producer_counters(PyObject *object, PyObject *unused)
{
    (void)unused;
    const struct producer *self = (struct producer *)object;
    return Py_BuildValue("{sLsL}", "misplaced", (long long)self->misplaced, "refused",
                         (long long)self->refused);
}

static PyObject *producer_stats(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct producer *self = (struct producer *)object;
    struct blotter_stats stats;
    if (!producer_is_open(self)) {
        return NULL;
    }
    int status = blotter_stats(self->handle, &stats);
    return status == BLOTTER_OK ? make_stats(self, &stats) : producer_raise(self, status);
}

/* --- events --- */

/* Says whether there are events to ask for; false with RuntimeError set. */
static bool has_events(const struct producer *self)
{
    if (self->events != NULL && event_ring_is_ours(self->events)) {
        return true;
    }
    if (self->events != NULL) {
        PyErr_SetString(PyExc_RuntimeError, blotter_status_text(BLOTTER_FORKED));
    } else if (producer_is_open(self)) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "the producer was opened without a sender: `blotter ship` sends, and logs its events");
    }
    return false;
}

static PyObject *producer_events(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct producer *self = (struct producer *)object;
    return has_events(self) ? events_take(self->events, LISTENER_POLLED) : NULL;
}

/* Makes a wakeup for blotter._waiting, and with True for blotter._listening. */
static PyObject *producer_wakeup(PyObject *object, PyObject *listens)
{
    struct producer *self = (struct producer *)object;
    if (!producer_is_open(self) || (listens == Py_True && !has_events(self))) {
        return NULL;
    }
    return wakeup_create((PyTypeObject *)self->core->wakeup_type, self->handle, self->events,
                         listens == Py_True);
}

static PyObject *producer_repr(PyObject *object)
{
    struct producer *self = (struct producer *)object;
    return PyUnicode_FromFormat("<blotter.Producer %R%s>",
                                self->exchange != NULL ? self->exchange : Py_None,
                                self->closed ? ", closed" : "");
}

/* --- closing --- */

static void end_events(struct producer *self)
{
    if (self->events != NULL && event_ring_is_ours(self->events)) {
        event_ring_close(self->events);
    }
}

/* Waits without the GIL, so that other threads may record until it is closed. */
static int64_t close_handle(struct producer *self, int timeout_ms)
{
    self->closed = 1;
    PyThreadState *thread = PyEval_SaveThread();
    int64_t unsent = blotter_close(self->handle, timeout_ms);
    PyEval_RestoreThread(thread);
    end_events(self);
    return unsent;
}

static PyObject *producer_close(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"timeout", NULL};
    struct producer *self = (struct producer *)object;
    int timeout_ms = (int)(close_seconds * 1000);
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O&:close", names, to_ms, &timeout_ms)) {
        return NULL;
    }
    if (self->handle == NULL || self->closed) {
        return PyLong_FromLong(0);
    }
    if (timeout_ms < 0 && flush(self->handle, BLOTTER_SENT, -1) == 1) {
        return NULL; /* Ctrl-C, and still open */
    }
    int64_t unsent = close_handle(self, timeout_ms < 0 ? (int)(close_seconds * 1000) : timeout_ms);
    return PyLong_FromLongLong(unsent > 0 ? unsent : 0);
}

static PyObject *producer_type_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *producer_exit(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)args, (void)count;
    PyObject *unsent = PyObject_CallMethod(self, "close", NULL);
    if (unsent == NULL) {
        return NULL;
    }
    Py_DECREF(unsent);
    return Py_NewRef(Py_None);
}

/* Closes a producer that was forgotten, or left open at the end of the program, without waiting.
 * Unsent records stay in the journal. The GIL is kept: this takes milliseconds, and the interpreter
 * may be ending. */
static void producer_finalize(PyObject *object)
{
    struct producer *self = (struct producer *)object;
    PyObject *type, *value, *traceback;
    if (self->handle == NULL || self->closed) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    if (PyErr_ResourceWarning(object, 1, "unclosed %R", object) != 0) {
        PyErr_WriteUnraisable(object);
    }
    self->closed = 1;
    blotter_close(self->handle, 0);
    end_events(self);
    PyErr_Restore(type, value, traceback);
}

static void producer_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return; /* it lives on */
    }
    struct producer *self = (struct producer *)object;
    recorders_release(self->recorders);
    Py_CLEAR(self->exchange);
    Py_CLEAR(self->defaults);
    Py_CLEAR(self->tape);
    event_ring_release(self->events); /* it is closed, so nobody writes to it any more */
    type->tp_free(object);
    Py_DECREF(type);
}

/* --- the type --- */

PyDoc_STRVAR(order_doc, "order(info=None, /, **fields)\n--\n\nRecord one state change of an order; "
                        "return its sequence number.");
PyDoc_STRVAR(trade_doc, "trade(info=None, /, **fields)\n--\n\nRecord one execution, your own or a "
                        "public trade; return its sequence number.");
PyDoc_STRVAR(flush_doc,
             "flush(timeout=None, stage='committed')\n--\n\nWait until everything that is "
             "recorded is 'committed' in PostgreSQL, or 'sent' to Redis.");
PyDoc_STRVAR(close_doc, "close(timeout=5.0)\n--\n\nSend what can be sent within timeout seconds, "
                        "and stop; return how many records are unsent.");
PyDoc_STRVAR(producer_doc, "The part of blotter.Producer that is written in C.");

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS
#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL
static PyMethodDef methods[] = {
    {"order", (PyCFunction)(void (*)(void))producer_order, METH_FASTCALL | METH_KEYWORDS,
     order_doc},
    {"trade", (PyCFunction)(void (*)(void))producer_trade, METH_FASTCALL | METH_KEYWORDS,
     trade_doc},
    {"flush", KEYWORDS(producer_flush), flush_doc},
    {"_stats", producer_stats, METH_NOARGS, NULL},
    {"close", KEYWORDS(producer_close), close_doc},
    {"_events", producer_events, METH_NOARGS, NULL},
    {"_record_object", producer_object, METH_VARARGS, NULL},
    {"_counters", producer_counters, METH_NOARGS, NULL},
    {"_reject", producer_reject, METH_VARARGS, NULL},
    {"_reached", producer_reached, METH_VARARGS, NULL},
    {"_notify", producer_notify, METH_VARARGS, NULL},
    {"_wakeup", producer_wakeup, METH_O, NULL},
    {"__enter__", producer_type_enter, METH_NOARGS, NULL},
    {"__exit__", FAST(producer_exit), NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"exchange", T_OBJECT, offsetof(struct producer, exchange), READONLY, "the exchange, as given"},
    {"_defaults", T_OBJECT, offsetof(struct producer, defaults), READONLY,
     "constants of all records"},
    {"_tape", T_OBJECT, offsetof(struct producer, tape), READONLY,
     "the records of blotter.testing"},
    {"closed", T_BOOL, offsetof(struct producer, closed), READONLY, "whether close() was called"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_new, producer_new},
    {Py_tp_init, producer_init},
    {Py_tp_dealloc, producer_dealloc},
    {Py_tp_finalize, producer_finalize},
    {Py_tp_repr, producer_repr},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_doc, (void *)producer_doc},
    {0, NULL},
};

PyType_Spec producer_spec = {
    .name = "blotter._core.Producer",
    .basicsize = sizeof(struct producer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = type_slots,
};
