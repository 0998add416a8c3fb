/* room.c: see room.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "room.h"

struct room_chunk {
    struct room_chunk *next;
    char bytes[];
};

static char *add_chunk(struct room *room, size_t bytes)
{
    size_t size = bytes > ROOM_BYTES ? bytes : ROOM_BYTES;
    struct room_chunk *chunk = PyMem_Malloc(sizeof *chunk + size);
    if (chunk == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    chunk->next = room->chunks;
    room->chunks = chunk;
    room->at = chunk->bytes + bytes;
    room->left = size - bytes;
    return chunk->bytes;
}

char *room_take(struct room *room, size_t bytes)
{
    if (bytes > room->left)
        return add_chunk(room, bytes);
    char *taken = room->at;
    room->at += bytes;
    room->left -= bytes;
    return taken;
}

void room_release(struct room *room)
{
    while (room->chunks) {
        struct room_chunk *chunk = room->chunks;
        room->chunks = chunk->next;
        PyMem_Free(chunk);
    }
}
