/* journal_clock.c: see journal_clock.h. */
#include "producer/journal_clock.h"

#include <stdbool.h>

static const int64_t JUMP_NS = INT64_C(3600) * 1000000000; /* more than so much is doubted */
static const int64_t DOUBT_NS = INT64_C(60) * 1000000000;  /* for so long */

static int64_t measure_offset(void)
{
    int64_t wall_ns = clock_wall_ns();
    return wall_ns - clock_monotonic_ns();
}

void journal_clock_init(struct journal_clock *clock)
{
    atomic_init(&clock->offset_ns, measure_offset());
    atomic_init(&clock->checked_ns, clock_monotonic_ns());
    atomic_init(&clock->jump_since_ns, 0);
    atomic_init(&clock->jump_ns, 0);
}

/* Says whether it is a jump ahead that has not lasted yet. Only the thread that measures calls it.
 */
static bool is_doubtful(struct journal_clock *clock, int64_t ahead_ns, int64_t monotonic_ns)
{
    int64_t since = atomic_load_explicit(&clock->jump_since_ns, memory_order_relaxed);
    if (ahead_ns <= JUMP_NS) {
        atomic_store_explicit(&clock->jump_since_ns, 0, memory_order_relaxed);
        return false;
    }
    if (since == 0) {
        atomic_store_explicit(&clock->jump_ns, ahead_ns, memory_order_relaxed);
        atomic_store_explicit(&clock->jump_since_ns, monotonic_ns, memory_order_relaxed);
        return true;
    }
    return monotonic_ns - since < DOUBT_NS;
}

__attribute__((noinline)) void journal_clock_check(struct journal_clock *clock,
                                                   int64_t monotonic_ns)
{
    int64_t last = atomic_load_explicit(&clock->checked_ns, memory_order_relaxed);
    if (monotonic_ns - last < JOURNAL_CLOCK_CHECK_NS ||
        !atomic_compare_exchange_strong_explicit(&clock->checked_ns, &last, monotonic_ns,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        return; /* relaxed: it only chooses the thread that measures */
    }
    int64_t measured = measure_offset();
    int64_t known = atomic_load_explicit(&clock->offset_ns, memory_order_relaxed);
    if (is_doubtful(clock, measured - known, monotonic_ns)) {
        return;
    }
    while (measured > known &&
           !atomic_compare_exchange_weak_explicit(&clock->offset_ns, &known, measured,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    /* believed, or over */
    atomic_store_explicit(&clock->jump_since_ns, 0, memory_order_relaxed);
}

int64_t journal_clock_jump(const struct journal_clock *clock)
{
    return atomic_load_explicit(&clock->jump_since_ns, memory_order_relaxed) != 0
               ? atomic_load_explicit(&clock->jump_ns, memory_order_relaxed)
               : 0;
}
