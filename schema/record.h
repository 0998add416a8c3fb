/* record.h: records as C structs, on the wire (msgpack), and decoded.
 *
 * Encoding is for the producer's hot path: no allocation, keys packed at compile time. It is done
 * in two parts, because the identity is known only when a place in the journal has been claimed:
 * the body (every field but the identity), which the journal keeps, and the whole record, which the
 * sender makes of it.
 *
 * Decoding takes hostile bytes and allocates nothing: values point into the given bytes or into the
 * caller's scratch. */
#ifndef BLOTTER_SCHEMA_RECORD_H
#define BLOTTER_SCHEMA_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/fields.h"
#include "schema/limits.h"
#include "schema/record_structs.h"

/* --- kinds and fields as tables --- */

/* clang-format off */
enum record_kind {
#define X(kind, name, sql_schema, table, fields) RECORD_##kind,
    BLOTTER_RECORD_KINDS(X)
#undef X
    RECORD_KINDS,        /* how many have a table */
    RECORD_REJECT = 15,  /* goes over the wire, and has none; a number that stays in journals */
    RECORD_WIRE_KINDS = 16,
};
/* clang-format on */

enum field_kind {
    FIELD_BOOL,
    FIELD_TEXT,
    FIELD_DECIMAL,
    FIELD_TIME,
    FIELD_INT,
    FIELD_AMOUNTS,
    FIELD_JSON
};

struct record_field {
    const char *name;
    enum field_kind kind;
    uint8_t name_length;
    uint16_t offset; /* in struct blotter_<kind>; 0 for a field of the identity */
    const char *meaning;
};

struct record_schema {
    const char *name;       /* on the wire: "order" */
    const char *sql_schema; /* "blotter" */
    const char *table;      /* "order_events" */
    unsigned field_count; /* identity fields included: they are the first RECORD_IDENTITY_FIELDS */
    const struct record_field *fields;
};

/* Indexes into a schema's fields (and struct record's values): the identity first, IDENTITY_seq,
 * then the kind's own, ORDER_price, and at last their number, ORDER_FIELDS. */
/* clang-format off */
#define INDEX_OF_IDENTITY(name, kind, meaning) IDENTITY_##name,
#define INDEX_OF_ORDER(name, kind, meaning) ORDER_##name,
#define INDEX_OF_TRADE(name, kind, meaning) TRADE_##name,
#define INDEX_OF_CASH(name, kind, meaning) CASH_##name,
#define INDEX_OF_BALANCE(name, kind, meaning) BALANCE_##name,
#define INDEX_OF_POSITION(name, kind, meaning) POSITION_##name,
#define INDEX_OF_INSTRUMENT(name, kind, meaning) INSTRUMENT_##name,
#define INDEX_OF_REJECT(name, kind, meaning) REJECT_##name,
#define INDEX_OF_SESSION(name, kind, meaning) SESSION_##name,
enum identity_field { BLOTTER_IDENTITY_FIELDS(INDEX_OF_IDENTITY) RECORD_IDENTITY_FIELDS };
#define X(kind, name, sql_schema, table, fields) \
    enum name##_field { \
        kind##_BEFORE_FIRST = RECORD_IDENTITY_FIELDS - 1, \
        fields(INDEX_OF_##kind) \
        kind##_FIELDS \
    };
BLOTTER_RECORD_KINDS(X)
X(REJECT, reject, NULL, NULL, BLOTTER_REJECT_FIELDS)
#undef X
/* clang-format on */
enum {
    RECORD_FIELDS_MAX = 48,
    RECORD_HEAD_FIELDS = IDENTITY_lane, /* the identity as producers send it */
};

/* The schemas by kind, also without a table; of a number that is no kind all is NULL and 0. */
extern const struct record_schema record_schemas[RECORD_WIRE_KINDS];

/* Returns the kind of that wire name, or -1. */
int record_kind_of(const char *name, size_t length);
bool record_kind_known(unsigned kind);

/* The fields without which a record is useless, as bits: one of each of a kind's rows is enough. */
enum { RECORD_REQUIRED_MAX = 3 };
extern const uint64_t record_required[RECORD_WIRE_KINDS][RECORD_REQUIRED_MAX + 1]
    __attribute__((visibility("hidden")));

/* Returns the fields of which one is required and none is given, as bits, or 0. Bit i of `present`:
 * the field of index i is given. A balance without currency is that of an empty account, which has
 * no amounts. */
static inline uint64_t record_missing(enum record_kind kind, uint64_t present)
{
    static const uint64_t amounts = UINT64_C(1) << BALANCE_free | UINT64_C(1) << BALANCE_used |
                                    UINT64_C(1) << BALANCE_total | UINT64_C(1) << BALANCE_debt;
    const uint64_t *row = record_required[kind];

    while (*row != 0 && (present & *row) != 0) {
        row++;
    }
    return kind == RECORD_BALANCE && (present & amounts) != 0
               ? ~present & UINT64_C(1) << BALANCE_currency
               : *row;
}

/* Says whether this field (of kind INT, or the identity's) may have this number. Numbers that count
 * records are at most RECORD_SEQ_MAX, so that nobody computes beyond 64 bits with them. */
bool record_integer_valid(enum record_kind, unsigned index, int64_t value);
#define RECORD_SEQ_MAX (INT64_C(1) << 53)

/* --- encoding --- */

/* clang-format off */
#define RECORD_FAULTS(X) \
    X(NONE, "no fault") \
    X(TOO_LONG, "longer than the limit") \
    X(NOT_UTF8, "not valid UTF-8") \
    X(HAS_NUL, "has a NUL byte, which PostgreSQL cannot store") \
    X(NOT_DECIMAL, "not a finite decimal number of at most 128 digits") \
    X(NOT_JSON, "not a JSON object that PostgreSQL can store") \
    X(MISSING, "required and missing") \
    X(WRONG_TYPE, "has a value of the wrong type") \
    X(OUT_OF_RANGE, "out of range") \
    X(TOO_DEEP, "nested too deeply") \
    X(TOO_MANY, "has too many keys") \
    X(TRUNCATED, "ends in the middle of a value") \
    X(TRAILING, "has bytes behind its end") \
    X(NOT_MSGPACK, "not a msgpack map with string keys") \
    X(DUPLICATE, "given twice") \
    X(UNKNOWN_KIND, "of an unknown kind") \
    X(NOT_BOUND, "cannot be bound")
/* clang-format on */
#define X(name, text) RECORD_FAULT_##name,
enum record_fault { RECORD_FAULTS(X) };
#undef X
const char *record_fault_text(enum record_fault);

/* A problem names the field and the fault: "price: not a finite decimal number …". field is NULL
 * where the record as a whole is meant. */
struct record_problem {
    enum record_fault fault;
    const char *field;  /* static */
    unsigned misplaced; /* where encoding or decoding succeeded: values that their fields could not
                      take, and that are in `extra`; fault and field are then the first one's */
};

/* Fields that are encoded already: the same in many records, or by the Python package. */
struct record_bound {
    enum record_kind kind;
    unsigned pairs;
    uint32_t length;
    uint64_t present; /* by the kind's field index */
    const unsigned char *bytes;
};
struct blotter_binding { /* of blotter.h */
    struct record_bound bound;
};

/* Encodes the fields that are given in a struct blotter_<kind> to `out`, which the bound fields
 * point to from then on. Returns 0, or -1 with *problem set: here every wrong value is a failure.
 * `extra` cannot be bound. */
int record_bind(enum record_kind, const void *constants, unsigned char *out, size_t capacity,
                struct record_bound *, struct record_problem *);

/* A struct blotter_<kind> that is to be encoded, and what is bound beside it; one may be NULL. */
struct record_source {
    enum record_kind kind; /* that of what is bound, too */
    const void *record;
    const struct record_bound *bound;
};

/* Validates it and writes the body: the map's keys and values without the map's head and the
 * identity. Returns the body's length and sets *fields to the number of pairs; or -1 with *problem
 * set, buffer contents then undefined. A value that its field cannot take goes to `extra` and is
 * counted in problem->misplaced; only what makes the record useless is a failure: a required field,
 * a number of a session, a field that is bound and given (DUPLICATE), no room
 * (RECORD_FAULT_TOO_LONG with field NULL). Never allocates, no system call, reentrant. */
int record_encode_source(const struct record_source *, unsigned char *out, size_t capacity,
                         unsigned *fields, struct record_problem *);

/* Does the same for a struct alone. */
static inline int record_encode(enum record_kind kind, const void *record, unsigned char *out,
                                size_t capacity, unsigned *fields, struct record_problem *problem)
{
    struct record_source source = {kind, record, NULL};

    return record_encode_source(&source, out, capacity, fields, problem);
}

/* A member of kind DECIMAL may also be a double: text that begins with a byte that no number does,
 * and then has the double's bits, seven in each byte. It goes over the wire as a double, and the
 * drainer makes its shortest digits. */
enum {
    RECORD_DOUBLE_MARK = 1,
    RECORD_DOUBLE_DIGITS = 10,
    RECORD_DOUBLE_BYTES = 1 + RECORD_DOUBLE_DIGITS + 1, /* with the NUL */
};
/* Numbers from here on, those below its inverse, and NaN are no decimals of 128 digits. */
#define RECORD_DOUBLE_MAX 1e100
const char *record_double(double value, char out[RECORD_DOUBLE_BYTES]);

struct record_identity {
    int64_t producer_id;
    int64_t seq;
    int64_t recorded_at_ns;
    const char *exchange;
};
#define RECORD_HEAD_BYTES_MAX \
    (3 + (1 + 11 + 9) + (1 + 3 + 9) + (1 + 11 + 9) + (1 + 8 + 2 + LIMIT_EXCHANGE_BYTES))

/* Writes the map's head and the identity fields for a body of `fields` pairs; the body's bytes
 * follow it on the wire. Returns the length, at most RECORD_HEAD_BYTES_MAX. */
size_t record_encode_head(const struct record_identity *, unsigned fields,
                          unsigned char out[RECORD_HEAD_BYTES_MAX]);

/* --- decoding --- */

/* A decoded value. TEXT: bytes as sent. DECIMAL: canonical text. JSON: valid JSON text of an
 * object. TIME (ns), INT, BOOL (0, 1): in `integer`. Absent or nil: present is false. */
struct record_value {
    const char *bytes;
    uint32_t length;
    bool present;
    int64_t integer;
};

struct record {
    enum record_kind kind;
    struct record_value
        values[RECORD_FIELDS_MAX]; /* by the kind's field index; the identity first */
};

/* Memory for decimals made from numbers and JSON made from maps; record_decode begins anew in it,
 * so the values of the record before are then lost. */
struct record_scratch {
    char *bytes;
    size_t capacity; /* RECORD_SCRATCH_BYTES is enough for any record */
    size_t used;
};
#define RECORD_SCRATCH_BYTES (8 * LIMIT_RECORD_BYTES)

/* Decodes one record: any key order, nil is absent, unknown keys are added to `extra`. Checks
 * everything that does not need a server: limits, UTF-8, NUL, decimals, times, JSON, required
 * fields (record_required). Does not require the identity fields (foreign clients have none); where
 * given, their types are checked, that producer_id, seq and recorded_at are given together, are
 * positive, recorded_at not before LIMIT_RECORDED_AT_MIN_NS, and that exchange is a valid name. A
 * problem within an unknown key is one of `extra`; json_write.h says what JSON becomes of msgpack.
 * exchange: whose stream it is from, as ccxt's names mean something else at some; or NULL. Returns
 * 0, or -1 with *problem set. */
int record_decode(enum record_kind, const char *exchange, const void *bytes, size_t length,
                  struct record_scratch *, struct record *, struct record_problem *);

/* The source of an object of ccxt's, or of a strategy's own: what is known beside what it says. */
struct record_object {
    const char *exchange;
    const char *account; /* what the strategy calls it, or NULL */
    uint64_t marks;      /* ccxt_mark() of its keys */
    bool own;            /* its names are ours, and mean what they say */
    bool bare;           /* it has the exchange's own message, and no keys but those of fields */
    bool ticks;          /* its precision is steps, not numbers of digits */
    bool lenient;        /* what is required may be missing */
};

/* Decodes an object that is no record yet: what ccxt calls as we do means what it does there. A
 * number's digits may be an ext, UNPACK_NUMBER. */
int record_decode_object(enum record_kind, const struct record_object *, const void *bytes,
                         size_t length, struct record_scratch *, struct record *,
                         struct record_problem *);

/* Checks that it is UTF-8 (no surrogates, no overlong forms) without NUL. */
enum record_fault text_check(const char *text, size_t length);

#endif
