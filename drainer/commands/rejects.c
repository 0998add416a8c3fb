/* rejects.c: `blotter rejects`: lists the records that could not be stored, shows one, and marks
 * those that nobody needs. The SQL is in schema/sql/code/reports.sql. */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/rejects.h"
#include "drainer/commands/report.h"
#include "drainer/commands/since.h"
#include "drainer/memory.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/record_json.h"
#include "drainer/terminal.h"
#include "schema/text.h"

static int list(struct pg *pg, const struct rejects_selection *selection)
{
    const char *values[REJECTS_PARAMETERS + 1];
    char limit[32];

    memcpy(values, selection->values, sizeof selection->values);
    values[REJECTS_PARAMETERS] = limit;
    snprintf(limit, sizeof limit, "%lld", (long long)pg->settings->limit);
    PGresult *result = pg_query(pg,
                                "SELECT * FROM blotter_internal.list_rejects($1::bigint[], $2, $3, "
                                "$4::timestamptz, $5::int)",
                                REJECTS_PARAMETERS + 1, values);
    if (result == NULL) {
        return pg->exit_code;
    }
    struct report *report = report_of_result(result);
    PQclear(result);
    if (pg->settings->json) {
        report_print_json(report_json(report));
    } else if (report_rows(report) == 0) {
        printf("no rejects\n");
    } else {
        report_print(report);
    }
    report_destroy(report);
    return EXIT_CODE_DONE;
}

static int byte_at(const char *hex, size_t at)
{
    return text_hex_digit(hex[2 * at]) << 4 | text_hex_digit(hex[2 * at + 1]);
}

/* Prints bytes as hexdump -C does. hex: two digits a byte. */
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

/* Reads the reject's bytes as JSON. NULL: they cannot be read, or were cut. */
static char *record_of(const PGresult *result)
{
    const char *hex = PQgetvalue(result, 0, PQfnumber(result, "raw"));

    return record_json_of_hex(hex, strlen(hex));
}

/* Prints a reject. Its texts are of anybody's making. */
static void print_reject(const PGresult *result, const char *record)
{
    int raw = PQfnumber(result, "raw");

    for (int column = 0; column < raw; column++) {
        if (!PQgetisnull(result, 0, column)) {
            printf("%-15s ", PQfname(result, column));
            terminal_print(stdout, PQgetvalue(result, 0, column));
            putchar('\n');
        }
    }
    if (record != NULL) {
        printf("%-15s ", "record");
        terminal_print(stdout, record);
        putchar('\n');
    }
    print_bytes(PQgetvalue(result, 0, raw));
}

static void print_reject_json(const PGresult *result, const char *record)
{
    struct report *report = report_of_result(result);
    json_t *json = report_json_row(report, 0);
    json_t *decoded = record == NULL ? NULL : json_loads(record, JSON_DECODE_ANY, NULL);

    json_object_set_new(json, "record",
                        decoded != NULL  ? decoded
                        : record != NULL ? json_string(record)
                                         : json_null());
    report_print_json(json);
    report_destroy(report);
}

static int rejects_show(struct pg *pg, const struct rejects_selection *selection)
{
    const char *id = selection->id_count == 1 ? pg->settings->arguments[1] : NULL;

    if (id == NULL) {
        return command_fail(
            pg->settings, EXIT_CODE_USAGE,
            "show takes the number of a reject, as `blotter rejects list` gives it");
    }
    PGresult *result =
        pg_query(pg, "SELECT * FROM blotter_internal.show_reject($1::bigint)", 1, &id);
    if (result == NULL) {
        return pg->exit_code;
    }
    int code = EXIT_CODE_DONE;
    if (PQntuples(result) == 0) {
        code = command_fail(pg->settings, EXIT_CODE_NO, "there is no reject %s", id);
    } else {
        char *record = record_of(result);

        (pg->settings->json ? print_reject_json : print_reject)(result, record);
        free(record);
    }
    PQclear(result);
    return code;
}

/* --- discarding --- */

static void print_discarded(const struct settings *settings, const PGresult *result)
{
    json_t *ids = json_array();

    for (int row = 0; row < PQntuples(result); row++) {
        json_array_append_new(ids, json_integer(strtoll(PQgetvalue(result, row, 0), NULL, 10)));
    }
    if (settings->json) {
        report_print_json(json_pack("{s:b, s:i, s:O}", "dry_run", settings->dry_run, "discarded",
                                    PQntuples(result), "ids", ids));
    } else {
        printf("%d %sdiscarded\n", PQntuples(result), settings->dry_run ? "would be " : "");
    }
    json_decref(ids);
}

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
    PGresult *result = pg_query(
        pg,
        settings->dry_run
            ? "SELECT * FROM blotter_internal.open_rejects($1::bigint[], $2, $3, $4::timestamptz)"
            : "SELECT * FROM blotter_internal.discard_rejects($1::bigint[], $2, $3, "
              "$4::timestamptz)",
        REJECTS_PARAMETERS, selection->values);
    if (result == NULL) {
        return pg->exit_code;
    }
    print_discarded(settings, result);
    found = PQntuples(result);
    PQclear(result);
    return (size_t)found < selection->id_count
               ? command_fail(
                     settings, EXIT_CODE_NO,
                     "%zu of these rejects do not exist, are not selected, or were replayed or "
                     "discarded before",
                     selection->id_count - (size_t)found)
               : EXIT_CODE_DONE;
}

/* --- which rejects --- */

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0' && strlen(text) <= 18;
}

/* Makes an array of PostgreSQL from the arguments behind the verb. */
static bool take_ids(struct rejects_selection *selection, const struct settings *settings)
{
    size_t length = 1;

    selection->id_count = (size_t)settings->argument_count - 1;
    if (selection->id_count == 0) {
        return true;
    }
    selection->ids = memory_or_abort(malloc(selection->id_count * 20 + 2));
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
    *selection =
        (struct rejects_selection){.values = {NULL, settings->reason, settings->stream, NULL}};
    if (!since_parse(settings, "since", settings->since, selection->since)) {
        return false;
    }
    selection->values[3] = settings->since == NULL ? NULL : selection->since;
    return take_ids(selection, settings);
}

/* --- the command --- */

static const struct {
    const char *name;
    int (*run)(struct pg *, const struct rejects_selection *);
} verbs[] = {
    {"list", list}, {"show", rejects_show}, {"replay", rejects_replay}, {"discard", discard}};
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
        code = pg_open_session(&pg, settings) ? verbs[verb].run(&pg, &selection) : pg.exit_code;
        pg_close(&pg);
    }
    free(selection.ids);
    return code;
}
