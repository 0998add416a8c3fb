/* journal_clock.h: the time of a record, which never goes back within a producer.
 *
 * It is the monotonic clock plus an offset, the distance to the wall clock, measured once a second.
 * The offset only grows, so a wall clock that is set back makes no record older than the one
 * before. A wall clock that jumps ahead by more than an hour is believed only once it has stayed
 * there for a minute: else two wrong seconds would make all later records wrong. */
#ifndef BLOTTER_PRODUCER_JOURNAL_CLOCK_H
#define BLOTTER_PRODUCER_JOURNAL_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "schema/clock.h"

enum { JOURNAL_CLOCK_CHECK_NS = 1000000000 };

struct journal_clock {
    _Atomic int64_t offset_ns;     /* wall clock minus monotonic clock */
    _Atomic int64_t checked_ns;    /* monotonic: when it was last measured */
    _Atomic int64_t jump_since_ns; /* monotonic: when a jump ahead was first seen; 0: none */
    _Atomic int64_t jump_ns;       /* its size */
};

/* Measures the offset. */
void journal_clock_init(struct journal_clock *);

/* Measures the offset again, if a second has passed and no other thread does it. */
void journal_clock_check(struct journal_clock *, int64_t monotonic_ns);

/* Returns by how much the wall clock has jumped ahead and is not believed; 0: it is. Any thread. */
int64_t journal_clock_jump(const struct journal_clock *);

/* Returns the time in ns since 1970. Any thread, no system call.
 * relaxed: a thread that claims a position after us has synchronized with our claim through `next`,
 * so it sees at least the offset that we saw. */
static inline int64_t journal_clock_now(struct journal_clock *clock)
{
    int64_t monotonic_ns = clock_monotonic_ns();
    if (__builtin_expect(monotonic_ns -
                                 atomic_load_explicit(&clock->checked_ns, memory_order_relaxed) >=
                             JOURNAL_CLOCK_CHECK_NS,
                         0)) {
        journal_clock_check(clock, monotonic_ns);
    }
    return monotonic_ns + atomic_load_explicit(&clock->offset_ns, memory_order_relaxed);
}

#endif
