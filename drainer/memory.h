/* memory.h: memory of a program that ends where there is none: Redis and the journals keep what was
 * not loaded. */
#ifndef BLOTTER_DRAINER_MEMORY_H
#define BLOTTER_DRAINER_MEMORY_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "schema/array.h"

/* Returns what was made; ends the program where that is NULL, as there was no memory for it. */
static inline void *memory_or_abort(void *made)
{
    if (made == NULL) {
        abort();
    }
    return made;
}

/* Copies a text; NULL stays NULL. */
static inline char *memory_copy(const char *text)
{
    return text == NULL ? NULL : memory_or_abort(strdup(text));
}

/* Makes an array large enough for `needed` elements, as array_grow() does. */
static inline void *array_grow_or_abort(void *array, size_t *capacity, size_t needed,
                                        size_t element_bytes)
{
    return memory_or_abort(array_grow(array, capacity, needed, element_bytes));
}

#endif
