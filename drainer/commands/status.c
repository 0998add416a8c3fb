/* status.c: `blotter status`: how far the streams are read, and how full the tables are. */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drainer/commands/report.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/redis/stream_survey.h"

/* Tables that are larger are not counted, but estimated from the last ANALYZE: a status must not
 * take minutes. */
#define COUNT_BYTES_MAX "268435456"

/* Dynamic SQL would need a function in the schema, so this asks first how large each table is. */
static const char sizes_sql[] =
    "SELECT t.name, sum(pg_relation_size(l.leaf)) <= " COUNT_BYTES_MAX
    " AS small, sum(pg_relation_size(l.leaf))::bigint AS bytes, "
    "sum(greatest(c.reltuples, 0))::bigint AS estimate, t.path "
    "FROM (SELECT k.\"table\" AS name, k.\"schema\" || '.' || k.\"table\" AS path, k.n FROM "
    "blotter_internal.record_kinds k UNION ALL VALUES ('orders', 'blotter.orders', 98), "
    "('rejects', 'blotter.rejects', 99)) AS t, "
    "LATERAL (SELECT t.path::regclass::oid AS leaf "
    "         UNION SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = t.path::regclass) AS l "
    "JOIN pg_class c ON c.oid = l.leaf GROUP BY t.name, t.path, t.n ORDER BY t.n";

static const char loading_sql[] =
    "SELECT (SELECT count(*) FROM blotter.rejects WHERE replayed_at IS NULL AND discarded_at IS "
    "NULL) AS open_rejects, "
    "(SELECT extract(epoch FROM clock_timestamp() - max(updated_at))::float8 FROM "
    "blotter_internal.progress) AS last_load_seconds, "
    "(SELECT count(DISTINCT application_name) FROM pg_stat_activity "
    " WHERE datname = current_database() AND application_name LIKE 'blotter drain%') AS drainers";

struct status {
    struct stream_survey survey;
    struct report *streams, *tables;
    int64_t open_rejects, drainers;
    double last_load_seconds; /* negative: never */
    int64_t behind_ms;
    bool some_counted;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* --- gathering
 * -----------------------------------------------------------------------------------------------------------
 */

static void report_streams(struct status *status)
{
    static const struct {
        const char *name;
        enum report_type type;
    } columns[] = {{"stream", REPORT_TEXT},
                   {"length", REPORT_NUMBER},
                   {"lag", REPORT_NUMBER},
                   {"pending", REPORT_NUMBER},
                   {"oldest_pending_s", REPORT_NUMBER},
                   {"consumers", REPORT_NUMBER},
                   {"behind_s", REPORT_NUMBER},
                   {"lag_counted", REPORT_BOOL}};

    status->streams = report_create();
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        report_column(status->streams, columns[i].name, columns[i].type);
    }
    for (size_t i = 0; i < status->survey.count; i++) {
        const struct surveyed_stream *stream = &status->survey.streams[i];

        report_cell(status->streams, stream->name);
        report_number(status->streams, stream->length);
        report_number(status->streams, stream->lag);
        report_number(status->streams, stream->pending);
        report_seconds(status->streams, stream->oldest_pending_ms);
        report_number(status->streams, stream->consumers);
        report_seconds(status->streams, stream->behind_ms);
        report_cell(status->streams, stream->counted ? "t" : "f");
        status->some_counted = status->some_counted || stream->counted;
        status->behind_ms =
            stream->behind_ms > status->behind_ms ? stream->behind_ms : status->behind_ms;
    }
}

/* The rows of one table. NULL: said. */
static PGresult *count_rows(struct pg *pg, const char *path)
{
    char sql[128];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", path); /* a name of our own */
    return pg_query(pg, sql, 0, NULL);
}

static bool report_table(struct status *status, struct pg *pg, const PGresult *sizes, int row)
{
    bool small = PQgetvalue(sizes, row, 1)[0] == 't';
    const char *table = PQgetvalue(sizes, row, 0);
    PGresult *counted = small ? count_rows(pg, PQgetvalue(sizes, row, 4)) : NULL;

    if (small && counted == NULL) {
        return false;
    }
    report_cell(status->tables, table);
    report_cell(status->tables, small ? PQgetvalue(counted, 0, 0) : PQgetvalue(sizes, row, 3));
    report_cell(status->tables, small ? "f" : "t");
    report_cell(status->tables, PQgetvalue(sizes, row, 2));
    PQclear(counted);
    return true;
}

static bool report_tables(struct status *status, struct pg *pg)
{
    PGresult *sizes = pg_query(pg, sizes_sql, 0, NULL);
    bool done = sizes != NULL;

    status->tables = report_create();
    report_column(status->tables, "table", REPORT_TEXT);
    report_column(status->tables, "rows", REPORT_NUMBER);
    report_column(status->tables, "estimated", REPORT_BOOL);
    report_column(status->tables, "bytes", REPORT_NUMBER);
    for (int row = 0; done && row < PQntuples(sizes); row++) {
        done = report_table(status, pg, sizes, row);
    }
    PQclear(sizes);
    return done;
}

static bool ask_loading(struct status *status, struct pg *pg)
{
    PGresult *result = pg_query(pg, loading_sql, 0, NULL);

    if (result == NULL) {
        return false;
    }
    status->open_rejects = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    status->last_load_seconds =
        PQgetisnull(result, 0, 1) ? -1 : strtod(PQgetvalue(result, 0, 1), NULL);
    status->drainers = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    PQclear(result);
    return true;
}

static void release(struct status *status)
{
    stream_survey_release(&status->survey);
    report_destroy(status->streams);
    report_destroy(status->tables);
    *status = (struct status){.streams = NULL};
}

/* --- printing
 * ------------------------------------------------------------------------------------------------------------
 */

static void print_json(const struct status *status)
{
    report_print_json(
        json_pack("{s:f, s:I, s:I, s:o, s:o, s:o}", "behind_s", (double)status->behind_ms / 1000,
                  "drainers", (json_int_t)status->drainers, "open_rejects",
                  (json_int_t)status->open_rejects, "last_load_s",
                  status->last_load_seconds < 0 ? json_null()
                                                : json_real(status->last_load_seconds),
                  "streams", report_json(status->streams), "tables", report_json(status->tables)),
        stdout);
}

static void print_text(const struct status *status)
{
    if (report_rows(status->streams) == 0) {
        printf("no streams\n");
    } else {
        report_print(status->streams, stdout);
    }
    if (status->some_counted) {
        printf("lag_counted: Redis does not know the lag (after a restart, or on a replica); it "
               "was counted here, up to 20000\n");
    }
    printf("\n");
    report_print(status->tables, stdout);
    printf("\nbehind %.1f s, %lld drainers connected, ", (double)status->behind_ms / 1000,
           (long long)status->drainers);
    if (status->last_load_seconds < 0) {
        printf("nothing loaded yet");
    } else {
        printf("last load %.1f s ago", status->last_load_seconds);
    }
    printf(", %lld open rejects\n", (long long)status->open_rejects);
}

/* One look. Returns an exit code. */
static int look(const struct settings *settings, struct redis *redis, struct pg *pg)
{
    struct status status = {.streams = NULL};
    int code = EXIT_CODE_DONE;

    if (!stream_survey_take(&status.survey, redis)) {
        code = redis->exit_code;
    } else if (!report_tables(&status, pg) || !ask_loading(&status, pg)) {
        code = pg->exit_code;
    } else {
        report_streams(&status);
        if (settings->watch && !settings->json && isatty(STDOUT_FILENO)) {
            printf("\033[H\033[2J");
        }
        (settings->json ? print_json : print_text)(&status);
        fflush(stdout);
        if (settings->max_behind > 0 && status.behind_ms > settings->max_behind) {
            code = EXIT_CODE_NO;
        }
    }
    release(&status);
    return code;
}

static int look_again_and_again(const struct settings *settings, struct redis *redis, struct pg *pg)
{
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: it ends the sleep */
    struct timespec pause = {settings->interval / 1000, settings->interval % 1000 * 1000000};
    int code = look(settings, redis, pg);

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    while (settings->watch && !stopped && (code == EXIT_CODE_DONE || code == EXIT_CODE_NO)) {
        nanosleep(&pause, NULL);
        code = stopped ? EXIT_CODE_DONE : look(settings, redis, pg);
    }
    return code;
}

int command_status(const struct settings *settings)
{
    struct redis redis;
    struct pg pg = {.settings = settings};
    int code;

    if (!redis_open(&redis, settings)) {
        code = redis.exit_code;
    } else if (!pg_open(&pg, settings) || !pg_check_schema(&pg)) {
        code = pg.exit_code;
    } else {
        code = look_again_and_again(settings, &redis, &pg);
    }
    redis_close(&redis);
    pg_close(&pg);
    return code;
}
