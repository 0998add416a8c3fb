/* bench_idle.c: what Blotter costs a machine on which little or nothing happens: a producer that is
 * connected and has nothing to send, the same with two records a second, and four drainers of a
 * thousand streams without new records, by the processor time of Redis and of the drainers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "producer/blotter.h"
#include "tests/fixture/drainers.h"
#include "tests/fixture/figure.h"

enum {
    STREAMS = 1000,
    DRAINERS = 4,
    PER_SECOND = 2,
    SETTLE_MS = 3000, /* what a start has caused, as a round of leases, is over */
};

static int64_t seconds;

/* --- a producer --- */

static int64_t own_cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Lets `seconds` pass. Returns how much of a processor this process took, in per cent. */
static double measure_producer(blotter_producer *producer, int per_second)
{
    const struct blotter_order order = {.order_id = "1", .symbol = "BTC/USDT", .price = "91250.5"};
    int64_t steps = seconds * (per_second > 0 ? per_second : 1), begin_ns, cpu_us;

    fixture_sleep_ms(SETTLE_MS);
    begin_ns = figure_now_ns();
    cpu_us = own_cpu_us();
    for (int64_t i = 0; i < steps; i++) {
        if (per_second > 0 && blotter_order(producer, &order) < 0) {
            fixture_fail("blotter_order: %s", blotter_problem());
        }
        fixture_sleep_ms(per_second > 0 ? 1000 / per_second : 1000);
    }
    return 100.0 * (double)(own_cpu_us() - cpu_us) /
           ((double)(figure_now_ns() - begin_ns) / 1000.0);
}

static void measure_producers(void)
{
    struct fixture_program *drainer = story_drainer("confirms");
    struct blotter_options options = {
        .exchange = "okx", .redis = getenv("BLOTTER_REDIS"), .journal = story_journals()};
    blotter_producer *producer;

    if (blotter_open(&producer, &options) != 0) {
        fixture_fail("blotter_open: %s", blotter_open_error());
    }
    if (blotter_order(producer, &(struct blotter_order){.order_id = "0"}) < 0 ||
        blotter_flush(producer, BLOTTER_COMMITTED, STORY_TIMEOUT_MS) != BLOTTER_OK) {
        fixture_fail("nothing is committed");
    }
    figure_add(&(struct figure){.name = "idle.producer",
                                .value = measure_producer(producer, 0),
                                .unit = "%",
                                .target_is = FIGURE_AT_MOST,
                                .target = 0.1});
    figure_add(&(struct figure){.name = "idle.two_a_second",
                                .value = measure_producer(producer, PER_SECOND),
                                .unit = "%",
                                .target_is = FIGURE_AT_MOST,
                                .target = 0.3});
    blotter_close(producer, STORY_TIMEOUT_MS);
    drainer_stop(drainer);
}

/* --- drainers --- */

static bool are_all_held(void *arg)
{
    (void)arg;
    return story_int("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") >=
           STREAMS;
}

static void measure_drainers(void)
{
    struct fixture_program *drainers[DRAINERS];
    pid_t redis = fixture_redis_pid(story_redis);
    int64_t begin_ns, redis_ns, drainers_ns = 0;

    for (int i = 0; i < STREAMS; i++) {
        story_add_order(fixture_format("blotter:venue%d:0", i), 100 + i, 1, 0,
                        &(struct blotter_order){.order_id = "1"});
    }
    for (int i = 0; i < DRAINERS; i++) {
        drainers[i] = story_drainer(fixture_format("idle%d", i));
    }
    story_await_drained();
    if (!fixture_wait_until(are_all_held, NULL, STORY_TIMEOUT_MS)) {
        fixture_fail("not all streams are held");
    }
    fixture_sleep_ms(SETTLE_MS);
    begin_ns = figure_now_ns();
    redis_ns = fixture_thread_ns(redis);
    for (int i = 0; i < DRAINERS; i++) {
        drainers_ns -= fixture_thread_ns(fixture_program_pid(drainers[i]));
    }
    fixture_sleep_ms((int)(seconds * 1000));
    redis_ns = fixture_thread_ns(redis) - redis_ns;
    for (int i = 0; i < DRAINERS; i++) {
        drainers_ns += fixture_thread_ns(fixture_program_pid(drainers[i]));
    }
    double passed_ns = (double)(figure_now_ns() - begin_ns);
    figure_add(&(struct figure){.name = "idle.redis",
                                .value = 100.0 * (double)redis_ns / passed_ns,
                                .unit = "%",
                                .target_is = FIGURE_AT_MOST,
                                .target = 1});
    figure_add_plain("idle.drainers", 100.0 * (double)drainers_ns / passed_ns, "%");
    for (int i = 0; i < DRAINERS; i++) {
        drainer_stop(drainers[i]);
    }
}

int main(void)
{
    seconds = figure_setting("BENCH_SECONDS", 20);
    story_begin(NULL);
    unsetenv("BLOTTER_REBALANCE_INTERVAL"); /* as it is by default */
    figure_heading("idle: shares of a processor, over %" PRId64 " s each", seconds);
    figure_note("producer, two_a_second: a process with one producer, its sender's thread included;"
                " redis: its main thread, with %d drainers of %d streams in which nothing is new;"
                " drainers: their main threads together",
                DRAINERS, STREAMS);
    measure_producers();
    measure_drainers();
    story_end(NULL);
    return 0;
}
