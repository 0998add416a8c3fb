/* bisect.h: where a range of a batch is divided, to find the record at fault, or to load each
 * exchange by itself. */
#ifndef BLOTTER_DRAINER_POSTGRES_BISECT_H
#define BLOTTER_DRAINER_POSTGRES_BISECT_H

#include "drainer/batch.h"
#include "drainer/postgres/pg_link.h"

/* before a table's name: the temporary table that a careful batch is copied into */
#define SPLIT_STAGED "staged_"
enum { BISECT_PARTS_MAX = 3 };

/* Entries of a batch: from .. to - 1. */
struct batch_range {
    size_t from, to;
};

/* Splits a range of two or more entries in at most BISECT_PARTS_MAX, in their order: at the entry
 * that PostgreSQL names as the one that its COPY had come to, which is then a part by itself; or in
 * two, where it names none or `halve` says so. Returns how many.
 */
size_t bisect_range(const struct batch *, struct batch_range, const struct pg_failure *, bool halve,
                    struct batch_range parts[BISECT_PARTS_MAX]);

/* Puts the entries of each exchange in a range side by side, in their order; last the exchanges
 * that have waited for a lock, of these the ones first that were tried less often. */
void bisect_sort_exchanges(struct batch *, struct batch_range);

/* Returns where the exchange ends that the range begins with. */
size_t bisect_exchange_end(const struct batch *, struct batch_range);

#endif
