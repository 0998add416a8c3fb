/* eviction.c: see eviction.h. From 1/2 full on Redis is looked at, at 7/8 records are evicted, and
 * below 3/4 that is over. */
#include "producer/eviction.h"

#include "producer/journal.h"
#include "schema/clock.h"

enum { SEEN_LATELY_MS = 250 };

static uint64_t lowest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t held_by(const struct journal *journal)
{
    return journal_next(journal) - journal_cursor(&journal->header->floor);
}

/* Returns up to where records were seen to wait, lately. */
static uint64_t below_lately(struct waiting waiting)
{
    /* the coarse clock, as this is called for each answer */
    return clock_monotonic_coarse_ms() - waiting.seen_at_ms < SEEN_LATELY_MS ? waiting.below : 0;
}

bool eviction_is_near(const struct journal *journal, struct waiting waiting)
{
    uint64_t floor = journal_cursor(&journal->header->floor),
             sent = journal_cursor(&journal->header->sent);
    return held_by(journal) > journal->slots / 2 &&
           below_lately(waiting) < lowest(sent, floor + journal->slots / 4);
}

uint64_t eviction_below(const struct journal *journal, struct waiting waiting)
{
    uint64_t held = held_by(journal), most = journal->slots / 8 * 7;
    if (held <= most || journal_is_closing(journal)) { /* closing: nobody needs any */
        return 0;
    }
    uint64_t sent = journal_cursor(&journal->header->sent);
    return lowest(journal_cursor(&journal->header->floor) + held - most,
                  lowest(sent, below_lately(waiting)));
}

bool eviction_is_over(const struct journal *journal)
{
    return held_by(journal) < journal->slots / 4 * 3;
}
