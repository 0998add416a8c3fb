/* test_postgres_refuses.c: PostgreSQL is there and refuses: read-only, a standby, no connection
 * left, no right. The drainer says why, rejects nothing, and goes on by itself when it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/drainers.h"

static void finish(struct load *load, struct fixture_program *drainer)
{
    assert_int_equal(story_int("SELECT count(*) FROM blotter.rejects"), 0);
    drainer_finish(drainer, load, 50);
}

/* For as long as it refuses: nothing is stored, what is read stays pending, and the drainer does
 * not run hot. */
static void assert_waits(struct fixture_program *drainer, const char *says)
{
    drainer_await_says(drainer, says);
    int64_t stored = story_int("SELECT count(*) FROM blotter.order_events");
    struct drainer_calm since = drainer_calm(drainer);
    fixture_sleep_ms(1500); /* what it does meanwhile is what is tested */
    drainer_was_calm(drainer, since);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), stored);
    assert_true(story_pending() + story_waiting() > 0);
}

/* New sessions only: the drainer's is ended. */
static void set_read_only(bool on)
{
    story_sql(
        "BEGIN READ WRITE; ALTER DATABASE blotter SET default_transaction_read_only = %s; COMMIT",
        on ? "on" : "off");
    story_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE "
              "'blotter drain%%'");
}

static void a_read_only_database_is_waited_for(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    drainer_await_loaded("d1", 100);
    set_read_only(true);
    assert_waits(drainer, "25006");
    set_read_only(false);
    finish(load, drainer);
}

static void a_server_that_becomes_read_only_is_waited_for(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    drainer_await_loaded("d1", 100);
    story_sql("ALTER SYSTEM SET default_transaction_read_only = on");
    story_sql("SELECT pg_reload_conf()");
    assert_waits(drainer, "SQLSTATE 25006: nothing is acknowledged");
    story_sql("ALTER SYSTEM RESET default_transaction_read_only");
    story_sql("SELECT pg_reload_conf()");
    finish(load, drainer);
}

static void use_postgres(struct fixture_postgres *postgres)
{
    story_postgres = postgres;
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(postgres), 1);
}

/* The primary dies, and the standby that the drainer is sent to is promoted a while later. */
static void a_standby_is_waited_for_until_it_is_promoted(void **state)
{
    (void)state;
    struct fixture_postgres *primary = story_postgres;
    struct fixture_postgres *standby = fixture_postgres_start(
        &(struct fixture_postgres_options){.no_fsync = true, .standby_of = primary});
    const char *both = fixture_format(
        "host=%s,%s port=%d,%d user=postgres dbname=blotter",
        fixture_postgres_socket_folder(primary), fixture_postgres_socket_folder(standby),
        fixture_postgres_port(primary), fixture_postgres_port(standby));
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--postgres", both);
    drainer_await_loaded("d1", 100);
    fixture_postgres_stop(primary,
                          FIXTURE_FAST); /* which waits until the standby has received everything */
    use_postgres(standby);
    story_await_int(1, "SELECT (pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn())::int");
    assert_waits(drainer, "25006");
    story_sql("SELECT pg_promote()");
    finish(load, drainer);
    fixture_postgres_stop(standby, FIXTURE_IMMEDIATE);
    fixture_postgres_start_again(primary);
    use_postgres(primary);
}

#define AS_DRAINER fixture_format("%s user=night", fixture_postgres_conninfo(story_postgres))

static void make_user(void)
{
    if (story_int("SELECT count(*) FROM pg_roles WHERE rolname = 'night'") == 0) {
        story_sql("CREATE ROLE night LOGIN IN ROLE blotter_drainer");
    }
}

static void terminate_user(void)
{
    story_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'night'");
}

static void a_limit_of_connections_is_waited_for(void **state)
{
    (void)state;
    make_user();
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--postgres", AS_DRAINER);
    drainer_await_loaded("d1", 100);
    story_sql("ALTER ROLE night CONNECTION LIMIT 0");
    terminate_user();
    assert_waits(drainer, "too many connections");
    story_sql("ALTER ROLE night CONNECTION LIMIT -1");
    finish(load, drainer);
}

/* The error needs a person, and passes once that person has acted. */
static void a_right_that_is_taken_away_is_waited_for(void **state)
{
    (void)state;
    make_user();
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--postgres", AS_DRAINER);
    drainer_await_loaded("d1", 100);
    story_sql("REVOKE INSERT ON blotter.order_events FROM blotter_drainer");
    assert_waits(drainer, "this needs a person");
    story_sql("GRANT INSERT ON blotter.order_events TO blotter_drainer");
    finish(load, drainer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(a_read_only_database_is_waited_for),
        TEST(a_server_that_becomes_read_only_is_waited_for),
        TEST(a_standby_is_waited_for_until_it_is_promoted),
        TEST(a_limit_of_connections_is_waited_for),
        TEST(a_right_that_is_taken_away_is_waited_for),
    };
    return cmocka_run_group_tests_name("postgres_refuses", tests, NULL, NULL);
}
