/* text.h: UTF-8, for the files of schema/ that scan text themselves. text_check is in record.h. */
#ifndef BLOTTER_SCHEMA_TEXT_H
#define BLOTTER_SCHEMA_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The length, 1 to 4, of the UTF-8 sequence that begins at `at`, or 0: not one (surrogates and overlong forms are none).
 * Needs at < end, reads nothing at or behind end. */
unsigned text_sequence(const unsigned char *at, const unsigned char *end);

/* Eight bytes that may lie anywhere. */
static inline uint64_t text_load8(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

#define TEXT_HIGH_BITS UINT64_C(0x8080808080808080)
#define TEXT_ONES UINT64_C(0x0101010101010101)

#endif
