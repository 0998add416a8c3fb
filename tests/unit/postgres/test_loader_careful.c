/* test_loader_careful.c: how long batches go through staging after a duplicate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drainer/postgres/loader.h"

/* Staging takes several times as long as COPY alone. */
static void one_duplicate_costs_its_speed_for_seconds(void **state)
{
    (void)state;
    unsigned first_ms = loader_careful_ms(0, 1000000);
    assert_true(first_ms > 0 && first_ms <= 5000);
    assert_int_equal(loader_careful_ms(0, 0), first_ms);
    assert_int_equal(loader_careful_ms(first_ms, first_ms), first_ms);
    assert_int_equal(loader_careful_ms(30000, 30000), first_ms);
}

/* A batch that meets one is copied twice: that is to happen seldom. */
static void duplicates_without_end_are_expected_longer_and_longer(void **state)
{
    (void)state;
    unsigned ms = loader_careful_ms(0, 0);
    for (int i = 0; i < 10; i++) {
        unsigned next_ms = loader_careful_ms(ms, ms / 2);
        assert_true(next_ms == 2 * ms || next_ms == 30000);
        ms = next_ms;
    }
    assert_int_equal(ms, 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_duplicate_costs_its_speed_for_seconds),
        cmocka_unit_test(duplicates_without_end_are_expected_longer_and_longer),
    };
    return cmocka_run_group_tests_name("loader_careful", tests, NULL, NULL);
}
