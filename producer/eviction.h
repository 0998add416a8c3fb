/* eviction.h: how a full journal gets room before confirmations come: the oldest sent records are
 * evicted, but only those that were seen to wait in Redis. Others may be lost there, and are to be
 * sent again from here. The sender's thread. */
#ifndef BLOTTER_PRODUCER_EVICTION_H
#define BLOTTER_PRODUCER_EVICTION_H

#include <stdbool.h>
#include <stdint.h>

struct journal;

/* Records below this position were seen to wait in Redis at this time (CLOCK_MONOTONIC). */
struct waiting {
    uint64_t below;
    int64_t seen_at_ms;
};

/* Tells whether the journal is filling and it was not seen lately what waits in Redis: time for a
 * look. */
bool eviction_is_near(const struct journal *, struct waiting);

/* Returns the position below which records may be evicted now; the floor, or less: none. */
uint64_t eviction_below(const struct journal *, struct waiting);

/* Tells whether there is so much room again that evicting can end. */
bool eviction_is_over(const struct journal *);

#endif
