/* object.c: records what a call gives that is more than a dict of fields: any object of ccxt's but
 * most orders and trades, which draft.c reads faster.
 *
 * The object is written as JSON, and read as `blotter publish` reads its lines: there is one set of
 * rules. The keywords of the call, and the constants of a binding, are then laid over the records.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "producer.h"
#include "schema/clock.h"
#include "schema/json_lines.h"
#include "stored.h"

enum { NS_PER_MS = 1000000 };

/* The keywords of an order that are for its trades, too. */
#define NESTED_KEYWORDS                                                                           \
    (UINT64_C(1) << ORDER_account | UINT64_C(1) << ORDER_strategy | UINT64_C(1) << ORDER_symbol | \
     UINT64_C(1) << ORDER_market_type | UINT64_C(1) << ORDER_order_id |                           \
     UINT64_C(1) << ORDER_client_order_id | UINT64_C(1) << ORDER_side |                           \
     UINT64_C(1) << ORDER_position_side | UINT64_C(1) << ORDER_origin)

struct object_call {
    struct producer *producer;
    struct recorder *recorders;
    enum record_kind kind;
    PyObject *info;     /* a dict, or a list of them; nobody else has them */
    PyObject *keywords; /* a dict; nor has anybody else that */
    int precision_mode;
    struct draft *given; /* what the keywords say */
    struct value_context *context;
    struct json_lines lines;
    struct blotter_entry *entries;
};

static const struct key_table *table_of(const struct object_call *call, enum record_kind kind)
{
    return &call->producer->core->keys[kind];
}

/* --- the arguments --- */

static bool object_has(PyObject *dict, const char *name)
{
    PyObject *value = PyDict_GetItemString(dict, name);
    return value != NULL && !value_is_absent(value);
}

/* Says whether it names itself by our own names: then no key of it is ccxt's. */
static bool has_own_id(const struct object_call *call, PyObject *info)
{
    static const char *const names[] = {"order_id", "client_order_id", "trade_id", "entry_id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (object_has(info, names[i]) || object_has(call->keywords, names[i])) {
            return true;
        }
    }
    return false;
}

/* Returns a mapping as a dict of our own, unless it is an object of another kind; NULL with an
 * exception set. place: where it stands, for messages. */
static PyObject *copy_object(const struct object_call *call, PyObject *info, const char *place)
{
    if (!value_is_mapping(info)) {
        return PyErr_Format(PyExc_TypeError, "%s%.100R: a mapping is wanted, not %s", place, info,
                            Py_TYPE(info)->tp_name);
    }
    PyObject *copy = value_copy_mapping(info);
    const char *veto = copy != NULL ? ccxt_kind_veto(call->kind, key_marks(copy)) : NULL;
    if (veto != NULL && !has_own_id(call, copy)) {
        PyErr_Format(PyExc_ValueError, "%sthis is %s", place, veto);
        Py_CLEAR(copy);
    }
    return copy;
}

static PyObject *copy_list(const struct object_call *call, PyObject *given)
{
    char place[32];
    PyObject *list = PySequence_List(given);
    if (call->kind != RECORD_POSITION) {
        PyErr_Format(PyExc_TypeError, "%s() takes one mapping, not a list",
                     record_schemas[call->kind].name);
        Py_CLEAR(list);
    }
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        snprintf(place, sizeof place, "[%zd]: ", i);
        PyObject *copy = copy_object(call, PyList_GET_ITEM(list, i), place);
        if (copy == NULL || PyList_SetItem(list, i, copy) != 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* Moves those keywords to the object that change what other keys of it mean. */
static int move_shaped(const struct object_call *call)
{
    static const char *const names[] = {"fee", "fees", "trades", "amount", "side"};
    bool any = call->kind <= RECORD_TRADE && PyDict_GET_SIZE(call->keywords) > 0;
    for (size_t i = 0; any && i < sizeof names / sizeof *names; i++) {
        PyObject *value = PyDict_GetItemString(call->keywords, names[i]);
        if (value != NULL && !value_is_absent(value) &&
            (PyDict_SetItemString(call->info, names[i], value) != 0 ||
             PyDict_DelItemString(call->keywords, names[i]) != 0)) {
            return -1;
        }
    }
    return 0;
}

/* Takes copies, as Python code may run while they are read. Returns -1 with an exception set. */
static int take_arguments(struct object_call *call, PyObject *info, PyObject *keywords)
{
    call->keywords = PyDict_Copy(keywords);
    if (call->keywords == NULL) {
        return -1;
    }
    call->info = info == Py_None                             ? PyDict_New()
                 : PyList_Check(info) || PyTuple_Check(info) ? copy_list(call, info)
                                                             : copy_object(call, info, "");
    return call->info != NULL ? move_shaped(call) : -1;
}

/* --- the object as JSON --- */

/* Returns a time as the digits that JSON has of it: a datetime, or a number of another library. */
static PyObject *time_object(struct object_call *call, const struct key *key, PyObject *value)
{
    int64_t ns;
    if (PyFloat_Check(value) && PyFloat_AS_DOUBLE(value) != 0 &&
        isfinite(PyFloat_AS_DOUBLE(value)) && key->how == CCXT_TIME_NS) {
        /* a double cannot hold today's: it must not become an integer */
        PyObject *text = PyFloat_Type.tp_repr(value);
        PyObject *number =
            text != NULL ? PyObject_CallOneArg(call->context->decimal_type, text) : NULL;
        Py_XDECREF(text);
        return number;
    }
    if (PyLong_CheckExact(value) || PyUnicode_Check(value) || PyFloat_Check(value) ||
        value_time(call->context, value, (enum ccxt_how)key->how, &ns) != TAKEN) {
        return PyErr_Occurred() != NULL ? NULL : Py_NewRef(value);
    }
    if (key->how == CCXT_TIME_NS) {
        return PyLong_FromLongLong(ns);
    }
    return ns % NS_PER_MS == 0 ? PyLong_FromLongLong(ns / NS_PER_MS)
                               : PyUnicode_FromFormat("%lld.%06lld", (long long)(ns / NS_PER_MS),
                                                      (long long)(ns % NS_PER_MS));
}

/* Returns a value as JSON can say it, where the field tells more than the value. */
static PyObject *plain_object(struct object_call *call, const struct key *key, PyObject *value)
{
    bool flag;
    if (key == NULL) {
        return Py_NewRef(value);
    }
    if (key->how == CCXT_TIME_NS || key->how == CCXT_TIME_MS || key->how == CCXT_TIME_EITHER) {
        return time_object(call, key, value);
    }
    if (key->how == CCXT_BOOL && value_bool(call->context, value, &flag) == TAKEN) {
        return PyBool_FromLong(flag);
    }
    return Py_NewRef(value);
}

static enum outcome add_pair(struct object_call *call, struct json *json, PyObject *name,
                             PyObject *value)
{
    const struct key *key =
        PyUnicode_Check(name) ? key_find(table_of(call, call->kind), name) : NULL;
    bool info = key != NULL && key->how == CCXT_INFO;
    bool whole = info || (key != NULL && key->how == CCXT_EXTRA);
    if (value == Py_None || (info && call->kind != RECORD_CASH && !call->producer->take_info)) {
        return TAKEN;
    }
    PyObject *plain = plain_object(call, key, value);
    if (plain == NULL) {
        return value_fail(call->context, NULL, NULL);
    }
    /* an order's trades have messages of their own; elsewhere it matters what was there */
    json->prune = !whole && !call->producer->take_info && call->kind <= RECORD_TRADE;
    enum outcome outcome = json_add(json, name, plain);
    Py_DECREF(plain);
    return outcome;
}

/* Writes a dict that nobody else has. Python code that runs meanwhile cannot change it. */
static const char *write_object(struct object_call *call, struct json *json, PyObject *dict)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    enum outcome outcome = TAKEN;
    while (outcome == TAKEN && PyDict_Next(dict, &position, &name, &value)) {
        outcome = add_pair(call, json, name, value);
    }
    if (outcome != TAKEN) {
        if (PyErr_Occurred() == NULL) {
            PyErr_SetString(call->context->problem_type, call->context->problem);
        }
        return NULL;
    }
    const char *text = json_end(json);
    return text != NULL ? text : "{}";
}

/* --- its records --- */

static bool is_told(const struct object_call *call, unsigned field)
{
    const struct draft *constants = call->recorders[call->kind].constants;
    return (call->given->given >> field & 1) != 0 ||
           (constants != NULL && (constants->given >> field & 1) != 0);
}

static const char *account_of(const struct object_call *call)
{
    const struct draft *constants = call->recorders[RECORD_CASH].constants;
    if (call->kind != RECORD_CASH || !is_told(call, CASH_account)) {
        return NULL;
    }
    return (call->given->given >> CASH_account & 1) != 0 ? call->given->of.cash.account
                                                         : constants->of.cash.account;
}

static struct json_source source_of(const struct object_call *call)
{
    bool nothing = PyDict_Check(call->info) && PyDict_GET_SIZE(call->info) == 0;
    return (struct json_source){
        .exchange = PyUnicode_AsUTF8(call->producer->exchange),
        .account = account_of(call),
        .kind = (int)call->kind,
        .precision_mode = call->precision_mode,
        .snapshot = nothing ? 0 : clock_wall_ns(),
        .keep_info = call->producer->take_info != 0,
        .has_symbol = call->kind == RECORD_ORDER && is_told(call, ORDER_symbol),
        .has_currency = call->kind == RECORD_BALANCE && is_told(call, BALANCE_currency),
        .lenient = true,
        .recognised = true,
    };
}

static void raise_unread(const struct object_call *call, PyObject *dict)
{
    const char *problem = call->lines.problem;
    PyObject *exchange = PyDict_GetItemString(dict, "exchange");
    if (exchange != NULL && strncmp(problem, "exchange:", strlen("exchange:")) == 0) {
        PyErr_Format(PyExc_ValueError,
                     "exchange: %.100R: not the exchange that this producer records", exchange);
    } else {
        PyErr_SetString(PyExc_ValueError, problem);
    }
}

static int read_dict(struct object_call *call, const struct json_source *source, PyObject *dict)
{
    struct json json;
    int status = -1;
    json_init(&json, call->context);
    json.mark = true;
    const char *text = write_object(call, &json, dict);
    if (text != NULL) {
        status = json_lines_add(&call->lines, source, text, strlen(text));
        if (status != 0) {
            raise_unread(call, dict);
        }
    }
    json_release(&json);
    return status;
}

static int read_object(struct object_call *call)
{
    struct json_source source = source_of(call);
    if (PyDict_Check(call->info)) {
        return read_dict(call, &source, call->info);
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(call->info); i++) {
        if (read_dict(call, &source, PyList_GET_ITEM(call->info, i)) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- keywords and constants --- */

/* Adds the members of the keyword `extra` to those of a record. */
static int merge_extra(struct object_call *call, const struct key *key, struct json_line *line)
{
    char *own = *(char **)((char *)&call->given->of + key->offset);
    char **theirs = (char **)((char *)&line->order + key->offset);
    if (own == NULL || *theirs == NULL) {
        *theirs = own != NULL ? own : *theirs;
        return 0;
    }
    size_t length = strlen(*theirs) - 1; /* without its brace */
    char *both = arena_take(&call->context->arena, length + 1 + strlen(own) + 1);
    if (both == NULL) {
        return -1;
    }
    memcpy(both, *theirs, length);
    both[length] = ',';
    strcpy(both + length + 1, own + 1);
    *theirs = both;
    return 0;
}

/* Lays the keywords over a record. The trade of an order has of them what it lacks, as its ids, and
 * whose it is. */
static int lay_over(struct object_call *call, struct json_line *line)
{
    const struct key_table *table = table_of(call, line->kind);
    const struct draft *constants = call->recorders[line->kind].constants;
    union draft_struct *of = (union draft_struct *)&line->order;
    if (line->nested) {
        draft_give(call->given, call->given->given & NESTED_KEYWORDS, table, of, false);
    } else {
        draft_give(call->given, call->given->given, table, of, true);
        if (merge_extra(call, table->extra, line) != 0) {
            return -1;
        }
    }
    if (constants != NULL) {
        draft_give(constants, constants->given, table, of, false);
    }
    return 0;
}

/* --- recording --- */

/* Finds the value that a field was given, and raises what is wrong with it, if anything is. */
static void raise_value(struct object_call *call, PyObject *dict, const char *problem)
{
    struct draft_options options =
        recorder_options(call->producer, &call->recorders[call->kind], call->kind);
    const struct key *field =
        key_of_name(table_of(call, call->kind), problem, strcspn(problem, ":"));
    PyObject *name, *value;
    Py_ssize_t position = 0;
    options.strict = options.flat = true;
    options.constants = NULL;
    while (field != NULL && PyErr_Occurred() == NULL &&
           PyDict_Next(dict, &position, &name, &value)) {
        const struct key *key = PyUnicode_Check(name) ? key_find(options.table, name) : NULL;
        if (key == NULL || key->field != field->field || value_is_absent(value)) {
            continue;
        }
        struct draft draft;
        PyObject *one = PyDict_New();
        if (one != NULL && PyDict_SetItem(one, name, value) == 0) {
            PyObject *args[] = {one};
            if (draft_take(&draft, &options, args, 1, NULL) != FAILED) {
                draft_raise(&draft, problem);
            }
            draft_release(&draft);
        }
        Py_XDECREF(one);
    }
}

/* Raises what does not fit: the records are too many, or one of them is too long. */
static PyObject *raise_too_long(const struct object_call *call, const char *problem)
{
    size_t count = call->lines.count;
    struct blotter_stats stats = {0};
    if (call->producer->tape == NULL) {
        blotter_stats(call->producer->handle, &stats);
    }
    if (stats.slots > 0 && count > (size_t)stats.slots / 2) {
        return PyErr_Format(PyExc_ValueError,
                            "its %zu records do not fit half of the journal: open with more slots",
                            count);
    }
    return recording_raise_long(problem);
}

static PyObject *raise_object(struct object_call *call, int64_t status)
{
    size_t index;
    const char *problem = recording_problem(call->producer, &index);
    PyObject *info = call->info;
    if (status == BLOTTER_TOO_LONG) {
        return raise_too_long(call, problem);
    }
    if (status != BLOTTER_INVALID) {
        return producer_raise(call->producer, status);
    }
    if (PyList_Check(info)) {
        info =
            index < (size_t)PyList_GET_SIZE(info) ? PyList_GET_ITEM(info, (Py_ssize_t)index) : NULL;
    }
    if (index < call->lines.count && !call->lines.lines[index].nested && info != NULL) {
        const char *wrong = call->lines.lines[index].problem; /* then it is missing for that */
        size_t length = strcspn(problem, ":");
        problem = strncmp(problem, wrong, length + 1) == 0 ? wrong : problem;
        raise_value(call, info, problem);
        if (PyErr_Occurred() == NULL) {
            raise_value(call, call->keywords, problem);
        }
    }
    if (PyErr_Occurred() == NULL) {
        PyErr_SetString(PyExc_ValueError, problem);
    }
    return NULL;
}

static PyObject *submit_object(struct object_call *call)
{
    struct producer *producer = call->producer;
    size_t count = call->lines.count;
    unsigned misplaced = call->given->misplaced;
    call->entries = PyMem_Calloc(count + 1, sizeof *call->entries);
    if (call->entries == NULL) {
        return PyErr_NoMemory();
    }
    for (size_t i = 0; i < count; i++) {
        struct json_line *line = &call->lines.lines[i];
        if (lay_over(call, line) != 0) {
            return NULL;
        }
        misplaced += line->misplaced;
        call->entries[i] = (struct blotter_entry){.kind = (int)line->kind, .record = &line->order};
    }
    int64_t seq = producer->tape != NULL ? stored_submit(producer, call->entries, count)
                                         : blotter_submit(producer->handle, call->entries, count);
    if (seq <= 0) {
        return raise_object(call, seq);
    }
    producer->misplaced += misplaced;
    return PyLong_FromLongLong(seq);
}

/* Reads the keywords, which have the names of fields. */
static int read_keywords(struct object_call *call)
{
    struct draft_options options =
        recorder_options(call->producer, &call->recorders[call->kind], call->kind);
    PyObject *args[] = {call->keywords};
    options.flat = true;
    options.merge = false;
    options.constants = NULL;
    return draft_take(call->given, &options, args, 1, NULL) == TAKEN ? 0 : -1;
}

static PyObject *record_copies(struct object_call *call)
{
    PyObject *result = NULL;
    call->context->decimal_type = call->producer->core->decimal_type;
    call->context->plain_only = false;
    arena_init(&call->context->arena);
    if (read_keywords(call) == 0 && read_object(call) == 0) {
        result = submit_object(call);
    }
    draft_release(call->given);
    json_lines_release(&call->lines);
    arena_release(&call->context->arena);
    PyMem_Free(call->entries);
    return result;
}

PyObject *record_object(struct producer *producer, struct recorder *recorders, PyObject *object,
                        enum record_kind kind, PyObject *info, PyObject *keywords,
                        int precision_mode)
{
    struct draft given;
    struct value_context context;
    struct object_call call = {.producer = producer,
                               .recorders = recorders,
                               .kind = kind,
                               .precision_mode = precision_mode,
                               .given = &given,
                               .context = &context};
    PyObject *result = NULL;
    if (producer_is_open(producer) && take_arguments(&call, info, keywords) == 0) {
        result = record_copies(&call);
    }
    Py_XDECREF(call.info);
    Py_XDECREF(call.keywords);
    return result != NULL ? result : recording_refuse(producer, object, kind, info, keywords);
}

PyObject *record_arguments(struct producer *producer, struct recorder *recorders, PyObject *object,
                           PyObject *args)
{
    const char *name;
    PyObject *info, *keywords;
    int precision_mode;
    if (!PyArg_ParseTuple(args, "sOO!i:_record_object", &name, &info, &PyDict_Type, &keywords,
                          &precision_mode)) {
        return NULL;
    }
    int kind = record_kind_of(name, strlen(name));
    if (kind < 0 || kind >= RECORD_KINDS || kind == RECORD_SESSION) {
        return PyErr_Format(PyExc_TypeError, "%s: a kind of record is wanted", name);
    }
    return record_object(producer, recorders, object, (enum record_kind)kind, info, keywords,
                         precision_mode);
}
