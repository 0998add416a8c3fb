/* bench_latency.c: from submit to a row that others can see, by the whole path: producer, Redis,
 * `blotter drain`, PostgreSQL.
 *
 * A reader with a connection of its own asks again and again for the rows behind the last one it
 * has seen; a record's latency goes from just before its submit to when the reader holds the
 * answer, on one clock. So it holds the reader's own query and, on average, half its pause of 0.5
 * ms between two questions: more than what the path takes, never less. stored_at would flatter, as
 * it is when the transaction began.
 *
 * Paced by the clock: 200/s is a record every 5 ms; 20,000/s is 20 records every millisecond, a
 * burst as markets make them. Servers as they are installed, durable. Beside it: one synchronous
 * INSERT by the strategy itself, on the same server, while nothing else runs. BENCH_SECONDS,
 * BENCH_RUNS.
 *
 * The books are behind by what lies between a fill's row and its booking. It is measured from the
 * submit on, too, to when the reader holds the fill from the books. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/backlog.h"
#include "tests/fixture/figure.h"
#include "tests/fixture/rivals.h"

enum {
    RUNS_MAX = 20,
    OPEN_ORDERS = 500,
    SILENT = 2, /* of an order's three fills: one event in four is a fill, as bench_drain's books */
    READER_PAUSE_NS = 500000,
    PRODUCER_SAMPLES = 10000000, /* a producer makes fewer */
    TRADE_ID_STEP = 300,         /* from one sample fill to the next */
    FILL_AGE_US = 2000,          /* a sample's exchange_time is a little less before its submit */
};
#define NS_PER_S INT64_C(1000000000)
#define POSTGRES_EPOCH_US INT64_C(946684800000000)
enum {
    LATE_S = 30, /* how long after the last submit a row may come */
    INSERTS = 2000,
    WAL_FILES = 40,
};

struct pace {
    const char *name;
    int64_t tick_ns;
    int records;      /* at each tick */
    double ratio_max; /* of p99 to the median of a synchronous INSERT; 0: no target */
    double ms_max;    /* of p99; 0: no target */
    bool booked;      /* records are fills, and seen once they are in the books */
};
static const struct pace paces[] = {
    {"200_s", 5000000, .records = 1, .ratio_max = 12},
    {"20000_s", 1000000, .records = 20},
    {"books_2000_s", 1000000, .records = 2, .ms_max = 50, .booked = true},
};
#define PACES (sizeof paces / sizeof *paces)
static const struct pace no_target = {.name = ""};

/* One run: when each record was submitted, with what seq (a fill: trade id); and how long until it
 * was seen. */
struct course {
    blotter_producer *producer;
    const struct pace *pace;
    int64_t count, capacity;
    int64_t *submitted_ns, *submitted_id, *seen_ns, *seen_id, *seen_at;
    int64_t seen, in_order, first_id; /* in_order: seen, and all before them; first_id: of a fill */
    unsigned producer_number;
    uint64_t next_sample;     /* every order has four events and is over: none comes twice */
    int64_t last_at, last_id; /* of the last row seen, as PostgreSQL sends them */
};

static int64_t wall_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* --- the strategy --- */

/* Returns its trade id. */
static int64_t make_fill(const struct course *course, struct sample_order *sample, int64_t n)
{
    sample_order_make_fill(
        sample, course->producer_number * PRODUCER_SAMPLES + course->next_sample + (uint64_t)n,
        wall_clock_ns());
    return strtoll(sample->trade_id, NULL, 10);
}

static void submit_one(struct course *course, int64_t n)
{
    struct sample_order sample;

    if (course->pace->booked) {
        course->submitted_id[n] = make_fill(course, &sample, n);
        course->submitted_ns[n] = figure_now_ns();
        blotter_order(course->producer, &sample.order);
    } else {
        sample_order_make(&sample, course->producer_number, course->next_sample + (uint64_t)n,
                          OPEN_ORDERS, wall_clock_ns());
        sample_order_silence(
            &sample, sample_order_event(course->next_sample + (uint64_t)n, OPEN_ORDERS), SILENT);
        course->submitted_ns[n] = figure_now_ns();
        course->submitted_id[n] = blotter_order(course->producer, &sample.order);
    }
}

static void *submit_all(void *arg)
{
    struct course *course = arg;
    int64_t due_ns = figure_now_ns();

    for (int64_t done = 0; done < course->count;) {
        struct timespec due = {.tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
        for (int i = 0; i < course->pace->records && done < course->count; i++, done++) {
            submit_one(course, done);
        }
        due_ns += course->pace->tick_ns;
    }
    return NULL;
}

/* --- the reader --- */

static int64_t binary_int64(const PGresult *result, int row, int column)
{
    uint64_t big;

    memcpy(&big, PQgetvalue(result, row, column), sizeof big);
    return (int64_t)be64toh(big);
}

/* Events of one producer are stored in its order, so what is new lies behind the last one seen. */
static void take_events(struct course *course, const PGresult *result, int64_t now_ns)
{
    int rows = PQntuples(result);

    for (int i = 0; i < rows && course->seen < course->count; i++, course->seen++) {
        course->seen_id[course->seen] = binary_int64(result, i, 1);
        course->seen_ns[course->seen] = now_ns;
    }
    if (rows > 0) {
        memcpy(&course->last_at, PQgetvalue(result, rows - 1, 0), 8);
        memcpy(&course->last_id, PQgetvalue(result, rows - 1, 1), 8);
    }
}

/* Fills are booked in about their order: what is new lies behind the last one before which all were
 * seen. */
static void take_fills(struct course *course, const PGresult *result, int64_t now_ns)
{
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t n = (binary_int64(result, i, 1) - course->first_id) / TRADE_ID_STEP;

        if (n >= 0 && n < course->count && course->seen_ns[n] == 0) {
            course->seen_id[n] = binary_int64(result, i, 1);
            course->seen_ns[n] = now_ns;
            memcpy(&course->seen_at[n], PQgetvalue(result, i, 0), 8);
            course->seen++;
        }
    }
    while (course->in_order < course->count && course->seen_ns[course->in_order] != 0) {
        course->last_at = course->seen_at[course->in_order++];
    }
}

static void read_all(struct course *course, PGconn *conn, int64_t producer_id)
{
    static const char events[] = "SELECT recorded_at, seq FROM blotter.order_events "
                                 "WHERE (recorded_at, seq) > ($1, $2) AND recorded_at >= $1 AND "
                                 "producer_id = $3 ORDER BY recorded_at, seq";
    static const char fills[] = "SELECT at, trade_id::bigint FROM blotter_internal.fill "
                                "WHERE at >= $1 AND $2 + $3 IS NOT NULL";
    int64_t producer = (int64_t)htobe64((uint64_t)producer_id);
    int64_t deadline_ns = figure_now_ns() +
                          course->count / course->pace->records * course->pace->tick_ns +
                          LATE_S * NS_PER_S;
    const char *values[] = {(char *)&course->last_at, (char *)&course->last_id, (char *)&producer};
    const int lengths[] = {8, 8, 8}, formats[] = {1, 1, 1};
    struct timespec pause = {.tv_nsec = READER_PAUSE_NS};
    PGresult *result = PQexec(conn, "SET enable_seqscan = off; SET enable_bitmapscan = off");

    if (PQresultStatus(result) != PGRES_COMMAND_OK) { /* a table without statistics is read whole */
        fixture_fail("the reader: %s", PQresultErrorMessage(result));
    }
    PQclear(result);
    result = PQprepare(conn, "new_rows", course->pace->booked ? fills : events, 3,
                       (const Oid[]){1184 /* timestamptz */, 20 /* int8 */, 20});

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fixture_fail("the reader: %s", PQresultErrorMessage(result));
    }
    PQclear(result);
    while (course->seen < course->count && figure_now_ns() < deadline_ns) {
        result = PQexecPrepared(conn, "new_rows", 3, values, lengths, formats, 1);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            fixture_fail("the reader: %s", PQresultErrorMessage(result));
        }
        (course->pace->booked ? take_fills : take_events)(course, result, figure_now_ns());
        PQclear(result);
        nanosleep(&pause, NULL);
    }
    if (course->seen != course->count) {
        fixture_fail("%" PRId64 " rows of %" PRId64 " seen", course->seen, course->count);
    }
}

/* --- a run --- */

struct percentiles {
    double p50[RUNS_MAX], p99[RUNS_MAX], p999[RUNS_MAX];
};

static void percentiles_set(struct percentiles *percentiles, size_t run, int64_t *times_ns,
                            size_t count)
{
    figure_sort(times_ns, count);
    percentiles->p50[run] = figure_percentile(times_ns, count, 50) / 1e6;
    percentiles->p99[run] = figure_percentile(times_ns, count, 99) / 1e6;
    percentiles->p999[run] = figure_percentile(times_ns, count, 99.9) / 1e6;
}

/* A second of records that are not counted: connections, group, lease and the day's tables are made
 * by them. */
static void run_course(struct course *course, PGconn *conn, int64_t producer_id, bool counted)
{
    struct sample_order sample;
    pthread_t thread;

    course->seen = course->in_order = 0;
    memset(course->seen_ns, 0, (size_t)course->capacity * sizeof *course->seen_ns);
    course->first_id = make_fill(course, &sample, 0);
    course->count =
        counted ? course->capacity : NS_PER_S / course->pace->tick_ns * course->pace->records;
    course->count = course->count < course->capacity ? course->count : course->capacity;
    if (pthread_create(&thread, NULL, submit_all, course) != 0) {
        fixture_fail("pthread_create");
    }
    read_all(course, conn, producer_id);
    pthread_join(thread, NULL);
    course->next_sample += (uint64_t)course->count;
    PQclear(PQexec(conn, "DEALLOCATE ALL"));
    for (int64_t i = 0; i < course->count; i++) {
        if (course->seen_id[i] != course->submitted_id[i]) {
            fixture_fail("row %" PRId64 " is %" PRId64 ", submitted was %" PRId64, i,
                         course->seen_id[i], course->submitted_id[i]);
        }
        course->seen_ns[i] -= course->submitted_ns[i];
    }
}

static void measure_pace(const struct pace *pace, size_t run, int64_t seconds,
                         const struct fixture_redis *redis, PGconn *conn,
                         struct percentiles *percentiles)
{
    static unsigned producers;
    struct course course = {.pace = pace,
                            .producer_number = producers++,
                            .capacity = seconds * NS_PER_S / pace->tick_ns * pace->records};
    struct blotter_options options = {
        .exchange = "bench", .redis = fixture_redis_url(redis), .journal = rivals_journal_folder()};
    struct blotter_stats stats;

    course.submitted_ns = calloc((size_t)course.capacity * 5, sizeof *course.submitted_ns);
    course.last_at =
        (int64_t)htobe64((uint64_t)(wall_clock_ns() / 1000 - POSTGRES_EPOCH_US - FILL_AGE_US));
    course.submitted_id = course.submitted_ns + course.capacity;
    course.seen_ns = course.submitted_id + course.capacity;
    course.seen_id = course.seen_ns + course.capacity;
    course.seen_at = course.seen_id + course.capacity;
    if (blotter_open(&course.producer, &options) != 0) {
        fixture_fail("blotter_open: %s", blotter_open_error());
    }
    blotter_stats(course.producer, &stats);
    run_course(&course, conn, stats.producer_id, false);
    run_course(&course, conn, stats.producer_id, true);
    percentiles_set(percentiles, run, course.seen_ns, (size_t)course.count);
    blotter_stats(course.producer, &stats);
    blotter_close(course.producer, 5000);
    unlink(stats.journal);
    free(course.submitted_ns);
}

/* A server that has run for a while writes into WAL files that are there; a new one makes each, and
 * commits wait for that. */
static void make_wal_files(const struct fixture_postgres *postgres)
{
    PGconn *conn = fixture_postgres_connect(postgres);

    for (int i = 0; i < WAL_FILES; i++) {
        PQclear(PQexec(conn, "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()"));
    }
    PQclear(PQexec(conn, "CHECKPOINT"));
    PQfinish(conn);
}

static void measure_insert(size_t run, struct percentiles *percentiles)
{
    static int64_t times_ns[INSERTS];
    struct sample_order sample;

    rivals_insert_open();
    for (size_t i = 0; i < INSERTS; i++) {
        int64_t begin_ns;

        sample_order_make(&sample, 0, i, OPEN_ORDERS, wall_clock_ns());
        begin_ns = figure_now_ns();
        rivals_insert_call(&sample.order);
        times_ns[i] = figure_now_ns() - begin_ns;
    }
    rivals_insert_close();
    percentiles_set(percentiles, run, times_ns, INSERTS);
}

static void tell(const char *name, double *values, double *insert, double median_insert,
                 size_t runs, const struct pace *target)
{
    double value = figure_median(values, runs);
    bool aims = target->ratio_max > 0 || target->ms_max > 0;

    figure_add(&(struct figure){.name = name,
                                .value = value,
                                .unit = "ms",
                                .beside = {{"insert", figure_median(insert, runs)}},
                                .ratio = value / median_insert,
                                .target_is = aims ? FIGURE_AT_MOST : FIGURE_NO_TARGET,
                                .target = !aims                ? 0
                                          : target->ms_max > 0 ? target->ms_max
                                                               : target->ratio_max,
                                .target_is_ratio = aims && target->ratio_max > 0});
}

int main(void)
{
    static struct percentiles insert, all[PACES];
    size_t runs = (size_t)figure_setting("BENCH_RUNS", 3);
    int64_t seconds = figure_setting("BENCH_SECONDS", 5);
    struct fixture_redis *redis = fixture_redis_start(NULL);
    struct fixture_postgres *postgres = fixture_postgres_start(
        &(struct fixture_postgres_options){.settings = "shared_buffers = 128MB\n"});
    const char *conninfo = fixture_postgres_conninfo(postgres);
    struct fixture_program *drainer;
    PGconn *conn;

    if (runs < 1 || runs > RUNS_MAX || seconds < 1) {
        fixture_fail("BENCH_RUNS: 1 to %d; BENCH_SECONDS: at least 1", RUNS_MAX);
    }
    if (fixture_run(
            (const char *const[]){fixture_blotter(), "migrate", "--postgres", conninfo, NULL}, NULL,
            60000, NULL) != 0) {
        fixture_fail("blotter migrate failed");
    }
    make_wal_files(postgres);
    rivals_begin(redis, postgres, (const unsigned char *)"", 0);
    drainer = fixture_program_start((const char *const[]){fixture_blotter(), "drain", "--redis",
                                                          fixture_redis_url(redis), "--postgres",
                                                          conninfo, NULL},
                                    NULL);
    conn = fixture_postgres_connect(postgres);
    figure_heading("latency: submit to visible row, through Redis and one drainer, orders kept, "
                   "one event in four a fill; %" PRId64 " s a run, medians of %zu runs",
                   seconds, runs);
    figure_note("seen by a reader that polls, its query and half its pause of 0.5 ms included; "
                "insert: one synchronous INSERT, idle; x: to its median");
    for (size_t run = 0; run < runs; run++) {
        measure_insert(run, &insert);
        for (size_t i = 0; i < PACES; i++) {
            measure_pace(&paces[i], run, seconds, redis, conn, &all[i]);
        }
    }
    double insert_ms = figure_median(insert.p50, runs);
    for (size_t i = 0; i < PACES; i++) {
        tell(fixture_format("latency.%s.p50", paces[i].name), all[i].p50, insert.p50, insert_ms,
             runs, &no_target);
        tell(fixture_format("latency.%s.p99", paces[i].name), all[i].p99, insert.p99, insert_ms,
             runs, &paces[i]);
        tell(fixture_format("latency.%s.p999", paces[i].name), all[i].p999, insert.p999, insert_ms,
             runs, &no_target);
    }
    PQfinish(conn);
    if (fixture_program_stop(drainer, SIGTERM, 20000) != 0) {
        fixture_fail("blotter drain did not stop in order:\n%s", fixture_program_stderr(drainer));
    }
    return 0;
}
