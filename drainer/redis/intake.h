/* intake.h: the Redis side of the drainer: finds streams, reads and claims entries into batches,
 * acknowledges what is committed.
 *
 * Two connections to each server (node.h): one that reads, acknowledges and sends the producers'
 * confirmations, so that an entry id never outlives the connection it was read on; and a doorbell,
 * which only blocks in XREAD until something new arrives. There is one server, or the masters of a
 * cluster (nodes.h). Redis is the drainer's only memory: entries in batches can be
 * forgotten at any time and are then claimed again. One thread; never blocks. */
#ifndef BLOTTER_DRAINER_REDIS_INTAKE_H
#define BLOTTER_DRAINER_REDIS_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "drainer/batch.h"
#include "drainer/redis/streams.h"

struct event_base;
struct intake;
struct settings;

struct intake_options {
    struct event_base *base;
    const struct settings *settings; /* borrowed, as the streams are */
    const char *consumer;
    const struct stream_entry_id
        *from; /* load what the streams hold from this id on once more; NULL: do not */
    struct streams *streams;      /* this module adds to it */
    struct batch **gathering;     /* where entries go at the time they come */
    void (*on_turn)(void *owner); /* something has changed: entries came, the link is up, ... */
    void (*on_stuck)(
        void *owner,
        struct stream *); /* another's stream has entries waiting and makes no progress */
    void *owner;
};

/* clang-format off */
#define INTAKE_COUNTERS(X) \
    X(entries, "entries read for the first time") \
    X(reloaded, "entries read again from the streams' kept tails") \
    X(claimed, "entries claimed that were delivered before") \
    X(trimmed_pending, "entries that were pending and are gone from the stream") \
    X(acked, "entries acknowledged") \
    X(ack_shortfall, "entries committed that were not pending any more") \
    X(confirmations, "confirmations sent to producers") \
    X(trimmed, "acknowledged entries removed from streams") \
    X(mirrors_missed, "entries removed before a mirror had read them") \
    X(errors, "error answers from Redis")
/* clang-format on */
/* clang-format off */
struct intake_counters {
#define X(name, meaning) uint64_t name;
    INTAKE_COUNTERS(X)
#undef X
};
/* clang-format on */

struct intake *intake_create(const struct intake_options *, char *error, size_t error_size);
void intake_destroy(struct intake *);
void intake_start(struct intake *);

/* Reads or claims more, if the gathering batch has room, a stream is to be read and no read is
 * under way. */
void intake_read(struct intake *);

/* Acknowledges everything in a batch that is committed, and confirms it to the producers. */
void intake_settle(struct intake *, const struct batch *);

/* Forgets what the batches held, which were emptied or will be, and what answers under way still
 * bring: it is claimed again. */
void intake_forget(struct intake *);

/* Takes a stream whose lease was won: makes sure of the group, claims, reads. */
void intake_take(struct intake *, struct stream *);

/* Removes this drainer's name from the group of each stream, where it has nothing pending.
 * intake_left_pending, once intake_quiet: how many entries are pending under the name; -1: Redis
 * has not answered. */
void intake_sign_off(struct intake *);
int64_t intake_left_pending(const struct intake *);

bool intake_up(const struct intake *); /* to one server at least */
const char *
intake_last_error(const struct intake *);  /* of the connection; "": none; holds no secret */
bool intake_looked(const struct intake *); /* were streams looked for, since it started? */
bool intake_quiet(const struct intake *);  /* every command has been answered */
bool intake_awaits_entries(const struct intake *); /* a read or claim is not answered */
/* Says whether every stream held was read to its end, but for those that are refused. */
bool intake_drained(const struct intake *);
void intake_stop_reading(struct intake *); /* but for what is under way */

const struct intake_counters *intake_counters(const struct intake *);

#endif
