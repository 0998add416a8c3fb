/* settle.h: tells Redis that a batch is committed: acknowledges its entries to the group, and
 * confirms the settled records to each producer. */
#ifndef BLOTTER_DRAINER_REDIS_SETTLE_H
#define BLOTTER_DRAINER_REDIS_SETTLE_H

#include <stdbool.h>

#include "drainer/batch.h"
#include "drainer/redis/streams.h"
#include "producer/redis_link.h"

/* A run of seqs that are settled. They are in the order in which they were added until
 * settled_sort(), then sorted and disjoint. */
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

/* Writes the next confirmation: the ranges of the producer whose run is at *at, as "1-50,53", as
 * many as fit; *at goes behind them. Returns the producer. */
enum { CONFIRMATION_BYTES = 8192 };
int64_t settled_confirmation(const struct settled *, size_t *at, char ranges[CONFIRMATION_BYTES]);

/* The settling of batches; the owner fills it. */
struct settling {
    const struct stream_history *history; /* of PostgreSQL: what the stream must be claimed for */
    const char *holder;                   /* ... and by whom (taking.h) */
    const char *group;                    /* that acknowledges */
    bool silent;                          /* producers are told nothing */
    /* Gets each answer of settle.lua, with the number of entries that it named as tag; its owner is
     * that of the stream's link. */
    redis_link_reply *on_settled;
};

/* Sends, in one pipeline to each server, the acknowledgements of the batch's entries and the
 * confirmations. Entries that were read on another connection are not acknowledged, as their ids
 * may be other records; their confirmations are true anywhere. Streams whose server is away are
 * left out. Returns the number of confirmations. */
size_t settle_batch(struct settling *, const struct batch *);

/* Tells Redis how many loading transactions the server has committed of the stream. */
void settle_count(struct settling *, const struct stream *);

#endif
