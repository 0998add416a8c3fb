/* test_loader_errors.c: batches that a real PostgreSQL refuses, for what is in them or for what
 * passes. */
#include "drainer/log.h"
#include "tests/integration/postgres/loader_seen.h"

/* --- data that only PostgreSQL refuses --- */

static void
record_that_breaks_a_users_constraint_is_rejected_and_its_neighbours_stored(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    for (int seq = 1; seq <= 100; seq++) {
        add_order_of(seq, TODAY + seq, seq == 37 || seq == 38 || seq == 100 ? "DOGE" : "BTC",
                     "open");
        add_trade(100 + seq);
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 97);
    assert_int_equal(count("trades"), 100);
    assert_int_equal(count("rejects"), 3);
    assert_string_equal(
        fixture_postgres_run(
            server, "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM blotter.rejects "
                    "WHERE sqlstate = '23514' AND reason LIKE '%%no_doge%%' AND kind = 'order'"),
        "37 38 100");
    assert_string_equal(progress(), "197 3 0 0 200");
    assert_int_equal(
        fixture_postgres_int(server, "SELECT count(*) FROM blotter.orders WHERE symbol = 'BTC'"),
        5);
    assert_int_equal(count("orders"), 5);
    assert_int_equal(seen.batch.rejected, 3);
    assert_true(counters()->bisected > 0);
    batch_clear(&seen.batch);
    add_order(201);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 98);
}

/* COPY says at which row it was, so that nothing has to be looked for. */
static void record_that_copy_names_is_taken_out_at_once(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "ALTER TABLE blotter.trades ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    for (int seq = 1; seq <= 500; seq++) {
        add_order(2 * seq);
        add_trade_of(2 * seq + 1, seq == 237 ? "DOGE" : "BTC");
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 500);
    assert_int_equal(count("trades"), 499);
    assert_string_equal(fixture_postgres_run(server, "SELECT seq FROM blotter.rejects"), "475");
    assert_int_equal(counters()->bisected, 2);
    assert_int_equal(counters()->transactions, 3); /* before it, itself as a reject, behind it */
}

static void order_of_which_every_event_is_refused_is_not_kept(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    add_order(1);
    add_order_of(2, TODAY + 2, "DOGE", "open");
    load();
    assert_loaded();
    assert_string_equal(
        fixture_postgres_run(server, "SELECT string_agg(order_id, ' ') FROM blotter.orders"), "o1");
    batch_clear(&seen.batch);
    add_order_of(3, TODAY + 3, "DOGE", "open"); /* alone, so that it is never bisected */
    load();
    assert_loaded();
    assert_int_equal(count("rejects"), 2);
    assert_string_equal(
        fixture_postgres_run(server, "SELECT string_agg(order_id, ' ') FROM blotter.orders"), "o1");
}

static void batch_of_nothing_but_refused_records_is_rejected(void **state)
{
    (void)state;
    fixture_postgres_run(server,
                         "ALTER TABLE blotter.order_events ADD CONSTRAINT nothing CHECK (false)");
    for (int seq = 1; seq <= 9; seq++) {
        add_order(seq);
    }
    load();
    assert_loaded();
    assert_int_equal(count("rejects"), 9);
    assert_int_equal(count("order_events"), 0);
    assert_int_equal(count("orders"), 0);
}

/* The message is cut: not within a character, or the reject itself could not be stored. */
static void long_message_of_a_users_trigger_is_stored_as_the_reason(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "CREATE FUNCTION blotter.complain() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE EXCEPTION USING MESSAGE = repeat('x', NEW.seq::int) || repeat('€', "
                "1000); END$$; "
                "CREATE TRIGGER complain BEFORE INSERT ON blotter.order_events FOR EACH ROW "
                "EXECUTE FUNCTION blotter.complain()");
    for (int seq = 1; seq <= 3; seq++) {
        add_order(seq);
    }
    load();
    assert_loaded();
    assert_int_equal(
        fixture_postgres_int(server,
                             "SELECT count(*) FROM blotter.rejects WHERE sqlstate = 'P0001' AND "
                             "reason LIKE 'x%%€'"),
        3);
}

/* --- errors that pass --- */

static void lock_that_somebody_holds_is_waited_for_and_rejects_nothing(void **state)
{
    PGconn *holder = fixture_postgres_connect(server);

    (void)state;
    add_trade(1);
    add_order(2);
    add_trade(3);
    load();
    batch_clear(&seen.batch);
    PQclear(PQexec(holder, "BEGIN; LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE"));
    add_trade(11);
    add_order(12);
    add_trade(13);
    for (int attempt = 0; attempt < 6; attempt++) {
        load();
        assert_true(seen.failed);
        assert_string_equal(seen.failure.sqlstate, "55P03");
        assert_int_equal(seen.failure.action, PG_ACTION_RETRY);
        assert_false(seen.failure.connection_lost);
    }
    PQclear(PQexec(holder, "COMMIT"));
    PQfinish(holder);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_int_equal(count("trades"), 4);
    assert_int_equal(count("rejects"), 0);
    assert_string_equal(progress(), "6 0 0 0 13");
    assert_int_equal(counters()->retries, 6);
    assert_int_equal(stream->held_times, 0);
}

static void batch_too_large_for_the_server_is_loaded_in_parts(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "CREATE FUNCTION blotter.limit_rows() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN IF (SELECT count(*) FROM fresh) > 10 THEN RAISE EXCEPTION 'no room' "
                "USING ERRCODE = '53200'; END IF; RETURN NULL; END$$; "
                "CREATE TRIGGER limit_rows AFTER INSERT ON blotter.order_events REFERENCING NEW "
                "TABLE AS fresh "
                "FOR EACH STATEMENT EXECUTE FUNCTION blotter.limit_rows()");
    for (int seq = 1; seq <= 100; seq++) {
        add_order(seq);
    }
    load();
    assert_true(seen.failed);
    load();
    assert_true(seen.failed);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 100);
    assert_int_equal(count("rejects"), 0);
}

static void lock_that_is_met_while_a_batch_is_bisected_rejects_nothing(void **state)
{
    PGconn *holder = fixture_postgres_connect(server);

    (void)state;
    fixture_postgres_run(
        server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    add_order(1);
    load();
    batch_clear(&seen.batch);
    /* The record that comes twice waits for a key that another session has not committed, but only
     * once its neighbour is gone. */
    PQclear(PQexec(
        holder, "BEGIN; INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange) "
                "VALUES (7, 5, '2026-02-01 00:00:00Z', 'okx')"));
    for (int seq = 2; seq <= 8; seq++) {
        add_order_of(seq, seq == 5 ? TODAY : TODAY + seq, seq == 3 ? "DOGE" : "BTC", "open");
    }
    load();
    assert_true(seen.failed);
    assert_string_equal(seen.failure.sqlstate, "55P03");
    PQclear(PQexec(holder, "ROLLBACK"));
    PQfinish(holder);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 7);
    assert_string_equal(
        fixture_postgres_run(server, "SELECT string_agg(seq::text, ' ') FROM blotter.rejects"),
        "3");
}

/* A trigger of the user's on that table: what it does with DOGE, and with SHIB. */
static void make_trigger(const char *table, const char *doge, const char *shib)
{
    fixture_postgres_run(server,
                         "CREATE SEQUENCE blotter.unused; "
                         "CREATE FUNCTION blotter.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                         "$$BEGIN IF NEW.symbol = 'DOGE' THEN %s; ELSIF NEW.symbol = 'SHIB' THEN "
                         "%s; END IF; RETURN NEW; END$$; "
                         "CREATE TRIGGER refuse BEFORE INSERT ON blotter.%s FOR EACH ROW EXECUTE "
                         "FUNCTION blotter.refuse()",
                         doge, shib, table);
}

static void add_refused(void)
{
    batch_clear(&seen.batch); /* a batch that was given up is read again */
    for (int seq = 1; seq <= 20; seq++) {
        add_order_of(seq, TODAY + seq, seq == 7 ? "DOGE" : seq == 12 ? "SHIB" : "BTC", "open");
    }
}

/* Loads until it goes, which must be at the third time. */
static void load_at_the_third_time(void)
{
    for (int time = 1; time <= 2; time++) {
        add_refused();
        load();
        assert_true(seen.failed);
        assert_int_equal(count("rejects"), 0);
    }
    add_refused();
    load();
    assert_loaded();
}

static void
record_that_a_trigger_refuses_with_an_error_that_passes_is_rejected_at_the_third_time(void **state)
{
    (void)state;
    make_trigger("order_events", "RAISE 'busy' USING ERRCODE = '55P03'", "NULL");
    load_at_the_third_time();
    assert_int_equal(count("order_events"), 19);
    assert_string_equal(
        fixture_postgres_run(
            server, "SELECT string_agg(seq || ' ' || sqlstate, ', ') FROM blotter.rejects"),
        "7 55P03");
}

/* Each of them fails with another state, so that neither is met three times in a row. */
static void records_that_a_trigger_refuses_with_different_errors_are_rejected(void **state)
{
    (void)state;
    make_trigger("order_events", "RAISE 'no' USING ERRCODE = '40001'",
                 "PERFORM currval('blotter.unused')");
    load_at_the_third_time();
    assert_int_equal(count("order_events"), 18);
    assert_string_equal(
        fixture_postgres_run(
            server,
            "SELECT string_agg(seq || ' ' || sqlstate, ', ' ORDER BY seq) FROM blotter.rejects"),
        "7 40001, 12 55000");
}

/* The SQLSTATE of a day without partition, and as that no constraint's name: so it is looked for
 * the day a few times, not for ever. Nor is a day that does go missing later taken for such a
 * record. */
static void records_that_a_trigger_refuses_as_a_missing_day_would_be_are_rejected(void **state)
{
    (void)state;
    make_trigger("order_events", "RAISE 'no' USING ERRCODE = 'check_violation'",
                 "RAISE 'no' USING ERRCODE = 'check_violation'");
    add_refused();
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 18);
    assert_string_equal(
        fixture_postgres_run(
            server,
            "SELECT string_agg(seq || ' ' || sqlstate, ', ' ORDER BY seq) FROM blotter.rejects"),
        "7 23514, 12 23514");
    fixture_postgres_run(
        server,
        "DROP TABLE blotter_internal.order_events_20260201, blotter_internal.trades_20260201");
    batch_clear(&seen.batch);
    add_order_of(21, TODAY + 21, "BTC", "open");
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 1);
    assert_int_equal(count("rejects"), 2);
}

static void refused_record_beside_one_in_doubt_does_not_keep_it_from_being_rejected(void **state)
{
    (void)state;
    make_trigger("order_events", "RAISE 'never'",
                 "RAISE 'not yours' USING ERRCODE = 'insufficient_privilege'");
    for (int time = 1; time <= 2; time++) {
        add_refused();
        load();
        assert_true(seen.failed);
        assert_string_equal(seen.failure.sqlstate, "42501");
    }
    add_refused();
    load();
    assert_loaded();
    assert_string_equal(
        fixture_postgres_run(
            server,
            "SELECT string_agg(seq || ' ' || sqlstate, ', ' ORDER BY seq) FROM blotter.rejects"),
        "7 P0001, 12 42501");
    assert_int_equal(count("order_events"), 18);
}

/* Only their state is not kept, which order_errors says. */
static void orders_that_a_trigger_refuses_do_not_reject_their_events(void **state)
{
    (void)state;
    make_trigger("orders", "RAISE 'busy' USING ERRCODE = '55P03'",
                 "PERFORM currval('blotter.unused')");
    for (int seq = 1; seq <= 3; seq++) {
        add_order_of(seq, TODAY + seq, seq == 1 ? "DOGE" : seq == 2 ? "SHIB" : "BTC", "open");
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 3);
    assert_int_equal(count("rejects"), 0);
    assert_int_equal(count("orders"), 1);
    assert_string_equal(
        fixture_postgres_run(server, "SELECT string_agg(order_key || ' ' || sqlstate, ', ' ORDER "
                                     "BY 1) FROM blotter_internal.order_errors"),
        "o1 55P03, o2 55000");
}

static void table_that_is_missing_needs_a_person_and_rejects_nothing(void **state)
{
    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.trades RENAME TO elsewhere");
    add_order(1);
    add_trade(2);
    for (int attempt = 0; attempt < 4; attempt++) {
        load();
        assert_true(seen.failed);
        assert_int_equal(seen.failure.action, PG_ACTION_PERSON);
    }
    fixture_postgres_run(server, "ALTER TABLE blotter.elsewhere RENAME TO trades");
    load();
    assert_loaded();
    assert_int_equal(count("rejects"), 0);
    assert_string_equal(progress(), "2 0 0 0 2");
}

static bool loader_waits_for_a_lock(void *arg)
{
    (void)arg;
    event_base_loop(seen.base, EVLOOP_NONBLOCK);
    return fixture_postgres_int(
               server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loader' "
                       "AND wait_event_type = 'Lock'") == 1;
}

static void batch_that_lost_its_connection_is_loaded_again_and_stored_once(void **state)
{
    PGconn *holder = fixture_postgres_connect(server);

    (void)state;
    add_order(2);
    add_trade(3);
    add_bad(4);
    PQclear(PQexec(holder, "BEGIN; LOCK TABLE blotter.trades"));
    pg_link_run(seen.link, &(struct pg_command){.sql = "SET lock_timeout = 0", .on_done = on_set});
    assert_true(loop_until(seen.base, &seen.done, 1));
    loader_load(seen.loader, &seen.batch, on_done, &seen);
    assert_true(fixture_wait_until(loader_waits_for_a_lock, NULL, LOOP_TIMEOUT_MS));
    fixture_postgres_run(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loader'");
    assert_true(loop_until(seen.base, &seen.done, 2));
    assert_true(seen.failed);
    assert_true(seen.failure.connection_lost);
    PQclear(PQexec(holder, "COMMIT"));
    PQfinish(holder);
    assert_true(loop_until(seen.base, &seen.ups, 2));
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 1);
    assert_int_equal(count("trades"), 1);
    assert_int_equal(count("rejects"), 1);
    assert_string_equal(progress(), "2 1 0 0 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(record_that_breaks_a_users_constraint_is_rejected_and_its_neighbours_stored),
        TEST(record_that_copy_names_is_taken_out_at_once),
        TEST(order_of_which_every_event_is_refused_is_not_kept),
        TEST(batch_of_nothing_but_refused_records_is_rejected),
        TEST(long_message_of_a_users_trigger_is_stored_as_the_reason),
        TEST(lock_that_somebody_holds_is_waited_for_and_rejects_nothing),
        TEST(batch_too_large_for_the_server_is_loaded_in_parts),
        TEST(lock_that_is_met_while_a_batch_is_bisected_rejects_nothing),
        TEST(record_that_a_trigger_refuses_with_an_error_that_passes_is_rejected_at_the_third_time),
        TEST(records_that_a_trigger_refuses_with_different_errors_are_rejected),
        TEST(records_that_a_trigger_refuses_as_a_missing_day_would_be_are_rejected),
        TEST(refused_record_beside_one_in_doubt_does_not_keep_it_from_being_rejected),
        TEST(orders_that_a_trigger_refuses_do_not_reject_their_events),
        TEST(table_that_is_missing_needs_a_person_and_rejects_nothing),
        TEST(batch_that_lost_its_connection_is_loaded_again_and_stored_once),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("loader_errors", tests, start_server, stop);
}
