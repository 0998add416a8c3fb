/* web_pool.h: a few read-only sessions of PostgreSQL that answer the page's queries, one query each
 * at a time. One thread; never blocks the loop, but once for a moment where it meets a pooler.
 *
 * Queries wait in a bounded queue; each is ended by statement_timeout. A session that is lost is
 * made again for the next query. Where that fails, attempts have growing pauses, up to two seconds,
 * and queries between two of them fail at once. */
#ifndef BLOTTER_DRAINER_WEB_WEB_POOL_H
#define BLOTTER_DRAINER_WEB_WEB_POOL_H

#include <event2/event.h>
#include <stddef.h>

enum web_answer {
    WEB_ANSWER_OK,
    WEB_ANSWER_AWAY,    /* PostgreSQL is away: the text says why */
    WEB_ANSWER_TIMEOUT, /* the query took longer than statement_timeout */
    WEB_ANSWER_FAILED,  /* the server refused the query: the text says why */
};

/* `text` is the answer's one value, or the reason; it lives as long as the call. */
typedef void web_pool_done(void *arg, enum web_answer, const char *text, size_t length);

struct settings;
struct web_pool;
struct web_query;

struct web_pool *web_pool_create(struct event_base *, const struct settings *, int timeout_ms);
void web_pool_destroy(struct web_pool *);

/* Returns what the program has to end with: the pool ends the loop where a pooler gives each
 * transaction another session. EXIT_CODE_DONE: it did not. */
int web_pool_exit_code(const struct web_pool *);

/* Runs one statement with text parameters, all copied; `done`, if any, is called once, later. NULL:
 * the queue is full, and `done` is not called. */
struct web_query *web_pool_ask(struct web_pool *, const char *sql, int parameters,
                               const char *const *values, web_pool_done *, void *arg);

/* Forgets a query whose `done` was not called yet. The statement may still run to its end. */
void web_pool_cancel(struct web_query *);

/* Returns why PostgreSQL is away; "": it is there, or was not asked yet. */
const char *web_pool_trouble(const struct web_pool *);

#endif
