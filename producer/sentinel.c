/* sentinel.c: see sentinel.h. */
#include "producer/sentinel.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/background.h"

static void sentinel_failed(const struct redis_host *at, const char *why,
                            struct sentinel_answer *answer)
{
    snprintf(answer->why, sizeof answer->why, "sentinel %.64s:%d: %.160s", at->host, at->port, why);
}

static void sentinel_free(redisReply *reply)
{
    if (reply != NULL) {
        freeReplyObject(reply);
    }
}

/* Logs in where the URL has a password for sentinels. False: refused. */
static bool sentinel_login(redisContext *context, const struct redis_url *url,
                           const struct redis_host *at, struct sentinel_answer *answer)
{
    const char *words[] = {"AUTH", url->sentinel_user, url->sentinel_password};
    bool named = url->sentinel_user[0] != '\0';
    redisReply *reply;

    if (url->sentinel_password[0] == '\0') {
        return true;
    }
    words[1] = named ? words[1] : words[2];
    reply = redisCommandArgv(context, named ? 3 : 2, words, NULL);
    bool ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    if (!ok) {
        sentinel_failed(at, reply == NULL ? context->errstr : reply->str, answer);
    }
    sentinel_free(reply);
    return ok;
}

static void sentinel_take_answer(const redisReply *reply, const struct redis_url *url,
                                 const struct redis_host *at, struct sentinel_answer *answer)
{
    char why[160];

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING &&
        strlen(reply->element[0]->str) < sizeof answer->host) {
        snprintf(answer->host, sizeof answer->host, "%s", reply->element[0]->str);
        answer->port = atoi(reply->element[1]->str);
        answer->found = answer->host[0] != '\0' && answer->port > 0 && answer->port < 65536;
    }
    if (!answer->found) {
        snprintf(why, sizeof why, "it knows no master named %.64s%s%.60s", url->service,
                 reply->type == REDIS_REPLY_ERROR ? ": " : "",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "");
        sentinel_failed(at, why, answer);
    }
}

static void ask_one(const struct redis_url *url, const struct redis_host *at,
                    struct sentinel_answer *answer)
{
    struct timeval timeout = {SENTINEL_TIMEOUT_MS / 1000, SENTINEL_TIMEOUT_MS % 1000 * 1000};
    const char *words[] = {"SENTINEL", "get-master-addr-by-name", url->service};
    redisContext *context = redisConnectWithTimeout(at->host, at->port, timeout);

    if (context == NULL || context->err != 0) {
        sentinel_failed(at, context == NULL ? "out of memory" : context->errstr, answer);
    } else {
        redisSetTimeout(context, timeout);
        if (sentinel_login(context, url, at, answer)) {
            redisReply *reply = redisCommandArgv(context, 3, words, NULL);

            if (reply == NULL) {
                sentinel_failed(at, context->errstr, answer);
            } else {
                sentinel_take_answer(reply, url, at, answer);
            }
            sentinel_free(reply);
        }
    }
    if (context != NULL) {
        redisFree(context);
    }
}

void sentinel_ask(const struct redis_url *url, unsigned first, struct sentinel_answer *answer)
{
    memset(answer, 0, sizeof *answer);
    for (unsigned i = 0; i < url->host_count && !answer->found; i++) {
        answer->sentinel = (first + i) % url->host_count;
        ask_one(url, &url->hosts[answer->sentinel], answer);
    }
}

/* --- in the background --- */

struct question {
    struct redis_url url; /* a copy, with its passwords */
    unsigned first;
    struct sentinel_answer answer;
    sentinel_done *done;
    void *owner;
};

static void question_work(void *task)
{
    struct question *question = task;
    sentinel_ask(&question->url, question->first, &question->answer);
}

static void question_done(void *task)
{
    struct question *question = task;
    question->done(question->owner, &question->answer);
}

static void question_release(void *task)
{
    struct question *question = task;
    explicit_bzero(&question->url, sizeof question->url);
    free(question);
}

struct background *sentinel_start(struct event_base *base, const struct redis_url *url,
                                  unsigned first, sentinel_done *done, void *owner)
{
    static const struct background_task task = {question_work, question_done, question_release};
    struct question *question = malloc(sizeof *question);
    if (question == NULL) {
        return NULL;
    }
    *question = (struct question){.url = *url, .first = first, .done = done, .owner = owner};
    return background_start(base, &task, question);
}
