/* copy.h: records as rows of PostgreSQL's COPY BINARY, in a growing buffer. */
#ifndef BLOTTER_DRAINER_COPY_H
#define BLOTTER_DRAINER_COPY_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "schema/record.h"

/* Microseconds since 2000-01-01, PostgreSQL's timestamptz, of nanoseconds since 1970 (rounded
 * towards the past). */
int64_t copy_timestamp(int64_t ns);

struct copy_buffer {
    unsigned char *bytes;
    size_t length, capacity;
};

void copy_buffer_release(struct copy_buffer *);
/* Makes room for `length` more bytes and returns where they go; the caller adds to buffer->length
 * what it wrote. */
unsigned char *copy_buffer_reserve(struct copy_buffer *, size_t length);
void copy_put_row_head(struct copy_buffer *, int columns);
void copy_put_null(struct copy_buffer *);
void copy_put_bytes(struct copy_buffer *, const void *bytes,
                    size_t length); /* text, bytea, or a field that is binary already */
void copy_put_raw(struct copy_buffer *, const void *columns,
                  size_t length);                           /* columns with their lengths */
void copy_put_text(struct copy_buffer *, const char *text); /* NULL: null */
void copy_put_int32(struct copy_buffer *, int32_t value);
void copy_put_int64(struct copy_buffer *, int64_t value);
void copy_put_bool(struct copy_buffer *, int value);

/* Writes a row: every field of the record's kind, in the order of fields.h. columns gets where each
 * begins in the buffer. */
void copy_put_record(struct copy_buffer *, const struct record *,
                     uint32_t columns[RECORD_FIELDS_MAX]);

/* The bytes before the first row of a COPY BINARY, and behind the last. */
enum {
    COPY_HEAD_BYTES = 19,
    COPY_TAIL_BYTES = 2,
};
extern const unsigned char copy_head[COPY_HEAD_BYTES];
extern const unsigned char copy_tail[COPY_TAIL_BYTES];

/* A column of a row that lies in a buffer: where its bytes begin, and how long they are; -1: null.
 */
struct copy_field {
    const unsigned char *bytes;
    int32_t length;
};

/* Reads the column that begins there. */
static inline struct copy_field copy_field_at(const unsigned char *column)
{
    uint32_t big;

    memcpy(&big, column, sizeof big);
    return (struct copy_field){column + 4, (int32_t)be32toh(big)};
}

/* Splits a row that copy_put_record() wrote. */
void copy_split_row(const unsigned char *row, struct copy_field *fields, unsigned count);

int64_t copy_field_int64(const struct copy_field *);

/* Compares two binary numerics by value: <0, 0, >0. */
int copy_numeric_compare(const struct copy_field *a, const struct copy_field *b);
bool copy_numeric_is_zero(const struct copy_field *);

#endif
