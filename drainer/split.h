/* split.h: where a part of a batch is taken apart, to find the record at fault. */
#ifndef BLOTTER_DRAINER_SPLIT_H
#define BLOTTER_DRAINER_SPLIT_H

#include "drainer/batch.h"
#include "drainer/pg_link.h"

#define SPLIT_STAGED "staged_" /* before a table's name: the temporary table that a careful batch is copied into */
#define SPLIT_PARTS_MAX 3

/* Entries of a batch: from .. to - 1. */
struct range {
    size_t from, to;
};

/* Splits a range of two or more entries in at most SPLIT_PARTS_MAX, in their order: at the entry that PostgreSQL names as the one
 * that its COPY had come to, which is then a part by itself; or in two, where it names none or `halve` says so. Returns how many.
 */
size_t split_range(const struct batch *, struct range, const struct pg_failure *, bool halve,
                   struct range parts[SPLIT_PARTS_MAX]);

#endif
