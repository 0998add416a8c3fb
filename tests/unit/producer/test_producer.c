/* test_producer.c: the public functions without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "producer/blotter.h"

static char path[64];

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static blotter_producer *open_none(void)
{
    blotter_producer *producer;
    struct blotter_options options = {.exchange = "okx",
                                      .journal = path,
                                      .slots = 64,
                                      .slot_bytes = 512,
                                      .sender = BLOTTER_SENDER_NONE};
    if (blotter_open(&producer, &options) != 0) {
        fail_msg("%s", blotter_open_error());
    }
    return producer;
}

static const struct blotter_order good = {.order_id = "1", .price = "10.100"};

static void submit_numbers_records_densely(void **state)
{
    (void)state;
    blotter_producer *producer = open_none();
    struct blotter_stats stats;
    assert_int_equal(blotter_order(producer, &good), 2); /* `opened` is 1 */
    assert_int_equal(
        blotter_trade(producer,
                      &(struct blotter_trade){.symbol = "BTC", .price = "1", .quantity = "2"}),
        3);
    assert_int_equal(blotter_stats(producer, &stats), 0);
    assert_int_equal(stats.accepted, 3);
    assert_int_equal(stats.held, 3);
    assert_int_equal(stats.slots, 64);
    assert_true(stats.producer_id > 0);
    assert_string_equal(stats.journal, path);
    assert_int_equal(blotter_close(producer, 0), 4); /* with `closed`, none is sent */
}

static void one_submit_in_64_is_timed(void **state)
{
    (void)state;
    struct blotter_stats stats;
    blotter_producer *producer;
    struct blotter_options options = {
        .exchange = "okx", .journal = path, .slots = 1024, .sender = BLOTTER_SENDER_NONE};
    assert_int_equal(blotter_open(&producer, &options), 0);
    assert_int_equal(blotter_stats(producer, &stats), 0);
    assert_int_equal(blotter_percentile(&stats.submit_ns, 50), -1);
    uint64_t timed = 0;
    for (int i = 0; i < 640; i++) {
        assert_true(blotter_order(producer, &good) > 0);
    }
    assert_int_equal(blotter_stats(producer, &stats), 0);
    for (int i = 0; i < BLOTTER_BUCKETS; i++) {
        timed += stats.submit_ns.count[i];
    }
    assert_int_equal(timed, 10);
    assert_in_range(blotter_percentile(&stats.submit_ns, 50), 1, 1000000000);
    blotter_close(producer, 0);
}

static void submit_returns_full_when_nothing_is_committed(void **state)
{
    (void)state;
    blotter_producer *producer = open_none();
    struct blotter_stats stats;
    for (int i = 2; i <= 64; i++) {
        assert_int_equal(blotter_order(producer, &good), i);
    }
    assert_int_equal(blotter_order(producer, &good), BLOTTER_FULL);
    assert_int_equal(blotter_order(producer, &good), BLOTTER_FULL);
    assert_int_equal(blotter_stats(producer, &stats), 0);
    assert_int_equal(stats.full, 2);
    assert_int_equal(stats.accepted, 64);
    assert_int_equal(blotter_close(producer, 0), 64);
}

static void an_invalid_record_names_its_field_and_changes_nothing(void **state)
{
    (void)state;
    static char long_text[2000];
    blotter_producer *producer = open_none();
    struct blotter_stats stats;
    assert_int_equal(
        blotter_trade(producer,
                      &(struct blotter_trade){.symbol = "BTC", .price = "NaN", .quantity = "1"}),
        BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "price: "));
    assert_int_equal(blotter_order(producer, &(struct blotter_order){.symbol = "BTC"}),
                     BLOTTER_INVALID);
    assert_true(strlen(blotter_problem()) > 0);
    assert_int_equal(
        blotter_trade(producer, &(struct blotter_trade){.symbol = "BTC", .price = "1"}),
        BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "quantity"));
    assert_int_equal(blotter_order(producer, &(struct blotter_order){.order_id = "\xff"}),
                     BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "order_id"));
    memset(long_text, 'x', 900);
    assert_int_equal(
        blotter_order(producer, &(struct blotter_order){.order_id = "1", .reason = long_text}),
        BLOTTER_TOO_LONG);
    memset(long_text, 'x', sizeof long_text - 1);
    assert_int_equal(blotter_order(producer, &(struct blotter_order){.order_id = long_text}),
                     BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "order_id"));
    assert_int_equal(blotter_stats(producer, &stats), 0);
    assert_int_equal(stats.invalid, 6);
    assert_int_equal(stats.accepted, 0);
    assert_int_equal(blotter_order(producer, &good), 2);
    blotter_close(producer, 0);
}

static void a_wrong_value_is_counted_and_does_not_cost_the_record(void **state)
{
    (void)state;
    blotter_producer *producer = open_none();
    struct blotter_stats stats;
    assert_int_equal(blotter_order(producer, &(struct blotter_order){.order_id = "1",
                                                                     .price = "NaN",
                                                                     .exchange_time = 1700000000}),
                     2);
    assert_non_null(strstr(blotter_problem(), "exchange_time: "));
    assert_int_equal(blotter_stats(producer, &stats), 0);
    assert_int_equal(stats.misplaced, 2);
    assert_int_equal(stats.invalid, 0);
    blotter_close(producer, 0);
}

static void without_a_sender_nobody_can_wait(void **state)
{
    (void)state;
    blotter_producer *producer = open_none();
    assert_int_equal(blotter_wait(producer, 1, BLOTTER_SENT, 0), BLOTTER_NO_SENDER);
    assert_int_equal(blotter_flush(producer, BLOTTER_COMMITTED, 0), BLOTTER_NO_SENDER);
    assert_int_equal(blotter_notify(producer, 1, BLOTTER_SENT, 1), BLOTTER_NO_SENDER);
    blotter_close(producer, 0);
}

static void a_closed_handle_says_so(void **state)
{
    (void)state;
    blotter_producer *producer = open_none();
    struct blotter_stats stats;
    blotter_close(producer, 0);
    assert_int_equal(blotter_order(producer, &good), BLOTTER_CLOSED);
    assert_int_equal(blotter_stats(producer, &stats), BLOTTER_CLOSED);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, 0), BLOTTER_CLOSED);
}

static void a_child_is_told_and_the_parent_goes_on(void **state)
{
    (void)state;
    blotter_producer *producer = open_none();
    pid_t child = fork();
    if (child == 0) {
        struct blotter_stats stats;
        blotter_prepare(producer);
        bool right = blotter_order(producer, &good) == BLOTTER_FORKED &&
                     blotter_stats(producer, &stats) == BLOTTER_FORKED &&
                     blotter_wait(producer, 1, BLOTTER_SENT, -1) == BLOTTER_FORKED &&
                     blotter_flush(producer, BLOTTER_SENT, -1) == BLOTTER_FORKED &&
                     blotter_notify(producer, 1, BLOTTER_SENT, 1) == BLOTTER_FORKED &&
                     blotter_close(producer, 0) == BLOTTER_FORKED;
        _exit(right ? 0 : 1);
    }
    int result;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    assert_int_equal(blotter_order(producer, &good), 2);
    blotter_close(producer, 0);
}

static void large_slots_take_large_records(void **state)
{
    (void)state;
    blotter_producer *producer;
    struct blotter_options options = {.exchange = "okx",
                                      .journal = path,
                                      .slots = 64,
                                      .slot_bytes = 65536,
                                      .sender = BLOTTER_SENDER_NONE};
    static char extra[40000];
    assert_int_equal(blotter_open(&producer, &options), 0);
    memset(extra, 'x', sizeof extra - 1);
    memcpy(extra, "{\"a\":\"", 6);
    memcpy(extra + sizeof extra - 3, "\"}", 3);
    assert_int_equal(
        blotter_order(producer, &(struct blotter_order){.order_id = "1", .extra = extra}), 2);
    blotter_close(producer, 0);
}

static void a_double_becomes_its_shortest_decimal(void **state)
{
    (void)state;
    char text[BLOTTER_DECIMAL_BYTES];
    assert_int_equal(blotter_decimal(67123.1, text), 7);
    assert_string_equal(text, "67123.1");
    assert_int_equal(blotter_decimal(0.1 + 0.2, text), 19);
    assert_string_equal(text, "0.30000000000000004");
    assert_int_equal(blotter_decimal(1e300, text), BLOTTER_INVALID);
    assert_string_equal(text, "");
    assert_int_equal(blotter_decimal(0.0 / 0.0, text), BLOTTER_INVALID);
}

static void expect_option(struct blotter_options options, const char *named)
{
    blotter_producer *producer;
    assert_int_equal(blotter_open(&producer, &options), BLOTTER_OPTION);
    assert_null(producer);
    assert_non_null(strstr(blotter_open_error(), named));
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    expect_option((struct blotter_options){.journal = path}, "exchange");
    expect_option((struct blotter_options){.exchange = "OKX", .journal = path}, "exchange");
    expect_option((struct blotter_options){.exchange = "okx", .lane = "a b", .journal = path},
                  "lane");
    expect_option((struct blotter_options){.exchange = "okx", .journal = path, .slots = 100},
                  "slots");
    expect_option((struct blotter_options){.exchange = "okx", .journal = path, .slot_bytes = 100},
                  "slot_bytes");
    expect_option(
        (struct blotter_options){.exchange = "okx", .journal = path, .sender = BLOTTER_SENDER_LOOP},
        "event_base");
    expect_option(
        (struct blotter_options){.exchange = "okx", .journal = path, .redis = "redis://:hidden%@x"},
        "Redis URL");
    assert_null(strstr(blotter_open_error(), "hidden"));
}

static void every_status_has_a_text(void **state)
{
    (void)state;
#define X(name, value, text) assert_string_equal(blotter_status_text(BLOTTER_##name), text);
    BLOTTER_STATUSES(X)
#undef X
    assert_non_null(blotter_status_text(-1000));
    assert_string_equal(blotter_status_text(7), "accepted");
}

#define TEST(name) cmocka_unit_test_teardown(name, remove_file)

int main(void)
{
    snprintf(path, sizeof path, "/tmp/test_producer.%d", (int)getpid());
    const struct CMUnitTest tests[] = {
        TEST(submit_numbers_records_densely),
        TEST(one_submit_in_64_is_timed),
        TEST(submit_returns_full_when_nothing_is_committed),
        TEST(an_invalid_record_names_its_field_and_changes_nothing),
        TEST(a_wrong_value_is_counted_and_does_not_cost_the_record),
        TEST(without_a_sender_nobody_can_wait),
        TEST(a_closed_handle_says_so),
        TEST(a_child_is_told_and_the_parent_goes_on),
        TEST(large_slots_take_large_records),
        TEST(a_double_becomes_its_shortest_decimal),
        TEST(wrong_options_are_named),
        TEST(every_status_has_a_text),
    };
    return cmocka_run_group_tests_name("producer", tests, NULL, NULL);
}
