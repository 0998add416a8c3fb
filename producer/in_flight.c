/* in_flight.c: see in_flight.h. */
#include "producer/in_flight.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_SIZE = 64 };

bool in_flight_reserve(struct in_flight_queue *queue)
{
    if (queue->count < queue->size) {
        return true;
    }
    unsigned size = queue->size ? queue->size * 2 : FIRST_SIZE;
    struct in_flight *grown = malloc(size * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (unsigned i = 0; i < queue->count; i++) {
        grown[i] = queue->ring[(queue->first + i) & (queue->size - 1)];
    }
    free(queue->ring);
    queue->ring = grown;
    queue->size = size;
    queue->first = 0;
    return true;
}

void in_flight_push(struct in_flight_queue *queue, struct in_flight in_flight)
{
    assert(queue->count < queue->size);
    queue->ring[(queue->first + queue->count++) & (queue->size - 1)] = in_flight;
}

struct in_flight in_flight_pop(struct in_flight_queue *queue)
{
    assert(queue->count > 0);
    struct in_flight first = queue->ring[queue->first];
    queue->first = (queue->first + 1) & (queue->size - 1);
    queue->count--;
    return first;
}

const struct in_flight *in_flight_oldest(const struct in_flight_queue *queue)
{
    return queue->count ? &queue->ring[queue->first] : NULL;
}

void in_flight_release(struct in_flight_queue *queue)
{
    free(queue->ring);
    *queue = (struct in_flight_queue){0};
}
