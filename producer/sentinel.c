/* sentinel.c: see sentinel.h. */
#include "producer/sentinel.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/background.h"
#include "producer/redis_visit.h"

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

bool sentinel_address_parse(const redisReply *reply, struct redis_host *master)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !is_text(reply->element[0]) ||
        !is_text(reply->element[1])) {
        return false;
    }
    const redisReply *host = reply->element[0], *port = reply->element[1];
    if (host->len == 0 || host->len >= sizeof master->host || strlen(host->str) != host->len ||
        !redis_port_parse(port->str, port->len, &master->port)) {
        return false;
    }
    memcpy(master->host, host->str, host->len + 1);
    return true;
}

/* Reads an epoch; -1: it is none. One more than it is asked for, so the greatest number is none. */
static int64_t epoch_of(const redisReply *value)
{
    char *end;

    errno = 0;
    int64_t epoch = is_text(value) ? strtoll(value->str, &end, 10) : -1;
    return epoch >= 0 && errno == 0 && epoch < INT64_MAX && *end == '\0' && end != value->str
               ? epoch
               : -1;
}

int64_t sentinel_epoch_parse(const redisReply *reply)
{
    int64_t epoch = -1;

    for (size_t i = 1; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i += 2) {
        const redisReply *name = reply->element[i - 1];

        if (is_text(name) && strcmp(name->str, "config-epoch") == 0) {
            epoch = epoch_of(reply->element[i]);
        }
    }
    return epoch;
}

bool sentinel_is_master(const redisReply *role)
{
    return role->type == REDIS_REPLY_ARRAY && role->elements > 0 && is_text(role->element[0]) &&
           strcmp(role->element[0]->str, "master") == 0;
}

static void sentinel_take_answer(struct redis_visit *visit, const redisReply *reply,
                                 const char *service, struct sentinel_answer *answer)
{
    struct redis_host master;
    char why[160];

    answer->found = sentinel_address_parse(reply, &master);
    if (answer->found) {
        memcpy(answer->host, master.host, sizeof answer->host);
        answer->port = master.port;
    } else {
        snprintf(why, sizeof why, "it knows no master named %.64s%s%.60s", service,
                 reply->type == REDIS_REPLY_ERROR ? ": " : "",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "");
        redis_visit_fail(visit, why);
    }
}

/* Asks for the epoch, before the address is asked for: an epoch that is higher than the address's
 * would hide the next one. */
static int64_t ask_for_epoch(struct redis_visit *visit, const char *service)
{
    const char *words[] = {"SENTINEL", "MASTER", service};
    redisReply *reply = redis_visit_ask(visit, 3, words);
    int64_t epoch = reply == NULL ? -1 : sentinel_epoch_parse(reply);

    redis_reply_free(reply);
    return epoch;
}

static void ask_one(const struct redis_url *url, const struct redis_host *at,
                    struct sentinel_answer *answer)
{
    const char *words[] = {"SENTINEL", "get-master-addr-by-name", url->service};
    struct redis_visit visit;

    if (redis_visit_begin(&visit,
                          &(struct redis_visit_options){.what = "sentinel",
                                                        .host = at->host,
                                                        .port = at->port,
                                                        .tls_files = url->sentinel_tls ? url : NULL,
                                                        .user = url->sentinel_user,
                                                        .password = url->sentinel_password})) {
        answer->epoch = ask_for_epoch(&visit, url->service);
        redisReply *reply = redis_visit_ask(&visit, 3, words);

        if (reply != NULL) {
            sentinel_take_answer(&visit, reply, url->service, answer);
        }
        redis_reply_free(reply);
    }
    if (!answer->found) {
        snprintf(answer->why, sizeof answer->why, "%s", visit.why);
    }
    redis_visit_end(&visit);
}

void sentinel_ask(const struct redis_url *url, unsigned first, int64_t known,
                  struct sentinel_answer *answer)
{
    bool enough = false;

    memset(answer, 0, sizeof *answer);
    for (unsigned i = 0; i < url->host_count && !enough; i++) {
        struct sentinel_answer one = {.sentinel = (first + i) % url->host_count};

        ask_one(url, &url->hosts[one.sentinel], &one);
        enough = one.found && (one.epoch < 0 || one.epoch >= known);
        if (!answer->found || (one.found && one.epoch > answer->epoch)) {
            *answer = one;
        }
    }
}

/* --- in the background --- */

struct question {
    struct redis_url url; /* a copy, with its passwords */
    unsigned first;
    int64_t known;
    struct sentinel_answer answer;
    sentinel_done *done;
    void *owner;
};

static void question_work(void *task)
{
    struct question *question = task;
    sentinel_ask(&question->url, question->first, question->known, &question->answer);
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
                                  unsigned first, int64_t known, sentinel_done *done, void *owner)
{
    static const struct background_task task = {question_work, question_done, question_release};
    struct question *question = malloc(sizeof *question);
    if (question == NULL) {
        return NULL;
    }
    *question = (struct question){
        .url = *url, .first = first, .known = known, .done = done, .owner = owner};
    return background_start(base, &task, question);
}
