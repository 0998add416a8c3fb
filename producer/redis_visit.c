/* redis_visit.c: see redis_visit.h. */
#include "producer/redis_visit.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "producer/redis_tls.h"
#include "producer/redis_url.h"

void redis_reply_free(redisReply *reply)
{
    if (reply != NULL) {
        freeReplyObject(reply);
    }
}

void redis_visit_fail(struct redis_visit *visit, const char *why)
{
    char at[REDIS_URL_HOST_BYTES + 16];

    redis_host_format(at, sizeof at, visit->host, visit->port);
    snprintf(visit->why, sizeof visit->why, "%s %.80s: %.160s", visit->what, at, why);
}

/* Says why there is no answer, or no connection. */
static void redis_visit_lost(struct redis_visit *visit, bool connected, bool greeted)
{
    char why[REDIS_VISIT_WHY_BYTES];

    redis_tls_explain(visit->tls, connected, greeted,
                      visit->context == NULL ? "out of memory" : visit->context->errstr, why,
                      sizeof why);
    redis_visit_fail(visit, why);
}

redisReply *redis_visit_ask(struct redis_visit *visit, int count, const char *const *words)
{
    redisReply *reply =
        redisCommandArgv(visit->context, count, (const char **)(uintptr_t)words, NULL);

    if (reply == NULL) {
        redis_visit_lost(visit, true, true);
    }
    return reply;
}

static bool redis_visit_login(struct redis_visit *visit, const char *user, const char *password)
{
    const char *named[] = {"AUTH", user, password}, *nameless[] = {"AUTH", password};
    bool ok = true;

    if (password[0] != '\0') {
        redisReply *reply = user[0] != '\0' ? redis_visit_ask(visit, 3, named)
                                            : redis_visit_ask(visit, 2, nameless);
        ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;
        if (reply != NULL && !ok) {
            redis_visit_fail(visit, reply->str);
        }
        redis_reply_free(reply);
    }
    return ok;
}

/* Reads the files. A build without TLS says so here, before anything is sent. */
static bool redis_visit_prepare_tls(struct redis_visit *visit, const struct redis_url *files)
{
    char error[REDIS_VISIT_WHY_BYTES];

    if (files == NULL) {
        return true;
    }
    visit->tls = redis_tls_create(files, error, sizeof error);
    if (visit->tls == NULL) {
        redis_visit_fail(visit, error);
    }
    return visit->tls != NULL;
}

static bool redis_visit_start_tls(struct redis_visit *visit)
{
    if (visit->tls != NULL && redis_tls_start(visit->tls, visit->host, visit->context) != 0) {
        redis_visit_lost(visit, true, false);
        return false;
    }
    return true;
}

bool redis_visit_begin(struct redis_visit *visit, const struct redis_visit_options *options)
{
    struct timeval timeout = {REDIS_VISIT_TIMEOUT_MS / 1000, REDIS_VISIT_TIMEOUT_MS % 1000 * 1000};

    *visit =
        (struct redis_visit){.what = options->what, .host = options->host, .port = options->port};
    if (!redis_visit_prepare_tls(visit, options->tls_files)) {
        return false;
    }
    visit->context = redisConnectWithTimeout(options->host, options->port, timeout);
    if (visit->context == NULL || visit->context->err != 0) {
        redis_visit_lost(visit, false, false);
        return false;
    }
    redisSetTimeout(visit->context, timeout);
    return redis_visit_start_tls(visit) &&
           redis_visit_login(visit, options->user, options->password);
}

void redis_visit_end(struct redis_visit *visit)
{
    if (visit->context != NULL) {
        redisFree(visit->context);
    }
    redis_tls_destroy(visit->tls);
    visit->context = NULL;
    visit->tls = NULL;
}
