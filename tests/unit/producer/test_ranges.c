/* test_ranges.c: a set of positions says what it was told, whatever came before what, and however
 * it overlaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "producer/ranges.h"

enum { POSITIONS = 40, ROUNDS = 2000, STEPS = 12 };

static struct ranges ranges;

static void assert_is(const bool model[POSITIONS + 1])
{
    for (uint64_t from = 0; from <= POSITIONS; from++) {
        uint64_t end = from, within = 0;
        while (model[end]) {
            end++;
        }
        assert_int_equal(ranges_end(&ranges, from), end);
        for (uint64_t to = from; to <= POSITIONS; to++) {
            assert_int_equal(ranges_within(&ranges, from, to), within);
            within += model[to];
        }
    }
    for (size_t i = 1; i < ranges.count; i++) {
        assert_true(ranges.each[i - 1].to < ranges.each[i].from); /* as few as there can be */
    }
}

static void it_holds_what_it_was_told_and_nothing_else(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    printf("seed %u\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        bool model[POSITIONS + 1] = {false};
        ranges.count = 0;
        for (int step = 0; step < STEPS; step++) {
            uint64_t from = (uint64_t)rand_r(&seed) % POSITIONS,
                     to = from + (uint64_t)rand_r(&seed) % 6;
            to = to < POSITIONS ? to : POSITIONS;
            ranges_add(&ranges, from, to);
            memset(model + from, true, to - from);
        }
        assert_is(model);
        uint64_t below = (uint64_t)rand_r(&seed) % POSITIONS, end = ranges_end(&ranges, below);
        ranges_drop_below(&ranges, below);
        assert_int_equal(ranges_end(&ranges, below), end);
        for (uint64_t at = below; at < POSITIONS;
             at++) { /* of one that holds `below` all may stay */
            assert_int_equal(ranges_end(&ranges, at) > at, model[at]);
        }
        assert_true(ranges.count == 0 || ranges.each[0].to > below);
    }
}

static void what_would_be_one_range_too_many_is_dropped(void **state)
{
    (void)state;
    ranges.count = 0;
    for (uint64_t i = 0; i < RANGES_MAX; i++) {
        ranges_add(&ranges, 10 * i, 10 * i + 1);
    }
    ranges_add(&ranges, 5, 6);
    assert_int_equal(ranges.count, RANGES_MAX);
    assert_int_equal(ranges_end(&ranges, 5), 5);
    ranges_add(&ranges, 1, 6); /* this one is none more */
    assert_int_equal(ranges_end(&ranges, 0), 6);
    assert_int_equal(ranges_end(&ranges, 10 * (RANGES_MAX - 1)), 10 * (RANGES_MAX - 1) + 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_it_was_told_and_nothing_else),
        cmocka_unit_test(what_would_be_one_range_too_many_is_dropped),
    };
    return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
