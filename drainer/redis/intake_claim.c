/* intake_claim.c: what is pending is claimed, and what the streams still hold is loaded once more
 * (--from), page by page, before a stream is read. */
#include <stdio.h>

#include "drainer/log.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/redis_reply.h"
#include "producer/redis_link.h"

/* --- claiming
 * ------------------------------------------------------------------------------------------------------------
 */

static void on_deliveries(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;

    (void)tag;
    intake->delivery_count = 0;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return;
    }
    for (size_t i = 0; i < reply->elements && i < CLAIM_COUNT; i++) {
        const redisReply *row = reply->element[i];
        struct delivery *delivery = &intake->deliveries[intake->delivery_count];

        if (reply_is_array(row, 4) && reply_parse_id(row->element[0], &delivery->id)) {
            long long count = row->element[3]->integer + 1;

            delivery->count = count > UINT16_MAX ? UINT16_MAX : (uint16_t)count;
            intake->delivery_count++;
        }
    }
}

static uint16_t deliveries_of(const struct intake *intake, struct stream_entry_id id)
{
    for (size_t i = 0; i < intake->delivery_count; i++) {
        if (intake->deliveries[i].id.ms == id.ms && intake->deliveries[i].id.seq == id.seq) {
            return intake->deliveries[i].count;
        }
    }
    return 0;
}

void intake_take_claimed(struct intake *intake, struct stream_entry_id id,
                         const struct raw_field *fields, size_t field_count)
{
    if (intake->claiming->state == STREAM_CLAIMING) {
        gather_entry(&intake->gather, intake->claiming, id, fields, field_count,
                     deliveries_of(intake, id));
        gather_batch(&intake->gather)->careful = true;
        intake->counters.claimed++;
    }
}

static void end_claiming(struct intake *intake, struct stream *stream)
{
    if (intake->options.from != NULL && !stream->replayed) {
        stream_enter(stream, STREAM_REPLAYING);
        stream->claim_cursor = *intake->options.from;
    } else {
        stream_enter(stream, STREAM_READING);
        intake->at_end = false;
    }
}

void intake_on_claimed(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;
    struct stream *stream = intake->claiming;

    intake->claiming = NULL;
    if (reply == NULL || tag != (uintptr_t)intake->generation || stream->state != STREAM_CLAIMING) {
        return;
    }
    if (reply_is_error(reply, "NOGROUP")) {
        intake_on_no_group(intake, reply->str);
    } else if (!reply_is_array(reply, 2) || reply->element[1]->type != REDIS_REPLY_ARRAY ||
               !reply_parse_id(reply->element[0], &stream->claim_cursor)) {
        intake_on_error(intake, "XAUTOCLAIM", reply);
    } else {
        if (reply->elements > 2 && reply->element[2]->type == REDIS_REPLY_ARRAY &&
            reply->element[2]->elements > 0) {
            intake->counters.trimmed_pending += reply->element[2]->elements;
            log_warn(stream->name,
                     "%zu entries were trimmed by someone else while pending; their producer sends "
                     "them again",
                     reply->element[2]->elements);
        }
        if (stream->claim_cursor.ms == 0 && stream->claim_cursor.seq == 0) {
            end_claiming(intake, stream);
        }
    }
    intake_turn(intake);
}

static void claim(struct intake *intake, struct stream *stream)
{
    char cursor[ENTRY_ID_BYTES], count[16];

    format_entry_id(cursor, stream->claim_cursor);
    snprintf(count, sizeof count, "%zu", gather_room(&intake->gather, 1, CLAIM_COUNT));
    const char *pending[] = {"XPENDING", stream->name, STREAM_GROUP, cursor, "+", count};
    const char *autoclaim[] = {"XAUTOCLAIM", stream->name, STREAM_GROUP, intake->options.consumer,
                               "0",          cursor,       "COUNT",      count};

    if (redis_link_sendv(intake->link, on_deliveries, 0, 6, pending, NULL) == 0 &&
        redis_link_sendv(intake->link, intake_on_claimed, (uintptr_t)intake->generation, 8,
                         autoclaim, NULL) == 0) {
        intake->claiming = stream;
    }
}

/* --- replaying
 * -----------------------------------------------------------------------------------------------------------
 */

/* Of a page of the stream, read beside the group: what is stored already is found out in staging.
 */
void intake_take_replayed(struct intake *intake, struct stream_entry_id id,
                          const struct raw_field *fields, size_t field_count)
{
    struct stream *stream = intake->claiming;

    if (stream->state == STREAM_REPLAYING) {
        struct batch *batch = gather_batch(&intake->gather);

        gather_entry(&intake->gather, stream, id, fields, field_count, 0);
        batch->entries[batch->count - 1].replayed = true;
        batch->careful = true;
        stream->claim_cursor =
            (struct stream_entry_id){id.ms, id.seq + 1}; /* the next page begins behind this one */
        intake->replayed_of_page++;
        intake->counters.replayed++;
    }
}

void intake_on_replayed(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;
    struct stream *stream = intake->claiming;

    intake->claiming = NULL;
    if (reply == NULL || tag != (uintptr_t)intake->generation ||
        stream->state != STREAM_REPLAYING) {
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        intake_on_error(intake, "XRANGE", reply);
    } else if (intake->replayed_of_page == 0) {
        stream->replayed = true;
        stream_enter(stream, STREAM_READING);
        intake->at_end = false;
    }
    intake_turn(intake);
}

static void replay(struct intake *intake, struct stream *stream)
{
    char cursor[ENTRY_ID_BYTES], count[16];

    format_entry_id(cursor, stream->claim_cursor);
    snprintf(count, sizeof count, "%zu", gather_room(&intake->gather, 1, CLAIM_COUNT));
    const char *argv[] = {"XRANGE", stream->name, cursor, "+", "COUNT", count};

    if (redis_link_sendv(intake->link, intake_on_replayed, (uintptr_t)intake->generation, 6, argv,
                         NULL) == 0) {
        intake->claiming = stream;
        intake->replayed_of_page = 0;
    }
}

/* --- which is next
 * -------------------------------------------------------------------------------------------------------
 */

static struct stream *next_to_claim(struct intake *intake)
{
    struct streams *streams = intake->options.streams;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->state == STREAM_READING && stream->claim_wanted && stream->in_hand == 0) {
            stream_enter(stream, STREAM_CLAIMING);
        }
        if (stream->state == STREAM_CLAIMING || stream->state == STREAM_REPLAYING) {
            return stream;
        }
    }
    return NULL;
}

bool intake_claim(struct intake *intake)
{
    struct stream *stream = next_to_claim(intake);

    if (stream != NULL && stream->state == STREAM_REPLAYING) {
        replay(intake, stream);
    } else if (stream != NULL) {
        claim(intake, stream);
    }
    return stream != NULL;
}
