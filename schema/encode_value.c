/* encode_value.c: encodes one field, whatever its value is, with all care: what is rare.
 *
 * The common cases, short texts and decimals that are canonical as they are, encode.c has. */
#include <math.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/double_text.h"
#include "schema/encoder.h"
#include "schema/json_read.h"
#include "schema/pack.h"
#include "schema/text.h"

enum { NUMBER_BYTES = 9 };

unsigned char *encoder_refuse(struct encoder *encoder, enum record_fault fault)
{
    encoder->fault = fault;
    return NULL;
}

unsigned char *encoder_full(struct encoder *encoder)
{
    encoder->full = true;
    return encoder_refuse(encoder, RECORD_FAULT_TOO_LONG);
}

void encoder_misplace(struct encoder *encoder, unsigned index, enum record_fault fault)
{
    encoder->misplaced |= UINT64_C(1) << index;
    encoder->faults[index] = (uint8_t)fault;
    encoder->misplaced_count++;
}

/* --- text --- */

/* Says whether there is room for a str of that length. The first comparison is enough nearly
 * always. */
static inline bool str_fits(const struct encoder *encoder, const unsigned char *at, size_t length)
{
    size_t head_bytes = length <= ENCODER_FIXSTR_MAX ? 1 : length <= UINT8_MAX ? 2 : 3;

    return encoder_room(encoder, at) >= ENCODER_STR_HEAD_BYTES_MAX + length ||
           encoder_room(encoder, at) >= head_bytes + length;
}

unsigned char *encoder_str(struct encoder *encoder, unsigned char *at, const char *bytes,
                           size_t length)
{
    if (!str_fits(encoder, at, length)) {
        return encoder_full(encoder);
    }
    msgpack_pack_str(&at, length);
    msgpack_pack_str_body(&at, bytes, length);
    return at;
}

/* Writes any text. */
static unsigned char *put_text(struct encoder *encoder, unsigned char *at, const char *text,
                               size_t length)
{
    enum record_fault fault =
        length > LIMIT_TEXT_BYTES ? RECORD_FAULT_TOO_LONG : text_check(text, length);

    return fault ? encoder_refuse(encoder, fault) : encoder_str(encoder, at, text, length);
}

static unsigned char *put_amounts(struct encoder *encoder, unsigned char *at, const char *text)
{
    size_t length = strlen(text);
    enum record_fault fault = json_read_amounts(text, length, NULL);

    return fault ? encoder_refuse(encoder, fault) : encoder_str(encoder, at, text, length);
}

/* --- decimals --- */

/* Apart, as it is rare and needs much stack. */
static __attribute__((noinline)) unsigned char *
put_odd_decimal(struct encoder *encoder, unsigned char *at, const char *text, size_t length)
{
    char canonical[LIMIT_DECIMAL_BYTES];

    if (length > LIMIT_DECIMAL_BYTES) {
        return encoder_refuse(encoder, RECORD_FAULT_TOO_LONG);
    }
    if (decimal_is_canonical(text, length)) {
        return encoder_str(encoder, at, text, length);
    }
    int written = decimal_canonical(text, length, canonical);
    return written < 0 ? encoder_refuse(encoder, RECORD_FAULT_NOT_DECIMAL)
                       : encoder_str(encoder, at, canonical, (size_t)written);
}

const char *record_double(double value, char out[RECORD_DOUBLE_BYTES])
{
    double_text_write(value, out);
    return out;
}

unsigned char *encoder_double(struct encoder *encoder, unsigned char *at, const char *text)
{
    double value;

    if (!double_text_read(text, &value)) {
        return encoder_refuse(encoder, RECORD_FAULT_NOT_DECIMAL);
    }
    double size = fabs(value);
    if (!(size > 1 / RECORD_DOUBLE_MAX && size < RECORD_DOUBLE_MAX) && value != 0) {
        return encoder_refuse(encoder, RECORD_FAULT_NOT_DECIMAL);
    }
    if (encoder_room(encoder, at) < NUMBER_BYTES) {
        return encoder_full(encoder);
    }
    msgpack_pack_double(&at, value);
    return at;
}

static unsigned char *put_decimal(struct encoder *encoder, unsigned char *at, const char *text)
{
    return text[0] == RECORD_DOUBLE_MARK ? encoder_double(encoder, at, text)
                                         : put_odd_decimal(encoder, at, text, strlen(text));
}

/* --- numbers and flags --- */

static inline unsigned char *put_int64(struct encoder *encoder, unsigned char *at, int64_t value)
{
    if (encoder_room(encoder, at) < NUMBER_BYTES) {
        return encoder_full(encoder);
    }
    msgpack_pack_fix_int64(&at, value);
    return at;
}

static inline unsigned char *put_bool(struct encoder *encoder, unsigned char *at, uint64_t value)
{
    if (value != BLOTTER_TRUE && value != BLOTTER_FALSE) {
        return encoder_refuse(encoder, RECORD_FAULT_OUT_OF_RANGE);
    }
    if (encoder_room(encoder, at) < 1) {
        return encoder_full(encoder);
    }
    if (value == BLOTTER_TRUE) {
        msgpack_pack_true(&at);
    } else {
        msgpack_pack_false(&at);
    }
    return at;
}

/* --- fields --- */

unsigned char *encoder_key(struct encoder *encoder, unsigned char *at,
                           const struct record_field *field)
{
    if (encoder_room(encoder, at) < 1u + field->name_length) {
        return encoder_full(encoder);
    }
    *at++ = (unsigned char)(ENCODER_FIXSTR + field->name_length);
    memcpy(at, field->name, field->name_length);
    return at + field->name_length;
}

/* Writes a number that counts records, of a session: it is bounded. */
static unsigned char *put_counter(struct encoder *encoder, unsigned char *at, unsigned index,
                                  int64_t value)
{
    return record_integer_valid(encoder->kind, index, value)
               ? put_int64(encoder, at, value)
               : encoder_refuse(encoder, RECORD_FAULT_OUT_OF_RANGE);
}

static unsigned char *encode_value(struct encoder *encoder, unsigned char *at, unsigned index)
{
    const struct record_field *field = &record_schemas[encoder->kind].fields[index];
    const char *member = (const char *)encoder->record + field->offset, *text;
    int64_t number = (int64_t)text_load8(member);

    memcpy(&text, member, sizeof text);
    switch (field->kind) {
    case FIELD_TEXT:
        return put_text(encoder, at, text, strlen(text));
    case FIELD_DECIMAL:
        return put_decimal(encoder, at, text);
    case FIELD_TIME:
        return encoder_time_valid(number) ? put_int64(encoder, at, number)
                                          : encoder_refuse(encoder, RECORD_FAULT_OUT_OF_RANGE);
    case FIELD_INT:
        return put_counter(encoder, at, index, number);
    case FIELD_BOOL:
        return put_bool(encoder, at, text_load4(member));
    case FIELD_AMOUNTS:
        return put_amounts(encoder, at, text);
    case FIELD_JSON:
        break;
    }
    return encoder_refuse(encoder, RECORD_FAULT_WRONG_TYPE);
}

unsigned char *encoder_pair(struct encoder *encoder, unsigned char *at, unsigned index)
{
    unsigned char *next = encoder_key(encoder, at, &record_schemas[encoder->kind].fields[index]);

    next = next == NULL ? NULL : encode_value(encoder, next, index);
    if (next != NULL) {
        encoder->given += ENCODER_PAIR + (UINT64_C(1) << index);
        return next;
    }
    if (encoder->full) {
        return NULL;
    }
    encoder_misplace(encoder, index, encoder->fault);
    return at;
}
