/* settle.h: says that a batch is committed: XACK to the group, and word to each producer of what is
 * settled. */
#ifndef BLOTTER_DRAINER_REDIS_SETTLE_H
#define BLOTTER_DRAINER_REDIS_SETTLE_H

#include <stdbool.h>

#include "drainer/batch.h"
#include "producer/redis_link.h"

/* Which seqs are settled, as runs. In the order they were added until settled_sort(), then sorted
 * and disjoint. */
struct settled_run {
    int64_t producer_id, from, to;
};
struct settled {
    struct settled_run *runs;
    size_t count, capacity;
};
void settled_add(struct settled *, int64_t producer_id, int64_t seq);
void settled_sort(struct settled *);
void settled_release(struct settled *);

/* Writes the next word: the ranges of the producer whose run is at *at, as "1-50,53", as many as
 * fit; *at goes behind them. Returns the producer. */
enum { SETTLED_WORD_BYTES = 8192 };
int64_t settled_word(const struct settled *, size_t *at, char ranges[SETTLED_WORD_BYTES]);

/* Sends, in one pipeline, the acknowledgements of the batch's entries and the words. on_acked gets
 * each XACK's answer (an integer) with the number of ids it named as tag. NULL: the entries were
 * read on another connection, where their ids may be other records: only the words are given, which
 * are true anywhere. Returns the number of words. */
size_t settle_batch(struct redis_link *, const struct batch *, redis_link_reply *on_acked);

#endif
