/* owed.h: the commands of a connection that have no answer yet, in their order: a queue, so that a command costs no allocation
 * of its own. One thread. */
#ifndef BLOTTER_PRODUCER_OWED_H
#define BLOTTER_PRODUCER_OWED_H

#include <stdbool.h>
#include <stdint.h>

#include "producer/redis_link.h"

struct owed {
    redis_link_reply *callback;
    void *owner;
    uintptr_t tag;
    int64_t sent_ms;
};

struct owed_queue {
    struct owed *ring; /* of `size`, a power of two */
    unsigned size, first, count;
};

/* Makes room for one more. False: out of memory. */
bool owed_reserve(struct owed_queue *);
void owed_push(struct owed_queue *, struct owed);          /* for which room was reserved */
struct owed owed_pop(struct owed_queue *);                 /* the oldest; there must be one */
const struct owed *owed_oldest(const struct owed_queue *); /* NULL: none */
void owed_release(struct owed_queue *);

#endif
