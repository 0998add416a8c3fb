/* in_flight.h: the commands of a connection that have no answer yet, in their order: a queue, so
 * that a command costs no allocation of its own. One thread. */
#ifndef BLOTTER_PRODUCER_IN_FLIGHT_H
#define BLOTTER_PRODUCER_IN_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

struct redisReply;

struct in_flight {
    void (*callback)(void *owner, uintptr_t tag, struct redisReply *reply); /* a redis_link_reply */
    void *owner;
    uintptr_t tag;
    int64_t sent_ms;
};

struct in_flight_queue {
    struct in_flight *ring; /* of `size`, a power of two */
    unsigned size, first, count;
};

/* Makes room for one more. False: out of memory. */
bool in_flight_reserve(struct in_flight_queue *);
void in_flight_push(struct in_flight_queue *, struct in_flight); /* for which room was reserved */
struct in_flight in_flight_pop(struct in_flight_queue *);        /* the oldest; there must be one */
const struct in_flight *in_flight_oldest(const struct in_flight_queue *); /* NULL: none */
void in_flight_release(struct in_flight_queue *);

#endif
