/* intake.c: see intake.h.
 *
 * On the reading connection it sends: SCAN for streams, up to five times a second; XGROUP CREATE at
 * 0 for a new lease; XAUTOCLAIM with no idle time until nothing is pending (the lease says that no
 * other drainer works on it); then XREADGROUP of everything held in one command, without BLOCK;
 * acknowledgements with their confirmations; trimming by a script. Only when a read has found
 * nothing does the doorbell wait, behind the ids read last, so nothing can slip between; in any
 * case everything is read again every POLL_MS. */
#include "drainer/redis/intake.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/redis/doorbell.h"
#include "drainer/redis/entry_reader.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/reading.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/scripts.h"
#include "drainer/redis/settle.h"
#include "drainer/redis/stream_watch.h"
#include "drainer/redis/taking.h"
#include "drainer/settings.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"

enum {
    TICK_MS = 50,
    POLL_MS = 200,
    ERROR_PAUSE_MIN_MS = 50,
    ERROR_PAUSE_MAX_MS = 2000,
};
/* Another's name with nothing pending and unused for an hour is removed. */
#define CONSUMER_FORGOTTEN_MS "3600000"

struct intake {
    struct intake_options options;
    struct redis_link *link;
    struct doorbell *doorbell;
    struct event *tick;
    struct stream_watch *watch;
    struct taking *taking;
    struct settling settling;
    struct reading reading;
    unsigned error_pause_ms;
    int64_t paused_until_ms, polled_at_ms;
    int64_t left_pending; /* under our name, of the streams signed off from so far; -1: not known */
    struct intake_counters counters;
};

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

struct intake_counters *intake_count(struct intake *intake)
{
    return &intake->counters;
}

/* --- errors --- */

static void pause_reading(struct intake *intake)
{
    unsigned pause = intake->error_pause_ms * 2;

    pause = pause < ERROR_PAUSE_MIN_MS ? ERROR_PAUSE_MIN_MS : pause;
    intake->error_pause_ms = pause < ERROR_PAUSE_MAX_MS ? pause : ERROR_PAUSE_MAX_MS;
    intake->paused_until_ms =
        intake_now_ms() + intake->error_pause_ms / 2 + random() % (intake->error_pause_ms / 2 + 1);
}

void intake_on_error(struct intake *intake, struct stream *stream, const char *command,
                     const redisReply *reply)
{
    const char *text = reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected kind of answer";
    const char *meaning = redis_error_meaning(text);

    intake->counters.errors++;
    pause_reading(intake);
    streams_trouble(intake->options.streams, stream, TROUBLE_REDIS, "Redis refuses %s (%s)%s%s",
                    command, text, meaning == NULL ? "" : ": ", meaning == NULL ? "" : meaning);
    if (reply_error_action(reply) == REDIS_ERROR_RESET) {
        redis_link_reset(intake->link, text);
    }
}

void intake_on_success(struct intake *intake, struct stream *stream)
{
    intake->error_pause_ms = 0;
    streams_trouble_over(intake->options.streams, NULL, TROUBLE_REDIS);
    if (stream != NULL) {
        streams_trouble_over(intake->options.streams, stream, TROUBLE_REDIS);
    }
}

/* --- taking --- */

void intake_take(struct intake *intake, struct stream *stream)
{
    taking_begin(intake->taking, stream);
}

void intake_ask_id(struct intake *intake, struct stream *stream)
{
    taking_ask_id(intake->taking, stream);
}

void intake_on_fenced(struct intake *intake, struct stream *stream)
{
    if (stream->state == STREAM_READING || stream->state == STREAM_CLAIMING ||
        stream->state == STREAM_RELOADING) {
        log_warn(stream->name,
                 "claimed in Redis by another drainer or for another PostgreSQL, or its "
                 "claim is gone: nothing was acknowledged, it is claimed anew");
        reading_forget(&intake->reading); /* what is under way was read before the new claim */
        intake_take(intake, stream);
    }
}

void intake_on_reloaded(struct intake *intake, struct stream *stream)
{
    log_info(stream->name, "what PostgreSQL had lost is loaded again");
    settle_count(&intake->settling, stream);
}

void intake_on_no_group(struct intake *intake, const char *text)
{
    struct streams *streams = intake->options.streams;

    log_warn("redis", "%s: the consumer groups are made again where they are missing", text);
    reading_forget(&intake->reading);
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->state == STREAM_READING || stream->state == STREAM_CLAIMING ||
            stream->state == STREAM_RELOADING) {
            stream->last_read = (struct stream_entry_id){0, 0};
            intake_take(intake, stream);
        }
    }
}

/* --- settling and forgetting --- */

/* stream_watch cannot tell which of our pending entries are in a batch, so it does not see what a
 * refused acknowledgement left behind while a stream is busy. */
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
        return; /* the connection is gone: everything is claimed on the next one */
    }
    if (!reply_is_array(reply, 2) || reply->element[0]->type != REDIS_REPLY_INTEGER ||
        !reply_is_string(reply->element[1])) {
        intake_on_error(intake, NULL, "EVAL", reply);
        claim_all_again(intake);
        return;
    }
    int64_t acked = reply->element[0]->integer;
    struct stream *stream =
        streams_find(intake->options.streams, reply->element[1]->str, reply->element[1]->len);
    if (acked < 0) {
        if (stream != NULL) {
            intake_on_fenced(intake, stream);
        }
        return;
    }
    intake->counters.acked += (uint64_t)acked;
    if ((uint64_t)acked < tag) {
        intake->counters.ack_shortfall += tag - (uint64_t)acked;
        log_warn(reply->element[1]->str, "%zu committed entries were not pending any more",
                 (size_t)tag - (size_t)acked);
    }
}

static void leave_batch(const struct batch *batch)
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
        intake->counters.confirmations += settle_batch(&intake->settling, batch, acknowledge);
    }
    leave_batch(batch);
}

void intake_forget(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    reading_forget(&intake->reading);
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        stream->in_hand = 0;
        stream->claim_cursor = (struct stream_entry_id){0, 0};
        if (stream->state == STREAM_READING || stream->state == STREAM_RELOADING) {
            stream_enter(stream, STREAM_CLAIMING);
        }
    }
}

static void intake_on_signed_off(void *owner, uintptr_t tag, struct redisReply *reply)
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

/* Covers streams that were given up too: where PostgreSQL is away, all are. */
void intake_sign_off(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    intake->left_pending = 0;
    for (size_t i = 0; i < streams->count; i++) {
        const char *argv[] = {"EVAL",
                              script_remove_consumers,
                              "1",
                              streams->all[i]->name,
                              streams->group,
                              intake->options.consumer,
                              CONSUMER_FORGOTTEN_MS};

        if (redis_link_sendv(intake->link, intake_on_signed_off, (uintptr_t)streams->all[i], 7,
                             argv, NULL) != 0) {
            intake->left_pending = -1;
        }
    }
}

int64_t intake_left_pending(const struct intake *intake)
{
    return intake->left_pending;
}

/* --- the links --- */

static void intake_on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct intake *intake = arg;

    (void)fd, (void)what;
    if (redis_link_up(intake->link)) {
        stream_watch_tick(intake->watch);
        if (intake_now_ms() - intake->polled_at_ms >= POLL_MS) {
            intake->polled_at_ms = intake_now_ms();
            intake->reading.at_end = false;
        }
    }
    intake_turn(intake);
}

/* Entries gathered on a connection that is gone could not be acknowledged on the next: they are
 * read again there instead. */
static void drop_gathering(struct intake *intake)
{
    struct batch *batch = *intake->options.gathering;

    leave_batch(batch);
    batch_clear(batch);
}

static void on_link_down(struct intake *intake, const char *why)
{
    streams_trouble(intake->options.streams, NULL, TROUBLE_LINK, "Redis is not connected: %s", why);
    reading_on_link_down(&intake->reading);
    drop_gathering(intake);
    intake_turn(intake);
}

/* Entries read before stay loadable, but are not acknowledged: they may be pending still on the new
 * connection's server, so they are claimed again. */
static void on_link_up(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    entry_reader_reset(intake->reading.entry_reader);
    streams_trouble_over(streams, NULL, TROUBLE_LINK);
    log_info("redis", "connected to %s", redis_link_place(intake->link));
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->random_id[0] != '\0') {
            taking_ask_id(intake->taking, streams->all[i]); /* it may be another server */
        }
        if (stream_is_held(streams->all[i]) && streams->all[i]->state != STREAM_LEAVING) {
            streams->all[i]->last_read = (struct stream_entry_id){0, 0};
            intake_take(intake, streams->all[i]);
        }
    }
    intake->reading.at_end = false;
    stream_watch_look_now(intake->watch);
    intake_turn(intake);
}

static void on_link_change(void *owner, bool up, const char *why)
{
    if (up) {
        on_link_up(owner);
    } else {
        on_link_down(owner, why);
    }
}

static void on_ring(void *owner)
{
    struct intake *intake = owner;

    intake->reading.at_end = false;
    intake_turn(intake);
}

void intake_on_stuck(struct intake *intake, struct stream *stream)
{
    intake->options.on_stuck(intake->options.owner, stream);
}

/* --- reading --- */

void intake_read(struct intake *intake)
{
    if (redis_link_up(intake->link) && intake_now_ms() >= intake->paused_until_ms &&
        !reading_continue(&intake->reading)) {
        doorbell_arm(intake->doorbell);
    }
}

void intake_set_reading(struct intake *intake, bool allowed)
{
    intake->reading.allowed = allowed;
}

/* --- life --- */

static bool create_links(struct intake *intake, char *error, size_t error_size)
{
    const struct intake_options *options = &intake->options;
    struct redis_link_options link = {.base = options->base,
                                      .url = options->settings->redis,
                                      .password = options->settings->redis_password,
                                      .name = options->consumer};

    intake->doorbell = doorbell_create(&link, options->streams, on_ring, intake, error, error_size);
    link.on_change = on_link_change;
    link.owner = intake;
    link.reply_functions = entry_reader_functions(intake->reading.entry_reader);
    link.reply_privdata = intake->reading.entry_reader;
    link.string_bytes = ENTRY_READER_VALUE_BYTES;
    link.on_piece = entry_reader_on_piece;
    intake->link = redis_link_create(&link, error, error_size);
    return intake->doorbell != NULL && intake->link != NULL;
}

static void create_reading(struct intake *intake)
{
    struct reading *reading = &intake->reading;

    reading_init(reading, intake, intake->options.settings, intake->options.consumer);
    reading->streams = intake->options.streams;
    reading->gathering = intake->options.gathering;
    reading->from = intake->options.from;
    reading->entry_reader =
        entry_reader_create(&(struct entry_reader_options){.on_answer = reading_on_answer,
                                                           .on_stream = reading_on_stream,
                                                           .on_entry = reading_on_entry,
                                                           .on_long_entry = reading_on_long_entry,
                                                           .owner = reading});
}

struct intake *intake_create(const struct intake_options *options, char *error, size_t error_size)
{
    struct intake *intake = calloc(1, sizeof *intake);

    if (intake == NULL) {
        abort();
    }
    intake->options = *options;
    options->streams->max_streams = (size_t)options->settings->max_streams;
    options->streams->max_lanes = (size_t)options->settings->max_lanes;
    if (options->streams->group == NULL) {
        options->streams->group = STREAM_GROUP;
    }
    create_reading(intake);
    if (!create_links(intake, error, error_size)) {
        intake_destroy(intake);
        return NULL;
    }
    intake->reading.link = intake->link;
    intake->taking = taking_create(intake, intake->link, options->streams, options->consumer);
    intake->settling = (struct settling){.link = intake->link,
                                         .history = &options->streams->history,
                                         .holder = taking_holder(intake->taking),
                                         .group = options->streams->group,
                                         .silent = options->streams->beside,
                                         .on_settled = on_acked,
                                         .owner = intake};
    intake->watch = stream_watch_create(intake, intake->link, options->settings, options->consumer,
                                        taking_holder(intake->taking), options->streams);
    intake->tick = event_new(options->base, -1, EV_PERSIST, intake_on_tick, intake);
    if (intake->tick == NULL) {
        abort();
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
    taking_destroy(intake->taking);
    if (intake->tick != NULL) {
        event_free(intake->tick);
    }
    entry_reader_destroy(intake->reading.entry_reader);
    free(intake);
}

void intake_start(struct intake *intake)
{
    struct timeval tick = {0, TICK_MS * 1000};

    redis_link_start(intake->link);
    doorbell_start(intake->doorbell);
    event_add(intake->tick, &tick);
}

struct redis_link *intake_link(struct intake *intake)
{
    return intake->link;
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
    return reading_drained(&intake->reading);
}

const struct intake_counters *intake_counters(const struct intake *intake)
{
    return &intake->counters;
}
