/* report.c: see report.h. */
#include "drainer/commands/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drainer/memory.h"
#include "drainer/terminal.h"

enum { COLUMNS_MAX = 32 };

struct report {
    const char *names[COLUMNS_MAX];
    enum report_type types[COLUMNS_MAX];
    size_t columns;
    char **cells;
    size_t count, capacity;
    PGresult *names_of; /* holds the names, if they come from a result */
};

struct report *report_create(void)
{
    return memory_or_abort(calloc(1, sizeof(struct report)));
}

void report_destroy(struct report *report)
{
    if (report == NULL) {
        return;
    }
    for (size_t i = 0; i < report->count; i++) {
        free(report->cells[i]);
    }
    free(report->cells);
    PQclear(report->names_of);
    free(report);
}

void report_column(struct report *report, const char *name, enum report_type type)
{
    if (report->columns < COLUMNS_MAX) {
        report->names[report->columns] = name;
        report->types[report->columns++] = type;
    }
}

void report_cell(struct report *report, const char *text)
{
    report->cells = array_grow_or_abort(report->cells, &report->capacity, report->count + 1,
                                        sizeof *report->cells);
    report->cells[report->count++] = memory_copy(text);
}

void report_number(struct report *report, int64_t number)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64, number);
    report_cell(report, text);
}

void report_seconds(struct report *report, int64_t ms)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
    report_cell(report, ms < 0 ? NULL : text);
}

size_t report_rows(const struct report *report)
{
    return report->columns == 0 ? 0 : report->count / report->columns;
}

const char *report_text(const struct report *report, size_t row, size_t column)
{
    return report->cells[row * report->columns + column];
}

/* Oids of the types that JSON can hold, from pg_type.dat. A numeric is text in JSON, so that it
 * keeps its digits. */
enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_FLOAT8 = 701 };

static enum report_type report_type_of(const char *name, Oid type)
{
    switch (type) {
    case OID_BOOL:
        return REPORT_BOOL;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_FLOAT8:
        return strcmp(name, "producer_id") == 0 ? REPORT_ID : REPORT_NUMBER;
    default:
        return REPORT_TEXT;
    }
}

struct report *report_of_result(const PGresult *result)
{
    struct report *report = report_create();

    report->names_of = memory_or_abort(PQcopyResult(result, PG_COPYRES_ATTRS));
    for (int column = 0; column < PQnfields(result); column++) {
        const char *name = PQfname(report->names_of, column);

        report_column(report, name, report_type_of(name, PQftype(result, column)));
    }
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < (int)report->columns; column++) {
            report_cell(report,
                        PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column));
        }
    }
    return report;
}

/* --- as a table --- */

/* Counts the characters that terminal_print() prints. Wide ones count as one. */
static size_t width_of(const char *text)
{
    const char *end = text + strlen(text);
    size_t width = 0;

    while (text < end) {
        size_t length = terminal_character(text, end);

        width += length == 0 ? strlen("\\xNN") : 1;
        text += length == 0 ? 1 : length;
    }
    return width;
}

static const char *shown(const struct report *report, size_t row, size_t column)
{
    const char *text = report_text(report, row, column);

    if (text != NULL && report->types[column] == REPORT_BOOL) {
        return text[0] == 't' ? "yes" : "no";
    }
    return text == NULL ? "-" : text;
}

static void print_padded(const char *text, size_t width, bool right, bool last)
{
    size_t pad = width - width_of(text);

    printf("%*s", right ? (int)pad : 0, "");
    terminal_print(stdout, text);
    printf("%*s%s", right || last ? 0 : (int)pad, "", last ? "\n" : "  ");
}

static bool is_right_aligned(const struct report *report, size_t column)
{
    return report->types[column] == REPORT_NUMBER || report->types[column] == REPORT_ID;
}

void report_print(const struct report *report)
{
    size_t widths[COLUMNS_MAX], rows = report_rows(report);

    for (size_t column = 0; column < report->columns; column++) {
        widths[column] = width_of(report->names[column]);
        for (size_t row = 0; row < rows; row++) {
            size_t width = width_of(shown(report, row, column));
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
    for (size_t column = 0; column < report->columns; column++) {
        print_padded(report->names[column], widths[column], is_right_aligned(report, column),
                     column + 1 == report->columns);
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < report->columns; column++) {
            print_padded(shown(report, row, column), widths[column],
                         is_right_aligned(report, column), column + 1 == report->columns);
        }
    }
}

/* --- as JSON --- */

static json_t *json_of_cell(const char *text, enum report_type type)
{
    if (text == NULL) {
        return json_null();
    }
    if (type == REPORT_TEXT || type == REPORT_ID) {
        json_t *string = json_string(text);
        return string == NULL ? json_string("(not valid UTF-8)") : string;
    }
    if (type == REPORT_BOOL) {
        return json_boolean(text[0] == 't');
    }
    return strpbrk(text, ".eEn") == NULL ? json_integer(strtoll(text, NULL, 10))
                                         : json_real(strtod(text, NULL));
}

json_t *report_json_row(const struct report *report, size_t row)
{
    json_t *object = json_object();

    for (size_t column = 0; column < report->columns; column++) {
        json_object_set_new(object, report->names[column],
                            json_of_cell(report_text(report, row, column), report->types[column]));
    }
    return object;
}

json_t *report_json(const struct report *report)
{
    json_t *array = json_array();

    for (size_t row = 0; row < report_rows(report); row++) {
        json_array_append_new(array, report_json_row(report, row));
    }
    return array;
}

void report_print_json(json_t *json)
{
    /* on a terminal in ASCII, as some control characters are no JSON escapes but characters */
    json_dumpf(json, stdout,
               JSON_REAL_PRECISION(15) | (isatty(STDOUT_FILENO) == 1 ? JSON_ENSURE_ASCII : 0));
    putchar('\n');
    json_decref(json);
}
