/* test_drainer_stopped.c: SIGTERM to a drainer, under load and while a server is away. It ends
 * within five seconds; with 0 where nothing of it is left pending, and where something may be with
 * 1, and says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/fixture/drainers.h"

/* Another drainer loads the rest. */
static void finish(struct load *load)
{
    struct fixture_program *next = story_drainer("next");
    load_finish(load);
    drainer_stop(next);
}

static void stopped_under_load_leaves_nothing_pending(void **state)
{
    enum { STOPS = 6 };
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    printf("seed %u\n", seed);
    struct load *load = load_some();
    for (int i = 0; i < STOPS; i++) {
        struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--batch-rows", "50");
        drainers_await_more(50);
        fixture_sleep_ms((int)(rand_r(&seed) % 50));
        for (int signals = i % 3; signals > 0;
             signals--) { /* more than one signal does not make it leave anything */
            fixture_program_signal(drainer, SIGTERM);
        }
        drainer_stop(drainer);
        assert_int_equal(story_pending(), 0);
        assert_string_equal(fixture_redis_run(story_redis, "XINFO CONSUMERS blotter:okx drainers"),
                            "");
    }
    finish(load);
}

static void stopped_while_postgresql_is_away_says_what_is_pending(void **state)
{
    (void)state;
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, postgres, "d1");
    drainer_await_loaded("d1", 100);
    drainer_stall_at(postgres, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_AFTER);
    fixture_proxy_close(postgres);
    drainer_await_says(drainer, "nothing is acknowledged");
    assert_true(story_pending() > 0);
    drainer_end(drainer, 1);
    story_assert_says(fixture_program_stderr(drainer),
                      " entries pending: what is pending is claimed by the next drainer");
    assert_true(story_pending() > 0);
    finish(load);
}

static void stopped_with_nothing_pending_needs_no_postgresql(void **state)
{
    (void)state;
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct fixture_program *drainer = drainer_by(NULL, postgres, "d1");
    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "1"});
    drainer_await_loaded("d1", 1);
    story_await_drained();
    fixture_proxy_close(postgres);
    drainer_await_says(drainer, "level=warn object=postgres");
    drainer_stop(drainer);
}

static void stopped_while_postgresql_does_not_answer_ends_in_time(void **state)
{
    (void)state;
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, postgres, "d1");
    drainer_await_loaded("d1", 100);
    drainer_stall_at(postgres, FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_STALL_BEFORE);
    drainer_end(drainer, 1);
    story_assert_says(fixture_program_stderr(drainer), "stopped with entries that are not loaded");
    fixture_proxy_cut(postgres);
    finish(load);
}

static void stopped_while_redis_is_away_does_not_know(void **state)
{
    (void)state;
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(redis, NULL, "d1");
    drainer_await_loaded("d1", 100);
    fixture_proxy_close(redis);
    drainer_await_says(drainer, "Redis is not connected");
    drainer_end(drainer, 1);
    story_assert_says(fixture_program_stderr(drainer), "stopped while Redis is away");
    finish(load);
}

/* It has gone with the acknowledgements of the last batch unsent. */
static void stopped_while_redis_is_away_waits_a_little_for_it(void **state)
{
    (void)state;
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct fixture_program *drainer = drainer_by(redis, NULL, "d1");
    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "1"});
    drainer_await_loaded("d1", 1);
    story_await_drained();
    fixture_proxy_close(redis);
    drainer_await_says(drainer, "Redis is not connected");
    fixture_program_signal(drainer, SIGTERM);
    drainer_await_says(drainer, "stopping: SIGTERM");
    fixture_proxy_open(redis);
    assert_int_equal(fixture_program_wait(drainer, 6000), 0);
    assert_string_equal(fixture_redis_run(story_redis, "XINFO CONSUMERS blotter:okx drainers"), "");
}

static void stopped_while_redis_does_not_answer_ends_in_time(void **state)
{
    (void)state;
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(redis, NULL, "d1");
    drainer_await_loaded("d1", 100);
    drainer_stall_at(redis, FIXTURE_TO_SERVER, "XACK", FIXTURE_STALL_BEFORE);
    drainer_end(drainer, 1);
    story_assert_says(fixture_program_stderr(drainer), "does not answer");
    fixture_proxy_cut(redis);
    finish(load);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(stopped_under_load_leaves_nothing_pending),
        TEST(stopped_while_postgresql_is_away_says_what_is_pending),
        TEST(stopped_with_nothing_pending_needs_no_postgresql),
        TEST(stopped_while_postgresql_does_not_answer_ends_in_time),
        TEST(stopped_while_redis_is_away_does_not_know),
        TEST(stopped_while_redis_is_away_waits_a_little_for_it),
        TEST(stopped_while_redis_does_not_answer_ends_in_time),
    };
    return cmocka_run_group_tests_name("drainer_stopped", tests, NULL, NULL);
}
