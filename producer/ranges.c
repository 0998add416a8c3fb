/* ranges.c: see ranges.h. */
#include "producer/ranges.h"

#include <string.h>

/* Finds the first range that ends at or behind `position`. */
static size_t first_reaching(const struct ranges *ranges, uint64_t position)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges->each[middle].to < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void replace(struct ranges *ranges, size_t first, size_t count, struct position_range with)
{
    memmove(&ranges->each[first + 1], &ranges->each[first + count],
            (ranges->count - first - count) * sizeof with);
    ranges->each[first] = with;
    ranges->count = ranges->count - count + 1;
}

void ranges_add(struct ranges *ranges, uint64_t from, uint64_t to)
{
    if (from >= to) {
        return;
    }
    struct position_range merged = {from, to};
    size_t first = first_reaching(ranges, from), last = first;
    for (; last < ranges->count && ranges->each[last].from <= to; last++) {
        if (ranges->each[last].from < merged.from) {
            merged.from = ranges->each[last].from;
        }
        if (ranges->each[last].to > merged.to) {
            merged.to = ranges->each[last].to;
        }
    }
    if (last > first || ranges->count < RANGES_MAX) {
        replace(ranges, first, last - first, merged);
    }
}

uint64_t ranges_end(const struct ranges *ranges, uint64_t position)
{
    size_t at = first_reaching(ranges, position + 1);
    if (at < ranges->count && ranges->each[at].from <= position) {
        return ranges->each[at].to;
    }
    return position;
}

uint64_t ranges_within(const struct ranges *ranges, uint64_t from, uint64_t to)
{
    uint64_t total = 0;
    for (size_t at = first_reaching(ranges, from); at < ranges->count && ranges->each[at].from < to;
         at++) {
        uint64_t low = ranges->each[at].from > from ? ranges->each[at].from : from;
        uint64_t high = ranges->each[at].to < to ? ranges->each[at].to : to;
        total += high > low ? high - low : 0;
    }
    return total;
}

void ranges_drop_below(struct ranges *ranges, uint64_t position)
{
    size_t keep = 0;
    while (keep < ranges->count && ranges->each[keep].to <= position) {
        keep++;
    }
    if (keep == 0) {
        return;
    }
    memmove(ranges->each, ranges->each + keep, (ranges->count - keep) * sizeof *ranges->each);
    ranges->count -= keep;
}
