/* ship_metrics.c: see ship_metrics.h. */
#include "drainer/commands/ship_metrics.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/http_server.h"
#include "drainer/memory.h"
#include "drainer/metrics_text.h"
#include "drainer/process_metrics.h"
#include "producer/blotter.h"

struct ship_metrics {
    struct http_server *server;
    struct ship_facts facts;
};

typedef double shipment_value(const struct shipment *);

static double shipment_held(const struct shipment *shipment)
{
    const struct journal_header *header = shipment->journal->header;
    return (double)(journal_next(shipment->journal) - journal_cursor(&header->floor));
}

static double shipment_slots(const struct shipment *shipment)
{
    return (double)shipment->journal->slots;
}

static double shipment_unsent(const struct shipment *shipment)
{
    return (double)(journal_next(shipment->journal) -
                    journal_cursor(&shipment->journal->header->sent));
}

static double shipment_uncommitted(const struct shipment *shipment)
{
    return (double)(journal_next(shipment->journal) -
                    journal_cursor(&shipment->journal->header->committed));
}

static double shipment_adopted(const struct shipment *shipment)
{
    return shipment->adopted;
}

static double shipment_is_left_alone(const struct shipment *shipment)
{
    return shipment_left_alone(shipment) != NULL;
}

static double shipment_in_trouble(const struct shipment *shipment)
{
    return shipment_trouble(shipment)[0] != '\0';
}

/* Writes a text in quotes as the format wants it: a journal's name may hold anything. */
static void put_quoted(struct evbuffer *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '\n') {
            evbuffer_add(out, "\\n", 2);
        } else {
            if (*at == '"' || *at == '\\') {
                evbuffer_add(out, "\\", 1);
            }
            evbuffer_add(out, at, 1);
        }
    }
}

static void put_shipments(struct evbuffer *out, const struct ship_metrics *metrics,
                          const char *name, const char *meaning, shipment_value *value_of)
{
    metrics_put_head(out, name, "gauge", meaning);
    for (const struct shipment *each = *metrics->facts.shipments; each != NULL; each = each->next) {
        evbuffer_add_printf(out, "blotter_%s{journal=\"", name);
        put_quoted(out, each->name);
        evbuffer_add_printf(out, "\"} %.10g\n", value_of(each));
    }
}

static void ship_metrics_put(struct evbuffer *out, const struct ship_metrics *metrics)
{
    const struct ship_facts *facts = &metrics->facts;
    struct shipment_counts sum = *facts->past;
    uint64_t journals = 0;

    for (const struct shipment *each = *facts->shipments; each != NULL; each = each->next) {
        struct shipment_counts counts = shipment_counts(each, facts->settings);
        sum.sent += counts.sent;
        sum.committed += counts.committed;
        journals++;
    }
    metrics_put_head(out, "build_info", "gauge", "this program's version");
    evbuffer_add_printf(out, "blotter_build_info{version=\"" BLOTTER_VERSION "\"} 1\n");
    metrics_put_total(out, "ship_sent_total", "records sent", (uint64_t)sum.sent);
    metrics_put_total(out, "ship_committed_total", "records that are known to be committed",
                      (uint64_t)sum.committed);
    metrics_put_total(out, "ship_taken_total", "journals taken", (uint64_t)*facts->taken);
    metrics_put_gauge(out, "ship_journals", "journals that are sent for now", journals);
    put_shipments(out, metrics, "ship_journal_held", "places taken in the journal", shipment_held);
    put_shipments(out, metrics, "ship_journal_slots", "places in the journal", shipment_slots);
    put_shipments(out, metrics, "ship_journal_unsent", "records not yet sent", shipment_unsent);
    put_shipments(out, metrics, "ship_journal_uncommitted", "records not yet known to be committed",
                  shipment_uncommitted);
    put_shipments(out, metrics, "ship_journal_adopted", "1: its writer is dead", shipment_adopted);
    put_shipments(out, metrics, "ship_journal_left_alone",
                  "1: its records are for another Redis, and are not sent", shipment_is_left_alone);
    put_shipments(out, metrics, "ship_journal_in_trouble",
                  "1: Redis, or the connection to it, does not take its records",
                  shipment_in_trouble);
    process_metrics_put(out);
}

static void ship_metrics_on_request(struct http_request *request, void *arg)
{
    struct evbuffer *body = memory_or_abort(evbuffer_new());
    int code = 200;

    if (strcmp(http_request_path(request), "/metrics") == 0) {
        ship_metrics_put(body, arg);
    } else if (strcmp(http_request_path(request), "/healthz") == 0) {
        evbuffer_add_printf(body, "ok\n");
    } else {
        code = 404;
    }
    http_request_reply(request, code, "text/plain; version=0.0.4; charset=utf-8", NULL,
                       evbuffer_pullup(body, -1), evbuffer_get_length(body));
    evbuffer_free(body);
}

struct ship_metrics *ship_metrics_open(struct event_base *base, const char *address,
                                       const struct ship_facts *facts, char *error,
                                       size_t error_size)
{
    struct ship_metrics *metrics = memory_or_abort(calloc(1, sizeof *metrics));
    metrics->facts = *facts;
    metrics->server =
        http_server_open(base,
                         &(struct http_server_options){
                             .where = address, .handler = ship_metrics_on_request, .arg = metrics},
                         error, error_size);
    if (metrics->server == NULL) {
        free(metrics);
        return NULL;
    }
    return metrics;
}

void ship_metrics_close(struct ship_metrics *metrics)
{
    if (metrics != NULL) {
        http_server_close(metrics->server);
        free(metrics);
    }
}
