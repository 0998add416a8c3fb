/* rejects.c: `blotter rejects list|show`: the records that could not be stored, and why. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/pg.h"
#include "drainer/report.h"

/* What could not be read as text is shown in hexadecimal. */
#define TIME(column) "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS " column
#define STATE \
    "CASE WHEN discarded_at IS NOT NULL THEN 'discarded' WHEN replayed_at IS NOT NULL THEN 'replayed' ELSE 'open' END AS state"

static const char list_sql[] =
    "SELECT id, " TIME("rejected_at") ", " STATE ", stream, entry_id, encode(kind, 'escape') AS kind, "
                                      "producer_id, seq, reason, sqlstate FROM blotter.rejects ORDER BY id DESC LIMIT $1";
static const char show_sql[] = "SELECT id, identity, " TIME(
    "rejected_at") ", " STATE ", stream, entry_id, exchange, "
                   "encode(kind, 'escape') AS kind, producer_id, seq, " TIME(
                       "recorded_at") ", delivery_count, reason, "
                                      "sqlstate, drainer, " TIME("replayed_at") ", replayed_by, " TIME(
                                          "discarded_at") ", "
                                                          "octet_length(raw) AS raw_bytes, encode(raw, 'hex') AS raw FROM "
                                                          "blotter.rejects WHERE id = $1";

static int list(struct pg *pg)
{
    char limit[32];
    const char *const values[] = {limit};

    snprintf(limit, sizeof limit, "%lld", (long long)pg->settings->limit);
    PGresult *result = pg_query(pg, list_sql, 1, values);
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

static int show(struct pg *pg, const char *id)
{
    const char *const values[] = {id};

    if (id == NULL || id[0] == '\0' || id[strspn(id, "0123456789")] != '\0' || strlen(id) > 18) {
        return command_fail(pg->settings, EXIT_CODE_USAGE,
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

int command_rejects(const struct settings *settings)
{
    const char *verb = settings->arguments[0];
    bool lists = strcmp(verb, "list") == 0, shows = strcmp(verb, "show") == 0;
    struct pg pg;
    int code;

    if ((!lists && !shows) || (lists && settings->argument_count > 1)) {
        return command_fail(settings, EXIT_CODE_USAGE, "expected list, or show and the number of a reject");
    }
    if (!pg_open(&pg, settings) || !pg_check_schema(&pg)) {
        code = pg.exit_code;
    } else {
        code = lists ? list(&pg) : show(&pg, settings->argument_count > 1 ? settings->arguments[1] : NULL);
    }
    pg_close(&pg);
    return code;
}
