/* json_line.h: one line of JSON as a record: {"kind": "trade", "symbol": "BTC/USDT",
 * "price": 1.10, …}.
 *
 * Keys are the field names of schema/fields.h, or ccxt's (schema/ccxt_names.h), and "kind" (order
 * if absent) and "exchange" (must be the one expected). A field is absent where its value is null,
 * [] or {}, or "" unless it is a text under our own name. A decimal is a number or a string, and
 * keeps its digits as they are written: it is never made a double. A time is an integer: of
 * nanoseconds under our names, of milliseconds under ccxt's, also as text or with a fraction. Any
 * other key goes into extra as written, without the exchange's own messages (info) within it; so
 * does a value that its field cannot take. The trades in an order of ccxt's are left to the caller:
 * see nested_trades.h. */
#ifndef BLOTTER_DRAINER_COMMANDS_JSON_LINE_H
#define BLOTTER_DRAINER_COMMANDS_JSON_LINE_H

#include <stddef.h>

#include "schema/json_read.h"
#include "schema/record.h"

enum { JSON_LINE_PROBLEM_BYTES = 256 };

/* All zero to begin with; release it at the end. */
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
    struct json_slice trades; /* in the line: the array of an order's trades; length 0: none */
    unsigned misplaced;       /* values that went into extra, as their field could not take them */
    char
        problem[JSON_LINE_PROBLEM_BYTES]; /* "price: required and missing"; of a line that was read:
                                             what is wrong with the first misplaced value, or "" */
    /* internal */
    char *memory;
    size_t capacity, used;
};

/* Reads a line without its newline; the record's strings are valid until the next. Returns 0; or -1
 * with the problem, which names the field where there is one. */
int json_line_parse(struct json_line *, const char *exchange, const char *text, size_t length);
void json_line_release(struct json_line *);

/* The top-level key of what is at an offset of a text, which need not be whole or well-formed; ""
 * if there is none. */
void json_line_key_at(const char *text, size_t length, size_t offset, char out[64]);

#endif
