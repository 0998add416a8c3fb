/* streams.h: the streams this drainer knows of, and how far it is with each.
 *
 *    FREE ──lease──► GROUPING ──group is there──► CLAIMING ──nothing pending──► (REPLAYING, with
 * --from) ──► READING ▲                │  ▲                           ▲ │ │                │  └──
 * seen again ── ABSENT    └── forget; entries pending ─┤ │                └──── no such key ────►
 * │      under another name    │ └──── unlocked, nothing in hand ── LEAVING
 * ◄────┴────────────────────────────┘
 */
#ifndef BLOTTER_DRAINER_REDIS_STREAMS_H
#define BLOTTER_DRAINER_REDIS_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drainer/batch.h"
#include "schema/stream.h"

/* clang-format off */
#define STREAM_STATES(X) \
    X(FREE, "not ours") \
    X(GROUPING, "making sure of the consumer group") \
    X(ABSENT, "ours, but there is no such key now") \
    X(CLAIMING, "claiming what is pending") \
    X(REPLAYING, "loading what the stream still holds again") \
    X(READING, "reading") \
    X(LEAVING, "loading what is in hand, then giving the lease up")
/* clang-format on */
#define X(name, text) STREAM_##name,
enum stream_state { STREAM_STATES(X) };
#undef X

/* How much waits in a stream, as Redis said it last; looked after only where somebody asks for it.
 */
struct stream_gauge {
    bool known;
    int64_t lag; /* entries that the group has not read; -1: Redis does not know, there are some */
    int64_t pending;   /* entries read and not acknowledged */
    int64_t oldest_ms; /* when the oldest of both was added, since 1970; 0: there is none */
};

struct stream {
    char name[STREAM_NAME_BYTES];
    char exchange[LIMIT_EXCHANGE_BYTES + 1];
    char lane[LIMIT_EXCHANGE_BYTES + 1];
    int64_t lock_key; /* of the advisory lock that is its lease */
    enum stream_state state;
    struct stream_entry_id last_read;    /* what the doorbell waits behind */
    struct stream_entry_id claim_cursor; /* CLAIMING, REPLAYING: where the next step begins */
    bool replayed;                       /* what --from asks for is done */
    size_t in_hand;                      /* entries in batches */
    bool seen, present; /* found in this look for streams; in the last complete one */
    bool asked;         /* a read of it is under way: it may still bring entries in hand */
    bool claim_wanted;  /* READING: claim again once nothing is in hand */
    struct stream_gauge gauge;
    uint64_t progress;      /* FREE: a fingerprint of how far its holder is ... */
    int64_t progress_at_ms; /* ... and since when it has been so with entries waiting; 0: nothing
                               waits */
};

struct streams {
    struct stream **all; /* sorted by name; an element never moves or goes away */
    size_t count;
};

/* Finds or adds. NULL: not a name of ours. */
struct stream *streams_add(struct streams *, const char *name, size_t length);
struct stream *streams_find(const struct streams *, const char *name,
                            size_t length); /* NULL: not known */
void streams_release(struct streams *);

/* The one place where a stream's state changes. */
void stream_enter(struct stream *, enum stream_state);
bool stream_is_held(const struct stream *);

/* Collects those to be read into out, which has room for all. Returns how many. */
size_t streams_to_read(const struct streams *, struct stream **out);
size_t streams_held(const struct streams *);

#endif
