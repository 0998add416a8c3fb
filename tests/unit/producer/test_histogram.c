/* test_histogram.c: durations in buckets, and what is read from them. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/histogram.h"

static int64_t percentile_of(const struct histogram *histogram, double percent)
{
    struct blotter_histogram copy;
    histogram_copy(histogram, &copy);
    return blotter_percentile(&copy, percent);
}

/* Over the whole range: what one value is read as is not below it, and at most an eighth above. */
static void a_value_is_read_as_itself_or_an_eighth_more(void **state)
{
    (void)state;
    for (int64_t value = 0; value < (INT64_C(1) << 40); value += 1 + value / 37) {
        struct histogram histogram = {0};
        histogram_add(&histogram, value);
        int64_t read = percentile_of(&histogram, 50);
        assert_in_range(read, value, value + value / 8);
    }
}

static void percentiles_are_of_all_values(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (int i = 0; i < 90; i++) {
        histogram_add(&histogram, 5);
    }
    for (int i = 0; i < 10; i++) {
        histogram_add(&histogram, 1000);
    }
    assert_int_equal(percentile_of(&histogram, 0), 5);
    assert_int_equal(percentile_of(&histogram, 90), 5);
    assert_in_range(percentile_of(&histogram, 90.1), 1000, 1125);
    assert_in_range(percentile_of(&histogram, 100), 1000, 1125);
}

static void the_ends_are_counted_too(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    assert_int_equal(percentile_of(&histogram, 50), -1);
    histogram_add(&histogram, -7);
    assert_int_equal(percentile_of(&histogram, 50), 0);
    histogram_add(&histogram, INT64_MAX);
    assert_int_equal(percentile_of(&histogram, 100), (INT64_C(1) << 41) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_read_as_itself_or_an_eighth_more),
        cmocka_unit_test(percentiles_are_of_all_values),
        cmocka_unit_test(the_ends_are_counted_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
