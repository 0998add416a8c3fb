/* monitor.h: what monitoring asks a drainer by HTTP, in its own event loop (setting metrics).
 *
 *     /metrics   all numbers, in Prometheus' text format
 *     /healthz   200: the process runs and answers
 *     /readyz    200: both servers are connected, every stream moves, and none is further behind
 *                than max_behind; else 503, a line for each reason
 *
 * There is no authentication and nothing secret in it; keep it on a loopback address, or behind
 * something. One thread. */
#ifndef BLOTTER_DRAINER_MONITOR_H
#define BLOTTER_DRAINER_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;
struct event_base;
struct intake;
struct lease;
struct loader;
struct pg_link;
struct booker;
struct producer_counters;
struct streams;
struct monitor;

/* Takes records in the place of PostgreSQL. */
struct monitor_sink {
    const char *server;  /* "questdb": names it in /readyz, and the gauge questdb_up */
    const char *members; /* "mirrors": names the gauge of how many share the streams */
    bool (*up)(void *owner);
    unsigned (*count_members)(void *owner);
    void (*put_counters)(void *owner, struct evbuffer *); /* by metrics_put_total */
    void *owner;
};

struct monitor_options { /* all borrowed */
    struct event_base *base;
    const char *address; /* "HOST:PORT", "[::1]:PORT", or "PORT" on 127.0.0.1 */
    const struct streams *streams;
    const struct intake *intake;
    const struct monitor_sink *sink; /* NULL: PostgreSQL, by the next four */
    const struct lease *lease;
    const struct loader *loader;
    const struct pg_link *link;
    const struct booker *booker;
    struct producer_counters *producers; /* NULL: none */
    int64_t max_behind_ms;               /* 0: however far behind, it is ready */
};

/* Listens. NULL, with a text in error: the address is wrong, or cannot be listened on. */
struct monitor *monitor_create(const struct monitor_options *, char *error, size_t error_size);
void monitor_destroy(struct monitor *); /* takes NULL */

#endif
