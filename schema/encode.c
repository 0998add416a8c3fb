/* encode.c: encodes C structs as msgpack, on the thread of the strategy that submits them.
 *
 * The lists of fields.h become one table per kind: what each word of the struct is, and its key as
 * it goes on the wire, length byte included, so that a key is one copy of constant size. One loop
 * walks both. Validating costs no pass of its own: short text and decimals are checked while they
 * are copied (copy_checked.h). Rare cases, as a sign, an exponent or a letter beyond ASCII, go to
 * the slow and thorough functions of encode_value.c.
 *
 * A value that its field cannot take does not cost the record: the field is left out, and at the
 * end the value goes into `extra` under the field's name.
 *
 * Nothing is allocated, nothing is written behind the capacity given, and no call is made that
 * could wait. */
#include <assert.h>
#include <string.h>

#include "schema/copy_checked.h"
#include "schema/encoder.h"
#include "schema/pack.h"
#include "schema/record.h"
#include "schema/text.h"

enum {
    WORD_BYTES = 8,
    KEY_NAME_BYTES = 21,
    PAIR_BYTES = ENCODER_KEY_BYTES + 1 + 2 * CHUNK_BYTES,
    LINES_BYTES = 128, /* of two cache lines */
};

/* A field as the loop needs it. */
struct packed_field {
    unsigned char key_head; /* with key_name one run of bytes on the wire */
    char key_name[KEY_NAME_BYTES];
    uint8_t kind;
    uint8_t key_bytes;
    uint64_t bit; /* of the kind's field index, and ENCODER_PAIR */
};
_Static_assert(offsetof(struct packed_field, key_name) == 1, "a key must be one run");
_Static_assert(offsetof(struct packed_field, bit) == ENCODER_KEY_BYTES, "copied as one");
_Static_assert(sizeof(struct packed_field) == 32, "two to a cache line");
enum { FIELD_BYTES_PER_WORD = sizeof(struct packed_field) / WORD_BYTES };

/* clang-format off */
_Static_assert(sizeof(enum blotter_bool) == 4 && sizeof(char *) == WORD_BYTES &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "made for 64-bit little-endian machines");

#define PACKED(KIND, name, kind) \
    {ENCODER_FIXSTR + sizeof #name - 1, #name, FIELD_##kind, sizeof #name, \
     ENCODER_PAIR + (UINT64_C(1) << KIND##_##name)}

/* Keys by the word that the member is. Flags are smaller and may share one: that has none here. */
#define WORD(type, KIND, name, kind) \
    [offsetof(struct type, name) / WORD_BYTES] = PACKED(KIND, name, kind),
#define WORD_TEXT(type, KIND, name, kind) WORD(type, KIND, name, kind)
#define WORD_DECIMAL(type, KIND, name, kind) WORD(type, KIND, name, kind)
#define WORD_TIME(type, KIND, name, kind) WORD(type, KIND, name, kind)
#define WORD_INT(type, KIND, name, kind) WORD(type, KIND, name, kind)
#define WORD_AMOUNTS(type, KIND, name, kind) WORD(type, KIND, name, kind)
#define WORD_JSON(type, KIND, name, kind) WORD(type, KIND, name, kind)
#define WORD_BOOL(type, KIND, name, kind) /* FIELD_BOOL is 0 */
#define WORD_ORDER(name, kind, meaning) WORD_##kind(blotter_order, ORDER, name, kind)
#define WORD_TRADE(name, kind, meaning) WORD_##kind(blotter_trade, TRADE, name, kind)
#define WORD_SESSION(name, kind, meaning) WORD_##kind(blotter_session, SESSION, name, kind)
#define WORD_CASH(name, kind, meaning) WORD_##kind(blotter_cash, CASH, name, kind)
#define WORD_BALANCE(name, kind, meaning) WORD_##kind(blotter_balance, BALANCE, name, kind)
#define WORD_POSITION(name, kind, meaning) WORD_##kind(blotter_position, POSITION, name, kind)
#define WORD_INSTRUMENT(name, kind, meaning) WORD_##kind(blotter_instrument, INSTRUMENT, name, kind)
#define WORD_REJECT(name, kind, meaning) WORD_##kind(blotter_reject, REJECT, name, kind)

#define KEY_FITS(name, kind, meaning) \
    _Static_assert(sizeof #name - 1 <= KEY_NAME_BYTES, "raise KEY_NAME_BYTES");
#define X(kind, name, sql_schema, table, fields) \
    static const struct packed_field name##_words[] = {fields(WORD_##kind)}; \
    fields(KEY_FITS)
BLOTTER_RECORD_KINDS(X)
X(REJECT, reject, NULL, NULL, BLOTTER_REJECT_FIELDS)
#undef X

static const struct layout {
    const struct packed_field *extra; /* the last one, which is written for itself */
    ptrdiff_t bytes;                  /* of the struct before it */
} layouts[RECORD_WIRE_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {name##_words + offsetof(struct blotter_##name, extra) / WORD_BYTES, \
                       offsetof(struct blotter_##name, extra)},
    BLOTTER_RECORD_KINDS(X)
    X(REJECT, reject, NULL, NULL, BLOTTER_REJECT_FIELDS)
#undef X
};
/* clang-format on */

/* --- records --- */

static __attribute__((noinline, cold)) int encode_fail(struct record_problem *problem,
                                                       enum record_kind kind,
                                                       enum record_fault fault, int index)
{
    problem->fault = fault;
    problem->field = index < 0 ? NULL : record_schemas[kind].fields[index].name;
    return -1;
}

/* Fails, as the record lacks one of these fields: names one whose value was wrong, else the first.
 */
static int fail_missing(struct record_problem *problem, const struct encoder *encoder,
                        uint64_t missing)
{
    uint64_t wrong = missing & encoder->misplaced;
    int index = __builtin_ctzll(wrong != 0 ? wrong : missing);

    return encode_fail(
        problem, encoder->kind,
        wrong != 0 ? (enum record_fault)encoder->faults[index] : RECORD_FAULT_MISSING, index);
}

/* Notes in *problem what was misplaced. */
static inline void encode_tell_misplaced(struct record_problem *problem,
                                         const struct encoder *encoder)
{
    problem->misplaced = encoder->misplaced_count;
    problem->fault = RECORD_FAULT_NONE;
    if (encoder->misplaced_count > 0) {
        int first = __builtin_ctzll(encoder->misplaced);
        encode_fail(problem, encoder->kind, (enum record_fault)encoder->faults[first], first);
    }
}

/* Writes the flags that are given and lie in a word; each word before it is a field, at least. */
static unsigned char *put_flags(struct encoder *encoder, unsigned char *at, ptrdiff_t word)
{
    const struct record_schema *schema = &record_schemas[encoder->kind];
    unsigned first = RECORD_IDENTITY_FIELDS + (unsigned)word;

    for (unsigned i = first; i < schema->field_count && at != NULL; i++) {
        const struct record_field *field = &schema->fields[i];
        if (field->kind == FIELD_BOOL && field->offset / WORD_BYTES == word &&
            text_load4((const char *)encoder->record + field->offset) != 0) {
            at = encoder_pair(encoder, at, i);
        }
    }
    return at;
}

/* Writes what cannot be written in a hurry. */
static __attribute__((noinline)) unsigned char *put_odd(struct encoder *encoder, unsigned char *at,
                                                        const struct packed_field *field)
{
    const struct layout *layout = &layouts[encoder->kind];

    return field->key_bytes == 0
               ? put_flags(encoder, at, field - layout->extra + layout->bytes / WORD_BYTES)
               : encoder_pair(encoder, at, (unsigned)__builtin_ctzll(field->bit));
}

/* Writes the head of a str that has been copied behind it. NULL: it has not. */
static inline unsigned char *put_head(unsigned char *at, size_t length)
{
    if (__builtin_expect(length == COPY_FAILED, 0)) {
        return NULL;
    }
    at[0] = (unsigned char)(ENCODER_FIXSTR + length);
    return at + 1 + length;
}

/* Writes a value of the usual kinds, where there is room for it. NULL: it is none of these. */
static inline __attribute__((always_inline)) unsigned char *
put_quickly(struct encoder *encoder, unsigned char *at, uint8_t kind, uint64_t member,
            uintptr_t inside)
{
    const char *text = (const char *)(uintptr_t)member;

    if (kind == FIELD_TEXT) {
        return put_head(at, copy_short_text(at + 1, text, inside));
    }
    if (kind == FIELD_DECIMAL) {
        return text[0] == RECORD_DOUBLE_MARK
                   ? encoder_double(encoder, at, text)
                   : put_head(at, copy_short_decimal(at + 1, text, inside));
    }
    if (kind == FIELD_TIME && encoder_time_valid((int64_t)member)) {
        msgpack_pack_fix_int64(&at, (int64_t)member);
        return at;
    }
    return NULL;
}

/* Writes the fields by a loop over a table, although the same loop unrolled is faster while it is
 * hot: it is five times the code, and slower when it is cold, which is how a strategy that trades
 * now and then finds it. Most values are short texts or decimals, for which one look at the room is
 * enough. One number counts up to 0 through the struct and, by a factor, through the table: two
 * instructions to skip a word that is not given. */
static inline __attribute__((always_inline)) unsigned char *
put_fields(struct encoder *encoder, unsigned char *at, const struct layout *layout,
           const char *words_end, const uintptr_t inside)
{
    const char *fields_end = (const char *)layout->extra;
    uint64_t given = 0;

    for (ptrdiff_t i = -layout->bytes; i < 0; i += WORD_BYTES) {
        __asm__("" : "+r"(i)); /* or the compiler makes two pointers of it */
        uint64_t member = text_load8(words_end + i);
        if (member == 0) {
            continue;
        }
        const struct packed_field *field =
            (const struct packed_field *)(fields_end + i * FIELD_BYTES_PER_WORD);
        unsigned char *next = NULL;
        if (__builtin_expect(at <= encoder->roomy_end, 1)) {
            memcpy(at, field, ENCODER_KEY_BYTES);
            next = put_quickly(encoder, at + field->key_bytes, field->kind, member, inside);
        }
        if (__builtin_expect(next != NULL, 1)) {
            at = next;
            given += field->bit;
            continue;
        }
        at = put_odd(encoder, at, field);
        if (at == NULL) {
            return NULL;
        }
    }
    encoder->given += given;
    return at;
}

/* Does what put_fields() does, where every byte that is read is watched. */
static __attribute__((noinline, cold)) unsigned char *
put_fields_watched(struct encoder *encoder, unsigned char *at, const struct layout *layout,
                   const char *words_end)
{
    return put_fields(encoder, at, layout, words_end, 0);
}

/* Asks for the lines of a table, all at once: a strategy that trades now and then would wait for
 * one after the other. Processors fetch lines in pairs. What lies before a short table does not
 * mind. */
static inline void fetch_fields(const struct layout *layout)
{
#pragma GCC unroll 16
    for (size_t i = LINES_BYTES; i <= sizeof order_words; i += LINES_BYTES) {
        __builtin_prefetch((const void *)((uintptr_t)layout->extra - i));
    }
}

static const char no_extra[WORD_BYTES];

/* Writes all given fields but `extra`, whose place it sets. Returns NULL if there is no room. */
static inline __attribute__((always_inline)) unsigned char *
put_given(struct encoder *encoder, unsigned char *at, const char **extra)
{
    const struct layout *layout = &layouts[encoder->kind];

    if (encoder->record == NULL) { /* all is bound */
        *extra = no_extra;
        return at;
    }
    fetch_fields(layout);
    *extra = (const char *)encoder->record + layout->bytes;
    return chunk_is_watched ? put_fields_watched(encoder, at, layout, *extra)
                            : put_fields(encoder, at, layout, *extra, CHUNK_INSIDE);
}

/* Makes the encoder ready for a record; `faults` need not be. */
static inline __attribute__((always_inline)) void encode_begin(struct encoder *encoder,
                                                               enum record_kind kind,
                                                               const void *record,
                                                               unsigned char *out, size_t capacity)
{
    encoder->kind = kind;
    encoder->record = record;
    encoder->end = out + capacity;
    encoder->roomy_end = capacity >= PAIR_BYTES ? encoder->end - PAIR_BYTES : NULL;
    encoder->full = false;
    encoder->given = 0;
    encoder->misplaced = 0;
    encoder->misplaced_count = 0;
}

/* Writes the pairs of a record behind those that are bound. */
__attribute__((hot)) int record_encode_source(const struct record_source *source,
                                              unsigned char *out, size_t capacity, unsigned *fields,
                                              struct record_problem *problem)
{
    const enum record_kind kind = source->kind;
    const struct record_bound *bound = source->bound;
    const void *record = source->record;
    const size_t most = LIMIT_RECORD_BYTES - RECORD_HEAD_BYTES_MAX;
    unsigned char *at = out;
    uint64_t bound_fields = 0;
    const char *extra;
    struct encoder encoder;

    encode_begin(&encoder, kind, record, out, capacity < most ? capacity : most);
    if (bound != NULL) {
        if (encoder_room(&encoder, out) < bound->length) {
            return encode_fail(problem, kind, RECORD_FAULT_TOO_LONG, -1);
        }
        msgpack_pack_str_body(&at, bound->bytes, bound->length);
        encoder.given = ENCODER_PAIR * bound->pairs;
        bound_fields = bound->present;
    }
    at = put_given(&encoder, at, &extra);
    if (at == NULL) {
        return encode_fail(problem, kind, RECORD_FAULT_TOO_LONG, -1);
    }
    if ((encoder.given & bound_fields) != 0) {
        return encode_fail(problem, kind, RECORD_FAULT_DUPLICATE,
                           __builtin_ctzll(encoder.given & bound_fields));
    }
    uint64_t missing = record_missing(kind, encoder.given | bound_fields);
    if (missing != 0) {
        return fail_missing(problem, &encoder, missing);
    }
    if (text_load8(extra) != 0 || encoder.misplaced != 0) {
        at = encoder_extra(&encoder, at);
        if (at == NULL) {
            return encode_fail(problem, kind, encoder.fault,
                               encoder.full ? -1 : (int)record_schemas[kind].field_count - 1);
        }
    }
    encode_tell_misplaced(problem, &encoder);
    *fields = (unsigned)(encoder.given / ENCODER_PAIR);
    return (int)(at - out);
}

int record_bind(enum record_kind kind, const void *constants, unsigned char *out, size_t capacity,
                struct record_bound *bound, struct record_problem *problem)
{
    struct encoder encoder;
    const char *extra;

    encode_begin(&encoder, kind, constants, out, capacity);
    const unsigned char *end = put_given(&encoder, out, &extra);
    if (text_load8(extra) != 0) {
        return encode_fail(problem, kind, RECORD_FAULT_NOT_BOUND,
                           (int)record_schemas[kind].field_count - 1);
    }
    if (end == NULL) {
        return encode_fail(problem, kind, RECORD_FAULT_TOO_LONG, -1);
    }
    encode_tell_misplaced(problem, &encoder);
    if (encoder.misplaced != 0) {
        return -1;
    }
    *bound = (struct record_bound){.kind = kind,
                                   .pairs = (unsigned)(encoder.given / ENCODER_PAIR),
                                   .length = (uint32_t)(end - out),
                                   .present = encoder.given % ENCODER_PAIR,
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
