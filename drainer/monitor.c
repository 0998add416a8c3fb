/* monitor.c: see monitor.h. */
#include "drainer/monitor.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/http_server.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/metrics_text.h"
#include "drainer/postgres/booker.h"
#include "drainer/postgres/lease.h"
#include "drainer/postgres/loader.h"
#include "drainer/postgres/pg_link.h"
#include "drainer/process_metrics.h"
#include "drainer/producer_counters.h"
#include "drainer/redis/intake.h"
#include "drainer/redis/streams.h"
#include "producer/blotter.h"
#include "producer/timer.h"
#include "schema/clock.h"
#include "schema/iso_time.h"
#include "schema/record.h"

enum {
    FASTEST_US = 127,
    STANDING_MS = 3000,       /* an entry that is the oldest for this long is stuck */
    LOOK_MS = 2000,           /* between two looks at a stream's gauge */
    STANDING_NAMED = 5,       /* in a line of the log, of those that stand still */
    STANDING_PAUSE_MS = 1000, /* from such a line to the next, then twice as long ... */
    STANDING_PAUSE_MAX_MS = 60000,
};

struct monitor {
    struct monitor_options options;
    struct monitor_sink sink;
    struct http_server *server;
    struct event *timer;
    uint64_t standing; /* a number made of the streams that stood still when it was logged last */
    int64_t log_standing_at_ms, standing_pause_ms; /* when it is logged again if they still do */
};

static bool postgres_up(const struct monitor *monitor)
{
    enum pg_link_state state = pg_link_state(monitor->options.link);

    return state == PG_LINK_READY || state == PG_LINK_RUNNING || state == PG_LINK_ROLLING_BACK;
}

/* Returns the age of the oldest entry that is not committed. */
static double oldest_seconds(const struct stream_gauge *gauge)
{
    int64_t age_ms = clock_wall_ms() - gauge->oldest_ms;

    return gauge->oldest_ms != 0 && age_ms > 0 ? (double)age_ms / 1000 : 0;
}

/* --- standing still --- */

/* Returns how long an entry that was not there at the look before has waited: since it was added,
 * as far as the clock of Redis can be believed. */
static int64_t waited_before_seen(const struct stream_standing *standing, int64_t oldest_ms)
{
    int64_t age_ms = clock_wall_ms() - oldest_ms;

    if (standing->oldest_ms != 0 || age_ms < 0) {
        return 0;
    }
    return age_ms < LOOK_MS ? age_ms : LOOK_MS;
}

static void look_at_standing(const struct monitor *monitor)
{
    const struct streams *streams = monitor->options.streams;
    int64_t now = clock_monotonic_ms();

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];
        struct stream_standing *standing = &stream->standing;
        int64_t oldest = stream->present && stream->gauge.known ? stream->gauge.oldest_ms : 0;

        if (oldest != standing->oldest_ms) {
            *standing =
                (struct stream_standing){oldest, now - waited_before_seen(standing, oldest)};
        }
    }
}

/* Returns for how long a stream's oldest entry has not moved; 0: it moves, or nothing waits. */
static int64_t standing_ms(const struct stream *stream)
{
    if (stream->standing.oldest_ms == 0) {
        return 0;
    }
    int64_t ms = clock_monotonic_ms() - stream->standing.since_ms;
    return ms >= STANDING_MS ? ms : 0;
}

/* The streams that stand still. */
struct still {
    const struct stream *first;
    size_t count;
    uint64_t number;                                       /* made of them; 0: none */
    char others[STANDING_NAMED * (STREAM_NAME_BYTES + 2)]; /* the next few */
};

static void still_add(struct still *still, const struct stream *stream)
{
    size_t length = strlen(still->others);

    if (still->count == 0) {
        still->first = stream;
    } else if (still->count < STANDING_NAMED) {
        snprintf(still->others + length, sizeof still->others - length, "%s%s",
                 length == 0 ? "" : ", ", stream->name);
    }
    still->count++;
    still->number = (still->number ^ (uintptr_t)stream) * UINT64_C(1099511628211);
}

/* Logs one line for all of them, less and less often while they are the same: /readyz and /metrics
 * name each. */
static void log_standing(struct monitor *monitor, const struct still *still)
{
    int64_t now = clock_monotonic_ms();
    char more[48] = "";

    if (still->number != monitor->standing) {
        monitor->standing = still->number;
        monitor->standing_pause_ms = STANDING_PAUSE_MS;
    } else if (still->count == 0 || now < monitor->log_standing_at_ms) {
        return;
    } else {
        monitor->standing_pause_ms = monitor->standing_pause_ms * 2 > STANDING_PAUSE_MAX_MS
                                         ? STANDING_PAUSE_MAX_MS
                                         : monitor->standing_pause_ms * 2;
    }
    monitor->log_standing_at_ms = now + monitor->standing_pause_ms;
    if (still->count == 0) {
        log_info("drain", "none of its streams stands still any more");
    } else if (still->count == 2) {
        snprintf(more, sizeof more, ", nor has ");
    } else if (still->count > 2) {
        snprintf(more, sizeof more, ", nor have %zu others: ", still->count - 1);
    }
    if (still->count > 0) {
        log_warn(still->first->name, "its oldest record has not moved for %" PRId64 " s%s%s%s",
                 standing_ms(still->first) / 1000, more, still->others,
                 still->count > STANDING_NAMED ? " ..." : "");
    }
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct monitor *monitor = arg;
    const struct streams *streams = monitor->options.streams;
    struct still still = {.count = 0};

    (void)fd;
    (void)what;
    look_at_standing(monitor);
    for (size_t i = 0; i < streams->count; i++) {
        if (standing_ms(streams->all[i]) > 0) {
            still_add(&still, streams->all[i]);
        }
    }
    log_standing(monitor, &still);
}

/* --- /metrics --- */

static void put_failures(struct evbuffer *out, const struct load_stats *stats)
{
    metrics_put_head(out, "drain_failures_total", "counter",
                     "transactions that failed, by what was done about it");
    static const char *const names[] = {
#define X(name, text) #name,
        PG_ACTIONS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        evbuffer_add_printf(out, "blotter_drain_failures_total{action=\"");
        for (const char *at = names[i]; *at != '\0'; at++) {
            evbuffer_add_printf(out, "%c", tolower((unsigned char)*at));
        }
        evbuffer_add_printf(out, "\"} %" PRIu64 "\n", stats->failures[i]);
    }
}

/* Writes a bucket for each power of two; those of the histogram that lie between are summed up. Of
 * seconds the first is an eighth of a millisecond: nothing here is faster. */
static void put_histogram(struct evbuffer *out, const char *name, const char *meaning,
                          const struct histogram *histogram, double unit)
{
    struct blotter_histogram copy;
    uint64_t count = 0;

    histogram_copy(histogram, &copy);
    metrics_put_head(out, name, "histogram", meaning);
    for (unsigned i = 0; i < BLOTTER_BUCKETS; i++) {
        uint64_t last = (uint64_t)histogram_last_value(i);

        count += copy.count[i];
        if ((last & (last + 1)) == 0 && last >= (unit < 1 ? FASTEST_US : 1) &&
            i + 1 < BLOTTER_BUCKETS) {
            evbuffer_add_printf(out, "blotter_%s_bucket{le=\"%.10g\"} %" PRIu64 "\n", name,
                                (double)last * unit, count);
        }
    }
    evbuffer_add_printf(out,
                        "blotter_%s_bucket{le=\"+Inf\"} %" PRIu64
                        "\nblotter_%s_sum %.10g\nblotter_%s_count %" PRIu64 "\n",
                        name, count, name, (double)copy.sum * unit, name, count);
}

static void put_loader(struct evbuffer *out, const struct load_stats *stats)
{
#define X(name, meaning) \
    metrics_put_total(out, "drain_" #name "_total", meaning, stats->counters.name);
    LOADER_COUNTERS(X)
#undef X
    put_failures(out, stats);
#define X(name, unit, meaning) put_histogram(out, "drain_" #name, meaning, &stats->name, unit);
    LOADER_HISTOGRAMS(X)
#undef X
}

static void put_books(struct evbuffer *out, const struct booker *booker)
{
    const struct booker_counters *counters = booker_counters(booker);

#define X(name, meaning) metrics_put_total(out, "books_" #name "_total", meaning, counters->name);
    BOOKER_COUNTERS(X)
#undef X
    metrics_put_head(out, "books_lag_seconds", "gauge",
                     "age of the oldest record not yet booked, at most");
    evbuffer_add_printf(out, "blotter_books_lag_seconds %.10g\n",
                        (double)booker_lag_ms(booker) / 1000);
}

static void put_intake(struct evbuffer *out, const struct intake_counters *counters)
{
#define X(name, meaning) metrics_put_total(out, "intake_" #name "_total", meaning, counters->name);
    INTAKE_COUNTERS(X)
#undef X
}

typedef bool stream_value(const struct stream *, double *);

static bool stream_lag(const struct stream *stream, double *value)
{
    *value = (double)stream->gauge.lag;
    return stream->gauge.known && stream->gauge.lag >= 0;
}

static bool stream_pending(const struct stream *stream, double *value)
{
    *value = (double)stream->gauge.pending;
    return stream->gauge.known;
}

static bool stream_oldest(const struct stream *stream, double *value)
{
    *value = oldest_seconds(&stream->gauge);
    return stream->gauge.known;
}

static bool stream_held(const struct stream *stream, double *value)
{
    *value = stream_is_held(stream);
    return true;
}

/* Writes a gauge with a line for each stream. Their names need no quoting (schema/stream.h). */
static void put_streams(struct evbuffer *out, const struct streams *streams, const char *name,
                        const char *meaning, stream_value *value_of)
{
    double value;

    metrics_put_head(out, name, "gauge", meaning);
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->present && value_of(streams->all[i], &value)) {
            evbuffer_add_printf(out, "blotter_%s{stream=\"%s\"} %.10g\n", name,
                                streams->all[i]->name, value);
        }
    }
}

static void put_rows(struct evbuffer *out, const struct streams *streams)
{
    metrics_put_head(out, "stream_rows_total", "counter", "rows committed, duplicates among them");
    for (size_t i = 0; i < streams->count; i++) {
        for (int kind = 0; kind < RECORD_KINDS; kind++) {
            if (streams->all[i]->rows[kind] > 0) {
                evbuffer_add_printf(
                    out,
                    "blotter_stream_rows_total{stream=\"%s\",exchange=\"%s\",kind=\"%s\"} %" PRIu64
                    "\n",
                    streams->all[i]->name, streams->all[i]->exchange, record_schemas[kind].name,
                    streams->all[i]->rows[kind]);
            }
        }
    }
    metrics_put_head(out, "stream_rejected_total", "counter", "records stored in blotter.rejects");
    for (size_t i = 0; i < streams->count; i++) {
        evbuffer_add_printf(
            out, "blotter_stream_rejected_total{stream=\"%s\",exchange=\"%s\"} %" PRIu64 "\n",
            streams->all[i]->name, streams->all[i]->exchange, streams->all[i]->rejected);
    }
}

static void put_stuck_trouble(void *out, const char *object, int64_t since_ms, const char *why)
{
    (void)why; /* it is in the log and in /readyz: a label would grow without bound */
    evbuffer_add_printf(out, "blotter_stuck_seconds{object=\"%s\",cause=\"trouble\"} %.3f\n",
                        object, (double)(clock_wall_ms() - since_ms) / 1000);
}

static void put_stuck(struct evbuffer *out, const struct monitor *monitor)
{
    const struct streams *streams = monitor->options.streams;

    metrics_put_head(out, "stuck_seconds", "gauge", "since when records wait and do not move");
    streams_each_trouble(streams, put_stuck_trouble, out);
    for (size_t i = 0; i < streams->count; i++) {
        if (standing_ms(streams->all[i]) > 0) {
            evbuffer_add_printf(out,
                                "blotter_stuck_seconds{object=\"%s\",cause=\"standing\"} %.3f\n",
                                streams->all[i]->name, (double)standing_ms(streams->all[i]) / 1000);
        }
    }
}

static void put_sink(struct evbuffer *out, const struct monitor_sink *sink)
{
    char name[64], meaning[96];

    snprintf(name, sizeof name, "%s_up", sink->server);
    snprintf(meaning, sizeof meaning, "1 while %s takes records", sink->server);
    metrics_put_gauge(out, name, meaning, sink->up(sink->owner));
    snprintf(meaning, sizeof meaning, "%s that share the streams, this one included",
             sink->members);
    metrics_put_gauge(out, sink->members, meaning, sink->count_members(sink->owner));
    sink->put_counters(sink->owner, out);
}

static void put_all(struct evbuffer *out, const struct monitor *monitor)
{
    const struct monitor_options *from = &monitor->options;

    metrics_put_head(out, "build_info", "gauge", "this program's version");
    evbuffer_add_printf(out, "blotter_build_info{version=\"" BLOTTER_VERSION "\"} 1\n");
    metrics_put_gauge(out, "redis_up", "1 while Redis is connected", intake_up(from->intake));
    put_intake(out, intake_counters(from->intake));
    if (from->sink != NULL) {
        put_sink(out, from->sink);
    } else {
        metrics_put_gauge(out, "postgres_up", "1 while PostgreSQL is connected",
                          postgres_up(monitor));
        metrics_put_gauge(out, "drainers", "drainers that share the streams, this one included",
                          lease_members(from->lease));
        put_loader(out, loader_stats(from->loader));
        put_books(out, from->booker);
    }
    put_streams(out, from->streams, "stream_held", "1: this drainer loads the stream", stream_held);
    put_streams(out, from->streams, "stream_lag",
                "entries not yet read; missing while Redis does not know", stream_lag);
    put_streams(out, from->streams, "stream_pending", "entries read and not yet committed",
                stream_pending);
    put_streams(out, from->streams, "stream_oldest_seconds",
                "age of the oldest entry not yet committed", stream_oldest);
    put_rows(out, from->streams);
    put_stuck(out, monitor);
    if (from->producers != NULL) {
        producer_counters_put(from->producers, out);
    }
    process_metrics_put(out);
}

/* --- pages --- */

static int fill_metrics(struct evbuffer *body, const struct monitor *monitor)
{
    put_all(body, monitor);
    return 200;
}

static int fill_healthz(struct evbuffer *body, const struct monitor *monitor)
{
    (void)monitor;
    evbuffer_add_printf(body, "ok\n");
    return 200;
}

/* Says that a command takes long. It mostly waits for a lock; who holds it is known once it gives
 * up. */
static void put_awaited_answer(struct evbuffer *out, const struct monitor *monitor)
{
    struct pg_link_times times = pg_link_times(monitor->options.link);
    double waited = (double)(clock_monotonic_ns() / 1000 - times.began_us) / 1e6;

    if (pg_link_state(monitor->options.link) == PG_LINK_RUNNING && waited >= 1) {
        evbuffer_add_printf(out,
                            ": PostgreSQL has been working on the loading transaction for %.1f s, "
                            "or it waits for a lock",
                            waited);
    }
    evbuffer_add_printf(out, "\n");
}

static void put_behind(struct evbuffer *out, const struct monitor *monitor)
{
    const struct streams *streams = monitor->options.streams;
    double limit = (double)monitor->options.max_behind_ms / 1000;

    for (size_t i = 0; i < streams->count; i++) {
        double oldest = oldest_seconds(&streams->all[i]->gauge);

        if (standing_ms(streams->all[i]) > 0) {
            evbuffer_add_printf(out, "%s: its oldest record has not moved for %.1f s",
                                streams->all[i]->name, (double)standing_ms(streams->all[i]) / 1000);
            if (monitor->options.sink == NULL) {
                put_awaited_answer(out, monitor);
            } else {
                evbuffer_add_printf(out, "\n");
            }
        } else if (limit > 0 && streams->all[i]->present && oldest > limit) {
            evbuffer_add_printf(out, "%s: %.1f s behind, more than max_behind, %.1f s\n",
                                streams->all[i]->name, oldest, limit);
        }
    }
}

static void put_trouble(void *out, const char *object, int64_t since_ms, const char *why)
{
    char text[ISO_TIME_BYTES];

    iso_time_write(since_ms / 1000, text);
    evbuffer_add_printf(out, "%s: since %s: %s\n", object, text, why);
}

/* Says that the books wait: nobody would notice, as loading goes on. */
static void put_books_behind(struct evbuffer *out, const struct monitor *monitor)
{
    const struct booker *booker = monitor->options.booker;
    int64_t limit_ms = monitor->options.max_behind_ms, lag_ms = booker_lag_ms(booker);

    if (booker_trouble(booker) != NULL) {
        evbuffer_add_printf(out, "books: not booked for %.1f s: %s\n", (double)lag_ms / 1000,
                            booker_trouble(booker));
    } else if (limit_ms > 0 && lag_ms > limit_ms) {
        evbuffer_add_printf(out, "books: %.1f s behind, more than max_behind, %.1f s\n",
                            (double)lag_ms / 1000, (double)limit_ms / 1000);
    }
}

static int fill_readyz(struct evbuffer *body, const struct monitor *monitor)
{
    const struct monitor_sink *sink = monitor->options.sink;

    if (!intake_up(monitor->options.intake)) {
        evbuffer_add_printf(body, "redis: not connected\n");
    }
    if (sink != NULL && !sink->up(sink->owner)) {
        evbuffer_add_printf(body, "%s: takes no records\n", sink->server);
    } else if (sink == NULL && !postgres_up(monitor)) {
        evbuffer_add_printf(body, "postgres: not connected\n");
    }
    put_behind(body, monitor);
    if (sink == NULL) {
        put_books_behind(body, monitor);
    }
    streams_each_trouble(monitor->options.streams, put_trouble, body);
    if (evbuffer_get_length(body) > 0) {
        return 503;
    }
    evbuffer_add_printf(body, "ready\n");
    return 200;
}

/* --- the interface --- */

static const struct {
    const char *path, *type;
    int (*fill)(struct evbuffer *body, const struct monitor *); /* returns the code */
} pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", fill_metrics},
    {"/healthz", "text/plain", fill_healthz},
    {"/readyz", "text/plain", fill_readyz},
};

static void on_request(struct http_request *request, void *arg)
{
    struct evbuffer *body = memory_or_abort(evbuffer_new());
    const char *type = "text/plain";
    int code = 404;

    look_at_standing(arg);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(http_request_path(request), pages[i].path) == 0) {
            type = pages[i].type;
            code = pages[i].fill(body, arg);
        }
    }
    http_request_reply(request, code, type, NULL, evbuffer_pullup(body, -1),
                       evbuffer_get_length(body));
    evbuffer_free(body);
}

struct monitor *monitor_create(const struct monitor_options *options, char *error,
                               size_t error_size)
{
    struct monitor *monitor = memory_or_abort(calloc(1, sizeof *monitor));

    monitor->options = *options;
    if (options->sink != NULL) {
        monitor->sink = *options->sink;
        monitor->options.sink = &monitor->sink;
    }
    monitor->server =
        http_server_open(options->base,
                         &(struct http_server_options){
                             .where = options->address, .handler = on_request, .arg = monitor},
                         error, error_size);
    if (monitor->server == NULL) {
        monitor_destroy(monitor);
        return NULL;
    }
    monitor->timer = event_new(options->base, -1, EV_PERSIST, on_second, monitor);
    timer_start(monitor->timer, 1000);
    log_info("monitor", "listening on %s: /metrics /healthz /readyz", options->address);
    return monitor;
}

void monitor_destroy(struct monitor *monitor)
{
    if (monitor != NULL) {
        if (monitor->timer != NULL) {
            event_free(monitor->timer);
        }
        http_server_close(monitor->server);
        free(monitor);
    }
}
