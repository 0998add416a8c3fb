/* api.h: the JSON API of `blotter web` in one table: a path, its parameters and its meaning. The
 * function blotter_internal.web_NAME answers it (schema/sql/code/web_answers.sql);
 * page/openapi.json describes the answers, and a test compares both with this table. */
#ifndef BLOTTER_DRAINER_WEB_API_H
#define BLOTTER_DRAINER_WEB_API_H

#include <stddef.h>

enum { API_PARAMETERS_MAX = 8, API_VALUE_BYTES = 256 };

/* X(name, parameters, meaning): GET /api/name; parameters are separated by blanks, and are the
 * function's, as text; one that is not given is null. */
/* clang-format off */
#define API_QUERIES(X) \
    X(overview, "", \
      "the first screen's figures: open orders, PnL of today, each strategy, audit, rejects") \
    X(curve, "", \
      "the PnL of the UTC day minute by minute: the desk, and the strategies that moved most") \
    X(pipeline, "", \
      "streams, producers, drainers, and how long the newest records took to their row") \
    X(orders, "exchange account strategy symbol text state limit sort", \
      "orders; state: open (default), ended, all; text: in an id; sort: oldest") \
    X(order, "exchange account order symbol", \
      "one order: its latest state, its newest 1,000 events and fills") \
    X(fills, "exchange account strategy symbol before limit", \
      "own executions, the latest first") \
    X(positions, "exchange account strategy symbol limit", \
      "positions with mark price and unrealised PnL") \
    X(pnl, "from to by", \
      "realised, unrealised, fees, funding and net; by: strategy, symbol, account, hour, day") \
    X(equity, "from to", "the sum of net PnL by hour, by strategy") \
    X(symbols, "", "the symbols that have trades or fills, for the candles") \
    X(candles, "exchange symbol interval from to", \
      "candles of recorded trades, with the own fills") \
    X(latency, "hours", "venue to strategy and strategy to row, by exchange and hour") \
    X(rejects, "limit", "records that could not be stored, the latest first") \
    X(reject, "id", "one reject with its bytes") \
    X(reconciliation, "", \
      "positions, balances, fills and open orders as the venues say, beside what is recorded") \
    X(audit, "", "each producer: complete, open, or missing, by the counters of the drainers")
/* clang-format on */

struct api_query {
    const char *name;
    const char *parameters;
};

/* A file of the page, as it was embedded. */
struct page_file {
    const char *path; /* "/page.js" */
    const char *type; /* of its content */
    const unsigned char *bytes;
    size_t length;
};
extern struct page_file page_files[]; /* constant once main has begun */
extern const size_t page_file_count;

#endif
