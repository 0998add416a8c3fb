/* metrics_text.c: see metrics_text.h. */
#include "drainer/metrics_text.h"

#include <event2/buffer.h>
#include <inttypes.h>

void metrics_put_head(struct evbuffer *out, const char *name, const char *type, const char *meaning)
{
    evbuffer_add_printf(out, "# HELP blotter_%s %s\n# TYPE blotter_%s %s\n", name, meaning, name,
                        type);
}

void metrics_put_total(struct evbuffer *out, const char *name, const char *meaning, uint64_t value)
{
    metrics_put_head(out, name, "counter", meaning);
    evbuffer_add_printf(out, "blotter_%s %" PRIu64 "\n", name, value);
}

void metrics_put_gauge(struct evbuffer *out, const char *name, const char *meaning, uint64_t value)
{
    metrics_put_head(out, name, "gauge", meaning);
    evbuffer_add_printf(out, "blotter_%s %" PRIu64 "\n", name, value);
}
