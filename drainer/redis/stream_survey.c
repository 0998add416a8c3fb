/* stream_survey.c: see stream_survey.h. */
#include "drainer/redis/stream_survey.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/stream_pattern.h"

enum {
    COUNT_PAGE = 1000,
    COUNT_FEW = 100,
    COUNT_PAGES_MAX = 20,
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

/* Returns the integer behind a key of XINFO's answer; `unknown` where it is nil or not there. */
static int64_t number_of(const redisReply *map, const char *key, int64_t unknown)
{
    const redisReply *value = reply_map_get(map, key);

    return value == NULL || value->type != REDIS_REPLY_INTEGER ? unknown : value->integer;
}

/* Reads the last id that a group has; without one `out` stays as it is. */
static void last_delivered_of(const redisReply *group, char out[STREAM_ENTRY_ID_BYTES])
{
    const redisReply *value = reply_map_get(group, "last-delivered-id");

    if (value != NULL && reply_is_string(value)) {
        snprintf(out, STREAM_ENTRY_ID_BYTES, "%s", value->str);
    }
}

static int64_t age_of(const struct stream_survey *survey, const char *id)
{
    int64_t added_ms = strtoll(id, NULL, 10);

    return added_ms < 0 || added_ms > survey->now_ms ? 0 : survey->now_ms - added_ms;
}

/* Counts entries behind an id, page by page, up to a limit. Only ids are looked at, but Redis sends
 * the values too. */
static bool count_behind(struct surveyed_stream *stream, struct redis *redis, const char *id)
{
    char from[STREAM_ENTRY_ID_BYTES + 1], page_size[16];

    snprintf(from, sizeof from, "(%s", id);
    snprintf(page_size, sizeof page_size, "%d", COUNT_PAGE);
    stream->counted = true;
    stream->lag = 0;
    for (int page = 0; page < COUNT_PAGES_MAX; page++) {
        redisReply *reply =
            redis_ask(redis, "XRANGE", stream->name, from, "+", "COUNT", page_size, NULL);
        if (reply == NULL) {
            return false;
        }
        size_t count = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
        stream->lag += (int64_t)count;
        if (count > 0 && reply_is_array(reply->element[count - 1], 1) &&
            reply_is_string(reply->element[count - 1]->element[0])) {
            snprintf(from, sizeof from, "(%s", reply->element[count - 1]->element[0]->str);
        }
        redis_reply_free(reply);
        if (count < COUNT_PAGE) {
            return true;
        }
    }
    stream->more = true;
    return true;
}

/* Notes how long the first entry behind an id has waited; nothing behind it: 0. Where fewer entries
 * are there than Redis' lag says, they are what waits (gauge.lua). */
static bool look_at_unread(const struct stream_survey *survey, struct surveyed_stream *stream,
                           struct redis *redis, const char *id)
{
    char from[STREAM_ENTRY_ID_BYTES + 1], count[16];
    int look = stream->lag < COUNT_FEW ? (int)stream->lag : COUNT_FEW;

    snprintf(from, sizeof from, "(%s", id);
    snprintf(count, sizeof count, "%d", look);
    redisReply *reply = redis_ask(redis, "XRANGE", stream->name, from, "+", "COUNT", count, NULL);
    if (reply == NULL) {
        return false;
    }
    if (reply_is_array(reply, 1) && (int)reply->elements < look) {
        stream->lag = (int64_t)reply->elements;
    }
    if (reply_is_array(reply, 1) && reply_is_array(reply->element[0], 1) &&
        reply_is_string(reply->element[0]->element[0])) {
        stream->behind_ms = age_of(survey, reply->element[0]->element[0]->str);
    } else {
        stream->lag = 0;
        stream->counted = false;
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
    char last_delivered[STREAM_ENTRY_ID_BYTES] = "0-0";

    stream->group = group != NULL;
    stream->lag = stream->length;
    if (group != NULL) {
        stream->consumers = number_of(group, "consumers", 0);
        stream->pending = number_of(group, "pending", 0);
        stream->lag = number_of(group, "lag", -1);
        last_delivered_of(group, last_delivered);
    }
    return (stream->lag >= 0 || count_behind(stream, redis, last_delivered)) &&
           (stream->lag == 0 || look_at_unread(survey, stream, redis, last_delivered)) &&
           (stream->pending == 0 || stream_survey_look_at_pending(survey, stream, redis));
}

/* Counts all entries as waiting where Redis does not know the lag of the mirrors, and none where
 * there is nothing behind the last that they have read: Redis may remember a lag that is none. */
static bool look_at_mirror(struct surveyed_stream *stream, struct redis *redis,
                           const redisReply *group)
{
    char from[STREAM_ENTRY_ID_BYTES + 1] = "(0-0";

    if (group == NULL) {
        return true;
    }
    last_delivered_of(group, from + 1);
    redisReply *reply = redis_ask(redis, "XRANGE", stream->name, from, "+", "COUNT", "1", NULL);
    if (reply == NULL) {
        return false;
    }
    stream->mirror_lag = (reply_is_array(reply, 1) ? number_of(group, "lag", stream->length) : 0) +
                         number_of(group, "pending", 0);
    redis_reply_free(reply);
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

bool stream_survey_take(struct stream_survey *survey, struct redis *redis)
{
    *survey = (struct stream_survey){.streams = NULL};
    bool done = ask_time(survey, redis) && find_streams(survey, redis);
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
