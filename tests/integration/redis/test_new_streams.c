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

static int64_t calls_of(const char *command)
{
    const char *name = fixture_format("cmdstat_%s:calls=", command);
    const char *stats = strstr(fixture_redis_run(story_redis, "INFO commandstats"), name);

    return stats == NULL ? 0 : strtoll(stats + strlen(name), NULL, 10);
}

/* Calls of a command that are waited for, while keys come or not. */
struct calls {
    const char *command;
    int64_t count;
    bool keys_come;
};

static bool called(void *arg)
{
    static int64_t key;
    const struct calls *calls = arg;

    if (calls->keys_come) {
        fixture_redis_run(story_redis, "SET come%lld x", (long long)++key);
    }
    return calls_of(calls->command) >= calls->count;
}

/* Milliseconds until Redis has been sent so many of the commands. */
static int64_t time_of(struct calls calls)
{
    int64_t begin_ms = fixture_now_ms();

    fixture_redis_run(story_redis, "CONFIG RESETSTAT");
    assert_true(fixture_wait_until(called, &calls, STORY_TIMEOUT_MS));
    return fixture_now_ms() - begin_ms;
}

/* Redis pays for a look with time for each of its keys, so they are counted before. */
static void streams_are_looked_for_where_the_number_of_keys_changes(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");

    story_add_order("blotter:okx", 7, 1, 0, &(struct blotter_order){.order_id = "1"});
    story_await_int(1, "SELECT count(*) FROM blotter.order_events");
    assert_in_range(time_of((struct calls){"dbsize", 11, false}), 1500, 30000);
    assert_in_range(time_of((struct calls){"scan", 11, true}), 1500, 30000);
    fixture_redis_run(story_redis, "EVAL %s 0",
                      "for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end");
    time_of((struct calls){"scan", 21, false});
    time_of(
        (struct calls){"dbsize", 22, false}); /* of which 25 make the five seconds to the next */
    assert_in_range(calls_of("scan"), 0, 2 * 21); /* each finds about 1000 keys */
    assert_true(time_of((struct calls){"scan", 3 * 21, true}) >= 1500);
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

/* A lone record does not wait until Redis has looked at hundreds of other streams. */
static void a_lone_record_of_many_streams_is_read_by_itself(void **state)
{
    enum { STREAMS = 300 };
    (void)state;
    struct fixture_program *drainer;

    for (int i = 0; i < STREAMS; i++) {
        story_add_order(fixture_format("blotter:x%d", i), 7, i + 1, 0,
                        &(struct blotter_order){.order_id = "1"});
    }
    drainer = story_drainer("d1");
    story_await_int(STREAMS, "SELECT count(*) FROM blotter.order_events");
    story_await_drained();
    fixture_redis_run(story_redis, "CONFIG SET slowlog-log-slower-than 0");
    fixture_redis_run(story_redis, "CONFIG SET slowlog-max-len 100000");
    for (int i = 1; i <= 20; i++) {
        story_add_order("blotter:x7", 7, STREAMS + i, 0, &(struct blotter_order){.order_id = "2"});
        story_await_int(STREAMS + i, "SELECT count(*) FROM blotter.order_events");
    }
    /* Its word 8 is the first stream's name, and word 9 the second one's, or its id. */
    assert_true(fixture_redis_int(story_redis, "EVAL %s 0",
                                  "local alone = 0 "
                                  "for _, entry in ipairs(redis.call('SLOWLOG', 'GET', -1)) do "
                                  "if entry[4][1] == 'XREADGROUP' and entry[4][9] == '>' then "
                                  "alone = alone + 1 end end return alone") >= 15);
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_stream_that_is_new_is_found_while_running),
        TEST(a_stream_that_is_new_is_taken_at_once),
        TEST(streams_are_looked_for_where_the_number_of_keys_changes),
        TEST(a_lone_record_of_many_streams_is_read_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
