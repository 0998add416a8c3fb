/* stream_watch.c: see stream_watch.h. */
#include "drainer/redis/stream_watch.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/nodes.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/scripts.h"
#include "drainer/redis/stream_pattern.h"
#include "drainer/settings.h"
#include "producer/redis_link.h"
#include "schema/clock.h"

enum {
    LOOK_MIN_MS = 200, /* from one look for streams to the next, for each command that it takes: one
                          where keys are few */
    LOOK_MAX_MS = 1000,
    LOOK_STREAM_US = 1000,  /* longer for each stream: most of what SCAN looks at is known */
    LOOK_AFTER_MS = 200,    /* commands that are sent together wake Redis once */
    LOOK_ALL_MS = 5000,     /* where the number of keys stays the same: one may have come as another
                              went */
    LOOK_ALL_STREAM_MS = 5, /* longer for each stream */
    PENDING_INTERVAL_MS = 2000,
    GAUGE_INTERVAL_MS = 2000,
    IDLE_INTERVAL_MS = 20000, /* of a stream in which nothing has happened meanwhile */
    IDLE_PENDING_MS = 10000,
    GAUGE_STREAM_US = 2000, /* from one gauge to the next, while each drainer gauges all streams */
    BEHIND = 500, /* commands that Redis has not answered: it is not looked at more streams then */
    IDLE_TRIMS = 4,
    PROGRESS_STREAM_US = 5000, /* from one look at another's stream to the next one's */
    UNSEEN_MAX = 3,
    KEEP_BYTES = 1 << 30, /* of all tails, where Redis has no maxmemory */
};

/* The streams in turn, each once in an interval: thousands of commands at once would hold up what
 * is read behind them. */
struct round {
    size_t next; /* the stream whose turn it is */
    int64_t at_ms;
};

/* Foreign groups that were overruled since that was said: a line for each of thousands of streams
 * would hide the rest of the log. */
struct overruled {
    size_t streams;
    int64_t worst_removed, missed;
    const struct stream *worst;
    char worst_group[64];
    int64_t said_at_ms;
};

struct stream_watch {
    struct intake *intake;
    const struct nodes *nodes;
    const struct settings *settings;
    const char *consumer, *holder;
    struct streams *streams;
    bool looked;
    bool changed;   /* there may be other streams than at the last look */
    bool complete;  /* this look: so far every server was asked, and has answered */
    unsigned open;  /* its commands that are not answered, those that count keys included */
    unsigned scans; /* its commands so far */
    int64_t ticked_at_ms;
    int64_t counted_at_ms, scanned_at_ms, looked_after_at_ms;
    struct round pending, trimming, stuck, gauging;
    struct overruled overruled;
};

static bool is_due(int64_t *at_ms, int64_t interval_ms)
{
    int64_t now = clock_monotonic_ms();

    if (now - *at_ms < interval_ms) {
        return false;
    }
    *at_ms = now;
    return true;
}

/* --- looking for streams --- */

static void scan(struct stream_watch *watch, struct node *node, const char *cursor);

/* Notes whether a stream was found. A key that is moved to another node meanwhile may be missed on
 * both. */
static void note_presence(const struct stream_watch *watch, struct stream *stream)
{
    unsigned most = watch->nodes->is_cluster ? UNSEEN_MAX : 0;

    stream->unseen = stream->seen ? 0 : watch->complete ? stream->unseen + 1 : stream->unseen;
    stream->present = stream->random_id[0] != '\0' &&
                      (stream->seen || (stream->present && stream->unseen <= most));
    stream->id_wanted = stream->id_wanted && (stream->seen || !watch->complete);
    stream->seen = false;
}

static void finish_scan(struct stream_watch *watch)
{
    struct streams *streams = watch->streams;

    watch->looked = watch->looked || watch->complete;
    watch->changed = watch->changed || !watch->complete;
    if (watch->complete) {
        streams_trouble_over(streams, NULL, TROUBLE_LOOK);
    }
    if (streams->left_out == 0) {
        streams_trouble_over(streams, NULL, TROUBLE_LIMIT);
    }
    streams->left_out = 0;
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->seen && stream->random_id[0] == '\0') {
            intake_ask_id(watch->intake, stream); /* without it there is no lease */
        }
        note_presence(watch, stream);
        if (!stream->present && stream->unseen > 0) {
            streams_trouble_over(streams, stream, TROUBLE_REDIS); /* nothing waits in it any more */
        }
        watch->changed = watch->changed || (stream->present && stream->unseen > 0);
        if (stream->state == STREAM_ABSENT && stream->present) {
            intake_take(watch->intake, stream);
        } else if (stream->state == STREAM_ABSENT && watch->complete) {
            stream_enter(stream, STREAM_LEAVING);
        }
    }
    intake_turn(watch->intake);
}

/* Takes a page of names. False: the answer has another shape. */
static bool take_names(struct stream_watch *watch, struct node *node, const redisReply *reply)
{
    if (!reply_is_array(reply, 2) || !reply_is_string(reply->element[0]) ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        streams_trouble(watch->streams, NULL, TROUBLE_LOOK,
                        "%s: new streams cannot be found: SCAN: %s", node->name,
                        reply_problem(reply));
        return false;
    }
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        const redisReply *name = reply->element[1]->element[i];
        bool wanted = reply_is_string(name) &&
                      stream_pattern_matches(watch->settings->streams, name->str, name->len);
        struct stream *stream = wanted ? streams_add(watch->streams, name->str, name->len) : NULL;

        if (stream != NULL) {
            stream->seen = true;
            intake_on_seen(watch->intake, stream, node);
        }
    }
    return true;
}

static void on_scanned(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;

    watch->open--;
    if (reply == NULL || !take_names(watch, (struct node *)tag, reply)) {
        watch->complete = false;
    } else if (strcmp(reply->element[0]->str, "0") != 0) {
        scan(watch, (struct node *)tag, reply->element[0]->str);
    }
    if (watch->open == 0) {
        finish_scan(watch);
    }
}

static void scan(struct stream_watch *watch, struct node *node, const char *cursor)
{
    char pattern[STREAM_PATTERN_BYTES];
    const char *argv[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000", "TYPE", "stream"};

    stream_pattern_of_scan(watch->settings->streams, pattern);
    if (redis_link_sendv_as(node->link, watch, on_scanned, (uintptr_t)node, 8, argv) == 0) {
        watch->open++;
        watch->scans++;
    } else {
        watch->complete = false;
    }
}

static void look(struct stream_watch *watch)
{
    watch->scans = 0;
    watch->changed = false;
    watch->complete = nodes_all_up(watch->nodes);
    for (size_t i = 0; i < watch->nodes->count; i++) {
        if (node_is_up(watch->nodes->all[i])) {
            scan(watch, watch->nodes->all[i], "0");
        }
    }
}

/* Notes whether the number of keys has changed. It has, where it is not known. */
static void on_counted(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct node *node = (struct node *)tag;
    bool known = reply != NULL && reply->type == REDIS_REPLY_INTEGER;
    int64_t keys = known ? reply->integer : -1;

    watch->open--;
    watch->changed = watch->changed || !known || keys != node->keys;
    node->keys = keys;
    if (known && streams_held(watch->streams) == 0) { /* no other command would show that it is */
        streams_trouble_over(watch->streams, NULL, TROUBLE_REDIS);
    }
}

static void count_keys(struct stream_watch *watch)
{
    const char *argv[] = {"DBSIZE"};

    for (size_t i = 0; i < watch->nodes->count; i++) {
        struct node *node = watch->nodes->all[i];

        if (!node_is_up(node) ||
            redis_link_sendv_as(node->link, watch, on_counted, (uintptr_t)node, 1, argv) != 0) {
            watch->changed = true;
        } else {
            watch->open++;
        }
    }
}

/* Looks for new streams, which should be found soon; but to look costs Redis time for every key
 * that it holds, so the keys are counted before. */
static void look_if_due(struct stream_watch *watch)
{
    unsigned interval =
        watch->scans * LOOK_MIN_MS + (unsigned)watch->streams->count * LOOK_STREAM_US / 1000;
    int64_t least = watch->changed || !intake_looked(watch->intake)
                        ? (interval < LOOK_MAX_MS ? interval : LOOK_MAX_MS)
                        : LOOK_ALL_MS + (int64_t)watch->streams->count * LOOK_ALL_STREAM_MS;

    if (watch->open > 0) {
        return;
    }
    if (is_due(&watch->scanned_at_ms, least)) {
        look(watch);
    } else if (is_due(&watch->counted_at_ms, LOOK_MIN_MS)) {
        count_keys(watch);
    }
}

/* --- looking after the streams --- */

/* Notices entries pending under another name: the last read of a holder that was thought to be
 * gone; and under ours, where Redis refused to acknowledge. */
static void stream_watch_on_pending(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply == NULL || intake_follow(watch->intake, stream, reply) || !reply_is_array(reply, 4) ||
        stream->state != STREAM_READING) {
        return;
    }
    stream->any_pending =
        reply->element[0]->type != REDIS_REPLY_INTEGER || reply->element[0]->integer != 0;
    if (reply->element[3]->type != REDIS_REPLY_ARRAY) { /* nothing is */
        return;
    }
    for (size_t i = 0; i < reply->element[3]->elements; i++) {
        const redisReply *consumer = reply->element[3]->element[i];

        if (!reply_is_array(consumer, 2) || !reply_is_string(consumer->element[0])) {
            continue;
        }
        if (strcmp(consumer->element[0]->str, watch->consumer) != 0) {
            log_info(stream->name, "claiming entries that are pending under another name, %s",
                     consumer->element[0]->str);
            stream->claim_wanted = true;
        } else if (stream->in_hand == 0) {
            stream->claim_wanted = true; /* ours, but in no batch: an acknowledgement was refused */
        }
    }
}

/* Notes that a foreign group was overruled, which the script's answer names, and what the mirrors
 * miss by it. */
static void note_overruled(struct stream_watch *watch, const struct stream *stream,
                           const redisReply *reply)
{
    struct overruled *overruled = &watch->overruled;
    int64_t removed = reply->element[0]->integer;
    int64_t missed = reply->elements > 2 ? reply->element[2]->integer : 0;

    if (overruled->streams++ == 0 || removed > overruled->worst_removed) {
        overruled->worst = stream;
        overruled->worst_removed = removed;
        snprintf(overruled->worst_group, sizeof overruled->worst_group, "%s",
                 reply->element[1]->str);
    }
    overruled->missed += missed;
    intake_count(watch->intake)->mirrors_missed += (uint64_t)missed;
}

static void say_overruled(struct stream_watch *watch)
{
    struct overruled *overruled = &watch->overruled;
    char others[64] = "";

    if (overruled->streams == 0) {
        return;
    }
    if (overruled->streams > 1) {
        snprintf(others, sizeof others, ", and so of %zu other streams", overruled->streams - 1);
    }
    log_warn(overruled->worst->name,
             "group %s does not keep up: its entries are trimmed (setting group_limit)%s",
             overruled->worst_group, others);
    if (overruled->missed > 0) {
        log_warn(overruled->worst->name,
                 "%" PRId64 " entries%s were trimmed that no mirror had read: QuestDB misses them",
                 overruled->missed, overruled->streams > 1 ? " of these streams" : "");
    }
    *overruled = (struct overruled){.said_at_ms = overruled->said_at_ms};
}

/* Takes the script's answer: how many entries, and the foreign group that was overruled, if any. */
static void on_trimmed(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply != NULL && intake_follow(watch->intake, stream, reply)) {
        return;
    }
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        log_warn(stream->name, "trimming: %s", reply->str);
    } else if (reply != NULL && reply_is_array(reply, 1) &&
               reply->element[0]->type == REDIS_REPLY_INTEGER) {
        if (reply->element[0]->integer < 0) {
            intake_on_fenced(watch->intake, stream);
            return;
        }
        intake_count(watch->intake)->trimmed += (uint64_t)reply->element[0]->integer;
        if (reply->elements > 1 && reply_is_string(reply->element[1])) {
            note_overruled(watch, stream, reply);
        }
    }
}

/* Returns a stream's part of keep_bytes, which is for the tails of all streams of a server
 * together. */
static int64_t tail_bytes(const struct stream_watch *watch, const struct node *node)
{
    int64_t bytes = watch->settings->keep_bytes, present = 0;

    if (bytes == 0) {
        bytes = node->maxmemory > 0 ? node->maxmemory / 4 : KEEP_BYTES;
    }
    for (size_t i = 0; i < watch->streams->count; i++) {
        present += watch->streams->all[i]->present && watch->streams->all[i]->node == node;
    }
    return present > 1 ? bytes / present : bytes;
}

static void trim(struct stream_watch *watch, struct stream *stream)
{
    char load[STREAM_KEY_BYTES], entries[24], ms[24], bytes[24], limit[24];

    stream_load_name(load, stream->name);
    snprintf(entries, sizeof entries, "%" PRId64, watch->settings->keep_entries);
    snprintf(ms, sizeof ms, "%" PRId64, watch->settings->keep_time);
    snprintf(bytes, sizeof bytes, "%" PRId64, tail_bytes(watch, stream->node));
    snprintf(limit, sizeof limit, "%" PRId64, watch->settings->group_limit);
    const char *argv[] = {"EVAL",        script_trim,
                          "2",           stream->name,
                          load,          watch->streams->history.id,
                          watch->holder, watch->streams->group,
                          entries,       ms,
                          bytes,         limit};

    redis_link_sendv_as(stream->link, watch, on_trimmed, (uintptr_t)stream,
                        (int)(sizeof argv / sizeof argv[0]), argv);
}

/* Takes CLUSTER INFO: a cluster of one node has no streams elsewhere. */
static void on_cluster_size(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct streams *streams = ((struct stream_watch *)owner)->streams;

    (void)tag;
    if (reply == NULL) {
        return;
    }
    if (reply_is_string(reply) && strstr(reply->str, "cluster_size:1\r") != NULL) {
        streams_trouble_over(streams, NULL, TROUBLE_PART);
    } else {
        streams_trouble(streams, NULL, TROUBLE_PART,
                        "Redis is one node of a cluster and answers for its own streams only: "
                        "give redis+cluster://host,host");
    }
}

/* Takes INFO memory: "maxmemory:N", 0 where there is no limit. */
static void on_memory(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct node *node = owner;
    const char *at =
        reply != NULL && reply_is_string(reply) ? strstr(reply->str, "\nmaxmemory:") : NULL;

    (void)tag;
    node->maxmemory = at == NULL ? 0 : strtoll(at + sizeof "\nmaxmemory:" - 1, NULL, 10);
}

static void on_cluster_enabled(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct node *node = (struct node *)tag;
    const char *argv[] = {"CLUSTER", "INFO"};

    if (reply == NULL || !reply_is_string(reply)) {
        return;
    }
    if (strstr(reply->str, "cluster_enabled:1") != NULL) {
        redis_link_sendv_as(node->link, watch, on_cluster_size, 0, 2, argv);
    } else {
        streams_trouble_over(watch->streams, NULL, TROUBLE_PART);
    }
}

/* Makes one number of what waits in another's stream and how far its holder is. 0: nothing waits.
 */
static uint64_t progress_of(const redisReply *groups, const char *ours)
{
    const redisReply *group = reply_find_group(groups, ours);
    struct stream_entry_id id;

    if (group == NULL) {
        return 0;
    }
    const redisReply *pending = reply_map_get(group, "pending"), *lag = reply_map_get(group, "lag");
    const redisReply *delivered = reply_map_get(group, "last-delivered-id");
    if (pending == NULL || delivered == NULL || !reply_parse_id(delivered, &id) ||
        (pending->integer == 0 &&
         (lag == NULL || lag->type != REDIS_REPLY_INTEGER || lag->integer == 0))) {
        return 0;
    }
    return (id.ms * 31 + id.seq) * 31 + (uint64_t)pending->integer + 1;
}

/* Looks before anybody is disturbed: Redis may remember a lag that is none (gauge.lua). */
static void on_stuck_gauge(void *owner, uintptr_t tag, struct redisReply *reply)
{
    const struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply != NULL && reply_is_gauge(reply) && stream->state == STREAM_FREE &&
        (reply->element[0]->integer != 0 || reply->element[1]->integer != 0)) {
        intake_on_stuck(watch->intake, stream);
    }
}

static void ask_gauge(struct stream_watch *watch, struct stream *stream, redis_link_reply *on_reply)
{
    char read[STREAM_ENTRY_ID_BYTES] = "", next[STREAM_ENTRY_ID_BYTES] = "";
    const char *argv[] = {"EVAL", script_gauge, "1", stream->name, watch->streams->group,
                          read,   next};

    if (stream->large_next.ms != 0) {
        stream_entry_id_format(read, stream->large_behind);
        stream_entry_id_format(next, stream->large_next);
    }
    redis_link_sendv_as(stream->link, watch, on_reply, (uintptr_t)stream, 7, argv);
}

static void on_progress(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;
    uint64_t progress;

    if (reply == NULL || intake_follow(watch->intake, stream, reply) ||
        reply->type != REDIS_REPLY_ARRAY || stream->state != STREAM_FREE) {
        return;
    }
    progress = progress_of(reply, watch->streams->group);
    if (progress == 0 || progress != stream->progress || stream->progress_at_ms == 0) {
        stream->progress = progress;
        stream->progress_at_ms = progress == 0 ? 0 : clock_monotonic_ms();
    } else if (clock_monotonic_ms() - stream->progress_at_ms >= watch->settings->claim_idle) {
        stream->progress_at_ms = 0;
        ask_gauge(watch, stream, on_stuck_gauge);
    }
}

static void look_at_progress(struct stream_watch *watch, struct stream *stream)
{
    const char *argv[] = {"XINFO", "GROUPS", stream->name};

    redis_link_sendv_as(stream->link, watch, on_progress, (uintptr_t)stream, 3, argv);
}

static void stream_watch_look_at_pending(struct stream_watch *watch, struct stream *stream)
{
    const char *argv[] = {"XPENDING", stream->name, watch->streams->group};
    int64_t now = clock_monotonic_ms();
    bool idle = !stream->any_pending && stream->in_hand == 0 &&
                stream_entry_id_compare(stream->pending_id, stream->last_read) == 0;

    if (idle && now - stream->pending_at_ms < IDLE_PENDING_MS) {
        return;
    }
    stream->pending_at_ms = now;
    stream->pending_id = stream->last_read;
    redis_link_sendv_as(stream->link, watch, stream_watch_on_pending, (uintptr_t)stream, 3, argv);
}

/* Takes the script's answer: lag, pending, the oldest id; and a large entry that comes next, behind
 * what was read. */
static void on_gauge(void *owner, uintptr_t tag, struct redisReply *reply)
{
    const struct stream_watch *watch = owner;
    struct stream *stream = (struct stream *)tag;
    struct stream_entry_id oldest = {0, 0};

    if (reply == NULL || intake_follow(watch->intake, stream, reply) || !reply_is_gauge(reply)) {
        stream->gauge.known = false; /* the key is gone, or of another type */
        return;
    }
    if (!reply_parse_id(reply->element[3], &stream->large_behind) ||
        !reply_parse_id(reply->element[4], &stream->large_next)) {
        stream->large_next = (struct stream_entry_id){0, 0};
    }
    if (reply->element[2]->len > 0) {
        reply_parse_id(reply->element[2], &oldest);
    }
    /* whoever adds an entry may choose its id: from the far future it has waited for no time */
    stream->gauge =
        (struct stream_gauge){.known = true,
                              .lag = reply->element[0]->integer,
                              .pending = reply->element[1]->integer,
                              .oldest_ms = oldest.ms > INT64_MAX ? INT64_MAX : (int64_t)oldest.ms};
}

/* Says whether a look at the stream may show anything new, or there was none for long. */
static bool is_gauge_due(const struct stream *stream, int64_t now)
{
    bool reads = stream->state == STREAM_READING &&
                 now - stream->node->reading.read_at_ms < GAUGE_INTERVAL_MS;
    bool idle = reads && stream->gauge.known && stream->gauge.lag == 0 &&
                stream->gauge.pending == 0 && stream->in_hand == 0 &&
                stream_entry_id_compare(stream->gauged_id, stream->last_read) == 0;

    return !idle || now - stream->gauged_at_ms >= IDLE_INTERVAL_MS;
}

/* Says whether it is time. An idle stream is trimmed less often: its tail still grows old. */
static bool is_trim_due(const struct stream_watch *watch, const struct stream *stream, int64_t now)
{
    return stream->acknowledged ||
           now - stream->trimmed_at_ms >= IDLE_TRIMS * watch->settings->trim_interval;
}

/* Returns how often each drainer looks at all streams of all others: less often where they are
 * many. */
static int64_t progress_interval_ms(const struct stream_watch *watch)
{
    size_t others = watch->streams->count - streams_held(watch->streams);
    int64_t least = (int64_t)others * PROGRESS_STREAM_US / 1000;

    return least > watch->settings->claim_idle / 4 ? least : watch->settings->claim_idle / 4;
}

/* Takes the next stream of a round, of which `due` were left, and returns it. NULL: none is due. */
static struct stream *next_of(const struct stream_watch *watch, struct round *round, size_t *due)
{
    if (*due == 0) {
        return NULL;
    }
    --*due;
    round->next = (round->next + 1) % watch->streams->count;
    return watch->streams->all[round->next];
}

/* Says whether Redis is late: looks that pile up would keep it so. */
static bool is_behind(const struct stream *stream)
{
    return stream->link != NULL && redis_link_unanswered(stream->link) > BEHIND;
}

/* Returns how many streams of the round are due. */
static size_t due_of(const struct stream_watch *watch, struct round *round, int64_t interval_ms)
{
    int64_t now = clock_monotonic_ms(), since = now - round->at_ms;
    int64_t count = (int64_t)watch->streams->count, due;

    if (since >= interval_ms || interval_ms <= 0) {
        round->at_ms = now;
        return (size_t)count;
    }
    due = count * since / interval_ms;
    round->at_ms += due > 0 ? due * interval_ms / count : 0;
    return (size_t)due;
}

/* Returns how often streams are gauged: less often where nothing is held, as all drainers may then
 * gauge all of them. */
static int64_t gauge_interval_ms(const struct stream_watch *watch, bool nothing_held)
{
    int64_t least = nothing_held ? (int64_t)watch->streams->count * GAUGE_STREAM_US / 1000 : 0;

    return least > GAUGE_INTERVAL_MS ? least : GAUGE_INTERVAL_MS;
}

/* Asks how much waits in a stream. nothing_held: PostgreSQL may be away, so no holder looks. */
static void gauge(struct stream_watch *watch, struct stream *stream, bool nothing_held)
{
    int64_t now = clock_monotonic_ms();

    if (!stream->present || (!nothing_held && !stream_is_held(stream))) {
        stream->gauge = (struct stream_gauge){.known = false}; /* its holder knows */
    } else if (is_gauge_due(stream, now) && !is_behind(stream)) {
        stream->gauged_at_ms = now;
        stream->gauged_id = stream->last_read;
        ask_gauge(watch, stream, on_gauge);
    }
}

static void trim_if_due(struct stream_watch *watch, struct stream *stream)
{
    int64_t now = clock_monotonic_ms();

    if (stream->state == STREAM_READING && !stream->reload_wanted && !watch->streams->beside &&
        is_trim_due(watch, stream, now) && !is_behind(stream)) {
        stream->trimmed_at_ms = now;
        stream->acknowledged = false;
        trim(watch, stream);
    }
}

/* Looks at what a stream's holder may not know of, and tries again what Redis refused. */
static void look_again(struct stream_watch *watch, struct stream *stream)
{
    bool refused = stream->state == STREAM_REFUSED ||
                   (stream->state == STREAM_GROUPING && stream->retry_at_ms == 0);

    if (is_behind(stream)) {
        return;
    }
    if (stream->state == STREAM_READING) {
        stream_watch_look_at_pending(watch, stream);
    } else if (refused && stream->node != NULL) {
        intake_take(watch->intake, stream);
    }
}

/* Tries streams again that were put back, or in a cluster set aside. */
static void take_set_aside(struct stream_watch *watch)
{
    int64_t now = clock_monotonic_ms();

    for (size_t i = 0; i < watch->streams->count; i++) {
        struct stream *stream = watch->streams->all[i];

        if (stream->state == STREAM_GROUPING && stream->retry_at_ms != 0 &&
            now >= stream->retry_at_ms && stream->node != NULL) {
            intake_take(watch->intake, stream);
        }
    }
}

static void look_after_streams(struct stream_watch *watch)
{
    bool nothing_held = streams_held(watch->streams) == 0;
    struct stream *stream;
    size_t due;

    due = watch->settings->metrics == NULL
              ? 0
              : due_of(watch, &watch->gauging, gauge_interval_ms(watch, nothing_held));
    while ((stream = next_of(watch, &watch->gauging, &due)) != NULL) {
        gauge(watch, stream, nothing_held);
    }
    due = due_of(watch, &watch->pending, PENDING_INTERVAL_MS);
    while ((stream = next_of(watch, &watch->pending, &due)) != NULL) {
        look_again(watch, stream);
    }
    due = due_of(watch, &watch->trimming, watch->settings->trim_interval);
    while ((stream = next_of(watch, &watch->trimming, &due)) != NULL) {
        trim_if_due(watch, stream);
    }
    due = due_of(watch, &watch->stuck, progress_interval_ms(watch));
    while ((stream = next_of(watch, &watch->stuck, &due)) != NULL) {
        if (stream->state == STREAM_FREE && stream->present && !is_behind(stream)) {
            look_at_progress(watch, stream);
        }
    }
}

/* --- the interface --- */

struct stream_watch *stream_watch_create(struct intake *intake, const struct nodes *nodes,
                                         const struct settings *settings, const char *consumer,
                                         const char *holder, struct streams *streams)
{
    struct stream_watch *watch = memory_or_abort(calloc(1, sizeof *watch));

    *watch = (struct stream_watch){.intake = intake,
                                   .nodes = nodes,
                                   .settings = settings,
                                   .consumer = consumer,
                                   .holder = holder,
                                   .streams = streams};
    return watch;
}

void stream_watch_destroy(struct stream_watch *watch)
{
    if (watch != NULL) {
        say_overruled(watch); /* what was trimmed since the last line */
    }
    free(watch);
}

/* Forgets how others stood: a process that was stopped itself has not seen whether they made
 * progress. */
static void forget_after_a_stop(struct stream_watch *watch)
{
    int64_t now = clock_monotonic_ms(), since = now - watch->ticked_at_ms;

    if (watch->ticked_at_ms != 0 && since > watch->settings->claim_idle / 4) {
        for (size_t i = 0; i < watch->streams->count; i++) {
            watch->streams->all[i]->progress_at_ms = 0;
        }
    }
    watch->ticked_at_ms = now;
}

void stream_watch_tick(struct stream_watch *watch)
{
    forget_after_a_stop(watch);
    look_if_due(watch);
    if (is_due(&watch->looked_after_at_ms, LOOK_AFTER_MS)) {
        look_after_streams(watch);
    }
    take_set_aside(watch);
    if (watch->overruled.streams > 0 &&
        is_due(&watch->overruled.said_at_ms, watch->settings->trim_interval)) {
        say_overruled(watch);
    }
}

void stream_watch_look_now(struct stream_watch *watch, struct node *node)
{
    const char *memory[] = {"INFO", "memory"}, *cluster[] = {"INFO", "cluster"};

    watch->scanned_at_ms = 0;
    watch->changed = true;
    redis_link_sendv_as(node->link, node, on_memory, 0, 2, memory);
    if (!node->reading.in_cluster) {
        redis_link_sendv_as(node->link, watch, on_cluster_enabled, (uintptr_t)node, 2, cluster);
    }
}

bool stream_watch_looked(const struct stream_watch *watch)
{
    return watch->looked;
}
