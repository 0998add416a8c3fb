/* stream_pattern.c: see stream_pattern.h. fnmatch(3) knows what Redis' patterns have: * ? [abc]
 * [^a] [a-z] and \. */
#include "drainer/redis/stream_pattern.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "schema/stream.h"

bool stream_pattern_matches(const char *patterns, const char *name, size_t length)
{
    char pattern[STREAM_PATTERN_BYTES], text[STREAM_NAME_BYTES];
    const char *at = patterns;

    if (length >= sizeof text) {
        return false;
    }
    memcpy(text, name, length);
    text[length] = '\0';
    for (;;) {
        size_t part = strcspn(at, ",");

        snprintf(pattern, sizeof pattern, "%.*s", (int)part, at);
        if (part < sizeof pattern && fnmatch(pattern, text, 0) == 0) {
            return true;
        }
        if (at[part] == '\0') {
            return false;
        }
        at += part + 1;
    }
}

void stream_pattern_of_scan(const char *patterns, char out[STREAM_PATTERN_BYTES])
{
    bool several = strchr(patterns, ',') != NULL || strlen(patterns) >= STREAM_PATTERN_BYTES;

    snprintf(out, STREAM_PATTERN_BYTES, "%s", several ? STREAM_PREFIX "*" : patterns);
}
