/* producer_counters.h: what the producers say of themselves in their heartbeats, for /metrics: how
 * full their journals are, what they could not record, whether they reach Redis.
 *
 * The drainer that loads a stream hears of its producers. At most PRODUCERS_MAX are kept, of a
 * stream half of the places that others leave, and each for FORGET_MS after its last heartbeat, or
 * until it has closed. One thread. */
#ifndef BLOTTER_DRAINER_PRODUCER_COUNTERS_H
#define BLOTTER_DRAINER_PRODUCER_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

struct evbuffer;
struct producer_counters;
struct stream;

struct producer_counters *producer_counters_create(void);
void producer_counters_destroy(struct producer_counters *); /* takes NULL */

/* Notes a session record, as its entry has it. What it says is hostile until it is checked: only
 * whole numbers of known names are kept. */
void producer_counters_note(struct producer_counters *, const struct stream *, int64_t producer_id,
                            const void *raw, size_t length);

void producer_counters_put(struct producer_counters *, struct evbuffer *out);

#endif
