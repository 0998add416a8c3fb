/* keys.c: see keys.h. A table of hashes that Python has computed already: a str keeps its own. */
#include "keys.h"

#include <stddef.h>
#include <string.h>

#define OWN(record, number, name, kind) \
    {#name, KEY_##kind, 0, number, offsetof(struct record, name)},
#define CCXT(record, number, name, field, kind, rank) \
    {#name, KEY_##kind, rank, number, offsetof(struct record, field)},
#define OTHER(name, kind) {#name, KEY_##kind, 0, NO_FIELD, 0},

#define ORDER_OWN(name, kind, meaning) OWN(blotter_order, ORDER_##name, name, kind)
#define ORDER_CCXT(name, field, kind, rank) \
    CCXT(blotter_order, ORDER_##field, name, field, kind, rank)
#define TRADE_OWN(name, kind, meaning) OWN(blotter_trade, TRADE_##name, name, kind)
#define TRADE_CCXT(name, field, kind, rank) \
    CCXT(blotter_trade, TRADE_##field, name, field, kind, rank)

/* The fields first, in their order; a later key of the same name replaces an earlier one. */
static const struct key order_keys[] = {BLOTTER_ORDER_FIELDS(ORDER_OWN) CCXT_ORDER_KEYS(ORDER_CCXT)
                                            OTHER_KEYS(OTHER)};
static const struct key trade_keys[] = {BLOTTER_TRADE_FIELDS(TRADE_OWN) CCXT_TRADE_KEYS(TRADE_CCXT)
                                            OTHER_KEYS(OTHER)};

static const struct {
    const struct key *keys;
    size_t count, fields;
    uint8_t fee, fee_currency, exchange_time, extra;
} kinds[RECORD_KINDS] = {
    [RECORD_ORDER] = {order_keys, sizeof order_keys / sizeof *order_keys, ORDER_FIELD_COUNT,
                      ORDER_fee, ORDER_fee_currency, ORDER_exchange_time, ORDER_extra},
    [RECORD_TRADE] = {trade_keys, sizeof trade_keys / sizeof *trade_keys, TRADE_FIELD_COUNT,
                      TRADE_fee, TRADE_fee_currency, TRADE_exchange_time, TRADE_extra},
};

/* The slot of the name, or the free one where it belongs. Tables are never full. */
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

static int add_key(struct key_table *table, const struct key *key)
{
    PyObject *name = PyUnicode_InternFromString(key->name);
    if (name == NULL) {
        return -1;
    }
    Py_hash_t hash = PyUnicode_Type.tp_hash(name);
    struct key_slot *slot = &table->slots[find_slot(table, name, hash) - table->slots];
    Py_XSETREF(slot->name, name);
    slot->hash = hash;
    slot->key = key;
    return 0;
}

int key_table_init(struct key_table *table, enum record_kind kind)
{
    table->kind = kind;
    table->fee = key_of_field(kind, kinds[kind].fee);
    table->fee_currency = key_of_field(kind, kinds[kind].fee_currency);
    table->exchange_time = key_of_field(kind, kinds[kind].exchange_time);
    table->extra = key_of_field(kind, kinds[kind].extra);
    for (size_t i = 0; i < kinds[kind].count; i++) {
        if (add_key(table, &kinds[kind].keys[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

int key_table_traverse(struct key_table *table, visitproc visit, void *arg)
{
    for (size_t i = 0; i < KEY_SLOTS; i++) {
        Py_VISIT(table->slots[i].name);
    }
    return 0;
}

void key_table_release(struct key_table *table)
{
    for (size_t i = 0; i < KEY_SLOTS; i++) {
        Py_CLEAR(table->slots[i].name);
    }
}

const struct key *key_of_field(enum record_kind kind, uint8_t field)
{
    return &kinds[kind].keys[field];
}

PyObject *key_field_names(enum record_kind kind)
{
    PyObject *names = PyTuple_New((Py_ssize_t)kinds[kind].fields);
    for (size_t i = 0; names && i < kinds[kind].fields; i++) {
        PyObject *name = PyUnicode_FromString(kinds[kind].keys[i].name);
        if (name == NULL) {
            Py_CLEAR(names);
        } else {
            PyTuple_SET_ITEM(names, (Py_ssize_t)i, name);
        }
    }
    return names;
}
