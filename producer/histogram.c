/* histogram.c: durations, counted in buckets that are an eighth of a power of two wide.
 *
 * Bucket       0 .. 7      8 .. 15     16 .. 23    24 .. 31 ...
 * values       0 .. 7      8 .. 15     16 .. 31    32 .. 63
 *              one each    one each    two each    four each ... */
#include "producer/histogram.h"

#include "producer/public.h"

enum { PER_OCTAVE = 8 }; /* buckets */

static unsigned bucket_of(uint64_t value)
{
    if (value < PER_OCTAVE) {
        return (unsigned)value;
    }
    unsigned shift = 60u - (unsigned)__builtin_clzll(value); /* leaves 8 .. 15 */
    unsigned bucket = shift * PER_OCTAVE + (unsigned)(value >> shift);
    return bucket < BLOTTER_BUCKETS ? bucket : BLOTTER_BUCKETS - 1;
}

int64_t histogram_last_value(unsigned bucket)
{
    if (bucket < PER_OCTAVE) {
        return bucket;
    }
    unsigned shift = bucket / PER_OCTAVE - 1;
    return ((int64_t)(bucket % PER_OCTAVE + PER_OCTAVE + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, int64_t value)
{
    uint64_t counted = value > 0 ? (uint64_t)value : 0;
    /* relaxed: counters */
    atomic_fetch_add_explicit(&histogram->count[bucket_of(counted)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, counted, memory_order_relaxed);
}

void histogram_copy(const struct histogram *histogram, struct blotter_histogram *out)
{
    for (unsigned i = 0; i < BLOTTER_BUCKETS; i++) {
        out->count[i] = atomic_load_explicit(&histogram->count[i], memory_order_relaxed);
    }
    out->sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}

BLOTTER_PUBLIC int64_t blotter_percentile(const struct blotter_histogram *histogram, double percent)
{
    uint64_t all = 0, below = 0;
    for (unsigned i = 0; i < BLOTTER_BUCKETS; i++) {
        all += histogram->count[i];
    }
    for (unsigned i = 0; i < BLOTTER_BUCKETS && all > 0; i++) {
        below += histogram->count[i];
        if (below > 0 && (double)below * 100 >= percent * (double)all) {
            return histogram_last_value(i);
        }
    }
    return -1;
}
