/* draft.c: see draft.h. */
#include "draft.h"

#include <string.h>

#include "schema/decimal.h"
#include "schema/limits.h"

enum { NS_PER_MS = 1000000 };

union member {
    const char *text;
    int64_t time;
    enum blotter_bool flag;
};

/* --- fields --- */

static inline bool is_given(const struct draft *draft, const struct key *key)
{
    return (draft->given >> key->field & 1) != 0;
}

static bool is_time(const struct key *key)
{
    return key->how == CCXT_TIME_NS || key->how == CCXT_TIME_MS || key->how == CCXT_TIME_EITHER;
}

static union member member_of(const union draft_struct *of, const struct key *key)
{
    const void *at = (const char *)of + key->offset;
    if (is_time(key)) {
        return (union member){.time = *(const int64_t *)at};
    }
    if (key->how == CCXT_BOOL) {
        return (union member){.flag = *(const enum blotter_bool *)at};
    }
    return (union member){.text = *(const char *const *)at};
}

static inline void set_member(union draft_struct *of, const struct key *key, union member value)
{
    void *at = (char *)of + key->offset;
    if (key->how == CCXT_TEXT || key->how == CCXT_DECIMAL) {
        *(const char **)at = value.text;
    } else if (is_time(key)) {
        *(int64_t *)at = value.time;
    } else if (key->how == CCXT_BOOL) {
        *(enum blotter_bool *)at = value.flag;
    } else {
        *(const char **)at = value.text;
    }
}

/* Returns the struct, which is empty when it is first asked for. */
static inline union draft_struct *struct_of(struct draft *draft)
{
    if (!draft->has_struct) {
        memset(&draft->of, 0, key_struct_bytes(draft->options.table->kind));
        draft->has_struct = true;
    }
    return &draft->of;
}

static inline void store(struct draft *draft, const struct key *key, union member value,
                         const struct draft_source *source)
{
    set_member(struct_of(draft), key, value);
    draft->given |= key->bit;
    draft->stored |= key->bit;
    draft->open &= ~key->bit;
    draft->sources[key->field] = *source;
}

static bool is_double(const char *text)
{
    return *text == RECORD_DOUBLE_MARK;
}

static bool is_same(const struct key *key, union member other, union member value)
{
    if (is_time(key)) {
        return other.time == value.time;
    }
    if (key->how == CCXT_BOOL) {
        return other.flag == value.flag;
    }
    return strcmp(other.text, value.text) == 0;
}

/* Returns the value of a field that is given. That of a pair is read again: it is plain. */
static union member member_given(struct draft *draft, const struct key *key)
{
    const struct draft_source *source = &draft->sources[key->field];
    union member member = {0};
    if ((draft->stored >> key->field & 1) != 0) {
        return member_of(&draft->of, key);
    }
    if (is_time(key)) {
        (void)value_int_time(source->value, (enum ccxt_how)source->key->how, &member.time);
    } else if (key->how == CCXT_BOOL) {
        member.flag = source->value == Py_True ? BLOTTER_TRUE : BLOTTER_FALSE;
    } else {
        (void)value_decimal(&draft->context, source->value, &member.text);
    }
    return member;
}

/* Chooses between two keys of one field, unless they say the same: that of the lower rank, and the
 * other one is kept in `extra`. */
static enum outcome choose(struct draft *draft, const struct key *key, union member value)
{
    struct draft_source other = draft->sources[key->field];
    if (is_same(key, member_given(draft, key), value)) {
        return TAKEN;
    }
    if (!draft->options.flat) {
        return ODD;
    }
    if (key->rank >= other.key->rank) {
        return json_add(&draft->extra, draft->now.name, draft->now.value);
    }
    store(draft, key, value, &draft->now);
    return json_add(&draft->extra, other.name, other.value);
}

/* Compares with a constant of the binding. A value that differs wins, for this record. */
static bool is_constant(struct draft *draft, const struct key *key, union member value)
{
    const struct draft *constants = draft->options.constants;
    bool same = is_same(key, member_of(&constants->of, key), value);
    draft->overrides |= !same;
    return same;
}

static inline enum outcome place(struct draft *draft, const struct key *key, union member value)
{
    if (is_given(draft, key)) {
        return choose(draft, key, value);
    }
    if ((draft->constant >> key->field & 1) != 0 && is_constant(draft, key, value)) {
        return TAKEN;
    }
    store(draft, key, value, &draft->now);
    return TAKEN;
}

static enum outcome draft_fail(struct draft *draft, PyObject *type, const char *problem)
{
    return value_fail(&draft->context, type, problem);
}

static inline enum outcome take_text(struct draft *draft, const struct key *key, PyObject *value)
{
    union member member;
    enum outcome outcome = value_text(&draft->context, value, &member.text);
    if (outcome != TAKEN || *member.text == '\0') {
        return outcome;
    }
    if (PyUnicode_Check(value) && PyUnicode_GET_LENGTH(value) > LIMIT_TEXT_BYTES / 4 &&
        strlen(member.text) > LIMIT_TEXT_BYTES) {
        return draft_fail(draft, PyExc_ValueError, "longer than the limit");
    }
    return place(draft, key, member);
}

static bool is_decimal_text(const char *text)
{
    char canonical[LIMIT_DECIMAL_BYTES];
    size_t length = strlen(text);
    return decimal_is_canonical(text, length) || decimal_canonical(text, length, canonical) >= 0;
}

/* Checks the digits, unless the library does, which keeps a wrong value in `extra` under the
 * field's own name: where nothing is kept, the value is shown to the caller. */
static inline enum outcome take_decimal(struct draft *draft, const struct key *key, PyObject *value)
{
    union member member;
    enum outcome outcome = value_decimal(&draft->context, value, &member.text);
    if (outcome != TAKEN || *member.text == '\0') {
        return outcome;
    }
    bool checked = key->rank > 0 || !draft->options.flat || draft->options.strict;
    if (checked && !is_double(member.text) && !is_decimal_text(member.text)) {
        return draft_fail(draft, PyExc_ValueError,
                          "not a finite decimal number of at most 128 digits");
    }
    return place(draft, key, member);
}

/* Says whether a time is absent, as 0 is, and an empty text. */
static bool is_absent_time(PyObject *value)
{
    return (PyLong_CheckExact(value) || PyFloat_CheckExact(value) || PyUnicode_CheckExact(value)) &&
           PyObject_IsTrue(value) == 0;
}

/* Says whether it is a time whose digits count: object.c reads these as they are written. */
static bool is_written_time(PyObject *value)
{
    return PyUnicode_Check(value) ||
           (PyFloat_Check(value) && floor(PyFloat_AS_DOUBLE(value)) != PyFloat_AS_DOUBLE(value));
}

static enum outcome take_time(struct draft *draft, const struct key *key, PyObject *value)
{
    union member member;
    if (is_absent_time(value)) {
        return TAKEN;
    }
    if (!draft->options.flat && is_written_time(value)) {
        return ODD;
    }
    enum outcome outcome =
        value_time(&draft->context, value, (enum ccxt_how)key->how, &member.time);
    return outcome == TAKEN ? place(draft, key, member) : outcome;
}

static enum outcome take_bool(struct draft *draft, const struct key *key, PyObject *value)
{
    bool flag;
    enum outcome outcome = value_bool(&draft->context, value, &flag);
    return outcome == TAKEN
               ? place(draft, key, (union member){.flag = flag ? BLOTTER_TRUE : BLOTTER_FALSE})
               : outcome;
}

/* Writes a map of currencies, {"USDT": 0.1}, as JSON text. */
static enum outcome take_amounts(struct draft *draft, const struct key *key, PyObject *value)
{
    struct json json;
    json_init(&json, &draft->context);
    enum outcome outcome = json_add_all(&json, value);
    const char *text = outcome == TAKEN ? json_end(&json) : NULL;
    if (text != NULL) {
        char *kept = arena_take(&draft->context.arena, strlen(text) + 1);
        outcome = kept == NULL ? draft_fail(draft, NULL, NULL)
                               : place(draft, key, (union member){.text = strcpy(kept, text)});
    }
    json_release(&json);
    return outcome;
}

/* --- ccxt's fees --- */

static bool is_named(PyObject *name, const char *wanted)
{
    return PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, wanted) == 0;
}

static enum outcome take_fee_part(struct draft *draft, PyObject *name, PyObject *value)
{
    enum outcome outcome = ODD; /* keys beside these */
    if (value == Py_None) {
        return TAKEN;
    }
    if (is_named(name, "cost")) {
        outcome = take_decimal(draft, draft->options.table->fee, value);
    } else if (is_named(name, "currency") && PyUnicode_Check(value)) {
        outcome = take_text(draft, draft->options.table->fee_currency, value);
    } else if (is_named(name, "rate")) {
        outcome = take_decimal(draft, draft->options.table->fee_rate, value);
    }
    return outcome == FAILED && draft->context.problem_type != NULL ? ODD : outcome;
}

static enum outcome take_fee_dict(struct draft *draft, PyObject *fee)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    enum outcome outcome = TAKEN;
    while (outcome == TAKEN && PyDict_Next(fee, &position, &name, &value)) {
        Py_INCREF(value);
        outcome = take_fee_part(draft, name, value);
        Py_DECREF(value);
    }
    return outcome;
}

static enum outcome take_fee(struct draft *draft, const struct key *key, PyObject *value)
{
    if (PyDict_CheckExact(value) && !draft->options.flat) {
        return take_fee_dict(draft, value);
    }
    return draft->options.flat || value_is_number(&draft->context, value) || PyUnicode_Check(value)
               ? take_decimal(draft, key, value)
               : ODD;
}

static bool is_plainly_equal(PyObject *a, PyObject *b)
{
    if (a == b) {
        return true;
    }
    if (PyFloat_CheckExact(a) && PyFloat_CheckExact(b)) {
        return PyFloat_AS_DOUBLE(a) == PyFloat_AS_DOUBLE(b);
    }
    return PyUnicode_CheckExact(a) && PyUnicode_CheckExact(b) && PyUnicode_Compare(a, b) == 0;
}

/* Compares two fees of the same keys in the same order. Others are left to object.c. */
static bool is_same_fee(PyObject *a, PyObject *b)
{
    PyObject *a_name, *a_value, *b_name, *b_value;
    Py_ssize_t a_position = 0, b_position = 0;
    if (a == b) {
        return true;
    }
    if (!PyDict_CheckExact(a) || !PyDict_CheckExact(b) || PyDict_Size(a) != PyDict_Size(b)) {
        return false;
    }
    while (PyDict_Next(a, &a_position, &a_name, &a_value) &&
           PyDict_Next(b, &b_position, &b_name, &b_value)) {
        if (!is_plainly_equal(a_name, b_name) || !is_plainly_equal(a_value, b_value)) {
            return false;
        }
    }
    return true;
}

static enum outcome take_only_fee(struct draft *draft, PyObject *fee)
{
    const struct key *key = draft->options.table->fee;
    if (!PyDict_CheckExact(fee) || is_given(draft, draft->options.table->fees)) {
        return ODD;
    }
    if (!is_given(draft, key) && !is_given(draft, draft->options.table->fee_currency)) {
        draft->now = draft->fees;
        enum outcome outcome = take_fee_dict(draft, fee);
        bool rate_alone = !is_given(draft, key) && is_given(draft, draft->options.table->fee_rate);
        return outcome == TAKEN && rate_alone ? ODD : outcome;
    }
    return is_given(draft, key) && is_same_fee(draft->sources[key->field].value, fee) ? TAKEN : ODD;
}

/* Takes a list of one fee. Several, or one that differs from `fee`, are left to object.c. Python
 * code that has run since the list was met, or runs now, may empty it, so the fee is held. */
static enum outcome draft_finish_fees(struct draft *draft)
{
    PyObject *list = draft->fees.value;
    if (PyList_GET_SIZE(list) != 1) {
        return ODD;
    }
    PyObject *fee = Py_NewRef(PyList_GET_ITEM(list, 0));
    enum outcome outcome = take_only_fee(draft, fee);
    Py_DECREF(fee);
    return outcome;
}

static enum outcome take_fees(struct draft *draft, const struct key *key, PyObject *value)
{
    if (value_is_absent(value)) {
        return TAKEN;
    }
    if (draft->options.flat) {
        return take_amounts(draft, key, value);
    }
    draft->fees = draft->now;
    return PyList_CheckExact(value) ? TAKEN : ODD;
}

/* --- keys of no field --- */

static enum outcome take_exchange(struct draft *draft, PyObject *value)
{
    if (value_is_absent(value) ||
        (PyUnicode_Check(value) && PyUnicode_Compare(value, draft->options.exchange) == 0)) {
        return TAKEN;
    }
    draft->options.strict = true; /* it costs the record */
    return draft_fail(draft, PyExc_ValueError, "not the exchange that this producer records");
}

static enum outcome take_other(struct draft *draft, PyObject *value)
{
    return value_is_absent(value) ? TAKEN : json_add(&draft->extra, draft->now.name, value);
}

static enum outcome take_kind(struct draft *draft, PyObject *value)
{
    return is_named(value, record_schemas[draft->options.table->kind].name) ? TAKEN
           : draft->options.flat ? take_other(draft, value)
                                 : ODD;
}

static enum outcome take_info(struct draft *draft, PyObject *value)
{
    if (!draft->options.take_info) {
        return TAKEN;
    }
    draft->extra.prune = false; /* the venue's message is kept as it is */
    enum outcome outcome = take_other(draft, value);
    draft->extra.prune = true;
    return outcome;
}

/* Says whether it is a plain dict whose keys are those of no field, which a wrong value of the
 * field would be kept under. */
static bool is_plain_extra(const struct draft *draft, PyObject *value)
{
    PyObject *name;
    Py_ssize_t position = 0;
    bool plain = PyDict_CheckExact(value);
    while (plain && PyDict_Next(value, &position, &name, NULL)) {
        plain = PyUnicode_Check(name) && key_find(draft->options.table, name) == NULL;
    }
    return plain;
}

static enum outcome take_extra(struct draft *draft, PyObject *value)
{
    if (!draft->options.flat && !is_plain_extra(draft, value)) {
        return ODD;
    }
    draft->extra.prune = false;
    enum outcome outcome = json_add_all(&draft->extra, value);
    draft->extra.prune = true;
    return outcome;
}

/* Takes a datetime. A keyword comes before the timestamp of the mapping. */
static enum outcome take_datetime(struct draft *draft, PyObject *value)
{
    if (value_is_absent(value)) {
        return TAKEN;
    }
    draft->datetime = draft->now;
    return draft->keywords ? ODD : TAKEN;
}

static enum outcome take_trades(struct draft *draft, PyObject *value)
{
    return value_is_absent(value) ? TAKEN
           : draft->options.flat  ? json_add(&draft->extra, draft->now.name, value)
                                  : ODD;
}

/* --- one pair --- */

static enum outcome take_known(struct draft *draft, const struct key *key, PyObject *value)
{
    switch ((enum ccxt_how)key->how) {
    case CCXT_TEXT:
        return take_text(draft, key, value);
    case CCXT_DECIMAL:
        return take_decimal(draft, key, value);
    case CCXT_BOOL:
        return take_bool(draft, key, value);
    case CCXT_TIME_NS:
    case CCXT_TIME_MS:
    case CCXT_TIME_EITHER:
        return take_time(draft, key, value);
    case CCXT_AMOUNTS:
        return take_fees(draft, key, value);
    case CCXT_EXTRA:
        return take_extra(draft, value);
    case CCXT_FEE:
        return take_fee(draft, key, value);
    case CCXT_DATETIME:
        return take_datetime(draft, value);
    case CCXT_TRADES:
        return take_trades(draft, value);
    case CCXT_INFO:
        return take_info(draft, value);
    case CCXT_EXCHANGE:
        return take_exchange(draft, value);
    case CCXT_KIND:
        return take_kind(draft, value);
    case CCXT_DROP:
        return TAKEN;
    }
    return TAKEN;
}

/* Keeps a value in `extra` that its field cannot take. */
static enum outcome draft_misplace(struct draft *draft, PyObject *name, PyObject *value)
{
    if (draft->context.problem_type == NULL || (draft->options.strict && draft->options.flat)) {
        return FAILED;
    }
    if (value_is_absent(value) || !draft->options.flat) {
        return value_is_absent(value) ? TAKEN : ODD;
    }
    if (draft->wrong.name == NULL) {
        draft->wrong = draft->now;
        draft->wrong_problem = draft->context.problem;
        draft->wrong_type = draft->context.problem_type;
    }
    draft->misplaced++;
    return json_add(&draft->extra, name, value);
}

static enum outcome take_unknown(struct draft *draft, PyObject *name, PyObject *value)
{
    draft->has_unknown = true;
    if (draft->keywords || draft->options.flat) {
        PyErr_Format(PyExc_TypeError, "%s() has no field '%U'",
                     record_schemas[draft->options.table->kind].name, name);
        return draft_fail(draft, NULL, NULL);
    }
    return take_other(draft, value);
}

/* Takes the usual case in a few instructions: a plain value of a field that nothing has given yet.
 */
static inline __attribute__((always_inline)) bool
take_plain(struct draft *draft, const struct key *key, PyObject *name, PyObject *value)
{
    if ((draft->open & key->bit) == 0 || !pairs_add(&draft->pairs, key, value)) {
        return false;
    }
    draft->given |= key->bit;
    draft->open -= key->bit;
    draft->sources[key->field] = (struct draft_source){name, value, key};
    return true;
}

static enum outcome take_pair(struct draft *draft, Py_ssize_t at, PyObject *name, PyObject *value)
{
    if (value == Py_None) {
        return TAKEN;
    }
    if (!PyUnicode_Check(name)) {
        return ODD;
    }
    const struct key *key = key_find_at(draft->options.table, draft->options.memory, at, name);
    if (key == NULL) {
        draft->now = (struct draft_source){.name = name, .value = value};
        return take_unknown(draft, name, value);
    }
    if (take_plain(draft, key, name, value)) {
        return TAKEN;
    }
    draft->now = (struct draft_source){name, value, key};
    enum outcome outcome = take_known(draft, key, value);
    return outcome == FAILED ? draft_misplace(draft, name, value) : outcome;
}

/* Takes first the keys that are those of the last dict, once all their values have been asked for:
 * a dict that was made a while ago has each in memory of its own. No Python code runs meanwhile. */
static enum outcome take_dict(struct draft *draft, PyObject *dict)
{
    const struct key_memory *memory = draft->options.memory;
    PyObject *name, *value, *values[KEYS_REMEMBERED];
    Py_ssize_t position = 0, count = 0, at;
    enum outcome outcome = TAKEN;
    draft->keywords = false;
    bool more = PyDict_Next(dict, &position, &name, &value);
    while (more && draft->context.plain_only && count < KEYS_REMEMBERED &&
           memory->names[count] == name) {
        __builtin_prefetch(value);
        values[count++] = value;
        more = PyDict_Next(dict, &position, &name, &value);
    }
    for (at = 0; outcome == TAKEN && at < count; at++) {
        const struct key *key = memory->keys[at];
        if (values[at] != Py_None &&
            (key == NULL || !take_plain(draft, key, memory->names[at], values[at]))) {
            outcome = take_pair(draft, at, memory->names[at], values[at]);
        }
    }
    for (; outcome == TAKEN && more; at++) {
        outcome = take_pair(draft, at, name, value);
        more = PyDict_Next(dict, &position, &name, &value);
    }
    return outcome;
}

static enum outcome take_keywords(struct draft *draft, PyObject *const *values, PyObject *names)
{
    enum outcome outcome = TAKEN;
    draft->keywords = true;
    for (Py_ssize_t i = 0; outcome == TAKEN && i < PyTuple_GET_SIZE(names); i++) {
        outcome = take_pair(draft, i < KEYS_REMEMBERED ? KEYS_REMEMBERED - 1 - i : i,
                            PyTuple_GET_ITEM(names, i), values[i]);
    }
    return outcome;
}

/* --- what can be decided only when all keys have been seen --- */

/* Drops ccxt's datetime where it says the same as the timestamp. It becomes the time where there is
 * no timestamp, and is kept where it is finer. */
static enum outcome draft_finish_datetime(struct draft *draft)
{
    const struct key *key = draft->options.table->exchange_time;
    union member time;
    if (!draft->options.flat && !PyUnicode_CheckExact(draft->datetime.value)) {
        return ODD;
    }
    if (key != NULL && value_iso_time(draft->datetime.value, &time.time)) {
        if (is_given(draft, key) && is_same(key, member_given(draft, key), time)) {
            return TAKEN;
        }
        bool wrong = draft->wrong.key != NULL && draft->wrong.key->field == key->field;
        if (!is_given(draft, key) && !wrong && time.time / NS_PER_MS >= CCXT_TIME_MS_MIN &&
            time.time / NS_PER_MS < CCXT_TIME_MS_MAX) {
            store(draft, key, time, &draft->datetime);
            return TAKEN;
        }
    }
    draft->now = draft->datetime;
    return take_other(draft, draft->datetime.value);
}

/* Says whether ccxt's amount of a trade is negative: its sign is the side, which object.c knows. */
static bool is_negative_trade(const struct draft *draft)
{
    if (draft->options.table->kind != RECORD_TRADE || (draft->given >> TRADE_quantity & 1) == 0 ||
        draft->options.flat) {
        return false;
    }
    PyObject *value = draft->sources[TRADE_quantity].value;
    return PyFloat_Check(value)
               ? PyFloat_AS_DOUBLE(value) < 0
               : (draft->stored >> TRADE_quantity & 1) != 0 && *draft->of.trade.quantity == '-';
}

/* Says whether it may be an object of another kind: only a mapping with keys that are no field's.
 */
static bool may_be_other(const struct draft *draft, PyObject *dict)
{
    return draft->has_unknown && !draft->options.flat && dict != NULL &&
           ccxt_kind_veto(draft->options.table->kind, key_marks(dict)) != NULL;
}

static bool is_unset(const union draft_struct *of, const struct key *key)
{
    union member member = member_of(of, key);
    if (is_time(key)) {
        return member.time == 0;
    }
    return key->how == CCXT_BOOL ? member.flag == 0 : member.text == NULL;
}

void draft_give(const struct draft *draft, uint64_t fields, const struct key_table *table,
                union draft_struct *to, bool over)
{
    for (uint64_t left = fields; left != 0; left &= left - 1) {
        const struct key *key = key_of_field(draft->options.table, (unsigned)__builtin_ctzll(left));
        const struct key *theirs =
            table == draft->options.table ? key : key_of_name(table, key->name, strlen(key->name));
        if (theirs != NULL && theirs->how == key->how && (over || is_unset(to, theirs))) {
            set_member(to, theirs, member_of(&draft->of, key));
        }
    }
}

static void merge_constants(struct draft *draft)
{
    const struct draft *constants = draft->options.constants;
    uint64_t others = constants->given & ~draft->given;
    draft_give(constants, others, draft->options.table, struct_of(draft), true);
    draft->given |= others;
    draft->stored |= others;
}

static enum outcome finish(struct draft *draft, PyObject *dict)
{
    enum outcome outcome = draft->fees.name != NULL ? draft_finish_fees(draft) : TAKEN;
    if (outcome == TAKEN && may_be_other(draft, dict)) {
        outcome = ODD;
    }
    if (outcome == TAKEN && draft->datetime.name != NULL) {
        outcome = draft_finish_datetime(draft);
    }
    if (outcome == TAKEN && is_negative_trade(draft)) {
        outcome = ODD;
    }
    if (outcome != TAKEN) {
        return outcome;
    }
    const char *extra = json_end(&draft->extra);
    if (extra != NULL) {
        set_member(struct_of(draft), draft->options.table->extra, (union member){.text = extra});
    }
    if (draft->overrides || (draft->options.merge && draft->options.constants != NULL)) {
        draft->overrides = true;
        merge_constants(draft);
    }
    return TAKEN;
}

/* --- the whole --- */

static void begin(struct draft *draft, bool plain_only)
{
    const struct draft_options *options = &draft->options;
    bool has_constants = options->constants != NULL;
    bool pairs = plain_only && !options->flat && !options->merge;
    draft->context.plain_only = plain_only;
    draft->given = draft->stored = 0;
    draft->constant = has_constants ? options->constants->given : 0;
    draft->open = pairs ? ~draft->constant : 0;
    draft->misplaced = 0;
    draft->has_unknown = draft->has_struct = false;
    draft->datetime.name = draft->fees.name = draft->wrong.name = NULL;
    draft->wrong.key = NULL;
    arena_init(&draft->context.arena);
    json_init(&draft->extra, &draft->context);
    draft->extra.prune = true;
    /* constants that are too long to be copied are encoded again, from the struct */
    draft->overrides = !pairs_begin(&draft->pairs, has_constants ? options->bound : NULL);
    if (!pairs) {
        struct_of(draft);
    }
}

static void end(struct draft *draft)
{
    json_release(&draft->extra);
    arena_release(&draft->context.arena);
}

static enum outcome take_all(struct draft *draft, PyObject *dict, PyObject *const *values,
                             PyObject *names)
{
    enum outcome outcome = dict != NULL ? take_dict(draft, dict) : TAKEN;
    if (outcome == TAKEN && names != NULL) {
        outcome = take_keywords(draft, values, names);
    }
    return outcome == TAKEN ? finish(draft, dict) : outcome;
}

static void raise_shown(const char *problem, PyObject *type, PyObject *name, PyObject *value)
{
    PyObject *text = PyObject_Repr(value);
    if (text == NULL) {
        PyErr_Clear();
        text = PyUnicode_FromString("(a value that cannot be shown)");
    }
    if (text != NULL && type == PyExc_TypeError) {
        PyErr_Format(type, "%S: %.100U: %s, not %s", name, text, problem, Py_TYPE(value)->tp_name);
    } else if (text != NULL) {
        PyErr_Format(type, "%S: %.100U: %s", name, text, problem);
    }
    Py_XDECREF(text);
}

/* Raises it, showing the value. That may run Python code, which may remove it from the caller's
 * dictionary, so it is held. */
static void raise_problem(const struct draft_source *source, PyObject *type, const char *problem)
{
    PyObject *name = Py_NewRef(source->name), *value = Py_NewRef(source->value);
    raise_shown(problem, type, name, value);
    Py_DECREF(name);
    Py_DECREF(value);
}

static enum outcome take_again(struct draft *draft, PyObject *mapping, PyObject *const *values,
                               PyObject *names)
{
    end(draft);
    begin(draft, false);
    if (mapping != NULL && (draft->copy = PyDict_Copy(mapping)) == NULL) {
        return draft_fail(draft, NULL, NULL);
    }
    return take_all(draft, draft->copy, values, names);
}

enum outcome draft_take(struct draft *draft, const struct draft_options *options,
                        PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    draft->options = *options;
    draft->copy = NULL;
    draft->context.decimal_type = options->decimal_type;
    begin(draft, true);
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "one mapping is wanted, and keywords, not %zd arguments",
                     count);
        return FAILED;
    }
    PyObject *mapping = count == 1 && args[0] != Py_None ? args[0] : NULL;
    if (mapping != NULL && !PyDict_CheckExact(mapping)) {
        return ODD;
    }
    enum outcome outcome = take_all(draft, mapping, args + count, names);
    if (outcome == AGAIN) {
        outcome = take_again(draft, mapping, args + count, names);
    }
    if (outcome == FAILED && draft->context.problem_type != NULL && !PyErr_Occurred()) {
        raise_problem(&draft->now, draft->context.problem_type, draft->context.problem);
    }
    return outcome;
}

void draft_release(struct draft *draft)
{
    end(draft);
    Py_XDECREF(draft->copy);
}

blotter_binding draft_binding(const struct draft *draft, const void **record)
{
    const struct record_bound *constants = draft->overrides ? NULL : draft->options.bound;
    const struct pairs *pairs = &draft->pairs;
    uint64_t written = draft->given & ~draft->stored;
    struct record_bound bound = {
        .kind = draft->options.table->kind,
        .pairs =
            (unsigned)__builtin_popcountll(written) + (constants != NULL ? constants->pairs : 0),
        .present = written | (constants != NULL ? constants->present : 0),
        .bytes = constants != NULL ? pairs->bytes : pairs->begin,
    };
    bound.length = (uint32_t)(pairs->at - bound.bytes);
    *record = draft->has_struct ? &draft->of : NULL;
    return (blotter_binding){bound};
}

/* Finds the field that the library names at the beginning of its problem, if it was given. */
static const struct draft_source *find_source(const struct draft *draft, const char *problem)
{
    const struct key *key = key_of_name(draft->options.table, problem, strcspn(problem, ":"));
    return key != NULL && is_given(draft, key) && draft->sources[key->field].name != NULL
               ? &draft->sources[key->field]
               : NULL;
}

/* Tells whether the value that was misplaced is of the field that is missing now. */
static bool is_wrong_field(const struct draft *draft, const char *problem)
{
    const struct key *key = draft->wrong.name != NULL ? draft->wrong.key : NULL;
    if (key == NULL || key->field == NO_FIELD) {
        return false;
    }
    const char *name = key_of_field(draft->options.table, key->field)->name;
    return strncmp(problem, name, strlen(name)) == 0 || strcmp(name, "client_order_id") == 0;
}

/* Raises the problem with the name by which the strategy knows the field. A required field may be
 * missing because its value was wrong: then that is the problem. */
void draft_raise(const struct draft *draft, const char *problem)
{
    const struct draft_source *source = find_source(draft, problem);
    if (source != NULL) {
        const char *text = problem + strcspn(problem, ":");
        raise_problem(source, PyExc_ValueError, *text == ':' ? text + 2 : text);
    } else if (is_wrong_field(draft, problem)) {
        raise_problem(&draft->wrong, draft->wrong_type, draft->wrong_problem);
    } else {
        PyErr_SetString(PyExc_ValueError, problem);
    }
}
