/* taking.h: how a stream that was leased becomes one that is read: makes sure of its random id and
 * its consumer group, and claims it in Redis for the PostgreSQL that it is loaded into.
 *
 * Redis keeps, beside each stream, which server's history it was loaded into, by which drainer, and
 * how many loading transactions that was (blotter-load). Acknowledging and trimming do nothing
 * unless both are still those that claimed it (fence.lua): an old primary, or a drainer that was
 * cut off, cannot confirm what the other does not have. Where Redis knows of more transactions than
 * the server, the server went back in time: what the stream still holds is loaded again. From which
 * entry on is kept there, too, until it is done: whoever goes on with it does so from there. */
#ifndef BLOTTER_DRAINER_REDIS_TAKING_H
#define BLOTTER_DRAINER_REDIS_TAKING_H

#include "drainer/redis/streams.h"

struct intake;
struct taking;

struct taking *taking_create(struct intake *, struct streams *, const char *consumer);
void taking_destroy(struct taking *); /* takes NULL */

/* Asks for the random id of a stream, and makes one where there is none. */
void taking_ask_id(struct taking *, struct stream *);

/* Begins to take a stream: it is GROUPING, and in the end CLAIMING, ABSENT or REFUSED. */
void taking_begin(struct taking *, struct stream *);

/* Returns the name by which this drainer is known in blotter-load. */
const char *taking_holder(const struct taking *);

#endif
