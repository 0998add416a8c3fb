/* test_shares.c: many drainers: who joins or leaves does not make the others' streams wait, and
 * none disturbs another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/load.h"

#define STREAMS 4
#define CLAIM_IDLE_MS \
    60000 /* as it is by default: what somebody would wait for, who waited for another */
#define HELD(drainer)                                                                         \
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = " \
    "'advisory' AND l.objsubid = 1 "                                                          \
    "AND a.application_name = 'blotter drain " drainer "'"

static int begin(void **state)
{
    story_begin(state);
    unsetenv("BLOTTER_REBALANCE_INTERVAL");
    return 0;
}

/* Makes two streams, both empty. */
static void await_one_each(void)
{
    for (int i = 0; i < 2; i++) {
        fixture_redis_run(story_redis, "XGROUP CREATE blotter:okx:%s other 0 MKSTREAM",
                          i == 0 ? "a" : "b");
    }
    story_await_int(1, HELD("d1"));
    story_await_int(1, HELD("d2"));
}

/* Two lanes tell of the same orders, and two drainers load them: rows are locked in one order. */
static void two_lanes_with_the_same_orders_never_deadlock(void **state)
{
    (void)state;
    int64_t before =
        story_int("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    setenv("BLOTTER_BATCH_ROWS", "40", 1);
    struct fixture_program *first = story_drainer("d1"), *second = story_drainer("d2");
    unsetenv("BLOTTER_BATCH_ROWS");
    await_one_each();
    fixture_program_signal(first, SIGSTOP); /* until there is enough for both */
    fixture_program_signal(second, SIGSTOP);
    for (int i = 1; i <= 3000; i++) {
        const char *id = fixture_format("%d", 1 + i * 7919 % 50);
        story_add_order("blotter:okx:a", 7, i, i,
                        &(struct blotter_order){.order_id = id, .filled_quantity = "1"});
        story_add_order(
            "blotter:okx:b", 8, i, i,
            &(struct blotter_order){.order_id = fixture_format("%d", 1 + i * 104729 % 50)});
    }
    fixture_program_signal(first, SIGCONT);
    fixture_program_signal(second, SIGCONT);
    story_await_drained();
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 6000);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.orders"), 50);
    assert_int_equal(story_int("SELECT count(DISTINCT drainer) FROM blotter_internal.progress"), 2);
    assert_int_equal(fixture_program_stop(first, SIGTERM, STORY_TIMEOUT_MS), 0);
    assert_int_equal(fixture_program_stop(second, SIGTERM, STORY_TIMEOUT_MS), 0);
    assert_int_equal(
        story_int("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        before);
}

/* The longest wait of another lane's record, in ms, while drainers came and went. */
static int64_t slowest_ms(void)
{
    return story_int("SELECT (1000 * max(extract(epoch FROM stored_at - recorded_at)))::bigint "
                     "FROM blotter.order_events");
}

static void who_joins_and_leaves_makes_nobody_wait(void **state)
{
    (void)state;
    struct load *loads[STREAMS];
    struct fixture_program *second;
    story_drainer("d1");
    for (int i = 0; i < STREAMS; i++) {
        loads[i] = load_start(&(struct load_options){.exchange = fixture_format("exchange-%d", i),
                                                     .per_second = 100});
        load_await_accepted(loads[i], 10);
    }
    story_await_int(STREAMS, HELD("d1"));
    for (int turn = 0; turn < 3; turn++) {
        second = story_drainer("d2");
        story_await_int(STREAMS / 2, HELD("d2"));
        load_await_accepted(loads[0], 50);
        assert_int_equal(fixture_program_stop(second, SIGTERM, STORY_TIMEOUT_MS), 0);
        story_await_int(STREAMS, HELD("d1"));
    }
    for (int i = 0; i < STREAMS; i++) {
        load_stop(loads[i]);
    }
    story_await_drained();
    print_message("the slowest record waited for %" PRId64 " ms\n", slowest_ms());
    assert_in_range(slowest_ms(), 0, CLAIM_IDLE_MS / 2);
    assert_null(strstr(
        fixture_redis_run(story_redis, "XINFO CONSUMERS blotter:exchange-0 drainers"), "d2"));
    for (int i = 0; i < STREAMS; i++) {
        load_finish(loads[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(two_lanes_with_the_same_orders_never_deadlock),
        TEST(who_joins_and_leaves_makes_nobody_wait),
    };
    return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
