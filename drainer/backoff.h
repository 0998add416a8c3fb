/* backoff.h: waits before the next attempt, each twice as long as the one before. */
#ifndef BLOTTER_DRAINER_BACKOFF_H
#define BLOTTER_DRAINER_BACKOFF_H

#include <stdlib.h>

/* Returns the next wait; *next_ms is the one after, and 0 before the first. */
static inline unsigned backoff_next_ms(unsigned *next_ms, unsigned min_ms, unsigned max_ms)
{
    unsigned ms = *next_ms == 0 ? min_ms : *next_ms;

    *next_ms = ms * 2 > max_ms ? max_ms : ms * 2;
    return ms;
}

/* Returns half of the wait and a random part of the other half, so that many do not come back in
 * step. */
static inline unsigned backoff_spread_ms(unsigned ms)
{
    return ms / 2 + (unsigned)random() % (ms / 2 + 1);
}

#endif
