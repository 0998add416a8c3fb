/* test_postgres_dies.c: PostgreSQL is killed and restarted under load, at each step of a
 * transaction and at any time, and its sessions are ended. The drainer comes back by itself, and
 * all that was accepted is stored, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fixture/drainers.h"

#define SESSIONS "pg_stat_activity WHERE application_name LIKE 'blotter drain%%'"

/* The whole server is stopped at once while these bytes are on their way, and started again. */
static void dies_at(enum fixture_direction direction, const char *bytes, enum fixture_cut when)
{
    struct fixture_proxy *line = fixture_proxy_postgres(story_postgres, false);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, line, "d1");
    drainer_await_loaded("d1", 100);
    drainer_stall_at(line, direction, bytes, when);
    fixture_postgres_stop(story_postgres, FIXTURE_IMMEDIATE);
    fixture_proxy_cut(line); /* what was on the way is lost */
    fixture_proxy_stall(line, 0);
    drainer_await_says(drainer, "nothing is acknowledged, it will be read again");
    fixture_postgres_start_again(story_postgres);
    drainer_finish(drainer, load, 20);
}

static void dies_in_a_copy(void **state)
{
    (void)state;
    dies_at(FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_AFTER);
}

static void dies_when_it_has_committed_and_before_it_has_said_so(void **state)
{
    (void)state;
    dies_at(FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_STALL_BEFORE);
}

/* The server lives; only the connection is lost, over and over. */
static void a_commit_in_doubt_is_stored_once(void **state)
{
    enum { CUTS = 10 };
    (void)state;
    struct fixture_proxy *line = fixture_proxy_postgres(story_postgres, false);
    struct load *load = load_some();
    struct fixture_program *drainer = drainer_by(NULL, line, "d1");
    for (int i = 0; i < CUTS; i++) {
        drainers_await_more(1);
        switch (i % 3) {
        case 0: /* it has committed, and the drainer does not know */
            drainer_stall_at(line, FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_STALL_BEFORE);
            break;
        case 1: /* it has, and the drainer sends the next batch to nobody */
            drainer_stall_at(line, FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_STALL_AFTER);
            break;
        default: /* it has not */
            drainer_stall_at(line, FIXTURE_TO_SERVER, "PGCOPY", FIXTURE_STALL_AFTER);
            break;
        }
        assert_in_range(fixture_proxy_cut(line), 1, 2); /* it loads by one, it books by the other */
        fixture_proxy_stall(line, 0);
    }
    drainer_finish(drainer, load, 20);
}

static void restarted_at_any_time_over_and_over(void **state)
{
    enum { RESTARTS = 4 };
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    printf("seed %u\n", seed);
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 0; i < RESTARTS; i++) {
        drainers_await_more(1);
        fixture_sleep_ms((int)(rand_r(&seed) % 50));
        if (i % 2 == 0) {
            fixture_postgres_kill9(story_postgres);
        } else {
            fixture_postgres_stop(story_postgres, FIXTURE_FAST);
        }
        fixture_postgres_start_again(story_postgres);
    }
    drainer_finish(drainer, load, 20);
}

static void sessions_that_are_terminated_over_and_over_come_back(void **state)
{
    enum { TIMES = 15 };
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    printf("seed %u\n", seed);
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    for (int i = 0; i < TIMES; i++) {
        drainers_await_more(1);
        fixture_sleep_ms((int)(rand_r(&seed) % 30));
        story_sql("SELECT pg_terminate_backend(pid) FROM " SESSIONS);
    }
    drainer_finish(drainer, load, 20);
}

static bool is_cancelled(void *server)
{
    PGresult *result = PQexec(server, "SELECT pg_cancel_backend(pid) FROM " SESSIONS
                                      " AND wait_event_type = 'Lock'");
    bool cancelled = PQntuples(result) == 1;
    PQclear(result);
    return cancelled;
}

static bool is_not_waiting(void *server)
{
    PGresult *result = PQexec(server, "SELECT FROM " SESSIONS " AND wait_event_type = 'Lock'");
    bool waiting = PQntuples(result) > 0;
    PQclear(result);
    return !waiting;
}

/* A record that is alone in its transaction is not what is at fault either. */
static void statements_that_are_cancelled_over_and_over_are_done_again(void **state)
{
    (void)state;
    struct load *load = load_start(&(struct load_options){.per_second = 50});
    struct fixture_program *drainer = drainer_by(NULL, NULL, "d1", "--batch-rows", "1");
    drainer_await_loaded("d1", 1);
    PGconn *server = fixture_postgres_connect(story_postgres),
           *holder = fixture_postgres_connect(story_postgres);
    PQclear(PQexec(holder, "BEGIN; LOCK TABLE blotter_internal.progress IN EXCLUSIVE MODE"));
    for (int i = 0; i < 6; i++) {
        assert_true(fixture_wait_until(is_cancelled, server, STORY_TIMEOUT_MS));
        assert_true(fixture_wait_until(is_not_waiting, server, STORY_TIMEOUT_MS));
    }
    PQfinish(holder);
    PQfinish(server);
    drainer_await_says(drainer, "SQLSTATE 57014");
    assert_null(strstr(fixture_program_stderr(drainer), "record rejected"));
    drainer_finish(drainer, load, 20);
}

static void away_for_a_while_costs_nothing(void **state)
{
    (void)state;
    struct load *load = load_some();
    struct fixture_program *drainer = story_drainer("d1");
    drainer_await_loaded("d1", 100);
    fixture_postgres_stop(story_postgres, FIXTURE_IMMEDIATE);
    drainer_await_says(drainer, "level=warn object=postgres");
    struct drainer_calm since = drainer_calm(drainer);
    fixture_sleep_ms(3000); /* what it does meanwhile is what is tested */
    drainer_was_calm(drainer, since);
    fixture_postgres_start_again(story_postgres);
    drainer_finish(drainer, load, 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    static const struct CMUnitTest tests[] = {
        TEST(dies_in_a_copy),
        TEST(dies_when_it_has_committed_and_before_it_has_said_so),
        TEST(a_commit_in_doubt_is_stored_once),
        TEST(restarted_at_any_time_over_and_over),
        TEST(sessions_that_are_terminated_over_and_over_come_back),
        TEST(statements_that_are_cancelled_over_and_over_are_done_again),
        TEST(away_for_a_while_costs_nothing),
    };
    return cmocka_run_group_tests_name("postgres_dies", tests, NULL, NULL);
}
