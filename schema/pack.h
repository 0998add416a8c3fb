/* pack.h: msgpack-c's packers, bound to a pointer that they move on: msgpack_pack_int64(&at, 7).
 *
 * They look at no end: the caller has made sure of the room. Not to be included beside
 * <msgpack.h>, whose functions have the same names. */
#ifndef BLOTTER_SCHEMA_PACK_H
#define BLOTTER_SCHEMA_PACK_H

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* clang-format off */
#include <msgpack/sysdep.h>
#include <msgpack/timestamp.h>

#define msgpack_pack_inline_func(name) static inline void msgpack_pack##name
#define msgpack_pack_inline_func_fixint(name) static inline void msgpack_pack_fix##name
#define msgpack_pack_user unsigned char **
#define msgpack_pack_append_buffer(at, bytes, length) \
    (memcpy(*(at), (bytes), (length)), *(at) += (length))
#include <msgpack/pack_template.h>
/* clang-format on */

#endif
