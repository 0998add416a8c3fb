/* rejects.c: `blotter rejects`: the records that could not be stored, and why; which of them a
 * command is about. */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/commands/rejects.h"
#include "drainer/commands/report.h"
#include "drainer/postgres/pg_blocking.h"

/* What could not be read as text is shown in hexadecimal. */
#define TIME(column) "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS " column
#define STATE                                                                                \
    "CASE WHEN discarded_at IS NOT NULL THEN 'discarded' WHEN replayed_at IS NOT NULL THEN " \
    "'replayed' ELSE 'open' END AS state"

static const char list_sql[] =
    "SELECT id, " TIME("rejected_at") ", " STATE
                                      ", stream, entry_id, encode(kind, 'escape') AS kind, "
                                      "producer_id, seq, reason, sqlstate FROM blotter.rejects "
                                      "WHERE " REJECTS_SELECTED " ORDER BY id DESC LIMIT $5";
static const char show_sql[] = "SELECT id, identity, " TIME(
    "rejected_at") ", " STATE ", stream, entry_id, exchange, "
                   "encode(kind, 'escape') AS kind, producer_id, seq, " TIME(
                       "recorded_at") ", delivery_count, reason, "
                                      "sqlstate, drainer, " TIME(
                                          "replayed_at") ", replayed_by, " TIME("discarded_"
                                                                                "at") ", "
                                                                                      "disc"
                                                                                      "arde"
                                                                                      "d_"
                                                                                      "by, "
                                                                                      "octe"
                                                                                      "t_"
                                                                                      "leng"
                                                                                      "th("
                                                                                      "raw)"
                                                                                      " AS "
                                                                                      "raw_"
                                                                                      "byte"
                                                                                      "s, "
                                                                                      "enco"
                                                                                      "de("
                                                                                      "raw,"
                                                                                      " '"
                                                                                      "hex'"
                                                                                      ") "
                                                                                      "AS "
                                                                                      "raw "
                                                                                      "FROM"
                                                                                      " "
                                                                                      "blot"
                                                                                      "ter."
                                                                                      "reje"
                                                                                      "cts "
                                                                                      "WHER"
                                                                                      "E "
                                                                                      "id "
                                                                                      "= "
                                                                                      "$1";

static int list(struct pg *pg, const struct rejects_selection *selection)
{
    const char *values[REJECTS_PARAMETERS + 1];
    char limit[32];

    memcpy(values, selection->values, sizeof selection->values);
    values[REJECTS_PARAMETERS] = limit;
    snprintf(limit, sizeof limit, "%lld", (long long)pg->settings->limit);
    PGresult *result = pg_query(pg, list_sql, REJECTS_PARAMETERS + 1, values);
    if (result == NULL) {
        return pg->exit_code;
    }
    struct report *report = report_of_result(result);
    PQclear(result);
    if (pg->settings->json) {
        report_print_json(report_json(report), stdout);
    } else if (report_rows(report) == 0) {
        printf("no rejects\n");
    } else {
        report_print(report, stdout);
    }
    report_destroy(report);
    return EXIT_CODE_DONE;
}

static int byte_at(const char *hex, size_t at)
{
    char digits[3] = {hex[2 * at], hex[2 * at + 1], '\0'};

    return (int)strtol(digits, NULL, 16);
}

/* As hexdump -C does. hex: two digits a byte. */
static void print_bytes(const char *hex)
{
    size_t length = strlen(hex) / 2;

    for (size_t offset = 0; offset < length; offset += 16) {
        printf("%08zx ", offset);
        for (size_t at = offset; at < offset + 16; at++) {
            if (at < length) {
                printf(" %02x", (unsigned)byte_at(hex, at));
            } else {
                printf("   ");
            }
        }
        printf("  |");
        for (size_t at = offset; at < offset + 16 && at < length; at++) {
            int byte = byte_at(hex, at);

            putchar(byte < 0x80 && isprint(byte) ? byte : '.');
        }
        printf("|\n");
    }
}

static void print_fields(const PGresult *result)
{
    int raw = PQfnumber(result, "raw");

    for (int column = 0; column < raw; column++) {
        if (!PQgetisnull(result, 0, column)) {
            printf("%-15s %s\n", PQfname(result, column), PQgetvalue(result, 0, column));
        }
    }
    print_bytes(PQgetvalue(result, 0, raw));
}

static int show(struct pg *pg, const struct rejects_selection *selection)
{
    const char *id = selection->id_count == 1 ? pg->settings->arguments[1] : NULL;
    const char *const values[] = {id};

    if (id == NULL) {
        return command_fail(
            pg->settings, EXIT_CODE_USAGE,
            "show takes the number of a reject, as `blotter rejects list` gives it");
    }
    PGresult *result = pg_query(pg, show_sql, 1, values);
    if (result == NULL) {
        return pg->exit_code;
    }
    int code = EXIT_CODE_DONE;
    if (PQntuples(result) == 0) {
        code = command_fail(pg->settings, EXIT_CODE_NO, "there is no reject %s", id);
    } else if (pg->settings->json) {
        struct report *report = report_of_result(result);

        report_print_json(report_json_row(report, 0), stdout);
        report_destroy(report);
    } else {
        print_fields(result);
    }
    PQclear(result);
    return code;
}

/* --- discarding
 * ----------------------------------------------------------------------------------------------------------
 */

#define DISCARDABLE "WHERE " REJECTS_SELECTED " AND replayed_at IS NULL AND discarded_at IS NULL"

static const char discard_sql[] =
    "UPDATE blotter.rejects SET discarded_at = now(), discarded_by = session_user " DISCARDABLE
    " RETURNING id";
static const char would_discard_sql[] = "SELECT id FROM blotter.rejects " DISCARDABLE;

static void print_discarded(const struct settings *settings, const PGresult *result)
{
    json_t *ids = json_array();

    for (int row = 0; row < PQntuples(result); row++) {
        json_array_append_new(ids, json_integer(strtoll(PQgetvalue(result, row, 0), NULL, 10)));
    }
    if (settings->json) {
        report_print_json(json_pack("{s:b, s:i, s:O}", "dry_run", settings->dry_run, "discarded",
                                    PQntuples(result), "ids", ids),
                          stdout);
    } else {
        printf("%d %sdiscarded\n", PQntuples(result), settings->dry_run ? "would be " : "");
    }
    json_decref(ids);
}

/* The row stays: it is the evidence, and what the audit counts. */
static int discard(struct pg *pg, const struct rejects_selection *selection)
{
    const struct settings *settings = pg->settings;
    bool selected = false;
    int found;

    for (int i = 0; i < REJECTS_PARAMETERS; i++) {
        selected = selected || selection->values[i] != NULL;
    }
    if (!selected) {
        return command_fail(settings, EXIT_CODE_USAGE,
                            "discard takes numbers of rejects, or --reason, --stream or --since");
    }
    PGresult *result = pg_query(pg, settings->dry_run ? would_discard_sql : discard_sql,
                                REJECTS_PARAMETERS, selection->values);
    if (result == NULL) {
        return pg->exit_code;
    }
    print_discarded(settings, result);
    found = PQntuples(result);
    PQclear(result);
    return (size_t)found < selection->id_count
               ? command_fail(settings, EXIT_CODE_NO,
                              "%zu of the rejects named are not there, are not selected, or were "
                              "replayed or discarded before",
                              selection->id_count - (size_t)found)
               : EXIT_CODE_DONE;
}

/* --- which
 * ---------------------------------------------------------------------------------------------------------------
 */

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0' && strlen(text) <= 18;
}

/* 2026-05-01, or with a time in UTC: 2026-05-01T12:00Z, 2026-05-01T12:00:00Z. */
static bool is_time(const char *text)
{
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"};

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm tm;
        const char *end = strptime(text, formats[i], &tm);

        if (end != NULL && *end == '\0') {
            return true;
        }
    }
    return false;
}

/* The arguments behind the verb, as an array of PostgreSQL. */
static bool take_ids(struct rejects_selection *selection, const struct settings *settings)
{
    size_t length = 1;

    selection->id_count = (size_t)settings->argument_count - 1;
    if (selection->id_count == 0) {
        return true;
    }
    selection->ids = malloc(selection->id_count * 20 + 2);
    if (selection->ids == NULL) {
        abort();
    }
    for (int i = 1; i < settings->argument_count; i++) {
        if (!is_number(settings->arguments[i])) {
            command_fail(
                settings, EXIT_CODE_USAGE,
                "\"%.64s\" is not the number of a reject, as `blotter rejects list` gives it",
                settings->arguments[i]);
            return false;
        }
        length += (size_t)sprintf(selection->ids + length, "%s,", settings->arguments[i]);
    }
    selection->ids[0] = '{';
    selection->ids[length - 1] = '}';
    selection->values[0] = selection->ids;
    return true;
}

static bool select_rejects(struct rejects_selection *selection, const struct settings *settings)
{
    *selection = (struct rejects_selection){
        .values = {NULL, settings->reason, settings->stream, settings->since}};
    if (settings->since != NULL && !is_time(settings->since)) {
        command_fail(
            settings, EXIT_CODE_USAGE,
            "setting since: \"%.64s\" is not a time, as in 2026-05-01 or 2026-05-01T12:00:00Z",
            settings->since);
        return false;
    }
    return take_ids(selection, settings);
}

/* --- the command
 * ---------------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int (*run)(struct pg *, const struct rejects_selection *);
} verbs[] = {{"list", list}, {"show", show}, {"replay", rejects_replay}, {"discard", discard}};
#define VERBS (sizeof verbs / sizeof verbs[0])

int command_rejects(const struct settings *settings)
{
    struct rejects_selection selection = {.ids = NULL};
    struct pg pg = {.exit_code = EXIT_CODE_USAGE};
    int code = EXIT_CODE_USAGE;
    size_t verb = 0;

    while (verb < VERBS && strcmp(settings->arguments[0], verbs[verb].name) != 0) {
        verb++;
    }
    if (verb == VERBS) {
        return command_fail(settings, EXIT_CODE_USAGE,
                            "expected list, show, replay or discard, not \"%.64s\"",
                            settings->arguments[0]);
    }
    if (select_rejects(&selection, settings)) {
        code = pg_open(&pg, settings) && pg_check_schema(&pg) ? verbs[verb].run(&pg, &selection)
                                                              : pg.exit_code;
        pg_close(&pg);
    }
    free(selection.ids);
    return code;
}
