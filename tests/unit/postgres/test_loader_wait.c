/* test_loader_wait.c: how long few rows wait to be loaded together with others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drainer/postgres/loader.h"

static void a_lone_record_waits_for_nothing(void **state)
{
    (void)state;
    assert_int_equal(loader_wait_us(1, 2000), 0);
    assert_int_equal(loader_wait_us(1, INT64_C(86400000000)), 0);
}

static void a_few_that_come_one_after_the_other_are_loaded_together(void **state)
{
    (void)state;
    for (int64_t since_us = 0; since_us < 2000; since_us += 100) {
        assert_int_equal(since_us + loader_wait_us(1, since_us), 2000);
        assert_int_equal(since_us + loader_wait_us(99, since_us), 2000);
    }
}

static void many_wait_for_nobody(void **state)
{
    (void)state;
    assert_int_equal(loader_wait_us(100, 0), 0);
    assert_int_equal(loader_wait_us(10000, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_record_waits_for_nothing),
        cmocka_unit_test(a_few_that_come_one_after_the_other_are_loaded_together),
        cmocka_unit_test(many_wait_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
