/* gather.h: entries out of Redis' answers into the batch that gathers, and how many more there is
 * room for. */
#ifndef BLOTTER_DRAINER_REDIS_GATHER_H
#define BLOTTER_DRAINER_REDIS_GATHER_H

#include <stdbool.h>
#include <stddef.h>

#include "drainer/batch.h"
#include "drainer/redis/streams.h"

struct redis_link;

struct gather {
    struct redis_link *link;
    struct batch **batch; /* the one that gathers at the time */
    size_t batch_rows, batch_bytes;
    size_t entry_bytes; /* running mean, to bound the size of an answer */
    int64_t wall_ns;    /* when the answer being read began */
};

void gather_init(struct gather *, struct redis_link *, struct batch **batch, size_t batch_rows,
                 size_t batch_bytes);

/* The batch that gathers; an empty one begins to belong to the link's epoch. */
struct batch *gather_batch(struct gather *);

void gather_entry(struct gather *, struct stream *, struct stream_entry_id,
                  const struct raw_field *, size_t field_count, uint16_t deliveries);

/* How many entries of each of `streams` may come, at most `most` together, so that neither the
 * batch's rows nor its bytes run far over. At least 1. */
size_t gather_room(const struct gather *, size_t streams, size_t most);
bool gather_is_full(const struct gather *);

#endif
