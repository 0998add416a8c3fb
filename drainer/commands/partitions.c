/* partitions.c: `blotter partitions list|drop|roll`: lists the days that are kept, drops old ones,
 * and rolls old fills.
 *
 * A day is dropped in three steps, and schema/sql/code/days.sql says why a crash between them
 * confuses nothing: it is aggregated, in one transaction; its tables are detached, which waits for
 * the transactions that use them, while new ones go on; they are dropped. After aggregating, a run
 * does whatever is due for any table, also what an earlier run did not finish. A step that somebody
 * else's transaction blocks is tried again, each time for no longer than lock_timeout, so that
 * drainers that need a new day get their turn in between.
 *
 * Fills are rolled in pieces, each a transaction that leaves the books whole
 * (schema/sql/code/books_roll.sql); a run that is cut off is gone on with by the next one.
 *
 * One run at a time, by an advisory lock of the session; and only for the owner of the schema. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/commands/report.h"
#include "drainer/log.h"
#include "drainer/postgres/pg_blocking.h"
#include "schema/clock.h"

enum {
    ATTEMPTS = 12,   /* at a step that waits for others */
    DAYS_MAX = 9999, /* of --older-than: older than all there is */
    ROLL_DAYS = 2,   /* fills of these are not rolled */
    ROLL_SAID_MS = 5000,
};

/* --- the days there are --- */

/* Lists the days before one, or all (NULL); state replaces what is known of them, unless it is
 * NULL. On failure the error has been printed, and NULL is returned. */
static struct report *list_days(struct pg *pg, const char *before, const char *state)
{
    const char *const values[] = {before == NULL ? "infinity" : before, state};
    PGresult *result = pg_query(
        pg,
        pg->settings->json ? "SELECT day, tables, rows, bytes, coalesce($2, state) AS state "
                             "FROM blotter_internal.list_days($1::date)"
                           : "SELECT day, tables, rows, size, coalesce($2, state) AS state "
                             "FROM blotter_internal.list_days($1::date)",
        2, values);
    struct report *report = result == NULL ? NULL : report_of_result(result);

    PQclear(result);
    return report;
}

/* Reads the first day that is kept; "": on failure, which has been printed. */
static void read_first_day(struct pg *pg, char day[11])
{
    PGresult *result = pg_query(
        pg, "SELECT to_char(first_day, 'YYYY-MM-DD') FROM blotter_internal.retention", 0, NULL);

    snprintf(day, 11, "%s", result == NULL ? "" : PQgetvalue(result, 0, 0));
    PQclear(result);
}

/* Prints the report, and releases it. */
static int print_days(struct pg *pg, struct report *report, const char *none)
{
    char first_day[11];

    if (report == NULL) {
        return pg->exit_code;
    }
    read_first_day(pg, first_day);
    if (pg->settings->json) {
        report_print_json(
            json_pack("{s:s, s:o}", "first_day", first_day, "days", report_json(report)));
    } else if (report_rows(report) == 0) {
        printf("%s; kept from %s on\n", none, first_day);
    } else {
        report_print(report);
        printf("\nkept from %s on\n", first_day);
    }
    report_destroy(report);
    return first_day[0] == '\0' ? pg->exit_code : EXIT_CODE_DONE;
}

static int partitions_list(struct pg *pg)
{
    return print_days(pg, list_days(pg, NULL, NULL), "no day has been made yet");
}

/* --- which days to drop --- */

/* Reads "90d"; 0: it is something else. */
static int parse_days(const char *text)
{
    char *end;
    long days_old = strtol(text, &end, 10);

    return text[0] >= '0' && text[0] <= '9' && strcmp(end, "d") == 0 && days_old >= 1 &&
                   days_old <= DAYS_MAX
               ? (int)days_old
               : 0;
}

/* Says whether it is a day that the calendar has, as in "2026-05-01". */
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

/* Finds the first day to keep, by the server's clock, where so many days are always kept. False: on
 * failure, which has been printed. */
static bool read_older_than(struct pg *pg, int kept_days, char before[11])
{
    const char *text = pg->settings->older_than;
    int days_old = text == NULL ? 0 : parse_days(text);
    char number[16], kept[16];
    const char *const values[] = {number, days_old == 0 ? text : NULL, kept};

    if (text == NULL || (days_old == 0 && !is_date(text))) {
        pg->exit_code = command_fail(pg->settings, EXIT_CODE_USAGE,
                                     "setting older_than: %s%.64s%sexpected days, as in 90d, or "
                                     "the first day to be kept, as in 2026-05-01",
                                     text == NULL ? "" : "\"", text == NULL ? "" : text,
                                     text == NULL ? "" : "\": ");
        return false;
    }
    snprintf(number, sizeof number, "%d", days_old);
    snprintf(kept, sizeof kept, "%d", kept_days);
    PGresult *result =
        pg_query(pg,
                 "SELECT to_char(b, 'YYYY-MM-DD'), b <= blotter_internal.today() - $3::int FROM "
                 "coalesce($2::date, blotter_internal.today() - $1::int) AS b",
                 3, values);
    if (result == NULL) {
        return false;
    }
    bool over = PQgetvalue(result, 0, 1)[0] == 't';
    snprintf(before, 11, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    if (!over) {
        pg->exit_code =
            command_fail(pg->settings, EXIT_CODE_USAGE,
                         kept_days == 0 ? "setting older_than: %s is still to come (UTC)"
                                        : "setting older_than: %s is less than two days ago (UTC)",
                         before);
    }
    return over;
}

/* --- dropping --- */

static bool check_owner(struct pg *pg)
{
    PGresult *result = pg_query(
        pg, "SELECT may, owner, current_user FROM blotter_internal.owner_of_schema()", 0, NULL);

    if (result == NULL) {
        return false;
    }
    bool may = PQgetvalue(result, 0, 0)[0] == 't';
    if (!may) {
        pg->exit_code = command_fail(
            pg->settings, EXIT_CODE_USAGE,
            "dropping days and rolling fills are for the owner of the schema, %s; this user is %s",
            PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
    }
    PQclear(result);
    return may;
}

/* Locks other runs out until the session ends, also one that was killed while the server still
 * works for it. */
static bool lock_others_out(struct pg *pg)
{
    PGresult *result =
        pg_query(pg, "SELECT pg_try_advisory_lock(blotter_internal.lock_class(), 1)", 0, NULL);
    bool locked = result != NULL && PQgetvalue(result, 0, 0)[0] == 't';

    if (result != NULL && !locked) {
        pg->exit_code = command_fail(pg->settings, EXIT_CODE_NO,
                                     "another `blotter partitions drop` or `roll` is at work");
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

static bool is_blocked(const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return sqlstate != NULL && (strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "40P01") == 0);
}

enum step { STEP_DONE, STEP_BLOCKED, STEP_FAILED /* the error has been printed */ };

/* Says how a step ended, and prints why it failed. what: a table, the days to aggregate, or fills.
 */
static enum step judge_step(struct pg *pg, const PGresult *result, const char *what)
{
    ExecStatusType status = PQresultStatus(result);
    enum step step = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? STEP_DONE
                     : is_blocked(result)                                    ? STEP_BLOCKED
                                                                             : STEP_FAILED;

    if (step == STEP_FAILED) {
        pg_fail(pg, result, what);
    } else if (step == STEP_BLOCKED) {
        log_info(what, "in use; trying again");
    }
    return step;
}

static enum step run_step(struct pg *pg, const char *sql, const char *what)
{
    PGresult *result = PQexec(pg->connection, sql);
    enum step step = judge_step(pg, result, what);

    PQclear(result);
    return step;
}

static bool partitions_give_up(struct pg *pg, const char *what)
{
    pg->exit_code = command_fail(pg->settings, EXIT_CODE_NO,
                                 "%s: a transaction that uses it does not end: see xact_start in "
                                 "pg_stat_activity; the next run does the rest",
                                 what);
    return false;
}

static bool aggregate(struct pg *pg, const char *before)
{
    char sql[64], what[64];

    snprintf(sql, sizeof sql, "SELECT blotter_internal.aggregate_days('%s')", before);
    snprintf(what, sizeof what, "days before %s", before);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        enum step step = run_step(pg, sql, what);

        if (step != STEP_BLOCKED) {
            return step == STEP_DONE;
        }
    }
    return partitions_give_up(pg, what);
}

/* Takes every table that is due through its next step, until none is. */
static bool detach_and_drop(struct pg *pg)
{
    char table[64] = "";

    for (int attempt = 0; attempt < ATTEMPTS;) {
        PGresult *next = pg_query(
            pg, "SELECT statement, partition FROM blotter_internal.next_drop_step", 0, NULL);
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
    return partitions_give_up(pg, table);
}

static int partitions_drop(struct pg *pg)
{
    char before[11], first_day[11];
    struct report *report;

    if (!read_older_than(pg, 0, before) || !check_owner(pg)) {
        return pg->exit_code;
    }
    read_first_day(pg, first_day);
    const char *bound = strcmp(first_day, before) > 0 ? first_day : before; /* begun before */
    if (pg->settings->dry_run) {
        return print_days(pg, list_days(pg, bound, "to be dropped"), "nothing to drop");
    }
    if (!lock_others_out(pg) || !set_lock_timeout(pg) ||
        (report = list_days(pg, bound, "dropped")) == NULL) {
        return pg->exit_code;
    }
    if (!aggregate(pg, before) || !detach_and_drop(pg)) {
        report_destroy(report);
        return pg->exit_code;
    }
    return print_days(pg, report, "nothing to drop");
}

/* --- rolling --- */

/* Rolls one piece, and finds the position where the next one begins; 0: there is none. */
static enum step roll_piece(struct pg *pg, const char *before, int *position, int64_t *rolled)
{
    char sql[160];
    PGresult *result;
    enum step step;

    snprintf(sql, sizeof sql,
             "SELECT coalesce(next_position, 0), rolled FROM blotter_internal.roll_fills("
             "blotter_internal.day_begins('%s'), %d)",
             before, *position);
    result = PQexec(pg->connection, sql);
    step = judge_step(pg, result, "fills");
    if (step == STEP_DONE) {
        *position = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
        *rolled += strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    }
    PQclear(result);
    return step;
}

static bool roll(struct pg *pg, const char *before)
{
    int position = 0;
    int64_t rolled = 0, said_ms = clock_monotonic_ms();

    for (int attempt = 0; attempt < ATTEMPTS;) {
        enum step step = roll_piece(pg, before, &position, &rolled);

        if (step == STEP_FAILED) {
            return false;
        } else if (step == STEP_DONE && position == 0) {
            return true;
        } else if (step == STEP_DONE && clock_monotonic_ms() >= said_ms + ROLL_SAID_MS) {
            log_info("fills", "rolled %lld so far", (long long)rolled);
            said_ms = clock_monotonic_ms();
        }
        attempt = step == STEP_DONE ? 0 : attempt + 1;
    }
    return partitions_give_up(pg, "fills");
}

static int partitions_roll(struct pg *pg)
{
    char before[11];
    const char *const values[] = {before};
    PGresult *result;
    struct report *report;

    if (!read_older_than(pg, ROLL_DAYS, before) || !check_owner(pg) ||
        (!pg->settings->dry_run && (!lock_others_out(pg) || !set_lock_timeout(pg)))) {
        return pg->exit_code;
    }
    result = pg_query(pg,
                      "SELECT exchange, positions, fills, unsure FROM "
                      "blotter_internal.list_rolls(blotter_internal.day_begins($1::date))",
                      1, values);
    if (result == NULL) {
        return pg->exit_code;
    }
    report = report_of_result(result);
    PQclear(result);
    if (!pg->settings->dry_run && !roll(pg, before)) {
        report_destroy(report);
        return pg->exit_code;
    }
    if (pg->settings->json) {
        report_print_json(json_pack("{s:b, s:s, s:o}", "dry_run", pg->settings->dry_run, "before",
                                    before, "exchanges", report_json(report)));
    } else if (report_rows(report) == 0) {
        printf("no fills before %s to roll\n", before);
    } else {
        report_print(report);
        printf("\nfills before %s %s\n", before, pg->settings->dry_run ? "to be rolled" : "rolled");
    }
    report_destroy(report);
    return EXIT_CODE_DONE;
}

int command_partitions(const struct settings *settings)
{
    static int (*const verbs[])(struct pg *) = {partitions_list, partitions_drop, partitions_roll};
    static const char *const names[] = {"list", "drop", "roll"};
    size_t verb = 0;
    struct pg pg;

    while (verb < 3 && strcmp(settings->arguments[0], names[verb]) != 0) {
        verb++;
    }
    if (verb == 3) {
        return command_fail(settings, EXIT_CODE_USAGE, "expected list, drop or roll, not \"%.64s\"",
                            settings->arguments[0]);
    }
    int code = pg_open_session(&pg, settings) ? verbs[verb](&pg) : pg.exit_code;
    pg_close(&pg);
    return code;
}
