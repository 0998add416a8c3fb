/* owed.c: see owed.h. */
#include "producer/owed.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_SIZE = 64 };

bool owed_reserve(struct owed_queue *queue)
{
    if (queue->count < queue->size)
        return true;
    unsigned size = queue->size ? queue->size * 2 : FIRST_SIZE;
    struct owed *grown = malloc(size * sizeof *grown);
    if (grown == NULL)
        return false;
    for (unsigned i = 0; i < queue->count; i++)
        grown[i] = queue->ring[(queue->first + i) & (queue->size - 1)];
    free(queue->ring);
    queue->ring = grown;
    queue->size = size;
    queue->first = 0;
    return true;
}

void owed_push(struct owed_queue *queue, struct owed owed)
{
    assert(queue->count < queue->size);
    queue->ring[(queue->first + queue->count++) & (queue->size - 1)] = owed;
}

struct owed owed_pop(struct owed_queue *queue)
{
    assert(queue->count > 0);
    struct owed first = queue->ring[queue->first];
    queue->first = (queue->first + 1) & (queue->size - 1);
    queue->count--;
    return first;
}

const struct owed *owed_oldest(const struct owed_queue *queue)
{
    return queue->count ? &queue->ring[queue->first] : NULL;
}

void owed_release(struct owed_queue *queue)
{
    free(queue->ring);
    *queue = (struct owed_queue){0};
}
