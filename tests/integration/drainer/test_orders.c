/* test_orders.c: blotter.orders, the latest state of every order, is the same whatever way its
 * events come, and keeps apart what is not the same order. The merge itself is tested in SQL; here
 * events go through streams and drainers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/fixture/story.h"

/* --- one history in every order --- */

enum {
    EVENTS = 5,
    WAYS = 120, /* 5! */
};

/* Known by its client id alone, then by both; filled in two parts; and then a REST answer that was
 * asked for before the last fill. Each says something that the others do not. */
static const struct blotter_order history[EVENTS] = {
    {.status = "pending_new",
     .strategy = "mm",
     .symbol = "BTC/USDT",
     .side = "buy",
     .price = "67123.10",
     .quantity = "0.250"},
    {.order_id = "o",
     .status = "open",
     .event = "new",
     .time_in_force = "GTC",
     .post_only = BLOTTER_TRUE},
    {.order_id = "o",
     .status = "partially_filled",
     .event = "fill",
     .filled_quantity = "0.100",
     .last_quantity = "0.100",
     .fee = "-0.10"},
    {.order_id = "o",
     .status = "filled",
     .event = "fill",
     .filled_quantity = "0.250",
     .last_quantity = "0.150",
     .liquidity = "maker"},
    {.order_id = "o", .status = "open", .filled_quantity = "0.100", .extra = "{\"rest\": 1.10}"},
};

/* The order that all events leave, by (recorded_at, seq): the last value of each field, except the
 * status that ends it and the largest filled quantity. */
static const char state_sql[] =
    "SELECT exchange, account, scope, provisional, symbol, strategy, status, terminal, event, "
    "side, "
    "time_in_force, price, quantity, "
    "filled_quantity, last_quantity, fee, liquidity, post_only, extra, seq, count(*) FROM "
    "blotter.orders GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, "
    "9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20";
static const char state_is[] = "okx   f BTC/USDT mm filled t fill buy GTC 67123.10 0.250 0.250 "
                               "0.150 -0.10 maker t {\"rest\": 1.10} 5 120";

/* The way of that number, from 0: a permutation of 0 .. EVENTS - 1. */
static void make_way(int number, int way[EVENTS])
{
    int left[EVENTS] = {0, 1, 2, 3, 4};
    for (int i = 0, count = EVENTS; i < EVENTS; i++, count--) {
        int pick = number % count;
        number /= count;
        way[i] = left[pick];
        memmove(&left[pick], &left[pick + 1], (size_t)(count - pick - 1) * sizeof *left);
    }
}

/* Each way is an order, and a producer, of its own; when things happened is the same for all. */
static void add_event(const char *stream, int way, int event)
{
    char order_id[16], client_order_id[16];
    struct blotter_order order = history[event];
    snprintf(order_id, sizeof order_id, "o%d", way);
    snprintf(client_order_id, sizeof client_order_id, "c%d", way);
    order.order_id = order.order_id ? order_id : NULL;
    order.client_order_id = client_order_id;
    story_add_order(stream, 1000 + way, event + 1, event * 10, &order);
}

static void assert_one_state(void)
{
    assert_string_equal(story_table("%s", state_sql), state_is);
    assert_int_equal(
        story_int(
            "SELECT count(*) FROM blotter.orders WHERE order_key = order_id AND order_key = 'o' || "
            "producer_id - 1000 "
            "AND client_order_id = 'c' || producer_id - 1000 AND recorded_at = '%s'::timestamptz + "
            "interval '40 ms' AND first_recorded_at = recorded_at - interval '40 ms'",
            story_sql("SELECT min(recorded_at)::text FROM blotter.order_events")),
        WAYS);
    assert_int_equal(story_int("SELECT count(*) FROM blotter_internal.order_errors"), 0);
}

static void any_order_of_arrival_one_by_one_leaves_the_same_row(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");
    for (int step = 0; step < EVENTS; step++) {
        for (int number = 0; number < WAYS; number++) {
            int way[EVENTS];
            make_way(number, way);
            add_event("blotter:okx", number, way[step]);
        }
        story_await_int(
            (step + 1) * WAYS,
            "SELECT count(*) FROM blotter.order_events"); /* each step is transactions of its own */
    }
    assert_one_state();
    story_await_drained();
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

static void any_order_of_arrival_in_one_batch_leaves_the_same_row(void **state)
{
    (void)state;
    for (int number = 0; number < WAYS; number++) {
        int way[EVENTS];
        make_way(number, way);
        for (int step = 0; step < EVENTS; step++) {
            add_event("blotter:okx", number, way[step]);
        }
    }
    story_drain_once();
    assert_one_state();
}

/* Events of one order on two lanes, which two drainers load at the same time. */
static void two_drainers_on_two_lanes_leave_the_same_row(void **state)
{
    (void)state;
    struct fixture_program *drainers[2] = {story_drainer("d1"), story_drainer("d2")};
    story_add_order("blotter:okx:a", 1, 1, 0,
                    &(struct blotter_order){.order_id = "first", .symbol = "x"});
    story_add_order("blotter:okx:b", 2, 1, 0,
                    &(struct blotter_order){.order_id = "second", .symbol = "x"});
    for (int i = 0; i < 2; i++) {
        assert_true(fixture_program_says(drainers[i], "taken", STORY_TIMEOUT_MS));
    }
    story_await_drained();
    story_await_int(2,
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1");
    for (int number = 0; number < WAYS; number++) {
        int way[EVENTS];
        make_way(number, way);
        for (int step = 0; step < EVENTS; step++) {
            add_event((number + way[step]) % 2 ? "blotter:okx:a" : "blotter:okx:b", number,
                      way[step]);
        }
    }
    story_await_int(WAYS * EVENTS + 2, "SELECT count(*) FROM blotter.order_events");
    assert_true(story_int("SELECT count(DISTINCT drainer) FROM blotter_internal.progress") == 2);
    story_sql("DELETE FROM blotter.orders WHERE symbol = 'x'");
    story_sql("DELETE FROM blotter.order_events WHERE symbol = 'x'");
    assert_one_state();
    story_await_drained();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_program_stop(drainers[i], SIGTERM, STORY_TIMEOUT_MS), 0);
    }
}

/* --- one order, or several --- */

static const char *orders(void)
{
    return story_table(
        "SELECT order_key, provisional, symbol, client_order_id, status, price FROM blotter.orders "
        "ORDER BY provisional, scope, order_key, client_order_id");
}

/* Publishes the lines, and has them loaded: all in one batch, or each in one of its own. */
static void record(const char *exchange, bool one_by_one, const char *const *lines)
{
    const char *all = "";
    for (size_t i = 0; !one_by_one && lines[i]; i++) {
        all = fixture_format("%s%s\n", all, lines[i]);
    }
    if (!one_by_one) {
        story_publish(0, exchange, all);
        story_drain_once();
        return;
    }
    struct fixture_program *drainer = story_drainer("d1");
    for (size_t i = 0; lines[i]; i++) {
        story_run_program(0, STORY_ARGV("publish", "--exchange", exchange, "--until", "committed"),
                          &(struct fixture_program_options){.input = lines[i]});
    }
    story_await_drained();
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

static void client_id_first_and_the_venues_id_later_is_one_row(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"client_order_id\": \"mm-17\", \"symbol\": \"BTC/USDT\", \"status\": \"pending_new\", "
        "\"price\": \"10.100\"}",
        "{\"client_order_id\": \"mm-17\", \"order_id\": \"4611\", \"status\": \"open\"}", NULL};
    record("okx", true, (const char *const[]){lines[0], NULL});
    assert_string_equal(orders(), "mm-17 t BTC/USDT mm-17 pending_new 10.100");
    record("okx", true, (const char *const[]){lines[1], NULL});
    assert_string_equal(orders(), "4611 f BTC/USDT mm-17 open 10.100");
}

/* Holds where a batch has both, and where the merge meets the row of one before. */
static void a_late_open_does_not_reopen(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"order_id\": \"1\", \"symbol\": \"A\", \"status\": \"open\", \"price\": \"1\", "
        "\"quantity\": \"2\"}",
        "{\"order_id\": \"1\", \"status\": \"filled\", \"filled_quantity\": \"2\"}",
        "{\"order_id\": \"1\", \"status\": \"open\", \"filled_quantity\": \"0.5\"}", NULL};
    record("okx", true, lines);
    record("bitget", false, lines);
    assert_string_equal(orders(), "1 f A - filled 1\n1 f A - filled 1");
    assert_string_equal(
        story_table("SELECT exchange, terminal, filled_quantity FROM blotter.orders ORDER BY 1"),
        "bitget t 2\nokx t 2");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.open_orders"), 0);
}

static void what_an_event_does_not_say_stays_as_it_was(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"order_id\": \"1\", \"symbol\": \"A\", \"status\": \"open\", \"price\": \"1.50\", "
        "\"reduce_only\": false}",
        "{\"order_id\": \"1\", \"status\": \"canceled\", \"symbol\": null}", NULL};
    record("okx", false, lines);
    assert_string_equal(
        story_table("SELECT symbol, status, price, reduce_only FROM blotter.orders"),
        "A canceled 1.50 f");
}

static const char *const same_id_lines[] = {
    "{\"order_id\": \"28\", \"symbol\": \"BTC/USDT\", \"status\": \"open\", \"price\": \"1\"}",
    "{\"order_id\": \"28\", \"symbol\": \"ETH/USDT\", \"status\": \"open\", \"price\": \"2\"}",
    "{\"order_id\": \"28\", \"symbol\": \"SOL/USDT\", \"status\": \"open\", \"price\": \"3\"}",
    "{\"order_id\": \"28\", \"symbol\": \"ETH/USDT\", \"status\": \"filled\"}", NULL};

static void binances_order_28_under_three_symbols_is_three_orders(void **state)
{
    (void)state;
    record("binance", false, same_id_lines);
    assert_string_equal(orders(),
                        "28 f BTC/USDT - open 1\n28 f ETH/USDT - filled 2\n28 f SOL/USDT - open 3");
}

static void elsewhere_order_28_is_one_order(void **state)
{
    (void)state;
    record("okx", false, same_id_lines);
    assert_string_equal(orders(), "28 f ETH/USDT - filled 3");
}

static void reused_and_empty_client_ids_merge_nothing(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"order_id\": \"1\", \"client_order_id\": \"web\", \"symbol\": \"A\", \"status\": "
        "\"open\", \"price\": \"1\"}",
        "{\"order_id\": \"2\", \"client_order_id\": \"web\", \"symbol\": \"A\", \"status\": "
        "\"open\", \"price\": \"2\"}",
        "{\"order_id\": \"3\", \"client_order_id\": \"\", \"symbol\": \"A\", \"status\": \"open\", "
        "\"price\": \"3\"}",
        "{\"order_id\": \"4\", \"client_order_id\": \"\", \"symbol\": \"A\", \"status\": \"open\", "
        "\"price\": \"4\"}",
        "{\"order_id\": \"2\", \"client_order_id\": \"web\", \"status\": \"canceled\"}",
        "{\"order_id\": \"\", \"client_order_id\": \"\", \"status\": \"filled\"}",
        NULL};
    const char *expected = "1 f A web open 1\n2 f A web canceled 2\n3 f A  open 3\n4 f A  open 4";
    record("okx", true, lines);
    assert_string_equal(orders(), expected);
    record("bybit", false, lines);
    assert_string_equal(orders(), "1 f A web open 1\n1 f A web open 1\n2 f A web canceled 2\n2 f A "
                                  "web canceled 2\n3 f A  open 3\n"
                                  "3 f A  open 3\n4 f A  open 4\n4 f A  open 4");
    assert_int_equal(story_int("SELECT count(*) FROM blotter_internal.order_errors"), 0);
}

static void orders_can_be_made_again_from_their_events(void **state)
{
    (void)state;
    record("binance", false, same_id_lines);
    for (int number = 0; number < WAYS; number++) {
        for (int event = 0; event < EVENTS; event++) {
            add_event("blotter:okx", number, event);
        }
    }
    story_drain_once();
    const char *all_sql = "SELECT o.* FROM blotter.orders o ORDER BY order_key, exchange, account, "
                          "scope, provisional";
    const char *before = story_table("%s", all_sql);
    story_sql("SELECT blotter_internal.rebuild_orders()");
    assert_string_equal(story_table("%s", all_sql), before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(any_order_of_arrival_one_by_one_leaves_the_same_row),
        TEST(any_order_of_arrival_in_one_batch_leaves_the_same_row),
        TEST(two_drainers_on_two_lanes_leave_the_same_row),
        TEST(client_id_first_and_the_venues_id_later_is_one_row),
        TEST(a_late_open_does_not_reopen),
        TEST(what_an_event_does_not_say_stays_as_it_was),
        TEST(binances_order_28_under_three_symbols_is_three_orders),
        TEST(elsewhere_order_28_is_one_order),
        TEST(reused_and_empty_client_ids_merge_nothing),
        TEST(orders_can_be_made_again_from_their_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
