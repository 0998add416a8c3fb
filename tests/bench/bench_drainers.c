/* bench_drainers.c: a backlog of eight streams, loaded by one, two and four drainers that start
 * together: the rate of all, how the rows were shared out, and what bounds it: the processors that
 * drainers, PostgreSQL and Redis share on this machine. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/fixture/backlog.h"
#include "tests/fixture/figure.h"

#define STREAMS 8
enum {
    DRAINERS_MAX = 4,
    TIMEOUT_MS = 600000,
};

static struct backlog backlog;

static struct fixture_program *start_drainer(int number)
{
    const char *const argv[] = {fixture_blotter(),
                                "drain",
                                "--redis",
                                fixture_redis_url(backlog.redis),
                                "--postgres",
                                fixture_postgres_conninfo(backlog.postgres),
                                "--consumer",
                                fixture_format("drainer%d", number),
                                NULL};

    return fixture_program_start(argv, NULL);
}

/* blotter_internal.progress is written in the transactions that load: its sum is what is committed.
 */
static bool is_loaded(void *arg)
{
    (void)arg;
    return fixture_postgres_int(backlog.postgres,
                                "SELECT coalesce(sum(stored), 0) FROM blotter_internal.progress") ==
           (int64_t)backlog.rows;
}

static bool is_loading(void *arg)
{
    (void)arg;
    return fixture_postgres_int(backlog.postgres,
                                "SELECT count(*) FROM blotter_internal.progress") > 0;
}

static double cpu_seconds(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* From when the first rows are there until all are. */
static double load_with(int count, double *drainer_cpu)
{
    struct fixture_program *drainers[DRAINERS_MAX];
    double before = cpu_seconds(RUSAGE_CHILDREN);
    int64_t begin_ns;

    for (int i = 0; i < count; i++) {
        drainers[i] = start_drainer(i + 1);
    }
    if (!fixture_wait_until(is_loading, NULL, TIMEOUT_MS)) {
        fixture_fail("nothing is loaded:\n%s", fixture_program_stderr(drainers[0]));
    }
    begin_ns = figure_now_ns();
    if (!fixture_wait_until(is_loaded, NULL, TIMEOUT_MS)) {
        fixture_fail("not all is loaded:\n%s", fixture_program_stderr(drainers[0]));
    }
    double seconds = (double)(figure_now_ns() - begin_ns) / 1e9;
    for (int i = 0; i < count; i++) {
        fixture_program_stop(drainers[i], SIGTERM, 10000);
    }
    *drainer_cpu = cpu_seconds(RUSAGE_CHILDREN) - before;
    return seconds;
}

static void tell(int count, double rate, double one, double cpu_share)
{
    figure_add(&(struct figure){.name = fixture_format("drainers.%d.rate", count),
                                .value = rate,
                                .unit = "rows/s",
                                .ratio = one > 0 ? rate / one : 1});
    figure_note(
        "rows of each: %s; of %ld processors the drainers took %.2f",
        fixture_postgres_run(
            backlog.postgres,
            "SELECT string_agg(rows::text, ', ' ORDER BY rows DESC) FROM (SELECT sum(stored) AS "
            "rows FROM blotter_internal.progress GROUP BY drainer) AS each"),
        sysconf(_SC_NPROCESSORS_ONLN), cpu_share);
    if (fixture_postgres_int(backlog.postgres, "SELECT count(*) FROM blotter.order_events") !=
        (int64_t)backlog.rows) {
        fixture_fail("a row is missing or double");
    }
}

int main(void)
{
    static const int counts[] = {1, 2, DRAINERS_MAX};
    struct timespec now;
    double one = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    backlog = (struct backlog){.rows = (uint64_t)figure_setting("BENCH_ROWS", 400000),
                               .streams = STREAMS,
                               .open_orders = (unsigned)figure_setting("BENCH_OPEN_ORDERS", 500),
                               .time_ns = now.tv_sec * INT64_C(1000000000),
                               .redis = fixture_redis_start(NULL),
                               .postgres = backlog_postgres()};
    figure_heading("drainers: %" PRIu64 " records in %d streams, orders kept; x: to one drainer",
                   backlog.rows, STREAMS);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        double cpu, seconds;

        backlog_empty_tables(&backlog);
        backlog_fill(&backlog);
        seconds = load_with(counts[i], &cpu);
        double rate = (double)backlog.rows / seconds;
        one = counts[i] == 1 ? rate : one;
        tell(counts[i], rate, one, cpu / seconds);
    }
    return 0;
}
