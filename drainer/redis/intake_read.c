/* intake_read.c: everything held is read in one command, without BLOCK.
 *
 * COUNT is per stream: the room left in the batch is divided by the number of streams.
 *
 * One answer is kept small, though a batch holds thousands. Where Redis shares processors with us
 * and PostgreSQL, an answer of 2000 entries keeps its processor busy for longer than PostgreSQL's
 * COPY can do without us: the rate was 0.86 of COPY's own, with answers of 100 to 400 it is 0.93.
 */
#include <stdio.h>
#include <stdlib.h>

#include "drainer/redis/doorbell.h"
#include "drainer/redis/intake_private.h"
#include "drainer/redis/redis_reply.h"

enum {
    ENTRIES_PER_READ = 400,
    ENTRIES_PER_STREAM = 10, /* at least: of many streams it may be one that has a backlog */
    ENTRIES_PER_READ_MAX = 2000,
};

void intake_take_read(struct intake *intake, struct stream_entry_id id,
                      const struct raw_field *fields, size_t field_count)
{
    if (intake->answer_stream != NULL) {
        gather_entry(&intake->gather, intake->answer_stream, id, fields, field_count, 1);
        intake->counters.entries++;
    }
}

void intake_on_read(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct intake *intake = owner;

    intake->reading = false;
    for (size_t i = 0; i < intake->options.streams->count; i++) {
        intake->options.streams->all[i]->asked = false;
    }
    if (reply == NULL || tag != (uintptr_t)intake->generation) {
        return;
    }
    if (reply->type == REDIS_REPLY_NIL) {
        intake->at_end = true;
        intake->error_pause_ms = 0;
    } else if (reply->type == REDIS_REPLY_ARRAY) {
        intake->error_pause_ms = 0;
    } else if (reply_is_error(reply, "NOGROUP")) {
        intake_on_no_group(intake, reply->str);
    } else {
        intake_on_error(intake, "XREADGROUP", reply);
    }
    intake_turn(intake);
}

static size_t most_in_answer(size_t streams)
{
    size_t entries = streams * ENTRIES_PER_STREAM;

    return entries < ENTRIES_PER_READ       ? ENTRIES_PER_READ
           : entries > ENTRIES_PER_READ_MAX ? ENTRIES_PER_READ_MAX
                                            : entries;
}

static void read_streams(struct intake *intake)
{
    struct streams *streams = intake->options.streams;
    struct stream **reading = calloc(streams->count + 1, sizeof(struct stream *));
    const char **argv = calloc(7 + 2 * streams->count, sizeof(char *));
    char count[24];
    size_t n;

    if (reading == NULL || argv == NULL) {
        abort();
    }
    n = streams_to_read(streams, reading);
    if (n > 0) {
        snprintf(count, sizeof count, "%zu", gather_room(&intake->gather, n, most_in_answer(n)));
        argv[0] = "XREADGROUP";
        argv[1] = "GROUP";
        argv[2] = STREAM_GROUP;
        argv[3] = intake->options.consumer;
        argv[4] = "COUNT";
        argv[5] = count;
        argv[6] = "STREAMS";
        for (size_t i = 0; i < n; i++) {
            argv[7 + i] = reading[i]->name;
            argv[7 + n + i] = ">";
        }
        intake->at_end = false;
        intake->reading =
            redis_link_sendv(intake->link, intake_on_read, (uintptr_t)intake->generation,
                             (int)(7 + 2 * n), argv, NULL) == 0;
        for (size_t i = 0; i < n; i++) {
            reading[i]->asked = intake->reading;
        }
    } else {
        intake->at_end = true;
    }
    free(reading);
    free(argv);
}

void intake_read(struct intake *intake)
{
    if (!intake->reading_allowed || intake->reading || intake->claiming != NULL ||
        !redis_link_up(intake->link) || intake_now_ms() < intake->paused_until_ms ||
        gather_is_full(&intake->gather)) {
        return;
    }
    if (intake_claim(intake)) {
        return;
    }
    if (!intake->at_end) {
        read_streams(intake);
    } else {
        doorbell_arm(intake->doorbell);
    }
}
