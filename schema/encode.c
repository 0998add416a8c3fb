/* encode.c: records as C structs to msgpack, on the thread of the strategy that submits them.
 *
 * The lists of fields.h become one table per kind: where the member lies, what it is, and its key
 * as it goes on the wire, length byte included, so that a key is one copy of constant size. One
 * loop walks the table. Validating costs no pass of its own: text and decimals are checked eight
 * bytes at a time while they are copied. What is out of the ordinary, a sign, an exponent or a
 * letter beyond ASCII, is handed to the slow and thorough functions of decimal.c and text.c.
 *
 * Nothing is allocated, nothing is written behind the capacity given, and no call is made that
 * could wait. */
#include <assert.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/json.h"
#include "schema/record.h"
#include "schema/text.h"

#define KEY_NAME_BYTES 23
#define KEY_BYTES_MAX (1 + KEY_NAME_BYTES)
#define FIXSTR 0xa0
enum { FIXSTR_MAX = 31 };
#define STR8 0xd9
#define STR16 0xda
#define INT64 0xd3
#define FALSE_BYTE 0xc2
#define TRUE_BYTE 0xc3
#define FIXMAP 0x80
#define MAP16 0xde

struct packed_field {
    uint16_t offset;
    uint8_t kind;
    uint8_t key_bytes;
    unsigned char key_head; /* key_head and key_name are one run of bytes on the wire */
    char key_name[KEY_NAME_BYTES];
} __attribute__((aligned(32)));
_Static_assert(offsetof(struct packed_field, key_name) ==
                   offsetof(struct packed_field, key_head) + 1,
               "a key must be one run");

/* clang-format off */
#define PACKED(type, name, kind) \
    {offsetof(struct type, name), FIELD_##kind, sizeof #name, FIXSTR + sizeof #name - 1, #name},
#define PACKED_ORDER(name, kind, meaning) PACKED(blotter_order, name, kind)
#define PACKED_TRADE(name, kind, meaning) PACKED(blotter_trade, name, kind)
#define PACKED_SESSION(name, kind, meaning) PACKED(blotter_session, name, kind)
#define PACKED_CASH(name, kind, meaning) PACKED(blotter_cash, name, kind)
#define PACKED_BALANCE(name, kind, meaning) PACKED(blotter_balance, name, kind)
#define PACKED_POSITION(name, kind, meaning) PACKED(blotter_position, name, kind)
#define PACKED_INSTRUMENT(name, kind, meaning) PACKED(blotter_instrument, name, kind)
#define KEY_FITS(name, kind, meaning) \
    _Static_assert(sizeof #name - 1 <= KEY_NAME_BYTES, "raise KEY_NAME_BYTES");
#define X(kind, name, sql_schema, table, fields) \
    static const struct packed_field name##_fields[] = {fields(PACKED_##kind)}; \
    fields(KEY_FITS)
BLOTTER_RECORD_KINDS(X)
#undef X
/* clang-format on */

/* Where a body ends at the latest, and why it could not be written. What writes takes the place to
 * write at and returns the place behind what it wrote, or NULL with the fault set: kept out of the
 * struct, the place stays in a register. */
struct body {
    unsigned char *end;
    enum record_fault fault;
    bool full; /* the fault is not one of the field */
};

static inline unsigned char *refuse(struct body *body, enum record_fault fault)
{
    body->fault = fault;
    return NULL;
}

static inline unsigned char *refuse_full(struct body *body)
{
    body->full = true;
    return refuse(body, RECORD_FAULT_TOO_LONG);
}

static inline size_t room(const struct body *body, const unsigned char *at)
{
    return (size_t)(body->end - at);
}

/* Copies a key. Where there is room all of KEY_BYTES_MAX are copied, which takes no call, and what
 * is too much of it is written over. */
static inline unsigned char *put_key(struct body *body, unsigned char *at,
                                     const struct packed_field *field)
{
    if (room(body, at) >= KEY_BYTES_MAX) {
        memcpy(at, &field->key_head, KEY_BYTES_MAX);
    } else if (room(body, at) >= field->key_bytes) {
        memcpy(at, &field->key_head, field->key_bytes);
    } else {
        return refuse_full(body);
    }
    return at + field->key_bytes;
}

/* --- text
 * ----------------------------------------------------------------------------------------------------------------
 */

static inline uint64_t load4(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Copies text and returns all its bytes ored together: the high bits are clear if it is ASCII. A
 * last word may overlap the one before it, which spares a loop over single bytes. */
static inline uint64_t copy_ored(unsigned char *out, const char *text, size_t length)
{
    uint64_t ored = 0, word;

    if (length >= 8) {
        for (size_t i = 0; i < length - 8; i += 8) {
            ored |= word = text_load8(text + i);
            memcpy(out + i, &word, 8);
        }
        ored |= word = text_load8(text + length - 8);
        memcpy(out + length - 8, &word, 8);
    } else if (length >= 4) {
        ored = load4(text) | load4(text + length - 4);
        memcpy(out, text, 4);
        memcpy(out + length - 4, text + length - 4, 4);
    } else {
        for (size_t i = 0; i < length; i++) {
            ored |= out[i] = (unsigned char)text[i];
        }
    }
    return ored;
}

static inline size_t str_head_bytes(size_t length)
{
    return length <= FIXSTR_MAX ? 1 : length <= UINT8_MAX ? 2 : 3;
}
_Static_assert(LIMIT_TEXT_BYTES <= UINT16_MAX && LIMIT_EXTRA_BYTES <= UINT16_MAX,
               "str32 is not written");

static inline unsigned char *put_str_head(unsigned char *at, size_t length)
{
    if (length <= FIXSTR_MAX) {
        at[0] = (unsigned char)(FIXSTR + length);
        return at + 1;
    }
    if (length <= UINT8_MAX) {
        at[0] = STR8;
        at[1] = (unsigned char)length;
        return at + 2;
    }
    at[0] = STR16;
    at[1] = (unsigned char)(length >> 8);
    at[2] = (unsigned char)length;
    return at + 3;
}

/* Writes a str of bytes that have been checked. */
static unsigned char *put_str(struct body *body, unsigned char *at, const char *bytes,
                              size_t length)
{
    if (room(body, at) < str_head_bytes(length) + length) {
        return refuse_full(body);
    }
    at = put_str_head(at, length);
    memcpy(at, bytes, length);
    return at + length;
}

static inline unsigned char *put_text(struct body *body, unsigned char *at, const char *text)
{
    size_t length = strlen(text);

    if (length > LIMIT_TEXT_BYTES) {
        return refuse(body, RECORD_FAULT_TOO_LONG);
    }
    if (room(body, at) < str_head_bytes(length) + length) {
        return refuse_full(body);
    }
    at = put_str_head(at, length);
    if ((copy_ored(at, text, length) & TEXT_HIGH_BITS) && text_check(text, length)) {
        return refuse(body, RECORD_FAULT_NOT_UTF8);
    }
    return at + length;
}

static unsigned char *put_json(struct body *body, unsigned char *at, const char *text)
{
    size_t length = strlen(text);
    enum record_fault fault = json_object_check(text, length);

    return fault ? refuse(body, fault) : put_str(body, at, text, length);
}

static unsigned char *put_amounts(struct body *body, unsigned char *at, const char *text)
{
    size_t length = strlen(text);
    enum record_fault fault = json_amounts(text, length, NULL);

    return fault ? refuse(body, fault) : put_str(body, at, text, length);
}

/* --- decimals
 * ------------------------------------------------------------------------------------------------------------
 */

/* The bytes of a text of 1 to 8 in the low bytes of a word, zeros above them. Reads nothing behind
 * the text. */
static inline uint64_t load_short(const char *text, size_t length)
{
    if (length == 8) {
        return text_load8(text);
    }
    if (length >= 4) {
        return load4(text) | load4(text + length - 4) << (8 * (length - 4));
    }
    return (uint64_t)(unsigned char)text[0] |
           (uint64_t)(unsigned char)text[length / 2] << (8 * (length / 2)) |
           (uint64_t)(unsigned char)text[length - 1] << (8 * (length - 1));
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "load_short is for little-endian machines");

/* The high bit of every byte that is no digit. Where a byte is above 0x7f the one behind it may be
 * wrong as well. */
static inline uint64_t not_digits(uint64_t word)
{
    uint64_t value = word ^ (TEXT_ONES * '0');
    return ((value + TEXT_ONES * (0x80 - 10)) | value) & TEXT_HIGH_BITS;
}

enum { SHORT_DECIMAL_BYTES = 16 };

/* Copies a decimal of 1 to SHORT_DECIMAL_BYTES bytes to `out`, spoiling all SHORT_DECIMAL_BYTES of
 * it, and returns where bytes are that are no digits: bit 8 i for byte i, bit 8 i + 1 for byte 8 +
 * i. */
static inline uint64_t copy_digits(unsigned char *out, const char *text, size_t length)
{
    uint64_t low, high;

    if (length <= 8) {
        low = load_short(text, length);
        memcpy(out, &low, 8);
        return (not_digits(low) & (~UINT64_C(0) >> (64 - 8 * length))) >> 7;
    }
    low = text_load8(text);
    high = text_load8(text + length - 8);
    memcpy(out, &low, 8);
    memcpy(out + length - 8, &high, 8);
    return not_digits(low) >> 7 | not_digits(high) >> (8 * (SHORT_DECIMAL_BYTES - length)) >> 6;
}

/* Copies a decimal if it is short, canonical as it is and not negative, as nearly all are, without
 * a branch that depends on its digits. False if it is not that. */
static inline bool copy_short_decimal(unsigned char *out, const char *text, size_t length)
{
    if (length - 1 >= SHORT_DECIMAL_BYTES) { /* or empty */
        return false;
    }
    uint64_t others = copy_digits(out, text, length);
    if (others == 0) {
        return text[0] != '0' || length == 1;
    }
    if (others & (others - 1)) {
        return false;
    }
    unsigned bit = (unsigned)__builtin_ctzll(others);
    size_t point = bit / 8 + 8 * (bit % 8);
    return text[point] == '.' && point > 0 && point + 1 < length && (text[0] != '0' || point == 1);
}

/* Apart, as it is rare and needs much stack. */
static __attribute__((noinline)) unsigned char *
put_odd_decimal(struct body *body, unsigned char *at, const char *text, size_t length)
{
    char canonical[LIMIT_DECIMAL_BYTES];

    if (length > LIMIT_DECIMAL_BYTES) {
        return refuse(body, RECORD_FAULT_TOO_LONG);
    }
    if (decimal_is_canonical(text, length)) {
        return put_str(body, at, text, length);
    }
    int written = decimal_canonical(text, length, canonical);
    return written < 0 ? refuse(body, RECORD_FAULT_NOT_DECIMAL)
                       : put_str(body, at, canonical, (size_t)written);
}

static inline unsigned char *put_decimal(struct body *body, unsigned char *at, const char *text)
{
    size_t length = strlen(text);

    if (room(body, at) >= 1 + SHORT_DECIMAL_BYTES && copy_short_decimal(at + 1, text, length)) {
        at[0] = (unsigned char)(FIXSTR + length);
        return at + 1 + length;
    }
    return put_odd_decimal(body, at, text, length);
}

/* --- integers and flags
 * --------------------------------------------------------------------------------------------------
 */

static inline unsigned char *store_int64(unsigned char *at, int64_t value)
{
    uint64_t bits = (uint64_t)value;

    at[0] = INT64;
    for (int i = 0; i < 8; i++) {
        at[1 + i] =
            (unsigned char)(bits >> (56 - 8 * i)); /* compilers make one swap and store of it */
    }
    return at + 9;
}

static inline unsigned char *put_int64(struct body *body, unsigned char *at, int64_t value)
{
    return room(body, at) >= 9 ? store_int64(at, value) : refuse_full(body);
}

static inline unsigned char *put_bool(struct body *body, unsigned char *at, enum blotter_bool value)
{
    if (value != BLOTTER_TRUE && value != BLOTTER_FALSE) {
        return refuse(body, RECORD_FAULT_OUT_OF_RANGE);
    }
    if (room(body, at) < 1) {
        return refuse_full(body);
    }
    *at = value == BLOTTER_TRUE ? TRUE_BYTE : FALSE_BYTE;
    return at + 1;
}

/* --- records
 * -------------------------------------------------------------------------------------------------------------
 */

/* Every member is NULL or zero where it is absent; bools are as wide as an int. */
static inline bool is_present(enum field_kind kind, const void *member)
{
    switch (kind) {
    case FIELD_TEXT:
    case FIELD_DECIMAL:
    case FIELD_AMOUNTS:
    case FIELD_JSON:
        return *(const char *const *)member != NULL;
    case FIELD_TIME:
    case FIELD_INT:
        return *(const int64_t *)member != 0;
    case FIELD_BOOL:
        return *(const enum blotter_bool *)member != BLOTTER_ABSENT;
    }
    return false;
}

static inline unsigned char *put_value(struct body *body, unsigned char *at, enum field_kind kind,
                                       const void *member)
{
    switch (kind) {
    case FIELD_TEXT:
        return put_text(body, at, *(const char *const *)member);
    case FIELD_DECIMAL:
        return put_decimal(body, at, *(const char *const *)member);
    case FIELD_AMOUNTS:
        return put_amounts(body, at, *(const char *const *)member);
    case FIELD_JSON:
        return put_json(body, at, *(const char *const *)member);
    case FIELD_TIME:
    case FIELD_INT:
        return put_int64(body, at, *(const int64_t *)member);
    case FIELD_BOOL:
        return put_bool(body, at, *(const enum blotter_bool *)member);
    }
    return refuse(body, RECORD_FAULT_WRONG_TYPE);
}

/* clang-format off */
static const struct layout {
    const struct packed_field *fields;
    unsigned count;
} layouts[RECORD_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {name##_fields, kind##_FIELDS - RECORD_IDENTITY_FIELDS},
    BLOTTER_RECORD_KINDS(X)
#undef X
};
/* clang-format on */

static int fail(struct record_problem *problem, enum record_fault fault, const char *field)
{
    problem->fault = fault;
    problem->field = field;
    return -1;
}

/* A loop over a table, although the same loop unrolled is faster while it is hot: it is five times
 * the code, and slower when it is cold, which is how a strategy that trades now and then finds it.
 */
int record_encode(enum record_kind kind, const void *record, unsigned char *out, size_t capacity,
                  unsigned *fields, struct record_problem *problem)
{
    const struct layout *layout = &layouts[kind];
    const size_t most = LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX;
    struct body body = {out + (capacity < most ? capacity : most), RECORD_FAULT_NONE, false};
    unsigned char *at = out;
    uint64_t given = 0;
    unsigned count = 0;

    for (unsigned i = 0; i < layout->count; i++) {
        const struct packed_field *field = &layout->fields[i];
        const void *member = (const char *)record + field->offset;
        if (!is_present((enum field_kind)field->kind, member)) {
            continue;
        }
        at = put_key(&body, at, field);
        if (at != NULL) {
            at = put_value(&body, at, (enum field_kind)field->kind, member);
        }
        if (at == NULL) {
            return fail(problem, body.fault,
                        body.full ? NULL
                                  : record_schemas[kind].fields[RECORD_IDENTITY_FIELDS + i].name);
        }
        given |= UINT64_C(1) << (RECORD_IDENTITY_FIELDS + i);
        count++;
    }
    const char *missing = record_missing(kind, given);
    if (missing != NULL) {
        return fail(problem, RECORD_FAULT_MISSING, missing);
    }
    *fields = count;
    return (int)(at - out);
}

/* --- the head
 * ------------------------------------------------------------------------------------------------------------
 */

static unsigned char *put_map_head(unsigned char *at, unsigned pairs)
{
    if (pairs <= 15) {
        *at++ = (unsigned char)(FIXMAP + pairs);
        return at;
    }
    *at++ = MAP16;
    *at++ = (unsigned char)(pairs >> 8);
    *at++ = (unsigned char)pairs;
    return at;
}

static unsigned char *put_checked(unsigned char *at, const char *text, size_t length)
{
    at = put_str_head(at, length);
    memcpy(at, text, length);
    return at + length;
}

#define PUT_NAME(at, name) put_checked(at, name, sizeof name - 1)

size_t record_encode_head(const struct record_identity *identity, unsigned fields,
                          unsigned char out[RECORD_HEAD_BYTES_MAX])
{
    size_t length = strlen(identity->exchange);
    unsigned char *at = put_map_head(out, RECORD_HEAD_FIELDS + fields);

    assert(length <= LIMIT_EXCHANGE_BYTES);
    at = store_int64(PUT_NAME(at, "producer_id"), identity->producer_id);
    at = store_int64(PUT_NAME(at, "seq"), identity->seq);
    at = store_int64(PUT_NAME(at, "recorded_at"), identity->recorded_at_ns);
    at = put_checked(PUT_NAME(at, "exchange"), identity->exchange, length);
    return (size_t)(at - out);
}
