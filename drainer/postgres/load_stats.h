/* load_stats.h: what the loader has done, in numbers: for the summary in the log, and for /metrics.
 */
#ifndef BLOTTER_DRAINER_POSTGRES_LOAD_STATS_H
#define BLOTTER_DRAINER_POSTGRES_LOAD_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "drainer/batch.h"
#include "drainer/postgres/pg_link.h"
#include "drainer/postgres/sqlstate.h"
#include "producer/histogram.h"

/* clang-format off */
#define LOADER_COUNTERS(X) \
    X(rows, "rows loaded, duplicates among them") \
    X(row_bytes, "bytes of those rows, as COPY BINARY takes them") \
    X(queued, "rows queued for the books, but for those that staging has queued") \
    X(rejected, "records stored in blotter.rejects") \
    X(expired, "records of days no longer kept") \
    X(misplaced, "values kept in `extra`, as their field could not take them") \
    X(transactions, "transactions committed") \
    X(duplicates, "batches in which COPY met a row that was there already") \
    X(bisected, "transactions bisected to find the record at fault") \
    X(retries, "batches given up and read again later")
/* clang-format on */
/* clang-format off */
struct loader_counters {
#define X(name, meaning) uint64_t name;
    LOADER_COUNTERS(X)
#undef X
};
/* clang-format on */

/* X(name, unit of a counted value in the name's unit, meaning) */
/* clang-format off */
#define LOADER_HISTOGRAMS(X) \
    X(batch_rows, 1, "records in a committed transaction") \
    X(copy_seconds, 1e-6, "from a transaction's begin until COPY has been given its last row") \
    X(commit_seconds, 1e-6, "from then until COMMIT is answered, the merge of orders in it") \
    X(record_age_seconds, 1e-6, \
      "age of a record, since it was submitted, when it is committed; of each " \
      "transaction every 16th record is counted")
/* clang-format on */

struct load_stats {
    struct loader_counters counters;
    uint64_t failures[PG_ACTIONS_COUNT]; /* of transactions, by what was done about it */
#define X(name, unit, meaning) struct histogram name;
    LOADER_HISTOGRAMS(X)
#undef X
};

/* Counts the entries from .. to - 1 of the batch, which are committed. */
void load_stats_committed(struct load_stats *, const struct batch *, size_t from, size_t to,
                          struct pg_link_times);

#endif
