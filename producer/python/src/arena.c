/* arena.c: see arena.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "arena.h"

struct arena_chunk {
    struct arena_chunk *next;
    char bytes[];
};

static char *add_chunk(struct arena *arena, size_t bytes)
{
    size_t size = bytes > ARENA_BYTES ? bytes : ARENA_BYTES;
    struct arena_chunk *chunk = PyMem_Malloc(sizeof *chunk + size);
    if (chunk == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->at = chunk->bytes + bytes;
    arena->left = size - bytes;
    return chunk->bytes;
}

char *arena_take(struct arena *arena, size_t bytes)
{
    if (bytes > arena->left) {
        return add_chunk(arena, bytes);
    }
    char *taken = arena->at;
    arena->at += bytes;
    arena->left -= bytes;
    return taken;
}

void arena_release(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        PyMem_Free(chunk);
    }
}
