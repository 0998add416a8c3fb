/* test_lanes.c: ticks and orders of one exchange, each in a lane of its own: a flood of ticks, more
 * than its journal takes, never costs an order, and does not hold it up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/figure.h"
#include "tests/fixture/story.h"

enum {
    ORDERS = 100,
    TICK_SLOTS = 256,
    BURST = 4 * TICK_SLOTS,
    SLOWER_MAX = 20 /* the flood takes one of perhaps two processors, and fills the transactions */
};

static blotter_producer *open_lane(const char *lane, uint32_t slots, enum blotter_sender sender)
{
    blotter_producer *producer;
    struct blotter_options options = {.exchange = "okx",
                                      .lane = lane,
                                      .journal = story_journals(),
                                      .slots = slots,
                                      .sender = sender};
    if (blotter_open(&producer, &options) != BLOTTER_OK) {
        fixture_fail("%s", blotter_open_error());
    }
    return producer;
}

/* --- the flood --- */

struct flood {
    blotter_producer *producer;
    pthread_t thread;
    _Atomic bool stopping;
    _Atomic int64_t accepted, full;
};

static void tick(struct flood *flood)
{
    static const struct blotter_trade trade = {
        .symbol = "BTC/USDT", .price = "64250.10", .quantity = "0.001"};
    int64_t seq = blotter_trade(flood->producer, &trade);
    atomic_fetch_add(seq > 0 ? &flood->accepted : &flood->full, 1);
}

/* Bursts of more than the journal holds. */
static void *run_flood(void *arg)
{
    struct flood *flood = arg;
    while (!atomic_load(&flood->stopping)) {
        for (int i = 0; i < BURST; i++) {
            tick(flood);
        }
        usleep(10000);
    }
    return NULL;
}

static bool is_flooding(void *arg)
{
    struct flood *flood = arg;
    return atomic_load(&flood->accepted) > 4 * TICK_SLOTS && atomic_load(&flood->full) > 0;
}

static void start_flood(struct flood *flood, enum blotter_sender sender)
{
    flood->producer = open_lane("ticks", TICK_SLOTS, sender);
    assert_int_equal(pthread_create(&flood->thread, NULL, run_flood, flood), 0);
    assert_true(fixture_wait_until(is_flooding, flood,
                                   STORY_TIMEOUT_MS)); /* somebody sends, and not fast enough */
}

static void stop_flood(struct flood *flood)
{
    atomic_store(&flood->stopping, true);
    pthread_join(flood->thread, NULL);
    blotter_close(flood->producer, STORY_TIMEOUT_MS);
}

/* --- orders --- */

static bool is_sent(blotter_producer *producer, int64_t seq)
{
    struct blotter_stats stats;
    blotter_stats(producer, &stats);
    return stats.sent >= seq;
}

/* PostgreSQL has it; where another process sends, which we cannot wait for, Redis has. */
static void await_stored(blotter_producer *producer, int64_t seq)
{
    int status = blotter_wait(producer, seq, BLOTTER_COMMITTED, STORY_TIMEOUT_MS);
    int64_t until = fixture_now_ms() + STORY_TIMEOUT_MS;
    while (status == BLOTTER_NO_SENDER && !is_sent(producer, seq) && fixture_now_ms() < until) {
        usleep(100);
    }
    assert_true(status == BLOTTER_OK || (status == BLOTTER_NO_SENDER && is_sent(producer, seq)));
}

/* Measures how long that takes, in ns, each order by itself: sorted. */
static void time_orders(blotter_producer *producer, int64_t times[ORDERS])
{
    for (int i = 0; i < ORDERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        int64_t began = figure_now_ns(),
                seq = blotter_order(producer,
                                    &(struct blotter_order){.order_id = id, .status = "open"});
        assert_true(seq > 0); /* not FULL */
        await_stored(producer, seq);
        times[i] = figure_now_ns() - began;
    }
    figure_sort(times, ORDERS);
}

static void assert_not_delayed(const int64_t calm[ORDERS], const int64_t flooded[ORDERS])
{
    print_message(
        "orders: calm p50 %.1f ms, p99 %.1f ms; flooded p50 %.1f ms, p99 %.1f ms\n",
        figure_percentile(calm, ORDERS, 50) / 1e6, figure_percentile(calm, ORDERS, 99) / 1e6,
        figure_percentile(flooded, ORDERS, 50) / 1e6, figure_percentile(flooded, ORDERS, 99) / 1e6);
    assert_true(figure_percentile(flooded, ORDERS, 50) <
                figure_percentile(calm, ORDERS, 50) * SLOWER_MAX);
}

static void measure(enum blotter_sender sender)
{
    int64_t calm[ORDERS], flooded[ORDERS];
    struct flood flood = {.full = 0};
    story_drainer("d");
    blotter_producer *orders = open_lane(NULL, 4096, sender);
    time_orders(orders, calm);
    start_flood(&flood, sender);
    time_orders(orders, flooded);
    stop_flood(&flood);
    blotter_close(orders, STORY_TIMEOUT_MS);
    print_message("ticks: %" PRId64 " accepted, %" PRId64 " FULL\n", atomic_load(&flood.accepted),
                  atomic_load(&flood.full));
    assert_not_delayed(calm, flooded);
    story_await_int(2, "SELECT count(*) FROM blotter.audit WHERE state = 'complete'");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 2 * ORDERS);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.trades"),
                     atomic_load(&flood.accepted));
    story_audit(0);
}

static void a_flood_of_ticks_costs_and_delays_no_order(void **state)
{
    (void)state;
    measure(BLOTTER_SENDER_THREAD);
}

static void a_flood_of_ticks_delays_no_order_that_ship_sends(void **state)
{
    (void)state;
    story_start("ship");
    measure(BLOTTER_SENDER_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_flood_of_ticks_costs_and_delays_no_order),
        TEST(a_flood_of_ticks_delays_no_order_that_ship_sends),
    };
    return cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
