/* report.h: rows of named columns, printed as a table for people or as JSON for programs. */
#ifndef BLOTTER_DRAINER_COMMANDS_REPORT_H
#define BLOTTER_DRAINER_COMMANDS_REPORT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_t;

/* The type of a column: its alignment, and what its cells are in JSON. The text of a NUMBER is a
 * JSON number; of a BOOL, t or f. An ID is a number of more than 53 bits, so it is a string in
 * JSON: JavaScript and jq would round it. */
enum report_type { REPORT_TEXT, REPORT_NUMBER, REPORT_BOOL, REPORT_ID };

struct report;

struct report *report_create(void);
void report_destroy(struct report *); /* takes NULL */

/* Adds a column; all come before the first cell. Names are borrowed. */
void report_column(struct report *, const char *name, enum report_type);

/* Adds the next cell, from left to right; NULL: unknown. The text is copied. */
void report_cell(struct report *, const char *text);
void report_number(struct report *, int64_t);
void report_seconds(struct report *, int64_t ms); /* to the millisecond; negative: unknown */

size_t report_rows(const struct report *);
const char *report_text(const struct report *, size_t row, size_t column); /* NULL: unknown */

/* Copies the columns and rows of a result. A column producer_id is an ID. */
struct report *report_of_result(const PGresult *);

void report_print(const struct report *);
struct json_t *report_json(const struct report *); /* an array of objects; the caller's */
struct json_t *report_json_row(const struct report *, size_t row);

/* Prints and releases it, with a newline. */
void report_print_json(struct json_t *);

#endif
