/* bench_takeover.c: how long the streams of a drainer that was killed wait for another: from kill
 * -9 until each of them has a row that was recorded after it. Two drainers share the streams,
 * settings as they are by default; records come all the time.
 *
 * Beside it the bound: how long PostgreSQL itself takes to give a dead client's lock to one that
 * waits for it. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "tests/fixture/drainers.h"
#include "tests/fixture/figure.h"

#define STREAMS 4
enum {
    PER_SECOND = 200, /* of each stream */
    RUNS_MAX = 100,
};
#define LOCK 42

static PGconn *reader;

static int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static int64_t ask(const char *sql)
{
    PGresult *result = PQexec(reader, sql);
    int64_t value = PQntuples(result) == 1 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : -1;

    if (value < 0) {
        fixture_fail("%s: %s", sql, PQresultErrorMessage(result));
    }
    PQclear(result);
    return value;
}

static bool is_each_loaded_since(void *arg)
{
    return ask(fixture_format("SELECT count(DISTINCT exchange) FROM blotter.order_events "
                              "WHERE recorded_at > to_timestamp(0) + interval '%" PRId64 " us'",
                              *(int64_t *)arg)) == STREAMS;
}

/* Milliseconds. It shares the streams with another when it is killed. */
static double kill_one(int number)
{
    const char *name = fixture_format("killed%d", number);
    struct fixture_program *drainer = drainer_by(NULL, NULL, name);
    int64_t begin_ns, killed_us;

    drainer_await_loaded(name, PER_SECOND);
    killed_us = wall_clock_us();
    begin_ns = figure_now_ns();
    drainer_kill9(drainer);
    if (!fixture_wait_until(is_each_loaded_since, &killed_us, STORY_TIMEOUT_MS)) {
        fixture_fail("%s was killed, and nobody loads for it", name);
    }
    return (double)(figure_now_ns() - begin_ns) / 1e6;
}

static PGconn *ask_for_lock(bool wait)
{
    PGconn *connection = fixture_postgres_connect(story_postgres);
    const char *sql = fixture_format("SELECT pg_advisory_lock(%d)", LOCK);

    if (PQsendQuery(connection, sql) != 1) {
        fixture_fail("%s: %s", sql, PQerrorMessage(connection));
    }
    for (PGresult *result; wait && (result = PQgetResult(connection)) != NULL;) {
        PQclear(result);
    }
    return connection;
}

static bool is_waited_for(void *arg)
{
    (void)arg;
    return ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1;
}

/* Milliseconds from the end of a connection, as the kernel makes it when a process is killed. */
static double inherit_lock(void)
{
    PGconn *dead = ask_for_lock(true), *heir = ask_for_lock(false);
    int64_t begin_ns;

    if (!fixture_wait_until(is_waited_for, NULL, STORY_TIMEOUT_MS)) {
        fixture_fail("nobody waits for the lock");
    }
    begin_ns = figure_now_ns();
    shutdown(PQsocket(dead), SHUT_RDWR);
    for (PGresult *result; (result = PQgetResult(heir)) != NULL;) {
        PQclear(result);
    }
    double ms = (double)(figure_now_ns() - begin_ns) / 1e6;
    PQfinish(heir);
    PQfinish(dead);
    return ms;
}

static void measure(size_t runs)
{
    double taken[RUNS_MAX], inherited[RUNS_MAX], longest = 0;

    for (size_t i = 0; i < runs; i++) {
        inherited[i] = inherit_lock();
        taken[i] = kill_one((int)i);
        longest = taken[i] > longest ? taken[i] : longest;
    }
    figure_add(&(struct figure){.name = "takeover.p50",
                                .value = figure_median(taken, runs),
                                .unit = "ms",
                                .beside = {{"lock", figure_median(inherited, runs)}},
                                .target_is = FIGURE_AT_MOST,
                                .target = 700});
    figure_add(&(struct figure){.name = "takeover.max",
                                .value = longest,
                                .unit = "ms",
                                .target_is = FIGURE_AT_MOST,
                                .target = 700});
}

int main(void)
{
    size_t runs = (size_t)figure_setting("BENCH_RUNS", 9);
    struct load *loads[STREAMS];
    struct fixture_program *other;

    if (runs < 1 || runs > RUNS_MAX) {
        fixture_fail("BENCH_RUNS: 1 to %d", RUNS_MAX);
    }
    story_begin(NULL);
    unsetenv("BLOTTER_REBALANCE_INTERVAL"); /* as it is by default */
    reader = fixture_postgres_connect(story_postgres);
    figure_heading("takeover: kill -9 of one of two drainers of %d streams, until each stream has "
                   "a newer row; %zu times",
                   STREAMS, runs);
    figure_note(
        "lock: how long PostgreSQL takes to give a dead client's lock to one that waits for it");
    for (int i = 0; i < STREAMS; i++) {
        loads[i] = load_start(&(struct load_options){.exchange = fixture_format("venue%d", i),
                                                     .per_second = PER_SECOND});
    }
    other = drainer_by(NULL, NULL, "other");
    drainer_await_loaded("other", PER_SECOND);
    measure(runs);
    for (int i = 0; i < STREAMS; i++) {
        load_finish(loads[i]);
    }
    drainer_stop(other);
    PQfinish(reader);
    story_end(NULL);
    return 0;
}
