/* test_partitions.c: `blotter partitions` lists the days there are and drops old ones; positions,
 * orders and the audit stay as they were at every step of it, whoever else is at work, and wherever
 * a run was cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fixture/story.h"

#define STREAM "blotter:okx"
#define DAY_MS INT64_C(86400000)
#define NOW_MS INT64_C(3600000) /* story_time_ns(0) is an hour ago */

/* --- what was recorded --- */

static void add_fill(int64_t producer_id, int64_t seq, int64_t at_ms, const char *trade_id)
{
    story_add_order(STREAM, producer_id, seq, at_ms,
                    &(struct blotter_order){.order_id = "filled",
                                            .symbol = "BTC/USDT",
                                            .account = "main",
                                            .side = "buy",
                                            .status = "filled",
                                            .trade_id = trade_id,
                                            .last_price = "100.00",
                                            .last_quantity = "0.250"});
}

/* On each of three days a fill that has an id, one that has none, and an event of an order that is
 * open all the time; today the first fill is told again. */
static void record_three_days(void)
{
    for (int day = 0; day < 3; day++) {
        int64_t at_ms = NOW_MS + (day - 2) * DAY_MS;

        add_fill(1, day * 3 + 1, at_ms, fixture_format("t%d", day));
        add_fill(1, day * 3 + 2, at_ms, NULL);
        story_add_order(STREAM, 1, day * 3 + 3, at_ms,
                        &(struct blotter_order){
                            .order_id = "open", .status = "open", .price = day == 0 ? "7" : NULL});
    }
    story_add_trade(STREAM, 2, 1, NOW_MS,
                    &(struct blotter_trade){.order_id = "filled",
                                            .symbol = "BTC/USDT",
                                            .account = "main",
                                            .side = "buy",
                                            .trade_id = "t0",
                                            .price = "100.00",
                                            .quantity = "0.250"});
    story_drain_once();
}

/* The day so long before the newest record's. */
static const char *day_before_newest(int days)
{
    return story_sql("SELECT to_char((max(recorded_at) AT TIME ZONE 'UTC')::date - %d, "
                     "'YYYY-MM-DD') FROM blotter.order_events",
                     days);
}

/* The answers that dropping days must not change. */
static const char *what_is_known(void)
{
    return fixture_format(
        "%s\n%s\n%s",
        story_table(
            "SELECT account, symbol, quantity, average_price, fills FROM blotter.positions"),
        story_table("SELECT order_key, status, price, quantity, recorded_at, seq FROM "
                    "blotter.orders ORDER BY 1"),
        story_table("SELECT producer_id, state, up_to_seq, last_seq, missing, in_flight FROM "
                    "blotter.audit ORDER BY 1"));
}

enum { TABLES = RECORD_KINDS - 1 }; /* that have days: all but the sessions */

/* But for the day that comes, which a drainer makes ahead after noon. */
static int64_t count_tables(const char *state)
{
    return story_int(
        "SELECT count(*) FROM blotter_internal.partitions WHERE state IN (%s) AND day <= '%s'",
        state, day_before_newest(0));
}

static int64_t count_events(void)
{
    return story_int("SELECT (SELECT count(*) FROM blotter.order_events) + (SELECT count(*) FROM "
                     "blotter.trades)");
}

#define DUE "'detach', 'finalize', 'drop'"

/* A transaction that has read the table, and does not end: no day can be detached from it. */
static PGconn *begin_reader(const char *table)
{
    PGconn *reader = fixture_postgres_connect(story_postgres);
    PGresult *result =
        PQexec(reader, fixture_format("BEGIN; SELECT count(*) FROM blotter.%s", table));

    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    return reader;
}

/* --- list, and what is asked --- */

static void list_shows_each_day_with_its_tables(void **state)
{
    (void)state;
    story_assert_says(fixture_program_stdout(story_run(0, "partitions", "list")),
                      "no day has been made yet; kept from 2015-01-01 on");
    record_three_days();
    story_sql("ANALYZE");
    const char *text = fixture_program_stdout(story_run(0, "partitions", "list"));
    const char *json = fixture_program_stdout(story_run(0, "partitions", "list", "--json"));

    for (int days = 0; days < 3; days++) {
        story_assert_says(
            text,
            fixture_format(
                "%s  balances, cash, instruments, order_events, trades, venue_positions     %d",
                day_before_newest(days), days == 0 ? 4 : 3));
    }
    story_assert_says(text, "kept\n");
    story_assert_says(
        json, fixture_format("{\"day\": \"%s\", \"tables\": \"balances, cash, instruments, "
                             "order_events, trades, venue_positions\", \"rows\": 3, \"bytes\": ",
                             day_before_newest(2)));
}

static void what_is_not_an_age_drops_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"",           "30",       "1m",        "12h",
                                      "0d",         "-3d",      "10000d",    "30d ",
                                      "2026-02-30", "2026-1-1", "yesterday", "2099-01-01"};

    record_three_days();
    story_run(2, "partitions", "drop");
    story_run(2, "partitions", "delete", "--older-than", "30d");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fixture_program *drop = story_run(2, "partitions", "drop", "--older-than", bad[i]);

        story_assert_says(fixture_program_stderr(drop), "setting older_than");
    }
    assert_int_equal(count_tables("'kept'"), 3 * TABLES);
}

static void a_dry_run_drops_nothing(void **state)
{
    (void)state;
    record_three_days();
    struct fixture_program *drop =
        story_run(0, "partitions", "drop", "--older-than", day_before_newest(0), "--dry-run");

    story_assert_says(fixture_program_stdout(drop), day_before_newest(2));
    story_assert_says(fixture_program_stdout(drop), day_before_newest(1));
    assert_null(strstr(fixture_program_stdout(drop), day_before_newest(0)));
    story_assert_says(fixture_program_stdout(drop), "to be dropped\n\nkept from 2015-01-01 on");
    assert_int_equal(count_tables("'kept'"), 3 * TABLES);
}

static void only_the_owner_drops(void **state)
{
    (void)state;
    record_three_days();
    story_sql("CREATE ROLE loader LOGIN IN ROLE blotter_drainer");
    const char *conninfo =
        fixture_format("%s user=loader", fixture_postgres_conninfo(story_postgres));
    struct fixture_program *drop =
        story_run(2, "partitions", "drop", "--older-than", "1d", "--postgres", conninfo);

    story_assert_says(fixture_program_stderr(drop),
                      "for the owner of the schema, postgres; this user is loader");
    story_run(0, "partitions", "list", "--postgres", conninfo);
    assert_int_equal(count_tables("'kept'"), 3 * TABLES);
}

/* --- drop --- */

static void days_go_and_what_they_meant_stays(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *kept = day_before_newest(0),
               *gone = day_before_newest(2);
    struct fixture_program *drop = story_run(0, "partitions", "drop", "--older-than", kept);

    story_assert_says(fixture_program_stdout(drop), gone);
    story_assert_says(fixture_program_stdout(drop),
                      fixture_format("dropped\n\nkept from %s on", kept));
    assert_string_equal(what_is_known(), before);
    assert_int_equal(count_events(), 4);
    assert_int_equal(count_tables("'kept'"), TABLES);
    assert_int_equal(count_tables(DUE), 0);
    story_sql("SELECT blotter_internal.rebuild_orders()");
    assert_string_equal(what_is_known(), before);
    story_assert_says(
        fixture_program_stdout(story_run(0, "partitions", "drop", "--older-than", gone)),
        "nothing to drop");
}

/* Drainers load all the time, also into days that are about to go; nothing is lost, nothing waits
 * for long. */
static void days_go_while_drainers_load(void **state)
{
    (void)state;
    record_three_days();
    const char *kept = day_before_newest(0);
    struct story_feed feed = story_feed("okx", "committed");
    struct fixture_program *drainers[] = {story_drainer("d1"), story_drainer("d2")};

    story_feed_orders(&feed, 500);
    story_await_int(500, "SELECT count(*) FROM blotter.order_events WHERE producer_id > 2");
    struct fixture_program *drop = story_start("partitions", "drop", "--older-than", kept);
    for (int i = 0; fixture_program_running(drop); i++) {
        story_feed_orders(&feed, 50);
        add_fill(3, i + 1, NOW_MS - DAY_MS, NULL); /* on a day that goes */
        fixture_sleep_ms(5);
    }
    assert_int_equal(fixture_program_wait(drop, STORY_TIMEOUT_MS), 0);
    story_feed_orders(&feed, 500);
    story_feed_end(&feed, 0);
    story_await_drained();
    assert_int_equal(count_tables("'kept'"), TABLES);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events WHERE producer_id > 3"),
                     feed.count);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    /* each of the late fills was stored and folded, or has expired */
    assert_int_equal(
        story_int("SELECT sum(fills)::bigint FROM blotter.positions WHERE account = 'main'") +
            story_int(
                "SELECT coalesce(sum(expired), 0)::bigint FROM blotter_internal.progress WHERE "
                "producer_id = 3"),
        6 + story_int("SELECT sum(stored + expired)::bigint FROM blotter_internal.progress WHERE "
                      "producer_id = 3"));
    story_audit(0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_program_stop(drainers[i], SIGTERM, STORY_TIMEOUT_MS), 0);
    }
}

/* By a drainer that has loaded into that day just before. */
static void a_late_resend_of_a_dropped_day_has_expired(void **state)
{
    (void)state;
    struct fixture_program *drainer = story_drainer("d1");

    add_fill(1, 1, NOW_MS - 2 * DAY_MS, "t1");
    add_fill(1, 3, NOW_MS, "t3");
    story_await_drained();
    const char *kept = day_before_newest(0);
    story_run(0, "partitions", "drop", "--older-than", kept);
    fixture_redis_run(story_redis, "DEL blotter-ack:{" STREAM "}:1");

    add_fill(1, 1, NOW_MS - 2 * DAY_MS, "t1");
    add_fill(1, 2, NOW_MS - 2 * DAY_MS, "t2"); /* never seen before */
    story_await_drained();
    assert_int_equal(count_events(), 1);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    const char *words = fixture_redis_run(story_redis, "XRANGE blotter-ack:{" STREAM
                                                       "}:1 - +"); /* in one batch, or in two */
    int64_t kept_s = fixture_redis_int(story_redis, "TTL blotter-ack:{" STREAM "}:1");
    assert_true(kept_s > 0 && kept_s <= 3600);
    assert_true(strstr(words, "settled 1-2") ||
                (strstr(words, "settled 1 ") && strstr(words, "settled 2")));
    assert_string_equal(
        story_table("SELECT expired FROM blotter_internal.progress WHERE producer_id = 1"), "1");
    assert_string_equal(story_table("SELECT up_to_seq, last_seq, missing, in_flight, gone FROM "
                                    "blotter.audit WHERE producer_id = 1"),
                        "3 3 0 0 2");
    assert_int_equal(story_int("SELECT fills FROM blotter.positions"), 2);
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

/* --- a run that is cut off, and two at once --- */

static void a_run_that_was_cut_off_after_folding_is_finished_by_the_next(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *kept = day_before_newest(0);

    story_sql("SELECT blotter_internal.aggregate_days('%s')", kept);
    assert_int_equal(count_tables("'detach'"), 2 * TABLES);
    assert_string_equal(what_is_known(), before);
    story_sql(
        "ALTER TABLE blotter.trades DETACH PARTITION blotter_internal.%s",
        story_sql(
            "SELECT min(partition) FROM blotter_internal.partitions WHERE \"table\" = 'trades'"));
    assert_int_equal(count_tables("'drop'"), 1);
    assert_string_equal(what_is_known(), before);
    struct fixture_program *dry =
        story_run(0, "partitions", "drop", "--older-than", "9999d", "--dry-run");
    story_assert_says(fixture_program_stdout(dry),
                      "to be dropped"); /* what is left, though nothing is so old */
    story_run(0, "partitions", "drop", "--older-than", "9999d");
    assert_int_equal(count_tables(DUE), 0);
    assert_int_equal(count_tables("'kept'"), TABLES);
    assert_string_equal(what_is_known(), before);
}

static void a_reader_that_does_not_end_is_waited_for_a_while(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *kept = day_before_newest(0);
    PGconn *reader = begin_reader("order_events");
    struct fixture_program *drop =
        story_run(1, "partitions", "drop", "--older-than", kept, "--lock-timeout", "100ms");

    story_assert_says(fixture_program_stderr(drop), "a transaction that uses it does not end");
    assert_int_equal(count_tables("'finalize'"), 1);
    assert_string_equal(what_is_known(), before);
    PQfinish(reader);
    story_run(0, "partitions", "drop", "--older-than", kept);
    assert_int_equal(count_tables("'kept'"), TABLES);
    assert_string_equal(what_is_known(), before);
}

/* The server goes on for a killed client, and so nobody else begins meanwhile. */
static void a_run_that_is_killed_while_it_waits_is_finished_by_the_next(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *kept = day_before_newest(0);
    PGconn *reader = begin_reader("order_events");
    struct fixture_program *killed =
        story_start("partitions", "drop", "--older-than", kept, "--lock-timeout", "10m");

    story_await_int(1, "SELECT count(*) FROM blotter_internal.partitions WHERE state = 'finalize'");
    struct fixture_program *second = story_run(1, "partitions", "drop", "--older-than", kept);
    story_assert_says(fixture_program_stderr(second),
                      "another `blotter partitions drop` or `roll` is at work");
    fixture_program_stop(killed, SIGKILL, STORY_TIMEOUT_MS);
    assert_string_equal(what_is_known(), before);
    PQfinish(reader);
    story_await_int(
        0, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'blotter partitions'");
    assert_string_equal(what_is_known(), before);
    story_run(0, "partitions", "drop", "--older-than", kept);
    assert_int_equal(count_tables("'kept'"), TABLES);
    assert_string_equal(what_is_known(), before);
}

/* --- days that somebody has detached by hand --- */

static const char *table_of_day_before(int days)
{
    return fixture_format("order_events_%s",
                          story_sql("SELECT replace('%s', '-', '')", day_before_newest(days)));
}

static void a_day_detached_by_hand_is_attached_again_when_a_record_of_it_comes(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *table = table_of_day_before(1);

    story_sql("ALTER TABLE blotter.order_events DETACH PARTITION blotter_internal.%s", table);
    assert_int_equal(count_tables("'detached'"), 1);
    add_fill(1, 4, NOW_MS - DAY_MS, "t1"); /* sent again: it is there already */
    story_drain_once();
    assert_int_equal(count_tables("'kept'"), 3 * TABLES);
    assert_int_equal(count_events(), 10);
    assert_string_equal(what_is_known(), before);
}

static void a_detach_by_hand_that_was_cut_off_is_undone_too(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *table = table_of_day_before(1);
    PGconn *reader = begin_reader("order_events"), *hand = fixture_postgres_connect(story_postgres);

    PQclear(PQexec(hand, "SET lock_timeout = '100ms'"));
    PQclear(PQexec(
        hand,
        fixture_format(
            "ALTER TABLE blotter.order_events DETACH PARTITION blotter_internal.%s CONCURRENTLY",
            table)));
    assert_int_equal(count_tables("'detached'"), 1);
    PQfinish(reader);
    PQfinish(hand);
    add_fill(1, 4, NOW_MS - DAY_MS, "t1");
    story_drain_once();
    assert_int_equal(count_tables("'kept'"), 3 * TABLES);
    assert_string_equal(what_is_known(), before);
}

static void a_day_detached_by_hand_is_folded_with_what_it_holds(void **state)
{
    (void)state;
    record_three_days();
    const char *before = what_is_known(), *kept = day_before_newest(0);

    story_sql("ALTER TABLE blotter.order_events DETACH PARTITION blotter_internal.%s",
              table_of_day_before(1));
    story_run(0, "partitions", "drop", "--older-than", kept);
    assert_int_equal(count_tables("'kept'"), TABLES);
    assert_string_equal(what_is_known(), before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    static const struct CMUnitTest tests[] = {
        TEST(list_shows_each_day_with_its_tables),
        TEST(what_is_not_an_age_drops_nothing),
        TEST(a_dry_run_drops_nothing),
        TEST(only_the_owner_drops),
        TEST(days_go_and_what_they_meant_stays),
        TEST(days_go_while_drainers_load),
        TEST(a_late_resend_of_a_dropped_day_has_expired),
        TEST(a_run_that_was_cut_off_after_folding_is_finished_by_the_next),
        TEST(a_reader_that_does_not_end_is_waited_for_a_while),
        TEST(a_run_that_is_killed_while_it_waits_is_finished_by_the_next),
        TEST(a_day_detached_by_hand_is_attached_again_when_a_record_of_it_comes),
        TEST(a_detach_by_hand_that_was_cut_off_is_undone_too),
        TEST(a_day_detached_by_hand_is_folded_with_what_it_holds),
    };
    return cmocka_run_group_tests_name("partitions", tests, NULL, NULL);
}
