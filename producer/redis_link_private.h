/* redis_link_private.h: a connection, for the files that share it, from the top down: redis_link.c
 * (its life and its commands), redis_connect.c (an attempt, until the socket is connected),
 * redis_greeting.c (the first commands on it), redis_moves.c (whether its master is elsewhere by
 * now), redis_link_state.c (its states). */
#ifndef BLOTTER_PRODUCER_REDIS_LINK_PRIVATE_H
#define BLOTTER_PRODUCER_REDIS_LINK_PRIVATE_H

#include <event2/event.h>
#include <hiredis/async.h>
#include <stdbool.h>
#include <stdint.h>

#include "producer/background.h"
#include "producer/cluster.h"
#include "producer/in_flight.h"
#include "producer/redis_link.h"
#include "producer/redis_reader.h"
#include "producer/redis_tls.h"
#include "producer/redis_url.h"
#include "producer/redis_visit.h"

struct redis_link {
    struct redis_link_options options;
    struct redis_url url;
    char *name;
    enum redis_link_state state;
    struct event *timer;         /* of the current state */
    struct event *settle;        /* what callbacks of hiredis have noted is done here */
    struct background *lookup;   /* RESOLVING: of the host's name, or of the master */
    struct background *question; /* UP: to sentinels or other nodes, whether the master has moved */
    unsigned first_asked;        /* the one of them that answered last */
    int64_t master_epoch;        /* the sentinels' epoch of the master that we know */
    int64_t asked_ms;            /* when they were asked last, or the link came up */
    char doubt[REDIS_VISIT_WHY_BYTES]; /* none of them has answered the last question: why not */
    char *stream;                      /* of a cluster; NULL: the link goes to one node */
    struct redis_host learned[CLUSTER_LEARNED]; /* nodes that were named to us */
    unsigned learned_count, learned_next;
    struct cluster_redirect redirect; /* where to go next; port 0: nowhere in particular */
    unsigned redirects;               /* in a row */
    int64_t redirected_ms;            /* the first of them */
    bool asking;                      /* at a node that does not own the slot yet */
    redisAsyncContext *context;
    struct redis_reader *reader; /* of the context, which frees it */
    unsigned
        attempts; /* in a row that did not lead to a lasting connection; also picks the address */
    unsigned greetings;    /* answers to the greeting that are still to come */
    bool told_up;          /* the owner's last on_change said up */
    int64_t round_trip_ms; /* of answers that did not wait for others */
    bool timing;           /* the oldest command in flight was sent when none was */
    int64_t since_ms;      /* when this state began */
    int64_t heard_ms;      /* when the last answer came */
    struct in_flight_queue in_flight;
    unsigned seed;
    char last_error[256];
    struct redis_tls *tls; /* NULL: without */
};

/* --- redis_link_state.c --- */

/* Enters a state and arms its timer. */
void redis_link_set_state(struct redis_link *, enum redis_link_state);

/* Arms the timer of UP again. */
void redis_link_watch_on(struct redis_link *);

/* Notes the end of an attempt or a connection; the rest is done by `settle`. Callable anywhere, any
 * number of times. */
void redis_link_lose(struct redis_link *, const char *why);

/* Does the same, where a command got no answer. */
void redis_link_lose_connection(struct redis_link *, const redisAsyncContext *);

/* Stops looking for a host or a master. */
void redis_link_cancel_lookups(struct redis_link *);

/* Says whether there is an attempt or a connection, not given up yet. */
bool redis_link_is_open(const struct redis_link *);

/* --- redis_connect.c --- */

/* Begins an attempt: to the URL's host, or to the master that sentinels or nodes name. */
void redis_link_attempt(struct redis_link *);

/* --- redis_greeting.c --- */

/* Sends the first commands of a connection. */
void redis_link_greet(struct redis_link *);

/* Makes a command that asks for nothing of the stream: only its master does not send us on. */
const char **redis_link_stream_question(const struct redis_link *, const char *words[6]);

/* --- redis_moves.c --- */

/* Remembers a node of the cluster. */
void redis_link_learn(struct redis_link *, const struct redis_host *node);

/* Asks the cluster's nodes, but for `avoid` (NULL: all), for the master of the stream's slot. NULL:
 * errno. */
struct background *redis_link_ask_nodes(struct redis_link *, const struct redis_host *avoid,
                                        cluster_done *done);

/* Asks sentinels or other nodes, unless they are being asked: while an answer is late the master
 * may be dead or cut off, and another be in its place. Sentinels are asked now and then in any
 * case: a master that is cut off from them, and not from us, goes on answering. */
void redis_link_ask_others(struct redis_link *, int64_t late_ms);

#endif
