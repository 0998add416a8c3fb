/* encoder.h: what the parts of the encoder share: encode.c writes what is common in a hurry,
 * encode_value.c any value with all care, encode_extra.c `extra`.
 *
 * A function that writes takes the place to write at and returns the place behind what it wrote, or
 * NULL with the fault set: kept out of the struct, the place stays in a register. */
#ifndef BLOTTER_SCHEMA_ENCODER_H
#define BLOTTER_SCHEMA_ENCODER_H

#include "schema/record.h"

enum {
    ENCODER_FIXSTR = 0xa0,
    ENCODER_FIXSTR_MAX = 31,
    ENCODER_KEY_BYTES = 24,         /* a key, and whatever is behind it */
    ENCODER_STR_HEAD_BYTES_MAX = 3, /* text and extra are shorter than 64 KiB */
};
_Static_assert(LIMIT_TEXT_BYTES <= UINT16_MAX && LIMIT_EXTRA_BYTES <= UINT16_MAX,
               "str32 is not written");

/* Fields are bits of a word, in which their number is counted above them: one addition for both. */
#define ENCODER_PAIR (UINT64_C(1) << 56)
_Static_assert(RECORD_FIELDS_MAX < 56, "a record has fewer fields");

struct encoder {
    const void *record;
    enum record_kind kind;
    enum record_fault fault;  /* why a value could not be written */
    unsigned char *roomy_end; /* up to here there is room for any key and a short value */
    uint64_t given;           /* fields that were written, and how often ENCODER_PAIR */
    /* Values that did not fit their fields, and why. */
    uint64_t misplaced;
    unsigned misplaced_count;
    bool full;                         /* the fault is not one of the field */
    unsigned char *end;                /* the limit of the body */
    uint8_t faults[RECORD_FIELDS_MAX]; /* set where `misplaced` says so */
};

static inline size_t encoder_room(const struct encoder *encoder, const unsigned char *at)
{
    return (size_t)(encoder->end - at);
}

unsigned char *encoder_refuse(struct encoder *, enum record_fault);

/* Fails: there is no room. */
unsigned char *encoder_full(struct encoder *);

void encoder_misplace(struct encoder *, unsigned index, enum record_fault);

unsigned char *encoder_key(struct encoder *, unsigned char *at, const struct record_field *);

/* Writes a str of bytes that have been checked. */
unsigned char *encoder_str(struct encoder *, unsigned char *at, const char *bytes, size_t length);

/* Writes a double as it is: the drainer makes its digits. `text` begins with the mark. */
unsigned char *encoder_double(struct encoder *, unsigned char *at, const char *text);

/* Writes a field's key and its value, whatever it is. A value that its field cannot take is noted
 * as misplaced, and nothing is written. Returns NULL if there is no room. */
unsigned char *encoder_pair(struct encoder *, unsigned char *at, unsigned index);

static inline bool encoder_time_valid(int64_t time_ns)
{
    return time_ns >= LIMIT_TIME_MIN_NS && time_ns < LIMIT_TIME_END_NS;
}

/* Writes `extra`: the strategy's own, and what was misplaced. NULL: it has no room, or is too
 * long; misplaced values alone are left out instead. */
unsigned char *encoder_extra(struct encoder *, unsigned char *at);

#endif
