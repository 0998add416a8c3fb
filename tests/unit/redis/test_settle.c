/* test_settle.c: the ranges of seq that a word to a producer says. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/redis/settle.h"
#include "tests/unit/random_input.h"

static char word[CONFIRMATION_BYTES];

/* The only word about these seqs of one producer. */
static const char *word_of(const int64_t *seqs, size_t count)
{
    struct settled settled = {0};
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        settled_add(&settled, 7, seqs[i]);
    }
    settled_sort(&settled);
    assert_int_equal(settled_confirmation(&settled, &at, word), 7);
    assert_int_equal(at, settled.count);
    settled_release(&settled);
    return word;
}

#define WORD_OF(...) \
    word_of((int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void consecutive_seqs_are_one_range(void **state)
{
    (void)state;
    assert_string_equal(WORD_OF(1), "1");
    assert_string_equal(WORD_OF(1, 2), "1-2");
    assert_string_equal(WORD_OF(1, 2, 3, 5, 7, 8), "1-3,5,7-8");
}

static void seqs_that_come_in_order_take_no_memory(void **state)
{
    struct settled settled = {0};

    (void)state;
    for (int64_t seq = 1; seq <= 10000; seq++) {
        settled_add(&settled, 7, seq);
    }
    assert_int_equal(settled.count, 1);
    settled_release(&settled);
}

static void order_of_arrival_does_not_matter(void **state)
{
    (void)state;
    assert_string_equal(WORD_OF(5, 4, 3, 2, 1), "1-5");
    assert_string_equal(WORD_OF(60, 61, 1, 2, 53, 62), "1-2,53,60-62");
}

static void seq_that_came_twice_is_said_once(void **state)
{
    (void)state;
    assert_string_equal(WORD_OF(4, 4, 4), "4");
    assert_string_equal(WORD_OF(1, 2, 3, 2, 3, 4), "1-4");
    assert_string_equal(WORD_OF(1, 2, 3, 4, 5, 2), "1-5");
}

static void largest_seqs_there_are_do_not_overflow(void **state)
{
    (void)state;
    assert_string_equal(WORD_OF(INT64_MAX, INT64_MAX - 1, 1, INT64_MAX),
                        "1,9223372036854775806-9223372036854775807");
}

static void each_producer_gets_its_own_word(void **state)
{
    struct settled settled = {0};
    size_t at = 0;

    (void)state;
    settled_add(&settled, 9, 2);
    settled_add(&settled, 8, 1);
    settled_add(&settled, 9, 1);
    settled_add(&settled, 8, 2);
    settled_sort(&settled);
    assert_int_equal(settled_confirmation(&settled, &at, word), 8);
    assert_string_equal(word, "1-2");
    assert_int_equal(settled_confirmation(&settled, &at, word), 9);
    assert_string_equal(word, "1-2");
    assert_int_equal(at, settled.count);
    settled_release(&settled);
}

static void nothing_settled_is_no_word(void **state)
{
    struct settled settled = {0};

    (void)state;
    settled_sort(&settled);
    assert_int_equal(settled.count, 0);
}

/* Reads a word back into the set of seqs. */
static void read_word(const char *text, bool *seen, size_t size)
{
    char *end;

    for (;;) {
        long from = strtol(text, &end, 10), to = *end == '-' ? strtol(end + 1, &end, 10) : from;

        assert_true(from >= 1 && to >= from && (size_t)to < size);
        for (long seq = from; seq <= to; seq++) {
            assert_false(seen[seq]);
            seen[seq] = true;
        }
        if (*end == '\0') {
            return;
        }
        assert_int_equal(*end, ',');
        text = end + 1;
    }
}

static void words_say_exactly_what_was_settled_however_many_there_are(void **state)
{
    enum { SEQS = 20000 };
    static bool added[3][SEQS], said[3][SEQS];
    struct settled settled = {0};
    size_t words = 0;

    (void)state;
    random_begin();
    memset(added, 0, sizeof added);
    memset(said, 0, sizeof said);
    for (int i = 0; i < 2 * SEQS; i++) {
        unsigned producer = random_below(3), seq = 1 + random_below(SEQS - 1);

        added[producer][seq] = true;
        settled_add(&settled, 1 + (int64_t)producer, seq);
    }
    settled_sort(&settled);
    for (size_t at = 0; at < settled.count; words++) {
        int64_t producer_id = settled_confirmation(&settled, &at, word);

        assert_true(strlen(word) < CONFIRMATION_BYTES);
        read_word(word, said[producer_id - 1], SEQS);
    }
    assert_true(words > 3);
    assert_memory_equal(added, said, sizeof added);
    settled_release(&settled);
}

static void longest_ranges_fill_a_word_and_no_more(void **state)
{
    struct settled settled = {0};
    size_t words = 0;

    (void)state;
    for (int64_t i = 0; i < 1000; i++) {
        settled_add(&settled, INT64_MAX, INT64_MAX - 3 * i);
        settled_add(&settled, INT64_MAX, INT64_MAX - 3 * i - 1);
    }
    settled_sort(&settled);
    assert_int_equal(settled.count, 1000);
    for (size_t at = 0; at < settled.count; words++) {
        settled_confirmation(&settled, &at, word);
        assert_true(strlen(word) < sizeof word);
    }
    assert_int_equal(words, 5);
    settled_release(&settled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(consecutive_seqs_are_one_range),
        cmocka_unit_test(seqs_that_come_in_order_take_no_memory),
        cmocka_unit_test(order_of_arrival_does_not_matter),
        cmocka_unit_test(seq_that_came_twice_is_said_once),
        cmocka_unit_test(largest_seqs_there_are_do_not_overflow),
        cmocka_unit_test(each_producer_gets_its_own_word),
        cmocka_unit_test(nothing_settled_is_no_word),
        cmocka_unit_test(words_say_exactly_what_was_settled_however_many_there_are),
        cmocka_unit_test(longest_ranges_fill_a_word_and_no_more),
    };
    return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
