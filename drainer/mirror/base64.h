/* base64.h: bytes as text, for a login by HTTP and for the bytes of rejects. */
#ifndef BLOTTER_DRAINER_MIRROR_BASE64_H
#define BLOTTER_DRAINER_MIRROR_BASE64_H

#include <stddef.h>

#define BASE64_BYTES(length) (((length) + 2) / 3 * 4 + 1) /* with a NUL */

/* Writes the characters and a NUL to `out` [BASE64_BYTES(length)]. Returns their number. */
size_t base64_encode(char *out, const void *bytes, size_t length);

/* Writes the bytes to `out`, which has room for 3 for each 4 characters. Returns their number; -1:
 * it is not base64. */
long base64_decode(const char *text, size_t length, unsigned char *out);

#endif
