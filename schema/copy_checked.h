/* copy_checked.h: copies short text and short decimals, and checks them on the way.
 *
 * A text is taken as one chunk of sixteen bytes, whatever lies behind its end: a comparison of all
 * of them finds the end, another one what is no digit, so there is no loop, no call of strlen and
 * hardly a branch. Counted with callgrind, recording an order of 22 fields takes a quarter more
 * instructions without this.
 *
 * Reading behind a text is safe as long as it stays within the page of its first byte, for memory
 * is mapped by pages. Where something watches every byte (a sanitizer, valgrind), and at the end of
 * a page, the bytes are copied one by one. */
#ifndef BLOTTER_SCHEMA_COPY_CHECKED_H
#define BLOTTER_SCHEMA_COPY_CHECKED_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "schema/text.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { CHUNK_BYTES = 16, CHUNK_PAGE_BYTES = 4096, COPY_TEXT_BYTES_MAX = 31 };
#define COPY_FAILED SIZE_MAX

typedef signed char chunk __attribute__((vector_size(CHUNK_BYTES)));
typedef unsigned char unsigned_chunk __attribute__((vector_size(CHUNK_BYTES))); /* wraps around */

/* The bits of an address, CHUNK_BYTES further on, one of which at least is set where a chunk may be
 * read at once: not from the last places of a page on, and where something watches every byte (0)
 * from nowhere. */
enum { CHUNK_INSIDE = CHUNK_PAGE_BYTES - CHUNK_BYTES };
extern bool chunk_is_watched __attribute__((visibility("hidden")));

/* Returns the text's bytes up to its end, and then zeroes. */
chunk chunk_read_bytewise(const char *text);

/* Returns CHUNK_BYTES bytes from a text's beginning on. */
static inline chunk chunk_read(const char *text, uintptr_t inside)
{
    chunk bytes;

    if (__builtin_expect((((uintptr_t)text + CHUNK_BYTES) & inside) == 0, 0)) {
        return chunk_read_bytewise(text);
    }
    memcpy(&bytes, text, sizeof bytes);
    return bytes;
}

/* Returns sixteen times the byte. The compiler is not to know that it is constant: it would make
 * three instructions of a comparison with it. */
static inline chunk chunk_of(signed char byte)
{
    chunk bytes = {byte, byte, byte, byte, byte, byte, byte, byte,
                   byte, byte, byte, byte, byte, byte, byte, byte};

#if defined(__SSE2__)
    __asm__("" : "+x"(bytes));
#endif
    return bytes;
}

/* Returns the high bit of each byte: bit i is byte i's. */
static inline unsigned chunk_bits(chunk bytes)
{
#if defined(__SSE2__)
    return (unsigned)_mm_movemask_epi8((__m128i)bytes);
#else
    uint64_t words[2];

    memcpy(words, &bytes, sizeof words);
    for (int i = 0; i < 2; i++) { /* a multiplication that moves eight bits beside each other */
        words[i] = (words[i] >> 7 & TEXT_ONES) * UINT64_C(0x0102040810204080) >> 56;
    }
    return (unsigned)(words[0] | words[1] << 8);
#endif
}

/* Returns the place of the lowest bit. */
static inline size_t chunk_place(unsigned bits)
{
#if defined(__SSE2__)
    size_t place;

    __asm__("rep bsfl %1, %k0" : "=r"(place) : "r"(bits) : "cc");
    if (place >= CHAR_BIT * sizeof bits) {
        __builtin_unreachable();
    }
    return place;
#else
    return (size_t)__builtin_ctz(bits);
#endif
}

/* Copies an ASCII text of at most COPY_TEXT_BYTES_MAX bytes, spoiling 2 * CHUNK_BYTES of `out`, and
 * returns its length; or COPY_FAILED: it is longer, or not ASCII. */
static inline __attribute__((always_inline)) size_t
copy_short_text(unsigned char *out, const char *text, uintptr_t inside)
{
    chunk bytes = chunk_read(text, inside);
    unsigned ends = chunk_bits(bytes < chunk_of(1)); /* NUL, or beyond ASCII */

    memcpy(out, &bytes, sizeof bytes);
    if (ends != 0) {
        size_t length = chunk_place(ends);
        return text[length] == '\0' ? length : COPY_FAILED;
    }
    bytes = chunk_read(text + CHUNK_BYTES, inside);
    ends = chunk_bits(bytes < chunk_of(1));
    memcpy(out + CHUNK_BYTES, &bytes, sizeof bytes);
    if (ends != 0) {
        size_t length = CHUNK_BYTES + chunk_place(ends);
        return text[length] == '\0' ? length : COPY_FAILED;
    }
    return COPY_FAILED;
}

/* Copies a decimal of at most CHUNK_BYTES bytes, spoiling CHUNK_BYTES of `out`, if it is canonical
 * as it is and not negative, as nearly all are, and returns its length; else COPY_FAILED. */
static inline __attribute__((always_inline)) size_t
copy_short_decimal(unsigned char *out, const char *text, uintptr_t inside)
{
    chunk bytes = chunk_read(text, inside);
    chunk above = (chunk)((unsigned_chunk)bytes - ('0' + 128)); /* digits are the ten least */
    unsigned others = chunk_bits(above > chunk_of(SCHAR_MIN + 9)) | ~0u << CHUNK_BYTES;
    size_t point = chunk_place(others), length = point;

    memcpy(out, &bytes, sizeof bytes);
    if (text[point] == '.') {
        length = chunk_place(others & (others - 1));
        if (text[length - 1] == '.' || text[length] != '\0') {
            return COPY_FAILED;
        }
    } else if (text[point] != '\0') {
        return COPY_FAILED;
    }
    /* Without a digit before it, the text begins with its point or its end: less than '0'. */
    return __builtin_expect(text[0] > '0', 1) || point == 1 ? length : COPY_FAILED;
}

#endif
