/* doorbell.c: see doorbell.h. It waits behind the ids read last, so nothing can slip between a read
 * that found nothing and the waiting. The wait is bounded, because streams come and go; the intake
 * reads now and then in any case. */
#include "drainer/redis/doorbell.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/redis/redis_reply.h"
#include "producer/redis_url.h"

/* After a second without an answer a link asks sentinels, or the other nodes, where its master is
 * (redis_moves.c): a healthy wait is over by then. */
#define BLOCK_MS "750"

/* A connection that waits. */
struct bell {
    struct doorbell *doorbell;
    struct redis_link *link;
    struct stream *stream; /* that it waits for; NULL: for all */
    bool armed;
};

struct doorbell {
    struct doorbell_options options;
    char *url, *password, *name; /* copies, for connections that are made later */
    struct redis_host host;
    struct bell bells[DOORBELL_LINKS];
    size_t count;
    size_t next; /* of several streams: the first to be waited for */
};

static void disarm(struct bell *bell)
{
    const struct streams *streams = bell->doorbell->options.streams;

    for (size_t i = 0; i < streams->count && bell->armed && bell->stream == NULL; i++) {
        streams->all[i]->waited_for &= streams->all[i]->node != bell->doorbell->options.node;
    }
    if (bell->stream != NULL) {
        bell->stream->waited_for = false;
    }
    bell->stream = NULL;
    bell->armed = false;
}

/* Rings for the streams that the answer names: they have something new. */
static void ring_for_each(struct doorbell *doorbell, const redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *name =
            reply_is_array(reply->element[i], 2) ? reply->element[i]->element[0] : NULL;

        doorbell->options.on_ring(
            doorbell->options.node,
            name != NULL && reply_is_string(name)
                ? streams_find(doorbell->options.streams, name->str, name->len)
                : NULL);
    }
    if (reply->type != REDIS_REPLY_ARRAY) { /* an error: the next read meets it, too */
        doorbell->options.on_ring(doorbell->options.node, NULL);
    }
}

static void doorbell_on_answer(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct bell *bell = owner;
    struct doorbell *doorbell = bell->doorbell;
    struct stream *stream = bell->stream;

    (void)tag;
    disarm(bell);
    if (reply == NULL) {
        return;
    }
    if (reply->type != REDIS_REPLY_NIL && stream == NULL) {
        ring_for_each(doorbell, reply);
    } else if (reply->type != REDIS_REPLY_NIL) {
        doorbell->options.on_ring(doorbell->options.node, stream);
    } else if (!doorbell->options.each_alone) {
        doorbell->options.on_quiet(doorbell->options.node);
    }
}

static void doorbell_on_change(void *owner, bool up, const char *why)
{
    struct bell *bell = owner;
    struct doorbell *doorbell = bell->doorbell;

    (void)why;
    disarm(bell);
    if (up && !doorbell->options.each_alone) {
        doorbell->options.on_ring(doorbell->options.node, NULL);
    }
}

static void doorbell_wait_for(struct bell *bell, struct stream **streams, size_t count)
{
    const char **argv = memory_or_abort(calloc(6 + 2 * count, sizeof(char *)));
    char(*ids)[STREAM_ENTRY_ID_BYTES] = memory_or_abort(calloc(count, sizeof *ids));

    argv[0] = "XREAD";
    argv[1] = "COUNT";
    argv[2] = "1";
    argv[3] = "BLOCK";
    argv[4] = BLOCK_MS;
    argv[5] = "STREAMS";
    for (size_t i = 0; i < count; i++) {
        bool nothing_read = streams[i]->last_read.ms == 0 && streams[i]->last_read.seq == 0;

        stream_entry_id_format(ids[i], streams[i]->last_read);
        argv[6 + i] = streams[i]->name;
        argv[6 + count + i] = nothing_read ? "$" : ids[i];
    }
    bell->armed =
        redis_link_sendv(bell->link, doorbell_on_answer, 0, (int)(6 + 2 * count), argv) == 0;
    free(argv);
    free(ids);
}

static struct bell *add_bell(struct doorbell *doorbell, char *error, size_t error_size)
{
    struct bell *bell = &doorbell->bells[doorbell->count];
    struct redis_link_options link = doorbell->options.link;

    link.url = doorbell->url;
    link.password = doorbell->password;
    link.name = doorbell->name;
    link.node = doorbell->host.port == 0 ? NULL : &doorbell->host;
    link.on_change = doorbell_on_change;
    link.owner = bell;
    bell->doorbell = doorbell;
    bell->link = redis_link_create(&link, error, error_size);
    if (bell->link == NULL) {
        return NULL;
    }
    doorbell->count++;
    return bell;
}

/* Returns a connection that is free; it is made where all wait and more are allowed. NULL: none is.
 */
static struct bell *free_bell(struct doorbell *doorbell)
{
    char ignored[256];
    bool one_comes = false;

    for (size_t i = 0; i < doorbell->count; i++) {
        if (!doorbell->bells[i].armed && redis_link_up(doorbell->bells[i].link)) {
            return &doorbell->bells[i];
        }
        one_comes = one_comes || !doorbell->bells[i].armed;
    }
    if (!one_comes && doorbell->count < DOORBELL_LINKS) {
        struct bell *bell = add_bell(doorbell, ignored, sizeof ignored);

        if (bell != NULL) {
            redis_link_start(bell->link);
        }
    }
    return NULL; /* not before it is up */
}

/* Waits for those that nobody waits for, each turn beginning behind the last one waited for. */
static void arm_each(struct doorbell *doorbell, struct stream **streams, size_t count)
{
    struct bell *bell;

    for (size_t n = 0; n < count; n++) {
        struct stream *stream = streams[(doorbell->next + n) % count];

        if (stream->waited_for) {
            continue;
        }
        bell = free_bell(doorbell);
        if (bell == NULL) {
            doorbell->next = (doorbell->next + n) % count;
            return;
        }
        doorbell_wait_for(bell, &stream, 1);
        bell->stream = bell->armed ? stream : NULL;
        stream->waited_for = bell->armed;
    }
}

void doorbell_arm(struct doorbell *doorbell)
{
    struct stream **streams;
    size_t count;

    if (!doorbell->options.each_alone &&
        (doorbell->bells[0].armed || !redis_link_up(doorbell->bells[0].link))) {
        return;
    }
    streams =
        memory_or_abort(calloc(doorbell->options.streams->count + 1, sizeof(struct stream *)));
    count = streams_to_read(doorbell->options.streams, doorbell->options.node, streams);
    if (count > 0 && doorbell->options.each_alone) {
        arm_each(doorbell, streams, count);
    } else if (count > 0) {
        doorbell_wait_for(&doorbell->bells[0], streams, count);
        for (size_t i = 0; i < count; i++) {
            streams[i]->waited_for = doorbell->bells[0].armed;
        }
    }
    free(streams);
}

bool doorbell_waits_for_all(const struct doorbell *doorbell)
{
    return !doorbell->options.each_alone && doorbell->bells[0].armed;
}

struct doorbell *doorbell_create(const struct doorbell_options *options, char *error,
                                 size_t error_size)
{
    struct doorbell *doorbell = memory_or_abort(calloc(1, sizeof *doorbell));

    doorbell->options = *options;
    doorbell->url = memory_copy(options->link.url);
    doorbell->password = memory_copy(options->link.password);
    doorbell->name = memory_copy(options->link.name);
    if (options->link.node != NULL) {
        doorbell->host = *options->link.node;
    }
    if (add_bell(doorbell, error, error_size) == NULL) {
        doorbell_destroy(doorbell);
        return NULL;
    }
    return doorbell;
}

static void free_secret(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

void doorbell_destroy(struct doorbell *doorbell)
{
    if (doorbell == NULL) {
        return;
    }
    for (size_t i = 0; i < doorbell->count; i++) {
        redis_link_destroy(doorbell->bells[i].link);
        disarm(&doorbell->bells[i]);
    }
    free_secret(doorbell->url);
    free_secret(doorbell->password);
    free(doorbell->name);
    free(doorbell);
}

void doorbell_start(struct doorbell *doorbell)
{
    redis_link_start(doorbell->bells[0].link);
}
