/* copy_checked.c: see copy_checked.h. */
#include "schema/copy_checked.h"

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

#if defined(__has_feature)
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||   \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer) || \
    HAS_FEATURE(memory_sanitizer)
bool chunk_is_watched = true;
#else
bool chunk_is_watched = false;
#endif

/* Makes a request that only memcheck answers: it is nonzero there. Other tools do not mind. */
static bool has_memcheck(void)
{
#if defined(VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE)
    return VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE(&chunk_is_watched, sizeof chunk_is_watched) !=
           0;
#else
    return false;
#endif
}

static __attribute__((constructor)) void chunk_look_for_watchers(void)
{
    chunk_is_watched |= has_memcheck();
}

chunk chunk_read_bytewise(const char *text)
{
    chunk bytes = {0};

    for (int i = 0; i < CHUNK_BYTES && text[i] != '\0'; i++) {
        bytes[i] = (signed char)text[i];
    }
    return bytes;
}
