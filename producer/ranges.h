/* ranges.h: a set of positions as sorted, disjoint, half-open ranges. What the drainer says comes
 * nearly in order, so there is mostly one. One thread. */
#ifndef BLOTTER_PRODUCER_RANGES_H
#define BLOTTER_PRODUCER_RANGES_H

#include <stddef.h>
#include <stdint.h>

enum { RANGES_MAX = 4096 };

struct position_range {
    uint64_t from, to;
};

struct ranges {
    size_t count;
    struct position_range each[RANGES_MAX];
};

/* Adds [from, to). What would make one range too many is dropped: the set may hold less than it was
 * told. */
void ranges_add(struct ranges *, uint64_t from, uint64_t to);
/* Returns the end of the range that holds `position`, or `position` itself if none does. */
uint64_t ranges_end(const struct ranges *, uint64_t position);
/* Counts the positions of [from, to) that are in the set. */
uint64_t ranges_within(const struct ranges *, uint64_t from, uint64_t to);
void ranges_drop_below(struct ranges *, uint64_t position);

#endif
