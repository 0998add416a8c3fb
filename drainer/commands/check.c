/* check.c: `blotter check`: are there versions, rights or settings under which records would be
 * lost or refused, or do records wait and not move?
 *
 * bad: records would be lost, or not stored; exit status 1. warning: they are safe as long as
 * journals hold them, somebody could read or forge them, or it could not be looked at. With
 * --exchange it looks as a producer of that exchange does: at Redis only. */
#include "drainer/commands/check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/report.h"
#include "drainer/commands/stalls.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/settings.h"
#include "schema/clock.h"

enum {
    SKEW_WARNING_MS = 1000,
    SKEW_BAD_MS = 3600000,
};

void check_report(struct check *check, enum check_result result, const char *where,
                  const char *what, const char *format, ...)
{
    static const char *const words[] = {"ok", "warning", "bad"};
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report_cell(check->report, words[result]);
    report_cell(check->report, where);
    report_cell(check->report, what);
    report_cell(check->report, text);
    check->bad = check->bad || result == CHECK_BAD;
}

void check_report_clock(struct check *check, const char *where, int64_t before_ms,
                        int64_t theirs_ms, int64_t after_ms)
{
    int64_t skew = theirs_ms < before_ms  ? before_ms - theirs_ms
                   : theirs_ms > after_ms ? theirs_ms - after_ms
                                          : 0;
    enum check_result result = skew >= SKEW_BAD_MS       ? CHECK_BAD
                               : skew >= SKEW_WARNING_MS ? CHECK_WARNING
                                                         : CHECK_FINE;

    check_report(check, result, where, "clock", "%" PRId64 " ms %s this machine's%s", skew,
                 theirs_ms < before_ms  ? "behind"
                 : theirs_ms > after_ms ? "ahead of"
                                        : "from",
                 result == CHECK_FINE
                     ? ""
                     : "; records from the future are refused, and times cannot be compared");
}

bool check_host_is_local(const char *host)
{
    return host == NULL || host[0] == '\0' || host[0] == '/' || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

/* --- PostgreSQL --- */

static void check_pg_setting(struct check *check, PGconn *connection, const char *name,
                             const char *wanted, enum check_result otherwise, const char *why)
{
    const char *const values[] = {name};
    PGresult *result =
        PQexecParams(connection, "SELECT current_setting($1)", 1, NULL, values, NULL, NULL, 0);
    const char *value =
        PQresultStatus(result) == PGRES_TUPLES_OK ? PQgetvalue(result, 0, 0) : "unknown";
    bool as_wanted = strcmp(value, wanted) == 0;

    check_report(check, as_wanted ? CHECK_FINE : otherwise, "postgres", name, "%s%s%s", value,
                 as_wanted ? "" : "; ", as_wanted ? "" : why);
    PQclear(result);
}

static void check_pg_settings(struct check *check, struct pg *pg)
{
    int version = PQserverVersion(pg->connection);
    PGconn *connection = pg->connection;

    check_report(check, version < 150000 ? CHECK_BAD : CHECK_FINE, "postgres", "version", "%d.%d%s",
                 version / 10000, version % 10000, version < 150000 ? "; needs 15" : "");
    check_pg_setting(check, connection, "fsync", "on", CHECK_BAD,
                     "committed records are lost in a crash of the machine");
    check_pg_setting(check, connection, "full_page_writes", "on", CHECK_BAD,
                     "a crash of the machine may tear pages");
    check_pg_setting(check, connection, "synchronous_commit", "on", CHECK_FINE,
                     "drainers set it themselves; other writers do not");
    check_pg_setting(check, connection, "transaction_read_only", "off", CHECK_BAD,
                     "nothing can be stored: it is a standby, or was set so");
    check_pg_setting(check, connection, "server_encoding", "UTF8", CHECK_BAD, "Blotter needs UTF8");
}

static bool check_pg_clock(struct check *check, struct pg *pg)
{
    int64_t before = clock_wall_ms();
    PGresult *result =
        pg_query(pg, "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint", 0, NULL);

    if (result != NULL) {
        check_report_clock(check, "postgres", before, strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                           clock_wall_ms());
    }
    PQclear(result);
    return result != NULL;
}

static void check_pg_transport(struct check *check, const struct pg *pg)
{
    const char *host = PQhost(pg->connection);

    if (PQsslInUse(pg->connection) == 0 && !check_host_is_local(host) &&
        !check_host_is_local(PQhostaddr(pg->connection))) {
        check_report(check, CHECK_WARNING, "postgres", "transport",
                     "plain text to %s: who can listen reads the records; use sslmode=verify-full",
                     host);
    }
}

static int backend_pid(struct pg *pg)
{
    PGresult *result = pg_query(pg, "SELECT pg_backend_pid()", 0, NULL);
    int pid = result == NULL ? 0 : atoi(PQgetvalue(result, 0, 0));

    PQclear(result);
    return pid;
}

/* A pooler gives a process id of its own. One that pools by transaction hands a second connection
 * the server process that the first has just used, though the first is still open. */
static void check_pooling(struct check *check, struct pg *pg)
{
    struct pg other = {.settings = pg->settings};
    int first = backend_pid(pg);

    if (first == 0 || first == PQbackendPID(pg->connection)) {
        return;
    }
    bool shared = pg_open(&other, pg->settings) && pg_run(&other, "BEGIN") &&
                  backend_pid(&other) == backend_pid(pg);
    /* a new process for the first means that it lost its own to the transaction of the other */
    shared = shared || backend_pid(pg) != first;
    check_report(check, shared ? CHECK_BAD : CHECK_FINE, "postgres", "pooling", "%s",
                 shared ? "transactions are pooled (pool_mode=transaction): locks and settings of "
                          "drainers go to whichever session; use pool_mode=session, or none"
                        : "by session");
    pg_close(&other);
}

/* Without USAGE on the schema nothing in it can be asked. */
static void check_pg_rights(struct check *check, struct pg *pg)
{
    PGresult *result =
        pg_query(pg,
                 "SELECT CASE WHEN has_schema_privilege('blotter_internal', 'USAGE') THEN '' ELSE "
                 "'USAGE on schema blotter_internal' END, current_user, "
                 "has_schema_privilege('public', 'public', 'CREATE')",
                 0, NULL);

    if (result == NULL) {
        return;
    }
    if (PQgetvalue(result, 0, 2)[0] == 't') {
        check_report(check, CHECK_WARNING, "postgres", "schema public",
                     "everybody may create functions there, which others then call: REVOKE CREATE "
                     "ON SCHEMA public FROM PUBLIC");
    }
    if (PQgetvalue(result, 0, 0)[0] == '\0') {
        PQclear(result);
        result = pg_query(
            pg,
            "SELECT concat_ws(', ', "
            "blotter_internal.missing_rights(current_user, 'blotter_drainer'), CASE WHEN NOT "
            "has_database_privilege(current_database(), 'TEMP') THEN 'TEMPORARY on the database' "
            "END), current_user",
            0, NULL);
    }
    if (result != NULL) {
        const char *missing = PQgetvalue(result, 0, 0);

        check_report(check, missing[0] == '\0' ? CHECK_FINE : CHECK_BAD, "postgres", "rights",
                     "user %s%s%s", PQgetvalue(result, 0, 1),
                     missing[0] == '\0' ? " may load"
                                        : " cannot load; grant blotter_drainer; missing: ",
                     missing);
    }
    PQclear(result);
}

/* Returns whether the schema is there in a version that can be asked. */
static bool check_pg_schema(struct check *check, struct pg *pg)
{
    int version = pg_schema_version(pg), needed = pg_schema_needed();

    if (version <= 0) {
        check_report(check, CHECK_BAD, "postgres", "schema", "%s",
                     version == 0 ? "there is none; run `blotter migrate`" : "cannot be read");
        return false;
    }
    check_report(check, version < needed ? CHECK_BAD : CHECK_FINE, "postgres", "schema",
                 "version %d, this program needs %d%s", version, needed,
                 version < needed ? "; run `blotter migrate`" : "");
    return version >= needed;
}

static bool check_pg(struct check *check, struct pg *pg, struct load_facts *facts)
{
    check_pg_settings(check, pg);
    check_pg_transport(check, pg);
    check_pooling(check, pg);
    bool seen = check_pg_clock(check, pg);
    if (seen && check_pg_schema(check, pg)) {
        check_pg_rights(check, pg);
        seen = load_facts_read(facts, pg);
        check->facts_known = seen;
    }
    return seen || PQstatus(pg->connection) == CONNECTION_OK;
}

/* --- all of it --- */

static void report_misspelt(void *arg, const char *name, const char *meant)
{
    if (meant != NULL) {
        check_report(arg, CHECK_WARNING, "settings", "environment",
                     "%s is no setting; did you mean %s?", name, meant);
    }
}

static void check_stalls(struct check *check, struct redis *redis,
                         const struct stream_survey *survey, const struct load_facts *facts)
{
    struct report *stalls =
        stalls_find(survey, facts, stalls_redis_is_master(redis), check->settings->max_behind);

    for (size_t row = 0; row < report_rows(stalls); row++) {
        check_report(check, CHECK_BAD, "stream", report_text(stalls, row, 0),
                     "records have waited for %s s: %s", report_text(stalls, row, 1),
                     report_text(stalls, row, 2));
    }
    if (facts->open_incidents > 0) {
        check_report(check, CHECK_BAD, "postgres", "incidents",
                     "%" PRId64 " are open: records may be lost; `blotter audit` shows them",
                     facts->open_incidents);
    }
    report_destroy(stalls);
}

/* The reason is on stderr. */
static void report_unseen(struct check *check, bool seen, const char *where)
{
    if (!seen) {
        check_report(check, CHECK_BAD, where, "connection", "none: its error stands above");
    }
}

static int check_print(const struct check *check)
{
    if (check->settings->json) {
        report_print_json(
            json_pack("{s:b, s:o}", "ok", !check->bad, "checks", report_json(check->report)),
            stdout);
    } else {
        report_print(check->report, stdout);
    }
    return check->bad ? EXIT_CODE_NO : EXIT_CODE_DONE;
}

int command_check(const struct settings *settings)
{
    struct check check = {.settings = settings, .report = report_create(), .redis = "redis"};
    struct stream_survey survey = {.streams = NULL};
    struct load_facts facts = {.drainers = 0};
    struct redis redis;
    struct pg pg = {.settings = settings};
    bool producer = settings->exchange != NULL;

    report_column(check.report, "result", REPORT_TEXT);
    report_column(check.report, "where", REPORT_TEXT);
    report_column(check.report, "what", REPORT_TEXT);
    report_column(check.report, "finding", REPORT_TEXT);
    settings_find_misspelt(report_misspelt, &check);
    bool redis_seen = redis_open(&redis, settings) && check_look_at_redis(&check, &redis, &survey);
    bool pg_seen = producer || (pg_open(&pg, settings) && check_pg(&check, &pg, &facts));
    report_unseen(&check, redis_seen, "redis");
    report_unseen(&check, pg_seen, "postgres");
    if (redis_seen && check.facts_known) {
        check_stalls(&check, &redis, &survey, &facts);
    }
    int code = check_print(&check);
    code = !redis_seen ? redis.exit_code : !pg_seen ? pg.exit_code : code;
    stream_survey_release(&survey);
    report_destroy(check.report);
    redis_close(&redis);
    pg_close(&pg);
    return code;
}
