/* test_pg_link_connect.c: how the connection to PostgreSQL comes about, and what is said where it
 * does not. */
#include <stdlib.h>

#include "drainer/log.h"
#include "drainer/postgres/pg_hosts.h"
#include "tests/integration/postgres/pg_link_seen.h"

static void link_is_ready_when_its_session_is_prepared(void **state)
{
    (void)state;
    open_ready(TIMEOUT_MS);
    assert_int_equal(seen.prepared_rows, 2);
    assert_int_equal(seen.downs, 0);
    run("SELECT current_setting('application_name') || ' ' || current_setting('lock_timeout')");
    assert_done();
    assert_string_equal(seen.value, "test 1s");
}

static void rows_are_utf8_whatever_the_conninfo_says(void **state)
{
    (void)state;
    open_link(fixture_format("%s client_encoding=LATIN1", fixture_postgres_conninfo(server)),
              TIMEOUT_MS);
    run_until(&seen.ups, 1);
    run("SHOW client_encoding");
    assert_string_equal(seen.value, "UTF8");
}

static void missing_database_needs_a_person(void **state)
{
    (void)state;
    open_link(fixture_format("%s dbname=nowhere", fixture_postgres_conninfo(server)), TIMEOUT_MS);
    run_until(&seen.downs, 1);
    assert_int_equal(seen.why.action, PG_ACTION_PERSON);
    assert_string_equal(seen.why.sqlstate, "3D000");
    assert_true(seen.why.connection_lost);
    assert_int_equal(seen.ups, 0);
}

static void refused_password_needs_a_person(void **state)
{
    struct fixture_postgres *strict = fixture_postgres_start(&(struct fixture_postgres_options){
        .no_fsync = true, .hba = "local all postgres trust\nlocal all trader scram-sha-256\n"});
    const char *conninfo = fixture_postgres_conninfo(strict);

    (void)state;
    fixture_postgres_run(strict,
                         "CREATE ROLE trader LOGIN PASSWORD 'right'; CREATE ROLE nobody LOGIN");
    open_link(fixture_format("%s user=trader password=wrong", conninfo), TIMEOUT_MS);
    run_until(&seen.downs, 1);
    assert_int_equal(seen.why.action, PG_ACTION_PERSON);
    assert_string_equal(seen.why.sqlstate, "28P01");
    close_link(NULL);
    open_link(fixture_format("%s user=trader passfile=/nowhere", conninfo),
              TIMEOUT_MS); /* none at all: libpq's own words */
    run_until(&seen.downs, 1);
    assert_int_equal(seen.why.action, PG_ACTION_PERSON);
    close_link(NULL);
    open_link(fixture_format("%s user=nobody", conninfo), TIMEOUT_MS); /* no line of pg_hba.conf */
    run_until(&seen.downs, 1);
    assert_int_equal(seen.why.action, PG_ACTION_PERSON);
    assert_string_equal(seen.why.sqlstate, "28000");
    close_link(NULL);
    open_link(fixture_format("%s user=trader password=right", conninfo), TIMEOUT_MS);
    run_until(&seen.ups, 1);
    fixture_postgres_stop(strict, FIXTURE_FAST);
}

static void too_many_connections_pass(void **state)
{
    (void)state;
    fixture_postgres_run(server, "CREATE ROLE lonely LOGIN CONNECTION LIMIT 0");
    open_link(fixture_format("%s user=lonely", fixture_postgres_conninfo(server)), TIMEOUT_MS);
    run_until(&seen.downs, 2);
    assert_int_equal(seen.why.action, PG_ACTION_RETRY);
    assert_string_equal(seen.why.sqlstate, "53300");
    fixture_postgres_run(server, "ALTER ROLE lonely CONNECTION LIMIT 5");
    run_until(&seen.ups, 1);
}

static void server_that_is_not_there_is_tried_again_until_it_is(void **state)
{
    (void)state;
    fixture_postgres_stop(server, FIXTURE_FAST);
    open_link(fixture_postgres_conninfo(server), TIMEOUT_MS);
    run_until(&seen.downs, 3);
    assert_int_equal(seen.why.action, PG_ACTION_RETRY);
    assert_string_equal(seen.why.sqlstate, "");
    fixture_postgres_start_again(server);
    run_until(&seen.ups, 1);
}

static void session_that_cannot_be_prepared_is_no_session(void **state)
{
    (void)state;
    open_link_with((struct pg_link_options){.conninfo = fixture_postgres_conninfo(server),
                                            .prepare_sql = "SELECT nothing()",
                                            .command_timeout_ms = TIMEOUT_MS});
    run_until(&seen.downs, 1);
    assert_int_equal(seen.ups, 0);
    assert_int_equal(seen.why.action, PG_ACTION_PERSON);
    assert_string_equal(seen.why.sqlstate, "42883");
}

/* libpq closes the socket to one server and opens that to the next within one step, and it gets the
 * same number. */
static void next_host_is_taken_where_one_refuses_or_is_read_only(void **state)
{
    struct fixture_postgres *read_only = fixture_postgres_start(&(struct fixture_postgres_options){
        .tcp = true, .no_fsync = true, .settings = "default_transaction_read_only = on\n"});
    struct fixture_postgres *good =
        fixture_postgres_start(&(struct fixture_postgres_options){.tcp = true, .no_fsync = true});
    int closed = fixture_free_port(), port = fixture_postgres_port(good);

    (void)state;
    open_link(fixture_format("host=127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1 port=%d,%d,%d,%d "
                             "user=postgres dbname=blotter "
                             "target_session_attrs=read-write",
                             closed, closed, fixture_postgres_port(read_only), port),
              TIMEOUT_MS);
    run_until(&seen.ups, 1);
    assert_int_equal(seen.downs, 0);
    run("SHOW port");
    assert_int_equal(atoi(seen.value), port);
    fixture_postgres_stop(read_only, FIXTURE_FAST);
    fixture_postgres_stop(good, FIXTURE_FAST);
}

/* A server that is stopped takes connections and says nothing. */
static void next_host_is_taken_where_one_is_silent(void **state)
{
    struct fixture_postgres *silent =
        fixture_postgres_start(&(struct fixture_postgres_options){.tcp = true, .no_fsync = true});
    struct fixture_postgres *good =
        fixture_postgres_start(&(struct fixture_postgres_options){.tcp = true, .no_fsync = true});
    int port = fixture_postgres_port(good);

    (void)state;
    fixture_postgres_pause(silent);
    open_link_with((struct pg_link_options){
        .conninfo = fixture_format("host=127.0.0.1,127.0.0.1,127.0.0.1 port=1,%d,%d user=postgres "
                                   "dbname=blotter",
                                   fixture_postgres_port(silent), port),
        .command_timeout_ms = TIMEOUT_MS,
        .connect_timeout_ms = 2000});
    run_until(&seen.ups, 1);
    assert_int_equal(seen.downs, 1); /* the one before it refuses, and is no place to begin again */
    run("SHOW port");
    assert_int_equal(atoi(seen.value), port);
    fixture_postgres_resume(silent);
    fixture_postgres_stop(silent, FIXTURE_FAST);
    fixture_postgres_stop(good, FIXTURE_FAST);
}

static void hosts_share_the_time_that_connecting_may_take(void **state)
{
    (void)state;
    assert_int_equal(pg_hosts_patience_ms("dbname=blotter", 10000), 10000);
    assert_int_equal(pg_hosts_patience_ms("host=a,b dbname=blotter", 10000), 5000);
    assert_int_equal(pg_hosts_patience_ms("host=a,b,c,d,e,f,g dbname=blotter", 10000), 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(link_is_ready_when_its_session_is_prepared),
        TEST(rows_are_utf8_whatever_the_conninfo_says),
        TEST(missing_database_needs_a_person),
        TEST(refused_password_needs_a_person),
        TEST(too_many_connections_pass),
        TEST(server_that_is_not_there_is_tried_again_until_it_is),
        TEST(session_that_cannot_be_prepared_is_no_session),
        TEST(next_host_is_taken_where_one_refuses_or_is_read_only),
        TEST(next_host_is_taken_where_one_is_silent),
        cmocka_unit_test(hosts_share_the_time_that_connecting_may_take),
    };
    log_open(LOG_ERROR);
    return cmocka_run_group_tests_name("pg_link_connect", tests, start_server, NULL);
}
