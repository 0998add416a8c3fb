/* eviction.h: how a journal that fills gets room while the drainer's word is still to come: the
 * oldest sent records are let go, but only those that were seen to wait in Redis. Others may be
 * lost there, and are to be sent again from here. The sender's thread.
 */
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

/* Does it fill, and has nobody seen lately that what it holds waits in Redis? */
bool eviction_is_near(const struct journal *, struct waiting);

/* Records below this position may be let go now; the floor, or less: none. */
uint64_t eviction_below(const struct journal *, struct waiting);

/* Is there so much room that what was let go is over? */
bool eviction_is_over(const struct journal *);

#endif
