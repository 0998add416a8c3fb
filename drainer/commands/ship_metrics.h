/* ship_metrics.h: what `ship --metrics` answers: /metrics in Prometheus' text format, and /healthz.
 * One thread, that of the event base. */
#ifndef BLOTTER_DRAINER_COMMANDS_SHIP_METRICS_H
#define BLOTTER_DRAINER_COMMANDS_SHIP_METRICS_H

#include <stddef.h>

#include "drainer/commands/shipment.h"

struct event_base;
struct settings;
struct ship_metrics;

/* The source of the numbers; all borrowed, and looked at when somebody asks. */
struct ship_facts {
    struct shipment *const *shipments;
    const struct shipment_counts *past; /* of journals that are closed */
    const int64_t *taken;               /* journals */
    const struct settings *settings;
};

/* Listens. NULL, with a text in error: the address is wrong, or cannot be listened on. */
struct ship_metrics *ship_metrics_open(struct event_base *, const char *address,
                                       const struct ship_facts *, char *error, size_t error_size);
void ship_metrics_close(struct ship_metrics *); /* takes NULL */

#endif
