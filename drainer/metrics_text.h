/* metrics_text.h: numbers in Prometheus' text format, as `drain --metrics` and `ship --metrics`
 * give them. All names begin with blotter_, which is put here. */
#ifndef BLOTTER_DRAINER_METRICS_TEXT_H
#define BLOTTER_DRAINER_METRICS_TEXT_H

#include <stdint.h>

struct evbuffer;

void metrics_put_head(struct evbuffer *, const char *name, const char *type, const char *meaning);
void metrics_put_total(struct evbuffer *, const char *name, const char *meaning, uint64_t value);
void metrics_put_gauge(struct evbuffer *, const char *name, const char *meaning, uint64_t value);

#endif
