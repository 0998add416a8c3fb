/* copy.c: see copy.h. The format is that of PostgreSQL's manual, "COPY", section Binary Format: a
 * head, rows of a 16-bit count and per column a 32-bit length (-1: null) with that many bytes, all
 * in network order; a row whose count is -1 ends it. */
#include "drainer/copy.h"

#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "schema/decimal.h"

#define EPOCH_2000_US INT64_C(946684800000000)
enum { JSONB_VERSION = 1 };

const unsigned char copy_head[COPY_HEAD_BYTES] = {
    'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0, 0, 0, 0, 0, 0, 0, 0, 0};
const unsigned char copy_tail[COPY_TAIL_BYTES] = {0xff, 0xff};

int64_t copy_timestamp(int64_t ns)
{
    int64_t us = ns / 1000 - (ns % 1000 < 0);

    return us - EPOCH_2000_US;
}

unsigned char *copy_buffer_reserve(struct copy_buffer *buffer, size_t length)
{
    if (buffer->capacity - buffer->length < length) {
        buffer->bytes =
            array_grow_or_abort(buffer->bytes, &buffer->capacity, buffer->length + length, 1);
    }
    return buffer->bytes + buffer->length;
}

void copy_buffer_release(struct copy_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct copy_buffer){0};
}

static unsigned char *write_int32(unsigned char *p, int32_t value)
{
    uint32_t big = htobe32((uint32_t)value);

    memcpy(p, &big, sizeof big);
    return p + sizeof big;
}

static unsigned char *write_int64(unsigned char *p, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);

    p = write_int32(p, 8);
    memcpy(p, &big, sizeof big);
    return p + sizeof big;
}

static unsigned char *copy_write_bytes(unsigned char *p, const void *bytes, size_t length)
{
    p = write_int32(p, (int32_t)length);
    memcpy(p, bytes, length);
    return p + length;
}

static unsigned char *write_json(unsigned char *p, const void *text, size_t length)
{
    p = write_int32(p, (int32_t)length + 1);
    *p++ = JSONB_VERSION;
    if (length > 0) {
        memcpy(p, text, length);
    }
    return p + length;
}

static unsigned char *write_bool(unsigned char *p, int value)
{
    p = write_int32(p, 1);
    *p++ = value != 0;
    return p;
}

static unsigned char *write_row_head(unsigned char *p, int columns)
{
    uint16_t big = htobe16((uint16_t)columns);

    memcpy(p, &big, sizeof big);
    return p + sizeof big;
}

static unsigned char *write_value(unsigned char *p, enum field_kind kind,
                                  const struct record_value *value)
{
    size_t length;

    if (!value->present) {
        return write_int32(p, -1);
    }
    switch (kind) {
    case FIELD_TEXT:
        return copy_write_bytes(p, value->bytes, value->length);
    case FIELD_DECIMAL:
        length = decimal_to_numeric(value->bytes, value->length, p + 4);
        write_int32(p, (int32_t)length);
        return p + 4 + length;
    case FIELD_TIME:
        return write_int64(p, copy_timestamp(value->integer));
    case FIELD_INT:
        return write_int64(p, value->integer);
    case FIELD_BOOL:
        return write_bool(p, value->integer != 0);
    case FIELD_AMOUNTS:
    case FIELD_JSON:
        return write_json(p, value->bytes, value->length);
    }
    abort();
}

/* Returns more bytes than any row of this record takes, so that the writers need not look. */
static size_t row_bound(const struct record *record, unsigned fields)
{
    size_t bound = 2;

    for (unsigned i = 0; i < fields; i++) {
        bound += 16 + DECIMAL_NUMERIC_BYTES_MAX +
                 (record->values[i].present ? record->values[i].length : 0);
    }
    return bound;
}

void copy_put_record(struct copy_buffer *buffer, const struct record *record,
                     uint32_t columns[RECORD_FIELDS_MAX])
{
    const struct record_schema *schema = &record_schemas[record->kind];
    unsigned char *p = copy_buffer_reserve(buffer, row_bound(record, schema->field_count));

    p = write_row_head(p, (int)schema->field_count);
    for (unsigned i = 0; i < schema->field_count; i++) {
        columns[i] = (uint32_t)(p - buffer->bytes);
        p = write_value(p, schema->fields[i].kind, &record->values[i]);
    }
    buffer->length = (size_t)(p - buffer->bytes);
}

/* --- single columns --- */

static void advance(struct copy_buffer *buffer, const unsigned char *end)
{
    buffer->length = (size_t)(end - buffer->bytes);
}

void copy_put_row_head(struct copy_buffer *buffer, int columns)
{
    advance(buffer, write_row_head(copy_buffer_reserve(buffer, 2), columns));
}

void copy_put_null(struct copy_buffer *buffer)
{
    advance(buffer, write_int32(copy_buffer_reserve(buffer, 4), -1));
}

void copy_put_bytes(struct copy_buffer *buffer, const void *bytes, size_t length)
{
    advance(buffer, copy_write_bytes(copy_buffer_reserve(buffer, 4 + length), bytes, length));
}

void copy_put_raw(struct copy_buffer *buffer, const void *columns, size_t length)
{
    memcpy(copy_buffer_reserve(buffer, length), columns, length);
    buffer->length += length;
}

void copy_put_text(struct copy_buffer *buffer, const char *text)
{
    if (text == NULL) {
        copy_put_null(buffer);
    } else {
        copy_put_bytes(buffer, text, strlen(text));
    }
}

void copy_put_int32(struct copy_buffer *buffer, int32_t value)
{
    unsigned char *p = write_int32(copy_buffer_reserve(buffer, 8), 4);

    advance(buffer, write_int32(p, value));
}

void copy_put_int64(struct copy_buffer *buffer, int64_t value)
{
    advance(buffer, write_int64(copy_buffer_reserve(buffer, 12), value));
}

void copy_put_bool(struct copy_buffer *buffer, int value)
{
    advance(buffer, write_bool(copy_buffer_reserve(buffer, 5), value));
}

/* --- reading rows back --- */

static int16_t read_int16(const unsigned char *p)
{
    uint16_t big;

    memcpy(&big, p, sizeof big);
    return (int16_t)be16toh(big);
}

void copy_split_row(const unsigned char *row, struct copy_field *fields, unsigned count)
{
    const unsigned char *p = row + 2;

    for (unsigned i = 0; i < count; i++) {
        fields[i] = copy_field_at(p);
        p += 4 + (fields[i].length > 0 ? fields[i].length : 0);
    }
}

int64_t copy_field_int64(const struct copy_field *field)
{
    uint64_t big;

    memcpy(&big, field->bytes, sizeof big);
    return (int64_t)be64toh(big);
}

/* numeric: count of base-10000 digits, weight of the first, sign, display scale, then the digits,
 * each 16 bits. */
#define NUMERIC_NEGATIVE 0x4000

static int numeric_sign(const unsigned char *p)
{
    return read_int16(p) == 0 ? 0 : (uint16_t)read_int16(p + 4) == NUMERIC_NEGATIVE ? -1 : 1;
}

static int magnitude_compare(const unsigned char *a, const unsigned char *b)
{
    int a_count = read_int16(a), b_count = read_int16(b);
    int a_weight = read_int16(a + 2), b_weight = read_int16(b + 2);

    if (a_weight != b_weight) {
        return a_weight < b_weight ? -1 : 1;
    }
    for (int i = 0; i < a_count || i < b_count; i++) {
        int x = i < a_count ? read_int16(a + 8 + 2 * i) : 0;
        int y = i < b_count ? read_int16(b + 8 + 2 * i) : 0;

        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    return 0;
}

int copy_numeric_compare(const struct copy_field *a, const struct copy_field *b)
{
    int a_sign = numeric_sign(a->bytes), b_sign = numeric_sign(b->bytes);

    if (a_sign != b_sign) {
        return a_sign < b_sign ? -1 : 1;
    }
    return a_sign * magnitude_compare(a->bytes, b->bytes);
}

bool copy_numeric_is_zero(const struct copy_field *field)
{
    return numeric_sign(field->bytes) == 0;
}
