/* redis_blocking.c: see redis_blocking.h. */
#include "drainer/redis/redis_blocking.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "producer/redis_error.h"
#include "producer/redis_tls.h"
#include "producer/sentinel.h"

enum { WORDS_MAX = 16 };

void redis_reply_free(redisReply *reply)
{
    if (reply != NULL) {
        freeReplyObject(reply);
    }
}

/* A server that does not let us in is as good as none. */
static enum exit_code code_of(const redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return EXIT_CODE_UNREACHABLE;
    }
    switch (redis_error_action(reply->str)) {
    case REDIS_ERROR_LOGIN:
    case REDIS_ERROR_CLIENTS:
    case REDIS_ERROR_WAIT:
        return EXIT_CODE_UNREACHABLE;
    case REDIS_ERROR_RIGHTS:
        return EXIT_CODE_USAGE;
    default:
        return EXIT_CODE_NO;
    }
}

int redis_fail(struct redis *redis, const redisReply *reply, const char *doing)
{
    const char *why = redis->context == NULL ? "out of memory" : redis->context->errstr;
    char explained[256];

    if (reply == NULL && redis->context != NULL && redis->context->err == REDIS_ERR_IO &&
        errno == EAGAIN) {
        why = "no answer in the time given by the setting connect_timeout";
    }
    if (reply == NULL) {
        redis_tls_explain(redis->tls, redis->connected, redis->greeted, why, explained,
                          sizeof explained);
        why = explained;
    }
    if (reply != NULL) {
        why = reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of an unexpected kind";
    }
    redis->exit_code = code_of(reply);
    return command_fail(redis->settings, (enum exit_code)redis->exit_code,
                        "setting redis: %s: %s: %s", redis->url.place, doing, why);
}

redisReply *redis_ask(struct redis *redis, const char *word, ...)
{
    const char *words[WORDS_MAX] = {word};
    int count = 1;
    va_list arguments;

    va_start(arguments, word);
    while (count < WORDS_MAX && (words[count] = va_arg(arguments, const char *)) != NULL) {
        count++;
    }
    va_end(arguments);
    redisReply *reply = redisCommandArgv(redis->context, count, words, NULL);
    if (reply == NULL) {
        redis_fail(redis, NULL, "connection lost");
    }
    return reply;
}

static bool start_tls(struct redis *redis)
{
    if (redis->tls != NULL && redis_tls_start(redis->tls, redis->url.host, redis->context) != 0) {
        redis_fail(redis, NULL, "cannot connect");
        return false;
    }
    return true;
}

/* False: the error has been printed. */
static bool expect_ok(struct redis *redis, redisReply *reply, const char *doing)
{
    bool ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;

    if (reply != NULL && !ok) {
        redis_fail(redis, reply, doing);
    }
    redis_reply_free(reply);
    return ok;
}

static bool redis_blocking_greet(struct redis *redis)
{
    const struct redis_url *url = &redis->url;
    char db[16];

    if (url->password[0] != '\0') {
        redisReply *reply = url->user[0] != '\0'
                                ? redis_ask(redis, "AUTH", url->user, url->password, NULL)
                                : redis_ask(redis, "AUTH", url->password, NULL);
        if (!expect_ok(redis, reply, "cannot log in")) {
            return false;
        }
    }
    snprintf(db, sizeof db, "%d", url->db);
    if (url->db != 0 &&
        !expect_ok(redis, redis_ask(redis, "SELECT", db, NULL), "cannot select the database")) {
        return false;
    }
    return expect_ok(redis, redis_ask(redis, "PING", NULL), "cannot be used");
}

/* Asks the sentinels where the master is. False: the error has been printed. */
static bool find_master(struct redis *redis)
{
    struct sentinel_answer answer;

    sentinel_ask(&redis->url, 0, &answer);
    if (!answer.found) {
        redis->exit_code = EXIT_CODE_UNREACHABLE;
        command_fail(redis->settings, EXIT_CODE_UNREACHABLE, "setting redis: %s: %s",
                     redis->url.place, answer.why);
        return false;
    }
    snprintf(redis->url.host, sizeof redis->url.host, "%s", answer.host);
    redis->url.port = answer.port;
    return true;
}

/* The server that sentinels name may be the old master. False: the error has been printed. */
static bool expect_master(struct redis *redis)
{
    redisReply *reply = redis_ask(redis, "ROLE", NULL);
    bool master = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
                  reply->element[0]->type == REDIS_REPLY_STRING &&
                  strcmp(reply->element[0]->str, "master") == 0;

    if (reply != NULL && !master) {
        redis->exit_code = EXIT_CODE_UNREACHABLE;
        command_fail(redis->settings, EXIT_CODE_UNREACHABLE,
                     "setting redis: %s: the server that the sentinels name, %s:%d, is not the "
                     "master; try again once they have agreed",
                     redis->url.place, redis->url.host, redis->url.port);
    }
    redis_reply_free(reply);
    return master;
}

static bool connect_now(struct redis *redis)
{
    int64_t ms = redis->settings->connect_timeout;
    struct timeval timeout = {ms / 1000, ms % 1000 * 1000};

    redis->context = redis->url.unix_socket
                         ? redisConnectUnixWithTimeout(redis->url.host, timeout)
                         : redisConnectWithTimeout(redis->url.host, redis->url.port, timeout);
    if (redis->context == NULL || redis->context->err != 0) {
        redis_fail(redis, NULL, "cannot connect");
        return false;
    }
    redisSetTimeout(redis->context, timeout);
    redis->connected = true;
    return true;
}

bool redis_open(struct redis *redis, const struct settings *settings)
{
    char error[512];

    *redis = (struct redis){.settings = settings, .exit_code = EXIT_CODE_USAGE};
    if (redis_url_parse(&redis->url, settings->redis, error, sizeof error) != 0) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
        return false;
    }
    if (settings->redis_password != NULL) {
        snprintf(redis->url.password, sizeof redis->url.password, "%s", settings->redis_password);
    }
    if (redis->url.tls &&
        (redis->tls = redis_tls_create(&redis->url, error, sizeof error)) == NULL) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
        return false;
    }
    redis->greeted = (!redis->url.sentinel || find_master(redis)) && connect_now(redis) &&
                     start_tls(redis) && redis_blocking_greet(redis) &&
                     (!redis->url.sentinel || expect_master(redis));
    return redis->greeted;
}

void redis_close(struct redis *redis)
{
    if (redis->context != NULL) {
        redisFree(redis->context);
    }
    redis_tls_destroy(redis->tls);
    explicit_bzero(&redis->url, sizeof redis->url);
}
