/* ilp.h: records as lines of QuestDB's ingestion protocol (ILP), and the columns that they need.
 *
 *     trades,exchange=okx,symbol=BTC/USDT producer_id=7i,seq=1i,trade_id="9" 1764374400000000
 *
 * A table has the name that it has in PostgreSQL. Texts with few different values are SYMBOLs,
 * others VARCHARs; a flag is a SYMBOL of true and false, as a BOOLEAN of QuestDB cannot be null;
 * JSON is a VARCHAR; times have microseconds.
 *
 * A decimal goes into a column DECIMAL(76, 38), exactly: in binary if it has at most 18 digits,
 * which costs the server less, else as digits with a `d`. One with more digits before or behind the
 * point leaves its column empty and goes into `extra` as text, under its name with "exact_" before
 * it. Where the server has no decimals, the column is a DOUBLE, and NAME_text beside it has the
 * digits. */
#ifndef BLOTTER_DRAINER_MIRROR_ILP_H
#define BLOTTER_DRAINER_MIRROR_ILP_H

#include <stdbool.h>

#include "drainer/copy.h"
#include "schema/record.h"

enum { ILP_DECIMAL_PLACES = 38 }; /* before the point, and behind it */

/* The form in which the server's tables take decimals. */
struct ilp_form {
    bool as_double[RECORD_KINDS][RECORD_FIELDS_MAX]; /* the column is a DOUBLE */
};

/* Writes a record's line. */
void ilp_put_record(const void *ilp_form, struct copy_buffer *, const struct record *);

/* Writes `name=value` with its comma, for lines of other tables: a symbol, a text, an integer. */
void ilp_put_symbol(struct copy_buffer *, const char *name, const void *bytes, size_t length);
void ilp_put_text(struct copy_buffer *, const char *name, const void *bytes, size_t length);
void ilp_put_integer(struct copy_buffer *, const char *name, int64_t value);

/* Returns the type of a field's column: "SYMBOL", "VARCHAR", "LONG" ... */
const char *ilp_column_type(enum record_kind, unsigned index, bool as_double);

/* Appends the columns of a kind's table but the timestamp, for CREATE TABLE: "seq" LONG, ... */
void ilp_put_columns(struct copy_buffer *, enum record_kind, bool as_double);

#endif
