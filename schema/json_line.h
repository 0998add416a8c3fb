/* json_line.h: one object of JSON as a record: {"kind": "trade", "symbol": "BTC/USDT",
 * "price": 1.10, …}.
 *
 * Keys are the field names of schema/fields.h, or ccxt's (schema/ccxt_names.h), and "kind" (order
 * if absent) and "exchange" (must be the one expected). A value that is null, "", [], {} or the
 * time 0 is absent. A decimal is a number or a string, and keeps its digits as they are written: it
 * is never made a double. A time is an integer: of nanoseconds under our names, of milliseconds
 * under ccxt's, also as text or with a fraction. Any other key goes into extra, without nulls and
 * without the exchange's own messages (info); so does a value that its field cannot take. A line
 * that has our names where ccxt has others keeps "" as text, and nulls in extra. An object may be
 * several records: see json_lines.h. */
#ifndef BLOTTER_SCHEMA_JSON_LINE_H
#define BLOTTER_SCHEMA_JSON_LINE_H

#include <stddef.h>

#include "schema/json_read.h"
#include "schema/record.h"

enum { JSON_LINE_PROBLEM_BYTES = 256, JSON_LINE_KEY_BYTES = 64 };

/* The source of objects: what is known beside what they say themselves. */
struct json_source {
    const char *exchange;
    const char *account; /* what the strategy calls it, or NULL */
    int kind;            /* enum record_kind; -1: the object says */
    int precision_mode;  /* ccxt's, of markets; 0: the object says */
    int64_t snapshot;  /* when it was taken, for balances and positions of ccxt's; 0: nobody says */
    bool keep_info;    /* in extra */
    bool has_symbol;   /* what names none is given one later */
    bool has_currency; /* the same of a balance without a currency */
    bool lenient;      /* what is required may be missing */
    bool recognised;   /* the kind is right: do not look */
};

struct json_line {
    enum record_kind kind; /* one that has a table, and is no session */
    union {
        struct blotter_order order;
        struct blotter_trade trade;
        struct blotter_cash cash;
        struct blotter_balance balance;
        struct blotter_position position;
        struct blotter_instrument instrument;
    };
    struct json_slice trades; /* in the text: the array of an order's trades; length 0: none */
    bool nested;              /* it is one of these */
    unsigned misplaced;       /* values that went into extra, as their field could not take them */
    char
        problem[JSON_LINE_PROBLEM_BYTES]; /* "price: required and missing"; of a line that was read:
                                             what is wrong with the first misplaced value, or "" */
    /* internal */
    char *memory;
    size_t capacity;
};

/* Memory for what is made of a line on the way; all zero to begin with. */
struct json_workspace {
    char *memory;
    size_t capacity;
};

/* Checks the text of an object, without its newline, and finds its kind; json_line_take reads it.
 * Both return 0; or -1 with the problem, which names the field where there is one. The record's
 * strings are valid until the line is opened again. */
int json_line_open(struct json_line *, struct json_workspace *, const struct json_source *,
                   const char *text, size_t length);
int json_line_take(struct json_line *, struct json_workspace *, const struct json_source *,
                   const char *text, size_t length);
void json_line_release(struct json_line *);

/* Finds the top-level key of what is at an offset of a text, which need not be whole or
 * well-formed; "" if there is none. */
void json_line_key_at(const char *text, size_t length, size_t offset,
                      char out[JSON_LINE_KEY_BYTES]);

/* Copies a key, up to its closing quote, for a message: whole characters that can be printed. */
void json_line_show_key(const char *at, const char *end, char out[JSON_LINE_KEY_BYTES]);

#endif
