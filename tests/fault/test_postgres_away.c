/* test_postgres_away.c: while PostgreSQL is away records wait in Redis, pending or unread, and are
 * not sent again: a producer that took the silence for a loss would multiply the stream.
 *
 * PostgreSQL is away for longer than a producer's patience with a loss; BLOTTER_TEST_LONG=1: for
 * minutes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "tests/fixture/load.h"

enum { AWAY_MS = 8000, LONG_MS = 150000 };

static int away_ms(void)
{
    const char *wanted = getenv("BLOTTER_TEST_LONG");
    return wanted != NULL && *wanted ? LONG_MS : AWAY_MS;
}

/* Heartbeats go on, and are counted before they are sent. */
static bool each_is_there_once(void *load)
{
    return fixture_redis_int(story_redis, "XLEN blotter:okx") == load_totals(load).accepted;
}

/* Counts the entries of producers whose entries were neither trimmed nor sent again: accepted
 * records and session records. */
static void assert_each_once(struct load *load)
{
    load_stop(load);
    load_await_stage(load, BLOTTER_SENT);
    assert_true(fixture_wait_until(each_is_there_once, load, STORY_TIMEOUT_MS));
    assert_int_equal(load_totals(load).resent, 0);
    assert_int_equal(load_totals(load).evicted, 0);
    load_resume(load);
}

static void be_away(struct load *load)
{
    int64_t until = fixture_now_ms() + away_ms();
    do {
        load_await_accepted(load, 300);
    } while (fixture_now_ms() < until);
    assert_each_once(load);
}

static void a_stopped_postgres_does_not_multiply_the_stream(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = load_start(&(struct load_options){.producers = 3, .per_second = 50});
    load_await_accepted(load, 100);
    fixture_postgres_stop(story_postgres, FIXTURE_FAST);
    be_away(load);
    fixture_postgres_start_again(story_postgres);
    load_await_accepted(load, 100);
    load_finish(load);
}

/* The same with one that does not even say that it is gone: what was read stays pending in a
 * drainer that waits. */
static void nor_does_one_that_does_not_answer(void **state)
{
    (void)state;
    story_drainer("d1");
    struct load *load = load_start(&(struct load_options){.producers = 3, .per_second = 50});
    load_await_accepted(load, 100);
    fixture_postgres_pause(story_postgres);
    be_away(load);
    fixture_postgres_resume(story_postgres);
    load_await_accepted(load, 100);
    load_finish(load);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(a_stopped_postgres_does_not_multiply_the_stream),
        TEST(nor_does_one_that_does_not_answer),
    };
    return cmocka_run_group_tests_name("postgres_away", tests, NULL, NULL);
}
