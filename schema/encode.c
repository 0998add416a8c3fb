/* encode.c: encodes C structs as msgpack, on the thread of the strategy that submits them.
 *
 * The lists of fields.h become one table per kind: where the member lies, what it is, and its key
 * as it goes on the wire, length byte included, so that a key is one copy of constant size. One
 * loop walks the table. Validating costs no pass of its own: text and decimals are checked eight
 * bytes at a time while they are copied (copy_checked.h), which takes 20 % (text) and 30 %
 * (decimals) fewer instructions of the whole than byte by byte. Rare cases, as a sign, an exponent
 * or a letter beyond ASCII, go to the slow and thorough functions of decimal.c and text.c.
 *
 * A value that its field cannot take does not cost the record: the field is left out, and at the
 * end the value goes into `extra` under the field's name.
 *
 * Nothing is allocated, nothing is written behind the capacity given, and no call is made that
 * could wait. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "schema/copy_checked.h"
#include "schema/decimal.h"
#include "schema/json_read.h"
#include "schema/pack.h"
#include "schema/record.h"
#include "schema/text.h"

enum {
    KEY_NAME_BYTES = 23,
    KEY_BYTES_MAX = 1 + KEY_NAME_BYTES,
    FIXSTR = 0xa0,
    FIXSTR_MAX = COPY_TEXT_BYTES_MAX,
    STR_HEAD_BYTES_MAX = 3, /* text and extra are shorter than 64 KiB */
    NUMBER_BYTES = 9,
};
_Static_assert(LIMIT_TEXT_BYTES <= UINT16_MAX && LIMIT_EXTRA_BYTES <= UINT16_MAX,
               "str32 is not written");

/* A field as the loop needs it. `given` masks the eight bytes at the member: absent is zero, and a
 * bool is only four bytes wide, with another member behind it. */
struct packed_field {
    unsigned char key_head; /* key_head and key_name are one run of bytes on the wire */
    char key_name[KEY_NAME_BYTES];
    uint64_t given;
    uint16_t offset;
    uint8_t kind;
    uint8_t key_bytes;
};
_Static_assert(offsetof(struct packed_field, key_name) == 1, "a key must be one run");

/* clang-format off */
#define GIVEN_TEXT UINT64_MAX
#define GIVEN_DECIMAL UINT64_MAX
#define GIVEN_TIME UINT64_MAX
#define GIVEN_INT UINT64_MAX
#define GIVEN_AMOUNTS UINT64_MAX
#define GIVEN_JSON UINT64_MAX
#define GIVEN_BOOL UINT32_MAX
_Static_assert(sizeof(enum blotter_bool) == 4 && sizeof(char *) == 8 &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "made for 64-bit little-endian machines");

#define PACKED(type, name, kind) \
    {FIXSTR + sizeof #name - 1, #name, GIVEN_##kind, offsetof(struct type, name), FIELD_##kind, \
     sizeof #name},
#define PACKED_ORDER(name, kind, meaning) PACKED(blotter_order, name, kind)
#define PACKED_TRADE(name, kind, meaning) PACKED(blotter_trade, name, kind)
#define PACKED_SESSION(name, kind, meaning) PACKED(blotter_session, name, kind)
#define PACKED_CASH(name, kind, meaning) PACKED(blotter_cash, name, kind)
#define PACKED_BALANCE(name, kind, meaning) PACKED(blotter_balance, name, kind)
#define PACKED_POSITION(name, kind, meaning) PACKED(blotter_position, name, kind)
#define PACKED_INSTRUMENT(name, kind, meaning) PACKED(blotter_instrument, name, kind)
#define PACKED_REJECT(name, kind, meaning) PACKED(blotter_reject, name, kind)
#define KEY_FITS(name, kind, meaning) \
    _Static_assert(sizeof #name - 1 <= KEY_NAME_BYTES, "raise KEY_NAME_BYTES");
#define X(kind, name, sql_schema, table, fields) \
    static const struct packed_field name##_fields[] = {fields(PACKED_##kind)}; \
    fields(KEY_FITS)
BLOTTER_RECORD_KINDS(X)
X(REJECT, reject, NULL, NULL, BLOTTER_REJECT_FIELDS)
#undef X

/* The fields of a kind but `extra`, which is the last and is written for itself. */
static const struct layout {
    const struct packed_field *fields;
    unsigned count;
} layouts[RECORD_WIRE_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {name##_fields, kind##_extra - RECORD_IDENTITY_FIELDS},
    BLOTTER_RECORD_KINDS(X)
    X(REJECT, reject, NULL, NULL, BLOTTER_REJECT_FIELDS)
#undef X
};
/* clang-format on */

/* The limit of a body, and the reason why a value could not be written. A function that writes
 * takes the place to write at and returns the place behind what it wrote, or NULL with the fault
 * set: kept out of the struct, the place stays in a register. */
struct body {
    unsigned char *end;
    enum record_fault fault;
    bool full; /* the fault is not one of the field */
};

static inline unsigned char *encode_refuse(struct body *body, enum record_fault fault)
{
    body->fault = fault;
    return NULL;
}

static inline unsigned char *encode_full(struct body *body)
{
    body->full = true;
    return encode_refuse(body, RECORD_FAULT_TOO_LONG);
}

static inline size_t room_at(const struct body *body, const unsigned char *at)
{
    return (size_t)(body->end - at);
}

/* Copies a key. Where there is room all of KEY_BYTES_MAX are copied, which takes no call, and the
 * bytes behind the key are written over. */
static inline unsigned char *encode_put_key(struct body *body, unsigned char *at,
                                            const struct packed_field *field)
{
    if (room_at(body, at) >= KEY_BYTES_MAX) {
        memcpy(at, field, KEY_BYTES_MAX);
    } else if (room_at(body, at) >= field->key_bytes) {
        memcpy(at, field, field->key_bytes);
    } else {
        return encode_full(body);
    }
    return at + field->key_bytes;
}

/* --- text --- */

/* Is there room for a str of that length? The first comparison is enough nearly always. */
static inline bool str_fits(const struct body *body, const unsigned char *at, size_t length)
{
    size_t head_bytes = length <= FIXSTR_MAX ? 1 : length <= UINT8_MAX ? 2 : 3;

    return room_at(body, at) >= STR_HEAD_BYTES_MAX + length ||
           room_at(body, at) >= head_bytes + length;
}

/* Writes a str of bytes that have been checked. */
static unsigned char *put_str(struct body *body, unsigned char *at, const char *bytes,
                              size_t length)
{
    if (!str_fits(body, at, length)) {
        return encode_full(body);
    }
    msgpack_pack_str(&at, length);
    msgpack_pack_str_body(&at, bytes, length);
    return at;
}

/* Writes any text. Apart from the common case, which put_pair has: short and ASCII. */
static __attribute__((noinline)) unsigned char *put_text(struct body *body, unsigned char *at,
                                                         const char *text, size_t length)
{
    enum record_fault fault =
        length > LIMIT_TEXT_BYTES ? RECORD_FAULT_TOO_LONG : text_check(text, length);

    return fault ? encode_refuse(body, fault) : put_str(body, at, text, length);
}

static unsigned char *put_amounts(struct body *body, unsigned char *at, const char *text)
{
    size_t length = strlen(text);
    enum record_fault fault = json_read_amounts(text, length, NULL);

    return fault ? encode_refuse(body, fault) : put_str(body, at, text, length);
}

/* --- decimals --- */

/* Apart, as it is rare and needs much stack. */
static __attribute__((noinline)) unsigned char *
put_odd_decimal(struct body *body, unsigned char *at, const char *text, size_t length)
{
    char canonical[LIMIT_DECIMAL_BYTES];

    if (length > LIMIT_DECIMAL_BYTES) {
        return encode_refuse(body, RECORD_FAULT_TOO_LONG);
    }
    if (decimal_is_canonical(text, length)) {
        return put_str(body, at, text, length);
    }
    int written = decimal_canonical(text, length, canonical);
    return written < 0 ? encode_refuse(body, RECORD_FAULT_NOT_DECIMAL)
                       : put_str(body, at, canonical, (size_t)written);
}

/* Reads what record_double wrote. False: it is something else, perhaps text of an exchange. */
static bool read_double(const char *text, double *value)
{
    uint64_t bits = 0;
    const char *at = text + 1;

    for (int i = 0; i < RECORD_DOUBLE_DIGITS; i++, at++) {
        if ((*at & 0x80) == 0) {
            return false;
        }
        bits |= (uint64_t)(*at & 0x7f) << (7 * i);
    }
    memcpy(value, &bits, sizeof *value);
    return *at == '\0';
}

/* Writes a double as it is: the drainer makes its digits. */
static unsigned char *put_double(struct body *body, unsigned char *at, const char *text)
{
    double value;

    if (!read_double(text, &value) || !(fabs(value) < RECORD_DOUBLE_MAX)) {
        return encode_refuse(body, RECORD_FAULT_NOT_DECIMAL);
    }
    if (room_at(body, at) < NUMBER_BYTES) {
        return encode_full(body);
    }
    msgpack_pack_double(&at, value);
    return at;
}

static unsigned char *put_decimal(struct body *body, unsigned char *at, const char *text)
{
    return text[0] == RECORD_DOUBLE_MARK ? put_double(body, at, text)
                                         : put_odd_decimal(body, at, text, strlen(text));
}

/* --- numbers and flags --- */

static inline unsigned char *put_int64(struct body *body, unsigned char *at, int64_t value)
{
    if (room_at(body, at) < NUMBER_BYTES) {
        return encode_full(body);
    }
    msgpack_pack_fix_int64(&at, value);
    return at;
}

static inline unsigned char *encode_time(struct body *body, unsigned char *at, int64_t time_ns)
{
    if (time_ns < LIMIT_TIME_MIN_NS || time_ns >= LIMIT_TIME_END_NS) {
        return encode_refuse(body, RECORD_FAULT_OUT_OF_RANGE);
    }
    return put_int64(body, at, time_ns);
}

static inline unsigned char *put_bool(struct body *body, unsigned char *at, uint64_t value)
{
    if (value != BLOTTER_TRUE && value != BLOTTER_FALSE) {
        return encode_refuse(body, RECORD_FAULT_OUT_OF_RANGE);
    }
    if (room_at(body, at) < 1) {
        return encode_full(body);
    }
    if (value == BLOTTER_TRUE) {
        msgpack_pack_true(&at);
    } else {
        msgpack_pack_false(&at);
    }
    return at;
}

/* --- extra --- */

/* Which values did not fit their fields, and why. */
struct misplaced {
    uint64_t fields;
    unsigned count;
    uint8_t faults[RECORD_FIELDS_MAX];
};

static __attribute__((noinline, cold)) void encode_misplace(struct misplaced *misplaced,
                                                            unsigned index, enum record_fault fault)
{
    misplaced->fields |= UINT64_C(1) << index;
    misplaced->faults[index] = (uint8_t)fault;
    misplaced->count++;
}

/* Writes a text, or as much of its beginning as there is room for. */
static void write_text_to_fit(struct json_writer *json, const char *text)
{
    struct json_writer before = *json;
    size_t length = strlen(text);

    json_write_string(json, text, length);
    while (json->full && length > 0) {
        for (length /= 2; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80; length--) {
            /* not in the middle of a letter */
        }
        *json = before;
        json_write_string(json, text, length);
    }
}

static void write_misplaced(struct json_writer *json, const struct packed_field *field,
                            const void *record)
{
    uint64_t member = text_load8((const char *)record + field->offset) & field->given;
    const char *text;
    double value;

    json_write(json, "\"", 1);
    json_write(json, field->key_name, field->key_bytes - 1);
    json_write(json, "\":", 2);
    switch ((enum field_kind)field->kind) {
    case FIELD_TIME:
    case FIELD_INT:
    case FIELD_BOOL:
        json_write_integer(json, (int64_t)member);
        return;
    case FIELD_TEXT:
    case FIELD_DECIMAL:
    case FIELD_AMOUNTS:
    case FIELD_JSON:
        memcpy(&text, (const char *)record + field->offset, sizeof text);
        if (field->kind == FIELD_DECIMAL && text[0] == RECORD_DOUBLE_MARK &&
            read_double(text, &value)) {
            json_write_double(json, value);
        } else {
            write_text_to_fit(json, text);
        }
    }
}

/* Writes an object of the members between the strategy's own braces, and of the misplaced values
 * as far as there is room: a record is not lost for them. */
static unsigned char *put_merged_extra(const struct body *body, unsigned char *at,
                                       const struct layout *layout, const void *record,
                                       const char *inside, size_t inside_length,
                                       const struct misplaced *misplaced)
{
    char *text = (char *)at + STR_HEAD_BYTES_MAX;
    size_t most = room_at(body, at) - STR_HEAD_BYTES_MAX;
    struct json_writer json = {
        .at = text, .end = text + (most < LIMIT_EXTRA_BYTES ? most : LIMIT_EXTRA_BYTES) - 1};

    json_write(&json, "{", 1);
    json_write(&json, inside, inside_length);
    for (unsigned i = 0; i <= layout->count; i++) {
        struct json_writer before = json;
        if ((misplaced->fields >> (RECORD_IDENTITY_FIELDS + i) & 1) == 0) {
            continue;
        }
        json_write(&json, ",", json.at > text + 1);
        write_misplaced(&json, &layout->fields[i], record);
        if (json.full) {
            json = before;
        }
    }
    *json.at++ = '}';
    size_t length = (size_t)(json.at - text);
    msgpack_pack_str(&at, length);
    memmove(at, text, length);
    return at + length;
}

/* --- records --- */

/* Numbers that count records, of sessions, are bounded. */
static unsigned char *encode_counter(struct body *body, unsigned char *at, enum record_kind kind,
                                     unsigned i, int64_t value)
{
    return record_integer_valid(kind, RECORD_IDENTITY_FIELDS + i, value)
               ? put_int64(body, at, value)
               : encode_refuse(body, RECORD_FAULT_OUT_OF_RANGE);
}

static __attribute__((noinline)) unsigned char *encode_value(struct body *body, unsigned char *at,
                                                             enum record_kind kind,
                                                             const struct packed_field *field,
                                                             uint64_t member)
{
    const char *text = (const char *)(uintptr_t)member;

    switch ((enum field_kind)field->kind) {
    case FIELD_TEXT:
        return put_text(body, at, text, strlen(text));
    case FIELD_DECIMAL:
        return put_decimal(body, at, text);
    case FIELD_TIME:
        return encode_time(body, at, (int64_t)member);
    case FIELD_INT:
        return encode_counter(body, at, kind, (unsigned)(field - layouts[kind].fields),
                              (int64_t)member);
    case FIELD_BOOL:
        return put_bool(body, at, member);
    case FIELD_AMOUNTS:
        return put_amounts(body, at, text);
    case FIELD_JSON:
        break;
    }
    return encode_refuse(body, RECORD_FAULT_WRONG_TYPE);
}

static __attribute__((noinline, cold)) int encode_fail(struct record_problem *problem,
                                                       enum record_kind kind,
                                                       enum record_fault fault, int index)
{
    problem->fault = fault;
    problem->field = index < 0 ? NULL : record_schemas[kind].fields[index].name;
    return -1;
}

/* The record lacks one of these fields: names one whose value was wrong, else the first. */
static int fail_missing(struct record_problem *problem, enum record_kind kind, uint64_t missing,
                        const struct misplaced *misplaced)
{
    uint64_t wrong = missing & misplaced->fields;
    int index = __builtin_ctzll(wrong != 0 ? wrong : missing);

    return encode_fail(
        problem, kind,
        wrong != 0 ? (enum record_fault)misplaced->faults[index] : RECORD_FAULT_MISSING, index);
}

/* Notes in *problem what was misplaced. */
static inline void encode_tell_misplaced(struct record_problem *problem, enum record_kind kind,
                                         const struct misplaced *misplaced)
{
    problem->misplaced = misplaced->count;
    problem->fault = RECORD_FAULT_NONE;
    if (misplaced->count > 0) {
        int first = __builtin_ctzll(misplaced->fields);
        encode_fail(problem, kind, (enum record_fault)misplaced->faults[first], first);
    }
}

/* Writes a key and its value. Most are short text or decimals, and need not look for room twice. */
static inline __attribute__((always_inline)) unsigned char *
put_pair(struct body *body, unsigned char *at, enum record_kind kind,
         const struct packed_field *field, uint64_t member)
{
    if (__builtin_expect(room_at(body, at) < KEY_BYTES_MAX + 1 + FIXSTR_MAX, 0)) {
        at = encode_put_key(body, at, field);
        return at == NULL ? NULL : encode_value(body, at, kind, field, member);
    }
    memcpy(at, field, KEY_BYTES_MAX);
    at += field->key_bytes;
    const char *text = (const char *)(uintptr_t)member;
    if (field->kind == FIELD_TEXT) {
        size_t length = strlen(text);
        if (length > FIXSTR_MAX || (copy_ored(at + 1, text, length) & TEXT_HIGH_BITS) != 0) {
            return put_text(body, at, text, length);
        }
        at[0] = (unsigned char)(FIXSTR + length);
        return at + 1 + length;
    }
    if (field->kind == FIELD_DECIMAL && text[0] != RECORD_DOUBLE_MARK) {
        size_t length = strlen(text);
        if (!copy_short_decimal(at + 1, text, length)) {
            return put_odd_decimal(body, at, text, length);
        }
        at[0] = (unsigned char)(FIXSTR + length);
        return at + 1 + length;
    }
    return field->kind == FIELD_TIME ? encode_time(body, at, (int64_t)member)
                                     : encode_value(body, at, kind, field, member);
}

/* The part of a record that has been written. */
struct encoded {
    unsigned char *at;
    uint64_t given;
    unsigned pairs;
    struct misplaced misplaced; /* faults are set where fields says so */
};

/* Writes all given fields but `extra`. False: there is no room.
 *
 * A loop over a table, although the same loop unrolled is faster while it is hot: it is five times
 * the code, and slower when it is cold, which is how a strategy that trades now and then finds it.
 */
static inline __attribute__((always_inline)) bool
put_fields(struct body *body, enum record_kind kind, const void *record, struct encoded *encoded)
{
    const struct layout *layout = &layouts[kind];
    const struct packed_field *end = layout->fields + layout->count;
    unsigned char *at = encoded->at;
    uint64_t given = 0, bit = UINT64_C(1) << RECORD_IDENTITY_FIELDS;
    unsigned pairs = 0;

    for (const struct packed_field *field = layout->fields; field < end; field++, bit <<= 1) {
        uint64_t member = text_load8((const char *)record + field->offset) & field->given;
        if (member == 0) {
            continue;
        }
        unsigned char *next = put_pair(body, at, kind, field, member);
        if (__builtin_expect(next == NULL, 0)) {
            if (body->full) {
                return false;
            }
            encode_misplace(&encoded->misplaced, (unsigned)__builtin_ctzll(bit), body->fault);
            continue;
        }
        at = next;
        given |= bit;
        pairs++;
    }
    encoded->at = at;
    encoded->given = given;
    encoded->pairs += pairs;
    return true;
}

static inline const char *extra_of(const struct layout *layout, const void *record)
{
    const char *extra;
    memcpy(&extra, (const char *)record + layout->fields[layout->count].offset, sizeof extra);
    return extra;
}

/* Writes `extra`: the strategy's own, and what was misplaced. False: it has no room, or is too
 * long; misplaced values alone are left out instead. */
static __attribute__((noinline)) bool put_extra(struct body *body, const struct layout *layout,
                                                const void *record, struct encoded *encoded)
{
    struct misplaced *misplaced = &encoded->misplaced;
    const char *extra = extra_of(layout, record), *inside = "";
    size_t length = extra != NULL ? strlen(extra) : 0;
    enum record_fault fault = extra != NULL ? json_read_object(extra, length) : RECORD_FAULT_NONE;

    if (fault == RECORD_FAULT_TOO_LONG) {
        return encode_refuse(body, fault) != NULL;
    }
    if (fault) {
        encode_misplace(misplaced, RECORD_IDENTITY_FIELDS + layout->count, fault);
    }
    bool own = extra != NULL && !fault;
    unsigned char *value = encode_put_key(body, encoded->at, &layout->fields[layout->count]);
    if (value != NULL && misplaced->fields == 0) {
        value = put_str(body, value, extra, length);
    } else if (value != NULL &&
               room_at(body, value) >= STR_HEAD_BYTES_MAX + 2 + (own ? length : 0)) {
        inside = own ? json_read_inside(extra, length, &length) : inside;
        value = put_merged_extra(body, value, layout, record, inside, own ? length : 0, misplaced);
    } else {
        value = NULL;
    }
    if (value == NULL) {
        return own ? encode_full(body) != NULL : true;
    }
    encoded->at = value;
    encoded->pairs++;
    return true;
}

/* Writes the pairs of a record behind those that are bound. */
static int encode_all(enum record_kind kind, const struct record_bound *bound, const void *record,
                      unsigned char *out, size_t capacity, unsigned *fields,
                      struct record_problem *problem)
{
    const struct layout *layout = &layouts[kind];
    const size_t most = LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX;
    struct body body = {.end = out + (capacity < most ? capacity : most)};
    struct encoded encoded;
    uint64_t bound_fields = 0;

    encoded.at = out;
    encoded.pairs = 0;
    encoded.misplaced.fields = encoded.misplaced.count = 0;
    if (bound != NULL) {
        if (room_at(&body, out) < bound->length) {
            return encode_fail(problem, kind, RECORD_FAULT_TOO_LONG, -1);
        }
        msgpack_pack_str_body(&encoded.at, bound->bytes, bound->length);
        encoded.pairs = bound->pairs;
        bound_fields = bound->present;
    }
    if (!put_fields(&body, kind, record, &encoded)) {
        return encode_fail(problem, kind, RECORD_FAULT_TOO_LONG, -1);
    }
    if ((encoded.given & bound_fields) != 0) {
        return encode_fail(problem, kind, RECORD_FAULT_DUPLICATE,
                           __builtin_ctzll(encoded.given & bound_fields));
    }
    uint64_t missing = record_missing(kind, encoded.given | bound_fields);
    if (missing != 0) {
        return fail_missing(problem, kind, missing, &encoded.misplaced);
    }
    if ((extra_of(layout, record) != NULL || encoded.misplaced.fields != 0) &&
        !put_extra(&body, layout, record, &encoded)) {
        return encode_fail(problem, kind, body.fault,
                           body.full ? -1 : (int)(RECORD_IDENTITY_FIELDS + layout->count));
    }
    encode_tell_misplaced(problem, kind, &encoded.misplaced);
    *fields = encoded.pairs;
    return (int)(encoded.at - out);
}

int record_encode(enum record_kind kind, const void *record, unsigned char *out, size_t capacity,
                  unsigned *fields, struct record_problem *problem)
{
    return encode_all(kind, NULL, record, out, capacity, fields, problem);
}

int record_encode_bound(const struct record_bound *bound, const void *record, unsigned char *out,
                        size_t capacity, unsigned *fields, struct record_problem *problem)
{
    return encode_all(bound->kind, bound, record, out, capacity, fields, problem);
}

int record_bind(enum record_kind kind, const void *constants, unsigned char *out, size_t capacity,
                struct record_bound *bound, struct record_problem *problem)
{
    const struct layout *layout = &layouts[kind];
    struct body body = {.end = out + capacity};
    struct encoded encoded = {.at = out};

    if (extra_of(layout, constants) != NULL) {
        return encode_fail(problem, kind, RECORD_FAULT_NOT_BOUND,
                           (int)(RECORD_IDENTITY_FIELDS + layout->count));
    }
    if (!put_fields(&body, kind, constants, &encoded)) {
        return encode_fail(problem, kind, RECORD_FAULT_TOO_LONG, -1);
    }
    encode_tell_misplaced(problem, kind, &encoded.misplaced);
    if (encoded.misplaced.fields != 0) {
        return -1;
    }
    *bound = (struct record_bound){.kind = kind,
                                   .pairs = encoded.pairs,
                                   .length = (uint32_t)(encoded.at - out),
                                   .present = encoded.given,
                                   .bytes = out};
    return 0;
}

/* --- the head --- */

#define PACK_NAME(at, name) \
    (msgpack_pack_str(at, sizeof name - 1), msgpack_pack_str_body(at, name, sizeof name - 1))

size_t record_encode_head(const struct record_identity *identity, unsigned fields,
                          unsigned char out[RECORD_HEAD_BYTES_MAX])
{
    size_t length = strlen(identity->exchange);
    unsigned char *at = out;

    assert(length <= LIMIT_EXCHANGE_BYTES);
    msgpack_pack_map(&at, RECORD_HEAD_FIELDS + fields);
    PACK_NAME(&at, "producer_id");
    msgpack_pack_fix_int64(&at, identity->producer_id);
    PACK_NAME(&at, "seq");
    msgpack_pack_fix_int64(&at, identity->seq);
    PACK_NAME(&at, "recorded_at");
    msgpack_pack_fix_int64(&at, identity->recorded_at_ns);
    PACK_NAME(&at, "exchange");
    msgpack_pack_str(&at, length);
    msgpack_pack_str_body(&at, identity->exchange, length);
    return (size_t)(at - out);
}
