/* test_pg_link.c: the connection to PostgreSQL: commands, COPY, and everything that can happen to
 * it. */
#include <malloc.h>

#include "drainer/copy.h"
#include "drainer/log.h"
#include "tests/integration/postgres/pg_link_seen.h"

/* --- commands --- */

static void error_is_told_and_leaves_the_link_ready(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    run("SELECT 1/0");
    assert_failed("22012", PG_ACTION_DATA);
    assert_string_equal(seen.failure.message, "division by zero");
    run("SELECT nothing()");
    assert_failed("42883", PG_ACTION_PERSON);
    run("");
    assert_done();
    run("SELECT 'again'");
    assert_done();
    assert_string_equal(seen.value, "again");
    assert_int_equal(seen.downs, 0);
}

static void error_within_a_transaction_rolls_it_back(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE TABLE kept (n int CHECK (n < 10))");
    open_ready(TIMEOUT_MS);
    run("BEGIN; INSERT INTO kept VALUES (1); INSERT INTO kept VALUES (10); COMMIT");
    assert_failed("23514", PG_ACTION_DATA);
    assert_string_equal(seen.failure.table, "kept");
    assert_string_equal(seen.failure.constraint, "kept_n_check");
    run("SELECT count(*) FROM kept");
    assert_string_equal(seen.value, "0");
    run("BEGIN; INSERT INTO kept VALUES (1); COMMIT");
    assert_done();
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM kept"), 1);
}

static void message_is_cut_between_characters(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    for (int before = 0; before < 3;
         before++) { /* three bytes a character: one of these cuts within one */
        run(fixture_format(
            "DO $$BEGIN RAISE EXCEPTION USING MESSAGE = repeat('x', %d) || repeat('€', 500); END$$",
            before));
        assert_failed("P0001", PG_ACTION_DATA);
        size_t length = strlen(seen.failure.message);
        assert_true(length > 500);
        assert_int_equal((length - (size_t)before) % 3, 0);
    }
}

static int chain_left;

static void on_link_of_chain(void *owner, const struct pg_failure *failure)
{
    (void)owner;
    assert_null(failure);
    seen.done++;
    if (--chain_left > 0) {
        pg_link_run(seen.link,
                    &(struct pg_command){.sql = "SELECT 1", .on_done = on_link_of_chain});
    }
}

static void command_may_be_run_when_another_is_done(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    chain_left = 1000;
    pg_link_run(seen.link, &(struct pg_command){.sql = "SELECT 1", .on_done = on_link_of_chain});
    run_until(&seen.done, 1000);
    assert_true(pg_link_ready(seen.link));
}

/* --- COPY --- */

static struct copy_buffer rows;

/* A table's worth of rows (n bigint, filler text of 100 bytes); returns the bytes of one. */
static size_t make_rows(int64_t count)
{
    char filler[100];

    memset(filler, 'x', sizeof filler);
    rows.length = 0;
    for (int64_t n = 1; n <= count; n++) {
        copy_put_row_head(&rows, 2);
        copy_put_int64(&rows, n);
        copy_put_bytes(&rows, filler, sizeof filler);
    }
    return rows.length / (size_t)count;
}

static const struct pg_chunk head_chunk = {copy_head, COPY_HEAD_BYTES},
                             tail_chunk = {copy_tail, COPY_TAIL_BYTES};

static void copies_of_megabytes_in_odd_chunks_arrive_whole(void **state)
{
    enum { ROWS = 60000, CHUNKS = 100 };
    struct pg_chunk chunks[CHUNKS + 2] = {head_chunk};
    struct pg_copy copies[3];
    size_t at = 0, row_bytes = make_rows(ROWS);

    (void)state;
    for (int i = 0; i < CHUNKS; i++) { /* none of them ends with a row, one is empty */
        size_t length = i == 50           ? 0
                        : i == CHUNKS - 1 ? rows.length - at
                                          : rows.length / CHUNKS + (size_t)i % 7;

        chunks[1 + i] = (struct pg_chunk){rows.bytes + at, length};
        at += length;
    }
    assert_int_equal(at, row_bytes * ROWS);
    chunks[CHUNKS + 1] = tail_chunk;
    for (int i = 0; i < 3; i++) {
        copies[i] = (struct pg_copy){.chunks = chunks, .count = CHUNKS + 2};
    }
    open_ready(TIMEOUT_MS);
    run("CREATE TABLE a (n bigint, filler text); CREATE TABLE b (LIKE a); CREATE TABLE c (LIKE a)");
    run_copies(
        "BEGIN; COPY a FROM STDIN BINARY; COPY b FROM STDIN BINARY; COPY c FROM STDIN BINARY; "
        "SELECT count(*) FROM c; COMMIT",
        copies, 3);
    assert_done();
    assert_string_equal(seen.value, "60000");
    assert_string_equal(fixture_postgres_run(
                            server, "SELECT concat_ws(' ', (SELECT count(DISTINCT n) FROM a), "
                                    "(SELECT sum(n) FROM b), (SELECT min(length(filler)) FROM c))"),
                        "60000 1800030000 100");
    run("DROP TABLE a, b, c");
    copy_buffer_release(&rows);
}

static void error_in_the_middle_of_a_copy_stores_nothing_of_the_command(void **state)
{
    enum { ROWS = 50000 };
    struct pg_chunk chunks[] = {head_chunk, {NULL, 0}, tail_chunk};
    struct pg_copy copies[2] = {{.chunks = chunks, .count = 3}, {.chunks = chunks, .count = 3}};

    (void)state;
    make_rows(ROWS);
    chunks[1] = (struct pg_chunk){rows.bytes, rows.length};
    open_ready(TIMEOUT_MS);
    run("CREATE TABLE a (n bigint, filler text); CREATE TABLE b (n bigint CHECK (n <> 25000), "
        "filler text)");
    run_copies("BEGIN; COPY a FROM STDIN BINARY; COPY b FROM STDIN BINARY; COMMIT", copies, 2);
    assert_failed("23514", PG_ACTION_DATA);
    assert_string_equal(seen.failure.constraint, "b_n_check");
    run_copies("BEGIN; COPY b FROM STDIN BINARY; COPY a FROM STDIN BINARY; COMMIT", copies,
               2); /* the second never begins */
    assert_failed("23514", PG_ACTION_DATA);
    run_copies("BEGIN; COPY a FROM STDIN BINARY; COMMIT", copies, 1);
    assert_done();
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM a"), ROWS);
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM b"), 0);
    run("DROP TABLE a, b");
    copy_buffer_release(&rows);
}

static void copy_for_which_there_is_no_data_fails_the_command(void **state)
{
    struct pg_chunk chunks[] = {head_chunk, tail_chunk};
    struct pg_copy copy = {.chunks = chunks, .count = 2};

    (void)state;
    open_ready(TIMEOUT_MS);
    run("CREATE TABLE a (n bigint, filler text)");
    run_copies("BEGIN; INSERT INTO a VALUES (1); COPY a FROM STDIN BINARY; COPY a FROM STDIN "
               "BINARY; COMMIT",
               &copy, 1);
    assert_true(seen.failed);
    assert_true(pg_link_ready(seen.link));
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM a"), 0);
    run("DROP TABLE a");
}

/* A COPY of a hundred megabytes, which takes as long as the server is paused. */
enum { MANY = 1000 };
static struct pg_chunk many_chunks[MANY + 2];
static struct pg_copy many = {.chunks = many_chunks, .count = MANY + 2};

static void start_large_copy(void)
{
    make_rows(1000);
    many_chunks[0] = head_chunk;
    many_chunks[MANY + 1] = tail_chunk;
    for (int i = 1; i <= MANY; i++) {
        many_chunks[i] = (struct pg_chunk){rows.bytes, rows.length};
    }
    start("COPY large FROM STDIN BINARY", &many, 1);
}

static size_t heap_bytes(void)
{
    return mallinfo2().uordblks;
}

static void server_that_does_not_read_costs_no_memory(void **state)
{
    size_t before;

    (void)state;
    open_ready(TIMEOUT_MS);
    run("CREATE UNLOGGED TABLE large (n bigint, filler text)");
    fixture_postgres_pause(server);
    before = heap_bytes();
    start_large_copy();
    for (int64_t until = fixture_now_ms() + 300; fixture_now_ms() < until;) {
        event_base_loop(seen.base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(seen.done, 1); /* the CREATE TABLE */
    fixture_postgres_resume(server);
    for (size_t most = 0; seen.done<2; most = heap_bytes()> most ? heap_bytes() : most) {
        event_base_loop(seen.base, EVLOOP_ONCE);
        assert_true(most < before + 1000000);
    }
    assert_done();
    assert_int_equal(fixture_postgres_int(server, "SELECT count(*) FROM large"), 1000 * MANY);
    run("DROP TABLE large");
    copy_buffer_release(&rows);
}

/* --- lost connections --- */

static void server_killed_in_a_copy_is_a_lost_connection_and_comes_back(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    run("CREATE TABLE large (n bigint, filler text)");
    fixture_postgres_pause(server); /* so that the COPY cannot be over */
    start_large_copy();
    for (int i = 0; i < 100; i++) {
        event_base_loop(seen.base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(pg_link_state(seen.link), PG_LINK_RUNNING);
    fixture_postgres_kill9(server);
    run_until(&seen.done, 2);
    assert_lost();
    assert_int_equal(seen.downs, 1);
    fixture_postgres_start_again(server);
    run_until(&seen.ups, 2);
    run("SELECT count(*) FROM large");
    assert_string_equal(seen.value, "0");
    run("DROP TABLE large");
    copy_buffer_release(&rows);
}

static void terminate_backend(void)
{
    fixture_postgres_run(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'");
}

static void session_terminated_while_idle_comes_back_by_itself(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    terminate_backend();
    run_until(&seen.downs, 1);
    assert_true(seen.why.connection_lost);
    assert_int_equal(seen.why.action, PG_ACTION_RETRY);
    run_until(&seen.ups, 2);
    run("SELECT 1");
    assert_done();
}

static bool is_running(void *sql)
{
    return fixture_postgres_int(server,
                                "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                "'test' AND query = '%s'",
                                (const char *)sql) == 1;
}

static void session_terminated_in_a_command_is_a_lost_connection(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    start("SELECT pg_sleep(100)", NULL, 0);
    assert_true(fixture_wait_until(is_running, "SELECT pg_sleep(100)", TIMEOUT_MS));
    terminate_backend();
    run_until(&seen.done, 1);
    assert_lost();
    run_until(&seen.ups, 2);
}

static void command_that_takes_too_long_gives_the_connection_up(void **state)
{
    (void)state;
    open_ready(1000); /* which a session has for its preparation, and the last command, too */
    run("SELECT pg_sleep(100)");
    assert_lost();
    assert_string_equal(seen.failure.message, "no answer in time");
    run_until(&seen.ups, 2);
    run("SELECT 1");
    assert_done();
}

/* The server hears of its standbys by and by: until then commits do not wait, and another one is
 * tried. */
static bool commit_waits_for_standby(void *arg)
{
    (void)arg;
    event_base_loop(seen.base, EVLOOP_NONBLOCK);
    if (pg_link_ready(seen.link)) {
        seen.done = 0;
        start("BEGIN; SET LOCAL synchronous_commit = on; TRUNCATE public.doubt; INSERT INTO "
              "public.doubt VALUES (1); COMMIT",
              NULL, 0);
    }
    return fixture_postgres_int(
               server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test' "
                       "AND wait_event = 'SyncRep'") == 1;
}

static void commit_whose_standby_was_not_waited_for_is_in_doubt(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE TABLE doubt (n int)");
    open_ready(TIMEOUT_MS);
    fixture_postgres_run(server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    fixture_postgres_run(server, "SELECT pg_reload_conf()");
    assert_true(fixture_wait_until(commit_waits_for_standby, NULL, TIMEOUT_MS));
    fixture_postgres_run(
        server,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'");
    run_until(&seen.done, 1);
    assert_lost();
    fixture_postgres_run(server, "ALTER SYSTEM RESET synchronous_standby_names");
    fixture_postgres_run(server, "SELECT pg_reload_conf()");
    run_until(&seen.ups, 2);
    run("SELECT count(*) FROM doubt");
    assert_string_equal(seen.value, "1"); /* it was stored, but only here */
}

static int64_t sessions(void)
{
    return fixture_postgres_int(
        server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'");
}

/* A backend that waits for a standby does not notice that its client has gone; each new session
 * ends the one before it. */
static void standby_that_is_away_does_not_make_sessions_pile_up(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE TABLE waiting (n int)");
    open_link_with((struct pg_link_options){
        .conninfo = fixture_postgres_conninfo(server),
        .command_timeout_ms = 1000,
        .prepare_sql = "SET search_path = public; CREATE TEMPORARY TABLE mine (n int)"});
    run_until(&seen.ups, 1);
    fixture_postgres_run(server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    fixture_postgres_run(server, "SELECT pg_reload_conf()");
    while (seen.downs < 4) {
        if (pg_link_ready(seen.link)) {
            start(
                "BEGIN; SET LOCAL synchronous_commit = on; INSERT INTO waiting VALUES (1); COMMIT",
                NULL, 0);
        }
        event_base_loop(seen.base, EVLOOP_ONCE);
        assert_in_range(sessions(), 0, 2);
    }
    fixture_postgres_run(server, "ALTER SYSTEM RESET synchronous_standby_names");
    fixture_postgres_run(server, "SELECT pg_reload_conf()");
    run_until(&seen.ups, seen.ups + 1);
    run("SELECT count(*) FROM waiting");
    assert_done();
    assert_in_range(sessions(), 1, 2);
}

static void session_that_waits_for_a_standby_can_be_ended(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE TABLE ended (n int)");
    open_link_with((struct pg_link_options){
        .conninfo = fixture_postgres_conninfo(server),
        .command_timeout_ms = TIMEOUT_MS,
        .prepare_sql = "SET search_path = public; CREATE TEMPORARY TABLE mine (n int)"});
    run_until(&seen.ups, 1);
    int backend = pg_link_backend(seen.link);
    fixture_postgres_run(server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    fixture_postgres_run(server, "SELECT pg_reload_conf()");
    assert_true(fixture_wait_until(commit_waits_for_standby, NULL, TIMEOUT_MS));
    assert_string_equal(
        fixture_postgres_run(server, "SELECT pg_terminate_backend(%d, %d)", backend, TIMEOUT_MS),
        "t");
    fixture_postgres_run(server, "ALTER SYSTEM RESET synchronous_standby_names");
    fixture_postgres_run(server, "SELECT pg_reload_conf()");
}

/* Whatever the role's or the database's setting: names of others in front could be called. */
static void names_are_looked_for_in_postgresqls_own_schema(void **state)
{
    (void)state;
    open_link_with((struct pg_link_options){.conninfo = fixture_postgres_conninfo(server),
                                            .command_timeout_ms = TIMEOUT_MS,
                                            .prepare_sql = "SELECT 1"});
    run_until(&seen.ups, 1);
    run("SHOW search_path");
    assert_string_equal(seen.value, "pg_catalog, pg_temp");
}

/* It may yet commit what it was given, and hold its locks. */
static void session_that_cannot_be_ended_is_not_replaced(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    int backend = pg_link_backend(seen.link);
    kill(backend, SIGSTOP);
    pg_link_reconnect(seen.link, "as if it had said nothing");
    run_until(&seen.downs, 2);
    kill(backend, SIGCONT);
    assert_int_equal(seen.ups, 1);
    assert_non_null(strstr(seen.why.message, "the session before this one does not end"));
    run_until(&seen.ups, 2);
    assert_in_range(sessions(), 1, 2);
}

static void copy_tells_how_many_rows_were_stored(void **state)
{
    struct pg_chunk chunks[] = {head_chunk, {NULL, 0}, tail_chunk};
    struct pg_copy copy = {.chunks = chunks, .count = 3, .rows = 10};

    (void)state;
    make_rows(10);
    chunks[1] = (struct pg_chunk){rows.bytes, rows.length};
    fixture_postgres_run(
        server,
        "CREATE TABLE dropping (n bigint, filler text); "
        "CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN CASE WHEN NEW.n %% 2 = 0 THEN NEW END; END'; "
        "CREATE TRIGGER drops BEFORE INSERT ON dropping FOR EACH ROW EXECUTE FUNCTION drop_some()");
    open_ready(TIMEOUT_MS);
    run_copies("BEGIN; COPY dropping FROM STDIN BINARY; COMMIT", &copy, 1);
    assert_done();
    assert_int_equal(copy.stored, 5);
}

static void link_is_destroyed_in_any_state(void **state)
{
    (void)state;
    open_link(fixture_postgres_conninfo(server), TIMEOUT_MS);
    close_link(NULL);
    open_ready(TIMEOUT_MS);
    start("SELECT pg_sleep(100)", NULL, 0);
    close_link(NULL);
    assert_int_equal(seen.done, 0);
    open_ready(TIMEOUT_MS);
    terminate_backend();
    run_until(&seen.downs, 1);
    close_link(NULL);
    pg_link_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(error_is_told_and_leaves_the_link_ready),
        TEST(error_within_a_transaction_rolls_it_back),
        TEST(message_is_cut_between_characters),
        TEST(command_may_be_run_when_another_is_done),
        TEST(copies_of_megabytes_in_odd_chunks_arrive_whole),
        TEST(error_in_the_middle_of_a_copy_stores_nothing_of_the_command),
        TEST(copy_for_which_there_is_no_data_fails_the_command),
        TEST(server_that_does_not_read_costs_no_memory),
        TEST(server_killed_in_a_copy_is_a_lost_connection_and_comes_back),
        TEST(session_terminated_while_idle_comes_back_by_itself),
        TEST(session_terminated_in_a_command_is_a_lost_connection),
        TEST(command_that_takes_too_long_gives_the_connection_up),
        TEST(commit_whose_standby_was_not_waited_for_is_in_doubt),
        TEST(standby_that_is_away_does_not_make_sessions_pile_up),
        TEST(session_that_waits_for_a_standby_can_be_ended),
        TEST(names_are_looked_for_in_postgresqls_own_schema),
        TEST(session_that_cannot_be_ended_is_not_replaced),
        TEST(copy_tells_how_many_rows_were_stored),
        TEST(link_is_destroyed_in_any_state),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("pg_link", tests, start_server, NULL);
}
