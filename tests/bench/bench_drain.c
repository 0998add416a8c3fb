/* bench_drain.c: how fast one drainer loads a backlog, beside COPY of exactly the same rows.
 *
 * The rival is the best that a loader without Redis could do: the rows are prepared in a file,
 * encoded, in the order in which the drainer stored them, and go into the same tables with the same
 * indexes over the same socket, in transactions of the drainer's own median size, each one simple
 * query as the drainer sends it. Where `orders` is kept, a second file holds the rows for
 * blotter_internal.merge_orders(), folded in advance. Both are measured in turn, A B A B, tables
 * emptied and a CHECKPOINT in between; a first run of the drainer warms up, and says the order and
 * the median.
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
    uint64_t slice_rows;
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

/* The indexes of the rows as they lie in the tables. */
static uint64_t *stored_order(const struct backlog *backlog)
{
    uint64_t *indexes = fixture_alloc(backlog->rows * sizeof *indexes), count = 0;
    PGconn *conn = fixture_postgres_connect(backlog->postgres);
    PGresult *result = PQexec(
        conn, "COPY (SELECT producer_id, seq FROM blotter.order_events ORDER BY tableoid, ctid) "
              "TO STDOUT BINARY");
    char *row = NULL;

    PQclear(result);
    for (int length; (length = PQgetCopyData(conn, &row, 0)) > 0; PQfreemem(row)) {
        const char *p = row + (count == 0 && length > COPY_HEAD_BYTES ? COPY_HEAD_BYTES : 0);
        uint64_t producer_id, seq;

        if (row + length - p >= 26 && count < backlog->rows) {
            memcpy(&producer_id, p + 6, 8);
            memcpy(&seq, p + 18, 8);
            indexes[count++] =
                backlog_index(backlog, (int64_t)be64toh(producer_id), (int64_t)be64toh(seq));
        }
    }
    PQfinish(conn);
    if (count != backlog->rows) {
        fixture_fail("%" PRIu64 " rows of %" PRIu64 " read back", count, backlog->rows);
    }
    return indexes;
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

    if (record_decode(RECORD_ORDER, wire, length, &scratch, &record, &problem) != 0) {
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

static void prepare(struct rival *rival)
{
    const struct backlog *backlog = rival->backlog;
    uint64_t slices = (backlog->rows + rival->slice_rows - 1) / rival->slice_rows,
             *indexes = stored_order(backlog);
    struct text_set venues = {0}, statuses = {0};
    struct order_changes *fold;

    load_text_set(backlog,
                  "SELECT exchange FROM blotter_internal.venues WHERE order_id_scope = 'symbol'",
                  &venues);
    load_text_set(backlog, "SELECT status FROM blotter_internal.terminal_statuses", &statuses);
    fold = order_changes_create(&venues, &statuses);
    file_create(&rival->rows, rival->keep_orders ? "rows-merged" : "rows", slices);
    file_create(&rival->orders, "orders", slices);
    for (uint64_t from = 0; from < backlog->rows; from += rival->slice_rows) {
        uint64_t to =
            from + rival->slice_rows < backlog->rows ? from + rival->slice_rows : backlog->rows;

        prepare_slice(rival, fold, indexes, from, to);
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

/* Seconds. */
static double run_rival(const struct rival *rival)
{
    PGconn *conn = fixture_postgres_connect(rival->backlog->postgres);
    int64_t begin_ns, end_ns;

    PQclear(PQexec(
        conn,
        "SET synchronous_commit = on; SET TimeZone = 'UTC'; SET client_min_messages = warning; "
        "SELECT blotter_internal.begin_session()"));
    begin_ns = figure_now_ns();
    for (size_t i = 0; i < rival->rows.count; i++) {
        load_slice(conn, rival, i);
    }
    end_ns = figure_now_ns();
    PQfinish(conn);
    if (fixture_postgres_int(rival->backlog->postgres,
                             "SELECT count(*) FROM blotter.order_events") !=
        (int64_t)rival->backlog->rows) {
        fixture_fail("COPY of prepared files did not store every row");
    }
    return (double)(end_ns - begin_ns) / 1e9;
}

static struct backlog_run run_drainer(const struct backlog *backlog, bool keep_orders)
{
    backlog_empty_tables(backlog);
    backlog_fill(backlog);
    return backlog_drain(backlog, keep_orders);
}

static int64_t median_batch(const struct backlog *backlog)
{
    return fixture_postgres_int(
        backlog->postgres, "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FROM "
                           "(SELECT count(*) AS n FROM blotter.order_events GROUP BY stored_at) t");
}

static void compare(const struct backlog *backlog, bool keep_orders, size_t runs)
{
    struct rival rival = {.backlog = backlog, .keep_orders = keep_orders};
    double drained[RUNS_MAX], copied[RUNS_MAX], ratio[RUNS_MAX], cpu[RUNS_MAX],
        rss = 0, rows = (double)backlog->rows;
    const char *name = keep_orders ? "orders_on" : "orders_off";

    run_drainer(backlog, keep_orders);
    rival.slice_rows = (uint64_t)median_batch(backlog);
    prepare(&rival);
    make_sql(&rival);
    for (size_t i = 0; i < runs; i++) {
        struct backlog_run run = run_drainer(backlog, keep_orders);

        drained[i] = rows / run.seconds;
        cpu[i] = run.cpu_us_per_row;
        rss = run.max_rss_mib > rss ? run.max_rss_mib : rss;
        backlog_empty_tables(backlog);
        copied[i] = rows / run_rival(&rival);
        ratio[i] = drained[i] / copied[i];
    }
    figure_note("orders %s: median batch %" PRIu64 " rows", keep_orders ? "kept" : "off",
                rival.slice_rows);
    figure_add(&(struct figure){.name = fixture_format("drain.%s.rate", name),
                                .value = figure_median(drained, runs),
                                .unit = "rows/s",
                                .beside = {{"copy", figure_median(copied, runs)}},
                                .ratio = figure_median(ratio, runs),
                                .target_is = FIGURE_AT_LEAST,
                                .target = 0.9,
                                .target_is_ratio = 1});
    figure_add(&(struct figure){.name = fixture_format("drain.%s.cpu", name),
                                .value = figure_median(cpu, runs),
                                .unit = "us/row",
                                .target_is = FIGURE_AT_MOST,
                                .target = 1.5});
    figure_add(&(struct figure){.name = fixture_format("drain.%s.rss", name),
                                .value = rss,
                                .unit = "MiB",
                                .target_is = FIGURE_AT_MOST,
                                .target = 32});
    close(rival.rows.fd);
    close(rival.orders.fd);
}

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
    if (runs < 1 || runs > RUNS_MAX || backlog.streams < 1 || backlog.rows < backlog.streams) {
        fixture_fail(
            "BENCH_RUNS: 1 to %d; BENCH_STREAMS: at least 1; BENCH_ROWS: at least a row a stream",
            RUNS_MAX);
    }
    backlog.redis = fixture_redis_start(NULL);
    backlog.postgres = backlog_postgres();
    bytes = backlog_fill(&backlog);
    figure_heading("drain: %" PRIu64 " orders of %.0f bytes, 4 events an order, from %u streams by "
                   "one drainer; medians of %zu runs",
                   backlog.rows, bytes, backlog.streams, runs);
    figure_note("copy: COPY BINARY of the same rows in the same order from prepared files, a "
                "transaction each of the drainer's median");
    figure_note(
        "batch, same tables, indexes and socket; with the same blotter_internal.merge_orders() "
        "where orders are kept. In turn.");
    compare(&backlog, false, runs);
    compare(&backlog, true, runs);
    return 0;
}
