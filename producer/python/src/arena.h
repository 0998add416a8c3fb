/* arena.h: memory for the texts of a record, for the length of one call: first the caller's stack,
 * then the heap. */
#ifndef BLOTTER_PYTHON_ARENA_H
#define BLOTTER_PYTHON_ARENA_H

#include <stddef.h>

enum { ARENA_BYTES = 1536 };

struct arena_chunk;

struct arena {
    char *at;
    size_t left;
    struct arena_chunk *chunks;
    char first[ARENA_BYTES];
};

/* Does not clear the bytes: that would take longer than the call. */
static inline void arena_init(struct arena *arena)
{
    arena->at = arena->first;
    arena->left = sizeof arena->first;
    arena->chunks = NULL;
}
void arena_release(struct arena *);

/* Returns bytes that are valid until arena_release, or NULL with MemoryError set. */
char *arena_take(struct arena *, size_t bytes);

/* Gives back the unused end of the bytes taken last. */
static inline void arena_give_back(struct arena *arena, size_t bytes)
{
    arena->at -= bytes;
    arena->left += bytes;
}

#endif
