/* reading.c: see reading.h.
 *
 * COUNT is per stream: the room left in the batch is divided by the number of streams.
 *
 * One answer is kept small, though a batch holds thousands. Where Redis shares processors with us
 * and PostgreSQL, an answer of 2000 entries keeps its processor busy for longer than PostgreSQL's
 * COPY can do without us: the rate was 0.86 of COPY's own, with answers of 100 to 400 it is 0.93.
 * A group beside the drainers' feeds no COPY, so its answers are large.
 */
#include "drainer/redis/reading.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/entry_reader.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/settings.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"
#include "schema/clock.h"

enum {
    ENTRIES_PER_READ = 400,
    ENTRIES_PER_STREAM = 10, /* at least: of many streams it may be one that has a backlog */
    ENTRIES_PER_READ_MAX = 2000,
    ENTRIES_PER_MS = 20,     /* that a read took: fewer than Redis sends in it */
    ENTRY_BYTES_GUESS = 512, /* before any has been seen */
    ALL_AT_ONCE = 64,        /* so many streams are always read together */
    BATCH_OVERRUN = 2,       /* an answer whose entries are larger than those before may fill the
                                batch so many times */
};

/* The answers that are waited for. A tag is generation * READING_ANSWERS + answer. */
enum reading_answer { READING_STREAMS, READING_CLAIM, READING_RELOAD, READING_ANSWERS };

void reading_init(struct reading *reading, struct intake *intake, const struct settings *settings,
                  const char *consumer)
{
    *reading = (struct reading){.intake = intake,
                                .settings = settings,
                                .consumer = consumer,
                                .all = true,
                                .entry_bytes = ENTRY_BYTES_GUESS};
}

void reading_release(struct reading *reading)
{
    free(reading->alone);
}

void reading_wake(struct reading *reading, struct stream *stream)
{
    reading->at_end = false;
    if (stream == NULL) {
        reading->all = true;
    } else {
        stream->rung = true;
    }
}

void reading_wake_unwaited(struct reading *reading)
{
    reading->newly_read = false;
    for (size_t i = 0; i < reading->streams->count; i++) {
        struct stream *stream = reading->streams->all[i];

        if (stream->node == reading->node && stream->state == STREAM_READING &&
            !stream->waited_for) {
            reading->newly_read = true;
            reading_wake(reading, stream);
        }
    }
}

static uintptr_t tag_of(const struct reading *reading, enum reading_answer answer)
{
    return (uintptr_t)(reading->generation * READING_ANSWERS + answer);
}

static bool is_current(const struct reading *reading, uintptr_t tag)
{
    return tag == tag_of(reading, (enum reading_answer)(tag % READING_ANSWERS));
}

/* An entry as it came. */
struct arrival {
    struct stream_entry_id id;
    const struct raw_field *fields;
    size_t field_count;
    const struct long_entry *too_long; /* NULL: it is in `fields` */
};

static size_t bytes_of(const struct arrival *arrival)
{
    size_t bytes = 0;

    if (arrival->too_long != NULL) { /* the next may be as long: they come one by one for a while */
        return arrival->too_long->length < SIZE_MAX / 64 ? (size_t)arrival->too_long->length
                                                         : SIZE_MAX / 64;
    }
    for (size_t i = 0; i < arrival->field_count; i++) {
        bytes += arrival->fields[i].length;
    }
    return bytes;
}

/* --- into the batch --- */

static bool is_full(const struct reading *reading, size_t times)
{
    const struct batch *batch = *reading->gathering;

    return batch->count >= times * (size_t)reading->settings->batch_rows ||
           batch_bytes(batch) >= times * (size_t)reading->settings->batch_bytes;
}

/* Says how many entries of each of `streams` may come, at most `most` together, so that neither
 * the batch's rows nor its bytes run far over. At least 1. */
static size_t reading_room(const struct reading *reading, size_t streams, size_t most)
{
    const struct batch *batch = *reading->gathering;
    size_t rows = (size_t)reading->settings->batch_rows - batch->count;
    size_t bytes = (size_t)reading->settings->batch_bytes - batch_bytes(batch);
    size_t by_bytes = bytes / (2 * (reading->entry_bytes + 1)) + 1;

    rows = rows < by_bytes ? rows : by_bytes;
    rows = rows < most ? rows : most;
    return rows < streams ? 1 : rows / streams;
}

/* Adds an entry to the batch. NULL: there is no room, so it stays pending and is claimed later. */
static struct entry *reading_gather(struct reading *reading, struct stream *stream,
                                    const struct arrival *arrival, uint16_t deliveries)
{
    struct batch *batch = *reading->gathering;

    reading->entry_bytes = reading->entry_bytes / 64 * 63 + bytes_of(arrival) / 64 + 1;
    if (stream_entry_id_compare(arrival->id, stream->last_read) > 0) {
        stream->last_read = arrival->id;
    }
    if (is_full(reading, BATCH_OVERRUN)) {
        return NULL;
    }
    if (arrival->too_long != NULL) {
        batch_add_long(batch, stream, arrival->id, arrival->too_long, deliveries);
    } else {
        batch_add(batch, stream, stream->exchange, stream->name, arrival->id, arrival->fields,
                  arrival->field_count, deliveries, reading->answer_wall_ns);
    }
    stream->in_hand++;
    batch->entries[batch->count - 1].connection = stream->connection;
    return &batch->entries[batch->count - 1];
}

/* --- entries as they arrive --- */

static redis_link_reply reading_on_reply;

enum entry_place reading_on_answer(void *owner)
{
    struct reading *reading = owner;
    uintptr_t tag = 0;

    if (!redis_link_expects_answer(reading->link)) {
        return ENTRIES_REFUSED;
    }
    if (redis_link_answering(reading->link, &tag) != reading_on_reply) {
        return ENTRIES_NOWHERE;
    }
    reading->answer = (int)(tag % READING_ANSWERS);
    reading->answer_counts = is_current(reading, tag);
    reading->answer_wall_ns = clock_wall_ns();
    switch (reading->answer) {
    case READING_STREAMS:
        return ENTRIES_BY_STREAM;
    case READING_CLAIM:
        return ENTRIES_BEHIND_CURSOR;
    default:
        return ENTRIES_ALONE;
    }
}

void reading_on_stream(void *owner, const char *name, size_t length)
{
    struct reading *reading = owner;
    struct stream *stream = streams_find(reading->streams, name, length);

    reading->answer_stream =
        stream != NULL && stream->asked && stream->node == reading->node ? stream : NULL;
}

static void take_read(struct reading *reading, const struct arrival *arrival)
{
    struct stream *stream = reading->answer_stream;

    if (stream == NULL || stream->state == STREAM_GROUPING || stream->state == STREAM_FENCING) {
        return; /* what was put back meanwhile is claimed again, from its beginning */
    }
    intake_count(reading->intake)->entries++;
    reading->brought++;
    if (reading_gather(reading, stream, arrival, 1) == NULL) {
        stream->claim_wanted = true;
    }
}

/* Has an entry claimed later that was read before everything was forgotten: it stays pending under
 * our name. */
static void leave_read(const struct reading *reading)
{
    struct stream *stream = reading->answer_stream;

    if (reading->answer == READING_STREAMS && stream != NULL && stream->state == STREAM_READING) {
        stream->claim_wanted = true;
    }
}

static uint16_t deliveries_of(const struct reading *reading, struct stream_entry_id id)
{
    for (size_t i = 0; i < reading->delivery_count; i++) {
        if (stream_entry_id_compare(reading->deliveries[i].id, id) == 0) {
            return reading->deliveries[i].count;
        }
    }
    return 0;
}

/* Returns the stream of the page that is answered next. */
static struct stream *page_stream(const struct reading *reading)
{
    return reading->pages[reading->pages_answered];
}

/* Says whether the stream is still in the state in which the page was asked for, and on this node.
 */
static bool is_paging(const struct reading *reading, const struct stream *stream,
                      enum stream_state state)
{
    return stream->state == state && stream->node == reading->node;
}

static void take_claimed(struct reading *reading, const struct arrival *arrival)
{
    struct stream *stream = page_stream(reading);

    if (!is_paging(reading, stream, STREAM_CLAIMING)) {
        return;
    }
    intake_count(reading->intake)->claimed++;
    if (reading_gather(reading, stream, arrival, deliveries_of(reading, arrival->id)) != NULL) {
        (*reading->gathering)->careful = true;
    } else {
        stream->claim_again = true;
    }
}

/* Takes an entry of a page of the stream, read beside the group: staging finds out what is stored.
 */
static void take_reloaded(struct reading *reading, const struct arrival *arrival)
{
    struct stream *stream = page_stream(reading);
    struct entry *entry;

    if (!is_paging(reading, stream, STREAM_RELOADING)) {
        return;
    }
    reading->reloaded_of_page++;
    entry = reading_gather(reading, stream, arrival, 0);
    if (entry != NULL) {
        entry->reloaded = true;
        (*reading->gathering)->careful = true;
        stream->claim_cursor = stream_entry_id_next(arrival->id);
        reading->reloaded_last = stream->claim_cursor.ms == 0 && stream->claim_cursor.seq == 0;
        intake_count(reading->intake)->reloaded++;
    }
}

static void take_entry(struct reading *reading, const struct arrival *arrival)
{
    if (!reading->answer_counts) {
        leave_read(reading);
        return;
    }
    switch (reading->answer) {
    case READING_STREAMS:
        take_read(reading, arrival);
        break;
    case READING_CLAIM:
        take_claimed(reading, arrival);
        break;
    default:
        take_reloaded(reading, arrival);
    }
}

void reading_on_entry(void *reading, struct stream_entry_id id, const struct raw_field *fields,
                      size_t field_count)
{
    take_entry(reading, &(struct arrival){id, fields, field_count, NULL});
}

void reading_on_long_entry(void *reading, struct stream_entry_id id, const struct long_entry *entry)
{
    take_entry(reading, &(struct arrival){id, NULL, 0, entry});
}

/* --- answers --- */

/* Ends a round, all reads of which are answered: none of the streams is asked any more. */
static void end_round(struct reading *reading)
{
    for (size_t i = 0; i < reading->streams->count; i++) {
        struct stream *stream = reading->streams->all[i];

        stream->asked = stream->asked && stream->node != reading->node;
    }
    reading->alone_count = 0;
}

/* Takes the end of an answer. stream: NULL, or the only one that was asked for. */
static void take_read_answer(struct reading *reading, struct stream *stream,
                             const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_NIL || reply->type == REDIS_REPLY_ARRAY) {
        if (reply->type == REDIS_REPLY_ARRAY &&
            (!reading->partial || reading->brought >= reading->most)) {
            reading_wake(reading, stream); /* there may be more */
        }
        if (!reading->partial) {
            reading->read_at_ms = stream == NULL ? clock_monotonic_ms() : 0;
        }
        intake_on_success(reading->intake, reading->node, stream);
    } else if (reply_error_action(reply) == REDIS_ERROR_GROUP) {
        intake_on_no_group(reading->intake, reading->node, reply->str);
    } else if (reply_error_action(reply) == REDIS_ERROR_SPLIT && !reading->each_alone) {
        log_info("redis", "a cluster: each stream is read on its own");
        reading->each_alone = true;
        reading_wake(reading, NULL);
    } else {
        reading_wake(reading, stream);
        intake_on_error(reading->intake, reading->node, stream, "XREADGROUP", reply);
    }
}

static void on_read(struct reading *reading, bool current, const redisReply *reply)
{
    struct stream *stream =
        reading->alone_count > 0 ? reading->alone[reading->alone_answered++] : NULL;

    if (--reading->reads == 0) {
        reading->took_ms = clock_monotonic_ms() - reading->asked_at_ms;
        end_round(reading);
    }
    if (current && (stream == NULL || stream->node == reading->node)) {
        take_read_answer(reading, stream, reply);
        intake_turn(reading->intake);
    }
}

/* Returns where the stream is loaded again from: what --from asks for, or what PostgreSQL lacks. */
static struct stream_entry_id reload_begin(const struct reading *reading,
                                           const struct stream *stream)
{
    bool asked = reading->from != NULL && !stream->reloaded;

    if (asked && (!stream->reload_wanted ||
                  stream_entry_id_compare(*reading->from, stream->reload_from) < 0)) {
        return *reading->from;
    }
    return stream->reload_from;
}

/* Reads the stream from now on. */
static void begin_reading(struct reading *reading, struct stream *stream)
{
    stream_enter(stream, STREAM_READING);
    reading->newly_read = true;
    reading_wake(reading, stream);
}

static void end_claiming(struct reading *reading, struct stream *stream)
{
    if (stream->claim_again) {
        stream_enter(stream, STREAM_READING);
        stream->claim_wanted = true; /* once what is in the batch is committed */
    } else if (stream->reload_wanted || (reading->from != NULL && !stream->reloaded)) {
        stream_enter(stream, STREAM_RELOADING);
        stream->reload_read = false;
        stream->claim_cursor = reload_begin(reading, stream);
    } else {
        begin_reading(reading, stream);
    }
    stream->claim_again = false;
}

static void reading_on_claimed(struct reading *reading, struct stream *stream,
                               const redisReply *reply)
{
    if (!is_paging(reading, stream, STREAM_CLAIMING)) {
        return;
    }
    if (!reply_is_array(reply, 2) || reply->element[1]->type != REDIS_REPLY_ARRAY ||
        !reply_parse_id(reply->element[0], &stream->claim_cursor)) {
        intake_on_error(reading->intake, reading->node, stream, "XAUTOCLAIM", reply);
        return;
    }
    if (reply->elements > 2 && reply_is_array(reply->element[2], 1)) {
        intake_count(reading->intake)->trimmed_pending += reply->element[2]->elements;
        log_warn(stream->name,
                 "%zu entries were trimmed by someone else while pending; their producer sends "
                 "them again",
                 reply->element[2]->elements);
    }
    intake_on_success(reading->intake, reading->node, stream);
    if (stream->claim_cursor.ms == 0 && stream->claim_cursor.seq == 0) {
        end_claiming(reading, stream);
    }
}

static void on_reloaded(struct reading *reading, struct stream *stream, const redisReply *reply)
{
    if (!is_paging(reading, stream, STREAM_RELOADING)) {
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        intake_on_error(reading->intake, reading->node, stream, "XRANGE", reply);
        return;
    }
    intake_on_success(reading->intake, reading->node, stream);
    stream->reload_read = reading->reloaded_of_page == 0 || reading->reloaded_last;
    reading->reloaded_of_page = 0;
    reading->reloaded_last = false;
}

static void reading_on_reply(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct reading *reading = owner;
    bool current = reply != NULL && is_current(reading, tag);
    struct stream *stream;

    if (tag % READING_ANSWERS == READING_STREAMS) {
        on_read(reading, current, reply);
        return;
    }
    stream = page_stream(reading);
    if (++reading->pages_answered == reading->page_count) {
        reading->page_count = reading->pages_answered = 0;
    }
    if (!current) {
        reading->reloaded_of_page = 0;
        reading->reloaded_last = false;
        return;
    }
    if (reply_error_action(reply) == REDIS_ERROR_GROUP) {
        intake_on_no_group(reading->intake, reading->node, reply->str);
    } else if (tag % READING_ANSWERS == READING_CLAIM) {
        reading_on_claimed(reading, stream, reply);
    } else {
        on_reloaded(reading, stream, reply);
    }
    intake_turn(reading->intake);
}

/* --- claiming and reloading --- */

static void on_deliveries(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct reading *reading = owner;

    (void)tag;
    reading->delivery_count = 0;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return;
    }
    for (size_t i = 0; i < reply->elements && i < READING_CLAIM_ENTRIES; i++) {
        const redisReply *row = reply->element[i];
        struct delivery *delivery = &reading->deliveries[reading->delivery_count];

        if (reply_is_array(row, 4) && reply_parse_id(row->element[0], &delivery->id)) {
            long long count = row->element[3]->integer + 1;

            delivery->count = count > UINT16_MAX ? UINT16_MAX : (uint16_t)count;
            reading->delivery_count++;
        }
    }
}

static bool send_claim(struct reading *reading, struct stream *stream, const char *count)
{
    char cursor[STREAM_ENTRY_ID_BYTES];

    stream_entry_id_format(cursor, stream->claim_cursor);
    const char *pending[] = {"XPENDING", stream->name, reading->streams->group, cursor, "+", count};
    const char *claim[] = {"XAUTOCLAIM",      stream->name, reading->streams->group,
                           reading->consumer, "0",          cursor,
                           "COUNT",           count};

    return redis_link_sendv_as(reading->link, reading, on_deliveries, 0, 6, pending) == 0 &&
           redis_link_sendv_as(reading->link, reading, reading_on_reply,
                               tag_of(reading, READING_CLAIM), 8, claim) == 0;
}

static bool send_reload(struct reading *reading, struct stream *stream, const char *count)
{
    char cursor[STREAM_ENTRY_ID_BYTES];

    stream_entry_id_format(cursor, stream->claim_cursor);
    const char *range[] = {"XRANGE", stream->name, cursor, "+", "COUNT", count};

    return redis_link_sendv_as(reading->link, reading, reading_on_reply,
                               tag_of(reading, READING_RELOAD), 6, range) == 0;
}

/* Reads the stream on: everything that was loaded again is committed, and from now on Redis counts
 * as the server does. */
static void end_reload(struct reading *reading, struct stream *stream)
{
    stream->reloaded = true;
    begin_reading(reading, stream);
    if (stream->reload_wanted) {
        stream->reload_wanted = false;
        intake_on_reloaded(reading->intake, stream);
    }
}

/* Moves a stream on that is claimed or loaded again. Returns whether it needs a page. */
static bool needs_page(struct reading *reading, struct stream *stream)
{
    if (stream->state == STREAM_READING && stream->claim_wanted && stream->in_hand == 0) {
        stream_enter(stream, STREAM_CLAIMING);
    }
    if (stream->state == STREAM_CLAIMING && stream->nothing_pending) {
        end_claiming(reading, stream);
    }
    if (stream->state == STREAM_RELOADING && stream->reload_read && stream->in_hand == 0) {
        end_reload(reading, stream);
    }
    return stream->state == STREAM_CLAIMING ||
           (stream->state == STREAM_RELOADING && !stream->reload_read);
}

/* Sends the next page of each stream that is to be claimed or reloaded, as far as there is room for
 * them, if no page is under way. */
static void send_pages(struct reading *reading)
{
    struct streams *streams = reading->streams;
    size_t count = reading->page_count > 0 ? 0 : streams->count, wanted = 0, first = 0;
    char most[24];

    for (size_t i = 0; i < count && wanted < READING_PAGES; i++) {
        struct stream *stream = streams->all[(reading->next_page + i) % count];

        if (stream->node == reading->node && needs_page(reading, stream)) {
            reading->pages[wanted++] = stream;
            first = (reading->next_page + i + 1) % count;
        }
    }
    if (wanted == 0) {
        return;
    }
    reading->next_page = first;
    snprintf(most, sizeof most, "%zu",
             reading_room(reading, wanted, wanted * READING_CLAIM_ENTRIES));
    while (reading->page_count < wanted) {
        struct stream *stream = reading->pages[reading->page_count];

        if (!(stream->state == STREAM_CLAIMING ? send_claim(reading, stream, most)
                                               : send_reload(reading, stream, most))) {
            break;
        }
        reading->page_count++;
    }
}

/* --- reading --- */

/* Returns how many entries one answer may have: of a Redis that is far away, or whose disk is slow,
 * more, as one read is under way at a time. reading_room bounds that. */
static size_t most_in_answer(const struct reading *reading, size_t streams)
{
    size_t entries = reading->streams->beside ? ENTRIES_PER_READ_MAX : streams * ENTRIES_PER_STREAM;
    size_t waited = (size_t)reading->took_ms * ENTRIES_PER_MS;

    entries = entries > ENTRIES_PER_READ_MAX ? ENTRIES_PER_READ_MAX : entries;
    entries = entries < waited ? waited : entries;
    return entries < ENTRIES_PER_READ ? ENTRIES_PER_READ : entries;
}

/* Sends one XREADGROUP, without BLOCK, of `count` streams. */
static void send_read(struct reading *reading, struct stream **streams, size_t count,
                      const char *most, const char **argv)
{
    argv[0] = "XREADGROUP";
    argv[1] = "GROUP";
    argv[2] = reading->streams->group;
    argv[3] = reading->consumer;
    argv[4] = "COUNT";
    argv[5] = most;
    argv[6] = "STREAMS";
    for (size_t i = 0; i < count; i++) {
        argv[7 + i] = streams[i]->name;
        argv[7 + count + i] = ">";
    }
    if (redis_link_sendv_as(reading->link, reading, reading_on_reply,
                            tag_of(reading, READING_STREAMS), (int)(7 + 2 * count), argv) != 0) {
        return;
    }
    reading->reads++;
    for (size_t i = 0; i < count; i++) {
        streams[i]->asked = true;
    }
}

/* Leaves out the streams that need no read. Returns how many remain. Where few are rung of many,
 * they are read by themselves: Redis looks at each stream that a command names, new entries or not.
 * The doorbell then waits for all behind what was read of each, so nothing can slip between. */
static size_t choose_streams(struct reading *reading, struct stream **streams, size_t count)
{
    size_t rung = 0, chosen = 0;
    bool all;

    for (size_t i = 0; i < count; i++) {
        rung += streams[i]->rung;
    }
    all = reading->all || (!reading->each_alone && (count <= ALL_AT_ONCE || rung > count / 8));
    for (size_t i = 0; i < count; i++) {
        if (all || streams[i]->rung) {
            streams[i]->rung = false;
            streams[chosen++] = streams[i];
        }
    }
    reading->partial = !all && !reading->each_alone;
    return chosen;
}

/* Notes which streams are read on their own, as an error names none. */
static void note_alone(struct reading *reading, struct stream **streams, size_t count)
{
    reading->alone = array_grow_or_abort(reading->alone, &reading->alone_capacity, count + 1,
                                         sizeof(struct stream *));
    memcpy(reading->alone, streams, count * sizeof(struct stream *));
    reading->alone_count = count;
    reading->alone_answered = 0;
}

/* Reads what is to be read in one command; in a cluster, where the streams lie in several slots, in
 * one command each. */
static void read_streams(struct reading *reading)
{
    size_t all = reading->streams->count, count, step;
    struct stream **streams = memory_or_abort(calloc(all + 1, sizeof(struct stream *)));
    const char **argv = memory_or_abort(calloc(7 + 2 * all, sizeof(char *)));
    char most[24];

    count =
        choose_streams(reading, streams, streams_to_read(reading->streams, reading->node, streams));
    if (reading->each_alone) {
        note_alone(reading, streams, count);
    }
    reading->at_end = true; /* unless an answer brings entries */
    reading->all = false;
    reading->brought = 0;
    reading->asked_at_ms = clock_monotonic_ms();
    step = reading->each_alone ? 1 : count;
    if (count > 0) {
        reading->most = reading_room(reading, count, most_in_answer(reading, count));
        snprintf(most, sizeof most, "%zu", reading->most);
    }
    for (size_t i = 0; i < count; i += step) {
        send_read(reading, streams + i, step, most, argv);
    }
    free(streams);
    free(argv);
}

bool reading_continue(struct reading *reading)
{
    if (!intake_may_read(reading->intake) || is_full(reading, 1)) {
        return true;
    }
    send_pages(reading);
    if (reading->reads == 0 && !reading->at_end) {
        read_streams(reading);
    }
    return reading->reads > 0;
}

void reading_forget(struct reading *reading)
{
    reading->generation++;
}

void reading_on_link_down(struct reading *reading)
{
    reading->generation++;
    reading->reads = 0;
    reading->alone_count = 0;
    reading->page_count = reading->pages_answered = 0;
    reading_wake(reading, NULL); /* not drained before: an acknowledgement may be lost */
    reading->each_alone = reading->in_cluster;
}

bool reading_awaits(const struct reading *reading)
{
    return reading->reads > 0 || reading->page_count > 0;
}

bool reading_drained(const struct reading *reading)
{
    for (size_t i = 0; i < reading->streams->count; i++) {
        const struct stream *stream = reading->streams->all[i];
        enum stream_state state = stream->state;

        if (stream->node != reading->node) {
            continue;
        }
        if (state == STREAM_LOCKED || state == STREAM_GROUPING || state == STREAM_FENCING ||
            state == STREAM_CLAIMING || state == STREAM_RELOADING || stream->claim_wanted ||
            stream->in_hand > 0) {
            return false;
        }
    }
    return reading->at_end && !reading_awaits(reading);
}
