/* redis_greeting.c: the first commands of a connection: who we are, which database, and whether the
 * server is the one that we want. */
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "producer/redis_error.h"
#include "producer/redis_link_private.h"
#include "producer/sentinel.h"

/* Says whether the connection can be used. AUTH and SELECT must succeed. The last command only
 * shows that the server talks to us: an ACL may forbid CLIENT, and PING is refused while the disk
 * is full, but without a password or a free connection there is nothing to do here. */
static bool greeting_accepted(const redisReply *reply, bool must_succeed)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return true;
    }
    enum redis_error_action action = redis_error_action(reply->str);
    return !must_succeed && action != REDIS_ERROR_LOGIN && action != REDIS_ERROR_CLIENTS;
}

const char **redis_link_stream_question(const struct redis_link *link, const char *words[6])
{
    const char *question[] = {"XRANGE", link->stream, "+", "-", "COUNT", "1"};
    memcpy(words, question, sizeof question);
    return words;
}

/* The purpose of a command of the greeting. */
enum greeting { GREETING_MAY_FAIL, GREETING_MUST_SUCCEED, GREETING_ROLE, GREETING_STREAM };

/* Says whether the node does not serve the stream, now or at all. A missing right is no reason to
 * leave. */
static bool is_no_node(const redisReply *reply)
{
    enum redis_error_action action =
        reply->type == REDIS_REPLY_ERROR ? redis_error_action(reply->str) : REDIS_ERROR_OTHER;
    return action == REDIS_ERROR_WAIT || action == REDIS_ERROR_RESET;
}

static const char *greeting_fault(const redisReply *reply, enum greeting greeting)
{
    if (!greeting_accepted(reply, greeting != GREETING_MAY_FAIL)) {
        return reply->str;
    }
    if (greeting == GREETING_ROLE && !sentinel_is_master(reply)) {
        return "the server that the sentinels name is not the master";
    }
    return greeting == GREETING_STREAM && is_no_node(reply) ? reply->str : NULL;
}

static void on_greeting(redisAsyncContext *context, void *reply, void *greeting)
{
    struct redis_link *link = context->data;
    if (reply == NULL) {
        redis_link_lose_connection(link, context);
        return;
    }
    const char *fault = greeting_fault(reply, (enum greeting)(uintptr_t)greeting);
    link->greetings--;
    if ((enum greeting)(uintptr_t)greeting == GREETING_STREAM &&
        ((const redisReply *)reply)->type == REDIS_REPLY_ERROR &&
        redis_link_follow(link, ((const redisReply *)reply)->str)) {
        return;
    }
    if (fault != NULL) {
        redis_link_lose(link, fault);
    } else if (link->greetings == 0 && link->state == REDIS_LINK_GREETING) {
        event_active(link->settle, 0, 0);
    }
}

static void greet_with(struct redis_link *link, enum greeting greeting, int argc, const char **argv)
{
    link->greetings++;
    if (redisAsyncCommandArgv(link->context, on_greeting, (void *)(uintptr_t)greeting, argc, argv,
                              NULL) != REDIS_OK) {
        redis_link_lose(link, "out of memory");
    }
}

void redis_link_greet(struct redis_link *link)
{
    const struct redis_url *url = &link->url;
    char db[16];
    snprintf(db, sizeof db, "%d", url->db);
    link->greetings = 0;
    if (url->password[0] != '\0' && url->user[0] != '\0') {
        greet_with(link, GREETING_MUST_SUCCEED, 3,
                   (const char *[]){"AUTH", url->user, url->password});
    } else if (url->password[0] != '\0') {
        greet_with(link, GREETING_MUST_SUCCEED, 2, (const char *[]){"AUTH", url->password});
    }
    if (url->db != 0) {
        greet_with(link, GREETING_MUST_SUCCEED, 2, (const char *[]){"SELECT", db});
    }
    if (url->sentinel) {
        greet_with(link, GREETING_ROLE, 1, (const char *[]){"ROLE"});
    }
    if (link->asking) {
        greet_with(link, GREETING_MAY_FAIL, 1, (const char *[]){"ASKING"});
    }
    if (link->stream != NULL) {
        const char *words[6];
        greet_with(link, GREETING_STREAM, 6, redis_link_stream_question(link, words));
    }
    if (link->name != NULL) {
        greet_with(link, GREETING_MAY_FAIL, 3, (const char *[]){"CLIENT", "SETNAME", link->name});
    } else {
        greet_with(link, GREETING_MAY_FAIL, 1, (const char *[]){"PING"});
    }
}
