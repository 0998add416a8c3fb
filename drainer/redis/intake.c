/* intake.c: see intake.h.
 *
 * What it sends on the reading connection: SCAN for streams, up to five times a second; XGROUP
 * CREATE at 0 for a new lease; XAUTOCLAIM with no idle time until nothing is pending (the lease
 * says that nobody else works on it); then XREADGROUP of everything held in one command, without
 * BLOCK; XACK and the words; XTRIM by a script. Only when a read has found nothing does the
 * doorbell wait, behind the ids read last, so nothing can slip between; besides, everything is read
 * again every POLL_MS. */
#include "drainer/redis/intake_private.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/redis/doorbell.h"
#include "drainer/redis/intake_scripts.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/settle.h"
#include "drainer/redis/stream_watch.h"

enum {
    TICK_MS = 50,
    POLL_MS = 200,
    ERROR_PAUSE_MIN_MS = 50,
    ERROR_PAUSE_MAX_MS = 2000,
};
#define CONSUMER_FORGOTTEN_MS \
    "3600000" /* another's name with nothing pending and unused for an hour is removed */

int64_t intake_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int64_t intake_wall_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void intake_turn(struct intake *intake)
{
    intake->options.on_turn(intake->options.owner);
}

/* --- answers
 * -------------------------------------------------------------------------------------------------------------
 */

void intake_on_error(struct intake *intake, const char *what, const redisReply *reply)
{
    intake->counters.errors++;
    intake->error_pause_ms =
        intake->error_pause_ms == 0 ? ERROR_PAUSE_MIN_MS : intake->error_pause_ms * 2;
    if (intake->error_pause_ms > ERROR_PAUSE_MAX_MS) {
        intake->error_pause_ms = ERROR_PAUSE_MAX_MS;
    }
    intake->paused_until_ms =
        intake_now_ms() + intake->error_pause_ms / 2 + random() % (intake->error_pause_ms / 2 + 1);
    log_warn("redis", "%s: %s", what,
             reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected kind of answer");
}

/* --- the group
 * -----------------------------------------------------------------------------------------------------------
 */

static void on_group(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply == NULL || stream->state != STREAM_GROUPING) {
        return;
    }
    if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "BUSYGROUP", 9) == 0) {
        if (reply->type != REDIS_REPLY_ERROR) {
            log_info(stream->name, "consumer group made, from the stream's first entry on");
        }
        intake->error_pause_ms = 0;
        stream_enter(stream, STREAM_CLAIMING);
    } else if (strstr(reply->str, "requires the key to exist") != NULL) {
        stream_enter(stream, STREAM_ABSENT);
    } else {
        intake_on_error(intake, "XGROUP CREATE", reply);
        if (reply_is_error(reply, "OOM")) {
            /* A full Redis refuses to make a group before it looks whether there is one, but lets
             * it be read; and only what is read can be trimmed, so that there is room again. */
            stream_enter(stream, STREAM_CLAIMING);
        }
    }
    intake_turn(intake);
}

static void make_group(struct intake *intake, struct stream *stream)
{
    const char *argv[] = {"XGROUP", "CREATE", stream->name, STREAM_GROUP, "0"};

    redis_link_sendv(intake->link, on_group, (uintptr_t)stream, 5, argv, NULL);
}

void intake_take(struct intake *intake, struct stream *stream)
{
    stream_enter(stream, STREAM_GROUPING);
    make_group(intake, stream);
}

void intake_on_no_group(struct intake *intake, const char *text)
{
    struct streams *streams = intake->options.streams;

    log_warn("redis", "%s: the consumer groups are made again where they are missing", text);
    intake->generation++;
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->state == STREAM_READING || stream->state == STREAM_CLAIMING ||
            stream->state == STREAM_REPLAYING) {
            stream->last_read = (struct stream_entry_id){0, 0};
            stream_enter(stream, STREAM_GROUPING);
            make_group(intake, stream);
        }
    }
}

/* --- settling and forgetting --- */

/* Of a stream that is never without entries in hand, watch.c could not tell what of ours is pending
 * for no reason. */
static void claim_all_again(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        streams->all[i]->claim_wanted =
            streams->all[i]->claim_wanted || streams->all[i]->state == STREAM_READING;
    }
}

static void on_acked(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;

    if (reply == NULL) {
        return; /* the connection is gone: everything is claimed on the next */
    }
    if (reply->type != REDIS_REPLY_INTEGER) {
        intake_on_error(intake, "XACK", reply);
        claim_all_again(intake);
        return;
    }
    intake->counters.acked += (uint64_t)reply->integer;
    if ((uintptr_t)reply->integer < tag) {
        intake->counters.ack_shortfall += tag - (uintptr_t)reply->integer;
        log_warn("redis", "%zu committed entries were not pending any more",
                 (size_t)tag - (size_t)reply->integer);
    }
}

static void leave_hand(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->entries[i].stream->in_hand > 0) {
            batch->entries[i].stream->in_hand--;
        }
    }
}

void intake_settle(struct intake *intake, const struct batch *batch)
{
    bool acknowledge = batch->epoch == redis_link_epoch(intake->link);

    assert(batch->state == BATCH_COMMITTED);
    if (redis_link_up(intake->link)) {
        intake->counters.words += settle_batch(intake->link, batch, acknowledge ? on_acked : NULL);
    }
    leave_hand(batch);
}

void intake_forget(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    intake->generation++;
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        stream->in_hand = 0;
        stream->claim_cursor = (struct stream_entry_id){0, 0};
        if (stream->state == STREAM_READING || stream->state == STREAM_REPLAYING) {
            stream_enter(stream, STREAM_CLAIMING);
        }
    }
}

static void on_signed_off(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;
    const struct stream *stream = (const struct stream *)tag;

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR &&
        strstr(reply->str, "NOGROUP") == NULL && strstr(reply->str, "no such key") == NULL) {
        log_warn(stream->name, "signing off: %s", reply->str);
        intake->left_pending = -1;
    } else if (reply == NULL) {
        intake->left_pending = -1;
    } else if (reply->type == REDIS_REPLY_INTEGER && intake->left_pending >= 0) {
        intake->left_pending += reply->integer;
    }
}

/* Of streams that were given up, too: where PostgreSQL is away, all are. */
void intake_sign_off(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    intake->left_pending = 0;
    for (size_t i = 0; i < streams->count; i++) {
        const char *argv[] = {"EVAL",
                              intake_script_remove_consumers,
                              "1",
                              streams->all[i]->name,
                              STREAM_GROUP,
                              intake->options.consumer,
                              CONSUMER_FORGOTTEN_MS};

        if (redis_link_sendv(intake->link, on_signed_off, (uintptr_t)streams->all[i], 7, argv,
                             NULL) != 0) {
            intake->left_pending = -1;
        }
    }
}

int64_t intake_left_pending(const struct intake *intake)
{
    return intake->left_pending;
}

/* --- entries
 * -------------------------------------------------------------------------------------------------------------
 */

static enum entry_place on_answer(void *owner)
{
    static const struct {
        redis_link_reply *callback;
        intake_take_entry *take_entry;
        enum entry_place place;
    } answers[] = {
        {intake_on_read, intake_take_read, ENTRIES_BY_STREAM},
        {intake_on_claimed, intake_take_claimed, ENTRIES_BEHIND_CURSOR},
        {intake_on_replayed, intake_take_replayed, ENTRIES_ALONE},
    };
    struct intake *intake = owner;
    uintptr_t tag = 0;
    redis_link_reply *callback = redis_link_answering(intake->link, &tag);

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (callback == answers[i].callback) {
            intake->take_entry = answers[i].take_entry;
            intake->answer_generation = tag;
            intake->gather.wall_ns = intake_wall_ns();
            return answers[i].place;
        }
    }
    return ENTRIES_NOWHERE;
}

static void on_stream(void *owner, const char *name, size_t length)
{
    struct intake *intake = owner;
    struct stream *stream = streams_find(intake->options.streams, name, length);

    intake->answer_stream = stream != NULL && stream->asked ? stream : NULL;
}

static void on_entry(void *owner, struct stream_entry_id id, const struct raw_field *fields,
                     size_t field_count)
{
    struct intake *intake = owner;

    if (intake->answer_generation == intake->generation) {
        intake->take_entry(intake, id, fields, field_count);
    }
}

/* --- the links
 * -----------------------------------------------------------------------------------------------------------
 */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct intake *intake = arg;

    (void)fd, (void)what;
    if (redis_link_up(intake->link)) {
        stream_watch_tick(intake->watch);
        if (intake_now_ms() - intake->polled_at_ms >= POLL_MS) {
            intake->polled_at_ms = intake_now_ms();
            intake->at_end = false;
        }
    }
    intake_turn(intake);
}

/* What was gathered on a connection that is gone could not be acknowledged on the next: it is read
 * again there instead. */
static void drop_gathering(struct intake *intake)
{
    struct batch *batch = *intake->options.gathering;

    leave_hand(batch);
    batch_clear(batch);
}

static void on_link_change(void *owner, bool up, const char *why)
{
    struct intake *intake = owner;
    struct streams *streams = intake->options.streams;

    if (!up) {
        log_warn("redis", "connection lost: %s", why);
        intake->reading = intake->at_end =
            false; /* not drained before it is read again: an acknowledgement may be lost */
        intake->claiming = NULL;
        intake->generation++;
        drop_gathering(intake);
        intake_turn(intake);
        return;
    }
    entry_reader_reset(intake->entry_reader);
    log_info("redis", "connected to %s", redis_link_place(intake->link));
    for (size_t i = 0; i < streams->count; i++) {
        /* What was read before stays loadable, but it is not acknowledged; here it may be pending
         * still: claimed again. */
        if (stream_is_held(streams->all[i]) && streams->all[i]->state != STREAM_LEAVING) {
            streams->all[i]->last_read = (struct stream_entry_id){0, 0};
            stream_enter(streams->all[i], STREAM_GROUPING);
            make_group(intake, streams->all[i]);
        }
    }
    intake->at_end = false;
    stream_watch_look_now(intake->watch);
    intake_turn(intake);
}

static void on_ring(void *owner)
{
    struct intake *intake = owner;

    intake->at_end = false;
    intake_turn(intake);
}

static void on_looked(void *owner)
{
    intake_turn(owner);
}

static void on_group_wanted(void *owner, struct stream *stream)
{
    intake_take(owner, stream);
}

static void on_stuck(void *owner, struct stream *stream)
{
    struct intake *intake = owner;

    intake->options.on_stuck(intake->options.owner, stream);
}

static struct stream_watch *watch_of(struct intake *intake)
{
    const struct intake_options *options = &intake->options;

    return stream_watch_create(
        &(struct stream_watch_options){.link = intake->link,
                                       .streams = options->streams,
                                       .consumer = options->consumer,
                                       .pattern = options->pattern,
                                       .keep_entries = options->keep_entries,
                                       .group_limit = options->group_limit,
                                       .trim_interval_ms = options->trim_interval_ms,
                                       .claim_idle_ms = options->claim_idle_ms,
                                       .gauge = options->gauge,
                                       .on_looked = on_looked,
                                       .on_group_wanted = on_group_wanted,
                                       .on_stuck = on_stuck,
                                       .owner = intake});
}

struct intake *intake_create(const struct intake_options *options, char *error, size_t error_size)
{
    struct intake *intake = calloc(1, sizeof *intake);
    struct redis_link_options link = {.base = options->base,
                                      .url = options->redis,
                                      .password = options->redis_password,
                                      .name = options->consumer,
                                      .on_change = on_link_change,
                                      .owner = intake},
                              reading;

    if (intake == NULL) {
        abort();
    }
    intake->options = *options;
    intake->reading_allowed = true;
    intake->entry_reader = entry_reader_create(&(struct entry_reader_options){
        .on_answer = on_answer, .on_stream = on_stream, .on_entry = on_entry, .owner = intake});
    reading = link;
    reading.reply_functions = entry_reader_functions(intake->entry_reader);
    reading.reply_privdata = intake->entry_reader;
    intake->link = redis_link_create(&reading, error, error_size);
    intake->doorbell = intake->link == NULL ? NULL
                                            : doorbell_create(&link, options->streams, on_ring,
                                                              intake, error, error_size);
    gather_init(&intake->gather, intake->link, options->gathering, options->batch_rows,
                options->batch_bytes);
    intake->watch = watch_of(intake);
    intake->tick = event_new(options->base, -1, EV_PERSIST, on_tick, intake);
    if (intake->doorbell == NULL || intake->tick == NULL) {
        intake_destroy(intake);
        return NULL;
    }
    return intake;
}

void intake_destroy(struct intake *intake)
{
    if (intake == NULL) {
        return;
    }
    doorbell_destroy(intake->doorbell);
    redis_link_destroy(intake->link);
    stream_watch_destroy(intake->watch);
    if (intake->tick != NULL) {
        event_free(intake->tick);
    }
    entry_reader_destroy(intake->entry_reader);
    free(intake);
}

void intake_start(struct intake *intake)
{
    struct timeval tick = {0, TICK_MS * 1000};

    redis_link_start(intake->link);
    doorbell_start(intake->doorbell);
    event_add(intake->tick, &tick);
}

bool intake_up(const struct intake *intake)
{
    return redis_link_up(intake->link);
}

const char *intake_last_error(const struct intake *intake)
{
    return redis_link_last_error(intake->link);
}

bool intake_looked(const struct intake *intake)
{
    return stream_watch_looked(intake->watch);
}

bool intake_quiet(const struct intake *intake)
{
    return redis_link_unanswered(intake->link) == 0;
}

bool intake_drained(const struct intake *intake)
{
    const struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        enum stream_state state = streams->all[i]->state;

        if (state == STREAM_GROUPING || state == STREAM_CLAIMING || state == STREAM_REPLAYING ||
            streams->all[i]->claim_wanted || streams->all[i]->in_hand > 0) {
            return false;
        }
    }
    return intake->at_end && !intake->reading && intake->claiming == NULL;
}

void intake_set_reading(struct intake *intake, bool allowed)
{
    intake->reading_allowed = allowed;
}

const struct intake_counters *intake_counters(const struct intake *intake)
{
    return &intake->counters;
}
