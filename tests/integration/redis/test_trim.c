/* test_trim.c: streams stay small, and others who read them are respected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>

#include "drainer/redis/scripts.h"
#include "schema/stream.h"
#include "tests/fixture/load.h"

#define STREAM "blotter:okx"
enum { KEEP = 100 };
#define NODE \
    100 /* entries that Redis keeps together, and removes together (stream-node-max-entries) */

static int begin(void **state)
{
    story_begin(state);
    setenv("BLOTTER_KEEP_ENTRIES", "100", 1);
    setenv("BLOTTER_KEEP_TIME", "0", 1);
    setenv("BLOTTER_TRIM_INTERVAL", "100ms", 1);
    setenv("BLOTTER_GROUP_LIMIT", "1000000", 1);
    return 0;
}

static int64_t length(void)
{
    return fixture_redis_int(story_redis, "XLEN " STREAM);
}

static bool is_trimmed(void *most)
{
    return length() <= *(const int64_t *)most;
}

static void await_length(int64_t most)
{
    if (!fixture_wait_until(is_trimmed, &most, STORY_TIMEOUT_MS)) {
        fail_msg("the stream still holds %" PRId64 " entries", length());
    }
}

static void await_trimmed(void)
{
    await_length(KEEP + NODE);
}

/* As redis-cli shows it: a number, not nil, and right. */
static void assert_lag_is(int64_t lag)
{
    story_assert_says(fixture_redis_run(story_redis, "XINFO GROUPS " STREAM),
                      fixture_format("lag %" PRId64, lag));
}

static void what_is_acknowledged_is_removed_but_for_a_tail(void **state)
{
    (void)state;
    story_drainer("d1");
    story_publish(0, "okx", story_order_lines(1, 3000));
    story_await_drained();
    await_trimmed();
    assert_true(length() >= KEEP);
    assert_lag_is(0);
}

/* Waits for the drainer, which on a busy machine may be slower than the producers: what waits for
 * it cannot be trimmed. */
static void wait_for_the_drainer(struct load *load)
{
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    load_resume(load);
}

/* Never more than is under way between two trims, whatever has passed through: looked at all the
 * while. */
static void a_stream_does_not_grow_while_it_is_used(void **state)
{
    (void)state;
    int64_t longest = 0, passed = 0;
    story_drainer("d1");
    struct load *load = load_start(&(struct load_options){.producers = 2, .per_second = 2000});
    load_await_accepted(load, 1000);
    for (; passed < 20000; passed = load_accepted(load)) {
        longest = length() > longest ? length() : longest;
        load_await_accepted(load, 200);
        if (passed / 2000 != load_accepted(load) / 2000) {
            wait_for_the_drainer(load);
        }
    }
    load_finish(load);
    await_trimmed();
    print_message("of %" PRId64 " entries at most %" PRId64 " were in the stream, %" PRId64
                  " bytes at the end\n",
                  passed, longest,
                  fixture_redis_int(story_redis, "MEMORY USAGE " STREAM " SAMPLES 0"));
    assert_true(longest < passed / 2);
    assert_lag_is(0);
}

/* Reads and acknowledges everything as another group. Returns how many entries. */
static int64_t read_as_another(void)
{
    redisContext *context = fixture_redis_connect(story_redis);
    redisReply *reply =
        redisCommand(context, "XREADGROUP GROUP mine me COUNT 100000 STREAMS " STREAM " >");
    int64_t count = 0;

    assert_true(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1);
    redisReply *entries = reply->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; i++, count++) {
        freeReplyObject(
            redisCommand(context, "XACK " STREAM " mine %s", entries->element[i]->element[0]->str));
    }
    freeReplyObject(reply);
    redisFree(context);
    return count;
}

static void another_group_is_respected(void **state)
{
    (void)state;
    fixture_redis_run(story_redis, "XGROUP CREATE " STREAM " mine 0 MKSTREAM");
    struct fixture_program *drainer = story_drainer("d1");
    story_publish(0, "okx", story_order_lines(1, 3000));
    story_await_drained();
    story_publish(
        0, "okx",
        story_order_lines(3001, 1)); /* by the time that it is stored there has been a trim */
    story_await_drained();
    fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS);
    assert_int_equal(length(), 3001 + 4); /* and two `opened`, two `closed` */
    assert_int_equal(read_as_another(), length());
    story_drainer("d2");
    await_trimmed();
}

/* Whenever more than the limit waits for it: what does not, it keeps. */
static void another_group_that_does_not_move_is_overruled_and_named(void **state)
{
    enum { LIMIT = 1000 };
    (void)state;
    setenv("BLOTTER_GROUP_LIMIT", "1000", 1);
    fixture_redis_run(story_redis, "XGROUP CREATE " STREAM " asleep 0 MKSTREAM");
    struct fixture_program *drainer = story_drainer("d1");
    story_publish(0, "okx", story_order_lines(1, 500));
    story_await_drained();
    assert_int_equal(length(), 502);
    story_publish(0, "okx", story_order_lines(501, 2000));
    await_length(KEEP + LIMIT + NODE);
    assert_true(fixture_program_says(drainer, "group asleep does not keep up", STORY_TIMEOUT_MS));
    story_assert_says(story_audit(0), "complete");
}

/* --- what a trim may take --- */

/* One trim that is to keep no tail; Redis removes entries one by one here. Returns how many are
 * left. */
static int64_t left_by_trim(void)
{
    fixture_redis_run(story_redis,
                      "EVAL %s 2 " STREAM " load %s %s " STREAM_GROUP " 0 0 1000000000 1000000",
                      script_trim, "", "");
    return length();
}

/* Entries that both groups, ours and `mine`, could read. */
static void add_entries(const char *const ids[], int count)
{
    fixture_redis_run(story_redis, "CONFIG SET stream-node-max-entries 1");
    for (int i = 0; i < count; i++) {
        fixture_redis_run(story_redis, "XADD " STREAM " %s order x", ids[i]);
    }
    fixture_redis_run(story_redis, "XGROUP CREATE " STREAM " " STREAM_GROUP " 0");
    fixture_redis_run(story_redis, "XGROUP CREATE " STREAM " mine 0");
}

static void read_as(const char *group, int count)
{
    fixture_redis_run(story_redis, "XREADGROUP GROUP %s one COUNT %d STREAMS " STREAM " >", group,
                      count);
}

static void what_a_group_has_not_acknowledged_stays_whatever_was_read_behind_it(void **state)
{
    (void)state;
    static const char *const ids[] = {"1-1", "2-1", "3-1", "4-1", "5-1", "6-1"}, *const groups[] = {
                                                                                     STREAM_GROUP,
                                                                                     "mine"};
    add_entries(ids, 6);
    assert_int_equal(left_by_trim(), 6);
    for (int i = 0; i < 2; i++) {
        read_as(groups[i], 6);
    }
    assert_int_equal(left_by_trim(), 6);
    for (int i = 0; i < 2; i++) {
        fixture_redis_run(story_redis, "XACK " STREAM " %s 1-1 2-1 4-1", groups[i]);
        assert_int_equal(left_by_trim(),
                         i == 0 ? 6 : 4); /* once both have; 4-1 is behind one that is pending */
    }
    fixture_redis_run(story_redis, "XACK " STREAM " mine 3-1 5-1 6-1");
    assert_int_equal(left_by_trim(), 4);
    fixture_redis_run(story_redis, "XACK " STREAM " " STREAM_GROUP " 3-1");
    assert_int_equal(left_by_trim(), 2);
}

/* Ids are numbers, too large for a double, and of any length. */
static void the_slower_group_is_told_by_numbers(void **state)
{
    (void)state;
    static const char *const ids[] = {"9-9",
                                      "9-10",
                                      "10-1",
                                      "9007199254740992-0",
                                      "9007199254740993-0",
                                      "9007199254740993-18446744073709551615"};
    add_entries(ids, 6);
    read_as(STREAM_GROUP, 6);
    for (int i = 0; i < 6; i++) {
        read_as("mine", 1);
        fixture_redis_run(story_redis, "XACK " STREAM " mine %s", ids[i]);
        fixture_redis_run(story_redis, "XACK " STREAM " " STREAM_GROUP " %s",
                          ids[i]); /* always as far as the other has read, or on */
        assert_int_equal(left_by_trim(), 6 - i);
    }
}

static void without_our_group_nothing_goes(void **state)
{
    (void)state;
    static const char *const ids[] = {"1-1", "2-1"};
    add_entries(ids, 2);
    read_as("mine", 2);
    fixture_redis_run(story_redis, "XACK " STREAM " mine 1-1 2-1");
    fixture_redis_run(story_redis, "XGROUP DESTROY " STREAM " " STREAM_GROUP);
    assert_int_equal(left_by_trim(), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(what_is_acknowledged_is_removed_but_for_a_tail),
        TEST(a_stream_does_not_grow_while_it_is_used),
        TEST(another_group_is_respected),
        TEST(another_group_that_does_not_move_is_overruled_and_named),
        TEST(what_a_group_has_not_acknowledged_stays_whatever_was_read_behind_it),
        TEST(the_slower_group_is_told_by_numbers),
        TEST(without_our_group_nothing_goes),
    };
    return cmocka_run_group_tests_name("trim", tests, NULL, NULL);
}
