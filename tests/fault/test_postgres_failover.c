/* test_postgres_failover.c: the primary dies and a standby is promoted, under load; drainers and
 * producers follow by themselves, and what was accepted is stored once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/drainers.h"

static struct fixture_postgres *primary, *standby;

static bool is_streaming(void *arg)
{
    const char *how = arg;

    return fixture_postgres_int(primary,
                                "SELECT count(*) FROM pg_stat_replication WHERE state = "
                                "'streaming' AND sync_state = '%s'",
                                how) == 1;
}

static void reload(struct fixture_postgres *server, const char *setting)
{
    PGconn *admin = fixture_postgres_connect(server);
    PQclear(PQexec(admin, "SET synchronous_commit = local"));
    PGresult *result = PQexec(admin, setting);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fixture_fail("%s: %s", setting, PQerrorMessage(admin));
    }
    PQclear(result);
    PQclear(PQexec(admin, "SELECT pg_reload_conf()"));
    PQfinish(admin);
}

/* The test's PostgreSQL gets a standby, and the programs know both. */
static void start_standby(bool synchronous)
{
    primary = story_postgres;
    standby = fixture_postgres_start(&(struct fixture_postgres_options){
        .no_fsync = true, .standby_of = primary, .settings = "max_standby_streaming_delay = -1"});
    if (synchronous) {
        reload(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    }
    assert_true(fixture_wait_until(is_streaming, synchronous ? "sync" : "async", STORY_TIMEOUT_MS));
    setenv("BLOTTER_POSTGRES",
           fixture_format("host=%s,%s port=%d,%d user=postgres dbname=blotter "
                          "target_session_attrs=read-write",
                          fixture_postgres_socket_folder(primary),
                          fixture_postgres_socket_folder(standby), fixture_postgres_port(primary),
                          fixture_postgres_port(standby)),
           1);
}

static bool is_promoted(void *arg)
{
    (void)arg;
    return strcmp(fixture_postgres_run(standby, "SELECT pg_is_in_recovery()"), "f") == 0;
}

/* The primary is killed, and its standby takes its place; story_sql() asks it from now on. */
static void fail_over(void)
{
    fixture_postgres_kill9(primary);
    fixture_postgres_run(standby, "SELECT pg_promote(false)");
    assert_true(fixture_wait_until(is_promoted, NULL, STORY_TIMEOUT_MS));
    fixture_postgres_run(standby, "ALTER SYSTEM RESET synchronous_standby_names");
    fixture_postgres_run(standby, "SELECT pg_reload_conf()");
    story_postgres = standby;
}

static int end(void **state)
{
    story_postgres = primary;
    if (standby != NULL) {
        fixture_postgres_stop(standby, FIXTURE_IMMEDIATE);
        standby = NULL;
    }
    fixture_postgres_start_again(primary);
    reload(primary, "ALTER SYSTEM RESET synchronous_standby_names");
    return load_end(state);
}

static int64_t rows(void)
{
    return story_int("SELECT count(*) FROM blotter.order_events");
}

static void await_rows_above(int64_t before)
{
    int64_t until = fixture_now_ms() + STORY_TIMEOUT_MS;

    while (rows() <= before && fixture_now_ms() < until) {
        fixture_sleep_ms(20);
    }
    assert_true(rows() > before);
}

static void a_synchronous_standby_is_promoted_under_load_and_nothing_is_lost(void **state)
{
    (void)state;
    start_standby(true);
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load = load_some();
    drainer_await_loaded("d1", 500);
    fail_over();
    await_rows_above(rows());
    assert_string_equal(
        story_sql(
            "SELECT string_agg(timeline::text, ' ' ORDER BY n) FROM blotter_internal.history"),
        "1 2");
    load_finish(load);
    drainer_stop(drainer);
    assert_int_equal(story_int("SELECT count(*) FROM blotter_internal.incidents"), 0);
}

/* The standby misses the last seconds, which were acknowledged: they are gone with the primary. The
 * drainer notices it by the counters, and loads the kept tail again by itself. */
static void
an_asynchronous_standby_is_promoted_and_the_loss_is_healed_from_the_kept_tail(void **state)
{
    (void)state;
    start_standby(false);
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load = load_some();
    drainer_await_loaded("d1", 200);
    fixture_postgres_pause(standby);
    drainers_await_more(2500);
    load_stop(load); /* so that nobody sends again what is lost but the kept tail */
    load_await_stage(load, BLOTTER_COMMITTED);
    int64_t before = rows();
    fixture_postgres_kill9(primary);
    fixture_postgres_resume(standby);
    fixture_postgres_run(standby, "SELECT pg_promote(false)");
    assert_true(fixture_wait_until(is_promoted, NULL, STORY_TIMEOUT_MS));
    story_postgres = standby;
    assert_true(rows() < before);
    story_await_int(before, "SELECT count(*) FROM blotter.order_events");
    load_resume(load);
    load_finish(load);
    drainer_stop(drainer);
    assert_int_equal(story_int("SELECT count(*) FROM blotter_internal.incidents"), 0);
}

static void copy_folder(const char *from, const char *to)
{
    const char *const argv[] = {"cp", "-a", from, to, NULL};
    struct fixture_program *program;

    assert_int_equal(fixture_run(argv, NULL, STORY_TIMEOUT_MS, &program), 0);
}

/* A restored copy is the same system on the same timeline; only the counters tell. */
static void a_database_that_is_restored_from_a_copy_gets_back_what_it_lost(void **state)
{
    (void)state;
    primary = story_postgres;
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 1, .per_second = LOAD_PER_SECOND});
    drainer_await_loaded("d1", 200);
    const char *data = fixture_postgres_folder(primary), *copy = fixture_format("%s.copy", data);
    fixture_postgres_stop(primary, FIXTURE_FAST);
    copy_folder(data, copy);
    fixture_postgres_start_again(primary);
    drainers_await_more(1000);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    int64_t before = rows();
    fixture_postgres_stop(primary, FIXTURE_IMMEDIATE);
    assert_int_equal(rename(data, fixture_format("%s.lost", data)), 0);
    assert_int_equal(rename(copy, data), 0);
    fixture_postgres_start_again(primary);
    story_await_int(before, "SELECT count(*) FROM blotter.order_events");
    load_resume(load);
    load_finish(load);
    drainer_stop(drainer);
}

/* Both are writable, and each has a drainer. The standby's history holds the primary's, and not the
 * other way round: what the primary loads is not acknowledged any more. */
static void two_primaries_at_once_leave_one_that_is_loaded(void **state)
{
    (void)state;
    start_standby(false);
    const char *both = fixture_format("%s", getenv("BLOTTER_POSTGRES"));
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(primary), 1);
    struct fixture_program *old = story_drainer("d1");
    struct load *load = load_some();
    drainer_await_loaded("d1", 200);
    fixture_postgres_run(standby, "SELECT pg_promote(false)");
    assert_true(fixture_wait_until(is_promoted, NULL, STORY_TIMEOUT_MS));
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(standby), 1);
    struct fixture_program *new = story_drainer("d2");
    story_postgres = standby;
    await_rows_above(rows() + 100);
    assert_true(fixture_program_says(old, "another PostgreSQL", STORY_TIMEOUT_MS));
    load_finish(load);
    drainer_stop(new);
    drainer_end(old, 0);
    setenv("BLOTTER_POSTGRES", both, 1);
}

/* The streams keep fewer entries than the standby has missed. What is gone is an incident, which
 * audit shows until a person closes it; the rest is loaded again. */
static void a_loss_that_the_kept_tail_does_not_reach_is_an_incident(void **state)
{
    (void)state;
    start_standby(false);
    struct fixture_program *drainer =
        story_start("drain", "--consumer", "d1", "--keep-entries", "10", "--keep-time", "0s",
                    "--trim-interval", "100ms");
    struct load *load =
        load_start(&(struct load_options){.producers = 1, .per_second = LOAD_PER_SECOND});
    drainer_await_loaded("d1", 200);
    fixture_postgres_pause(standby);
    drainers_await_more(2500);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    fixture_postgres_kill9(primary);
    fixture_postgres_resume(standby);
    fixture_postgres_run(standby, "SELECT pg_promote(false)");
    assert_true(fixture_wait_until(is_promoted, NULL, STORY_TIMEOUT_MS));
    story_postgres = standby;
    story_await_int(1, "SELECT count(*) FROM blotter_internal.incidents WHERE closed_at IS NULL "
                       "AND from_n < to_n");
    story_assert_says(story_audit(1), "incident");
    drainer_stop(drainer);
}

/* A database that knows nothing of the one that Redis was loaded into is not loaded until a person
 * says so. */
static void a_server_with_another_history_is_refused_until_it_is_accepted(void **state)
{
    (void)state;
    primary = story_postgres;
    story_publish(0, "okx", story_order_lines(1, 5));
    story_drain_once();
    standby = fixture_postgres_start(&(struct fixture_postgres_options){.no_fsync = true});
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(standby), 1);
    story_run(0, "migrate");
    story_postgres = standby;
    struct fixture_program *drainer = story_drainer("d1");
    assert_true(fixture_program_says(drainer, "loaded into another PostgreSQL", STORY_TIMEOUT_MS));
    story_publish(0, "okx", story_order_lines(6, 5));
    assert_int_equal(rows(), 0);
    story_run(0, "migrate", "--accept-history");
    story_await_int(5, "SELECT count(*) FROM blotter.order_events"); /* older ones: --from */
    story_await_drained();
    drainer_stop(drainer);
    setenv("BLOTTER_POSTGRES", fixture_postgres_conninfo(primary), 1);
}

static int64_t sessions(void)
{
    return fixture_postgres_int(primary, "SELECT count(*) FROM pg_stat_activity WHERE "
                                         "application_name LIKE 'blotter drain%%'");
}

/* Each transaction that waits for the standby is given up after a second; the session that takes
 * its place ends it. */
static void
a_standby_that_is_away_costs_two_sessions_and_loading_goes_on_when_it_is_back(void **state)
{
    enum { AWAY_MS = 8000 };
    (void)state;
    start_standby(true);
    struct fixture_program *drainer =
        story_start("drain", "--consumer", "d1", "--postgres-timeout", "1s");
    struct load *load =
        load_start(&(struct load_options){.producers = 1, .per_second = LOAD_PER_SECOND});
    drainer_await_loaded("d1", 100);
    fixture_postgres_pause(standby);
    int64_t most = 0;
    for (int64_t until = fixture_now_ms() + AWAY_MS; fixture_now_ms() < until;) {
        int64_t now = sessions();
        most = now > most ? now : most;
        fixture_sleep_ms(20);
    }
    assert_in_range(most, 1, 2);
    story_assert_says(fixture_program_stderr(drainer), "no answer in time");
    fixture_postgres_resume(standby);
    assert_true(fixture_wait_until(is_streaming, "sync", STORY_TIMEOUT_MS));
    load_finish(load);
    drainer_stop(drainer);
}

/* The drainer of another host takes over although the first one's session waits for the standby. */
static void a_drainer_that_waits_for_a_standby_can_be_fenced(void **state)
{
    (void)state;
    start_standby(true);
    struct fixture_program *first = story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 1, .per_second = LOAD_PER_SECOND});
    drainer_await_loaded("d1", 100);
    fixture_postgres_pause(standby);
    story_await_int(1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND "
                       "application_name = 'blotter drain d1'");
    fixture_program_signal(first, SIGSTOP);
    struct fixture_program *second = story_start("drain", "--consumer", "d2", "--claim-idle", "1s");
    assert_true(fixture_program_says(second, "terminated, pid", STORY_TIMEOUT_MS));
    story_await_int(0, "SELECT count(*) FROM pg_stat_activity WHERE "
                       "application_name = 'blotter drain d1'");
    fixture_postgres_resume(standby);
    fixture_program_signal(first, SIGCONT);
    load_finish(load);
    drainer_stop(second);
    drainer_stop(first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_synchronous_standby_is_promoted_under_load_and_nothing_is_lost),
        TEST(an_asynchronous_standby_is_promoted_and_the_loss_is_healed_from_the_kept_tail),
        TEST(a_database_that_is_restored_from_a_copy_gets_back_what_it_lost),
        TEST(two_primaries_at_once_leave_one_that_is_loaded),
        TEST(a_loss_that_the_kept_tail_does_not_reach_is_an_incident),
        TEST(a_server_with_another_history_is_refused_until_it_is_accepted),
        TEST(a_standby_that_is_away_costs_two_sessions_and_loading_goes_on_when_it_is_back),
        TEST(a_drainer_that_waits_for_a_standby_can_be_fenced),
    };
    return cmocka_run_group_tests_name("postgres_failover", tests, NULL, NULL);
}
