/* test_booker.c: how the booker paces itself, against a real PostgreSQL. That what it books is
 * right is in tests/python/test_books.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/log.h"
#include "drainer/postgres/booker.h"
#include "drainer/redis/streams.h"
#include "drainer/settings_table.h"
#include "tests/fixture/servers.h"
#include "tests/integration/loop.h"
#include "tests/integration/postgres/migrated.h"

enum {
    BOOKING_ROWS = 4000, /* the most that a booking takes */
    SMALL_COMMIT = 100,
};

static struct fixture_postgres *server;

/* A booker, and the turns that it took. */
static struct {
    struct event_base *base;
    struct settings settings;
    struct streams streams;
    struct booker *booker;
    int turns, books_empty;
    size_t commit_while_booking; /* rows that are said to be committed during each booking */
    int commits;                 /* so many are left */
} seen;

/* Called where a booking runs: the next one begins before the owner hears of the one that ended. */
static void commit_during_booking(void)
{
    if (seen.commits > 0) {
        seen.commits--;
        booker_wake(seen.booker, seen.commit_while_booking);
    }
}

static void on_turn(void *owner)
{
    (void)owner;
    seen.turns++;
    commit_during_booking();
    seen.books_empty += booker_is_done(seen.booker);
}

static void queue_fills(int rows)
{
    fixture_postgres_run(
        server,
        "INSERT INTO blotter_internal.book_queue (kind, producer_id, seq, recorded_at, exchange, "
        "symbol, order_id, trade_id, side, price, quantity) SELECT 'o', 1, n, now(), 'okx', "
        "'BTC/USDT', n::text, n::text, 'buy', 1, 1 FROM generate_series(1, %d) AS n",
        rows);
}

static int64_t queued_rows(void)
{
    return fixture_postgres_int(server, "SELECT count(*) FROM blotter_internal.book_queue");
}

static int64_t booked_fills(void)
{
    return fixture_postgres_int(server, "SELECT count(*) FROM blotter_internal.fill");
}

/* Queues rows and begins with the first booking of them. */
static void begin(int rows, size_t commit_while_booking, int commits)
{
    memset(&seen, 0, sizeof seen);
    seen.settings = (struct settings){.postgres = (char *)fixture_postgres_conninfo(server),
                                      .lock_timeout = 10000,
                                      .postgres_timeout = LOOP_TIMEOUT_MS};
    fixture_postgres_run(server, "TRUNCATE blotter_internal.book_queue, blotter_internal.fill");
    queue_fills(rows);
    seen.base = event_base_new();
    streams_add(&seen.streams, "blotter:okx", strlen("blotter:okx"))->state = STREAM_READING;
    seen.booker = booker_create(&(struct booker_options){.base = seen.base,
                                                         .settings = &seen.settings,
                                                         .application_name = "booker",
                                                         .streams = &seen.streams,
                                                         .on_turn = on_turn});
    seen.commit_while_booking = commit_while_booking;
    seen.commits = commits;
    booker_start(seen.booker);
}

static int end(void **state)
{
    (void)state;
    booker_destroy(seen.booker);
    streams_release(&seen.streams);
    event_base_free(seen.base);
    return 0;
}

static void run_until_booked(void)
{
    assert_true(loop_until(seen.base, &seen.books_empty, 1));
    assert_int_equal(queued_rows(), 0);
}

static void bookings_rest_while_large_batches_are_committed(void **state)
{
    (void)state;
    begin(3 * BOOKING_ROWS, BOOKING_ROWS, 4);
    run_until_booked();
    assert_int_equal(booked_fills(), 3 * BOOKING_ROWS);
    assert_in_range(booker_counters(seen.booker)->rests, 1, 4);
}

static void bookings_follow_small_batches_without_a_rest(void **state)
{
    (void)state;
    begin(3 * BOOKING_ROWS, SMALL_COMMIT, 4);
    run_until_booked();
    assert_int_equal(booker_counters(seen.booker)->rests, 0);
}

static void what_is_committed_within_a_pause_is_booked_together(void **state)
{
    (void)state;
    begin(SMALL_COMMIT, SMALL_COMMIT, 4);
    run_until_booked();
    assert_int_equal(booked_fills(), SMALL_COMMIT);
    assert_int_equal(booker_counters(seen.booker)->pauses, 1);
}

static int64_t bytes_of_copies(void)
{
    return fixture_postgres_int(
        server, "SELECT pg_relation_size(oid) FROM pg_class WHERE relname = 'booking_copies'");
}

static void the_temporary_tables_are_emptied_while_nobody_waits_for_a_booking(void **state)
{
    (void)state;
    begin(BOOKING_ROWS - 1, 0, 0);
    run_until_booked();
    for (int64_t end_ms = fixture_now_ms() + LOOP_TIMEOUT_MS;
         bytes_of_copies() > 0 && fixture_now_ms() < end_ms;) {
        event_base_loop(seen.base, EVLOOP_ONCE);
    }
    assert_int_equal(bytes_of_copies(), 0);
    assert_int_equal(booker_counters(seen.booker)->failures, 0);
}

/* As pg_cancel_backend() may do it. */
static void emptying_that_fails_stops_no_booking(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "CREATE TABLE public.cancelled (); DO $do$ BEGIN EXECUTE regexp_replace("
                "pg_get_functiondef('blotter_internal.empty_booking(bigint)'::regprocedure), "
                "'BEGIN', 'BEGIN IF rows = 0 AND to_regclass(''public.cancelled'') IS NOT NULL "
                "THEN RAISE query_canceled; END IF;'); END $do$");
    begin(SMALL_COMMIT * 20, 0, 0);
    run_until_booked();
    for (int64_t end_ms = fixture_now_ms() + LOOP_TIMEOUT_MS;
         booker_counters(seen.booker)->failures == 0 && fixture_now_ms() < end_ms;) {
        event_base_loop(seen.base, EVLOOP_ONCE);
    }
    assert_int_equal(booker_counters(seen.booker)->failures, 1);
    fixture_postgres_run(server, "DROP TABLE public.cancelled; TRUNCATE blotter_internal.fill");
    queue_fills(SMALL_COMMIT);
    booker_wake(seen.booker, SMALL_COMMIT);
    assert_true(loop_until(seen.base, &seen.books_empty, seen.books_empty + 1));
    assert_int_equal(booked_fills(), SMALL_COMMIT);
    assert_null(booker_trouble(seen.booker));
}

static void a_booker_whose_end_is_waited_for_does_not_rest(void **state)
{
    (void)state;
    begin(3 * BOOKING_ROWS, BOOKING_ROWS, 4);
    booker_finish(seen.booker);
    run_until_booked();
    assert_int_equal(booker_counters(seen.booker)->rests, 0);
    assert_int_equal(booker_counters(seen.booker)->pauses, 0);
}

static void what_is_another_drainers_to_book_is_neither_waited_for_nor_behind(void **state)
{
    (void)state;
    begin(SMALL_COMMIT, 0, 0);
    booker_wake(seen.booker, SMALL_COMMIT);
    seen.streams.all[0]->state = STREAM_FREE;
    booker_finish(seen.booker);
    for (int64_t end_ms = fixture_now_ms() + LOOP_TIMEOUT_MS;
         !booker_is_connected(seen.booker) && fixture_now_ms() < end_ms;) {
        event_base_loop(seen.base, EVLOOP_ONCE);
    }
    assert_true(booker_is_done(seen.booker));
    assert_int_equal(booker_lag_ms(seen.booker), 0);
    assert_int_equal(booker_left(seen.booker), 0);
    assert_int_equal(queued_rows(), SMALL_COMMIT);
}

/* As a migration may do it: the open session's temporary tables lack a column. */
static void a_session_of_an_older_schema_is_made_anew(void **state)
{
    (void)state;
    begin(SMALL_COMMIT, 0, 0);
    run_until_booked();
    fixture_postgres_run(
        server, "DO $do$ BEGIN EXECUTE regexp_replace(pg_get_functiondef("
                "'blotter_internal.begin_booking()'::regprocedure), 'liquidity text COLLATE "
                "\"C\"', '\\&, later text'); EXECUTE regexp_replace(pg_get_functiondef("
                "'blotter_internal.book_fills()'::regprocedure), 'BEGIN', 'BEGIN PERFORM c.later "
                "FROM pg_temp.booking_copies c;'); END $do$");
    fixture_postgres_run(server, "TRUNCATE blotter_internal.fill");
    queue_fills(SMALL_COMMIT);
    booker_wake(seen.booker, SMALL_COMMIT);
    assert_true(loop_until(seen.base, &seen.books_empty, seen.books_empty + 1));
    assert_int_equal(booked_fills(), SMALL_COMMIT);
    assert_null(booker_trouble(seen.booker));
}

static int start_server(void **state)
{
    (void)state;
    server = fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    migrate(server);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bookings_rest_while_large_batches_are_committed),
        TEST(bookings_follow_small_batches_without_a_rest),
        TEST(what_is_committed_within_a_pause_is_booked_together),
        TEST(the_temporary_tables_are_emptied_while_nobody_waits_for_a_booking),
        TEST(emptying_that_fails_stops_no_booking),
        TEST(a_booker_whose_end_is_waited_for_does_not_rest),
        TEST(what_is_another_drainers_to_book_is_neither_waited_for_nor_behind),
        TEST(a_session_of_an_older_schema_is_made_anew),
    };

    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("booker", tests, start_server, NULL);
}
