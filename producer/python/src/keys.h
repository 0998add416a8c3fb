/* keys.h: the keys of a record, ours and ccxt's, in one table for each kind of record.
 *
 * Ours are those of schema/fields.h. Of a ccxt unified order or trade these are taken besides;
 * where both are given, the lower rank wins, and the other goes to `extra` unless it says the same.
 *     X(key, field, kind, rank)     NONE: of no single field */
#ifndef BLOTTER_PYTHON_KEYS_H
#define BLOTTER_PYTHON_KEYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <blotter.h>
#include <stdint.h>

/* Of both. */
/* clang-format off */
#define CCXT_KEYS(X) \
    X(clientOrderId, client_order_id, TEXT, 1) \
    X(timestamp, exchange_time, TIME_MS, 1) \
    X(amount, quantity, DECIMAL, 1) \
    X(takerOrMaker, liquidity, TEXT, 1) \
    X(fee, fee, FEE, 0) \
    X(fees, fee, FEES, 2)
/* clang-format on */

/* clang-format off */
#define CCXT_ORDER_KEYS(X) \
    CCXT_KEYS(X) \
    X(id, order_id, TEXT, 1) \
    X(timeInForce, time_in_force, TEXT, 1) \
    X(triggerPrice, trigger_price, DECIMAL, 1) \
    X(stopPrice, trigger_price, DECIMAL, 2) \
    X(filled, filled_quantity, DECIMAL, 1) \
    X(remaining, remaining_quantity, DECIMAL, 1) \
    X(average, average_price, DECIMAL, 1) \
    X(postOnly, post_only, BOOL, 1) \
    X(reduceOnly, reduce_only, BOOL, 1)
/* clang-format on */

/* clang-format off */
#define CCXT_TRADE_KEYS(X) \
    CCXT_KEYS(X) \
    X(id, trade_id, TEXT, 1) \
    X(order, order_id, TEXT, 1)
/* clang-format on */

/* Of both, and of no field. */
/* clang-format off */
#define OTHER_KEYS(X) \
    X(datetime, DATETIME) /* the timestamp as text: kept only without one */ \
    X(info, INFO)         /* the exchange's own message: only if asked for */ \
    X(trades, LIST)       /* kept unless empty */ \
    X(exchange, EXCHANGE) /* must be the producer's */ \
    X(kind, RECORD_KIND)  /* as in JSON lines: dropped if it says what is recorded */
/* clang-format on */

enum key_kind {
    KEY_TEXT,
    KEY_DECIMAL,
    KEY_TIME, /* ns */
    KEY_BOOL,
    KEY_AMOUNTS,
    KEY_JSON,
    KEY_TIME_MS,
    KEY_FEE,  /* a decimal, or ccxt's {"cost", "currency", ...} */
    KEY_FEES, /* a list of the latter */
    KEY_DATETIME,
    KEY_INFO,
    KEY_LIST,
    KEY_EXCHANGE,
    KEY_RECORD_KIND,
};

#define X(name, kind, meaning) ORDER_##name,
enum { BLOTTER_ORDER_FIELDS(X) ORDER_FIELD_COUNT };
#undef X
#define X(name, kind, meaning) TRADE_##name,
enum { BLOTTER_TRADE_FIELDS(X) TRADE_FIELD_COUNT };
#undef X
enum { FIELDS_MAX = 64 };
_Static_assert((int)ORDER_FIELD_COUNT <= (int)FIELDS_MAX &&
                   (int)TRADE_FIELD_COUNT <= (int)FIELDS_MAX,
               "a bit for each");

#define NO_FIELD UINT8_MAX

struct key {
    const char *name;
    uint8_t kind, rank;
    uint8_t field;   /* its number in schema/fields.h, or NO_FIELD */
    uint16_t offset; /* of the member in the struct */
};

enum record_kind { RECORD_ORDER, RECORD_TRADE, RECORD_KINDS };

enum { KEY_SLOTS = 256 }; /* a power of two, several times the number of keys */

struct key_slot {
    PyObject *name; /* interned; NULL: free */
    Py_hash_t hash;
    const struct key *key;
};

/* For one interpreter, as the names and their hashes are. */
struct key_table {
    enum record_kind kind;
    const struct key *fee, *fee_currency, *exchange_time, *extra;
    struct key_slot slots[KEY_SLOTS];
};

int key_table_init(struct key_table *, enum record_kind); /* -1: an exception is raised */
int key_table_traverse(struct key_table *, visitproc visit, void *arg);
void key_table_release(struct key_table *);

/* NULL: a key of no meaning to us. `name` is a str. */
const struct key *key_find(const struct key_table *, PyObject *name);

/* The key that names the field itself. */
const struct key *key_of_field(enum record_kind, uint8_t field);

/* The names of the fields as a tuple of str. */
PyObject *key_field_names(enum record_kind);

#endif
