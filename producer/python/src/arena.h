/* arena.h: memory for the texts that a record is made of, for the length of one call: the caller's
 * stack, then the heap. */
#ifndef BLOTTER_PYTHON_ROOM_H
#define BLOTTER_PYTHON_ROOM_H

#include <stddef.h>

enum { ARENA_BYTES = 1536 };

struct arena_chunk;

struct arena {
    char *at;
    size_t left;
    struct arena_chunk *chunks;
    char first[ARENA_BYTES];
};

/* Not all of it is cleared: that would take longer than the call. */
static inline void arena_init(struct arena *arena)
{
    arena->at = arena->first;
    arena->left = sizeof arena->first;
    arena->chunks = NULL;
}
void arena_release(struct arena *);

/* Bytes that are valid until arena_release, or NULL: out of memory, and the exception is set. */
char *arena_take(struct arena *, size_t bytes);

/* Gives back what was not needed of the last taken. */
static inline void arena_give_back(struct arena *arena, size_t bytes)
{
    arena->at -= bytes;
    arena->left += bytes;
}

#endif
