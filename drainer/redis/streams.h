/* streams.h: the streams this drainer knows of, and how far it is with each. The two sides of the
 * drainer meet here: postgres/ decides who holds a stream, redis/ reads it.
 *
 *     FREE ─► LOCKED ─► GROUPING ──group is there──► FENCING ──claimed in Redis──► CLAIMING
 *      ▲                 │    ▲                         │                             │
 *      │                 │    │                         └─ of another server          │ nothing
 *      │     no such key │    │ seen again                          │                 │ pending
 *      │                 ▼    │                                     ▼                 │
 *      │                 ABSENT                                  REFUSED         (RELOADING)
 *      │                                                                              │
 *      └── unlocked, nothing in a batch ── LEAVING ◄── over the share ── READING ◄────┘
 *
 * RELOADING: with --from, and where PostgreSQL went back behind what Redis knows to be loaded.
 * Forgotten entries lead back to CLAIMING. Where the connection was lost, or another has claimed
 * the stream in Redis, the lease may be lost, too: back to LOCKED, until PostgreSQL answers.
 */
#ifndef BLOTTER_DRAINER_REDIS_STREAMS_H
#define BLOTTER_DRAINER_REDIS_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/record.h"
#include "schema/stream.h"

struct node;
struct redis_link;

/* clang-format off */
#define STREAM_STATES(X) \
    X(FREE, "not ours") \
    X(LOCKED, "asking PostgreSQL how far it is loaded") \
    X(GROUPING, "making sure of the consumer group") \
    X(ABSENT, "ours, but there is no such key now") \
    X(FENCING, "claiming the stream in Redis for this PostgreSQL") \
    X(REFUSED, "loaded into another PostgreSQL") \
    X(RELOADING, "loading what the stream still holds again") \
    X(CLAIMING, "claiming what is pending") \
    X(READING, "reading") \
    X(LEAVING, "loading what is in memory, then giving the lease up")
/* clang-format on */
#define X(name, text) STREAM_##name,
enum stream_state { STREAM_STATES(X) };
#undef X

/* A trouble stands in the way of a stream, or of all: for /readyz, status and the log. Each source
 * gives one reason at a time. */
enum trouble_source {
    TROUBLE_LINK,    /* Redis is not connected, or may not be the master any more */
    TROUBLE_REDIS,   /* Redis answers with an error */
    TROUBLE_LOOK,    /* Redis refuses to list its streams */
    TROUBLE_PART,    /* Redis is one node of a cluster, and the URL is not that of a cluster */
    TROUBLE_HISTORY, /* loaded into another PostgreSQL, or one that went back */
    TROUBLE_LEASE,   /* somebody else holds a lock */
    TROUBLE_LOADING, /* PostgreSQL refuses what is loaded */
    TROUBLE_KEY,     /* another stream's lease has the same number */
    TROUBLE_BLOCKER, /* a session that is no drainer's holds a lock that loading waits for */
    TROUBLE_LIMIT,   /* more streams or lanes than the settings allow */
    TROUBLE_SOURCES
};

struct trouble {
    int64_t since_ms; /* wall clock, since 1970; 0: there is none */
    char *why;
};

/* The amount that waits in a stream, as Redis said it last; its holder keeps it up to date. */
struct stream_gauge {
    bool known;
    int64_t lag; /* entries that the group has not read; -1: Redis does not know, there are some */
    int64_t pending;   /* entries read and not acknowledged */
    int64_t oldest_ms; /* when the oldest of both was added, since 1970; 0: there is none */
};

/* The monitor's: which entry was the oldest that waits, and since when (monotonic). */
struct stream_standing {
    int64_t oldest_ms; /* of the gauge; 0: nothing waits */
    int64_t since_ms;
};

/* Records that PostgreSQL has lost and Redis holds no more. The Redis side finds it, the PostgreSQL
 * side stores it. */
struct stream_incident {
    const char *what; /* a literal */
    struct stream_entry_id from, to;
    int64_t from_n, to_n; /* loading transactions */
};

struct stream {
    char name[STREAM_NAME_BYTES];
    char exchange[LIMIT_EXCHANGE_BYTES + 1];
    char lane[LIMIT_EXCHANGE_BYTES + 1];
    char random_id[STREAM_ID_DIGITS + 1]; /* "": Redis has not been asked yet */
    bool id_wanted;                       /* a look has found it, and Redis is asked for the id */
    int64_t lock_key;                     /* stream_lease_key(), as it was when it was leased */
    bool key_taken;                       /* another stream has the same lock_key */
    enum stream_state state;
    struct node *node;       /* the server that it is on; NULL: not known */
    struct redis_link *link; /* to it */
    uint32_t connection;     /* counts them: entry ids of another one may be other records */
    unsigned retry_ms;       /* set aside, as its slot is being moved: tried again after so long */
    int64_t retry_at_ms;     /* GROUPING: so, or put back; 0: neither */
    int64_t aside_since_ms;
    struct stream_entry_id last_read;    /* the doorbell waits behind it */
    struct stream_entry_id claim_cursor; /* CLAIMING, RELOADING: where the next step begins */
    bool reloaded;                       /* --from is done */
    bool reload_wanted; /* PostgreSQL went back: the tail from reload_from on is loaded again, and
                           until that is committed nothing is trimmed */
    bool reload_read;   /* RELOADING: all of it was read */
    struct stream_entry_id reload_from;
    size_t in_hand;       /* entries in batches */
    bool seen, present;   /* found in this look for streams; in the last complete ones */
    unsigned unseen;      /* complete looks in a row that did not find it */
    bool asked;           /* a read of it is under way: it may still bring entries */
    bool rung;            /* in a cluster: it has something new, and is read in the next round */
    bool waited_for;      /* a connection of the doorbell waits for it, behind last_read */
    bool nothing_pending; /* CLAIMING: Redis has said so with the claim, so nothing is asked for */
    bool claim_wanted;    /* READING: claim again once no entry is in a batch */
    bool claim_again;     /* CLAIMING: an entry found no room in the batch and is still pending */
    struct stream_gauge gauge;
    struct stream_standing standing;
    int64_t gauged_at_ms, trimmed_at_ms; /* when Redis was asked last; CLOCK_MONOTONIC */
    struct stream_entry_id gauged_id;    /* last_read then */
    struct stream_entry_id
        large_next,        /* a large entry that the group has not read; 0-0: none ... */
        large_behind;      /* ... while it has read to there */
    int64_t pending_at_ms; /* the same for the look at what is pending */
    struct stream_entry_id pending_id;
    bool any_pending;            /* something was then */
    bool acknowledged;           /* something was, since it was trimmed last */
    uint64_t rows[RECORD_KINDS]; /* committed by this process */
    uint64_t rejected;
    uint64_t progress;      /* FREE: a fingerprint of how far its holder is ... */
    int64_t progress_at_ms; /* ... and since when it has been so with entries waiting; 0: nothing
                               waits */
    bool held_up;        /* what the batch loaded last has of it was not: somebody holds a lock */
    unsigned held_times; /* so often in a row */
    int64_t loaded_n;    /* loading transactions of this stream that the server has committed */
    struct stream_entry_id loaded_id; /* the newest entry among them */
    struct stream_incident *incident; /* to be stored; NULL: none */
    struct trouble troubles[TROUBLE_SOURCES];
};

/* The PostgreSQL that is loaded, by its newest row of blotter_internal.history. */
struct stream_history {
    char id[40];     /* "": not known, then no stream is fenced */
    char system[24]; /* pg_control_system's identifier */
    int timeline;
    char *chain;  /* the ids of all its rows, comma separated; NULL: none */
    bool accepts; /* a person ran `migrate --accept-history`: any stream may be taken over */
};

struct streams {
    struct stream **all; /* sorted by name; an element never moves or goes away */
    size_t count, capacity;
    struct stream **index; /* by lock_key */
    size_t indexed, index_capacity;
    size_t max_streams, max_lanes; /* of an exchange; 0: any number */
    size_t left_out;               /* names refused since they were counted last */
    const char *group;             /* the consumer group that reads them */
    bool beside; /* a group beside the drainers': it acknowledges, but neither confirms nor trims */
    struct stream_history history;
    struct trouble troubles[TROUBLE_SOURCES]; /* of no stream, or of all */
};

/* Finds or adds. NULL: not a name of ours, or more than the limits allow, which is a trouble. */
struct stream *streams_add(struct streams *, const char *name, size_t length);
struct stream *streams_find(const struct streams *, const char *name,
                            size_t length); /* NULL: not known */
void streams_release(struct streams *);

/* Changes the stream's state, which nothing else does. */
void stream_enter(struct stream *, enum stream_state);

/* Leaves a stream alone for a while, and then claims what the batches had of it, from which the
 * caller removes it. */
void stream_put_back(struct stream *, unsigned ms);
bool stream_is_held(const struct stream *);
bool stream_is_left(const struct stream *); /* LEAVING, and nothing of it is in hand any more */

/* Returns the number of the advisory lock that is a stream's lease: SHA-256 of its random id and
 * its name, cut to 64 bits. A name alone could be forged into another's number. */
int64_t stream_lease_key(const struct stream *);

/* Gives a stream that number. Where another stream has the same, which takes 2^32 tries of somebody
 * who may write random ids, it is not leased until one of them has another: a trouble says so. */
void streams_set_lock_key(struct streams *, struct stream *, int64_t key);

/* Collects those to be read from the node into out, which has room for all. Returns how many. */
size_t streams_to_read(const struct streams *, const struct node *, struct stream **out);
size_t streams_held(const struct streams *);
size_t streams_kept(const struct streams *); /* of these, without those that are being given up */

/* Notes, and logs when it changes, what stands in the way; `since` stays while the source has any.
 * stream NULL: no stream in particular. */
void streams_trouble(struct streams *, struct stream *, enum trouble_source, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
void streams_trouble_over(struct streams *, struct stream *, enum trouble_source);

/* Calls put for every trouble there is; object is a stream's name or "drain". */
typedef void streams_put_trouble(void *arg, const char *object, int64_t since_ms, const char *why);
void streams_each_trouble(const struct streams *, streams_put_trouble *put, void *arg);

#endif
