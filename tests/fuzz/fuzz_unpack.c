/* fuzz_msgpack.c: schema/unpack.h against msgpack-c, on any bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/check.h"
#include "tests/unit/msgpack_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + (size == 0)); /* ends where the bytes do */

    memcpy(bytes, data, size);
    CHECK(msgpack_readers_agree(bytes, size));
    free(bytes);
    return 0;
}
