/* sentinel.h: asks Redis' sentinels which server is the master.
 *
 * Each is asked in turn, for at most half a second (redis_visit.h), the one that answered last
 * first. What they say is a hint: a sentinel of a minority names the old master. Its configuration
 * epoch is lower then, which every failover raises; so the answer with the highest is right.
 * The caller connects there, makes sure by ROLE, and asks again if that is no master. */
#ifndef BLOTTER_PRODUCER_SENTINEL_H
#define BLOTTER_PRODUCER_SENTINEL_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/redis_url.h"
#include "producer/redis_visit.h"

struct background;
struct event_base;
struct redisReply;

struct sentinel_answer {
    bool found;
    unsigned sentinel;               /* which of the URL's hosts answered */
    char host[REDIS_URL_HOST_BYTES]; /* of the master */
    int port;
    int64_t epoch; /* in which it became the master; -1: the sentinel does not let us ask */
    char why[REDIS_VISIT_WHY_BYTES]; /* not found: what the last one said; holds no secret */
};

/* Takes the answer to SENTINEL get-master-addr-by-name. False: it names no master. */
bool sentinel_address_parse(const struct redisReply *, struct redis_host *master);

/* Takes the configuration epoch from the answer to SENTINEL MASTER; -1: it has none. */
int64_t sentinel_epoch_parse(const struct redisReply *);

/* Says whether the server that has answered ROLE with that is a master. */
bool sentinel_is_master(const struct redisReply *role);

/* Blocks until one has answered with an epoch that is not lower than `known`, or all were asked,
 * beginning with the URL's host number `first`. Takes the answer with the highest. */
void sentinel_ask(const struct redis_url *, unsigned first, int64_t known,
                  struct sentinel_answer *);

typedef void sentinel_done(void *owner, const struct sentinel_answer *);

/* Does the same without blocking the loop; to be cancelled by background_cancel until `done` is
 * called. NULL: no memory, descriptor or thread (errno says which). */
struct background *sentinel_start(struct event_base *, const struct redis_url *, unsigned first,
                                  int64_t known, sentinel_done *, void *owner);

#endif
