/* sha256.h: SHA-256 (FIPS 180-4) over bytes that come in pieces. No library: the producer's hosts
 * and Debian 12's build have none that we link. One hash at a time per struct. */
#ifndef BLOTTER_SCHEMA_SHA256_H
#define BLOTTER_SCHEMA_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK_BYTES = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes added so far */
    unsigned char block[SHA256_BLOCK_BYTES];
};

void sha256_begin(struct sha256 *);
void sha256_add(struct sha256 *, const void *bytes, size_t length);
void sha256_end(struct sha256 *, unsigned char digest[SHA256_BYTES]);

#endif
