/* cluster.h: finds the nodes of a Redis Cluster: the one that serves a stream, and all masters.
 *
 * A stream is one key, so it has one slot, and one master serves it. Whoever else is asked for it
 * answers "MOVED slot host:port". While a slot is being moved, its old master answers "ASK slot
 * host:port" for keys that it has not any more: the new one serves them to a client that says
 * ASKING before each command.
 *
 * The nodes of the URL (the seeds) are asked whatever happens: a list that is learned can lose its
 * last good member. What nodes say of others is a hint; the node itself, once it is asked, knows.
 */
#ifndef BLOTTER_PRODUCER_CLUSTER_H
#define BLOTTER_PRODUCER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "producer/redis_url.h"
#include "producer/redis_visit.h"

struct background;
struct event_base;
struct redisReply;

enum {
    CLUSTER_LEARNED = 8,   /* nodes that a producer remembers beside the seeds */
    CLUSTER_MASTERS = 512, /* more are not looked at */
};

struct cluster_redirect {
    bool ask; /* only for what is asked next */
    int slot;
    struct redis_host to;
};

/* Parses "MOVED 9051 10.0.0.2:7001" and "ASK ...". `here`: the host that said it, which is meant
 * where the answer names none. False: it is another error. */
bool cluster_redirect_parse(const char *error, const char *here, struct cluster_redirect *);

/* --- the node of one stream --- */

struct cluster_question {
    const struct redis_url *url; /* user, password, TLS; its hosts are the seeds */
    const struct redis_host *learned;
    size_t learned_count;
    const struct redis_host *avoid; /* NULL, or a node that is not asked: it does not answer */
    unsigned first;                 /* which of the nodes is asked first */
    const char *stream;
};

struct cluster_answer {
    bool found;
    struct redis_host master;
    char address[64];                /* of the master, as a number; "": not known */
    char why[REDIS_VISIT_WHY_BYTES]; /* not found: what the last one said; holds no secret */
};

typedef void cluster_done(void *owner, const struct cluster_answer *);

/* Asks the nodes, one after the other, without blocking the loop; to be cancelled by
 * background_cancel until `done` is called. NULL: no memory, descriptor or thread (errno). */
struct background *cluster_start(struct event_base *, const struct cluster_question *,
                                 cluster_done *, void *owner);

/* --- all masters --- */

struct cluster_masters {
    struct redis_host *nodes;
    size_t count;
};

/* Takes the answer to CLUSTER SLOTS of the node `here`: each master that has slots, once. False:
 * the answer has another shape, or there is none. */
bool cluster_masters_parse(const struct redisReply *, const struct redis_host *here,
                           struct cluster_masters *);

typedef void cluster_masters_done(void *owner, const struct cluster_masters *, const char *why);

/* Asks one node after the other in the background. Where none has answered `done` gets no masters,
 * and what the last one said. */
struct background *cluster_masters_start(struct event_base *, const struct cluster_question *,
                                         cluster_masters_done *, void *owner);

void cluster_masters_release(struct cluster_masters *);

bool cluster_host_equal(const struct redis_host *, const struct redis_host *);

#endif
