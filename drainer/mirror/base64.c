/* base64.c: see base64.h. */
#include "drainer/mirror/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(char *out, const void *from, size_t length)
{
    const unsigned char *bytes = from;
    char *at = out;

    for (size_t i = 0; i < length; i += 3) {
        unsigned bits = (unsigned)bytes[i] << 16;

        bits |= i + 1 < length ? (unsigned)bytes[i + 1] << 8 : 0;
        bits |= i + 2 < length ? bytes[i + 2] : 0;
        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = i + 1 < length ? digits[bits >> 6 & 63] : '=';
        *at++ = i + 2 < length ? digits[bits & 63] : '=';
    }
    *at = '\0';
    return (size_t)(at - out);
}

long base64_decode(const char *text, size_t length, unsigned char *out)
{
    unsigned char *at = out;

    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    for (size_t i = 0; i < length; i += 4) {
        size_t count = length - i < 4 ? length - i : 4;
        unsigned bits = 0;

        for (size_t j = 0; j < count; j++) {
            const char *digit = text[i + j] == '\0' ? NULL : strchr(digits, text[i + j]);

            if (digit == NULL) {
                return -1;
            }
            bits |= (unsigned)(digit - digits) << (18 - 6 * j);
        }
        if (count == 1) {
            return -1;
        }
        for (size_t j = 0; j + 1 < count; j++) {
            *at++ = (unsigned char)(bits >> (16 - 8 * j));
        }
    }
    return at - out;
}
