/* test_slow_disk.c: the disk of Redis, or of PostgreSQL, stalls: fsync does not return
 * (ill_disk.h). Submit takes as long as ever, and all that was accepted is stored, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fixture/ill_disk.h"
#include "tests/fixture/load.h"

enum {
    PRODUCERS = 2,
    MEANWHILE = 3000,         /* records accepted while the disk stalls: three seconds */
    SLOWEST_US = 1000 * 1000, /* of a submit: one that waited for the disk would take longer */
    KEPT = 100,
    KEPT_MAX = 500, /* Redis trims by whole nodes of its tree */
};

static struct load *start(void)
{
    story_drainer("usual");
    struct load *load =
        load_start(&(struct load_options){.producers = PRODUCERS, .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 500);
    load_await_stage(load, BLOTTER_COMMITTED);
    return load;
}

/* Stalls until so many are accepted, none of which may be stored meanwhile, but those that were
 * under way. */
static void stall(struct load *load)
{
    ill_disk_stall(true);
    int64_t before = load_accepted(load);
    load_await_accepted(load, MEANWHILE);
    /* not asked of PostgreSQL: a query that waits for room in its log would wait for ever */
    assert_true(load_totals(load).committed < before + MEANWHILE / 2);
}

static void assert_unmoved(struct load *load, int64_t calm_us)
{
    print_message("slowest submit: %lld us before, %lld us with the stall\n", (long long)calm_us,
                  (long long)load_slowest_us(load));
    assert_true(load_slowest_us(load) < SLOWEST_US);
    assert_int_equal(load_full(load), 0);
}

static void redis_that_waits_for_its_disk_holds_up_no_submit(void **state)
{
    (void)state;
    ill_disk_begin();
    struct fixture_redis *slow =
        fixture_redis_start(&(struct fixture_redis_options){.aof = true, .appendfsync = "always"});
    ill_disk_end();
    story_use_redis(slow);
    struct load *load = start();
    int64_t calm_us = load_slowest_us(load);
    stall(load);
    assert_true(load_accepted(load) - load_totals(load).sent > MEANWHILE / 2);
    ill_disk_stall(false);
    assert_unmoved(load, calm_us);
    load_finish(load);
}

static bool is_trimmed(void *arg)
{
    (void)arg;
    return fixture_redis_int(story_redis, "XLEN blotter:okx") < KEPT_MAX;
}

static void use_slow_postgres(void)
{
    ill_disk_begin();
    story_postgres = fixture_postgres_start(NULL);
    ill_disk_end();
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(story_postgres), 1);
    setenv("BLOTTER_KEEP_ENTRIES", fixture_format("%d", KEPT), 1);
    setenv("BLOTTER_KEEP_TIME", "0", 1);
    setenv("BLOTTER_TRIM_INTERVAL", "100ms", 1);
    story_run(0, "migrate");
}

static void postgresql_that_waits_for_its_disk_lets_the_stream_grow_and_shrink(void **state)
{
    (void)state;
    use_slow_postgres();
    struct load *load = start();
    int64_t calm_us = load_slowest_us(load);
    stall(load);
    load_await_stage(load, BLOTTER_SENT);
    assert_true(fixture_redis_int(story_redis, "XLEN blotter:okx") > MEANWHILE / 2);
    ill_disk_stall(false);
    assert_unmoved(load, calm_us);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    assert_true(fixture_wait_until(is_trimmed, NULL, STORY_TIMEOUT_MS));
    load_finish(load);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(redis_that_waits_for_its_disk_holds_up_no_submit),
        TEST(postgresql_that_waits_for_its_disk_lets_the_stream_grow_and_shrink), /* the last: it
                                                                                     leaves its
                                                                                     PostgreSQL */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
