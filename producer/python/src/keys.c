/* keys.c: see keys.h. The table uses the hashes that Python has computed: a str keeps its own. */
#include "keys.h"

#include <stddef.h>
#include <string.h>

#include "value.h"

/* --- where a field lies in its struct --- */

/* clang-format off */
#define OFFSET_IN(record, name) (uint16_t)offsetof(struct record, name),
#define OFFSET_IN_ORDER(name, kind, meaning) OFFSET_IN(blotter_order, name)
#define OFFSET_IN_TRADE(name, kind, meaning) OFFSET_IN(blotter_trade, name)
#define OFFSET_IN_SESSION(name, kind, meaning) OFFSET_IN(blotter_session, name)
#define OFFSET_IN_CASH(name, kind, meaning) OFFSET_IN(blotter_cash, name)
#define OFFSET_IN_BALANCE(name, kind, meaning) OFFSET_IN(blotter_balance, name)
#define OFFSET_IN_POSITION(name, kind, meaning) OFFSET_IN(blotter_position, name)
#define OFFSET_IN_INSTRUMENT(name, kind, meaning) OFFSET_IN(blotter_instrument, name)
#define OFFSET_IN_REJECT(name, kind, meaning) OFFSET_IN(blotter_reject, name)

#define X(kind, name, sql_schema, table, fields) \
    static const uint16_t name##_offsets[] = {fields(OFFSET_IN_##kind)};
BLOTTER_RECORD_KINDS(X)
#undef X

static const struct {
    const uint16_t *offsets;
    size_t bytes;
} structs[RECORD_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {name##_offsets, sizeof(struct blotter_##name)},
    BLOTTER_RECORD_KINDS(X)
#undef X
};
/* clang-format on */

size_t key_struct_bytes(enum record_kind kind)
{
    return structs[kind].bytes;
}

/* --- the table --- */

/* Returns the slot of the name, or the free one where it belongs. The table is never full. */
static const struct key_slot *find_slot(const struct key_table *table, PyObject *name,
                                        Py_hash_t hash)
{
    for (size_t i = (size_t)hash;; i++) {
        const struct key_slot *slot = &table->slots[i % KEY_SLOTS];
        if (slot->name == name || slot->name == NULL) {
            return slot;
        }
        if (slot->hash == hash && PyUnicode_Compare(slot->name, name) == 0) {
            return slot;
        }
    }
}

const struct key *key_find(const struct key_table *table, PyObject *name)
{
    return find_slot(table, name, PyUnicode_Type.tp_hash(name))->key;
}

static void pack_name(struct key *key, const struct record_field *field)
{
    key->bit = UINT64_C(1) << key->field;
    key->packed[0] = (unsigned char)(ENCODER_FIXSTR + field->name_length);
    memcpy(key->packed + 1, field->name, field->name_length);
    key->packed_bytes = (uint8_t)(1 + field->name_length);
}

/* Adds a key. One of the same name replaces an earlier one: `fee` is a number or ccxt's dict. */
static int add_key(struct key_table *table, struct key key)
{
    PyObject *name = PyUnicode_InternFromString(key.name);
    if (name == NULL) {
        return -1;
    }
    if (key.field != NO_FIELD) {
        pack_name(&key, &record_schemas[table->kind].fields[key.field]);
    }
    Py_hash_t hash = PyUnicode_Type.tp_hash(name);
    struct key_slot *slot = &table->slots[find_slot(table, name, hash) - table->slots];
    Py_XSETREF(slot->name, name);
    slot->hash = hash;
    slot->key = &table->keys[table->count];
    table->keys[table->count++] = key;
    return 0;
}

static uint8_t how_of_field(const struct record_field *field)
{
    static const uint8_t hows[] = {
        [FIELD_TEXT] = CCXT_TEXT,   [FIELD_DECIMAL] = CCXT_DECIMAL, [FIELD_TIME] = CCXT_TIME_NS,
        [FIELD_BOOL] = CCXT_BOOL,   [FIELD_AMOUNTS] = CCXT_AMOUNTS, [FIELD_JSON] = CCXT_EXTRA,
        [FIELD_INT] = CCXT_DECIMAL, /* of sessions, which Python does not record */
    };
    return hows[field->kind];
}

static int add_fields(struct key_table *table)
{
    const struct record_schema *schema = &record_schemas[table->kind];
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < schema->field_count; i++) {
        const struct record_field *field = &schema->fields[i];
        uint16_t offset = structs[table->kind].offsets[i - RECORD_IDENTITY_FIELDS];
        struct key key = {
            .name = field->name, .how = how_of_field(field), .field = (uint8_t)i, .offset = offset};
        if (add_key(table, key) != 0) {
            return -1;
        }
    }
    return 0;
}

static int add_ccxt_names(struct key_table *table)
{
    for (unsigned i = 0; i < ccxt_names[table->kind].count; i++) {
        const struct ccxt_name *given = &ccxt_names[table->kind].names[i];
        struct key key = {
            .name = given->name, .how = given->how, .rank = given->rank, .field = NO_FIELD};
        if (given->field != CCXT_NO_FIELD) {
            key.field = given->field;
            key.offset = structs[table->kind].offsets[given->field - RECORD_IDENTITY_FIELDS];
        }
        if (add_key(table, key) != 0) {
            return -1;
        }
    }
    return 0;
}

static const struct key *keys_find_field(const struct key_table *table, const char *name)
{
    return key_of_name(table, name, strlen(name));
}

int key_table_init(struct key_table *table, enum record_kind kind)
{
    table->kind = kind;
    if (add_fields(table) != 0 || add_ccxt_names(table) != 0) {
        return -1;
    }
    table->exchange_time = keys_find_field(table, "exchange_time");
    table->fee = keys_find_field(table, "fee");
    table->fee_currency = keys_find_field(table, "fee_currency");
    table->fee_rate = keys_find_field(table, "fee_rate");
    table->fees = keys_find_field(table, "fees");
    table->extra = keys_find_field(table, "extra");
    return 0;
}

void key_table_release(struct key_table *table)
{
    for (size_t i = 0; i < KEY_SLOTS; i++) {
        Py_CLEAR(table->slots[i].name);
    }
}

const struct key *key_of_name(const struct key_table *table, const char *name, size_t length)
{
    unsigned fields = record_schemas[table->kind].field_count - RECORD_IDENTITY_FIELDS;
    for (unsigned i = 0; i < fields; i++) {
        if (strlen(table->keys[i].name) == length &&
            memcmp(table->keys[i].name, name, length) == 0) {
            return &table->keys[i];
        }
    }
    return NULL;
}

PyObject *key_field_names(const struct key_table *table)
{
    static const char *const kinds[] = {
        [FIELD_TEXT] = "text", [FIELD_DECIMAL] = "decimal", [FIELD_TIME] = "time",
        [FIELD_INT] = "int",   [FIELD_BOOL] = "bool",       [FIELD_AMOUNTS] = "amounts",
        [FIELD_JSON] = "json",
    };
    const struct record_schema *schema = &record_schemas[table->kind];
    PyObject *names = PyDict_New();
    for (unsigned i = RECORD_IDENTITY_FIELDS; names != NULL && i < schema->field_count; i++) {
        PyObject *kind = PyUnicode_InternFromString(kinds[schema->fields[i].kind]);
        if (kind == NULL || PyDict_SetItemString(names, schema->fields[i].name, kind) != 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(kind);
    }
    return names;
}

PyObject *key_ccxt_names(const struct key_table *table)
{
    PyObject *names = PyDict_New();
    for (unsigned i = 0; names != NULL && i < table->count; i++) {
        const struct key *key = &table->keys[i];
        if (key->rank == 0 || key->field == NO_FIELD) {
            continue;
        }
        PyObject *field = PyUnicode_FromString(key_of_field(table, key->field)->name);
        if (field == NULL || PyDict_SetItemString(names, key->name, field) != 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(field);
    }
    return names;
}

uint64_t key_marks(PyObject *dict)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    uint64_t marks = 0;
    while (PyDict_Next(dict, &position, &name, &value)) {
        bool is_map = PyDict_Check(value);
        if ((is_map || !value_is_absent(value)) && PyUnicode_Check(name) &&
            PyUnicode_IS_COMPACT_ASCII(name)) {
            marks |= ccxt_mark(PyUnicode_DATA(name), (size_t)PyUnicode_GET_LENGTH(name), is_map);
        }
    }
    return marks;
}

/* --- the memory --- */

void key_remember(struct key_memory *memory, Py_ssize_t at, PyObject *name, const struct key *key)
{
    if (at < KEYS_REMEMBERED && PyUnicode_CheckExact(name)) {
        Py_INCREF(name);
        Py_XSETREF(memory->names[at], name); /* an exact str runs no code when it goes */
        memory->keys[at] = key;
    }
}

void key_memory_release(struct key_memory *memory)
{
    for (int i = 0; i < KEYS_REMEMBERED; i++) {
        Py_CLEAR(memory->names[i]);
    }
}
