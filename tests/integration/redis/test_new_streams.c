/* test_new_streams.c: streams that appear while a drainer runs are found and taken soon. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fixture/story.h"

static void a_stream_that_is_new_is_found_while_running(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 1; i <= 3; i++) {
        story_add_order(fixture_format("blotter:exchange-%d", i), 7, i, 0,
                        &(struct blotter_order){.order_id = "1"});
        story_await_int(i, "SELECT count(*) FROM blotter.order_events");
    }
    story_await_drained();
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

/* Neither is the next look at the leases waited for. */
static void a_stream_that_is_new_is_taken_at_once(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_start(
        "drain", "--consumer", "d1", "--rebalance-interval", "60s", "--log-level", "debug");
    int64_t begin_ms = fixture_now_ms();

    for (int i = 1; i <= 3; i++) {
        story_add_order(fixture_format("blotter:exchange-%d", i), 7, i, 0,
                        &(struct blotter_order){.order_id = "1"});
        story_await_int(i, "SELECT count(*) FROM blotter.order_events");
    }
    assert_in_range(fixture_now_ms() - begin_ms, 0, 30000);
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

static bool scanned(void *arg)
{
    const char *stats =
        strstr(fixture_redis_run(story_redis, "INFO commandstats"), "cmdstat_scan:calls=");

    return stats != NULL &&
           strtoll(stats + strlen("cmdstat_scan:calls="), NULL, 10) >= *(int64_t *)arg;
}

/* Milliseconds until Redis has been sent so many SCAN commands. */
static int64_t time_of_scans(int64_t count)
{
    int64_t begin_ms = fixture_now_ms();

    fixture_redis_run(story_redis, "CONFIG RESETSTAT");
    assert_true(fixture_wait_until(scanned, &count, STORY_TIMEOUT_MS));
    return fixture_now_ms() - begin_ms;
}

/* Redis pays for a look with time for each of its keys. */
static void streams_are_looked_for_often_where_keys_are_few(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");

    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "1"});
    story_await_int(1, "SELECT count(*) FROM blotter.order_events");
    assert_in_range(time_of_scans(11), 1500, 8000);
    fixture_redis_run(story_redis, "EVAL %s 0",
                      "for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end");
    time_of_scans(21);
    assert_true(time_of_scans(3 * 21) >= 1500); /* of which each finds about 1000 keys */
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_stream_that_is_new_is_found_while_running),
        TEST(a_stream_that_is_new_is_taken_at_once),
        TEST(streams_are_looked_for_often_where_keys_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
