/* room.h: memory for the texts that a record is made of, for the length of one call: the caller's stack, then the heap. */
#ifndef BLOTTER_PYTHON_ROOM_H
#define BLOTTER_PYTHON_ROOM_H

#include <stddef.h>

#define ROOM_BYTES 1536

struct room_chunk;

struct room {
    char *at;
    size_t left;
    struct room_chunk *chunks;
    char first[ROOM_BYTES];
};

/* Not all of it is cleared: that would take longer than the call. */
static inline void room_init(struct room *room)
{
    room->at = room->first;
    room->left = sizeof room->first;
    room->chunks = NULL;
}
void room_release(struct room *);

/* Bytes that are valid until room_release, or NULL: out of memory, and the exception is set. */
char *room_take(struct room *, size_t bytes);

/* Gives back what was not needed of the last taken. */
static inline void room_give_back(struct room *room, size_t bytes)
{
    room->at -= bytes;
    room->left += bytes;
}

#endif
