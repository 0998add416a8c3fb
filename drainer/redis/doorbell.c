/* doorbell.c: see doorbell.h. It waits behind the ids read last, so nothing can slip between a read
 * that found nothing and the waiting. The wait is bounded, because streams come and go; the intake
 * reads now and then in any case. */
#include "drainer/redis/doorbell.h"

#include <stdlib.h>

#include "drainer/redis/redis_reply.h"

#define BLOCK_MS "500"

struct doorbell {
    struct redis_link *link;
    struct streams *streams;
    void (*on_ring)(void *owner);
    void *owner;
    bool armed;
};

static void doorbell_on_answer(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct doorbell *doorbell = owner;

    (void)tag;
    doorbell->armed = false;
    if (reply != NULL) {
        doorbell->on_ring(doorbell->owner);
    }
}

static void doorbell_on_change(void *owner, bool up, const char *why)
{
    struct doorbell *doorbell = owner;

    (void)why;
    doorbell->armed = false;
    if (up) {
        doorbell->on_ring(doorbell->owner);
    }
}

static void doorbell_wait_for(struct doorbell *doorbell, struct stream **streams, size_t count)
{
    const char **argv = calloc(6 + 2 * count, sizeof(char *));
    char(*ids)[STREAM_ENTRY_ID_BYTES] = calloc(count, sizeof *ids);

    if (argv == NULL || ids == NULL) {
        abort();
    }
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
    doorbell->armed = redis_link_sendv(doorbell->link, doorbell_on_answer, 0, (int)(6 + 2 * count),
                                       argv, NULL) == 0;
    free(argv);
    free(ids);
}

void doorbell_arm(struct doorbell *doorbell)
{
    struct stream **streams;
    size_t count;

    if (doorbell->armed || !redis_link_up(doorbell->link)) {
        return;
    }
    streams = calloc(doorbell->streams->count + 1, sizeof(struct stream *));
    if (streams == NULL) {
        abort();
    }
    count = streams_to_read(doorbell->streams, streams);
    if (count > 0) {
        doorbell_wait_for(doorbell, streams, count);
    }
    free(streams);
}

struct doorbell *doorbell_create(const struct redis_link_options *link, struct streams *streams,
                                 void (*on_ring)(void *owner), void *owner, char *error,
                                 size_t error_size)
{
    struct doorbell *doorbell = calloc(1, sizeof *doorbell);
    struct redis_link_options options = *link;

    if (doorbell == NULL) {
        abort();
    }
    options.on_change = doorbell_on_change;
    options.owner = doorbell;
    *doorbell = (struct doorbell){.streams = streams, .on_ring = on_ring, .owner = owner};
    doorbell->link = redis_link_create(&options, error, error_size);
    if (doorbell->link == NULL) {
        free(doorbell);
        return NULL;
    }
    return doorbell;
}

void doorbell_destroy(struct doorbell *doorbell)
{
    if (doorbell != NULL) {
        redis_link_destroy(doorbell->link);
        free(doorbell);
    }
}

void doorbell_start(struct doorbell *doorbell)
{
    redis_link_start(doorbell->link);
}
