/* stream_watch.h: looks for streams, and after them: trims what is acknowledged, notices entries
 * pending under another name, and holders that make no progress. Sends its commands on the intake's
 * reading connection. One thread; never blocks. */
#ifndef BLOTTER_DRAINER_REDIS_STREAM_WATCH_H
#define BLOTTER_DRAINER_REDIS_STREAM_WATCH_H

#include <stdbool.h>

#include "drainer/redis/streams.h"

struct intake;
struct node;
struct nodes;
struct settings;
struct stream_watch;

/* Borrows everything; tells the intake of streams that are there again, of stuck holders, and of a
 * look that is complete. */
struct stream_watch *stream_watch_create(struct intake *, const struct nodes *,
                                         const struct settings *, const char *consumer,
                                         const char *holder, struct streams *);
void stream_watch_destroy(struct stream_watch *);

void stream_watch_tick(struct stream_watch *); /* every now and then, while a node is up */
/* Looks for streams at the next tick, as the node's link is new. */
void stream_watch_look_now(struct stream_watch *, struct node *);
bool stream_watch_looked(
    const struct stream_watch *); /* has it completed a look since it was created? */

#endif
