/* test_postgres_silent.c: PostgreSQL does not answer: the line is half-open, or its processes are
 * stopped. The drainer gives the connection up, and comes back by itself; another takes over where
 * the server still thinks that the first one is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/fixture/drainers.h"

static void assert_is_calm(struct fixture_program *drainer)
{
    struct drainer_calm since = drainer_calm(drainer);
    fixture_sleep_ms(1500); /* what it does meanwhile is what is tested */
    drainer_was_calm(drainer, since);
}

static void half_open_it_comes_back(void **state)
{
    (void)state;
    struct fixture_proxy *line = fixture_proxy_postgres(story_postgres, true);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, line, "d1", "--postgres-timeout", "1s");
    drainer_await_loaded("d1", 100);
    fixture_proxy_swallow(line, FIXTURE_BOTH);
    drainer_await_says(drainer, "no answer in time while running a command");
    assert_is_calm(drainer);
    fixture_proxy_swallow(line, 0);
    drainer_finish(drainer, load, 50);
}

/* The server's side of the old connection stays, with its locks and perhaps an open COPY. */
static void half_open_another_takes_over(void **state)
{
    (void)state;
    struct fixture_proxy *line = fixture_proxy_postgres(story_postgres, true);
    struct load *load = load_some();
    struct fixture_program *first = drainer_by(NULL, line, "d1", "--postgres-timeout", "1s");
    drainer_await_loaded("d1", 100);
    struct fixture_program *second = drainer_by(NULL, NULL, "d2", "--claim-idle", "1s");
    drainer_await_says(second, "found");
    fixture_proxy_swallow(line, FIXTURE_BOTH);
    drainer_await_says(second, "the session of a stuck drainer was terminated");
    drainer_await_loaded("d2", 100);
    fixture_proxy_swallow(line, 0);
    drainer_stop(second);
    drainer_finish(first, load, 50);
}

/* Longer than it waits; what it had sent is done when the server goes on, and done again. */
static void stopped_for_a_while_it_is_given_up_and_found_again(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--postgres-timeout", "1s");
    drainer_await_loaded("d1", 100);
    fixture_postgres_pause(story_postgres);
    drainer_await_says(drainer, "no answer in time while running a command");
    assert_is_calm(drainer);
    fixture_postgres_resume(story_postgres);
    drainer_finish(drainer, load, 50);
}

/* Shorter than it waits. */
static void stopped_for_a_moment_it_is_waited_for(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    drainer_await_loaded("d1", 100);
    fixture_postgres_pause(story_postgres);
    assert_is_calm(drainer);
    fixture_postgres_resume(story_postgres);
    drainer_finish(drainer, load, 50);
    assert_null(strstr(fixture_program_stderr(drainer), "level=warn"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(half_open_it_comes_back),
        TEST(half_open_another_takes_over),
        TEST(stopped_for_a_while_it_is_given_up_and_found_again),
        TEST(stopped_for_a_moment_it_is_waited_for),
    };
    return cmocka_run_group_tests_name("postgres_silent", tests, NULL, NULL);
}
