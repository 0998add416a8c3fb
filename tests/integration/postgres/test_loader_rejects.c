/* test_loader_rejects.c: whatever statement a record fails in, it becomes a reject; and what no
 * record is to blame for stops loading instead. */
#include "drainer/log.h"
#include "tests/integration/postgres/loader_seen.h"

static void add_order_of_producer(int64_t producer_id, int64_t seq)
{
    struct pack pack;

    pack_begin(&pack, 4);
    pack_integer_pair(&pack, "producer_id", producer_id);
    pack_integer_pair(&pack, "seq", seq);
    pack_integer_pair(&pack, "recorded_at", TODAY);
    pack_pair(&pack, "order_id", "1");
    add("order", &pack);
}

static void record_that_fails_where_expired_ones_are_noted_is_rejected(void **state)
{
    (void)state;
    fixture_postgres_run(server, "UPDATE blotter_internal.retention SET first_day = '2026-02-01'");
    fixture_postgres_run(server, "ALTER TABLE blotter_internal.gone_seqs ADD CHECK (false)");
    add_order(1);
    add_order_of(2, TODAY - DAY, "BTC", "open"); /* expired */
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_string_equal(fixture_postgres_run(server, "SELECT sqlstate FROM blotter.rejects"),
                        "23514");
}

/* The reject fails, too, as load_staged() counts it: it is stored without. */
static void record_whose_progress_cannot_be_counted_is_rejected(void **state)
{
    (void)state;
    fixture_postgres_run(server,
                         "ALTER TABLE blotter_internal.progress ADD CHECK (producer_id <> 666)");
    add_order(1);
    add_order_of_producer(666, 1);
    add_order(2);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 2);
    assert_string_equal(fixture_postgres_run(server, "SELECT producer_id FROM blotter.rejects"),
                        "666");
    assert_string_equal(progress(), "2 0 0 0 2");
}

static void reject_that_cannot_be_stored_at_all_stops_loading(void **state)
{
    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.rejects ADD CHECK (false)");
    add_order(1);
    add_bad(2);
    load();
    assert_true(seen.failed);
    assert_int_equal(seen.failure.action, PG_ACTION_PERSON);
    assert_non_null(strstr(seen.failure.message, "reject"));
}

/* A limit of the server's that every record meets: 54001, met in a default. */
#define DEEP_SQL                                                                           \
    "CREATE FUNCTION public.deep(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; " \
    "CREATE OR REPLACE FUNCTION public.deep(int) RETURNS int LANGUAGE sql IMMUTABLE AS "   \
    "'SELECT public.deep($1 + 1) + 1'; "

static void error_that_a_good_record_meets_too_stops_loading(void **state)
{
    (void)state;
    fixture_postgres_run(server, DEEP_SQL "ALTER TABLE blotter.order_events ADD COLUMN deep int; "
                                          "ALTER TABLE blotter.order_events ALTER COLUMN deep SET "
                                          "DEFAULT public.deep(1)");
    for (int seq = 1; seq <= 20; seq++) {
        add_order(seq);
    }
    load();
    assert_true(seen.failed);
    assert_string_equal(seen.failure.sqlstate, "54001");
    assert_int_equal(seen.failure.action, PG_ACTION_PERSON);
    assert_int_equal(count("order_events"), 0);
    assert_int_equal(count("rejects"), 0);
}

static void error_that_a_good_record_does_not_meet_is_the_records_fault(void **state)
{
    (void)state;
    fixture_postgres_run(server, DEEP_SQL
                         "ALTER TABLE blotter.order_events ADD COLUMN deep int GENERATED "
                         "ALWAYS AS (CASE symbol WHEN 'DOGE' THEN public.deep(length(symbol)) END) "
                         "STORED");
    for (int seq = 1; seq <= 20; seq++) {
        add_order_of(seq, TODAY + seq, seq == 7 ? "DOGE" : "BTC", "open");
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 19);
    assert_string_equal(
        fixture_postgres_run(server, "SELECT seq || ' ' || sqlstate FROM blotter.rejects"),
        "7 54001");
}

static void rows_that_a_trigger_drops_are_rejects_and_are_not_counted_as_stored(void **state)
{
    (void)state;
    fixture_postgres_run(
        server, "CREATE FUNCTION public.drop_some() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RETURN CASE WHEN NEW.seq %% 5 <> 0 THEN NEW END; END$$; "
                "CREATE TRIGGER drop_some BEFORE INSERT ON blotter.order_events FOR EACH ROW "
                "EXECUTE FUNCTION public.drop_some()");
    for (int seq = 1; seq <= 30; seq++) {
        add_order(seq);
    }
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 24);
    assert_int_equal(count("rejects"), 6);
    assert_string_equal(progress(), "24 6 0 0 30");
    assert_string_equal(fixture_postgres_run(server,
                                             "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM "
                                             "blotter.rejects WHERE reason LIKE '%%trigger%%'"),
                        "5 10 15 20 25 30");
}

static void each_transaction_raises_the_counter_of_its_streams(void **state)
{
    (void)state;
    stream->loaded_n = 0;
    stream->loaded_id = (struct stream_entry_id){0, 0};
    add_order(1);
    add_order(2);
    load();
    batch_clear(&seen.batch);
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(stream->loaded_n, 2);
    struct stream_entry_id last = seen.batch.entries[0].id;
    assert_string_equal(
        fixture_postgres_run(server, "SELECT n || ' ' || last_id FROM blotter_internal.loaded "
                                     "WHERE stream = 'blotter:okx'"),
        fixture_format("2 %llu-%llu", (unsigned long long)last.ms, (unsigned long long)last.seq));
    /* A transaction whose rows are all there already writes all the same. */
    seen.batch.careful = true;
    batch_clear(&seen.batch);
    seen.batch.careful = true;
    add_order(3);
    load();
    assert_loaded();
    assert_int_equal(count("order_events"), 3);
    assert_int_equal(stream->loaded_n, 3);
}

static void other_isolation_levels_of_the_database_do_no_harm(void **state)
{
    (void)state;
    fixture_postgres_run(server, "ALTER TABLE blotter.order_events ADD COLUMN level text DEFAULT "
                                 "current_setting('transaction_isolation')");
    PGconn *admin = fixture_postgres_connect(server);
    PQclear(PQexec(admin, "ALTER DATABASE blotter SET default_transaction_isolation = "
                          "'repeatable read'"));
    PQfinish(admin);
    fixture_postgres_run(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                 "application_name = 'loader'");
    assert_true(loop_until(seen.base, &seen.ups, 2));
    add_order(1);
    load();
    assert_loaded();
    assert_string_equal(fixture_postgres_run(server, "SELECT level FROM blotter.order_events"),
                        "read committed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(record_that_fails_where_expired_ones_are_noted_is_rejected),
        TEST(record_whose_progress_cannot_be_counted_is_rejected),
        TEST(reject_that_cannot_be_stored_at_all_stops_loading),
        TEST(error_that_a_good_record_meets_too_stops_loading),
        TEST(error_that_a_good_record_does_not_meet_is_the_records_fault),
        TEST(rows_that_a_trigger_drops_are_rejects_and_are_not_counted_as_stored),
        TEST(each_transaction_raises_the_counter_of_its_streams),
        TEST(other_isolation_levels_of_the_database_do_no_harm),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("loader_rejects", tests, start_server, stop);
}
