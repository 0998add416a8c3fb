/* text.h: UTF-8, for files that scan text themselves. text_check is in record.h. */
#ifndef BLOTTER_SCHEMA_TEXT_H
#define BLOTTER_SCHEMA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Returns the length, 1 to 4, of the UTF-8 sequence that begins at `at`, or 0: not one (surrogates
 * and overlong forms are none). Needs at < end, reads nothing at or behind end. */
unsigned text_sequence(const unsigned char *at, const unsigned char *end);

/* Returns the length of the character at `at`; 0: its first byte is no UTF-8, or it is a control
 * character (also U+0080 to U+009F), which a terminal may obey. Needs at < end. */
unsigned text_printable(const unsigned char *at, const unsigned char *end);

/* Makes what a server has said one line that anybody may print: an end of line becomes a blank, a
 * byte that may not be printed '?'. A character that is cut at the end is dropped. */
void text_clean(char *text);

/* Writes a code point as UTF-8, and returns the place behind it. */
static inline char *text_put_utf8(char *at, uint32_t point)
{
    unsigned more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};

    *at++ = (char)(first[more] | point >> (6 * more));
    while (more-- > 0) {
        *at++ = (char)(0x80 | (point >> (6 * more) & 0x3f));
    }
    return at;
}

/* Returns the value of a hexadecimal digit, or -1. */
static inline int text_hex_digit(char c)
{
    char small = (char)(c | 0x20);

    return c >= '0' && c <= '9' ? c - '0' : small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/* Loads eight bytes that may lie anywhere. */
static inline uint64_t text_load8(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t text_load4(const void *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Says whether they are the same. For texts of a few bytes, where the call of memcmp is most of its
 * time: two words that overlap, wherever the text is longer than one. */
static inline bool text_same(const char *a, const char *b, size_t length)
{
    if (length > 16) {
        return memcmp(a, b, length) == 0;
    }
    if (length >= 8) {
        return text_load8(a) == text_load8(b) &&
               text_load8(a + length - 8) == text_load8(b + length - 8);
    }
    if (length >= 4) {
        return text_load4(a) == text_load4(b) &&
               text_load4(a + length - 4) == text_load4(b + length - 4);
    }
    return length == 0 ||
           (a[0] == b[0] && a[length / 2] == b[length / 2] && a[length - 1] == b[length - 1]);
}

#define TEXT_HIGH_BITS UINT64_C(0x8080808080808080)
#define TEXT_ONES UINT64_C(0x0101010101010101)

#endif
