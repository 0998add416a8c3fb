/* intake.c: see intake.h.
 *
 * On the reading connections it sends: SCAN for streams, up to five times a second where the number
 * of keys changes; XGROUP CREATE at 0 for a new lease; XAUTOCLAIM with no idle time until nothing
 * is pending (the lease says that no other drainer works on it); then XREADGROUP of everything held
 * in one command, without BLOCK; acknowledgements with their confirmations; trimming by a script.
 * Only when nothing is left to read does the doorbell wait, behind the ids read last, so nothing
 * can slip between; where it names few of many streams, these alone are read. Streams that have
 * come since it began to wait are read at every tick. In any case everything is read again every
 * POLL_ALL_MS. */
#include "drainer/redis/intake.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/doorbell.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/nodes.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/scripts.h"
#include "drainer/redis/settle.h"
#include "drainer/redis/stream_watch.h"
#include "drainer/redis/taking.h"
#include "drainer/settings.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum {
    TICK_MS = 50,
    POLL_MS = 200,
    POLL_ALL_MS = 1000, /* also streams that the doorbell waits for */
};
/* Another's name with nothing pending and unused for an hour is removed. */
#define CONSUMER_FORGOTTEN_MS "3600000"

struct intake {
    struct intake_options options;
    struct nodes nodes;
    struct event *tick;
    struct stream_watch *watch;
    struct taking *taking;
    struct settling settling;
    int64_t polled_at_ms, polled_all_at_ms;
    bool reading_stopped;
    int64_t left_pending; /* under our name, of the streams signed off from so far; -1: not known */
    struct intake_counters counters;
};

void intake_turn(struct intake *intake)
{
    intake->options.on_turn(intake->options.owner);
}

struct intake_counters *intake_count(struct intake *intake)
{
    return &intake->counters;
}

/* --- errors --- */

/* Says whether an answer concerns one stream only, as one does that sends it elsewhere in a
 * cluster. Where it does not name the stream, the next read of it does. */
static bool is_about_one_stream(const struct intake *intake, const redisReply *reply)
{
    enum redis_error_action action = reply_error_action(reply);

    return intake->nodes.is_cluster &&
           (action == REDIS_ERROR_REROUTE || action == REDIS_ERROR_WAIT);
}

bool intake_follow(struct intake *intake, struct stream *stream, const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && nodes_take_error(&intake->nodes, stream, reply->str);
}

void intake_on_error(struct intake *intake, struct node *node, struct stream *stream,
                     const char *command, const redisReply *reply)
{
    const char *text = reply_problem(reply);
    const char *meaning = redis_error_meaning(text);

    intake->counters.errors++;
    if ((stream != NULL && intake_follow(intake, stream, reply)) || node == NULL) {
        return;
    }
    if (stream == NULL && is_about_one_stream(intake, reply)) {
        reading_wake(&node->reading, NULL);
        return;
    }
    node_pause(node);
    streams_trouble(intake->options.streams, stream, TROUBLE_REDIS, "%s refuses %s (%s)%s%s",
                    node->name, command, text, meaning == NULL ? "" : ": ",
                    meaning == NULL ? "" : meaning);
    if (reply_error_action(reply) == REDIS_ERROR_RESET) {
        redis_link_reset(node->link, text);
    }
}

void intake_on_success(struct intake *intake, struct node *node, struct stream *stream)
{
    if (node != NULL) {
        node_go_on(node);
    }
    streams_trouble_over(intake->options.streams, NULL, TROUBLE_REDIS);
    if (stream != NULL) {
        nodes_on_success(stream);
        streams_trouble_over(intake->options.streams, stream, TROUBLE_REDIS);
    }
}

/* --- taking --- */

void intake_take(struct intake *intake, struct stream *stream)
{
    stream->retry_at_ms = 0;
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
                 "claim is gone: nothing was acknowledged, it is claimed anew if it is still "
                 "leased");
        if (stream->node != NULL) { /* what is under way was read before the new claim */
            reading_forget(&stream->node->reading);
        }
        /* A FLUSHALL may have taken the id, and a newcomer have drawn another: two drainers with
         * two ids hold two leases, and would take the stream from each other for ever. */
        taking_ask_id(intake->taking, stream);
        stream_enter(stream, STREAM_LOCKED);
        intake_turn(intake);
    }
}

void intake_on_reloaded(struct intake *intake, struct stream *stream)
{
    log_info(stream->name, "what PostgreSQL had lost is loaded again");
    settle_count(&intake->settling, stream);
}

void intake_on_no_group(struct intake *intake, struct node *node, const char *text)
{
    struct streams *streams = intake->options.streams;

    log_warn("redis", "%s: the consumer groups are made again where they are missing", text);
    reading_forget(&node->reading);
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->node != node) {
            continue;
        }
        if (stream->state == STREAM_READING || stream->state == STREAM_CLAIMING ||
            stream->state == STREAM_RELOADING) {
            stream->last_read = (struct stream_entry_id){0, 0};
            intake_take(intake, stream);
        }
    }
}

/* --- settling and forgetting --- */

/* Has all streams of a node claimed. stream_watch cannot tell which of our pending entries are in a
 * batch, so it does not see what a refused acknowledgement left behind while a stream is busy. */
static void claim_all_again(struct intake *intake, const struct node *node)
{
    struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        stream->claim_wanted =
            stream->claim_wanted || (stream->state == STREAM_READING && stream->node == node);
    }
}

static void on_acked(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct node *node = owner;
    struct intake *intake = node->intake;

    if (reply == NULL) {
        return; /* the connection is gone: everything is claimed on the next one */
    }
    if (!reply_is_array(reply, 2) || reply->element[0]->type != REDIS_REPLY_INTEGER ||
        !reply_is_string(reply->element[1])) {
        intake_on_error(intake, node, NULL, "EVAL", reply);
        claim_all_again(intake, node);
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
        log_warn(reply->element[1]->str,
                 "%zu committed entries were not pending any more: somebody else acknowledged or "
                 "trimmed "
                 "them; nothing is lost",
                 (size_t)tag - (size_t)acked);
    }
}

static void leave_batch(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        batch->entries[i].stream->acknowledged = true;
        if (batch->entries[i].stream->in_hand > 0) {
            batch->entries[i].stream->in_hand--;
        }
    }
}

void intake_settle(struct intake *intake, const struct batch *batch)
{
    assert(batch->state == BATCH_COMMITTED);
    intake->counters.confirmations += settle_batch(&intake->settling, batch);
    leave_batch(batch);
}

void intake_forget(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < intake->nodes.count; i++) {
        reading_forget(&intake->nodes.all[i]->reading);
    }
    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];
        bool pending = stream->in_hand > 0 || stream->state == STREAM_RELOADING;

        stream->in_hand = 0;
        stream->claim_cursor = (struct stream_entry_id){0, 0};
        if (pending && (stream->state == STREAM_READING || stream->state == STREAM_RELOADING)) {
            stream_enter(stream, STREAM_CLAIMING);
        }
    }
}

static void intake_on_signed_off(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply != NULL && intake_follow(intake, stream, reply)) {
        intake->left_pending = -1; /* once more, where it is */
    } else if (reply != NULL && reply->type == REDIS_REPLY_ERROR &&
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

        if (redis_link_sendv_as(streams->all[i]->link, intake, intake_on_signed_off,
                                (uintptr_t)streams->all[i], 7, argv) != 0) {
            intake->left_pending = -1;
        }
    }
}

int64_t intake_left_pending(const struct intake *intake)
{
    return intake->left_pending;
}

/* --- the links --- */

/* Reads everything now and then, whatever the doorbell says; more often where it says nothing. */
static void poll_node(struct intake *intake, struct node *node, bool all)
{
    struct streams *streams = intake->options.streams;
    bool silent = clock_monotonic_ms() - node->reading.read_at_ms >= POLL_ALL_MS;

    if (all || (!node->reading.each_alone && silent)) {
        reading_wake(&node->reading, NULL);
    }
    for (size_t i = 0; i < streams->count && node->reading.each_alone; i++) {
        if (streams->all[i]->node == node && !streams->all[i]->waited_for) {
            reading_wake(&node->reading, streams->all[i]);
        }
    }
}

/* Reads streams that have come since the doorbell began to wait, which may take a while yet. */
static void wake_unwaited(struct intake *intake)
{
    for (size_t i = 0; i < intake->nodes.count; i++) {
        struct node *node = intake->nodes.all[i];

        if (node->reading.newly_read && doorbell_waits_for_all(node->doorbell)) {
            reading_wake_unwaited(&node->reading);
        }
    }
}

static void poll_if_due(struct intake *intake)
{
    int64_t now = clock_monotonic_ms(), held = (int64_t)streams_held(intake->options.streams);
    bool all = now - intake->polled_all_at_ms >= POLL_ALL_MS + held;

    if (!all && now - intake->polled_at_ms < POLL_MS + held) {
        return;
    }
    intake->polled_at_ms = now;
    intake->polled_all_at_ms = all ? now : intake->polled_all_at_ms;
    for (size_t i = 0; i < intake->nodes.count; i++) {
        poll_node(intake, intake->nodes.all[i], all);
    }
}

static void intake_on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct intake *intake = arg;

    (void)fd, (void)what;
    nodes_tick(&intake->nodes);
    if (intake_up(intake) &&
        !intake->reading_stopped) { /* else a Redis far away were never quiet */
        stream_watch_tick(intake->watch);
        wake_unwaited(intake);
        poll_if_due(intake);
    }
    intake_turn(intake);
}

/* Drops entries that were gathered on a connection that is gone: they could not be acknowledged on
 * the next, and are read again there. Those of a cluster's other nodes are loaded. */
static void drop_gathering(struct intake *intake)
{
    struct batch *batch = *intake->options.gathering;

    if (!intake->nodes.is_cluster) {
        leave_batch(batch);
        batch_clear(batch);
    }
}

void intake_on_node_down(struct intake *intake)
{
    nodes_show_trouble(&intake->nodes);
    drop_gathering(intake);
    intake_turn(intake);
}

/* Takes up a stream on a new connection. Entries read before stay loadable, but are not
 * acknowledged: they may be pending still on its server, so they are claimed again. */
void intake_meet(struct intake *intake, struct stream *stream)
{
    if (stream->random_id[0] != '\0') {
        taking_ask_id(intake->taking, stream); /* it may be another server */
    }
    if (!stream_is_held(stream) || stream->state == STREAM_LEAVING ||
        stream->state == STREAM_LOCKED) {
        return;
    }
    stream->last_read = (struct stream_entry_id){0, 0};
    if (intake->options.streams->beside) {
        intake_take(intake, stream);
    } else { /* another may have its lease by now: PostgreSQL is asked before it is claimed */
        stream_enter(stream, STREAM_LOCKED);
    }
}

void intake_on_node_up(struct intake *intake, struct node *node)
{
    struct streams *streams = intake->options.streams;

    nodes_show_trouble(&intake->nodes);
    if (intake->nodes.is_cluster) {
        log_info("redis", "%s: connected", node->name);
    } else {
        log_info("redis", "connected to %s", redis_link_place(node->link));
    }
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->node == node) {
            streams->all[i]->connection++;
            intake_meet(intake, streams->all[i]);
        }
    }
    reading_wake(&node->reading, NULL);
    stream_watch_look_now(intake->watch, node);
    intake_turn(intake);
}

void intake_on_seen(struct intake *intake, struct stream *stream, struct node *node)
{
    if (stream->node == NULL) {
        nodes_route(&intake->nodes, stream, node);
    }
}

void intake_on_stuck(struct intake *intake, struct stream *stream)
{
    intake->options.on_stuck(intake->options.owner, stream);
}

/* --- reading --- */

void intake_read(struct intake *intake)
{
    for (size_t i = 0; i < intake->nodes.count; i++) {
        node_read(intake->nodes.all[i]);
    }
}

bool intake_may_read(const struct intake *intake)
{
    return !intake->reading_stopped;
}

void intake_stop_reading(struct intake *intake)
{
    intake->reading_stopped = true;
}

/* --- life --- */

struct intake *intake_create(const struct intake_options *options, char *error, size_t error_size)
{
    struct intake *intake = memory_or_abort(calloc(1, sizeof *intake));

    intake->options = *options;
    options->streams->max_streams = (size_t)options->settings->max_streams;
    options->streams->max_lanes = (size_t)options->settings->max_lanes;
    if (options->streams->group == NULL) {
        options->streams->group = STREAM_GROUP;
    }
    if (!nodes_init(&intake->nodes, intake, &intake->options, error, error_size)) {
        intake_destroy(intake);
        return NULL;
    }
    intake->taking = taking_create(intake, options->streams, options->consumer);
    intake->settling = (struct settling){.history = &options->streams->history,
                                         .holder = taking_holder(intake->taking),
                                         .group = options->streams->group,
                                         .silent = options->streams->beside,
                                         .on_settled = on_acked};
    intake->watch =
        stream_watch_create(intake, &intake->nodes, options->settings, options->consumer,
                            taking_holder(intake->taking), options->streams);
    intake->tick =
        memory_or_abort(event_new(options->base, -1, EV_PERSIST, intake_on_tick, intake));
    return intake;
}

void intake_destroy(struct intake *intake)
{
    if (intake == NULL) {
        return;
    }
    nodes_release(&intake->nodes);
    stream_watch_destroy(intake->watch);
    taking_destroy(intake->taking);
    if (intake->tick != NULL) {
        event_free(intake->tick);
    }
    free(intake);
}

void intake_start(struct intake *intake)
{
    nodes_start(&intake->nodes);
    timer_start(intake->tick, TICK_MS);
}

bool intake_up(const struct intake *intake)
{
    return nodes_any_up(&intake->nodes);
}

const char *intake_last_error(const struct intake *intake)
{
    const struct nodes *nodes = &intake->nodes;

    for (size_t i = 0; i < nodes->count; i++) {
        if (!node_is_up(nodes->all[i])) {
            return redis_link_last_error(nodes->all[i]->link);
        }
    }
    return nodes->why;
}

bool intake_looked(const struct intake *intake)
{
    const struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->id_wanted) {
            return false; /* it cannot be leased yet */
        }
    }
    return stream_watch_looked(intake->watch);
}

bool intake_quiet(const struct intake *intake)
{
    for (size_t i = 0; i < intake->nodes.count; i++) {
        if (redis_link_unanswered(intake->nodes.all[i]->link) > 0) {
            return false;
        }
    }
    return true;
}

bool intake_awaits_entries(const struct intake *intake)
{
    for (size_t i = 0; i < intake->nodes.count; i++) {
        if (reading_awaits(&intake->nodes.all[i]->reading)) {
            return true;
        }
    }
    return false;
}

bool intake_drained(const struct intake *intake)
{
    const struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < intake->nodes.count; i++) {
        if (!reading_drained(&intake->nodes.all[i]->reading)) {
            return false;
        }
    }
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->node == NULL) {
            return false;
        }
    }
    return nodes_all_up(&intake->nodes);
}

const struct intake_counters *intake_counters(const struct intake *intake)
{
    return &intake->counters;
}
