/* journal_checksum.c: see journal_checksum.h. */
#include "producer/journal_checksum.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

static inline uint64_t word_at(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Returns the last length % 8 bytes, which are some, as a word: from a word that ends with them,
 * where it lies within the bytes. */
static inline uint64_t last_word(const unsigned char *end, size_t length)
{
    uint64_t word = 0;
    size_t rest = length % 8;
    if (length >= 8) {
        return word_at(end - 8) >> (0 - 8 * rest) % 64;
    }
    memcpy(&word, end - rest, rest);
    return word;
}

/* --- version 1 --- */

uint64_t journal_checksum_1(const void *from, size_t length)
{
    const unsigned char *bytes = from;
    uint64_t a = 1, b = 2, c = 3, d = 4;
    const unsigned char *end = bytes + length;
    for (; end - bytes >= 32; bytes += 32) {
        a = journal_checksum_mix(a, word_at(bytes));
        b = journal_checksum_mix(b, word_at(bytes + 8));
        c = journal_checksum_mix(c, word_at(bytes + 16));
        d = journal_checksum_mix(d, word_at(bytes + 24));
    }
    for (; end - bytes >= 8; bytes += 8) {
        a = journal_checksum_mix(a, word_at(bytes));
    }
    if (bytes < end) {
        b = journal_checksum_mix(b, last_word(end, length));
    }
    return journal_checksum_mix(journal_checksum_mix(journal_checksum_mix(a, b), c), d);
}

/* --- version 2 --- */

static inline uint64_t join(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return (a << 32 | b) * UINT64_C(0x9e3779b97f4a7c15) ^ (c << 32 | d);
}

/* Four lanes, as an instruction's result is there three cycles later only. They begin with
 * different values, so that zeroes count. */
#define CHECKSUM_2(name, attributes, crc)                                                      \
    static attributes uint64_t name(const unsigned char *bytes, size_t length)                 \
    {                                                                                          \
        uint64_t a = 1, b = 2, c = 3, d = 4;                                                   \
        const unsigned char *end = bytes + length;                                             \
        const unsigned char *blocks_end = end - length % 32, *words_end = end - length % 8;    \
        for (; bytes != blocks_end; bytes += 32) {                                             \
            a = crc(a, word_at(bytes));                                                        \
            b = crc(b, word_at(bytes + 8));                                                    \
            c = crc(c, word_at(bytes + 16));                                                   \
            d = crc(d, word_at(bytes + 24));                                                   \
        }                                                                                      \
        for (; bytes != words_end; bytes += 8) {                                               \
            a = crc(a, word_at(bytes));                                                        \
        }                                                                                      \
        if (bytes != end) {                                                                    \
            b = crc(b, last_word(end, length));                                                \
        }                                                                                      \
        return join(a, b, c, d);                                                               \
    }                                                                                          \
    static attributes uint64_t name##_of_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d, \
                                               uint64_t e, uint64_t f)                         \
    {                                                                                          \
        return join(crc(crc(crc(1, a), e), f), crc(2, b), crc(3, c), crc(4, d));               \
    }

/* Computes CRC-32C, four bits at a time; the table of 16 words is made by hand from the polynomial
 * 0x82f63b78. */
static uint64_t crc_by_table(uint64_t crc, uint64_t word)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    uint32_t sum = (uint32_t)crc;
    for (int i = 0; i < 16; i++, word >>= 4) {
        sum = sum >> 4 ^ table[(sum ^ word) & 15];
    }
    return sum;
}

CHECKSUM_2(checksum_2_by_table, , crc_by_table)

#if defined(__x86_64__)
CHECKSUM_2(checksum_2, __attribute__((hot, target("sse4.2"))), _mm_crc32_u64)

#define HAS_INSTRUCTION (__builtin_cpu_init(), __builtin_cpu_supports("sse4.2"))
#elif defined(__ARM_FEATURE_CRC32)
static inline uint64_t crc_by_instruction(uint64_t crc, uint64_t word)
{
    return __crc32cd((uint32_t)crc, word);
}

CHECKSUM_2(checksum_2, , crc_by_instruction)

#define HAS_INSTRUCTION 1
#else
#define HAS_INSTRUCTION 0
#define checksum_2 checksum_2_by_table
#define checksum_2_of_words checksum_2_by_table_of_words
#endif

/* Until it is looked for, the table serves. */
static bool has_instruction;

static __attribute__((constructor)) void look_for_instruction(void)
{
    has_instruction = HAS_INSTRUCTION;
}

uint64_t journal_checksum_by_table(const void *bytes, size_t length)
{
    return checksum_2_by_table(bytes, length);
}

__attribute__((hot)) uint64_t journal_checksum_2(const void *bytes, size_t length)
{
    return __builtin_expect(has_instruction, 1) ? checksum_2(bytes, length)
                                                : checksum_2_by_table(bytes, length);
}

__attribute__((hot)) uint64_t journal_checksum_of_words(uint64_t a, uint64_t b, uint64_t c,
                                                        uint64_t d, uint64_t e, uint64_t f)
{
    return __builtin_expect(has_instruction, 1) ? checksum_2_of_words(a, b, c, d, e, f)
                                                : checksum_2_by_table_of_words(a, b, c, d, e, f);
}
