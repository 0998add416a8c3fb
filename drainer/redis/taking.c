/* taking.c: see taking.h. */
#include "drainer/redis/taking.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/redis_reply.h"
#include "drainer/redis/scripts.h"
#include "producer/redis_link.h"

enum { HOLDER_BYTES = 192 };

struct taking {
    struct intake *intake;
    struct streams *streams;
    char holder[HOLDER_BYTES];
};

/* --- the random id --- */

/* Takes a stream's random id. Another than before is another stream of the same name: another
 * server's, or one made anew. */
static void taking_on_id(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct taking *taking = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply == NULL) {
        return;
    }
    if (!reply_is_string(reply) || !stream_id_valid(reply->str, reply->len)) {
        /* asked again at the next look */
        intake_on_error(taking->intake, stream->node, stream, "EVAL", reply);
        return;
    }
    if (strcmp(stream->random_id, reply->str) == 0) {
        return;
    }
    if (stream->random_id[0] != '\0') {
        log_warn(stream->name, "Redis has another stream of this name now: %s, not %s", reply->str,
                 stream->random_id);
        if (stream_is_held(stream)) {
            stream_enter(stream, STREAM_LEAVING); /* its lease is another one */
        }
    }
    stream->present = stream->present || stream->random_id[0] == '\0'; /* a look has found it */
    snprintf(stream->random_id, sizeof stream->random_id, "%s", reply->str);
    stream->id_wanted = false;
    if (!stream_is_held(stream)) {
        streams_set_lock_key(taking->streams, stream, stream_lease_key(stream));
    }
    intake_turn(taking->intake);
}

void taking_ask_id(struct taking *taking, struct stream *stream)
{
    char key[STREAM_KEY_BYTES], id[STREAM_ID_DIGITS + 1];

    stream_id_name(key, stream->name);
    stream->id_wanted = stream->random_id[0] == '\0';
    if (!stream->id_wanted) { /* put back where it is missing: it is known */
        snprintf(id, sizeof id, "%s", stream->random_id);
    } else if (!stream_id_draw(id)) {
        abort();
    }
    const char *argv[] = {"EVAL", script_stream_id, "1", key, id};

    redis_link_sendv_as(stream->link, taking, taking_on_id, (uintptr_t)stream, 5, argv);
}

/* --- the claim --- */

static void taking_refuse(struct taking *taking, struct stream *stream, const redisReply *reply)
{
    const struct stream_history *history = &taking->streams->history;

    stream_enter(stream, STREAM_REFUSED);
    streams_trouble(
        taking->streams, stream, TROUBLE_HISTORY,
        "it was loaded into another PostgreSQL, history %s (system %s, timeline %s), and this one "
        "is history %s (system %s, timeline %d): nothing is loaded; connect to that server, or run "
        "`blotter migrate --accept-history`",
        reply->element[1]->str, reply->element[2]->str, reply->element[3]->str, history->id,
        history->system, history->timeline);
}

static void note_incident(struct stream *stream, struct stream_entry_id from,
                          struct stream_entry_id first, int64_t known)
{
    struct stream_incident *incident = stream->incident;

    if (incident == NULL) {
        incident = memory_or_abort(calloc(1, sizeof *incident));
    }
    *incident = (struct stream_incident){
        .what = "PostgreSQL went back in time further than the stream's kept tail reaches",
        .from = from,
        .to = first,
        .from_n = stream->loaded_n,
        .to_n = known};
    stream->incident = incident;
}

/* Has the stream loaded again: PostgreSQL lacks transactions that Redis knows of, or lacked them
 * when it was loaded again last, which came to no end. */
static void reload(struct stream *stream, const redisReply *reply)
{
    struct stream_entry_id first, from;
    int64_t known = reply->element[1]->integer;

    stream->reload_wanted = true;
    if (!reply_parse_id(reply->element[6], &from)) {
        from = (struct stream_entry_id){0, 0};
    }
    stream->reload_from = from;
    log_warn(stream->name,
             "PostgreSQL went back in time: it knows of %" PRId64 " transactions, Redis of %" PRId64
             ": what the stream still holds from %s on is loaded again",
             stream->loaded_n, known, reply->element[6]->str);
    if (from.ms == 0) { /* all of it, as a precaution */
        from = stream->loaded_id;
    }
    if (reply_parse_id(reply->element[2], &first) && reply->element[3]->integer == 1 &&
        stream_entry_id_compare(first, from) > 0) {
        note_incident(stream, from, first, known);
    }
}

static bool taking_is_refusal(const redisReply *reply)
{
    return reply_is_array(reply, 4) && reply_is_string(reply->element[0]) &&
           strcmp(reply->element[0]->str, "refused") == 0 && reply_is_string(reply->element[1]) &&
           reply_is_string(reply->element[2]) && reply_is_string(reply->element[3]);
}

static bool is_claim(const redisReply *reply)
{
    return reply_is_array(reply, 7) && reply_is_string(reply->element[0]) &&
           reply->element[1]->type == REDIS_REPLY_INTEGER && reply_is_string(reply->element[2]) &&
           reply->element[3]->type == REDIS_REPLY_INTEGER && reply_is_string(reply->element[6]);
}

static void taking_on_claimed(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct taking *taking = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply == NULL || stream->state != STREAM_FENCING) {
        return;
    }
    if (taking_is_refusal(reply)) {
        taking_refuse(taking, stream, reply);
    } else if (!is_claim(reply)) {
        intake_on_error(taking->intake, stream->node, stream, "EVAL", reply);
        stream_enter(stream, STREAM_GROUPING); /* tried again later */
    } else {
        intake_on_success(taking->intake, stream->node, stream);
        streams_trouble_over(taking->streams, stream, TROUBLE_HISTORY);
        if (reply->element[6]->len > 0) {
            reload(stream, reply);
        }
        stream_enter(stream, STREAM_CLAIMING);
        stream->nothing_pending =
            reply->element[4]->type == REDIS_REPLY_INTEGER && reply->element[4]->integer == 0;
        if (!reply_parse_id(reply->element[5], &stream->last_read)) {
            stream->last_read = (struct stream_entry_id){0, 0};
        }
    }
    intake_turn(taking->intake);
}

/* Claims the stream behind the fence, once PostgreSQL's history is known. */
static void taking_claim(struct taking *taking, struct stream *stream)
{
    const struct stream_history *history = &taking->streams->history;
    char load[STREAM_KEY_BYTES], timeline[16], n[24], last[STREAM_ENTRY_ID_BYTES];

    if (history->id[0] == '\0') {
        intake_on_success(taking->intake, stream->node, stream);
        stream_enter(stream, STREAM_CLAIMING);
        return;
    }
    stream_enter(stream, STREAM_FENCING);
    stream_load_name(load, stream->name);
    snprintf(timeline, sizeof timeline, "%d", history->timeline);
    snprintf(n, sizeof n, "%" PRId64, stream->loaded_n);
    stream_entry_id_format(last, stream->loaded_id);
    const char *argv[] = {"EVAL",
                          script_claim_stream,
                          "2",
                          stream->name,
                          load,
                          history->id,
                          taking->holder,
                          history->system,
                          timeline,
                          n,
                          history->chain == NULL ? history->id : history->chain,
                          history->accepts ? "1" : "0",
                          taking->streams->group,
                          last};

    redis_link_sendv_as(stream->link, taking, taking_on_claimed, (uintptr_t)stream,
                        (int)(sizeof argv / sizeof argv[0]), argv);
}

/* --- the group --- */

static void on_group(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct taking *taking = owner;
    struct stream *stream = (struct stream *)tag;

    if (reply == NULL || stream->state != STREAM_GROUPING) {
        return;
    }
    if (reply->type != REDIS_REPLY_ERROR || reply_is_error(reply, "BUSYGROUP")) {
        if (reply->type != REDIS_REPLY_ERROR) {
            log_info(stream->name, "consumer group made, from the stream's first entry on");
        }
        taking_claim(taking, stream);
    } else if (reply_is_error(reply, "WRONGTYPE") ||
               strstr(reply->str, "requires the key to exist") != NULL) {
        stream_enter(stream, STREAM_ABSENT);
    } else {
        intake_on_error(taking->intake, stream->node, stream, "XGROUP CREATE", reply);
        if (reply_error_action(reply) == REDIS_ERROR_FULL) {
            /* A full Redis refuses to make a group before it looks whether there is one, but lets
             * it be read; and only what is read can be trimmed, so that there is room again. */
            taking_claim(taking, stream);
        }
    }
    intake_turn(taking->intake);
}

void taking_begin(struct taking *taking, struct stream *stream)
{
    const char *argv[] = {"XGROUP", "CREATE", stream->name, taking->streams->group, "0"};

    stream_enter(stream, STREAM_GROUPING);
    redis_link_sendv_as(stream->link, taking, on_group, (uintptr_t)stream, 5, argv);
}

/* --- life --- */

struct taking *taking_create(struct intake *intake, struct streams *streams, const char *consumer)
{
    struct taking *taking = memory_or_abort(calloc(1, sizeof *taking));
    char digits[STREAM_ID_DIGITS + 1];

    *taking = (struct taking){.intake = intake, .streams = streams};
    if (!stream_id_draw(digits)) { /* two drainers of one name are two holders */
        abort();
    }
    snprintf(taking->holder, sizeof taking->holder, "%s:%s", consumer, digits);
    return taking;
}

void taking_destroy(struct taking *taking)
{
    free(taking);
}

const char *taking_holder(const struct taking *taking)
{
    return taking->holder;
}
