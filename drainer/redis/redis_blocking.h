/* redis_blocking.h: Redis for the commands that ask something and end: one connection, under the
 * same URL and password rules as the library's (redis_url.h). `drain` has redis_link.
 *
 * Every failure is said once, here, in one line on stderr that names the setting and holds no
 * secret. */
#ifndef BLOTTER_DRAINER_REDIS_REDIS_BLOCKING_H
#define BLOTTER_DRAINER_REDIS_REDIS_BLOCKING_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "drainer/commands.h"
#include "drainer/settings_table.h"
#include "producer/redis_url.h"

struct redis_tls;

struct redis {
    const struct settings *settings;
    redisContext *context;
    struct redis_tls *tls; /* NULL: without */
    struct redis_url url;
    bool connected, greeted; /* it was made; the server has let us in */
    int exit_code;           /* of the last failure */
};

/* Connects, authenticates, selects the database. False: said, exit_code is set. Close it in both
 * cases. */
bool redis_open(struct redis *, const struct settings *);
void redis_close(struct redis *);

/* Runs a command of C strings, the last NULL. NULL: the connection is lost; said, exit_code is set.
 * The reply may be an error, and is freed by the caller with freeReplyObject, which does not take
 * NULL with hiredis 0.14: redis_reply_free does. */
redisReply *redis_ask(struct redis *, const char *word, ...) __attribute__((sentinel));
void redis_reply_free(redisReply *);

/* Says what an error reply, or the lost connection if reply is NULL, means for `doing`. Returns the
 * exit code. */
int redis_fail(struct redis *, const redisReply *, const char *doing);

#endif
