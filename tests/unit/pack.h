/* pack.h: msgpack packed by msgpack-c into a buffer of a fixed size. */
#ifndef BLOTTER_TESTS_PACK_H
#define BLOTTER_TESTS_PACK_H

#include <assert.h>
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pack {
    unsigned char bytes[4096];
    size_t length;
    msgpack_packer packer;
};

static inline int pack_write(void *data, const char *bytes, size_t length)
{
    struct pack *pack = data;

    assert(length <= sizeof pack->bytes - pack->length);
    memcpy(pack->bytes + pack->length, bytes, length);
    pack->length += length;
    return 0;
}

static inline void pack_begin(struct pack *pack, unsigned pairs)
{
    pack->length = 0;
    msgpack_packer_init(&pack->packer, pack, pack_write);
    msgpack_pack_map(&pack->packer, pairs);
}

static inline void pack_text_of(struct pack *pack, const char *text, size_t length)
{
    msgpack_pack_str_with_body(&pack->packer, text, length);
}

static inline void pack_text(struct pack *pack, const char *text)
{
    pack_text_of(pack, text, strlen(text));
}

static inline void pack_integer(struct pack *pack, int64_t value)
{
    msgpack_pack_int64(&pack->packer, value);
}

static inline void pack_pair(struct pack *pack, const char *key, const char *value)
{
    pack_text(pack, key);
    pack_text(pack, value);
}

static inline void pack_integer_pair(struct pack *pack, const char *key, int64_t value)
{
    pack_text(pack, key);
    pack_integer(pack, value);
}

#endif
