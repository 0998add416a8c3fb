/* load_stats.c: see load_stats.h. */
#include "drainer/postgres/load_stats.h"

#include "schema/clock.h"

enum { AGE_EVERY = 16 };

static void count_ages(struct load_stats *stats, const struct batch *batch, size_t from, size_t to)
{
    int64_t now = clock_wall_ns() / 1000;

    for (size_t i = from; i < to; i += AGE_EVERY) {
        if (batch->entries[i].fate == ENTRY_ROW) {
            histogram_add(&stats->record_age_seconds, now - batch->entries[i].recorded_at_us);
        }
    }
}

void load_stats_committed(struct load_stats *stats, const struct batch *batch, size_t from,
                          size_t to, struct pg_link_times times)
{
    stats->counters.transactions++;
    for (size_t i = from; i < to; i++) {
        const struct entry *entry = &batch->entries[i];

        stats->counters.rows += entry->fate == ENTRY_ROW;
        stats->counters.row_bytes += entry->fate == ENTRY_ROW ? entry->row_length : 0;
        stats->counters.rejected += entry->fate == ENTRY_REJECTED;
        stats->counters.misplaced += entry->misplaced;
        stats->counters.expired += entry->fate == ENTRY_EXPIRED;
    }
    histogram_add(&stats->batch_rows, (int64_t)(to - from));
    histogram_add(&stats->copy_seconds, times.copied_us - times.began_us);
    histogram_add(&stats->commit_seconds, clock_monotonic_us() - times.copied_us);
    count_ages(stats, batch, from, to);
}
