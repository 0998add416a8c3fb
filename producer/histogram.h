/* histogram.h: struct blotter_histogram (blotter.h), filled by any thread. */
#ifndef BLOTTER_PRODUCER_HISTOGRAM_H
#define BLOTTER_PRODUCER_HISTOGRAM_H

#include <stdatomic.h>

#include "producer/blotter.h"

struct histogram {
    _Atomic uint64_t count[BLOTTER_BUCKETS];
    _Atomic uint64_t sum;
};

/* Counts a value. Negative ones, which a clock that was set may give, count as 0. */
void histogram_add(struct histogram *, int64_t value);

/* Returns the largest value that a bucket counts. */
int64_t histogram_last_value(unsigned bucket);

void histogram_copy(const struct histogram *, struct blotter_histogram *);

#endif
