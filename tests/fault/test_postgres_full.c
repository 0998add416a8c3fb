/* test_postgres_full.c: the disk that the tables are on is full. The drainer says so, rejects
 * nothing, and goes on when there is room again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/drainers.h"
#include "tests/fixture/ill_disk.h"

static void use_postgres_with_a_small_disk(void)
{
    ill_disk_begin();
    story_postgres = fixture_postgres_start(NULL);
    ill_disk_end();
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(story_postgres), 1);
    story_run(0, "migrate");
}

static void a_full_disk_is_waited_for(void **state)
{
    (void)state;
    use_postgres_with_a_small_disk();
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    drainer_await_loaded("d1", 100);
    ill_disk_fill(true);
    drainer_await_says(drainer, "SQLSTATE 53100: nothing is acknowledged");
    drainer_await_says(drainer, "SQLSTATE 53100: bisected");
    struct drainer_calm since = drainer_calm(drainer);
    fixture_sleep_ms(2000); /* the drainer's behaviour during this time is what is tested */
    drainer_was_calm(drainer, since);
    assert_true(story_pending() > 0);
    ill_disk_fill(false);
    drainers_await_more(100);
    load_finish(load);
    drainer_stop(drainer);
    assert_null(strstr(fixture_program_stderr(drainer), "record rejected"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, story_begin, load_end),
    };
    return cmocka_run_group_tests_name("postgres_full", tests, NULL, NULL);
}
