/* nodes.h: the servers that the intake reads, and which of them serves each stream.
 *
 * One, unless the settings name a Redis Cluster. Then there is a node for each master that has
 * slots: found by asking the nodes of the URL, asked again every second, at once where a stream is
 * sent elsewhere or a connection is lost. A stream is routed by answers: to any node at first,
 * which says MOVED where it is another. It is never known by where SCAN has seen it, as the node
 * that a slot is moved to shows its keys as well.
 *
 * MOVED      the stream is claimed on the other node, and all that is pending with it
 * ASK, TRYAGAIN, CLUSTERDOWN ...   the stream is set aside and tried again soon: what is read while
 *            half of its slot's keys are elsewhere could not be acknowledged. */
#ifndef BLOTTER_DRAINER_REDIS_NODES_H
#define BLOTTER_DRAINER_REDIS_NODES_H

#include "drainer/redis/node.h"
#include "producer/cluster.h"

struct nodes {
    struct intake *intake;
    const struct intake_options *options;
    bool is_cluster;
    struct redis_url url; /* of the cluster, with its passwords */
    struct node **all;
    size_t count, capacity;
    struct background *question; /* to the nodes, where there is no connection */
    size_t next;                 /* the node to be asked next */
    int64_t asked_at_ms, shown_at_ms;
    char why[256]; /* the nodes do not say which masters there are: what they say */
};

bool nodes_init(struct nodes *, struct intake *, const struct intake_options *, char *error,
                size_t error_size);
void nodes_release(struct nodes *);
void nodes_start(struct nodes *);

/* Asks, now and then, for the masters, routes what has no node, drops nodes that are none. */
void nodes_tick(struct nodes *);

/* Notes that the stream is served by this node from now on; NULL: by none that is known. */
void nodes_route(struct nodes *, struct stream *, struct node *);

/* Takes an error about a stream that says where it is, or that this cannot be said at the moment.
 * False: it is another error. */
bool nodes_take_error(struct nodes *, struct stream *, const char *error);

/* Notes that a command about the stream was answered well. */
void nodes_on_success(struct stream *);

/* Makes a trouble of a node that cannot be reached. */
void nodes_show_trouble(struct nodes *);

bool nodes_any_up(const struct nodes *);
bool nodes_all_up(const struct nodes *); /* and they are known */

#endif
