/* bench_merge.c: what a transaction costs PostgreSQL, and how much of that is `orders`.
 *
 * The drainer's own loader sends it batches of one size after the other, each as one transaction
 * over a unix socket, with `orders` kept and without, in turn. Told are the median time of a
 * transaction, as the drainer waits for it, and the processor time that the server's process takes
 * for it, which depends less on what else the machine does; the WAL it writes; and how many updates
 * of orders were HOT: stayed in their page and touched no index. The end of an order always touches
 * one. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/postgres/loader.h"
#include "drainer/redis/streams.h"
#include "tests/fixture/backlog.h"
#include "tests/fixture/figure.h"

enum {
    RUNS_MAX = 20,
    TRANSACTIONS_MAX = 2000,
    OPEN_ORDERS = 250, /* under way at a time; more where a batch is larger */
};
#define WARM_UP \
    10 /* transactions of a session that are not counted: plans, catalogs, temporary tables */

static const struct {
    size_t rows, transactions;
} sizes[] = {{1, 1000}, {20, 400}, {200, 100}, {2000, 40}, {10000, 12}};
#define SIZES (sizeof sizes / sizeof *sizes)

/* A session of the drainer's: its connection and loader, and what is loaded. */
struct pg_session {
    struct event_base *base;
    struct pg_link *link;
    struct loader *loader;
    struct text_set venues, statuses;
    struct streams streams;
    struct stream *stream;
    struct batch batch;
    uint64_t next; /* record of the backlog */
    int server_pid;
};

struct cost {
    double ms, cpu_us, wal_bytes; /* of a transaction */
};

/* --- the session --- */

static void on_prepared_rows(void *owner, const PGresult *result)
{
    struct pg_session *session = owner;

    for (int i = 0; i < PQntuples(result) && PQnfields(result) == 2; i++) {
        const char *kind = PQgetvalue(result, i, 0), *text = PQgetvalue(result, i, 1);

        if (strcmp(kind, "pid") == 0) {
            session->server_pid = atoi(text);
        } else {
            text_set_add(strcmp(kind, "venue") == 0 ? &session->venues : &session->statuses, text,
                         strlen(text));
        }
    }
}

static void on_change(void *owner, bool ready, const struct pg_failure *why)
{
    struct pg_session *session = owner;

    if (!ready) {
        fixture_fail("the session: %s", why->message);
    }
    event_base_loopbreak(session->base);
}

static void on_loaded(void *owner, struct batch *batch, const struct pg_failure *failure)
{
    struct pg_session *session = owner;

    (void)batch;
    if (failure != NULL) {
        fixture_fail("a batch: %s", failure->message);
    }
    event_base_loopbreak(session->base);
}

static void session_open(struct pg_session *session, const struct backlog *backlog,
                         bool keep_orders)
{
    *session = (struct pg_session){.base = event_base_new()};
    session->link = pg_link_create(&(struct pg_link_options){
        .base = session->base,
        .conninfo = fixture_postgres_conninfo(backlog->postgres),
        .application_name = "bench merge",
        .prepare_sql =
            "SET synchronous_commit = on; SET TimeZone = 'UTC'; SET client_min_messages = warning; "
            "SELECT blotter_internal.begin_session(false); SELECT 'pid', pg_backend_pid(); "
            "SELECT 'venue', exchange FROM blotter_internal.venues WHERE order_id_scope = "
            "'symbol'; "
            "SELECT 'status', status FROM blotter_internal.terminal_statuses",
        .on_prepared_rows = on_prepared_rows,
        .on_change = on_change,
        .owner = session,
        .connect_timeout_ms = 60000,
        .command_timeout_ms = 60000});
    session->loader = loader_create(
        session->link, &(struct loader_options){.drainer = "bench",
                                                .keep_orders = keep_orders,
                                                .venues_by_symbol = &session->venues,
                                                .terminal_statuses = &session->statuses});
    session->stream = streams_add(&session->streams, "blotter:venue0", strlen("blotter:venue0"));
    pg_link_start(session->link);
    event_base_dispatch(session->base);
}

static void session_close(struct pg_session *session)
{
    loader_destroy(session->loader);
    pg_link_destroy(session->link);
    batch_release(&session->batch);
    streams_release(&session->streams);
    text_set_release(&session->venues);
    text_set_release(&session->statuses);
    event_base_free(session->base);
}

static void gather(struct pg_session *session, const struct backlog *backlog, size_t rows)
{
    batch_clear(&session->batch);
    for (size_t i = 0; i < rows; i++, session->next++) {
        unsigned char record[BACKLOG_RECORD_BYTES];
        size_t length = backlog_record(backlog, session->next, record);
        const struct raw_field fields[] = {{"order", 5}, {(const char *)record, length}};

        batch_add(&session->batch, session->stream, session->stream->exchange,
                  session->stream->name, (struct stream_entry_id){1, session->next}, fields, 2, 1,
                  backlog->time_ns);
    }
}

static int64_t load(struct pg_session *session)
{
    int64_t begin_ns = figure_now_ns();

    loader_load(session->loader, &session->batch, on_loaded, session);
    event_base_dispatch(session->base);
    return figure_now_ns() - begin_ns;
}

/* --- measuring --- */

static int64_t wal_position(const struct backlog *backlog)
{
    return fixture_postgres_int(backlog->postgres, "SELECT pg_current_wal_insert_lsn() - '0/0'");
}

static struct cost measure(const struct backlog *backlog, size_t size, bool keep_orders)
{
    static int64_t times_ns[TRANSACTIONS_MAX];
    size_t transactions = sizes[size].transactions;
    struct pg_session session;
    int64_t cpu_ns, wal;

    backlog_empty_tables(backlog);
    session_open(&session, backlog, keep_orders);
    for (size_t i = 0; i < WARM_UP; i++) {
        gather(&session, backlog, sizes[size].rows);
        load(&session);
    }
    wal = wal_position(backlog);
    cpu_ns = fixture_thread_ns(session.server_pid);
    for (size_t i = 0; i < transactions; i++) {
        gather(&session, backlog, sizes[size].rows);
        times_ns[i] = load(&session);
    }
    cpu_ns = fixture_thread_ns(session.server_pid) - cpu_ns;
    wal = wal_position(backlog) - wal;
    session_close(&session);
    figure_sort(times_ns, transactions);
    return (struct cost){.ms = figure_percentile(times_ns, transactions, 50) / 1e6,
                         .cpu_us = (double)cpu_ns / 1e3 / (double)transactions,
                         .wal_bytes = (double)wal / (double)transactions};
}

/* A session's counts appear when it has ended. */
static bool session_has_ended(void *arg)
{
    const struct backlog *backlog = arg;

    return fixture_postgres_int(
               backlog->postgres,
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench merge'") == 0;
}

static double hot_percent(struct backlog *backlog)
{
    if (!fixture_wait_until(session_has_ended, backlog, 10000)) {
        fixture_fail("a session of the benchmark does not end");
    }
    return (double)fixture_postgres_int(
               backlog->postgres,
               "SELECT 1000 * n_tup_hot_upd / greatest(n_tup_upd, 1) "
               "FROM pg_stat_user_tables WHERE relid = 'blotter.orders'::regclass") /
           10;
}

/* A batch has no two events of an order, so that every order meets its row three times. */
static void compare(struct backlog *backlog, size_t size, size_t runs)
{
    double ms[2][RUNS_MAX], cpu_us[2][RUNS_MAX], wal_bytes[2][RUNS_MAX], ratio[RUNS_MAX], hot = 0;

    backlog->open_orders =
        sizes[size].rows < OPEN_ORDERS ? OPEN_ORDERS : (unsigned)sizes[size].rows;
    fixture_postgres_run(backlog->postgres,
                         "SELECT pg_stat_reset_single_table_counters('blotter.orders'::regclass)");
    for (size_t i = 0; i < runs; i++) {
        for (int keep = 0; keep < 2; keep++) {
            struct cost cost = measure(backlog, size, keep);

            ms[keep][i] = cost.ms;
            cpu_us[keep][i] = cost.cpu_us;
            wal_bytes[keep][i] = cost.wal_bytes / (double)sizes[size].rows;
        }
        ratio[i] = cpu_us[1][i] / cpu_us[0][i];
        hot = hot_percent(backlog);
    }
    figure_add(&(struct figure){.name = fixture_format("merge.%zu.time", sizes[size].rows),
                                .value = figure_median(ms[1], runs),
                                .unit = "ms",
                                .beside = {{"without orders", figure_median(ms[0], runs)}}});
    figure_add(&(struct figure){.name = fixture_format("merge.%zu.cpu", sizes[size].rows),
                                .value = figure_median(cpu_us[1], runs),
                                .unit = "us",
                                .beside = {{"without orders", figure_median(cpu_us[0], runs)}},
                                .ratio = figure_median(ratio, runs)});
    figure_add(&(struct figure){.name = fixture_format("merge.%zu.wal", sizes[size].rows),
                                .value = figure_median(wal_bytes[1], runs),
                                .unit = "B/row",
                                .beside = {{"without orders", figure_median(wal_bytes[0], runs)}}});
    figure_add_plain(fixture_format("merge.%zu.hot", sizes[size].rows), hot, "%");
}

int main(void)
{
    struct backlog backlog = {.streams = 1};
    size_t runs = (size_t)figure_setting("BENCH_RUNS", 3);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    backlog.time_ns = now.tv_sec * INT64_C(1000000000);
    if (runs < 1 || runs > RUNS_MAX) {
        fixture_fail("BENCH_RUNS: 1 to %d", RUNS_MAX);
    }
    backlog.postgres = backlog_postgres();
    log_open(LOG_WARN);
    figure_heading(
        "merge: a transaction of the drainer's, by its number of rows; medians of %zu runs", runs);
    figure_note("time: as the drainer waits for it; cpu: of the server's process; wal: written; "
                "hot: updates of orders that "
                "touched no index");
    for (size_t size = 0; size < SIZES; size++) {
        compare(&backlog, size, runs);
    }
    return 0;
}
