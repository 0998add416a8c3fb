/* array.h: arrays that grow by doubling. */
#ifndef BLOTTER_SCHEMA_ARRAY_H
#define BLOTTER_SCHEMA_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { ARRAY_CAPACITY_FIRST = 16 };

/* Makes an array large enough for `needed` elements and returns it; *capacity is how many it holds.
 * NULL: out of memory; the array is then as it was. */
static inline void *array_grow(void *array, size_t *capacity, size_t needed, size_t element_bytes)
{
    size_t wanted = *capacity > 0 ? *capacity : ARRAY_CAPACITY_FIRST;

    if (needed <= *capacity && array != NULL) {
        return array;
    }
    while (wanted < needed) {
        if (wanted > SIZE_MAX / 2) {
            return NULL;
        }
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / element_bytes) {
        return NULL;
    }
    void *grown = realloc(array, wanted * element_bytes);
    if (grown != NULL) {
        *capacity = wanted;
    }
    return grown;
}

#endif
