/* process_metrics.h: the process_* metrics that Prometheus' own client libraries give. Linux. */
#ifndef BLOTTER_DRAINER_PROCESS_METRICS_H
#define BLOTTER_DRAINER_PROCESS_METRICS_H

struct evbuffer;

void process_metrics_put(struct evbuffer *out);

#endif
