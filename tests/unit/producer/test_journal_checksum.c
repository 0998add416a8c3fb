/* test_journal_checksum.c: the sums are CRC-32C, with and without the processor's instruction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/journal_checksum.h"

/* CRC-32C bit by bit, of one byte. */
static uint32_t crc_of_byte(uint32_t crc, unsigned char byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
    }
    return crc;
}

/* As journal_checksum.h describes it: words go to the four lanes in turn while there are four, then
 * to the first; bytes that are left go to the second, filled up with zeroes. */
static uint64_t expected_checksum(const unsigned char *bytes, size_t length)
{
    uint32_t lane[4] = {1, 2, 3, 4};
    size_t whole = length / 32 * 32, words = length / 8 * 8;
    for (size_t i = 0; i < words; i++) {
        unsigned number = i < whole ? i / 8 % 4 : 0;
        lane[number] = crc_of_byte(lane[number], bytes[i]);
    }
    for (size_t i = words; words < length && i < words + 8; i++) {
        lane[1] = crc_of_byte(lane[1], i < length ? bytes[i] : 0);
    }
    return ((uint64_t)lane[0] << 32 | lane[1]) * UINT64_C(0x9e3779b97f4a7c15) ^
           ((uint64_t)lane[2] << 32 | lane[3]);
}

static void checksums_of_every_length_are_crc_32c(void **state)
{
    (void)state;
    unsigned char bytes[600];
    unsigned seed = (unsigned)getpid();
    print_message("seed %u\n", seed);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)rand_r(&seed);
    }
    for (size_t length = 0; length < sizeof bytes - 8; length++) {
        const unsigned char *from = bytes + length % 8;
        uint64_t expected = expected_checksum(from, length);
        assert_true(journal_checksum(2, from, length) == expected);
        assert_true(journal_checksum_by_table(from, length) == expected);
    }
}

static void checksum_notices_each_bit(void **state)
{
    (void)state;
    unsigned char bytes[75] = {0};
    uint64_t whole = journal_checksum(2, bytes, sizeof bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_true(journal_checksum(2, bytes, sizeof bytes) != whole);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

static void checksum_of_words_is_that_of_their_bytes(void **state)
{
    (void)state;
    uint64_t words[6];
    for (unsigned i = 0; i < 6 * 64; i++) {
        memset(words, 0, sizeof words);
        words[i / 64] = UINT64_C(1) << i % 64;
        assert_true(
            journal_checksum_of_words(words[0], words[1], words[2], words[3], words[4], words[5]) ==
            expected_checksum((const unsigned char *)words, sizeof words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_of_every_length_are_crc_32c),
        cmocka_unit_test(checksum_notices_each_bit),
        cmocka_unit_test(checksum_of_words_is_that_of_their_bytes),
    };
    return cmocka_run_group_tests_name("journal checksum", tests, NULL, NULL);
}
