/* partitions.c: `blotter partitions list|drop`: the days there are, and letting the old ones go.
 *
 * A day goes in three steps, and schema/sql/code/days.sql says why a crash between them
 * confuses nothing: it is folded, in one transaction; its tables are detached, which waits for
 * whoever uses them without anybody waiting for it; they are dropped. So after folding a run does
 * what is due for any table, also what a run before did not get to. What somebody's transaction
 * keeps from being done is tried for a while, each time for no longer than lock_timeout, so that
 * drainers that need a new day get their turn in between.
 *
 * One run at a time, by an advisory lock of the session; and only for the owner of the schema. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/commands/report.h"
#include "drainer/log.h"
#include "drainer/postgres/pg_blocking.h"

enum {
    ATTEMPTS = 12,   /* at a step that waits for others */
    DAYS_MAX = 9999, /* of --older-than: older than all there is */
};

/* --- the days there are
 * --------------------------------------------------------------------------------------------------
 */

/* What is known of each day that a condition is true for. A day whose tables are in different
 * states is several rows; rows is unknown where a table was never analyzed. NULL: said. */
static struct report *days(struct pg *pg, const char *state, const char *condition)
{
    char sql[1024];

    snprintf(sql, sizeof sql,
             "SELECT to_char(day, 'YYYY-MM-DD') AS day, string_agg(\"table\", ', ' ORDER BY "
             "\"table\") AS tables, "
             "CASE WHEN count(*) = count(row_estimate) THEN sum(row_estimate)::bigint END AS rows, "
             "%s, %s AS state "
             "FROM blotter_internal.partitions WHERE %s GROUP BY 1, 5 ORDER BY 1, 5",
             pg->settings->json ? "sum(bytes)::bigint AS bytes"
                                : "pg_size_pretty(sum(bytes)) AS size",
             state, condition);
    PGresult *result = pg_query(pg, sql, 0, NULL);
    struct report *report = result == NULL ? NULL : report_of_result(result);

    PQclear(result);
    return report;
}

/* The first day kept; "": said. */
static void read_first_day(struct pg *pg, char day[11])
{
    PGresult *result =
        pg_query(pg, "SELECT to_char(first_day, 'YYYY-MM-DD') FROM blotter_internal.retention", 0, NULL);

    snprintf(day, 11, "%s", result == NULL ? "" : PQgetvalue(result, 0, 0));
    PQclear(result);
}

/* Prints the report, and releases it. */
static int print(struct pg *pg, struct report *report, const char *none)
{
    char first_day[11];

    if (report == NULL) {
        return pg->exit_code;
    }
    read_first_day(pg, first_day);
    if (pg->settings->json) {
        report_print_json(
            json_pack("{s:s, s:o}", "first_day", first_day, "days", report_json(report)), stdout);
    } else if (report_rows(report) == 0) {
        printf("%s; kept from %s on\n", none, first_day);
    } else {
        report_print(report, stdout);
        printf("\nkept from %s on\n", first_day);
    }
    report_destroy(report);
    return first_day[0] == '\0' ? pg->exit_code : EXIT_CODE_DONE;
}

/* --- which days are to go
 * ------------------------------------------------------------------------------------------------
 */

/* "90d"; 0: it is none. */
static int parse_days(const char *text)
{
    char *end;
    long days_old = strtol(text, &end, 10);

    return text[0] >= '0' && text[0] <= '9' && strcmp(end, "d") == 0 && days_old >= 1 &&
                   days_old <= DAYS_MAX
               ? (int)days_old
               : 0;
}

/* "2026-05-01", a day that the calendar has. */
static bool is_date(const char *text)
{
    struct tm tm = {0}, again;
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    char written[32];

    if (end == NULL || *end != '\0') {
        return false;
    }
    again = tm;
    timegm(&again);
    return strftime(written, sizeof written, "%Y-%m-%d", &again) > 0 && strcmp(written, text) == 0;
}

/* The first day to be kept, by the server's clock. False: said. */
static bool read_older_than(struct pg *pg, char before[11])
{
    const char *text = pg->settings->older_than;
    int days_old = text == NULL ? 0 : parse_days(text);
    char number[16];
    const char *const values[] = {number, days_old == 0 ? text : NULL};

    if (text == NULL || (days_old == 0 && !is_date(text))) {
        pg->exit_code = command_fail(pg->settings, EXIT_CODE_USAGE,
                                     "setting older_than: %s%.64s%sexpected days, as in 90d, or "
                                     "the first day to be kept, as in 2026-05-01",
                                     text == NULL ? "" : "\"", text == NULL ? "" : text,
                                     text == NULL ? "" : "\": ");
        return false;
    }
    snprintf(number, sizeof number, "%d", days_old);
    PGresult *result = pg_query(pg,
                                "SELECT to_char(b, 'YYYY-MM-DD'), b <= blotter_internal.today() FROM "
                                "coalesce($2::date, blotter_internal.today() - $1::int) AS b",
                                2, values);
    if (result == NULL) {
        return false;
    }
    bool over = PQgetvalue(result, 0, 1)[0] == 't';
    snprintf(before, 11, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    if (!over) {
        pg->exit_code = command_fail(pg->settings, EXIT_CODE_USAGE,
                                     "setting older_than: %s is still to come (UTC)", before);
    }
    return over;
}

/* --- letting them go
 * -----------------------------------------------------------------------------------------------------
 */

static bool check_owner(struct pg *pg)
{
    PGresult *result = pg_query(pg,
                                "SELECT pg_has_role(c.relowner, 'USAGE'), "
                                "pg_get_userbyid(c.relowner), current_user FROM pg_class c "
                                "WHERE c.oid = 'blotter.order_events'::regclass",
                                0, NULL);

    if (result == NULL) {
        return false;
    }
    bool may = PQgetvalue(result, 0, 0)[0] == 't';
    if (!may) {
        pg->exit_code =
            command_fail(pg->settings, EXIT_CODE_USAGE,
                         "dropping days is for the owner of the schema, %s; this user is %s",
                         PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
    }
    PQclear(result);
    return may;
}

/* Held until the session ends; also that of a run that was killed, while the server still works for
 * it. */
static bool lock_others_out(struct pg *pg)
{
    PGresult *result =
        pg_query(pg, "SELECT pg_try_advisory_lock(blotter_internal.lock_class(), 1)", 0, NULL);
    bool locked = result != NULL && PQgetvalue(result, 0, 0)[0] == 't';

    if (result != NULL && !locked) {
        pg->exit_code = command_fail(pg->settings, EXIT_CODE_NO,
                                     "another `blotter partitions drop` is at work");
    }
    PQclear(result);
    return locked;
}

static bool set_lock_timeout(struct pg *pg)
{
    char sql[64];

    snprintf(sql, sizeof sql, "SET lock_timeout = '%lldms'", (long long)pg->settings->lock_timeout);
    return pg_run(pg, sql);
}

static bool somebody_is_in_the_way(const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return sqlstate != NULL && (strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "40P01") == 0);
}

enum step { STEP_DONE, STEP_IN_THE_WAY, STEP_FAILED /* said */ };

/* what: a table, or the day that is folded. */
static enum step run_step(struct pg *pg, const char *sql, const char *what)
{
    PGresult *result = PQexec(pg->connection, sql);
    ExecStatusType status = PQresultStatus(result);
    enum step step = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? STEP_DONE
                     : somebody_is_in_the_way(result)                        ? STEP_IN_THE_WAY
                                                                             : STEP_FAILED;

    if (step == STEP_FAILED) {
        pg_fail(pg, result, what);
    } else if (step == STEP_IN_THE_WAY) {
        log_info(what, "in use; trying again");
    }
    PQclear(result);
    return step;
}

static bool give_up(struct pg *pg, const char *what)
{
    pg->exit_code = command_fail(pg->settings, EXIT_CODE_NO,
                                 "%s: a transaction that uses it does not end (pg_stat_activity, "
                                 "xact_start); what is left is done by "
                                 "the next run",
                                 what);
    return false;
}

static bool fold(struct pg *pg, const char *before)
{
    char sql[64], what[64];

    snprintf(sql, sizeof sql, "SELECT blotter_internal.aggregate_days('%s')", before);
    snprintf(what, sizeof what, "days before %s", before);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        enum step step = run_step(pg, sql, what);

        if (step != STEP_IN_THE_WAY) {
            return step == STEP_DONE;
        }
    }
    return give_up(pg, what);
}

/* A detach that was begun comes first: PostgreSQL begins no other before it has ended. */
static const char next_step_sql[] =
    "SELECT format(CASE state WHEN 'drop' THEN 'DROP TABLE blotter_internal.%2$I' "
    "WHEN 'finalize' THEN 'ALTER TABLE blotter.%1$I DETACH PARTITION blotter_internal.%2$I FINALIZE' "
    "ELSE 'ALTER TABLE blotter.%1$I DETACH PARTITION blotter_internal.%2$I CONCURRENTLY' END, \"table\", "
    "partition), partition "
    "FROM blotter_internal.partitions WHERE state IN ('detach', 'finalize', 'drop') ORDER BY state <> "
    "'finalize', day, \"table\" LIMIT 1";

/* Takes every table that is due through its next step, until none is. */
static bool detach_and_drop(struct pg *pg)
{
    char table[64] = "";

    for (int attempt = 0; attempt < ATTEMPTS;) {
        PGresult *next = pg_query(pg, next_step_sql, 0, NULL);
        enum step step = STEP_FAILED;

        if (next == NULL || PQntuples(next) == 0) {
            PQclear(next);
            return next != NULL;
        }
        snprintf(table, sizeof table, "%s", PQgetvalue(next, 0, 1));
        step = run_step(pg, PQgetvalue(next, 0, 0), table);
        PQclear(next);
        if (step == STEP_FAILED) {
            return false;
        }
        attempt = step == STEP_DONE ? 0 : attempt + 1;
    }
    return give_up(pg, table);
}

static int drop(struct pg *pg)
{
    char before[11], condition[96];
    struct report *report;

    if (!read_older_than(pg, before) || !check_owner(pg)) {
        return pg->exit_code;
    }
    snprintf(condition, sizeof condition,
             "day < greatest('%s', (SELECT first_day FROM blotter_internal.retention))", before);
    if (pg->settings->dry_run) {
        return print(pg, days(pg, "'to be dropped'::text", condition), "nothing to drop");
    }
    if (!lock_others_out(pg) || !set_lock_timeout(pg) ||
        (report = days(pg, "'dropped'::text", condition)) == NULL) {
        return pg->exit_code;
    }
    if (!fold(pg, before) || !detach_and_drop(pg)) {
        report_destroy(report);
        return pg->exit_code;
    }
    return print(pg, report, "nothing to drop");
}

int command_partitions(const struct settings *settings)
{
    bool lists = strcmp(settings->arguments[0], "list") == 0,
         drops = strcmp(settings->arguments[0], "drop") == 0;
    struct pg pg;
    int code;

    if (!lists && !drops) {
        return command_fail(settings, EXIT_CODE_USAGE, "expected list or drop, not \"%.64s\"",
                            settings->arguments[0]);
    }
    if (!pg_open(&pg, settings) || !pg_check_schema(&pg)) {
        code = pg.exit_code;
    } else {
        code =
            lists ? print(&pg, days(&pg, "state", "true"), "no day has been made yet") : drop(&pg);
    }
    pg_close(&pg);
    return code;
}
