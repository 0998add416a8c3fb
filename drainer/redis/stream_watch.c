/* stream_watch.c: see stream_watch.h. */
#include "drainer/redis/stream_watch.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/redis/intake_scripts.h"
#include "drainer/redis/redis_reply.h"
#include "producer/redis_link.h"

#define LOOK_MIN_MS                                                                              \
    200 /* from one look for streams to the next, for each command that it takes: one where keys \
           are few */
enum {
    LOOK_MAX_MS = 1000,
    PENDING_INTERVAL_MS = 2000,
    GAUGE_INTERVAL_MS = 2000,
};

struct stream_watch {
    struct stream_watch_options options;
    bool looked, scanning;
    unsigned scans; /* commands of this look for streams */
    int64_t scanned_at_ms, pending_at_ms, trimmed_at_ms, stuck_at_ms, gauged_at_ms;
    uint64_t trimmed;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static bool due(int64_t *at_ms, unsigned interval_ms)
{
    int64_t now = now_ms();

    if (now - *at_ms < (int64_t)interval_ms) {
        return false;
    }
    *at_ms = now;
    return true;
}

/* --- looking for streams
 * -------------------------------------------------------------------------------------------------
 */

static void scan(struct stream_watch *watch, const char *cursor);

static void finish_scan(struct stream_watch *watch)
{
    struct streams *streams = watch->options.streams;

    watch->scanning = false;
    watch->looked = true;
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        stream->present = stream->seen;
        stream->seen = false;
        if (stream->state == STREAM_ABSENT && stream->present) {
            watch->options.on_group_wanted(watch->options.owner, stream);
        } else if (stream->state == STREAM_ABSENT) {
            stream_enter(stream, STREAM_LEAVING);
        }
    }
    watch->options.on_looked(watch->options.owner);
}

static void on_scanned(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;

    (void)tag;
    if (reply == NULL) {
        watch->scanning = false;
        return;
    }
    if (!reply_is_array(reply, 2) || !reply_is_string(reply->element[0]) ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        log_warn("redis", "SCAN: %s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected kind of answer");
        watch->scanning = false;
        return;
    }
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        const redisReply *name = reply->element[1]->element[i];
        struct stream *stream = reply_is_string(name)
                                    ? streams_add(watch->options.streams, name->str, name->len)
                                    : NULL;

        if (stream != NULL) {
            stream->seen = true;
        }
    }
    if (strcmp(reply->element[0]->str, "0") == 0) {
        finish_scan(watch);
    } else {
        scan(watch, reply->element[0]->str);
    }
}

static void scan(struct stream_watch *watch, const char *cursor)
{
    const char *argv[] = {"SCAN",  cursor, "MATCH", watch->options.pattern,
                          "COUNT", "1000", "TYPE",  "stream"};

    watch->scanning =
        redis_link_sendv_as(watch->options.link, watch, on_scanned, 0, 8, argv, NULL) == 0;
    watch->scans++;
}

/* A new stream should be found soon; but to look costs Redis time for every key that it holds. */
static void look_if_due(struct stream_watch *watch)
{
    unsigned interval = watch->scans * LOOK_MIN_MS;

    if (!watch->scanning &&
        due(&watch->scanned_at_ms, interval < LOOK_MAX_MS ? interval : LOOK_MAX_MS)) {
        watch->scans = 0;
        scan(watch, "0");
    }
}

/* --- looking after the streams --- */

/* Entries may turn up pending under another name: the last read of a holder that was thought to be
 * gone. Or under ours, where Redis refused to acknowledge. */
static void on_pending(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply == NULL || !reply_is_array(reply, 4) ||
        reply->element[3]->type != REDIS_REPLY_ARRAY || stream->state != STREAM_READING) {
        return;
    }
    for (size_t i = 0; i < reply->element[3]->elements; i++) {
        const redisReply *consumer = reply->element[3]->element[i];

        if (!reply_is_array(consumer, 2) || !reply_is_string(consumer->element[0])) {
            continue;
        }
        if (strcmp(consumer->element[0]->str, watch->options.consumer) != 0) {
            log_info(stream->name, "entries are pending under another name, %s: claimed",
                     consumer->element[0]->str);
            stream->claim_wanted = true;
        } else if (stream->in_hand == 0) {
            stream->claim_wanted = true; /* ours, but not in hand: an acknowledgement was refused */
        }
    }
}

/* The script's answer: how many entries, and the foreign group that was overruled, if any. */
static void on_trimmed(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    const struct stream *stream = (const struct stream *)tag;

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        log_warn(stream->name, "trimming: %s", reply->str);
    } else if (reply != NULL && reply_is_array(reply, 1) &&
               reply->element[0]->type == REDIS_REPLY_INTEGER) {
        watch->trimmed += (uint64_t)reply->element[0]->integer;
        if (reply->elements > 1 && reply_is_string(reply->element[1])) {
            log_warn(stream->name,
                     "group %s does not keep up: its entries are trimmed (setting group_limit)",
                     reply->element[1]->str);
        }
    }
}

static void trim(struct stream_watch *watch, const struct stream *stream)
{
    char keep[16], limit[16];

    snprintf(keep, sizeof keep, "%u", watch->options.keep_entries);
    snprintf(limit, sizeof limit, "%u", watch->options.group_limit);
    const char *argv[] = {"EVAL", intake_script_trim, "1", stream->name, STREAM_GROUP, keep, limit};

    redis_link_sendv_as(watch->options.link, watch, on_trimmed, (uintptr_t)stream, 7, argv, NULL);
}

/* Of another's stream: does anything wait, and how far is its holder? Both in one number; 0:
 * nothing waits. */
static uint64_t progress_of(const redisReply *groups)
{
    for (size_t i = 0; i < groups->elements; i++) {
        const redisReply *group = groups->element[i];
        const redisReply *name = reply_map_get(group, "name"),
                         *pending = reply_map_get(group, "pending");
        const redisReply *delivered = reply_map_get(group, "last-delivered-id"),
                         *lag = reply_map_get(group, "lag");
        struct stream_entry_id id;

        if (name == NULL || !reply_is_string(name) || strcmp(name->str, STREAM_GROUP) != 0 ||
            pending == NULL || delivered == NULL || !reply_parse_id(delivered, &id)) {
            continue;
        }
        if (pending->integer == 0 &&
            (lag == NULL || lag->type != REDIS_REPLY_INTEGER || lag->integer == 0)) {
            return 0;
        }
        return (id.ms * 31 + id.seq) * 31 + (uint64_t)pending->integer + 1;
    }
    return 0;
}

static void on_progress(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;
    uint64_t progress;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || stream->state != STREAM_FREE) {
        return;
    }
    progress = progress_of(reply);
    if (progress == 0 || progress != stream->progress || stream->progress_at_ms == 0) {
        stream->progress = progress;
        stream->progress_at_ms = progress == 0 ? 0 : now_ms();
    } else if (now_ms() - stream->progress_at_ms >= watch->options.claim_idle_ms) {
        stream->progress_at_ms = 0;
        watch->options.on_stuck(watch->options.owner, stream);
    }
}

static void look_at_progress(struct stream_watch *watch, struct stream *stream)
{
    const char *argv[] = {"XINFO", "GROUPS", stream->name};

    redis_link_sendv_as(watch->options.link, watch, on_progress, (uintptr_t)stream, 3, argv, NULL);
}

static void look_at_pending(struct stream_watch *watch, struct stream *stream)
{
    const char *argv[] = {"XPENDING", stream->name, STREAM_GROUP};

    redis_link_sendv_as(watch->options.link, watch, on_pending, (uintptr_t)stream, 3, argv, NULL);
}

/* The script's answer: lag, pending, the oldest id. */
static void on_gauge(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream *stream = (struct stream *)tag;
    struct stream_entry_id oldest = {0, 0};

    (void)owner;
    if (reply == NULL || !reply_is_array(reply, 3) ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_INTEGER || !reply_is_string(reply->element[2])) {
        stream->gauge.known = false; /* the key is gone, or of another type */
        return;
    }
    if (reply->element[2]->len > 0) {
        reply_parse_id(reply->element[2], &oldest);
    }
    stream->gauge = (struct stream_gauge){.known = true,
                                          .lag = reply->element[0]->integer,
                                          .pending = reply->element[1]->integer,
                                          .oldest_ms = (int64_t)oldest.ms};
}

static void look_at_gauge(struct stream_watch *watch, struct stream *stream)
{
    const char *argv[] = {"EVAL", intake_script_gauge, "1", stream->name, STREAM_GROUP};

    redis_link_sendv_as(watch->options.link, watch, on_gauge, (uintptr_t)stream, 5, argv, NULL);
}

static void look_after_streams(struct stream_watch *watch)
{
    struct streams *streams = watch->options.streams;
    bool pending = due(&watch->pending_at_ms, PENDING_INTERVAL_MS);
    bool trimming = due(&watch->trimmed_at_ms, watch->options.trim_interval_ms);
    bool stuck = due(&watch->stuck_at_ms, watch->options.claim_idle_ms / 4);

    bool gauging = watch->options.gauge && due(&watch->gauged_at_ms, GAUGE_INTERVAL_MS);

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->present && gauging) {
            look_at_gauge(watch, stream);
        }
        if (stream->state == STREAM_READING && pending) {
            look_at_pending(watch, stream);
        }
        if (stream->state == STREAM_READING && trimming) {
            trim(watch, stream);
        }
        if (stream->state == STREAM_FREE && stream->present && stuck) {
            look_at_progress(watch, stream);
        }
        if (stream->state == STREAM_GROUPING && pending) {
            watch->options.on_group_wanted(watch->options.owner, stream);
        }
    }
}

/* --- the interface
 * -------------------------------------------------------------------------------------------------------
 */

struct stream_watch *stream_watch_create(const struct stream_watch_options *options)
{
    struct stream_watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL) {
        abort();
    }
    watch->options = *options;
    return watch;
}

void stream_watch_destroy(struct stream_watch *watch)
{
    free(watch);
}

void stream_watch_tick(struct stream_watch *watch)
{
    look_if_due(watch);
    look_after_streams(watch);
}

void stream_watch_look_now(struct stream_watch *watch)
{
    watch->scanning = false;
    watch->scanned_at_ms = 0;
}

bool stream_watch_looked(const struct stream_watch *watch)
{
    return watch->looked;
}

uint64_t stream_watch_trimmed(const struct stream_watch *watch)
{
    return watch->trimmed;
}
