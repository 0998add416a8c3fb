/* status.c: `blotter status`: how far the streams are read, what is stuck and why, and how full the
 * tables are. With --json --watch it goes on while a server is away, one object a line. */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drainer/commands/report.h"
#include "drainer/commands/stalls.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/redis/stream_survey.h"
#include "drainer/terminal.h"

enum { SECONDS_BYTES = 32 };

struct status {
    const struct settings *settings;
    struct redis redis;
    struct pg pg;
    bool redis_open, pg_open; /* as of this look */
    char redis_error[256], pg_error[256];
    int exit_code; /* of what failed */
    struct stream_survey survey;
    struct load_facts facts;
    struct report *streams, *tables, *stalls;
    int64_t behind_ms; /* -1: of some streams it is not known */
    bool some_counted;
};

static volatile sig_atomic_t stopped;

static void on_status_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* --- looking --- */

/* Adds a cell; negative: unknown. */
static void status_number(struct report *report, int64_t number)
{
    if (number < 0) {
        report_cell(report, NULL);
    } else {
        report_number(report, number);
    }
}

static void fill_streams(struct status *status)
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
                   {"mirror_lag", REPORT_NUMBER},
                   {"mirror_missed", REPORT_NUMBER},
                   {"lag_counted", REPORT_BOOL}};

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        report_column(status->streams, columns[i].name, columns[i].type);
    }
    for (size_t i = 0; i < status->survey.count; i++) {
        const struct surveyed_stream *stream = &status->survey.streams[i];

        report_cell(status->streams, stream->name);
        report_number(status->streams, stream->length);
        status_number(status->streams, stream->lag);
        report_number(status->streams, stream->pending);
        report_seconds(status->streams, stream->oldest_pending_ms);
        report_number(status->streams, stream->consumers);
        report_seconds(status->streams, stream->behind_ms);
        status_number(status->streams, stream->mirror_lag);
        report_number(status->streams, stream->mirror_missed);
        report_cell(status->streams, stream->counted ? "t" : "f");
        status->some_counted = status->some_counted || stream->counted;
        if (status->behind_ms >= 0 &&
            (stream->behind_ms < 0 || stream->behind_ms > status->behind_ms)) {
            status->behind_ms = stream->behind_ms;
        }
    }
}

/* Connects where there is no connection, and surveys the streams. */
static bool look_at_redis(struct status *status)
{
    struct redis *redis = &status->redis;

    if (!status->redis_open) {
        status->redis_open = redis_open(redis, status->settings);
    }
    if (status->redis_open && stream_survey_take(&status->survey, redis)) {
        fill_streams(status);
        return true;
    }
    snprintf(status->redis_error, sizeof status->redis_error, "%s",
             redis->context != NULL && redis->context->err != 0 ? redis->context->errstr
                                                                : "it refuses the questions");
    status->exit_code = redis->exit_code;
    status->redis_open = false;
    redis_close(redis);
    return false;
}

/* Reads the sizes of the tables, if they are wanted. A table that somebody has locked must not make
 * status wait, which has to say just that: then there are none. NULL: on failure, which has been
 * printed. */
static struct report *read_tables(struct pg *pg)
{
    if (!pg->settings->tables) {
        return report_create();
    }
    PGresult *result = PQexec(pg->connection, "SELECT * FROM blotter_internal.table_sizes()");
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    struct report *report = NULL;

    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        report = report_of_result(result);
    } else if (sqlstate != NULL && strcmp(sqlstate, "55P03") == 0) {
        report = report_create();
    } else {
        pg_fail(pg, result, "cannot read the sizes of the tables");
    }
    PQclear(result);
    return report;
}

static bool look_at_pg(struct status *status)
{
    struct pg *pg = &status->pg;

    if (!status->pg_open) {
        status->pg_open =
            pg_open_session(pg, status->settings) && pg_run(pg, "SET lock_timeout = '500ms'");
    }
    if (status->pg_open && load_facts_read(&status->facts, pg)) {
        status->tables = read_tables(pg);
    }
    if (status->tables != NULL) {
        return true;
    }
    pg_one_line(pg->connection == NULL ? "malformed" : PQerrorMessage(pg->connection),
                status->pg_error, sizeof status->pg_error);
    status->exit_code = pg->exit_code;
    status->pg_open = false;
    pg_close(pg);
    return false;
}

static void forget_look(struct status *status)
{
    report_destroy(status->streams);
    report_destroy(status->tables);
    report_destroy(status->stalls);
    status->streams = report_create();
    status->tables = status->stalls = NULL;
    status->behind_ms = 0;
    status->some_counted = false;
    status->redis_error[0] = status->pg_error[0] = '\0';
}

/* --- printing --- */

static json_t *json_or_null(const char *error)
{
    return error[0] == '\0' ? json_null() : json_string(error);
}

static void status_print_json(const struct status *status)
{
    const struct load_facts *facts = &status->facts;
    json_t *json = json_pack("{s:o, s:o}", "redis_error", json_or_null(status->redis_error),
                             "postgres_error", json_or_null(status->pg_error));

    if (status->redis_error[0] == '\0') {
        json_object_set_new(json, "behind_s",
                            status->behind_ms < 0 ? json_null()
                                                  : json_real((double)status->behind_ms / 1000));
        json_object_set_new(json, "streams", report_json(status->streams));
    }
    if (status->pg_error[0] == '\0') {
        json_object_set_new(json, "drainers", json_integer(facts->drainers));
        json_object_set_new(json, "open_rejects", json_integer(facts->open_rejects));
        json_object_set_new(json, "open_incidents", json_integer(facts->open_incidents));
        json_object_set_new(json, "last_load_s",
                            facts->last_load_seconds < 0 ? json_null()
                                                         : json_real(facts->last_load_seconds));
        json_object_set_new(json, "books_lag_s", json_real(facts->books_lag_seconds));
        if (status->settings->tables) {
            json_object_set_new(json, "tables", report_json(status->tables));
        }
    }
    if (status->stalls != NULL) {
        json_object_set_new(json, "stuck", report_json(status->stalls));
    }
    report_print_json(json);
}

static void status_seconds(int64_t ms, char out[SECONDS_BYTES])
{
    if (ms < 0) {
        snprintf(out, SECONDS_BYTES, "unknown");
    } else {
        snprintf(out, SECONDS_BYTES, "%.1f s", (double)ms / 1000);
    }
}

/* Prints the columns that one reads at a glance; --json has all. */
static void print_streams(const struct status *status)
{
    struct report *report = report_create();

    report_column(report, "stream", REPORT_TEXT);
    report_column(report, "waiting", REPORT_NUMBER);
    report_column(report, "pending", REPORT_NUMBER);
    report_column(report, "behind", REPORT_NUMBER);
    report_column(report, "length", REPORT_NUMBER);
    for (size_t i = 0; i < status->survey.count; i++) {
        const struct surveyed_stream *stream = &status->survey.streams[i];
        char lag[32], behind[SECONDS_BYTES];

        if (stream->lag < 0) {
            snprintf(lag, sizeof lag, "unknown");
        } else {
            snprintf(lag, sizeof lag, "%lld%s", (long long)stream->lag, stream->more ? "+" : "");
        }
        status_seconds(stream->behind_ms, behind);
        report_cell(report, stream->name);
        report_cell(report, lag);
        report_number(report, stream->pending);
        report_cell(report, behind);
        report_number(report, stream->length);
    }
    report_print(report);
    report_destroy(report);
}

static void print_tables(const struct status *status)
{
    struct report *report = report_create();

    report_column(report, "table", REPORT_TEXT);
    report_column(report, "rows", REPORT_NUMBER);
    report_column(report, "size", REPORT_NUMBER);
    for (size_t row = 0; row < report_rows(status->tables); row++) {
        const char *rows = report_text(status->tables, row, 1);
        bool estimated = report_text(status->tables, row, 2)[0] == 't';
        char text[64];

        report_cell(report, report_text(status->tables, row, 0));
        snprintf(text, sizeof text, "%s%s", estimated ? "~" : "", rows);
        report_cell(report, text);
        snprintf(text, sizeof text, "%.1f MiB",
                 strtod(report_text(status->tables, row, 3), NULL) / (1 << 20));
        report_cell(report, text);
    }
    report_print(report);
    report_destroy(report);
}

static void print_verdict(const struct status *status)
{
    const struct load_facts *facts = &status->facts;
    char behind[SECONDS_BYTES];

    status_seconds(status->behind_ms, behind);
    printf("behind %s, %lld drainer%s connected, ", behind, (long long)facts->drainers,
           facts->drainers == 1 ? "" : "s");
    if (facts->last_load_seconds < 0) {
        printf("nothing loaded yet");
    } else {
        printf("last load %.1f s ago", facts->last_load_seconds);
    }
    printf(", books %.1f s behind, %lld open rejects, %lld open incidents\n",
           facts->books_lag_seconds, (long long)facts->open_rejects,
           (long long)facts->open_incidents);
    for (size_t row = 0; row < report_rows(status->stalls); row++) {
        printf("stuck: %s, for %s s: ", report_text(status->stalls, row, 0),
               report_text(status->stalls, row, 1));
        terminal_print(stdout, report_text(status->stalls, row, 2));
        putchar('\n');
    }
    if (facts->open_incidents > 0) {
        printf("incidents: records may be lost; `blotter audit` shows them\n");
    }
}

static void status_print_text(const struct status *status)
{
    print_verdict(status);
    printf("\n");
    if (status->survey.count == 0) {
        printf("no streams match %s in this database of Redis\n", status->settings->streams);
    } else {
        print_streams(status);
    }
    if (status->some_counted) {
        printf("Redis does not know how much of some streams is waiting (after a restart, or on a "
               "replica): counted here, up to 100 entries or 64 KiB\n");
    }
    if (status->behind_ms < 0) {
        printf("how long records of some streams have waited is unknown: Redis does not let this "
               "user look for it (EVAL)\n");
    }
    if (!status->settings->tables) {
        return;
    }
    printf("\n");
    if (report_rows(status->tables) == 0) {
        printf("the tables cannot be counted: one of them is locked\n");
    } else {
        print_tables(status);
    }
}

/* Looks once, and prints. Returns an exit code. */
static int status_look(struct status *status)
{
    const struct settings *settings = status->settings;
    bool goes_on = settings->watch && settings->json;

    forget_look(status);
    bool redis_seen = look_at_redis(status);
    bool pg_seen = (redis_seen || goes_on) && look_at_pg(status);
    if ((!redis_seen || !pg_seen) && !goes_on) {
        return status->exit_code;
    }
    if (redis_seen && pg_seen) {
        status->stalls = stalls_find(&status->survey, &status->facts,
                                     stalls_redis_is_master(&status->redis), settings->max_behind);
        stalls_add_part_of_cluster(status->stalls, &status->redis);
    }
    if (settings->watch && !settings->json && isatty(STDOUT_FILENO)) {
        printf("\033[H\033[2J");
    }
    (settings->json ? status_print_json : status_print_text)(status);
    if (settings->watch) {
        fflush(stdout);
    }
    return status->stalls == NULL || report_rows(status->stalls) > 0 ? EXIT_CODE_NO
                                                                     : EXIT_CODE_DONE;
}

static int look_again_and_again(struct status *status)
{
    const struct settings *settings = status->settings;
    struct sigaction action = {.sa_handler =
                                   on_status_signal}; /* without SA_RESTART: it ends the sleep */
    struct timespec pause = {settings->interval / 1000, settings->interval % 1000 * 1000000};
    int code = status_look(status);

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    while (settings->watch && !stopped && !ferror(stdout) &&
           (code == EXIT_CODE_DONE || code == EXIT_CODE_NO)) {
        nanosleep(&pause, NULL);
        code = stopped ? EXIT_CODE_DONE : status_look(status);
    }
    return code;
}

int command_status(const struct settings *settings)
{
    struct status status = {.settings = settings};
    int code = look_again_and_again(&status);

    stream_survey_release(&status.survey);
    report_destroy(status.streams);
    report_destroy(status.tables);
    report_destroy(status.stalls);
    if (status.redis_open) {
        redis_close(&status.redis);
    }
    if (status.pg_open) {
        pg_close(&status.pg);
    }
    return code;
}
