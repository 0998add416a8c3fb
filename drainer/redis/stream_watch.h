/* stream_watch.h: looks for streams, and after them: trims what is acknowledged, notices entries
 * pending under another name, and holders that make no progress. Sends its commands on the intake's
 * reading connection. One thread; never blocks. */
#ifndef BLOTTER_DRAINER_REDIS_STREAM_WATCH_H
#define BLOTTER_DRAINER_REDIS_STREAM_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "drainer/redis/streams.h"

struct redis_link;
struct stream_watch;

struct stream_watch_options {
    struct redis_link *link;
    struct streams *streams;
    const char *consumer, *pattern;
    unsigned keep_entries, group_limit, trim_interval_ms, claim_idle_ms;
    bool gauge;                     /* keep the streams' gauges */
    void (*on_looked)(void *owner); /* a look for streams is complete */
    void (*on_group_wanted)(
        void *owner,
        struct stream *); /* a stream of ours is there again, or still without its group */
    void (*on_stuck)(
        void *owner,
        struct stream *); /* another's stream has entries waiting and makes no progress */
    void *owner;
};

struct stream_watch *stream_watch_create(const struct stream_watch_options *);
void stream_watch_destroy(struct stream_watch *);

void stream_watch_tick(struct stream_watch *); /* every now and then, while the link is up */
void stream_watch_look_now(
    struct stream_watch *); /* the link is new: look for streams at the next tick */
bool stream_watch_looked(
    const struct stream_watch *); /* has it completed a look since it was created? */
uint64_t stream_watch_trimmed(const struct stream_watch *); /* entries removed from streams */

#endif
