/* pack.h: msgpack put together by hand, so that a test can also write what no encoder would. */
#ifndef BLOTTER_TESTS_PACK_H
#define BLOTTER_TESTS_PACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pack {
    unsigned char bytes[4096];
    size_t length;
};

static inline void pack_byte(struct pack *pack, unsigned byte)
{
    pack->bytes[pack->length++] = (unsigned char)byte;
}

static inline void pack_begin(struct pack *pack, unsigned pairs)
{
    pack->length = 0;
    pack_byte(pack, 0xde);
    pack_byte(pack, pairs >> 8);
    pack_byte(pack, pairs & 0xff);
}

static inline void pack_text_of(struct pack *pack, const char *text, size_t length)
{
    pack_byte(pack, 0xda);
    pack_byte(pack, (unsigned)length >> 8);
    pack_byte(pack, length & 0xff);
    memcpy(pack->bytes + pack->length, text, length);
    pack->length += length;
}

static inline void pack_text(struct pack *pack, const char *text)
{
    pack_text_of(pack, text, strlen(text));
}

static inline void pack_integer(struct pack *pack, int64_t value)
{
    pack_byte(pack, 0xd3);
    for (int shift = 56; shift >= 0; shift -= 8) {
        pack_byte(pack, (unsigned)((uint64_t)value >> shift) & 0xff);
    }
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
