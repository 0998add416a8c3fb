/* test_loader.c: batches into a real PostgreSQL, with everything that can be wrong with them and with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/loader.h"
#include "drainer/log.h"
#include "drainer/migrations.h"
#include "drainer/streams.h"
#include "tests/fixture/servers.h"
#include "tests/integration/loop.h"
#include "tests/unit/pack.h"

#define TODAY (INT64_C(1767225600000000000) + DAY * 31) /* 2026-02-01 */
#define DAY INT64_C(86400000000000)

static const char session_sql[] = "SET synchronous_commit = on; SET lock_timeout = '100ms'; SET TimeZone = 'UTC'; "
                                  "SET client_min_messages = warning; SELECT blotter.begin_session()";

static struct fixture_postgres *server;
static struct text_set venues, terminal;
static struct streams streams;
static struct stream *stream;

/* A loader on its own connection, the batch that is loaded, and how that ended. */
static struct {
    struct event_base *base;
    struct pg_link *link;
    struct loader *loader;
    struct batch batch;
    int ups, done;
    bool failed;
    struct pg_failure failure;
} seen;

/* --- running it ---------------------------------------------------------------------------------------------------------- */

static void on_prepared_rows(void *owner, int statement, const PGresult *result)
{
    (void)owner, (void)statement, (void)result;
}

static void on_change(void *owner, bool ready, const struct pg_failure *why)
{
    (void)owner, (void)why;
    seen.ups += ready;
    if (ready && seen.loader != NULL) {
        loader_forget_session(seen.loader);
    }
}

static void on_done(void *owner, struct batch *batch, const struct pg_failure *failure)
{
    assert_ptr_equal(owner, &seen);
    assert_ptr_equal(batch, &seen.batch);
    seen.done++;
    seen.failed = failure != NULL;
    memset(&seen.failure, 0, sizeof seen.failure);
    if (failure != NULL) {
        seen.failure = *failure;
    }
}

static void on_set(void *owner, const struct pg_failure *failure)
{
    (void)owner;
    assert_null(failure);
    seen.done++;
}

static void migrate(void)
{
    PGconn *connection = fixture_postgres_connect(server);

    for (size_t i = 0; i < migration_count; i++) {
        PGresult *result = PQexec(connection, migrations[i].sql);

        if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
            fail_msg("%s: %s", migrations[i].name, PQresultErrorMessage(result));
        }
        PQclear(result);
    }
    PQfinish(connection);
}

/* Runs SQL in another database than the one that is tested. */
static void run_outside(const char *sql)
{
    PGconn *connection = PQconnectdb(fixture_format("%s dbname=postgres", fixture_postgres_conninfo(server)));
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    }
    PQclear(result);
    PQfinish(connection);
}

static int begin(void **state)
{
    (void)state;
    run_outside("CREATE DATABASE blotter TEMPLATE migrated");
    memset(&seen, 0, sizeof seen);
    seen.base = event_base_new();
    seen.link = pg_link_create(&(struct pg_link_options){.base = seen.base,
                                                         .conninfo = fixture_postgres_conninfo(server),
                                                         .application_name = "loader",
                                                         .prepare_sql = session_sql,
                                                         .on_prepared_rows = on_prepared_rows,
                                                         .on_change = on_change,
                                                         .connect_timeout_ms = 10000,
                                                         .command_timeout_ms = LOOP_TIMEOUT_MS});
    pg_link_start(seen.link);
    seen.loader = loader_create(
        seen.link, &(struct loader_options){
                       .drainer = "me", .keep_orders = true, .venues_by_symbol = &venues, .terminal_statuses = &terminal});
    assert_true(loop_until(seen.base, &seen.ups, 1));
    return 0;
}

static int end(void **state)
{
    (void)state;
    loader_destroy(seen.loader);
    pg_link_destroy(seen.link);
    batch_release(&seen.batch);
    event_base_free(seen.base);
    run_outside("DROP DATABASE blotter WITH (FORCE)");
    return 0;
}

/* Loads what is in the batch; the batch stays as it is. */
static void load(void)
{
    loader_load(seen.loader, &seen.batch, on_done, &seen);
    assert_true(loop_until(seen.base, &seen.done, seen.done + 1));
}

static void assert_loaded(void)
{
    if (seen.failed) {
        fail_msg("%s, SQLSTATE %s", seen.failure.message, seen.failure.sqlstate);
    }
}

static const struct loader_counters *counters(void)
{
    return loader_counters(seen.loader);
}

/* --- records ------------------------------------------------------------------------------------------------------------- */

static void add(const char *kind, const struct pack *pack)
{
    static uint64_t id;
    const struct raw_field fields[] = {{kind, strlen(kind)}, {(const char *)pack->bytes, pack->length}};

    batch_add(&seen.batch, stream, stream->exchange, stream->name, (struct stream_entry_id){TODAY / 1000000, ++id}, fields, 2, 1,
              TODAY);
}

static void begin_record(struct pack *pack, unsigned more, int64_t seq, int64_t recorded_at)
{
    pack_begin(pack, 3 + more);
    pack_integer_pair(pack, "producer_id", 7);
    pack_integer_pair(pack, "seq", seq);
    pack_integer_pair(pack, "recorded_at", recorded_at);
}

static void add_order_of(int64_t seq, int64_t recorded_at, const char *symbol, const char *status)
{
    struct pack pack;

    begin_record(&pack, 3, seq, recorded_at);
    pack_pair(&pack, "order_id", fixture_format("o%d", (int)(seq % 5)));
    pack_pair(&pack, "symbol", symbol);
    pack_pair(&pack, "status", status);
    add("order", &pack);
}

static void add_order(int64_t seq)
{
    add_order_of(seq, TODAY + seq, "BTC/USDT", "open");
}

static void add_trade(int64_t seq)
{
    struct pack pack;

    begin_record(&pack, 3, seq, TODAY + seq);
    pack_pair(&pack, "symbol", "BTC/USDT");
    pack_pair(&pack, "price", "68000.10");
    pack_pair(&pack, "quantity", "0.5");
    add("trade", &pack);
}

static void add_session(int64_t seq, const char *event)
{
    struct pack pack;

    begin_record(&pack, 1, seq, TODAY + seq);
    pack_pair(&pack, "event", event);
    add("session", &pack);
}

static void add_bad(int64_t seq)
{
    struct pack pack;

    begin_record(&pack, 1, seq, TODAY + seq);
    pack_pair(&pack, "price", "a lot");
    add("order", &pack);
}

static int64_t count(const char *of)
{
    return fixture_postgres_int(server, "SELECT count(*) FROM blotter.%s", of);
}

/* stored rejected voided expired last_seq */
static const char *progress(void)
{
    return fixture_postgres_run(server, "SELECT concat_ws(' ', sum(stored), sum(rejected), sum(voided), sum(expired), "
                                        "max(last_seq)) FROM blotter.progress WHERE producer_id = 7");
}

/* --- what is sound ------------------------------------------------------------------------------------------------------- */

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
    assert_string_equal(fixture_postgres_run(server, "SELECT status FROM blotter.orders"), "filled");
    assert_string_equal(progress(), "6 1 1 0 7");
    assert_string_equal(fixture_postgres_run(server, "SELECT identity || ' ' || reason || ' ' || drainer FROM blotter.rejects"),
                        "p:7:4 price: not a finite decimal number of at most 128 digits me");
    assert_int_equal(fixture_postgres_int(server, "SELECT count(DISTINCT xmin::text) FROM (SELECT xmin FROM blotter.order_events "
                                                  "UNION ALL SELECT xmin FROM blotter.trades UNION ALL SELECT xmin FROM "
                                                  "blotter.rejects UNION ALL SELECT xmin FROM blotter.progress) AS all_rows"),
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

/* --- duplicates ---------------------------------------------------------------------------------------------------------- */

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

/* --- data that only PostgreSQL refuses ----------------------------------------------------------------------------------- */

static void record_that_breaks_a_users_constraint_is_rejected_and_its_neighbours_stored(void **state)
{
    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    for (int seq = 1; seq <= 100; seq++) {
        add_order_of(seq, TODAY + seq, seq == 37 || seq == 38 || seq == 100 ? "DOGE" : "BTC", "open");
        add_trade(100 + seq);
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 97);
    assert_int_equal(count("trades"), 100);
    assert_int_equal(count("rejects"), 3);
    assert_string_equal(fixture_postgres_run(server, "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM blotter.rejects "
                                                     "WHERE sqlstate = '23514' AND reason LIKE '%%no_doge%%' AND kind = 'order'"),
                        "37 38 100");
    assert_string_equal(progress(), "197 3 0 0 200");
    assert_int_equal(seen.batch.rejected, 3);
    assert_true(counters()->taken_apart > 0);
    batch_clear(&seen.batch);
    add_order(201);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 98);
}

static void batch_of_nothing_but_refused_records_is_rejected(void **state)
{
    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.order_events ADD CONSTRAINT nothing CHECK (false)");
    for (int seq = 1; seq <= 9; seq++) {
        add_order(seq);
    }
    load();
    assert_loaded();
    assert_int_equal(count("rejects"), 9);
    assert_int_equal(count("order_events"), 0);
}

/* The message is cut: not within a character, or the reject itself could not be stored. */
static void long_message_of_a_users_trigger_is_stored_as_the_reason(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE FUNCTION blotter.complain() RETURNS trigger LANGUAGE plpgsql AS "
                                 "$$BEGIN RAISE EXCEPTION USING MESSAGE = repeat('x', NEW.seq::int) || repeat('€', 1000); END$$; "
                                 "CREATE TRIGGER complain BEFORE INSERT ON blotter.order_events FOR EACH ROW "
                                 "EXECUTE FUNCTION blotter.complain()");
    for (int seq = 1; seq <= 3; seq++) {
        add_order(seq);
    }
    load();
    assert_loaded();
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM blotter.rejects WHERE sqlstate = 'P0001' AND "
                                                  "reason LIKE 'x%%€'"),
                     3);
}

/* --- days ---------------------------------------------------------------------------------------------------------------- */

static bool has_day(const char *day)
{
    return fixture_postgres_int(server, "SELECT count(*) FROM blotter.partitions WHERE day = '%s'", day) == 2;
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
    assert_true(has_day("2026-02-01") && has_day("2025-12-31") && has_day("2026-01-31") && has_day("2026-02-02"));
    assert_int_equal(count("partitions"), 8);
    assert_int_equal(count("order_events"), 4);
    assert_int_equal(counters()->transactions, 1);
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
    fixture_postgres_run(server, "DROP TABLE blotter.order_events_20260201, blotter.trades_20260201");
    batch_clear(&seen.batch);
    add_order(2);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 1);
    assert_int_equal(count("rejects"), 0);
}

/* A user's constraint has the same SQLSTATE as a missing day: having met it often must not make a day look refused. */
static void day_that_goes_away_after_many_refused_records_is_made_again(void **state)
{
    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    for (int seq = 1; seq <= 32; seq++) {
        add_order_of(seq, TODAY + seq, seq == 31 ? "DOGE" : "BTC", "open");
    }
    load();
    fixture_postgres_run(server, "DROP TABLE blotter.order_events_20260201, blotter.trades_20260201");
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
    fixture_postgres_run(server, "UPDATE blotter.retention SET first_day = '2026-01-31'");
    add_order_of(1, TODAY - 2 * DAY, "BTC", "open");
    add_order_of(2, TODAY - DAY, "BTC", "open");
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_int_equal(seen.batch.expired, 1);
    assert_int_equal(seen.batch.entries[0].fate, ENTRY_EXPIRED);
    assert_int_equal(counters()->expired, 1);
    assert_string_equal(progress(), "2 0 0 1 3");
    assert_string_equal(fixture_postgres_run(server, "SELECT expired::text FROM blotter.gone_seqs WHERE producer_id = 7"),
                        "{[1,2)}");
    assert_false(has_day("2026-01-30"));
}

static void day_that_is_folded_under_the_loader_expires(void **state)
{
    (void)state;
    add_order_of(1, TODAY - 2 * DAY, "BTC", "open");
    load();
    assert_loaded();
    fixture_postgres_run(server, "SELECT blotter.fold_days('2026-01-31')");
    batch_clear(&seen.batch);
    add_order_of(2, TODAY - 2 * DAY, "BTC", "open");
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(seen.batch.entries[0].fate, ENTRY_EXPIRED);
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM blotter.order_events WHERE seq = 3"), 1);
    assert_int_equal(count("rejects"), 0);
}

/* --- errors that pass ---------------------------------------------------------------------------------------------------- */

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
    for (int attempt = 0; attempt < 6; attempt++) { /* from the third on it is taken apart, and the trades can be loaded */
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
    assert_true(counters()->taken_apart > 0);
}

static void batch_too_large_for_the_server_is_loaded_in_parts(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE FUNCTION blotter.limit_rows() RETURNS trigger LANGUAGE plpgsql AS "
                                 "$$BEGIN IF (SELECT count(*) FROM fresh) > 10 THEN RAISE EXCEPTION 'no room' "
                                 "USING ERRCODE = '53200'; END IF; RETURN NULL; END$$; "
                                 "CREATE TRIGGER limit_rows AFTER INSERT ON blotter.order_events REFERENCING NEW TABLE AS fresh "
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

static void lock_that_is_met_while_a_batch_is_taken_apart_rejects_nothing(void **state)
{
    PGconn *holder = fixture_postgres_connect(server);

    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.order_events ADD CONSTRAINT no_doge CHECK (symbol <> 'DOGE')");
    add_order(1);
    load();
    batch_clear(&seen.batch);
    /* The record that comes twice waits for a key that another session has not committed, but only once its neighbour is gone. */
    PQclear(PQexec(holder, "BEGIN; INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange) "
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
    assert_string_equal(fixture_postgres_run(server, "SELECT string_agg(seq::text, ' ') FROM blotter.rejects"), "3");
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
    return fixture_postgres_int(server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loader' "
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
    fixture_postgres_run(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loader'");
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static int start_server(void **state)
{
    (void)state;
    server = fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    migrate();
    run_outside("ALTER DATABASE blotter RENAME TO migrated");
    text_set_add(&terminal, "filled", 6);
    stream = streams_add(&streams, "blotter:okx", 11);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    streams_release(&streams);
    text_set_release(&terminal);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fresh_batch_of_every_kind_is_one_transaction),
        TEST(batch_of_rejects_alone_is_stored),
        TEST(batch_loaded_twice_is_stored_once),
        TEST(record_that_comes_twice_in_a_batch_is_stored_once),
        TEST(part_that_is_new_is_stored_beside_what_was_there),
        TEST(record_that_breaks_a_users_constraint_is_rejected_and_its_neighbours_stored),
        TEST(batch_of_nothing_but_refused_records_is_rejected),
        TEST(long_message_of_a_users_trigger_is_stored_as_the_reason),
        TEST(days_are_made_when_they_are_wanted),
        TEST(batch_may_hold_more_days_than_are_made_at_once),
        TEST(day_that_went_away_is_made_again),
        TEST(day_that_goes_away_after_many_refused_records_is_made_again),
        TEST(record_of_a_day_no_longer_kept_is_settled_and_not_stored),
        TEST(day_that_is_folded_under_the_loader_expires),
        TEST(lock_that_somebody_holds_is_waited_for_and_rejects_nothing),
        TEST(batch_too_large_for_the_server_is_loaded_in_parts),
        TEST(lock_that_is_met_while_a_batch_is_taken_apart_rejects_nothing),
        TEST(table_that_is_missing_needs_a_person_and_rejects_nothing),
        TEST(batch_that_lost_its_connection_is_loaded_again_and_stored_once),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("loader", tests, start_server, stop);
}
