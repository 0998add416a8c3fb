/* stream_pattern.h: which streams the setting `streams` means: one glob pattern of Redis', or
 * several, comma separated. */
#ifndef BLOTTER_DRAINER_REDIS_STREAM_PATTERN_H
#define BLOTTER_DRAINER_REDIS_STREAM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

enum { STREAM_PATTERN_BYTES = 512 };

/* Says whether one of the patterns matches the name. */
bool stream_pattern_matches(const char *patterns, const char *name, size_t length);

/* Writes the pattern to look with by SCAN MATCH: the only one, or one that covers all. */
void stream_pattern_of_scan(const char *patterns, char out[STREAM_PATTERN_BYTES]);

#endif
