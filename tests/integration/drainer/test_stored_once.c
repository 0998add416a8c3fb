/* test_stored_once.c: whatever is sent again or read again is stored once, and `blotter audit`
 * proves it, or says what is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <string.h>

#include "tests/fixture/story.h"

#define ROWS                                                                                     \
    "(SELECT producer_id, seq FROM blotter.order_events UNION ALL SELECT producer_id, seq FROM " \
    "blotter_internal.sessions) AS r"

/* Each order 1 .. count has one event, and no identity has two rows. */
static void assert_orders_once(int64_t count)
{
    assert_string_equal(story_table("SELECT count(*), count(DISTINCT order_id), max(order_id::int) "
                                    "FROM blotter.order_events"),
                        fixture_format("%" PRId64 " %" PRId64 " %" PRId64, count, count, count));
    assert_int_equal(story_int("SELECT count(*) - count(DISTINCT (producer_id, seq)) FROM " ROWS),
                     0);
}

static void assert_complete(void)
{
    story_assert_says(story_audit(0), "\ncomplete: ");
    assert_int_equal(story_int("SELECT count(*) FROM blotter.audit WHERE state <> 'complete' OR "
                               "missing + in_flight > 0"),
                     0);
    story_run(0, "audit", "--quick");
    assert_int_equal(
        story_int("SELECT count(*) FROM blotter_internal.audit_quick WHERE state <> 'complete'"),
        0);
}

static int64_t length_of(const char *stream)
{
    return fixture_redis_int(story_redis, "XLEN %s", stream);
}

/* --- sent again --- */

/* The journal that the first publish left holds everything, as no drainer has said a word. The word
 * that comes later is lost, so the second publish has to send it all again. */
static void a_journal_that_is_published_again_is_stored_once(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 200));
    story_drain_once();
    int64_t length = length_of("blotter:okx");
    fixture_redis_run(story_redis, "EVAL %s 0",
                      "return redis.call('DEL', unpack(redis.call('KEYS', 'blotter-ack:*')))");

    struct fixture_program *drainer = story_drainer("d1");
    struct fixture_program *again = story_run_program(
        0, STORY_ARGV("publish", "--exchange", "okx", "--until", "committed"), NULL);
    story_assert_says(fixture_program_stdout(again), "\"accepted\": 0,");
    assert_true(length_of("blotter:okx") >= length + 200); /* it did send them */
    story_await_drained();
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
    assert_orders_once(200);
    assert_complete();
}

struct stream_length {
    const char *stream;
    int64_t length;
};

static bool is_longer(void *arg)
{
    const struct stream_length *awaited = arg;
    return length_of(awaited->stream) >= awaited->length;
}

/* Its accepted records are a beginning of its input, and all of them are stored, once. */
static void a_publish_that_is_killed_half_way_and_run_again_loses_nothing(void **state)
{
    (void)state;
    struct story_feed feed = story_feed("okx", "sent");
    story_feed_orders(&feed, 500);
    assert_true(fixture_wait_until(is_longer, &(struct stream_length){"blotter:okx", 300},
                                   STORY_TIMEOUT_MS));
    story_feed_orders(&feed, 1500);
    story_feed_kill(&feed);

    story_publish(0, "okx", "");
    story_drain_once();
    int64_t stored = story_int("SELECT count(*) FROM blotter.order_events");
    assert_in_range(stored, 300, 2000);
    assert_orders_once(stored);
    assert_int_equal(story_int("SELECT count(DISTINCT producer_id) FROM blotter_internal.sessions"),
                     1);
    assert_complete();
}

/* --- read again --- */

static void publish_two_exchanges(void)
{
    story_publish(0, "okx", story_order_lines(1, 300));
    story_publish(0, "bitget", story_order_lines(301, 300));
    story_drain_once();
    assert_orders_once(600);
}

/* 600 orders, and `opened` and `closed` of two producers, were read and acknowledged, and no row
 * came of it. */
static void assert_drained_in_vain(const char *log)
{
    story_assert_says(log, "acked=604");
    assert_orders_once(600);
    assert_complete();
    assert_int_equal(story_pending(), 0);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    assert_int_equal(story_int("SELECT sum(stored) FROM blotter_internal.progress"), 604);
}

static void a_group_that_is_set_back_is_read_again_and_stored_once(void **state)
{
    (void)state;
    publish_two_exchanges();
    fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    fixture_redis_run(story_redis, "XGROUP SETID blotter:bitget drainers 0");
    assert_drained_in_vain(story_drain_once());
}

static void a_group_that_is_destroyed_is_read_again_and_stored_once(void **state)
{
    (void)state;
    publish_two_exchanges();
    fixture_redis_run(story_redis, "XGROUP DESTROY blotter:okx drainers");
    fixture_redis_run(story_redis, "XGROUP DESTROY blotter:bitget drainers");
    assert_drained_in_vain(story_drain_once());
}

static void entries_from_another_client_are_stored_once_too(void **state)
{
    (void)state;
    const unsigned char record[] = "\x81\xa8order_id\xa2"
                                   "42";
    for (int i = 0; i < 5; i++) { /* equal records under ids of their own are five */
        story_add("blotter:okx", "order", record, sizeof record - 1);
    }
    story_drain_once();
    fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    story_drain_once();
    assert_int_equal(
        story_int(
            "SELECT count(*) FROM blotter.order_events WHERE order_id = '42' AND producer_id < 0"),
        5);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.audit"), 0);
    story_audit(0);
}

/* --- missing --- */

static void assert_audit_names(const char *table, int64_t producer_id, int64_t seq)
{
    const char *where =
        fixture_format("producer_id = %" PRId64 " AND seq = %" PRId64, producer_id, seq);
    story_sql("CREATE TABLE deleted AS SELECT * FROM %s WHERE %s", table, where);
    story_sql("DELETE FROM %s WHERE %s", table, where);
    assert_int_equal(story_int("SELECT count(*) FROM deleted"), 1);

    const char *answer = story_audit(1);
    story_assert_says(answer, "\nmissing: ");
    story_assert_says(answer, fixture_format("missing: producer %" PRId64 " of okx, seq %" PRId64
                                             " (1 records)",
                                             producer_id, seq));
    assert_null(strstr(answer, "of bitget")); /* nothing of the other one is missing */
    story_assert_says(fixture_program_stdout(story_run(1, "audit", "--json")),
                      "\"state\": \"missing\"");

    story_sql("INSERT INTO %s SELECT * FROM deleted", table);
    story_sql("DROP TABLE deleted");
    story_audit(0);
}

static void a_deleted_row_is_missed_whichever_it_is(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 50));
    story_publish(0, "bitget", story_order_lines(51, 50));
    story_drain_once();
    assert_complete();
    int64_t producer_id =
        story_int("SELECT producer_id FROM blotter.order_events WHERE exchange = 'okx' LIMIT 1");
    assert_audit_names("blotter_internal.sessions", producer_id, 1); /* `opened`, the very first */
    assert_audit_names("blotter.order_events", producer_id, 2);
    assert_audit_names("blotter.order_events", producer_id, 27);
    assert_audit_names("blotter.order_events", producer_id,
                       51); /* the last order; 52 is `closed` */
    assert_complete();
}

/* Without its last word nobody can know that it was the last: it is open again, and never called
 * complete. */
static void a_producer_whose_last_word_is_deleted_is_not_complete(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 5));
    story_drain_once();
    assert_complete();
    story_sql("DELETE FROM blotter_internal.sessions WHERE event = 'closed'");
    story_assert_says(story_audit(0), "\nopen: ");
    assert_string_equal(story_table("SELECT state, up_to_seq FROM blotter.audit"), "open 6");
}

static void records_in_flight_are_open_and_not_missing(void **state)
{
    (void)state;
    const struct blotter_order order = {.order_id = "1", .status = "open"};
    story_add_order("blotter:okx", 77, 1, 0, &order);
    story_add_order("blotter:okx", 77, 2, 0, &order);
    story_add_order("blotter:okx", 77, 4, 0, &order); /* 3 is on its way */
    story_drain_once();
    const char *answer = story_audit(0);
    story_assert_says(answer, "\nopen: ");
    assert_null(strstr(answer, "missing: producer"));
    assert_string_equal(
        story_table("SELECT state, up_to_seq, last_seq, missing, in_flight FROM blotter.audit"),
        "open 2 4 0 1");
    assert_string_equal(story_table("SELECT from_seq, to_seq, state FROM blotter.gaps"),
                        "3 3 in flight");
}

/* As a session record says it; beside the order of that number, whose day has tables. */
static void say(int64_t producer_id, int64_t seq, const char *event, const char *follows,
                int64_t last, int64_t confirmed)
{
    story_sql(
        "INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, "
        "follows, last_seq, confirmed_seq) "
        "SELECT %" PRId64 ", %" PRId64 ", max(recorded_at), 'okx', '%s', %s, %" PRId64 ", %" PRId64
        " FROM blotter.order_events",
        producer_id, seq, event, follows, last, confirmed);
}

/* The producer knew that it was committed, while it was open. */
static void a_record_that_was_confirmed_is_missing_and_not_in_flight(void **state)
{
    (void)state;
    for (int seq = 1; seq <= 5; seq++) {
        if (seq != 2 && seq != 4) {
            story_add_order("blotter:okx", 77, seq, 0, &(struct blotter_order){.order_id = "1"});
        }
    }
    story_drain_once();
    say(77, 6, "heartbeat", "NULL", 6, 3);
    story_assert_says(story_audit(1), "missing: producer 77 of okx, seq 2 (1 records)");
    assert_string_equal(
        story_table("SELECT state, up_to_seq, last_seq, missing, in_flight FROM blotter.audit"),
        "missing 1 6 1 1");
    assert_string_equal(story_table("SELECT from_seq, state FROM blotter.gaps ORDER BY 1"),
                        "2 missing\n4 in flight");
}

/* Nobody of ours stores a number under two times; blocks of numbers are told apart all the same. */
static void a_row_too_many_does_not_hide_one_that_is_missing(void **state)
{
    (void)state;
    static const int64_t seqs[] = {1, 2, 4, 4};
    for (int i = 0; i < 4; i++) {
        story_add_order("blotter:okx", 77, seqs[i], i, &(struct blotter_order){.order_id = "1"});
    }
    story_drain_once();
    say(77, 5, "closed", "NULL", 5, 4);
    story_assert_says(story_audit(1), "missing: producer 77 of okx, seq 3 (1 records)");
}

/* Not one record of it has arrived, nor its own last word; who took its journal over says how far
 * it had come. */
static void a_producer_of_which_only_its_successor_tells_is_missed(void **state)
{
    (void)state;
    story_add_order("blotter:okx", 78, 2, 0, &(struct blotter_order){.order_id = "1"});
    story_drain_once();
    say(78, 1, "opened", "77", 9, 6);
    story_assert_says(story_audit(1), "missing: producer 77 of okx, seq 1-6 (6 records)");
    assert_string_equal(story_table("SELECT producer_id, state, last_seq, missing, in_flight FROM "
                                    "blotter.audit ORDER BY 1"),
                        "77 missing 9 6 3\n78 open 2 0 0");
    story_run(1, "audit", "--quick");
    assert_string_equal(story_table("SELECT state, settled, last_seq FROM "
                                    "blotter_internal.audit_quick WHERE producer_id = 77"),
                        "missing 0 9");
}

static void a_producer_that_is_still_open_is_open_and_complete_once_it_has_closed(void **state)
{
    (void)state;
    struct story_feed feed = story_feed("okx", "sent");
    story_feed_orders(&feed, 100);
    assert_true(fixture_wait_until(is_longer, &(struct stream_length){"blotter:okx", 101},
                                   STORY_TIMEOUT_MS));
    story_drain_once();
    story_assert_says(story_audit(0), "\nopen: ");
    assert_string_equal(story_table("SELECT state, up_to_seq FROM blotter.audit"), "open 101");
    story_feed_end(&feed, 0);
    story_drain_once();
    assert_complete();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_journal_that_is_published_again_is_stored_once),
        TEST(a_publish_that_is_killed_half_way_and_run_again_loses_nothing),
        TEST(a_group_that_is_set_back_is_read_again_and_stored_once),
        TEST(a_group_that_is_destroyed_is_read_again_and_stored_once),
        TEST(entries_from_another_client_are_stored_once_too),
        TEST(a_deleted_row_is_missed_whichever_it_is),
        TEST(a_producer_whose_last_word_is_deleted_is_not_complete),
        TEST(records_in_flight_are_open_and_not_missing),
        TEST(a_record_that_was_confirmed_is_missing_and_not_in_flight),
        TEST(a_row_too_many_does_not_hide_one_that_is_missing),
        TEST(a_producer_of_which_only_its_successor_tells_is_missed),
        TEST(a_producer_that_is_still_open_is_open_and_complete_once_it_has_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
