/* test_loader.c: batches into a real PostgreSQL: sound ones, duplicates, days. */
#include "drainer/log.h"
#include "tests/integration/postgres/loader_seen.h"

/* --- what is sound --- */

static void fresh_batch_of_every_kind_is_one_transaction(void **state)
{
    (void)state;
    add_session(1, "opened");
    add_order(2);
    add_trade(3);
    add_bad(4);
    add_order_of(7, TODAY + 7, "BTC/USDT", "filled");
    add_trade(6);
    add_session(5, "void");
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_int_equal(count("trades"), 2);
    assert_int_equal(count("sessions"), 2);
    assert_int_equal(count("rejects"), 1);
    assert_int_equal(count("orders"), 1);
    assert_string_equal(fixture_postgres_run(server, "SELECT status FROM blotter.orders"),
                        "filled");
    assert_string_equal(progress(), "6 1 1 0 7");
    assert_string_equal(
        fixture_postgres_run(
            server,
            "SELECT left(identity, 20) || ' ' || reason || ' ' || drainer FROM blotter.rejects"),
        "blotter:okx:7:4:cf31 order_id: required and missing me");
    assert_int_equal(
        fixture_postgres_int(
            server,
            "SELECT count(DISTINCT xmin::text) FROM (SELECT xmin FROM blotter.order_events "
            "UNION ALL SELECT xmin FROM blotter.trades UNION ALL SELECT xmin FROM "
            "blotter.rejects UNION ALL SELECT xmin FROM blotter_internal.progress) AS all_rows"),
        1);
    assert_int_equal(counters()->transactions, 1);
    assert_int_equal(counters()->rows, 6);
    assert_int_equal(counters()->rejected, 1);
    assert_false(loader_is_careful(seen.loader));
}

static void batch_of_rejects_alone_is_stored(void **state)
{
    (void)state;
    add_bad(1);
    add_bad(2);
    load();
    assert_loaded();
    assert_int_equal(count("rejects"), 2);
    assert_string_equal(progress(), "0 2 0 0 2");
}

/* --- duplicates --- */

static void batch_loaded_twice_is_stored_once(void **state)
{
    (void)state;
    add_order(1);
    add_trade(2);
    add_session(3, "opened");
    add_bad(4);
    load();
    load();
    assert_loaded();
    assert_int_equal(counters()->duplicates, 1);
    assert_true(seen.batch.careful);
    assert_true(loader_is_careful(seen.loader));
    load(); /* careful from the start */
    assert_loaded();
    assert_int_equal(counters()->duplicates, 1);
    assert_int_equal(count("order_events"), 1);
    assert_int_equal(count("trades"), 1);
    assert_int_equal(count("sessions"), 1);
    assert_int_equal(count("rejects"), 1);
    assert_string_equal(progress(), "3 1 0 0 4");
}

static void record_that_comes_twice_in_a_batch_is_stored_once(void **state)
{
    (void)state;
    add_order(1);
    add_trade(2);
    add_order(1);
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_string_equal(progress(), "3 0 0 0 3");
}

static void part_that_is_new_is_stored_beside_what_was_there(void **state)
{
    (void)state;
    for (int seq = 1; seq <= 50; seq++) {
        add_order(seq);
    }
    load();
    batch_clear(&seen.batch);
    for (int seq = 31; seq <= 80; seq++) {
        add_order(seq);
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 80);
    assert_string_equal(progress(), "80 0 0 0 80");
}

/* --- days --- */

static bool has_day(const char *day)
{
    return fixture_postgres_int(server,
                                "SELECT count(*) FROM blotter_internal.partitions WHERE day = '%s'",
                                day) == RECORD_KINDS - 1; /* sessions have no days */
}

static void days_are_made_when_they_are_wanted(void **state)
{
    (void)state;
    assert_false(has_day("2026-02-01"));
    assert_false(has_day("2025-12-31"));
    add_order_of(1, TODAY, "BTC", "open");
    add_order_of(2, TODAY - 32 * DAY, "BTC", "open");
    add_order_of(3, TODAY - 1, "BTC", "open");
    add_order_of(4, TODAY + DAY, "BTC", "open");
    load();
    assert_loaded();
    assert_true(has_day("2026-02-01") && has_day("2025-12-31") && has_day("2026-01-31") &&
                has_day("2026-02-02"));
    assert_int_equal(count("partitions"),
                     (4 + 1) * (RECORD_KINDS - 1)); /* one: the day that comes */
    assert_int_equal(count("order_events"), 4);
    assert_int_equal(counters()->transactions, 1);
}

static void
a_record_of_a_day_that_is_too_far_back_is_rejected_and_its_neighbours_are_stored(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "UPDATE blotter_internal.retention SET days_back = blotter_internal.today() - "
                "date '2026-02-01'");
    add_order_of(1, TODAY, "BTC", "open");
    add_order_of(2, TODAY - DAY, "BTC", "open");
    add_order_of(3, TODAY, "BTC", "open");
    load();
    assert_loaded();
    assert_true(has_day("2026-02-01") && !has_day("2026-01-31"));
    assert_string_equal(
        fixture_postgres_run(server, "SELECT seq || ' ' || reason FROM blotter.rejects"),
        "2 recorded_at: further back than days are made (days_back in blotter_internal.retention)");
    assert_int_equal(count("order_events"), 2);
    assert_string_equal(progress(), "2 1 0 0 3");
}

/* The UTC day that it is in twelve hours, as the names of tables write it. */
static const char *day_that_comes(void)
{
    return fixture_postgres_run(
        server, "SELECT to_char((now() + interval '12 hours') AT TIME ZONE 'UTC', 'YYYYMMDD')");
}

static void day_that_comes_is_made_ahead(void **state)
{
    (void)state;
    const char *before = day_that_comes();
    add_order(1);
    load();
    assert_loaded();
    assert_true(has_day(before) || has_day(day_that_comes())); /* noon may have struck between */
}

static void day_that_comes_and_cannot_be_made_is_left_for_its_own_records(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE TABLE blotter_internal.order_events_%s (somebody_s int)",
                         day_that_comes());
    add_order(1);
    load();
    assert_true(seen.failed);
    assert_string_equal(seen.failure.sqlstate, "42P07");
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 1);
}

static void batch_may_hold_more_days_than_are_made_at_once(void **state)
{
    enum { DAYS = 70 };

    (void)state;
    for (int n = 0; n < DAYS; n++) {
        add_order_of(n + 1, TODAY - n * DAY, "BTC", "open");
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), DAYS);
    assert_int_equal(count("rejects"), 0);
}

static void day_that_went_away_is_made_again(void **state)
{
    (void)state;
    add_order(1);
    load();
    fixture_postgres_run(
        server,
        "DROP TABLE blotter_internal.order_events_20260201, blotter_internal.trades_20260201");
    batch_clear(&seen.batch);
    add_order(2);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 1);
    assert_int_equal(count("rejects"), 0);
}

/* A user's constraint has the same SQLSTATE as a missing day: having met it often must not make a
 * day look refused. */
static void day_that_goes_away_after_many_refused_records_is_made_again(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    for (int seq = 1; seq <= 32; seq++) {
        add_order_of(seq, TODAY + seq, seq == 31 ? "DOGE" : "BTC", "open");
    }
    load();
    fixture_postgres_run(
        server,
        "DROP TABLE blotter_internal.order_events_20260201, blotter_internal.trades_20260201");
    batch_clear(&seen.batch);
    add_order(33);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 1);
    assert_int_equal(count("rejects"), 1);
}

static void record_of_a_day_no_longer_kept_is_settled_and_not_stored(void **state)
{
    (void)state;
    fixture_postgres_run(server, "UPDATE blotter_internal.retention SET first_day = '2026-01-31'");
    add_order_of(1, TODAY - 2 * DAY, "BTC", "open");
    add_order_of(2, TODAY - DAY, "BTC", "open");
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_string_equal(
        fixture_postgres_run(
            server, "SELECT string_agg(order_id, ' ' ORDER BY order_id) FROM blotter.orders"),
        "o2 o3");
    assert_int_equal(seen.batch.expired, 1);
    assert_int_equal(seen.batch.entries[0].fate, ENTRY_EXPIRED);
    assert_int_equal(counters()->expired, 1);
    assert_string_equal(progress(), "2 0 0 1 3");
    assert_string_equal(
        fixture_postgres_run(
            server, "SELECT expired::text FROM blotter_internal.gone_seqs WHERE producer_id = 7"),
        "{[1,2)}");
    assert_false(has_day("2026-01-30"));
}

static void day_that_is_folded_under_the_loader_expires(void **state)
{
    (void)state;
    add_order_of(1, TODAY - 2 * DAY, "BTC", "open");
    load();
    assert_loaded();
    fixture_postgres_run(server, "SELECT blotter_internal.aggregate_days('2026-01-31')");
    batch_clear(&seen.batch);
    add_order_of(2, TODAY - 2 * DAY, "BTC", "open");
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(seen.batch.entries[0].fate, ENTRY_EXPIRED);
    assert_int_equal(
        fixture_postgres_int(server, "SELECT count(*) FROM blotter.order_events WHERE seq = 3"), 1);
    assert_int_equal(count("rejects"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fresh_batch_of_every_kind_is_one_transaction),
        TEST(batch_of_rejects_alone_is_stored),
        TEST(batch_loaded_twice_is_stored_once),
        TEST(record_that_comes_twice_in_a_batch_is_stored_once),
        TEST(part_that_is_new_is_stored_beside_what_was_there),
        TEST(days_are_made_when_they_are_wanted),
        TEST(a_record_of_a_day_that_is_too_far_back_is_rejected_and_its_neighbours_are_stored),
        TEST(day_that_comes_is_made_ahead),
        TEST(day_that_comes_and_cannot_be_made_is_left_for_its_own_records),
        TEST(batch_may_hold_more_days_than_are_made_at_once),
        TEST(day_that_went_away_is_made_again),
        TEST(day_that_goes_away_after_many_refused_records_is_made_again),
        TEST(record_of_a_day_no_longer_kept_is_settled_and_not_stored),
        TEST(day_that_is_folded_under_the_loader_expires),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("loader", tests, start_server, stop);
}
