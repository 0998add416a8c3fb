/* bench_memory.c: how much memory one drainer takes, whatever waits for it: the most it ever had
 * resident (VmHWM, looked at every 20 ms), at a large backlog in few streams, and with 200 streams.
 *
 * The large backlog is of small records, so that a Redis on a small machine holds it; what the
 * drainer holds is bounded by rows and by bytes, and the second measurement is of records of the
 * usual size, which reach the bound by bytes. */
#include <inttypes.h>
#include <time.h>

#include "tests/fixture/backlog.h"
#include "tests/fixture/figure.h"

static void measure(struct backlog *backlog, const char *name)
{
    struct backlog_run run;
    double bytes;

    backlog_empty_tables(backlog);
    bytes = backlog_fill(backlog);
    run = backlog_drain(backlog, true);
    if (run.max_rss_mib == 0) {
        fixture_fail("the drainer's memory was not seen");
    }
    figure_note("%s: %" PRIu64 " records of %.0f bytes in %u streams, %.0f rows/s", name,
                backlog->rows, bytes, backlog->streams, (double)backlog->rows / run.seconds);
    figure_add(&(struct figure){.name = fixture_format("memory.%s.rss", name),
                                .value = run.max_rss_mib,
                                .unit = "MiB",
                                .target_is = FIGURE_AT_MOST,
                                .target = 32});
}

int main(void)
{
    struct backlog large = {.rows = (uint64_t)figure_setting("BENCH_BACKLOG", 2000000),
                            .streams = 4,
                            .open_orders = (unsigned)figure_setting("BENCH_OPEN_ORDERS", 500),
                            .small = true};
    struct backlog many = {.rows = (uint64_t)figure_setting("BENCH_ROWS", 200000),
                           .streams = 200,
                           .open_orders = (unsigned)figure_setting("BENCH_OPEN_ORDERS", 20)};
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    large.time_ns = many.time_ns = now.tv_sec * INT64_C(1000000000);
    large.redis = many.redis = fixture_redis_start(NULL);
    large.postgres = many.postgres = backlog_postgres();
    figure_heading("memory: the drainer's peak resident set; orders kept; the target is for a "
                   "backlog of 10 million (BENCH_BACKLOG)");
    measure(&large, "backlog");
    measure(&many, "streams");
    return 0;
}
