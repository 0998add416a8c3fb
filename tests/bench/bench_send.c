/* bench_send.c: how fast one producer's sender brings records to Redis, beside redis-benchmark's
 * XADD of the same size.
 *
 * The journal is filled first, so that the sender is what is measured: it runs in this thread on an
 * event loop of ours, and the time goes from its first record to Redis' last answer.
 * redis-benchmark sends an argument of the same length to the same server over the same socket, on
 * one connection with 128 commands in flight; what it reports is taken. In turn, A B A B, Redis
 * emptied in between. BENCH_RECORDS, BENCH_RUNS. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/figure.h"
#include "tests/fixture/rivals.h"

enum { RUNS_MAX = 20 };
#define SAMPLES 1024
enum { SEND_TIMEOUT_MS = 60000 };

static struct sample_order samples[SAMPLES];

struct send_run {
    double per_s;        /* records */
    double cpu_us;       /* of this thread, per record */
    double submit_per_s; /* into the journal, in a tight loop */
    double redis_busy;   /* per cent of the time */
};

static int64_t thread_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static struct blotter_stats stats_of(blotter_producer *producer)
{
    struct blotter_stats stats;

    if (blotter_stats(producer, &stats) != 0) {
        fixture_fail("blotter_stats");
    }
    return stats;
}

static void run_until(struct event_base *base, blotter_producer *producer,
                      bool (*done)(const struct blotter_stats *, int64_t), int64_t wanted)
{
    int64_t deadline = fixture_now_ms() + SEND_TIMEOUT_MS;

    for (struct blotter_stats stats = stats_of(producer); !done(&stats, wanted);
         stats = stats_of(producer)) {
        event_base_loop(base, EVLOOP_ONCE);
        if (fixture_now_ms() > deadline) {
            fixture_fail("the sender does not send: %s", stats.last_error);
        }
    }
}

static bool is_up(const struct blotter_stats *stats, int64_t wanted)
{
    (void)wanted;
    return stats->redis_up && stats->sent >= stats->accepted;
}

static bool all_sent(const struct blotter_stats *stats, int64_t wanted)
{
    return stats->sent >= wanted;
}

/* A power of two that leaves the journal half empty, so that no record is let go. */
static uint32_t slots_for(int64_t records)
{
    uint32_t slots = 64;

    while (slots < 2 * records) {
        slots *= 2;
    }
    return slots;
}

static struct send_run run_sender(const struct fixture_redis *redis, int64_t records)
{
    struct event_base *base = event_base_new();
    struct blotter_options options = {.exchange = "bench",
                                      .redis = fixture_redis_url(redis),
                                      .journal = rivals_journal_folder(),
                                      .slots = slots_for(records),
                                      .sender = BLOTTER_SENDER_LOOP,
                                      .event_base = base};
    blotter_producer *producer;
    struct blotter_stats stats;
    struct send_run run;
    int64_t begin_ns, cpu_ns, redis_ns, took_ns, last = 0;

    if (blotter_open(&producer, &options) != 0) {
        fixture_fail("blotter_open: %s", blotter_open_error());
    }
    run_until(base, producer, is_up, 0);
    begin_ns = figure_now_ns();
    for (int64_t i = 0; i < records; i++) {
        last = blotter_order(producer, &samples[i % SAMPLES].order);
        if (last < 0) {
            fixture_fail("blotter_order: %s", blotter_status_text((int)last));
        }
    }
    run.submit_per_s = (double)records / ((double)(figure_now_ns() - begin_ns) / 1e9);
    begin_ns = figure_now_ns();
    cpu_ns = thread_cpu_ns();
    redis_ns = fixture_thread_ns(fixture_redis_pid(redis));
    run_until(base, producer, all_sent, last);
    took_ns = figure_now_ns() - begin_ns;
    redis_ns = fixture_thread_ns(fixture_redis_pid(redis)) - redis_ns;
    run.per_s = (double)records / ((double)took_ns / 1e9);
    run.redis_busy = 100.0 * (double)redis_ns / (double)took_ns;
    run.cpu_us = (double)(thread_cpu_ns() - cpu_ns) / 1e3 / (double)records;
    stats = stats_of(producer);
    if (stats.resent != 0 || stats.full != 0) {
        figure_note("resent %" PRId64 ", FULL %" PRId64, stats.resent, stats.full);
    }
    blotter_close(producer, 0);
    unlink(stats.journal);
    event_base_free(base);
    return run;
}

/* The requests per second out of its CSV, whose last line is "the command","per second",...: the
 * command holds no quote. */
static double run_benchmark(const struct fixture_redis *redis, int64_t records, const char *payload)
{
    const char *const argv[] = {"redis-benchmark",
                                "-s",
                                fixture_redis_socket(redis),
                                "-P",
                                "128",
                                "-c",
                                "1",
                                "-n",
                                fixture_format("%" PRId64, records),
                                "--csv",
                                "XADD",
                                "blotter:bench",
                                "*",
                                "order",
                                payload,
                                NULL};
    struct fixture_program *program;
    const char *text, *at = NULL;

    if (fixture_run(argv, NULL, SEND_TIMEOUT_MS, &program) != 0) {
        fixture_fail("redis-benchmark failed:\n%s", fixture_program_stderr(program));
    }
    text = fixture_program_stdout(program);
    for (const char *next = strstr(text, "\"XADD"); next != NULL;
         next = strstr(next + 1, "\"XADD")) {
        at = next;
    }
    at = at ? strstr(at, "\",\"") : NULL;
    if (at == NULL) {
        fixture_fail("redis-benchmark says nothing that is understood:\n%s", text);
    }
    return at ? strtod(at + 3, NULL) : 0;
}

int main(void)
{
    int64_t records = figure_setting("BENCH_RECORDS", 200000);
    size_t runs = (size_t)figure_setting("BENCH_RUNS", 5);
    double sent[RUNS_MAX], benched[RUNS_MAX], ratio[RUNS_MAX], cpu[RUNS_MAX], submitted[RUNS_MAX],
        busy[RUNS_MAX];
    const struct fixture_redis *redis = fixture_redis_start(NULL);
    unsigned char wire[2048];
    size_t bytes;
    char *payload;

    if (runs < 1 || runs > RUNS_MAX || records < 1) {
        fixture_fail("BENCH_RUNS: 1 to %d; BENCH_RECORDS: at least 1", RUNS_MAX);
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        sample_order_make_fill(&samples[i], i, INT64_C(1763900000000000000) + (int64_t)i * 1000003);
    }
    bytes = sample_order_encode(
        &samples[0],
        &(struct record_identity){INT64_MAX, records / 2, INT64_C(1763900000000000000), "bench"},
        wire, sizeof wire);
    payload = fixture_alloc(bytes + 1);
    memset(payload, 'x', bytes);
    run_sender(redis, records); /* warm */
    for (size_t i = 0; i < runs; i++) {
        struct send_run run;

        fixture_redis_run(redis, "FLUSHALL SYNC");
        run = run_sender(redis, records);
        sent[i] = run.per_s;
        cpu[i] = run.cpu_us;
        submitted[i] = run.submit_per_s;
        busy[i] = run.redis_busy;
        fixture_redis_run(redis, "FLUSHALL SYNC");
        benched[i] = run_benchmark(redis, records, payload);
        ratio[i] = sent[i] / benched[i];
    }
    figure_heading(
        "send: %" PRId64
        " orders of %zu bytes from a full journal to Redis, in one thread; medians of %zu runs",
        records, bytes, runs);
    figure_note("redis_benchmark: -P 128 -c 1, XADD of as many bytes to the same stream, server "
                "and socket. In turn. redis_busy: how much of the time Redis' own thread runs "
                "meanwhile; 100 is the limit");
    figure_add(&(struct figure){.name = "send.rate",
                                .value = figure_median(sent, runs),
                                .unit = "rec/s",
                                .beside = {{"redis_benchmark", figure_median(benched, runs)}},
                                .ratio = figure_median(ratio, runs),
                                .target_is = FIGURE_AT_LEAST,
                                .target = 1.3,
                                .target_is_ratio = 1});
    figure_add(&(struct figure){.name = "send.redis_busy",
                                .value = figure_median(busy, runs),
                                .unit = "%",
                                .target_is = FIGURE_AT_LEAST,
                                .target = 95});
    figure_add_plain("send.cpu", figure_median(cpu, runs), "us/rec");
    figure_add_plain("send.submit_rate", figure_median(submitted, runs), "rec/s");
    return 0;
}
