/* bench_drain.c: how fast one drainer loads a backlog, beside COPY of exactly the same rows.
 *
 * The rival is the best that a loader without Redis could do: the rows are prepared in a file,
 * encoded, in the order in which the drainer stored them, and go into the same tables with the same
 * indexes over the same socket, in the drainer's own transactions, each one simple query as the
 * drainer sends it. Where `orders` is kept, a second file holds the rows for
 * blotter_internal.merge_orders(), folded in advance. All are measured in turn, A B A B, tables
 * emptied and a CHECKPOINT in between; a first run of the drainer warms up, and says which row
 * was stored in which transaction.
 *
 * Books have no rival: COPY keeps none. So the loader is measured with events of which none is a
 * fill, and beside that the same events, one in four a fill. Then three of four, a load that no
 * venue sends: its rows say what booking beside the load costs, and have no target.
 */
#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "drainer/copy.h"
#include "drainer/order_changes.h"
#include "tests/fixture/backlog.h"
#include "tests/fixture/figure.h"

enum {
    RUNS_MAX = 20,
    CHUNK_BYTES = 65536,
};

/* Rows of one COPY after the other, each with head and tail. */
struct prepared {
    int fd;
    off_t *ends; /* of each slice */
    size_t count;
};

struct rival {
    const struct backlog *backlog;
    bool keep_orders;
    struct prepared rows, orders;
    char *sql;
};

static void file_create(struct prepared *file, const char *name, uint64_t slices)
{
    file->fd = open(fixture_format("%s/%s", fixture_folder(), name),
                    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    file->ends = fixture_alloc(slices * sizeof *file->ends);
    if (file->fd < 0) {
        fixture_fail("cannot make the prepared file");
    }
}

static void write_all(int fd, const void *bytes, size_t length)
{
    for (const char *p = bytes; length > 0;) {
        ssize_t written = write(fd, p, length);

        if (written < 0) {
            fixture_fail("cannot write the prepared file");
        }
        p += written;
        length -= (size_t)written;
    }
}

static void append_slice(struct prepared *file, const struct copy_buffer *rows)
{
    write_all(file->fd, copy_head, sizeof copy_head);
    write_all(file->fd, rows->bytes, rows->length);
    write_all(file->fd, copy_tail, sizeof copy_tail);
    file->ends[file->count] = lseek(file->fd, 0, SEEK_CUR);
    file->count++;
}

/* The rows that the drainer has stored, and their transactions. */
struct stored {
    uint64_t *indexes; /* of the rows, as they lie in the table */
    uint64_t *ends;    /* of each transaction */
    size_t transactions;
};

static struct stored read_stored(const struct backlog *backlog)
{
    struct stored stored = {fixture_alloc(backlog->rows * sizeof *stored.indexes),
                            fixture_alloc(backlog->rows * sizeof *stored.ends), 0};
    uint64_t count = 0;
    int64_t previous = 0;
    PGconn *conn = fixture_postgres_connect(backlog->postgres);
    PGresult *result = PQexec(conn, "COPY (SELECT producer_id, seq, stored_at "
                                    "FROM blotter.order_events ORDER BY tableoid, ctid) "
                                    "TO STDOUT BINARY");
    char *row = NULL;

    PQclear(result);
    for (int length; (length = PQgetCopyData(conn, &row, 0)) > 0; PQfreemem(row)) {
        const char *p = row + (count == 0 && length > COPY_HEAD_BYTES ? COPY_HEAD_BYTES : 0);
        int64_t producer_id, seq, stored_at;

        if (row + length - p >= 38 && count < backlog->rows) {
            memcpy(&producer_id, p + 6, 8);
            memcpy(&seq, p + 18, 8);
            memcpy(&stored_at, p + 30, 8);
            if (stored_at != previous) { /* when its transaction began */
                stored.transactions++;
                previous = stored_at;
            }
            stored.indexes[count++] = backlog_index(
                backlog, (int64_t)be64toh((uint64_t)producer_id), (int64_t)be64toh((uint64_t)seq));
            stored.ends[stored.transactions - 1] = count;
        }
    }
    PQfinish(conn);
    if (count != backlog->rows) {
        fixture_fail("%" PRIu64 " rows of %" PRIu64 " read back", count, backlog->rows);
    }
    return stored;
}

static void encode_row(const struct backlog *backlog, uint64_t index, struct copy_buffer *out)
{
    static char scratch_bytes[RECORD_SCRATCH_BYTES];
    struct record_scratch scratch = {.bytes = scratch_bytes, .capacity = sizeof scratch_bytes};
    unsigned char wire[BACKLOG_RECORD_BYTES];
    struct record record = {0};
    struct record_problem problem;
    uint32_t columns[RECORD_FIELDS_MAX];
    size_t length = backlog_record(backlog, index, wire);

    if (record_decode(RECORD_ORDER, NULL, wire, length, &scratch, &record, &problem) != 0) {
        fixture_fail("a sample order does not decode: %s", record_fault_text(problem.fault));
    }
    copy_put_record(out, &record, columns);
}

static void load_text_set(const struct backlog *backlog, const char *sql, struct text_set *set)
{
    PGconn *conn = fixture_postgres_connect(backlog->postgres);
    PGresult *result = PQexec(conn, sql);

    for (int i = 0; i < PQntuples(result); i++) {
        text_set_add(set, PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0));
    }
    PQclear(result);
    PQfinish(conn);
}

static void prepare_slice(struct rival *rival, struct order_changes *fold, const uint64_t *indexes,
                          uint64_t from, uint64_t to)
{
    static struct copy_buffer rows, orders;
    size_t *offsets = malloc((to - from) * sizeof *offsets);

    rows.length = orders.length = 0;
    for (uint64_t i = from; i < to; i++) {
        offsets[i - from] = rows.length;
        encode_row(rival->backlog, indexes[i], &rows);
    }
    append_slice(&rival->rows, &rows);
    if (rival->keep_orders) {
        order_changes_clear(fold);
        for (uint64_t i = from; i < to; i++) {
            order_changes_add_row(fold, &rows, offsets[i - from]);
        }
        order_changes_put(fold, &rows, false, &orders);
        append_slice(&rival->orders, &orders);
    }
    free(offsets);
}

static void prepare(struct rival *rival, const char *name)
{
    const struct backlog *backlog = rival->backlog;
    struct stored stored = read_stored(backlog);
    struct text_set venues = {0}, statuses = {0};
    struct order_changes *fold;

    load_text_set(backlog,
                  "SELECT exchange FROM blotter_internal.venues WHERE order_id_scope = 'symbol'",
                  &venues);
    load_text_set(backlog, "SELECT status FROM blotter_internal.terminal_statuses", &statuses);
    fold = order_changes_create(&venues, &statuses);
    file_create(&rival->rows, fixture_format("%s-rows", name), stored.transactions);
    file_create(&rival->orders, fixture_format("%s-orders", name), stored.transactions);
    for (size_t i = 0; i < stored.transactions; i++) {
        prepare_slice(rival, fold, stored.indexes, i > 0 ? stored.ends[i - 1] : 0, stored.ends[i]);
    }
    order_changes_destroy(fold);
    text_set_release(&venues);
    text_set_release(&statuses);
}

static void make_sql(struct rival *rival)
{
#define X(name, kind, meaning) ", " #name
    static const char columns[] =
        "producer_id, seq, recorded_at, exchange, lane" BLOTTER_ORDER_FIELDS(X);
#undef X
    const char *merge = rival->keep_orders
                            ? fixture_format("COPY pg_temp.staged_orders (%s) FROM STDIN BINARY; "
                                             "SELECT blotter_internal.merge_orders(); ",
                                             order_changes_columns())
                            : "";

    rival->sql = (char *)fixture_format(
        "BEGIN; COPY blotter.order_events (%s) FROM STDIN BINARY; %sCOMMIT", columns, merge);
}

static void send_slice(PGconn *conn, const struct prepared *file, size_t number)
{
    static char chunk[CHUNK_BYTES];
    off_t at = number == 0 ? 0 : file->ends[number - 1], end = file->ends[number];

    while (at < end) {
        size_t want = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
        ssize_t got = pread(file->fd, chunk, want, at);

        if (got <= 0 || PQputCopyData(conn, chunk, (int)got) != 1) {
            fixture_fail("COPY of a prepared file: %s", PQerrorMessage(conn));
        }
        at += got;
    }
    if (PQputCopyEnd(conn, NULL) != 1) {
        fixture_fail("COPY of a prepared file: %s", PQerrorMessage(conn));
    }
}

static void load_slice(PGconn *conn, const struct rival *rival, size_t number)
{
    const struct prepared *files[] = {&rival->rows, &rival->orders};
    size_t copies = 0;

    if (PQsendQuery(conn, rival->sql) != 1) {
        fixture_fail("COPY of a prepared file: %s", PQerrorMessage(conn));
    }
    for (PGresult *result; (result = PQgetResult(conn)) != NULL; PQclear(result)) {
        ExecStatusType status = PQresultStatus(result);

        if (status == PGRES_COPY_IN) {
            send_slice(conn, files[copies++], number);
        } else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            fixture_fail("COPY of a prepared file: %s", PQresultErrorMessage(result));
        }
    }
}

static double own_cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

struct rival_run {
    double seconds, cpu_us_per_row; /* the client's */
};

static struct rival_run run_rival(const struct rival *rival)
{
    PGconn *conn = fixture_postgres_connect(rival->backlog->postgres);
    struct rival_run run;
    double begin_us;
    int64_t begin_ns;

    backlog_empty_tables(rival->backlog);
    PQclear(PQexec(
        conn,
        "SET synchronous_commit = on; SET TimeZone = 'UTC'; SET client_min_messages = warning; "
        "SELECT blotter_internal.begin_session()"));
    begin_us = own_cpu_us();
    begin_ns = figure_now_ns();
    for (size_t i = 0; i < rival->rows.count; i++) {
        load_slice(conn, rival, i);
    }
    run.seconds = (double)(figure_now_ns() - begin_ns) / 1e9;
    run.cpu_us_per_row = (own_cpu_us() - begin_us) / (double)rival->backlog->rows;
    PQfinish(conn);
    if (fixture_postgres_int(rival->backlog->postgres,
                             "SELECT count(*) FROM blotter.order_events") !=
        (int64_t)rival->backlog->rows) {
        fixture_fail("COPY of prepared files did not store every row");
    }
    return run;
}

static struct backlog_run run_drainer(const struct backlog *backlog, bool keep_orders)
{
    backlog_empty_tables(backlog);
    backlog_fill(backlog);
    return backlog_drain(backlog, keep_orders);
}

/* A load, and what it has to reach. */
struct load {
    const char *name;
    bool keep_orders, beside_books;
    unsigned silent; /* of an order's three fills */
    unsigned part;   /* of the rows: all, or one in so many */
    double rate_least, cpu_most;
};

struct measured {
    double rate[RUNS_MAX], cpu[RUNS_MAX], copied[RUNS_MAX], copied_cpu[RUNS_MAX], ratio[RUNS_MAX],
        cpu_ratio[RUNS_MAX], books_rate[RUNS_MAX], books_ratio[RUNS_MAX], booked[RUNS_MAX], rss;
};

/* One in four is a fill: the last event of each order. */
static void measure_books(struct measured *m, size_t run, const struct backlog *backlog,
                          bool keep_orders)
{
    struct backlog books = *backlog;
    struct backlog_run drained;

    books.silent = 2;
    drained = run_drainer(&books, keep_orders);
    m->books_rate[run] = (double)books.rows / drained.seconds;
    m->booked[run] = (double)books.rows / drained.until_booked;
    m->books_ratio[run] = m->books_rate[run] / m->rate[run];
}

static void measure(struct measured *m, const struct load *load, const struct rival *rival,
                    size_t runs)
{
    const struct backlog *backlog = rival->backlog;

    for (size_t i = 0; i < runs; i++) { /* what is compared lies side by side */
        struct rival_run copied = run_rival(rival);
        struct backlog_run drained = run_drainer(backlog, load->keep_orders);

        m->rate[i] = (double)backlog->rows / drained.seconds;
        m->cpu[i] = drained.cpu_us_per_row;
        m->rss = drained.max_rss_mib > m->rss ? drained.max_rss_mib : m->rss;
        m->copied[i] = (double)backlog->rows / copied.seconds;
        m->copied_cpu[i] = copied.cpu_us_per_row;
        m->ratio[i] = m->rate[i] / m->copied[i];
        m->cpu_ratio[i] = m->cpu[i] / m->copied_cpu[i];
        if (load->beside_books) {
            measure_books(m, i, backlog, load->keep_orders);
        }
    }
}

static void tell_books(struct measured *m, size_t runs, double without)
{
    figure_add(&(struct figure){.name = "drain.books.rate",
                                .value = figure_median(m->books_rate, runs),
                                .unit = "rows/s",
                                .beside = {{"no fills", without}},
                                .ratio = figure_median(m->books_ratio, runs),
                                .target_is = FIGURE_AT_LEAST,
                                .target = 0.95,
                                .target_is_ratio = 1});
    figure_add_plain("drain.books.until_booked", figure_median(m->booked, runs), "rows/s");
}

static void tell(const struct load *load, struct measured *m, size_t runs)
{
    bool aims = load->rate_least > 0;
    double rate = figure_median(m->rate, runs);

    figure_add(&(struct figure){.name = fixture_format("drain.%s.rate", load->name),
                                .value = rate,
                                .unit = "rows/s",
                                .beside = {{"copy", figure_median(m->copied, runs)}},
                                .ratio = figure_median(m->ratio, runs),
                                .target_is = aims ? FIGURE_AT_LEAST : FIGURE_NO_TARGET,
                                .target = load->rate_least,
                                .target_is_ratio = 1});
    figure_add(&(struct figure){.name = fixture_format("drain.%s.cpu", load->name),
                                .value = figure_median(m->cpu, runs),
                                .unit = "us/row",
                                .beside = {{"copy's client", figure_median(m->copied_cpu, runs)}},
                                .ratio = figure_median(m->cpu_ratio, runs),
                                .target_is = aims ? FIGURE_AT_MOST : FIGURE_NO_TARGET,
                                .target = load->cpu_most,
                                .target_is_ratio = 1});
    figure_add(&(struct figure){.name = fixture_format("drain.%s.rss", load->name),
                                .value = m->rss,
                                .unit = "MiB",
                                .target_is = FIGURE_AT_MOST,
                                .target = 32});
    if (load->beside_books) {
        tell_books(m, runs, rate);
    }
}

static void compare(const struct backlog *all, const struct load *load, size_t runs)
{
    struct backlog backlog = *all;
    struct rival rival = {.backlog = &backlog, .keep_orders = load->keep_orders};
    struct measured measured = {.rss = 0};

    backlog.silent = load->silent;
    backlog.rows /= load->part;
    run_drainer(&backlog, load->keep_orders);
    prepare(&rival, load->name);
    make_sql(&rival);
    measure(&measured, load, &rival, runs);
    figure_note("%s: orders %s, %u of four events a fill, %" PRIu64 " rows in %zu transactions",
                load->name, load->keep_orders ? "kept" : "off", 3 - load->silent, backlog.rows,
                rival.rows.count);
    tell(load, &measured, runs);
    close(rival.rows.fd);
    close(rival.orders.fd);
}

/* Version 1 took 8.0 and 6.8 times the processor of COPY's client for a row of the same loads. */
static const struct load loads[] = {
    {"orders_off", .silent = 3, .part = 1, .rate_least = 0.95, .cpu_most = 8.0},
    {"orders_on", true, true, .silent = 3, .part = 1, .rate_least = 1.05, .cpu_most = 6.8},
    {"fills_off", .part = 4},
    {"fills_on", true, .part = 4},
};

int main(void)
{
    struct backlog backlog = {.rows = (uint64_t)figure_setting("BENCH_ROWS", 1000000),
                              .streams = (unsigned)figure_setting("BENCH_STREAMS", 4),
                              .open_orders = (unsigned)figure_setting("BENCH_OPEN_ORDERS", 500)};
    size_t runs = (size_t)figure_setting("BENCH_RUNS", 3);
    struct timespec now;
    double bytes;

    clock_gettime(CLOCK_REALTIME, &now);
    backlog.time_ns = now.tv_sec * INT64_C(1000000000);
    if (runs < 1 || runs > RUNS_MAX || backlog.streams < 1 || backlog.rows < 4 * backlog.streams) {
        fixture_fail("BENCH_RUNS: 1 to %d; BENCH_STREAMS: at least 1; BENCH_ROWS: at least four "
                     "rows a stream",
                     RUNS_MAX);
    }
    backlog.redis = fixture_redis_start(NULL);
    backlog.postgres = backlog_postgres();
    bytes = backlog_fill(&backlog);
    figure_heading("drain: orders of %.0f bytes, 4 events an order, from %u streams by one "
                   "drainer; medians of %zu runs",
                   bytes, backlog.streams, runs);
    figure_note("copy: COPY BINARY of the same rows in the same order from prepared files, in the "
                "drainer's own transactions,");
    figure_note("same tables, indexes and socket; with the same "
                "blotter_internal.merge_orders() where orders are kept. In turn.");
    figure_note(
        "until_booked: to the end of the books, which are behind while a backlog is loaded; "
        "rates end with the last acknowledgement");
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        compare(&backlog, &loads[i], runs);
    }
    return 0;
}
