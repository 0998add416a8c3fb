/* redis_blocking.h: Redis for the commands that ask something and end: one connection, under the
 * same URL and password rules as the library's (redis_url.h). `drain` has redis_link.
 *
 * Of a cluster it is a connection to one node at a time. redis_ask follows MOVED and ASK, so a
 * command about a stream is answered by its master; the greeting of a connection follows none. What
 * is about a server goes to each of redis_masters in turn, by redis_go_to.
 *
 * Every failure is said once, here, in one line on stderr that names the setting and holds no
 * secret. */
#ifndef BLOTTER_DRAINER_REDIS_REDIS_BLOCKING_H
#define BLOTTER_DRAINER_REDIS_REDIS_BLOCKING_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "drainer/commands.h"
#include "drainer/settings_table.h"
#include "producer/cluster.h"
#include "producer/redis_url.h"
#include "producer/redis_visit.h"

struct redis_tls;

struct redis {
    const struct settings *settings;
    redisContext *context;
    struct redis_tls *tls; /* NULL: without */
    struct redis_url url;  /* its host and port are those of the connection */
    struct redis_place {   /* connections to other nodes of a cluster, kept for later */
        struct redis_host host;
        redisContext *context;
    } * places;
    size_t place_count, place_capacity;
    bool connected, greeted; /* it was made; the server has let us in */
    int exit_code;           /* of the last failure */
};

/* Connects, authenticates, selects the database. False: the error has been printed, exit_code is
 * set. Close it in both cases. */
bool redis_open(struct redis *, const struct settings *);
void redis_close(struct redis *);

/* Runs a command of C strings, the last NULL. NULL: the connection is lost; said, exit_code is set.
 * The reply may be an error, and is freed by the caller with redis_reply_free. */
redisReply *redis_ask(struct redis *, const char *word, ...) __attribute__((sentinel));

/* Lists the masters of a cluster; else the one server. False: the error has been printed, exit_code
 * is set. */
bool redis_masters(struct redis *, struct cluster_masters *);

/* Connects to this node of the cluster. False: the error has been printed, exit_code is set. */
bool redis_go_to(struct redis *, const struct redis_host *);

/* Says what an error reply, or the lost connection if reply is NULL, means for `doing`. Returns the
 * exit code. */
int redis_fail(struct redis *, const redisReply *, const char *doing);

#endif
