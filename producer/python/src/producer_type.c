/* producer_type.c: the type _core.Producer: a blotter_producer for Python.
 *
 * Recording keeps the GIL: it takes less than giving it up. What may wait gives it up, and looks
 * for signals ten times a second, so that Ctrl-C is heard. libblotter answers for itself when calls
 * meet a close, or come in a forked child. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <blotter.h>
#include <math.h>
#include <stdbool.h>
#include <structmember.h>
#include <time.h>

#include "core.h"
#include "dict_record.h"
#include "events.h"
#include "wakeup.h"

enum { SLICE_MS = 100 };
#define CLOSE_SECONDS 5.0

struct producer {
    PyObject_HEAD blotter_producer *handle; /* NULL: never opened, or released in a forked child */
    struct core *core;                      /* of the module, which the type keeps alive */
    struct event_ring *events;              /* NULL: without a sender */
    PyObject *exchange;
    char take_info, closed;
};

/* --- errors
 * -----------------------------------------------------------------------------------------------------------------
 */

static PyObject *raise_status(const struct producer *self, int64_t status)
{
    const char *text = blotter_status_text((int)status);
    if (status == BLOTTER_FULL) {
        PyErr_SetString(self->core->full, text);
    } else if (status == BLOTTER_SYSTEM) {
        PyErr_NoMemory();
    } else {
        PyErr_SetString(PyExc_RuntimeError, text);
    }
    return NULL;
}

static bool is_open(const struct producer *self)
{
    if (self->handle != NULL) {
        return true;
    }
    PyErr_SetString(PyExc_RuntimeError, blotter_status_text(BLOTTER_CLOSED));
    return false;
}

/* --- recording
 * --------------------------------------------------------------------------------------------------------------
 */

static PyObject *raise_refused(const struct producer *self, const struct record *record,
                               int64_t status)
{
    if (status == BLOTTER_INVALID) {
        record_raise(record, blotter_problem());
    } else if (status == BLOTTER_TOO_LONG) {
        PyErr_SetString(PyExc_ValueError, blotter_status_text(BLOTTER_TOO_LONG));
    } else {
        raise_status(self, status);
    }
    return NULL;
}

static inline PyObject *submit(struct producer *self, enum record_kind kind, PyObject *const *args,
                               Py_ssize_t count, PyObject *names)
{
    const struct record_options options = {&self->core->keys[kind], self->core->decimal_type,
                                           self->exchange, self->take_info};
    struct record record;
    PyObject *result = NULL;
    if (!is_open(self)) {
        return NULL;
    }
    if (record_take(&record, &options, args, count, names) == 0) {
        int64_t seq = kind == RECORD_ORDER ? blotter_order(self->handle, &record.of.order)
                                           : blotter_trade(self->handle, &record.of.trade);
        result = seq > 0 ? PyLong_FromLongLong(seq) : raise_refused(self, &record, seq);
    }
    record_release(&record);
    return result;
}

static PyObject *producer_order(PyObject *self, PyObject *const *args, Py_ssize_t count,
                                PyObject *names)
{
    return submit((struct producer *)self, RECORD_ORDER, args, PyVectorcall_NARGS((size_t)count),
                  names);
}

static PyObject *producer_trade(PyObject *self, PyObject *const *args, Py_ssize_t count,
                                PyObject *names)
{
    return submit((struct producer *)self, RECORD_TRADE, args, PyVectorcall_NARGS((size_t)count),
                  names);
}

/* --- opening
 * ----------------------------------------------------------------------------------------------------------------
 */

/* An int that is an option of the library. */
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

/* The number of a word in a list; or -1, and ValueError. */
static int find_word(const char *option, const char *word, const char *const *words,
                     const char *allowed)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_ValueError, "%s: '%.64s': %s", option, word, allowed);
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
    options->on_event = event_ring_tell;
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

/* What the caller gave, as it gave it. */
struct arguments {
    struct blotter_options options;
    PyObject *exchange, *journal;
    const char *sender, *sync;
    int wake, info;
};

static int parse(struct arguments *given, PyObject *args, PyObject *keywords)
{
    static char *names[] = {
        "exchange",         "redis", "journal", "lane", "sender",         "slots",
        "slot_bytes",       "info",  "wake",    "sync", "redis_password", "poll_interval_us",
        "sync_interval_ms", NULL};
    struct blotter_options *options = &given->options;
    return PyArg_ParseTupleAndKeywords(
               args, keywords, "U|$zOzsO&O&ppszO&O&:Producer", names, &given->exchange,
               &options->redis, &given->journal, &options->lane, &given->sender, to_uint32,
               &options->slots, to_uint32, &options->slot_bytes, &given->info, &given->wake,
               &given->sync, &options->redis_password, to_uint32, &options->poll_interval_us,
               to_uint32, &options->sync_interval_ms)
               ? 0
               : -1;
}

static int take_words(struct arguments *given)
{
    static const char *const senders[] = {"thread", "loop", "none", NULL}, *const syncs[] = {
                                                                               "none", "interval",
                                                                               NULL};
    int sender = find_word("sender", given->sender, senders, "thread or none is allowed");
    int sync =
        sender < 0 ? -1 : find_word("sync", given->sync, syncs, "none or interval is allowed");
    if (sync < 0) {
        return -1;
    }
    if (sender == BLOTTER_SENDER_LOOP) { /* libevent's, which Python has not */
        find_word("sender", "loop", senders + 3, "thread or none is allowed");
        return -1;
    }
    given->options.sender = (enum blotter_sender)sender;
    given->options.sync = (enum blotter_sync)sync;
    given->options.wake = given->wake;
    return 0;
}

static int open_with(struct producer *self, struct arguments *given)
{
    PyObject *path = NULL;
    given->options.exchange = PyUnicode_AsUTF8(given->exchange);
    if (given->options.exchange == NULL || take_words(given) != 0) {
        return -1;
    }
    if (given->journal != Py_None && !PyUnicode_FSConverter(given->journal, &path)) {
        return -1;
    }
    given->options.journal = path ? PyBytes_AS_STRING(path) : NULL;
    int status = open_handle(self, &given->options);
    Py_XDECREF(path);
    return status;
}

static int producer_init(PyObject *object, PyObject *args, PyObject *keywords)
{
    struct producer *self = (struct producer *)object;
    struct arguments given = {.journal = Py_None, .sender = "thread", .sync = "none"};
    if (self->exchange != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the producer has been opened already");
        return -1;
    }
    if (parse(&given, args, keywords) != 0 || open_with(self, &given) != 0) {
        return -1;
    }
    self->take_info = (char)given.info;
    self->exchange = Py_NewRef(given.exchange);
    return 0;
}

static PyObject *producer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)args, (void)keywords;
    struct producer *self = (struct producer *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    PyObject *module = PyType_GetModuleByDef(type, core_definition());
    self->core = module ? PyModule_GetState(module) : NULL;
    if (self->core == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* --- waiting
 * ----------------------------------------------------------------------------------------------------------------
 */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Seconds as milliseconds, None as -1. */
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

/* OK, or a status; 1: an exception is raised. */
static int flush(blotter_producer *handle, enum blotter_stage stage, int timeout_ms)
{
    int64_t until = now_ms() + timeout_ms;
    for (;;) {
        int64_t left = timeout_ms < 0 ? SLICE_MS : until - now_ms();
        int status =
            flush_slice(handle, stage, left < SLICE_MS ? (int)(left > 0 ? left : 0) : SLICE_MS);
        if (PyErr_CheckSignals() != 0) {
            return 1;
        }
        if (status != BLOTTER_TIMEOUT || (timeout_ms >= 0 && now_ms() >= until)) {
            return status;
        }
    }
}

static int find_stage(const char *word)
{
    static const char *const stages[] = {"", "sent", "committed", NULL};
    return find_word("stage", word, stages, "sent or committed is allowed");
}

static PyObject *producer_flush(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"timeout", "stage", NULL};
    struct producer *self = (struct producer *)object;
    int timeout_ms = -1, stage;
    const char *word = "committed";
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O&s:flush", names, to_ms, &timeout_ms,
                                     &word) ||
        !is_open(self) || (stage = find_stage(word)) < 0) {
        return NULL;
    }
    int status = flush(self->handle, (enum blotter_stage)stage, timeout_ms);
    if (status == BLOTTER_OK) {
        return Py_NewRef(Py_None);
    }
    if (status == BLOTTER_TIMEOUT) {
        PyErr_SetString(PyExc_TimeoutError, blotter_status_text(status));
    } else if (status < 0) {
        raise_status(self, status);
    }
    return NULL;
}

/* For blotter._waiting: has it been reached? */
static PyObject *producer_reached(PyObject *object, PyObject *args)
{
    struct producer *self = (struct producer *)object;
    int stage;
    long long seq;
    if (!PyArg_ParseTuple(args, "iL:_reached", &stage, &seq) || !is_open(self)) {
        return NULL;
    }
    int status = blotter_wait(self->handle, seq, (enum blotter_stage)stage, 0);
    if (status != BLOTTER_OK && status != BLOTTER_TIMEOUT) {
        return raise_status(self, status);
    }
    return PyBool_FromLong(status == BLOTTER_OK);
}

static PyObject *producer_notify(PyObject *object, PyObject *args)
{
    struct producer *self = (struct producer *)object;
    int fd, stage;
    long long seq;
    if (!PyArg_ParseTuple(args, "iiL:_notify", &fd, &stage, &seq) || !is_open(self)) {
        return NULL;
    }
    int status = blotter_notify(self->handle, fd, (enum blotter_stage)stage, seq);
    if (status != BLOTTER_OK) {
        return raise_status(self, status);
    }
    return Py_NewRef(Py_None);
}

/* --- looking
 * ----------------------------------------------------------------------------------------------------------------
 */

#define X(type, name, meaning) {#name, meaning},
static PyStructSequence_Field stats_fields[] = {
    BLOTTER_STATS(X){
        "last_error",
        "what Redis or the connection says while records are not accepted; '' when all is well"},
    {"journal", "the journal's path"},
    {"submit_p50_ns",
     "what order() and trade() cost within the library, nanoseconds; -1: not measured yet"},
    {"submit_p99_ns", "the same, 99th percentile"},
    {"submit_to_sent_p50_ns", "from there to Redis' answer, nanoseconds"},
    {"submit_to_sent_p99_ns", "the same, 99th percentile"},
    {NULL, NULL},
};
#undef X
static PyStructSequence_Desc stats_description = {
    .name = "blotter.Stats",
    .doc = "Counters and states of a producer. Places and seqs count records; times are "
           "nanoseconds since 1970.",
    .fields = stats_fields,
    .n_in_sequence = sizeof stats_fields / sizeof *stats_fields - 1,
};

PyObject *stats_type_create(void)
{
    return (PyObject *)PyStructSequence_NewType(&stats_description);
}

static PyObject *make_stats(PyTypeObject *type, const struct blotter_stats *stats)
{
    PyObject *result = PyStructSequence_New(type);
    Py_ssize_t i = 0;
    if (result == NULL) {
        return NULL;
    }
#define X(type, name, meaning) \
    PyStructSequence_SetItem(result, i++, PyLong_FromLongLong(stats->name));
    BLOTTER_STATS(X)
#undef X
    PyStructSequence_SetItem(
        result, i++,
        PyUnicode_DecodeUTF8(stats->last_error, (Py_ssize_t)strlen(stats->last_error), "replace"));
    PyStructSequence_SetItem(result, i++, PyUnicode_DecodeFSDefault(stats->journal));
    PyStructSequence_SetItem(result, i++,
                             PyLong_FromLongLong(blotter_percentile(&stats->submit_ns, 50)));
    PyStructSequence_SetItem(result, i++,
                             PyLong_FromLongLong(blotter_percentile(&stats->submit_ns, 99)));
    PyStructSequence_SetItem(
        result, i++, PyLong_FromLongLong(blotter_percentile(&stats->submit_to_sent_ns, 50)));
    PyStructSequence_SetItem(
        result, i, PyLong_FromLongLong(blotter_percentile(&stats->submit_to_sent_ns, 99)));
    if (PyErr_Occurred() != NULL) {
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *producer_stats(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct producer *self = (struct producer *)object;
    struct blotter_stats stats;
    if (!is_open(self)) {
        return NULL;
    }
    int status = blotter_stats(self->handle, &stats);
    return status == BLOTTER_OK ? make_stats((PyTypeObject *)self->core->stats_type, &stats)
                                : raise_status(self, status);
}

/* --- events
 * -----------------------------------------------------------------------------------------------------------------
 */

/* There is somebody to ask, or RuntimeError. */
static bool has_events(const struct producer *self)
{
    if (self->events != NULL && event_ring_is_ours(self->events)) {
        return true;
    }
    if (self->events != NULL) {
        PyErr_SetString(PyExc_RuntimeError, blotter_status_text(BLOTTER_FORKED));
    } else if (is_open(self)) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "the producer was opened without a sender: `blotter ship` sends, and logs its events");
    }
    return false;
}

static PyObject *take_events(struct producer *self, int fd)
{
    return events_take(self->events, fd, (PyTypeObject *)self->core->event_type);
}

static PyObject *producer_events(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct producer *self = (struct producer *)object;
    return has_events(self) ? take_events(self, LISTENER_WHO_ASKS) : NULL;
}

/* For blotter._waiting, and with True for blotter._watching. */
static PyObject *producer_wakeup(PyObject *object, PyObject *listens)
{
    struct producer *self = (struct producer *)object;
    if (!is_open(self) || (listens == Py_True && !has_events(self))) {
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

/* --- closing
 * ----------------------------------------------------------------------------------------------------------------
 */

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
    if (unsent == BLOTTER_FORKED) {
        self->handle = NULL; /* it is freed */
    }
    end_events(self);
    return unsent;
}

static PyObject *producer_close(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"timeout", NULL};
    struct producer *self = (struct producer *)object;
    int timeout_ms = (int)(CLOSE_SECONDS * 1000);
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O&:close", names, to_ms, &timeout_ms)) {
        return NULL;
    }
    if (self->handle == NULL || self->closed) {
        return PyLong_FromLong(0);
    }
    if (timeout_ms < 0 && flush(self->handle, BLOTTER_SENT, -1) == 1) {
        return NULL; /* Ctrl-C, and still open */
    }
    int64_t unsent = close_handle(self, timeout_ms < 0 ? (int)(CLOSE_SECONDS * 1000) : timeout_ms);
    return PyLong_FromLongLong(unsent > 0 ? unsent : 0);
}

static PyObject *producer_enter(PyObject *self, PyObject *unused)
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

/* Forgotten, or left open at the end of the program: nothing is waited for. What is not sent stays
 * in the journal. The GIL is kept: this takes milliseconds, and the interpreter may be ending. */
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
    Py_CLEAR(((struct producer *)object)->exchange);
    event_ring_release(
        ((struct producer *)object)->events); /* closed, so nothing is told any more */
    type->tp_free(object);
    Py_DECREF(type);
}

/* --- the type
 * ---------------------------------------------------------------------------------------------------------------
 */

PyDoc_STRVAR(order_doc,
             "order(info=None, /, **fields)\n--\n\n"
             "Record one state change of an order; return its sequence number, 1 or more.\n\n"
             "info is a mapping with Blotter's field names (blotter.ORDER_FIELDS), or a ccxt "
             "unified order, or both\n"
             "at once; keywords come on top and win. A value may be str, int, float, Decimal, "
             "bool, an aware datetime,\n"
             "or None, which means absent. Decimals keep every digit; a float is recorded in its "
             "shortest form.\n"
             "exchange_time is in nanoseconds since 1970, ccxt's timestamp in milliseconds. What "
             "has no field goes\n"
             "to `extra`; ccxt's `info` only where the producer was opened with info=True.\n\n"
             "Never waits, whatever is down. Raises blotter.Full when the journal is full; "
             "ValueError or TypeError\n"
             "naming field and value; RuntimeError once closed, and in a forked child. Then "
             "nothing is recorded.");
PyDoc_STRVAR(
    trade_doc,
    "trade(info=None, /, **fields)\n--\n\n"
    "Record one execution, your own or a public trade; return its sequence number, 1 or more.\n\n"
    "As order(), with blotter.TRADE_FIELDS or a ccxt unified trade. symbol, price and quantity "
    "(amount) are\n"
    "required. A trade counts as your own if it names an order, an account or a strategy.");
PyDoc_STRVAR(flush_doc, "flush(timeout=None, stage='committed')\n--\n\n"
                        "Wait until everything recorded so far, and everything that the journal "
                        "held before, is 'committed' in\n"
                        "PostgreSQL, or 'sent' to Redis.\n\n"
                        "timeout is in seconds, None: for ever. Raises TimeoutError, and the "
                        "records stay in the journal;\n"
                        "RuntimeError once closed, in a forked child, and with sender='none'. In a "
                        "coroutine await committed().");
PyDoc_STRVAR(stats_doc, "stats()\n--\n\nReturn counters and states, a blotter.Stats. Cheap. Raises "
                        "RuntimeError once closed.");
PyDoc_STRVAR(
    events_doc,
    "events()\n--\n\n"
    "Return the events that events() has not returned yet, oldest first: a list of blotter.Event, "
    "often empty.\n\n"
    "For loops that look now and then; in a coroutine watch() awaits them. The newest 64 are kept, "
    "also after\n"
    "close(); an event's `missed` says how many were forgotten before it. Cheap, and never waits. "
    "Raises\n"
    "RuntimeError in a forked child, and with sender='none', where `blotter ship` logs them.");
PyDoc_STRVAR(
    close_doc,
    "close(timeout=5.0)\n--\n\n"
    "Send what can be sent within timeout seconds (None: all of it), and stop. Returns how many "
    "records stay in\n"
    "the journal unsent: the next Producer of this exchange on this machine, or `blotter ship`, "
    "sends them.\n\n"
    "Closing again does nothing. In a coroutine: await asyncio.to_thread(producer.close).");
PyDoc_STRVAR(
    producer_doc,
    "Producer(exchange, *, redis=None, journal=None, lane=None, sender='thread', slots=0, "
    "slot_bytes=0,\n"
    "         info=False, wake=False, sync='none', redis_password=None, poll_interval_us=0,\n"
    "         sync_interval_ms=0)\n--\n\n");

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS
#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL
static PyMethodDef methods[] = {
    {"order", (PyCFunction)(void (*)(void))producer_order, METH_FASTCALL | METH_KEYWORDS,
     order_doc},
    {"trade", (PyCFunction)(void (*)(void))producer_trade, METH_FASTCALL | METH_KEYWORDS,
     trade_doc},
    {"flush", KEYWORDS(producer_flush), flush_doc},
    {"stats", producer_stats, METH_NOARGS, stats_doc},
    {"close", KEYWORDS(producer_close), close_doc},
    {"events", producer_events, METH_NOARGS, events_doc},
    {"_reached", producer_reached, METH_VARARGS, NULL},
    {"_notify", producer_notify, METH_VARARGS, NULL},
    {"_wakeup", producer_wakeup, METH_O, NULL},
    {"__enter__", producer_enter, METH_NOARGS, NULL},
    {"__exit__", FAST(producer_exit), NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"exchange", T_OBJECT, offsetof(struct producer, exchange), READONLY, "the exchange, as given"},
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
