/* test_drainer_killed.c: kill -9 of a drainer under load, at each step of a batch and at any time:
 * another goes on at once, and all that was accepted is stored, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/fixture/drainers.h"

/* Kills a drainer when these bytes are on their way; the kernel closes its connections, and what it
 * had sent last may get lost. Another stands by. */
static void killed_at(bool on_redis, enum fixture_direction direction, const char *bytes,
                      enum fixture_cut when)
{
    struct fixture_proxy *redis = fixture_proxy_redis(story_redis, false);
    struct fixture_proxy *postgres = fixture_proxy_postgres(story_postgres, false);
    struct load *load = load_some();
    struct fixture_program *first = drainer_by(redis, postgres, "d1");
    drainer_await_loaded("d1", 100);
    struct fixture_program *second = story_drainer("d2");
    drainer_await_says(second, "found");
    drainer_stall_at(on_redis ? redis : postgres, direction, bytes, when);
    drainer_kill9(first);
    fixture_proxy_cut(redis);
    fixture_proxy_cut(postgres);
    drainer_await_loaded("d2", 500);
    load_finish(load);
    drainer_stop(second);
}

static void killed_before_it_has_begun_to_load(void **state)
{
    (void)state;
    killed_at(false, FIXTURE_TO_SERVER, "synchronous_commit = on; COPY", FIXTURE_STALL_BEFORE);
}

static void killed_with_an_open_copy(void **state)
{
    (void)state;
    killed_at(false, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_BEFORE);
}

static void killed_in_a_copy(void **state)
{
    (void)state;
    killed_at(false, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_AFTER);
}

static void killed_before_it_knows_of_its_commit(void **state)
{
    (void)state;
    killed_at(false, FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_STALL_BEFORE);
}

static void killed_after_commit_and_before_it_has_acknowledged(void **state)
{
    (void)state;
    killed_at(true, FIXTURE_TO_SERVER, "XACK", FIXTURE_STALL_BEFORE);
}

/* Acknowledging and confirming are one script, whose answer it does not live to see. */
static void killed_after_redis_has_acknowledged_and_confirmed(void **state)
{
    (void)state;
    killed_at(true, FIXTURE_TO_CLIENT, "*2\r\n:", FIXTURE_STALL_BEFORE);
}

static void killed_at_any_time_over_and_over(void **state)
{
    enum { KILLS = 12 };
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    printf("seed %u\n", seed);
    struct load *load = load_start(&(struct load_options){.producers = 2, .per_second = 400});
    for (int i = 0; i < KILLS; i++) {
        struct fixture_program *drainer = story_drainer("d1");
        drainers_await_more(1);
        fixture_sleep_ms((int)(rand_r(&seed) % 60));
        drainer_kill9(drainer);
    }
    struct fixture_program *last = story_drainer("d1");
    load_finish(load);
    drainer_stop(last);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(killed_before_it_has_begun_to_load),
        TEST(killed_with_an_open_copy),
        TEST(killed_in_a_copy),
        TEST(killed_before_it_knows_of_its_commit),
        TEST(killed_after_commit_and_before_it_has_acknowledged),
        TEST(killed_after_redis_has_acknowledged_and_confirmed),
        TEST(killed_at_any_time_over_and_over),
    };
    return cmocka_run_group_tests_name("drainer_killed", tests, NULL, NULL);
}
