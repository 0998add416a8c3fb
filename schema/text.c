/* text.c: is it text that PostgreSQL stores: UTF-8 without NUL?
 *
 * Nearly all text is ASCII, so eight bytes are looked at together; only where they are not all
 * ASCII, one sequence after the other. The rules are those of RFC 3629 and of PostgreSQL: no
 * overlong forms, no surrogates, nothing above U+10FFFF. */
#include "schema/text.h"

#include "schema/record.h"

static unsigned continuation_bytes(const unsigned char *at, const unsigned char *end,
                                   unsigned length)
{
    if ((size_t)(end - at) < length) {
        return 0;
    }
    for (unsigned i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

unsigned text_sequence(const unsigned char *at, const unsigned char *end)
{
    unsigned first = at[0];

    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2) { /* a continuation byte, or an overlong form */
        return 0;
    }
    if (first < 0xe0) {
        return continuation_bytes(at, end, 2);
    }
    if (first > 0xf4 || end - at < 2) {
        return 0;
    }
    unsigned second = at[1];
    if (first < 0xf0) {
        if ((first == 0xe0 && second < 0xa0) ||
            (first == 0xed && second > 0x9f)) { /* overlong; surrogates */
            return 0;
        }
        return continuation_bytes(at, end, 3);
    }
    if ((first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f)) { /* overlong; above U+10FFFF */
        return 0;
    }
    return continuation_bytes(at, end, 4);
}

unsigned text_printable(const unsigned char *at, const unsigned char *end)
{
    unsigned length = text_sequence(at, end);
    bool is_c0 = at[0] < 0x20 || at[0] == 0x7f;
    bool is_c1 = length == 2 && at[0] == 0xc2 && at[1] < 0xa0;

    return is_c0 || is_c1 ? 0 : length;
}

/* Says whether all that is there is the beginning of a character. */
static bool is_cut(const unsigned char *at, const unsigned char *end)
{
    unsigned length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;

    if ((size_t)(end - at) >= length) {
        return false;
    }
    while (++at < end && (*at & 0xc0) == 0x80) {
    }
    return at >= end;
}

void text_clean(char *text)
{
    unsigned char *at = (unsigned char *)text, *end = at + strlen(text);

    while (at < end) {
        unsigned length = text_printable(at, end);

        if (length == 0 && is_cut(at, end)) {
            *at = '\0';
            return;
        }
        if (length == 0) {
            *at = *at == '\n' || *at == '\r' || *at == '\t' ? ' ' : '?';
        }
        at += length == 0 ? 1 : length;
    }
}

/* Says whether a byte is 0 or above 0x7f. (A borrow from a byte below can only come from a 0, so
 * nothing is missed.) */
static bool needs_a_look(uint64_t word)
{
    return ((word - TEXT_ONES) | word) & TEXT_HIGH_BITS;
}

/* Looks at short texts in one word, or two that overlap; the bytes that a word lacks are not 0. */
static bool short_needs_a_look(const unsigned char *at, size_t length)
{
    if (length >= 4) {
        return needs_a_look(text_load4(at) | (uint64_t)text_load4(at + length - 4) << 32);
    }
    return length > 0 &&
           needs_a_look((at[0] | (uint64_t)at[length / 2] << 8 | (uint64_t)at[length - 1] << 16) |
                        TEXT_ONES << 24);
}

static bool all_ascii(const unsigned char *at, size_t length)
{
    if (length < 8) {
        return !short_needs_a_look(at, length);
    }
    const unsigned char *last = at + length - 8;
    for (; at < last; at += 8) {
        if (needs_a_look(text_load8(at))) {
            return false;
        }
    }
    return !needs_a_look(text_load8(last));
}

enum record_fault text_check(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;

    if (all_ascii(at, length)) {
        return RECORD_FAULT_NONE;
    }
    while (at < end) {
        if (*at == 0) {
            return RECORD_FAULT_HAS_NUL;
        }
        unsigned sequence = text_sequence(at, end);
        if (!sequence) {
            return RECORD_FAULT_NOT_UTF8;
        }
        at += sequence;
    }
    return RECORD_FAULT_NONE;
}
