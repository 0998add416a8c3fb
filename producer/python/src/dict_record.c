/* dict_record.c: see dict_record.h. */
#include "dict_record.h"

#include <string.h>

enum { RANK_OF_MAPPINGS = 4 }; /* keywords win */

union member {
    const char *text;
    int64_t time;
    enum blotter_bool flag;
};

/* --- fields
 * ----------------------------------------------------------------------------------------------------------------
 */

static inline bool is_given(const struct record *record, const struct key *key)
{
    return record->given >> key->field & 1;
}

static inline void store(struct record *record, const struct key *key, union member value,
                         const struct record_source *source)
{
    void *at = (char *)&record->of + key->offset;
    if (key->kind == KEY_TIME || key->kind == KEY_TIME_MS) {
        *(int64_t *)at = value.time;
    } else if (key->kind == KEY_BOOL) {
        *(enum blotter_bool *)at = value.flag;
    } else {
        *(const char **)at = value.text;
    }
    record->given |= UINT64_C(1) << key->field;
    record->sources[key->field] = *source;
}

static bool is_same(const struct record *record, const struct key *key, union member value)
{
    const void *at = (const char *)&record->of + key->offset;
    if (key->kind == KEY_TIME || key->kind == KEY_TIME_MS) {
        return *(const int64_t *)at == value.time;
    }
    if (key->kind == KEY_BOOL) {
        return *(const enum blotter_bool *)at == value.flag;
    }
    return strcmp(*(const char *const *)at, value.text) == 0;
}

/* Two keys for one field. A keyword takes the place of the mapping's same key; of others nothing is
 * lost. */
static enum outcome settle(struct record *record, const struct key *key, union member value,
                           const struct record_source *source)
{
    struct record_source other = record->sources[key->field];
    bool same = is_same(record, key, value), better = source->rank < other.rank;
    if (better) {
        store(record, key, value, source);
    }
    if (same || other.key == source->key) {
        return TAKEN;
    }
    return better ? json_add(&record->extra, other.name, other.value)
                  : json_add(&record->extra, source->name, source->value);
}

static inline enum outcome place(struct record *record, const struct key *key, union member value)
{
    if (is_given(record, key)) {
        return settle(record, key, value, &record->now);
    }
    store(record, key, value, &record->now);
    return TAKEN;
}

static inline enum outcome take_text(struct record *record, const struct key *key, PyObject *value)
{
    union member member;
    enum outcome outcome = value_text(&record->context, value, &member.text);
    return outcome == TAKEN ? place(record, key, member) : outcome;
}

static inline enum outcome take_decimal(struct record *record, const struct key *key,
                                        PyObject *value)
{
    union member member;
    enum outcome outcome = value_decimal(&record->context, value, &member.text);
    return outcome == TAKEN ? place(record, key, member) : outcome;
}

static enum outcome take_time(struct record *record, const struct key *key, PyObject *value)
{
    union member member;
    enum outcome outcome =
        value_time(&record->context, value, key->kind == KEY_TIME_MS ? 1000000 : 1, &member.time);
    return outcome == TAKEN ? place(record, key, member) : outcome;
}

static enum outcome take_bool(struct record *record, const struct key *key, PyObject *value)
{
    if (!PyBool_Check(value)) {
        return value_fail(&record->context, PyExc_TypeError, "bool is wanted");
    }
    return place(record, key,
                 (union member){.flag = value == Py_True ? BLOTTER_TRUE : BLOTTER_FALSE});
}

/* --- ccxt's fees
 * ------------------------------------------------------------------------------------------------------------
 */

static enum outcome take_fee_part(struct record *record, PyObject *name, PyObject *value,
                                  bool *more)
{
    if (value == Py_None) {
        return TAKEN;
    }
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "cost") == 0) {
        return take_decimal(record, record->options->table->fee, value);
    }
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "currency") == 0) {
        return take_text(record, record->options->table->fee_currency, value);
    }
    *more = true; /* a rate, for instance */
    return TAKEN;
}

/* {"cost": .., "currency": ..} into two fields; where there is more in it, all of it into `extra`
 * besides. */
static enum outcome take_fee(struct record *record, PyObject *fee)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    bool more = false;
    enum outcome outcome = TAKEN;
    while (outcome == TAKEN && PyDict_Next(fee, &position, &name, &value)) {
        Py_INCREF(value);
        outcome = take_fee_part(record, name, value, &more);
        Py_DECREF(value);
    }
    if (outcome == TAKEN && more) {
        outcome = json_add(&record->extra, record->now.name, record->now.value);
    }
    return outcome;
}

static enum outcome take_fee_or_decimal(struct record *record, PyObject *value)
{
    if (!PyDict_Check(value)) {
        return take_decimal(record, record->options->table->fee, value);
    }
    record->now.rank++; /* fee_currency itself comes first */
    return take_fee(record, value);
}

static bool is_empty_list(PyObject *value)
{
    return (PyList_Check(value) || PyTuple_Check(value)) && PySequence_Fast_GET_SIZE(value) == 0;
}

/* One fee is the fee. Of several, which may be in several currencies, none is. */
static enum outcome take_fees(struct record *record, PyObject *fees)
{
    if (is_empty_list(fees)) {
        return TAKEN;
    }
    if (PyList_Check(fees) && PyList_GET_SIZE(fees) == 1 &&
        PyDict_Check(PyList_GET_ITEM(fees, 0))) {
        PyObject *fee = PyList_GET_ITEM(fees, 0);
        Py_INCREF(fee);
        enum outcome outcome = take_fee(record, fee);
        Py_DECREF(fee);
        return outcome;
    }
    return json_add(&record->extra, record->now.name, fees);
}

/* --- keys of no field
 * -------------------------------------------------------------------------------------------------------
 */

static enum outcome take_exchange(struct record *record, PyObject *value)
{
    if (PyUnicode_Check(value) && PyUnicode_Compare(value, record->options->exchange) == 0) {
        return TAKEN;
    }
    return value_fail(&record->context, PyExc_ValueError,
                      "not the exchange that this producer records");
}

static enum outcome take_record_kind(struct record *record, PyObject *value)
{
    const char *kind = record->options->table->kind == RECORD_ORDER ? "order" : "trade";
    if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, kind) == 0) {
        return TAKEN;
    }
    return json_add(&record->extra, record->now.name, value);
}

static enum outcome take_special(struct record *record, const struct key *key, PyObject *value)
{
    switch ((enum key_kind)key->kind) {
    case KEY_FEES:
        return take_fees(record, value);
    case KEY_DATETIME:
        record->datetime = record->now;
        return TAKEN;
    case KEY_EXCHANGE:
        return take_exchange(record, value);
    case KEY_RECORD_KIND:
        return take_record_kind(record, value);
    case KEY_INFO:
        return record->options->take_info ? json_add(&record->extra, record->now.name, value)
                                          : TAKEN;
    case KEY_LIST:
        return is_empty_list(value) ? TAKEN : json_add(&record->extra, record->now.name, value);
    default:
        return json_add_all(&record->extra, value); /* KEY_JSON */
    }
}

/* --- the whole
 * -------------------------------------------------------------------------------------------------------------
 */

static enum outcome take_known(struct record *record, const struct key *key, PyObject *value)
{
    switch ((enum key_kind)key->kind) {
    case KEY_TEXT:
        return take_text(record, key, value);
    case KEY_DECIMAL:
        return take_decimal(record, key, value);
    case KEY_TIME:
    case KEY_TIME_MS:
        return take_time(record, key, value);
    case KEY_BOOL:
        return take_bool(record, key, value);
    case KEY_FEE:
        return take_fee_or_decimal(record, value);
    default:
        return take_special(record, key, value);
    }
}

static inline enum outcome take_pair(struct record *record, PyObject *name, PyObject *value)
{
    if (value == Py_None) {
        return TAKEN;
    }
    record->now.name = name;
    record->now.value = value;
    if (!PyUnicode_Check(name)) {
        return value_fail(&record->context, PyExc_TypeError, "keys are str");
    }
    const struct key *key = key_find(record->options->table, name);
    if (key == NULL) {
        return json_add(&record->extra, name, value);
    }
    record->now.key = key;
    record->now.rank = record->rank + key->rank;
    return take_known(record, key, value);
}

static enum outcome take_dict(struct record *record, PyObject *dict)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    enum outcome outcome = TAKEN;
    record->rank = RANK_OF_MAPPINGS;
    while (outcome == TAKEN && PyDict_Next(dict, &position, &name, &value)) {
        outcome = take_pair(record, name, value);
    }
    return outcome;
}

static enum outcome take_keywords(struct record *record, PyObject *const *values, PyObject *names)
{
    enum outcome outcome = TAKEN;
    record->rank = 0;
    for (Py_ssize_t i = 0; outcome == TAKEN && i < PyTuple_GET_SIZE(names); i++) {
        outcome = take_pair(record, PyTuple_GET_ITEM(names, i), values[i]);
    }
    return outcome;
}

/* What can be told only when all keys have been seen. */
static enum outcome finish(struct record *record)
{
    const struct key_table *table = record->options->table;
    enum outcome outcome = TAKEN;
    if (record->datetime.name != NULL && !is_given(record, table->exchange_time)) {
        record->now = record->datetime;
        outcome = json_add(&record->extra, record->now.name, record->now.value);
    }
    if (outcome == TAKEN) {
        *(const char **)((char *)&record->of + table->extra->offset) = json_end(&record->extra);
    }
    return outcome;
}

static void begin(struct record *record, bool plain_only)
{
    record->context.plain_only = plain_only;
    record->given = 0;
    record->datetime.name = NULL;
    memset(&record->of, 0, sizeof record->of);
    arena_init(&record->context.arena);
    json_init(&record->extra, &record->context);
}

static void end(struct record *record)
{
    json_release(&record->extra);
    arena_release(&record->context.arena);
}

static enum outcome take_all(struct record *record, PyObject *dict, PyObject *const *values,
                             PyObject *names)
{
    enum outcome outcome = dict != NULL ? take_dict(record, dict) : TAKEN;
    if (outcome == TAKEN && names != NULL) {
        outcome = take_keywords(record, values, names);
    }
    return outcome == TAKEN ? finish(record) : outcome;
}

static void raise_shown(const struct value_context *context, PyObject *name, PyObject *value)
{
    PyObject *text = PyObject_Repr(value);
    if (text == NULL) {
        PyErr_Clear();
        text = PyUnicode_FromString("(a value that cannot be shown)");
    }
    if (text != NULL && context->problem_type == PyExc_TypeError) {
        PyErr_Format(PyExc_TypeError, "%S: %.100U: %s, not %s", name, text, context->problem,
                     Py_TYPE(value)->tp_name);
    } else if (text != NULL) {
        PyErr_Format(context->problem_type, "%S: %.100U: %s", name, text, context->problem);
    }
    Py_XDECREF(text);
}

/* Both are held: showing them may run Python code, which may drop them from the caller's
 * dictionary. */
static void raise_problem(const struct record *record)
{
    if (record->context.problem_type == NULL) {
        return; /* raised already */
    }
    PyObject *name = Py_NewRef(record->now.name), *value = Py_NewRef(record->now.value);
    raise_shown(&record->context, name, value);
    Py_DECREF(name);
    Py_DECREF(value);
}

/* NULL: an exception is raised. */
static PyObject *copy_mapping(PyObject *mapping)
{
    if (PyDict_CheckExact(mapping)) {
        return PyDict_Copy(mapping);
    }
    if (!value_is_mapping(mapping)) {
        PyErr_Format(PyExc_TypeError, "%.100R: a mapping is wanted, not %s", mapping,
                     Py_TYPE(mapping)->tp_name);
        return NULL;
    }
    PyObject *copy = PyDict_New();
    if (copy != NULL && PyDict_Update(copy, mapping) != 0) {
        Py_CLEAR(copy);
    }
    return copy;
}

static enum outcome take_again(struct record *record, PyObject *mapping, PyObject *const *values,
                               PyObject *names)
{
    end(record);
    begin(record, false);
    if (mapping && (record->copy = copy_mapping(mapping)) == NULL) {
        return value_fail(&record->context, NULL, NULL);
    }
    return take_all(record, record->copy, values, names);
}

int record_take(struct record *record, const struct record_options *options, PyObject *const *args,
                Py_ssize_t count, PyObject *names)
{
    record->options = options;
    record->copy = NULL;
    record->context.decimal_type = options->decimal_type;
    begin(record, true);
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "one mapping is wanted, and keywords, not %zd arguments",
                     count);
        return -1;
    }
    PyObject *mapping = count == 1 && args[0] != Py_None ? args[0] : NULL;
    enum outcome outcome = AGAIN;
    if (mapping == NULL || PyDict_CheckExact(mapping)) {
        outcome = take_all(record, mapping, args + count, names);
    }
    if (outcome == AGAIN) {
        outcome = take_again(record, mapping, args + count, names);
    }
    if (outcome == FAILED) {
        raise_problem(record);
    }
    return outcome == TAKEN ? 0 : -1;
}

void record_release(struct record *record)
{
    end(record);
    Py_XDECREF(record->copy);
}

/* The library names the field; the caller may know it by another name. */
void record_raise(const struct record *record, const char *problem)
{
    size_t length = strcspn(problem, ":");
    for (uint8_t i = 0; i < FIELDS_MAX; i++) {
        const struct record_source *source = &record->sources[i];
        if (!(record->given >> i & 1)) {
            continue;
        }
        const char *name = key_of_field(record->options->table->kind, i)->name;
        if (strlen(name) == length && strncmp(name, problem, length) == 0) {
            PyObject *given_as = Py_NewRef(source->name),
                     *value = Py_NewRef(source->value); /* see raise_problem */
            PyErr_Format(PyExc_ValueError, "%S: %.100R%s", given_as, value, problem + length);
            Py_DECREF(given_as);
            Py_DECREF(value);
            return;
        }
    }
    PyErr_SetString(PyExc_ValueError, problem);
}
