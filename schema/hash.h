/* hash.h: a fast hash of 64 bits, XXH3: for identities that nobody has a reason to forge. For
 * everything else there is sha256.h.
 *
 * Its value for the same bytes never changes: PostgreSQL keeps it, as the identity of entries whose
 * client gave none. */
#ifndef BLOTTER_SCHEMA_HASH_H
#define BLOTTER_SCHEMA_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t hash64(const void *bytes, size_t length)
{
    return XXH3_64bits(bytes, length);
}

/* Hashes one more part of something: `hash` is that of the parts before. */
static inline uint64_t hash64_add(uint64_t hash, const void *bytes, size_t length)
{
    return XXH3_64bits_withSeed(bytes, length, hash);
}

#endif
