/* monitor.c: see monitor.h. */
#include "drainer/monitor.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/postgres/lease.h"
#include "drainer/postgres/loader.h"
#include "drainer/postgres/pg_link.h"
#include "drainer/redis/intake.h"
#include "drainer/redis/streams.h"
#include "producer/blotter.h"

enum {
    TIMEOUT_S = 5,
    HEADERS_BYTES = 8192,
    BODY_BYTES = 1024,
    HOST_BYTES = 128,
};

struct monitor {
    struct monitor_options options;
    struct evhttp *http;
};

static bool postgres_up(const struct monitor *monitor)
{
    enum pg_link_state state = pg_link_state(monitor->options.link);

    return state == PG_LINK_READY || state == PG_LINK_RUNNING || state == PG_LINK_ROLLING_BACK;
}

/* The age of the oldest entry that is not committed. */
static double oldest_seconds(const struct stream_gauge *gauge)
{
    struct timespec now;
    int64_t age_ms;

    if (gauge->oldest_ms == 0) {
        return 0;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    age_ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000 - gauge->oldest_ms;
    return age_ms > 0 ? (double)age_ms / 1000 : 0;
}

/* --- /metrics
 * ------------------------------------------------------------------------------------------------------------
 */

static void put_head(struct evbuffer *out, const char *name, const char *type, const char *meaning)
{
    evbuffer_add_printf(out, "# HELP blotter_%s %s\n# TYPE blotter_%s %s\n", name, meaning, name,
                        type);
}

static void put_counter(struct evbuffer *out, const char *name, const char *meaning, uint64_t value)
{
    put_head(out, name, "counter", meaning);
    evbuffer_add_printf(out, "blotter_%s %" PRIu64 "\n", name, value);
}

static void put_gauge(struct evbuffer *out, const char *name, const char *meaning, uint64_t value)
{
    put_head(out, name, "gauge", meaning);
    evbuffer_add_printf(out, "blotter_%s %" PRIu64 "\n", name, value);
}

static void put_failures(struct evbuffer *out, const struct load_stats *stats)
{
    put_head(out, "drain_failures_total", "counter",
             "transactions that failed, by what was done about it");
#define X(name, text)                                                                            \
    evbuffer_add_printf(out, "blotter_drain_failures_total{action=\"" #name "\"} %" PRIu64 "\n", \
                        stats->failures[PG_ACTION_##name]);
    PG_ACTIONS(X)
#undef X
}

/* A bucket for each power of two; those of the histogram that lie between are summed up. */
static void put_histogram(struct evbuffer *out, const char *name, const char *meaning,
                          const struct histogram *histogram, double unit)
{
    struct blotter_histogram copy;
    uint64_t count = 0;

    histogram_copy(histogram, &copy);
    put_head(out, name, "histogram", meaning);
    for (unsigned i = 0; i < BLOTTER_BUCKETS; i++) {
        uint64_t last = (uint64_t)histogram_last_value(i);

        count += copy.count[i];
        if ((last & (last + 1)) == 0 && last > 0 && i + 1 < BLOTTER_BUCKETS) {
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
#define X(name, meaning) put_counter(out, "drain_" #name "_total", meaning, stats->counters.name);
    LOADER_COUNTERS(X)
#undef X
    put_failures(out, stats);
#define X(name, unit, meaning) put_histogram(out, "drain_" #name, meaning, &stats->name, unit);
    LOADER_HISTOGRAMS(X)
#undef X
}

static void put_intake(struct evbuffer *out, const struct intake_counters *counters)
{
#define X(name, meaning) put_counter(out, "intake_" #name "_total", meaning, counters->name);
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

/* Names of streams are of characters that need no quoting (schema/stream.h). */
static void put_streams(struct evbuffer *out, const struct streams *streams, const char *name,
                        const char *meaning, stream_value *value_of)
{
    double value;

    put_head(out, name, "gauge", meaning);
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->present && value_of(streams->all[i], &value)) {
            evbuffer_add_printf(out, "blotter_%s{stream=\"%s\"} %.10g\n", name,
                                streams->all[i]->name, value);
        }
    }
}

static void put_all(struct evbuffer *out, const struct monitor *monitor)
{
    const struct monitor_options *from = &monitor->options;

    put_head(out, "build_info", "gauge", "this program's version");
    evbuffer_add_printf(out, "blotter_build_info{version=\"" BLOTTER_VERSION "\"} 1\n");
    put_gauge(out, "redis_up", "1 while Redis is connected", intake_up(from->intake));
    put_gauge(out, "postgres_up", "1 while PostgreSQL is connected", postgres_up(monitor));
    put_gauge(out, "drainers", "drainers that share the streams, this one included",
              lease_members(from->lease));
    put_loader(out, loader_stats(from->loader));
    put_intake(out, intake_counters(from->intake));
    put_streams(out, from->streams, "stream_held", "1: this drainer loads the stream", stream_held);
    put_streams(out, from->streams, "stream_lag",
                "entries not yet read; missing while Redis does not know", stream_lag);
    put_streams(out, from->streams, "stream_pending", "entries read and not yet committed",
                stream_pending);
    put_streams(out, from->streams, "stream_oldest_seconds",
                "age of the oldest entry not yet committed", stream_oldest);
}

/* --- answering
 * -----------------------------------------------------------------------------------------------------------
 */

static void answer(struct evhttp_request *request, int code, const char *type,
                   struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_send_reply(request, code, code == HTTP_OK ? "OK" : "Service Unavailable", body);
}

static void on_metrics(struct evhttp_request *request, void *arg)
{
    struct evbuffer *body = evbuffer_new();

    put_all(body, arg);
    answer(request, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", body);
    evbuffer_free(body);
}

static void on_healthz(struct evhttp_request *request, void *arg)
{
    struct evbuffer *body = evbuffer_new();

    (void)arg;
    evbuffer_add_printf(body, "ok\n");
    answer(request, HTTP_OK, "text/plain", body);
    evbuffer_free(body);
}

static void put_behind(struct evbuffer *out, const struct monitor *monitor)
{
    const struct streams *streams = monitor->options.streams;
    double limit = (double)monitor->options.max_behind_ms / 1000;

    for (size_t i = 0; limit > 0 && i < streams->count; i++) {
        double oldest = oldest_seconds(&streams->all[i]->gauge);

        if (streams->all[i]->present && oldest > limit) {
            evbuffer_add_printf(out, "%s: %.1f s behind, more than max_behind, %.1f s\n",
                                streams->all[i]->name, oldest, limit);
        }
    }
}

static void on_readyz(struct evhttp_request *request, void *arg)
{
    const struct monitor *monitor = arg;
    struct evbuffer *body = evbuffer_new();
    bool ready;

    if (!intake_up(monitor->options.intake)) {
        evbuffer_add_printf(body, "redis: not connected\n");
    }
    if (!postgres_up(monitor)) {
        evbuffer_add_printf(body, "postgres: not connected\n");
    }
    put_behind(body, monitor);
    ready = evbuffer_get_length(body) == 0;
    if (ready) {
        evbuffer_add_printf(body, "ready\n");
    }
    answer(request, ready ? HTTP_OK : HTTP_SERVUNAVAIL, "text/plain", body);
    evbuffer_free(body);
}

/* --- the interface
 * -------------------------------------------------------------------------------------------------------
 */

/* "HOST:PORT" in two. False: it is not that. */
static bool split_address(const char *address, char host[HOST_BYTES], uint16_t *port)
{
    const char *colon = strrchr(address, ':'), *digits = colon == NULL ? address : colon + 1;
    size_t length = colon == NULL ? 0 : (size_t)(colon - address);
    char *end;
    unsigned long number = strtoul(digits, &end, 10);

    if (length > 1 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || number == 0 || number > UINT16_MAX ||
        length >= HOST_BYTES) {
        return false;
    }
    *port = (uint16_t)number;
    snprintf(host, HOST_BYTES, "%.*s", length == 0 ? 9 : (int)length,
             length == 0 ? "127.0.0.1" : address);
    return true;
}

static bool listen_on(struct monitor *monitor, char *error, size_t error_size)
{
    char host[HOST_BYTES];
    uint16_t port;

    if (!split_address(monitor->options.address, host, &port)) {
        snprintf(error, error_size,
                 "\"%.64s\" is no HOST:PORT, port 1 to 65535, as in 127.0.0.1:9187",
                 monitor->options.address);
        return false;
    }
    if (monitor->http == NULL || evhttp_bind_socket(monitor->http, host, port) != 0) {
        snprintf(error, error_size, "cannot listen on %s, port %u: %s", host, port,
                 strerror(errno));
        return false;
    }
    log_info("monitor", "listening on %s, port %u: /metrics /healthz /readyz", host, port);
    return true;
}

struct monitor *monitor_create(const struct monitor_options *options, char *error,
                               size_t error_size)
{
    struct monitor *monitor = calloc(1, sizeof *monitor);

    if (monitor == NULL) {
        abort();
    }
    monitor->options = *options;
    monitor->http = evhttp_new(options->base);
    if (!listen_on(monitor, error, error_size)) {
        monitor_destroy(monitor);
        return NULL;
    }
    evhttp_set_timeout(monitor->http, TIMEOUT_S);
    evhttp_set_max_headers_size(monitor->http, HEADERS_BYTES);
    evhttp_set_max_body_size(monitor->http, BODY_BYTES);
    evhttp_set_allowed_methods(monitor->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_cb(monitor->http, "/metrics", on_metrics, monitor);
    evhttp_set_cb(monitor->http, "/healthz", on_healthz, monitor);
    evhttp_set_cb(monitor->http, "/readyz", on_readyz, monitor);
    return monitor;
}

void monitor_destroy(struct monitor *monitor)
{
    if (monitor == NULL) {
        return;
    }
    if (monitor->http != NULL) {
        evhttp_free(monitor->http);
    }
    free(monitor);
}
