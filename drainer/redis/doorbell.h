/* doorbell.h: waits, in a blocking XREAD on connections of its own, until a stream has something
 * new. It never takes an entry: its answer just says that reading is worth while.
 *
 * One connection waits for all streams. In a cluster one command may not name keys of several
 * slots, so each stream has a connection, up to DOORBELL_LINKS; where there are more streams they
 * take turns. One thread; never blocks the loop. */
#ifndef BLOTTER_DRAINER_REDIS_DOORBELL_H
#define BLOTTER_DRAINER_REDIS_DOORBELL_H

#include "drainer/redis/streams.h"
#include "producer/redis_link.h"

struct doorbell;

enum { DOORBELL_LINKS = 64 };

struct doorbell_options {
    struct redis_link_options link; /* as for the reading connection, without its callbacks */
    struct node *node;              /* whose streams are waited for; the callback's owner */
    struct streams *streams;
    bool each_alone;
    /* Something may be there. stream NULL: in any of them. */
    void (*on_ring)(void *owner, struct stream *stream);
    /* All streams were waited for, and nothing has come. Not called where each is alone. */
    void (*on_quiet)(void *owner);
};

struct doorbell *doorbell_create(const struct doorbell_options *, char *error, size_t error_size);
void doorbell_destroy(struct doorbell *); /* takes NULL */
void doorbell_start(struct doorbell *);

/* Waits behind the last id read of every stream that is being read, if it does not wait already. */
void doorbell_arm(struct doorbell *);

/* Says whether its connection waits for all streams that were read when it was armed. */
bool doorbell_waits_for_all(const struct doorbell *);

#endif
