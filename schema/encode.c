/* encode.c: records as C structs to msgpack, on the thread of the strategy that submits them.
 *
 * The lists of fields.h become one table per kind: where the member lies, what it is, and its key as it goes on the wire,
 * length byte included, so that a key is one copy of constant size. One loop walks the table. Validating costs no pass of its
 * own: decimals are checked digit by digit while they are copied, text eight bytes at a time. What is out of the ordinary, an
 * exponent or a letter beyond ASCII, is handed to the slow and thorough functions of decimal.c and text.c.
 *
 * Nothing is allocated, nothing is written behind the capacity given, and no call is made that could wait. */
#include <assert.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/record.h"
#include "schema/text.h"

#define KEY_NAME_BYTES 23
#define KEY_BYTES_MAX (1 + KEY_NAME_BYTES)
#define FIXSTR 0xa0
#define FIXSTR_MAX 31
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
};
_Static_assert(offsetof(struct packed_field, key_name) == offsetof(struct packed_field, key_head) + 1, "a key must be one run");

#define PACKED(type, name, kind) {offsetof(struct type, name), FIELD_##kind, sizeof #name, FIXSTR + sizeof #name - 1, #name},
#define ORDER_FIELD(name, kind, meaning) PACKED(blotter_order, name, kind)
#define TRADE_FIELD(name, kind, meaning) PACKED(blotter_trade, name, kind)
#define SESSION_FIELD(name, kind, meaning) PACKED(blotter_session, name, kind)
static const struct packed_field order_fields[] = {BLOTTER_ORDER_FIELDS(ORDER_FIELD)};
static const struct packed_field trade_fields[] = {BLOTTER_TRADE_FIELDS(TRADE_FIELD)};
static const struct packed_field session_fields[] = {BLOTTER_SESSION_FIELDS(SESSION_FIELD)};

#define KEY_FITS(name, kind, meaning) _Static_assert(sizeof #name - 1 <= KEY_NAME_BYTES, "raise KEY_NAME_BYTES");
BLOTTER_ORDER_FIELDS(KEY_FITS)
BLOTTER_TRADE_FIELDS(KEY_FITS)
BLOTTER_SESSION_FIELDS(KEY_FITS)

/* The body so far. Whoever writes makes sure of the room first. */
struct body {
    unsigned char *at;
    unsigned char *end;
    bool full;
};

/* Is there room for so many bytes? If not, that is why encoding fails, and not the field at hand. */
static inline bool has_room(struct body *body, size_t bytes)
{
    if ((size_t)(body->end - body->at) >= bytes)
        return true;
    body->full = true;
    return false;
}

static inline void put_bytes(struct body *body, const void *bytes, size_t length)
{
    memcpy(body->at, bytes, length);
    body->at += length;
}

/* Copies a key. Where there is room all of KEY_BYTES_MAX are copied, which takes no call, and what is too much of it is
 * written over. */
static inline bool put_key(struct body *body, const struct packed_field *field)
{
    if (body->end - body->at >= KEY_BYTES_MAX)
        memcpy(body->at, &field->key_head, KEY_BYTES_MAX);
    else if (has_room(body, field->key_bytes))
        memcpy(body->at, &field->key_head, field->key_bytes);
    else
        return false;
    body->at += field->key_bytes;
    return true;
}

/* --- text ---------------------------------------------------------------------------------------------------------------- */

static inline uint64_t load4(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Copies text and returns all its bytes ored together: the high bits are clear if it is ASCII. A last word may overlap the
 * one before it, which spares a loop over single bytes. */
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
        for (size_t i = 0; i < length; i++)
            ored |= out[i] = (unsigned char)text[i];
    }
    return ored;
}

/* Writes a str's head for a length that the limits allow. */
static inline void put_str_head(struct body *body, size_t length)
{
    unsigned char *at = body->at;

    if (length <= FIXSTR_MAX) {
        at[0] = (unsigned char)(FIXSTR + length);
        body->at += 1;
    } else if (length <= UINT8_MAX) {
        at[0] = STR8;
        at[1] = (unsigned char)length;
        body->at += 2;
    } else {
        at[0] = STR16;
        at[1] = (unsigned char)(length >> 8);
        at[2] = (unsigned char)length;
        body->at += 3;
    }
}
_Static_assert(LIMIT_TEXT_BYTES <= UINT16_MAX && LIMIT_EXTRA_BYTES <= UINT16_MAX, "str32 is not written");

static inline bool has_room_for_str(struct body *body, size_t length)
{
    return has_room(body, length + (length <= FIXSTR_MAX ? 1 : length <= UINT8_MAX ? 2 : 3));
}

static inline enum record_fault put_text(struct body *body, const char *text)
{
    size_t length = strlen(text);

    if (length > LIMIT_TEXT_BYTES)
        return RECORD_FAULT_TOO_LONG;
    if (!has_room_for_str(body, length))
        return RECORD_FAULT_TOO_LONG;
    put_str_head(body, length);
    uint64_t ored = copy_ored(body->at, text, length);
    body->at += length;
    return ored & TEXT_HIGH_BITS ? text_check(text, length) : RECORD_FAULT_NONE;
}

static enum record_fault put_json(struct body *body, const char *text)
{
    size_t length = strlen(text);
    enum record_fault fault = json_object_check(text, length);

    if (fault)
        return fault;
    if (!has_room_for_str(body, length))
        return RECORD_FAULT_TOO_LONG;
    put_str_head(body, length);
    put_bytes(body, text, length);
    return RECORD_FAULT_NONE;
}

/* --- decimals ------------------------------------------------------------------------------------------------------------ */

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* Copies a decimal that is canonical as it is and at most FIXSTR_MAX long. Returns its length, or 0 if it is not that; up to
 * FIXSTR_MAX + 1 bytes of `out` are then spoilt. */
static inline unsigned copy_canonical(unsigned char *out, const char *text)
{
    bool negative = text[0] == '-';
    unsigned n = negative, not_zero = 0;

    out[0] = '-';
    for (; n < FIXSTR_MAX && is_digit(text[n]); n++) {
        out[n] = (unsigned char)text[n];
        not_zero |= out[n] ^ '0';
    }
    unsigned digits = n - negative;
    if (digits == 0 || (digits > 1 && text[negative] == '0'))
        return 0;
    if (text[n] == '.') {
        unsigned point = n;
        out[n++] = '.';
        for (; n < FIXSTR_MAX && is_digit(text[n]); n++) {
            out[n] = (unsigned char)text[n];
            not_zero |= out[n] ^ '0';
        }
        if (n == point + 1)
            return 0;
    }
    if (n > FIXSTR_MAX || text[n] != '\0' || (negative && !not_zero))
        return 0;
    return n;
}

static enum record_fault put_odd_decimal(struct body *body, const char *text)
{
    char canonical[LIMIT_DECIMAL_BYTES];
    size_t given = strnlen(text, LIMIT_DECIMAL_BYTES + 1);

    if (given > LIMIT_DECIMAL_BYTES)
        return RECORD_FAULT_TOO_LONG;
    int length = decimal_canonical(text, given, canonical);
    if (length < 0)
        return RECORD_FAULT_NOT_DECIMAL;
    if (!has_room_for_str(body, (size_t)length))
        return RECORD_FAULT_TOO_LONG;
    put_str_head(body, (size_t)length);
    put_bytes(body, canonical, (size_t)length);
    return RECORD_FAULT_NONE;
}

static inline enum record_fault put_decimal(struct body *body, const char *text)
{
    if (body->end - body->at >= 1 + FIXSTR_MAX + 1) {
        unsigned length = copy_canonical(body->at + 1, text);
        if (length > 0) {
            body->at[0] = (unsigned char)(FIXSTR + length);
            body->at += 1 + length;
            return RECORD_FAULT_NONE;
        }
    }
    return put_odd_decimal(body, text);
}

/* --- integers and flags -------------------------------------------------------------------------------------------------- */

static inline void store_int64(unsigned char *out, int64_t value)
{
    uint64_t bits = (uint64_t)value;

    out[0] = INT64;
    for (int i = 0; i < 8; i++)
        out[1 + i] = (unsigned char)(bits >> (56 - 8 * i)); /* compilers make one swap and store of it */
}

static inline enum record_fault put_int64(struct body *body, int64_t value)
{
    if (!has_room(body, 9))
        return RECORD_FAULT_TOO_LONG;
    store_int64(body->at, value);
    body->at += 9;
    return RECORD_FAULT_NONE;
}

static inline enum record_fault put_bool(struct body *body, enum blotter_bool value)
{
    if (value != BLOTTER_TRUE && value != BLOTTER_FALSE)
        return RECORD_FAULT_OUT_OF_RANGE;
    if (!has_room(body, 1))
        return RECORD_FAULT_TOO_LONG;
    *body->at++ = value == BLOTTER_TRUE ? TRUE_BYTE : FALSE_BYTE;
    return RECORD_FAULT_NONE;
}

/* --- records ------------------------------------------------------------------------------------------------------------- */

/* Writes the field if the member says that it is present, and then sets its bit. */
static inline enum record_fault put_field(struct body *body, const struct packed_field *field, const void *record, bool *present)
{
    const void *member = (const char *)record + field->offset;

    *present = true;
    switch ((enum field_kind)field->kind) {
    case FIELD_TEXT:
    case FIELD_DECIMAL:
    case FIELD_JSON: {
        const char *text = *(const char *const *)member;
        if (!text)
            break;
        if (!put_key(body, field))
            return RECORD_FAULT_TOO_LONG;
        return field->kind == FIELD_TEXT      ? put_text(body, text)
               : field->kind == FIELD_DECIMAL ? put_decimal(body, text)
                                              : put_json(body, text);
    }
    case FIELD_TIME:
    case FIELD_INT: {
        int64_t value = *(const int64_t *)member;
        if (value == 0)
            break;
        return put_key(body, field) ? put_int64(body, value) : RECORD_FAULT_TOO_LONG;
    }
    case FIELD_BOOL: {
        enum blotter_bool value = *(const enum blotter_bool *)member;
        if (value == BLOTTER_ABSENT)
            break;
        return put_key(body, field) ? put_bool(body, value) : RECORD_FAULT_TOO_LONG;
    }
    }
    *present = false;
    return RECORD_FAULT_NONE;
}

struct layout {
    enum record_kind kind;
    const struct packed_field *fields;
    unsigned count;
};

static int fail(struct record_problem *problem, enum record_fault fault, const char *field)
{
    problem->fault = fault;
    problem->field = field;
    return -1;
}

static inline int encode(const struct layout *layout, const void *record, unsigned char *out, size_t capacity, unsigned *fields,
                         struct record_problem *problem)
{
    const size_t most = LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX;
    struct body body = {out, out + (capacity < most ? capacity : most), false};
    uint64_t given = 0;
    bool present;

    for (unsigned i = 0; i < layout->count; i++) {
        enum record_fault fault = put_field(&body, &layout->fields[i], record, &present);
        if (fault)
            return fail(problem, fault, body.full ? NULL : record_schemas[layout->kind].fields[RECORD_IDENTITY_FIELDS + i].name);
        given |= (uint64_t)present << (RECORD_IDENTITY_FIELDS + i);
    }
    const char *missing = record_missing(layout->kind, given);
    if (missing)
        return fail(problem, RECORD_FAULT_MISSING, missing);
    *fields = (unsigned)__builtin_popcountll(given);
    return (int)(body.at - out);
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

int record_encode_order(const struct blotter_order *order, unsigned char *out, size_t capacity, unsigned *fields,
                        struct record_problem *problem)
{
    static const struct layout layout = {RECORD_ORDER, order_fields, COUNT(order_fields)};
    return encode(&layout, order, out, capacity, fields, problem);
}

int record_encode_trade(const struct blotter_trade *trade, unsigned char *out, size_t capacity, unsigned *fields,
                        struct record_problem *problem)
{
    static const struct layout layout = {RECORD_TRADE, trade_fields, COUNT(trade_fields)};
    return encode(&layout, trade, out, capacity, fields, problem);
}

int record_encode_session(const struct blotter_session *session, unsigned char *out, size_t capacity, unsigned *fields,
                          struct record_problem *problem)
{
    static const struct layout layout = {RECORD_SESSION, session_fields, COUNT(session_fields)};
    return encode(&layout, session, out, capacity, fields, problem);
}

/* --- the head ------------------------------------------------------------------------------------------------------------ */

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

static void put_named_int64(struct body *body, const char *name, int64_t value)
{
    size_t length = strlen(name);

    put_str_head(body, length);
    put_bytes(body, name, length);
    store_int64(body->at, value);
    body->at += 9;
}

size_t record_encode_head(const struct record_identity *identity, unsigned fields, unsigned char out[RECORD_HEAD_BYTES_MAX])
{
    struct body body = {put_map_head(out, RECORD_IDENTITY_FIELDS + fields), out + RECORD_HEAD_BYTES_MAX, false};
    size_t length = strlen(identity->exchange);

    assert(length <= LIMIT_EXCHANGE_BYTES);
    put_named_int64(&body, "producer_id", identity->producer_id);
    put_named_int64(&body, "seq", identity->seq);
    put_named_int64(&body, "recorded_at", identity->recorded_at_ns);
    put_str_head(&body, sizeof "exchange" - 1);
    put_bytes(&body, "exchange", sizeof "exchange" - 1);
    put_str_head(&body, length);
    put_bytes(&body, identity->exchange, length);
    return (size_t)(body.at - out);
}
