/* stream_survey.c: see stream_survey.h. */
#include "drainer/redis/stream_survey.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/scripts.h"
#include "drainer/redis/stream_pattern.h"

enum {
    TIME_DIGITS_MAX = 12, /* of seconds: more are no time */
};

/* --- finding streams --- */

static void stream_survey_add(struct stream_survey *survey, const char *patterns,
                              const redisReply *key)
{
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];

    if (!reply_is_string(key) || !stream_pattern_matches(patterns, key->str, key->len) ||
        !stream_parse(key->str, key->len, exchange, lane)) {
        return;
    }
    survey->streams = array_grow_or_abort(survey->streams, &survey->capacity, survey->count + 1,
                                          sizeof *survey->streams);
    struct surveyed_stream *stream = &survey->streams[survey->count++];
    *stream = (struct surveyed_stream){.oldest_pending_ms = -1, .mirror_lag = -1};
    snprintf(stream->name, sizeof stream->name, "%s", key->str);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct surveyed_stream *)a)->name,
                  ((const struct surveyed_stream *)b)->name);
}

/* Sorts the streams, each once: SCAN may name a key twice. */
static void stream_survey_sort(struct stream_survey *survey)
{
    size_t count = 0;

    qsort(survey->streams, survey->count, sizeof *survey->streams, compare);
    for (size_t i = 0; i < survey->count; i++) {
        if (count == 0 || compare(&survey->streams[count - 1], &survey->streams[i]) != 0) {
            survey->streams[count++] = survey->streams[i];
        }
    }
    survey->count = count;
}

/* Looks at one server. */
static bool survey_scan(struct stream_survey *survey, struct redis *redis)
{
    char cursor[32] = "0", pattern[STREAM_PATTERN_BYTES];

    stream_pattern_of_scan(redis->settings->streams, pattern);
    do {
        redisReply *reply = redis_ask(redis, "SCAN", cursor, "MATCH", pattern, "COUNT", "1000",
                                      "TYPE", "stream", NULL);
        bool sound = reply != NULL && reply_is_array(reply, 2) &&
                     reply_is_string(reply->element[0]) && reply_is_array(reply->element[1], 0);

        if (!sound) {
            if (reply != NULL) {
                redis_fail(redis, reply, "cannot look for streams (SCAN)");
            }
            redis_reply_free(reply);
            return false;
        }
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        for (size_t i = 0; i < reply->element[1]->elements; i++) {
            stream_survey_add(survey, redis->settings->streams, reply->element[1]->element[i]);
        }
        redis_reply_free(reply);
    } while (strcmp(cursor, "0") != 0);
    return true;
}

static bool find_streams(struct stream_survey *survey, struct redis *redis)
{
    struct cluster_masters masters = {NULL, 0};
    bool done = redis_masters(redis, &masters);

    for (size_t i = 0; done && i < masters.count; i++) {
        done = (!redis->url.cluster || redis_go_to(redis, &masters.nodes[i])) &&
               survey_scan(survey, redis);
    }
    if (done && survey->count > 0) {
        stream_survey_sort(survey);
    }
    cluster_masters_release(&masters);
    return done;
}

/* --- one stream --- */

/* The entries that wait for a group. */
struct waiting {
    bool known;  /* Redis has looked */
    int64_t lag; /* -1: not known */
    int64_t at_least;
    char oldest[STREAM_ENTRY_ID_BYTES]; /* "": nothing waits */
};

/* Returns the integer behind a key of XINFO's answer; `unknown` where it is nil or not there. */
static int64_t number_of(const redisReply *map, const char *key, int64_t unknown)
{
    const redisReply *value = reply_map_get(map, key);

    return value == NULL || value->type != REDIS_REPLY_INTEGER ? unknown : value->integer;
}

static int64_t age_of(const struct stream_survey *survey, const char *id)
{
    int64_t added_ms = strtoll(id, NULL, 10);

    return added_ms < 0 || added_ms > survey->now_ms ? 0 : survey->now_ms - added_ms;
}

/* Finds what waits for a group, by gauge.lua: Redis looks at the entries, and sends none. A user
 * without the right to EVAL knows no more than the lag that Redis remembers. */
static bool look_at_waiting(struct surveyed_stream *stream, struct redis *redis, const char *group,
                            struct surveyed_large *large, struct waiting *waiting)
{
    redisReply *reply = redis_ask(redis, "EVAL", script_gauge, "1", stream->name, group,
                                  large->behind, large->next, NULL);

    if (reply == NULL) {
        return false;
    }
    if (reply_is_gauge(reply)) {
        *waiting = (struct waiting){.known = true,
                                    .lag = reply->element[0]->integer,
                                    .at_least = reply->element[5]->integer};
        snprintf(waiting->oldest, sizeof waiting->oldest, "%s", reply->element[2]->str);
        snprintf(large->behind, sizeof large->behind, "%s", reply->element[3]->str);
        snprintf(large->next, sizeof large->next, "%s", reply->element[4]->str);
    }
    redis_reply_free(reply);
    return true;
}

static bool stream_survey_look_at_pending(const struct stream_survey *survey,
                                          struct surveyed_stream *stream, struct redis *redis)
{
    redisReply *reply = redis_ask(redis, "XPENDING", stream->name, STREAM_GROUP, NULL);

    if (reply == NULL) {
        return false;
    }
    if (reply_is_array(reply, 2) && reply_is_string(reply->element[1])) {
        stream->oldest_pending_ms = age_of(survey, reply->element[1]->str);
        if (stream->oldest_pending_ms > stream->behind_ms) {
            stream->behind_ms = stream->oldest_pending_ms;
        }
    }
    redis_reply_free(reply);
    return true;
}

static bool look_at_group(const struct stream_survey *survey, struct surveyed_stream *stream,
                          struct redis *redis, const redisReply *group)
{
    struct waiting waiting = {.lag = group == NULL ? stream->length : number_of(group, "lag", -1)};

    stream->group = group != NULL;
    if (group != NULL) {
        stream->consumers = number_of(group, "consumers", 0);
        stream->pending = number_of(group, "pending", 0);
    }
    stream->counted = waiting.lag < 0;
    if (!look_at_waiting(stream, redis, STREAM_GROUP, &stream->large[0], &waiting)) {
        return false;
    }
    stream->more = waiting.known && waiting.lag < 0;
    stream->lag = stream->more ? waiting.at_least : waiting.lag;
    stream->counted = stream->counted && waiting.known && stream->lag > 0;
    if (waiting.known && stream->lag > 0 && waiting.oldest[0] != '\0') {
        stream->behind_ms = age_of(survey, waiting.oldest);
    } else if (!waiting.known && stream->lag != 0) {
        stream->behind_ms = -1;
    }
    return stream->pending == 0 || stream_survey_look_at_pending(survey, stream, redis);
}

/* Counts all entries as waiting where it is not known how many wait for the mirrors. */
static bool look_at_mirror(struct surveyed_stream *stream, struct redis *redis,
                           const redisReply *group)
{
    struct waiting waiting = {.lag = group == NULL ? -1 : number_of(group, "lag", -1)};

    if (group == NULL) {
        return true;
    }
    if (!look_at_waiting(stream, redis, STREAM_MIRROR_GROUP, &stream->large[1], &waiting)) {
        return false;
    }
    stream->mirror_lag =
        (waiting.lag < 0 ? stream->length : waiting.lag) + number_of(group, "pending", 0);
    return true;
}

/* Reads what the drainers have noted as they trimmed. */
static bool look_at_missed(struct surveyed_stream *stream, struct redis *redis)
{
    char load[STREAM_KEY_BYTES];

    stream_load_name(load, stream->name);
    redisReply *reply = redis_ask(redis, "HGET", load, "mirrors_missed", NULL);
    if (reply == NULL) {
        return false;
    }
    stream->mirror_missed = reply_is_string(reply) ? strtoll(reply->str, NULL, 10) : 0;
    redis_reply_free(reply);
    return true;
}

/* Looks at a stream. It may go away meanwhile: then there is nothing to say of it. */
static bool stream_survey_look_at(const struct stream_survey *survey,
                                  struct surveyed_stream *stream, struct redis *redis)
{
    redisReply *info = redis_ask(redis, "XLEN", stream->name, NULL);
    redisReply *groups =
        info == NULL ? NULL : redis_ask(redis, "XINFO", "GROUPS", stream->name, NULL);
    bool done = groups != NULL;

    if (done && info->type == REDIS_REPLY_INTEGER) {
        stream->length = info->integer;
        done = look_at_group(survey, stream, redis, reply_find_group(groups, STREAM_GROUP)) &&
               look_at_mirror(stream, redis, reply_find_group(groups, STREAM_MIRROR_GROUP)) &&
               look_at_missed(stream, redis);
    } else if (done && info->type == REDIS_REPLY_ERROR) {
        redis_fail(redis, info, stream->name);
        done = false;
    }
    redis_reply_free(info);
    redis_reply_free(groups);
    return done;
}

static bool ask_time(struct stream_survey *survey, struct redis *redis)
{
    redisReply *reply = redis_ask(redis, "TIME", NULL);

    if (reply != NULL && reply_is_array(reply, 2) && reply_is_string(reply->element[0]) &&
        reply_is_string(reply->element[1]) && reply->element[0]->len <= TIME_DIGITS_MAX &&
        reply->element[1]->len <= TIME_DIGITS_MAX) {
        survey->now_ms = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                         strtoll(reply->element[1]->str, NULL, 10) / 1000;
    } else if (reply != NULL) {
        redis_fail(redis, reply, "cannot ask for the time (TIME)");
    }
    redis_reply_free(reply);
    return survey->now_ms != 0;
}

/* Keeps which streams had a large entry next, so that Redis does not look at it once a second. */
static void remember_large(struct stream_survey *survey, const struct stream_survey *before)
{
    for (size_t i = 0; before->count > 0 && i < survey->count; i++) {
        struct surveyed_stream *stream = &survey->streams[i];
        const struct surveyed_stream *old =
            bsearch(stream, before->streams, before->count, sizeof *stream, compare);

        if (old != NULL) {
            memcpy(stream->large, old->large, sizeof stream->large);
        }
    }
}

bool stream_survey_take(struct stream_survey *survey, struct redis *redis)
{
    struct stream_survey before = *survey;

    *survey = (struct stream_survey){.streams = NULL};
    bool done = ask_time(survey, redis) && find_streams(survey, redis);
    remember_large(survey, &before);
    stream_survey_release(&before);
    for (size_t i = 0; done && i < survey->count; i++) {
        done = stream_survey_look_at(survey, &survey->streams[i], redis);
    }
    return done;
}

void stream_survey_release(struct stream_survey *survey)
{
    free(survey->streams);
    *survey = (struct stream_survey){.streams = NULL};
}
