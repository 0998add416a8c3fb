/* redis_visit.c: see redis_visit.h. */
#include "producer/redis_visit.h"

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "producer/redis_reader.h"
#include "producer/redis_tls.h"
#include "producer/redis_url.h"
#include "schema/clock.h"
#include "schema/text.h"

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
    text_clean(visit->why);
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

static bool redis_visit_send(redisContext *context, int count, const char *const *words)
{
    int done = 0;

    if (redisAppendCommandArgv(context, count, (const char **)(uintptr_t)words, NULL) != REDIS_OK) {
        return false;
    }
    while (done == 0) {
        if (redisBufferWrite(context, &done) != REDIS_OK) {
            return false;
        }
    }
    return true;
}

/* Reads more of an answer. False: it is late, or lost, which is noted. */
static bool redis_visit_read(struct redis_visit *visit, int64_t deadline_ms, size_t *bytes)
{
    int64_t left_ms = deadline_ms - clock_monotonic_ms();
    redisContext *context = visit->context;
    size_t before = context->reader->len;

    if (left_ms <= 0 || *bytes > REDIS_VISIT_ANSWER_BYTES) {
        redis_visit_fail(visit,
                         left_ms <= 0 ? "its answer does not end" : "its answer is too large");
        return false;
    }
    redisSetTimeout(context, (struct timeval){.tv_usec = left_ms * 1000});
    if (redisBufferRead(context) != REDIS_OK) {
        redis_visit_lost(visit, true, true);
        return false;
    }
    *bytes += context->reader->len - before;
    return true;
}

/* Waits for all of an answer at most so long: hiredis by itself would wait anew for each byte, and
 * keep all that come. */
redisReply *redis_visit_ask(struct redis_visit *visit, int count, const char *const *words)
{
    int64_t deadline_ms = clock_monotonic_ms() + REDIS_VISIT_TIMEOUT_MS;
    void *reply = NULL;
    size_t bytes = 0;

    if (!redis_visit_send(visit->context, count, words)) {
        redis_visit_lost(visit, true, true);
        return NULL;
    }
    while (reply == NULL) {
        if (!redis_visit_read(visit, deadline_ms, &bytes)) {
            return NULL;
        }
        if (redisReaderGetReply(visit->context->reader, &reply) != REDIS_OK) {
            redis_visit_fail(visit, visit->context->reader->errstr);
            return NULL;
        }
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
    redis_reader_bound(visit->context->reader);
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
