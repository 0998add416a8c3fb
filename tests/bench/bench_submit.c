/* bench_submit.c: what recording one order costs the thread that calls, beside what else it could
 * call.
 *
 * Every caller gets the same record: a partially filled order of 20 fields, another one each time,
 * made before the clock starts; just before it in `ms`, as a strategy has just read the exchange's
 * message. Measured is one call from clock reading to clock reading, so each figure holds the
 * clock's own cost, which stands beside it.
 *
 *     hot      calls follow each other at a pace below what the sender sends (BENCH_RATE a second),
 *              so that FULL = 0
 *     ms       one call a millisecond, sleeping in between, as a strategy does: caches are cold
 *     threads  four threads on one producer, together at the pace of `hot`; they yield while they
 *              wait
 *     bound, bound_ms  hot and ms, with account, strategy, symbol, type and time_in_force bound
 *
 * The sender runs and Redis is live. No drainer loads: the journal evicts sent records, as it does
 * while PostgreSQL is away.
 *
 * Rivals: memcpy of the encoded bytes into slots of a journal's size is the floor. Those that send
 * bytes (rdkafka with its mock broker, redisAsyncCommand, XADD) encode the record in the call as
 * submit does; those that store columns (INSERT, SQLite) are given text. SQLite and librdkafka are
 * opened at run time, where they are installed; a build needs neither. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/figure.h"
#include "tests/fixture/rivals.h"
#include "tests/fixture/sample_orders.h"
#include "tests/fixture/servers.h"

enum { RUNS_MAX = 20 };
#define SAMPLES 1024 /* different orders made beforehand, a power of two */
#define SAMPLE_TIME_NS INT64_C(1763900000000000000)
#define NS_PER_S INT64_C(1000000000)

static struct {
    struct fixture_redis *redis;
    struct fixture_postgres *postgres;
    struct sample_order samples[SAMPLES];
    int64_t *times;
    size_t runs;
    blotter_producer *producer;
    blotter_binding *binding;
    int64_t refused;
} bench;

/* The times that one way of recording took, run by run. */
struct series {
    const char *name; /* NULL: not installed */
    double p50[RUNS_MAX], p99[RUNS_MAX], p999[RUNS_MAX], max[RUNS_MAX];
    size_t runs;
};

static void series_add(struct series *series, int64_t *times, size_t count)
{
    size_t run = series->runs++;

    figure_sort(times, count);
    series->p50[run] = figure_percentile(times, count, 50);
    series->p99[run] = figure_percentile(times, count, 99);
    series->p999[run] = figure_percentile(times, count, 99.9);
    series->max[run] = (double)times[count - 1];
}

/* --- ways of recording --- */

struct way {
    const char *name;
    size_t count;        /* calls a run */
    int64_t interval_ns; /* 0: one after the other */
    bool sleep;
    bool (*open)(void); /* false: not installed */
    void (*call)(const struct blotter_order *);
    void (*between)(size_t done); /* not measured; may be NULL */
    void (*close)(void);
};

static void on_event(void *arg, enum blotter_event event, const char *text)
{
    (void)arg;
    if (event == BLOTTER_EVENT_REDIS_REFUSES || event == BLOTTER_EVENT_DAMAGED) {
        fprintf(stderr, "event %d: %s\n", (int)event, text);
    }
}

static bool producer_is_up(void *arg)
{
    struct blotter_stats stats;

    (void)arg;
    return blotter_stats(bench.producer, &stats) == 0 && stats.redis_up;
}

static bool blotter_way_open(void)
{
    struct blotter_options options = {.exchange = "bench",
                                      .redis = fixture_redis_url(bench.redis),
                                      .journal = rivals_journal_folder(),
                                      .on_event = on_event};

    if (blotter_open(&bench.producer, &options) != 0) {
        fixture_fail("blotter_open: %s", blotter_open_error());
    }
    if (!fixture_wait_until(producer_is_up, NULL, 5000)) {
        fixture_fail("the producer does not reach Redis");
    }
    return true;
}

static void blotter_way_call(const struct blotter_order *order)
{
    if (blotter_order(bench.producer, order) < 0) {
        __atomic_fetch_add(&bench.refused, 1, __ATOMIC_RELAXED);
    }
}

static void blotter_way_close(void)
{
    struct blotter_stats stats;

    blotter_flush(bench.producer, BLOTTER_SENT, 10000);
    blotter_stats(bench.producer, &stats);
    if (stats.full != 0 || bench.refused != 0) {
        figure_note("NOT below the sender's rate: FULL = %" PRId64 ", refused %" PRId64, stats.full,
                    bench.refused);
    }
    blotter_close(bench.producer, 1000);
    unlink(stats.journal);
    fixture_redis_run(bench.redis, "FLUSHALL ASYNC");
}

static bool bound_way_open(void)
{
    const struct blotter_order constants = {.account = "main-usdm",
                                            .strategy = "maker-basis-3",
                                            .symbol = "BTC/USDT:USDT",
                                            .type = "limit",
                                            .time_in_force = "GTC"};

    blotter_way_open();
    bench.binding = blotter_bind(bench.producer, BLOTTER_KIND_ORDER, &constants);
    if (bench.binding == NULL) {
        fixture_fail("blotter_bind: %s", blotter_problem());
    }
    return true;
}

static void bound_way_call(const struct blotter_order *order)
{
    if (blotter_submit_bound(bench.producer, bench.binding, order) < 0) {
        __atomic_fetch_add(&bench.refused, 1, __ATOMIC_RELAXED);
    }
}

static void bound_way_close(void)
{
    blotter_unbind(bench.binding);
    blotter_way_close();
}

static void leave_out_bound(struct blotter_order *order)
{
    order->account = order->strategy = order->symbol = order->type = order->time_in_force = NULL;
}

static bool nothing_open(void)
{
    return true;
}
static void nothing_close(void) {}
static void clock_call(const struct blotter_order *order)
{
    (void)order;
}

static const struct way ways[] = {
    {"submit.hot", 100000, -1, false, blotter_way_open, blotter_way_call, NULL, blotter_way_close},
    {"submit.bound", 100000, -1, false, bound_way_open, bound_way_call, NULL, bound_way_close},
    {"clock", 100000, 0, false, nothing_open, clock_call, NULL, nothing_close},
    {"memcpy", 100000, 0, false, rivals_memcpy_open, rivals_memcpy_call, NULL, rivals_memcpy_close},
    {"rdkafka", 100000, -1, false, rivals_kafka_open, rivals_kafka_call, rivals_kafka_between,
     rivals_kafka_close},
    {"redis_async", 100000, 0, false, rivals_async_open, rivals_async_call, rivals_async_between,
     rivals_async_close},
    {"submit.ms", 2000, 1000000, true, blotter_way_open, blotter_way_call, NULL, blotter_way_close},
    {"submit.bound_ms", 2000, 1000000, true, bound_way_open, bound_way_call, NULL, bound_way_close},
    {"clock_ms", 1000, 1000000, true, nothing_open, clock_call, NULL, nothing_close},
    {"memcpy_ms", 1000, 1000000, true, rivals_memcpy_open, rivals_memcpy_call, NULL,
     rivals_memcpy_close},
    {"xadd", 5000, 0, false, rivals_xadd_open, rivals_xadd_call, NULL, rivals_xadd_close},
    {"insert", 2000, 0, false, rivals_insert_open, rivals_insert_call, NULL, rivals_insert_close},
    {"sqlite", 300, 0, false, rivals_sqlite_open, rivals_sqlite_call, NULL, rivals_sqlite_close},
    {"sqlite_wal", 300, 0, false, rivals_sqlite_wal_open, rivals_sqlite_call, NULL,
     rivals_sqlite_close},
};
#define WAYS (sizeof ways / sizeof *ways)

/* --- measuring --- */

static int64_t hot_interval_ns(void)
{
    return NS_PER_S / figure_setting("BENCH_RATE", 100000);
}

/* A call that is late does not make the next ones follow faster: that would be the tight loop
 * again. */
static void wait_until(int64_t due_ns, bool sleep, bool yield)
{
    struct timespec due = {.tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S};

    if (sleep) {
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
        return;
    }
    while (figure_now_ns() < due_ns) {
        if (yield) {
            sched_yield();
        }
    }
}

static void measure(const struct way *way, int64_t *times, size_t count, int64_t interval_ns,
                    bool yield)
{
    bool bound = way->call == bound_way_call;
    int64_t due_ns = figure_now_ns();

    for (size_t i = 0; i < count; i++) {
        struct sample_order fresh, *sample = way->sleep ? &fresh : &bench.samples[i % SAMPLES];
        int64_t begin_ns;

        if (interval_ns != 0) {
            due_ns =
                due_ns + interval_ns > figure_now_ns() ? due_ns + interval_ns : figure_now_ns();
            wait_until(due_ns, way->sleep, yield);
        }
        if (way->sleep) {
            sample_order_make_fill(&fresh, i, SAMPLE_TIME_NS + (int64_t)i * 1000003);
        }
        struct blotter_order rest = sample->order;
        if (bound) {
            leave_out_bound(&rest);
        }
        begin_ns = figure_now_ns();
        way->call(bound ? &rest : &sample->order);
        times[i] = figure_now_ns() - begin_ns;
        if (way->between) {
            way->between(i + 1);
        }
    }
}

static void run_way(const struct way *way, struct series *series)
{
    if (!way->open()) {
        return;
    }
    series->name = way->name;
    measure(way, bench.times, way->count < 1000 ? way->count : 1000,
            way->interval_ns < 0 ? hot_interval_ns() : way->interval_ns, false); /* warm */
    measure(way, bench.times, way->count,
            way->interval_ns < 0 ? hot_interval_ns() : way->interval_ns, false);
    series_add(series, bench.times, way->count);
    way->close();
}

enum {
    THREADS = 4,
    THREAD_CALLS = 25000,
};

static void *submit_in_thread(void *arg)
{
    measure(&ways[0], arg, THREAD_CALLS, hot_interval_ns() * THREADS, true);
    return NULL;
}

static void run_threads(struct series *series)
{
    pthread_t threads[THREADS];

    blotter_way_open();
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, submit_in_thread,
                           bench.times + (size_t)i * THREAD_CALLS) != 0) {
            fixture_fail("pthread_create");
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    series->name = "submit.threads";
    series_add(series, bench.times, (size_t)THREADS * THREAD_CALLS);
    blotter_way_close();
}

/* --- the table --- */

enum percentile { P50, P99, P999, MAX };

static double median_of(struct series *series, enum percentile percentile)
{
    double *all[] = {series->p50, series->p99, series->p999, series->max};

    return figure_median(all[percentile], series->runs);
}

static bool ends_with_ms(const char *name)
{
    size_t length = strlen(name);

    return length > 2 && strcmp(name + length - 2, "ms") == 0;
}

/* The same percentile of those calls beside it that are made in the same way: one a millisecond, or
 * all the others for `hot`. The ratio, and its target, are to memcpy. */
static void tell(struct series *series, enum percentile percentile, double target,
                 struct series *all)
{
    static const char *const names[] = {"p50", "p99", "p999", "max"};
    struct figure figure = {.name = fixture_format("%s.%s", series->name, names[percentile]),
                            .value = median_of(series, percentile),
                            .unit = "ns",
                            .target_is = target > 0 ? FIGURE_AT_MOST : FIGURE_NO_TARGET,
                            .target = target,
                            .target_is_ratio = 1};
    bool ms = ends_with_ms(series->name), hot = strcmp(series->name, "submit.hot") == 0;
    int used = 0;

    for (size_t i = 0; i < WAYS && used < FIGURE_BESIDES; i++) {
        bool floor = all[i].name && (strncmp(all[i].name, "clock", 5) == 0 ||
                                     strncmp(all[i].name, "memcpy", 6) == 0);

        if (!all[i].name || strncmp(all[i].name, "submit", 6) == 0 ||
            ends_with_ms(all[i].name) != ms || (!floor && !hot)) {
            continue;
        }
        figure.beside[used].name = all[i].name;
        figure.beside[used].value = median_of(&all[i], percentile);
        figure.ratio =
            all[i].name[0] == 'm' ? figure.value / figure.beside[used].value : figure.ratio;
        used++;
    }
    figure_add(&figure);
}

/* Limits, as ratios to memcpy of the same bytes; 0: none. */
static const struct {
    const char *name;
    double p50, p999;
} targets[] = {{"submit.hot", 3.5, 3},
               {"submit.bound", 2.5, 3},
               {"submit.ms", 2.5, 0},
               {"submit.bound_ms", 2, 0}};

static void tell_all(struct series *all, struct series *threads)
{
    for (size_t i = 0; i < WAYS; i++) {
        if (!all[i].name) {
            figure_note("left out: %s is not installed", ways[i].name);
        }
        for (size_t k = 0; all[i].name && k < sizeof targets / sizeof *targets; k++) {
            if (strcmp(ways[i].name, targets[k].name) == 0) {
                tell(&all[i], P50, targets[k].p50, all);
                tell(&all[i], P99, 0, all);
                tell(&all[i], P999, targets[k].p999, all);
                tell(&all[i], MAX, 0, all);
            }
        }
    }
    tell(threads, P50, 0, all);
    tell(threads, P99, 0, all);
    tell(threads, P999, 0, all);
    tell(threads, MAX, 0, all);
}

int main(void)
{
    static struct series all[WAYS], threads;
    unsigned char wire[2048];
    size_t bytes;

    bench.runs = (size_t)figure_setting("BENCH_RUNS", 3);
    if (bench.runs < 1 || bench.runs > RUNS_MAX) {
        fixture_fail("BENCH_RUNS: 1 to %d", RUNS_MAX);
    }
    bench.redis = fixture_redis_start(NULL);
    bench.postgres = fixture_postgres_start(NULL);
    bench.times = calloc((size_t)THREADS * THREAD_CALLS, sizeof *bench.times);
    for (size_t i = 0; i < SAMPLES; i++) {
        sample_order_make_fill(&bench.samples[i], i, SAMPLE_TIME_NS + (int64_t)i * 1000003);
    }
    bytes = sample_order_encode(&bench.samples[0],
                                &(struct record_identity){1, 1, SAMPLE_TIME_NS, "bench"}, wire,
                                sizeof wire);
    rivals_begin(bench.redis, bench.postgres, wire, bytes);
    figure_heading("submit: an order of %d fields, %zu bytes on the wire; %" PRId64
                   " a second; medians of %zu runs",
                   SAMPLE_FILL_FIELDS, bytes, figure_setting("BENCH_RATE", 100000), bench.runs);
    figure_note("ms: one a millisecond, caches cold; threads: 4 on one producer. The rivals' same "
                "percentile beside; x: to memcpy.");
    for (size_t run = 0; run < bench.runs; run++) {
        for (size_t i = 0; i < WAYS; i++) {
            run_way(&ways[i], &all[i]);
        }
        run_threads(&threads);
    }
    tell_all(all, &threads);
    return 0;
}
