/* double_text.h: a double as the text that a member of kind DECIMAL may have (record_double).
 *
 * Behind the mark come seven bits in each byte, the lowest first, with the high bit set. Eight
 * bytes are made together, by moving halves of what is left apart. */
#ifndef BLOTTER_SCHEMA_DOUBLE_TEXT_H
#define BLOTTER_SCHEMA_DOUBLE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "schema/record.h"
#include "schema/text.h"

static inline void double_text_write(double value, char out[RECORD_DOUBLE_BYTES])
{
    uint64_t bits, low;

    memcpy(&bits, &value, sizeof bits);
    low = (bits & UINT64_C(0x000000000fffffff)) | (bits & UINT64_C(0x00fffffff0000000)) << 4;
    low = (low & UINT64_C(0x00003fff00003fff)) | (low & UINT64_C(0x0fffc0000fffc000)) << 2;
    low = (low & UINT64_C(0x007f007f007f007f)) | (low & UINT64_C(0x3f803f803f803f80)) << 1;
    low |= TEXT_HIGH_BITS;
    out[0] = RECORD_DOUBLE_MARK;
    memcpy(out + 1, &low, sizeof low);
    out[9] = (char)(bits >> 56 | 0x80);
    out[10] = (char)(bits >> 63 | 0x80);
    out[11] = '\0';
}
_Static_assert(RECORD_DOUBLE_DIGITS == 10, "eight bytes and two");

/* Reads it, from text that begins with the mark. False: it is something else. */
static inline bool double_text_read(const char *text, double *value)
{
    if (strnlen(text, RECORD_DOUBLE_BYTES) != RECORD_DOUBLE_BYTES - 1) {
        return false;
    }
    uint64_t low = text_load8(text + 1);
    if ((low & TEXT_HIGH_BITS) != TEXT_HIGH_BITS || (text[9] & text[10] & 0x80) == 0) {
        return false;
    }
    low = (low & UINT64_C(0x007f007f007f007f)) | (low & UINT64_C(0x7f007f007f007f00)) >> 1;
    low = (low & UINT64_C(0x00003fff00003fff)) | (low & UINT64_C(0x3fff00003fff0000)) >> 2;
    low = (low & UINT64_C(0x000000000fffffff)) | (low & UINT64_C(0x0fffffff00000000)) >> 4;
    low |= (uint64_t)(text[9] & 0x7f) << 56 | (uint64_t)text[10] << 63;
    memcpy(value, &low, sizeof *value);
    return true;
}

#endif
