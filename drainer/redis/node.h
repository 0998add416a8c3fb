/* node.h: a Redis server that the intake reads: the only one, or a master of a cluster. It has the
 * connection that reads, acknowledges and confirms, and the doorbell. One thread. */
#ifndef BLOTTER_DRAINER_REDIS_NODE_H
#define BLOTTER_DRAINER_REDIS_NODE_H

#include "drainer/redis/reading.h"
#include "producer/redis_url.h"

struct doorbell;
struct intake;
struct intake_options;
struct redis_link;

struct node {
    struct intake *intake;
    struct redis_host host;               /* of a cluster; else empty */
    char name[REDIS_URL_HOST_BYTES + 32]; /* for messages: "Redis", "Redis node 10.0.0.2:7001" */
    struct redis_link *link;
    struct doorbell *doorbell;
    struct reading reading;
    unsigned error_pause_ms;
    int64_t paused_until_ms;
    int64_t maxmemory;      /* 0: none, or not known */
    int64_t keys;           /* that it held when they were counted last; -1: not known */
    bool listed;            /* by the cluster's last answer */
    int64_t unlisted_at_ms; /* since when it is not */
};

/* Makes a node. host: of a master of the cluster that the settings name; NULL: the server that they
 * name. NULL with a message in error, when the settings are wrong. */
struct node *node_create(struct intake *, const struct intake_options *,
                         const struct redis_host *host, char *error, size_t error_size);
void node_destroy(struct node *); /* takes NULL; no stream leads to it any more */
void node_start(struct node *);

bool node_is_up(const struct node *);

/* Reads or claims more of its streams, or waits at the doorbell where there is nothing to read. */
void node_read(struct node *);

/* Pauses reading, longer each time, until node_go_on: Redis refuses something. */
void node_pause(struct node *);
void node_go_on(struct node *);

#endif
