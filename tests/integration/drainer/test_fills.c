/* test_fills.c: an execution is told by several: the order's events, the trade history, another
 * process, again after a reconnect. It counts once in positions, also after the day it was recorded
 * on has been dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/fixture/story.h"

#define YESTERDAY_MS (-86400000)
enum { NOW_MS = 3600000 }; /* story_time_ns(0) is an hour ago, which may be yesterday */

static const struct blotter_order fill_event = {.order_id = "4611",
                                                .symbol = "BTC/USDT",
                                                .account = "main",
                                                .side = "buy",
                                                .event = "fill",
                                                .status = "partially_filled",
                                                .trade_id = "t1",
                                                .last_price = "100.00",
                                                .last_quantity = "0.250",
                                                .fee = "0.0250",
                                                .fee_currency = "USDT",
                                                .cost =
                                                    "9999"}; /* cumulative: none of this fill's */
static const struct blotter_trade own_trade = {.order_id = "4611",
                                               .symbol = "BTC/USDT",
                                               .account = "main",
                                               .side = "buy",
                                               .trade_id = "t1",
                                               .price = "100.00",
                                               .quantity = "0.250",
                                               .fee = "0.0250",
                                               .fee_currency = "USDT"};

static const char *positions(void)
{
    return story_table("SELECT exchange, account, symbol, quantity, average_price, realized_pnl, "
                       "fees->>'USDT', fills FROM blotter.positions "
                       "ORDER BY 1, 2, 3");
}

/* As order event and as own trade, each by two processes. */
static void add_fill_four_times(int64_t at_ms)
{
    for (int process = 1; process <= 2; process++) {
        story_add_order("blotter:okx", process, 1, at_ms + process, &fill_event);
        story_add_trade("blotter:okx", process, 2, at_ms + process, &own_trade);
    }
}

static void add_another_fill(int64_t at_ms)
{
    struct blotter_trade trade = own_trade;
    trade.trade_id = "t2";
    trade.side = "sell";
    trade.quantity = "0.100";
    story_add_trade("blotter:okx", 3, 1, at_ms, &trade);
}

static void a_fill_told_four_times_counts_once(void **state)
{
    (void)state;
    add_fill_four_times(NOW_MS);
    story_add_trade("blotter:okx", 9, 1, NOW_MS, /* a public one: nobody's */
                    &(struct blotter_trade){.symbol = "BTC/USDT",
                                            .trade_id = "t9",
                                            .side = "buy",
                                            .price = "100",
                                            .quantity = "7"});
    story_drain_once();
    assert_int_equal(story_int("SELECT (SELECT count(*) FROM blotter.order_events) + (SELECT "
                               "count(*) FROM blotter.trades)"),
                     5);
    assert_string_equal(story_table("SELECT trade_id, quantity FROM blotter.fills"), "t1 0.250");
    assert_string_equal(positions(), "okx main BTC/USDT 0.25 100 0 0.025 1");
}

static void a_fill_is_counted_from_whichever_kind_there_is(void **state)
{
    (void)state;
    story_add_order("blotter:okx", 1, 1, NOW_MS, &fill_event);
    story_drain_once();
    assert_string_equal(positions(), "okx main BTC/USDT 0.25 100 0 0.025 1");
    add_another_fill(NOW_MS);
    story_drain_once();
    assert_string_equal(positions(), "okx main BTC/USDT 0.15 100 0 0.05 2");
}

static void without_a_trade_id_only_order_events_count(void **state)
{
    (void)state;
    static const char *const no_ids[] = {NULL, "", "0", "-1"};
    for (int i = 0; i < 4; i++) {
        struct blotter_order order = fill_event;
        struct blotter_trade trade = own_trade;
        order.trade_id = trade.trade_id = no_ids[i];
        story_add_order("blotter:okx", 1, 2 * i + 1, NOW_MS, &order);
        story_add_trade("blotter:okx", 1, 2 * i + 2, NOW_MS, &trade);
    }
    story_drain_once();
    assert_string_equal(positions(), "okx main BTC/USDT 1 100 0 0.1 4");
}

/* The three steps of dropping what was recorded before today. */
static void drop_days_before_today(void)
{
    const char *statement;
    story_sql("SELECT blotter_internal.aggregate_days(blotter_internal.today())");
    while (*(statement = story_sql(
                 "SELECT CASE state WHEN 'detach' THEN format('ALTER TABLE blotter.%%I "
                 "DETACH PARTITION blotter_internal.%%I "
                 "CONCURRENTLY', \"table\", partition) ELSE format('DROP TABLE "
                 "blotter_internal.%%I', partition) END "
                 "FROM blotter_internal.partitions WHERE state IN ('detach', 'drop') LIMIT 1"))) {
        story_sql("%s", statement);
    }
}

static void dropping_a_day_leaves_positions_as_they_were(void **state)
{
    (void)state;
    add_fill_four_times(YESTERDAY_MS);
    add_another_fill(NOW_MS);
    story_drain_once();
    const char *before = positions();
    assert_string_equal(before, "okx main BTC/USDT 0.15 100 0 0.05 2");
    drop_days_before_today();
    assert_int_equal(story_int("SELECT (SELECT count(*) FROM blotter.order_events) + (SELECT "
                               "count(*) FROM blotter.trades)"),
                     1);
    assert_string_equal(positions(), before);

    /* Told once more today, by a process that reads the venue's history; and read again from the
     * stream. */
    story_add_trade("blotter:okx", 4, 1, NOW_MS, &own_trade);
    fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    story_drain_once();
    assert_int_equal(story_int("SELECT (SELECT count(*) FROM blotter.order_events) + (SELECT "
                               "count(*) FROM blotter.trades)"),
                     2);
    assert_string_equal(positions(), before);
    assert_int_equal(story_pending(), 0);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    story_audit(0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_fill_told_four_times_counts_once),
        TEST(a_fill_is_counted_from_whichever_kind_there_is),
        TEST(without_a_trade_id_only_order_events_count),
        TEST(dropping_a_day_leaves_positions_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
