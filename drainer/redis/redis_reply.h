/* redis_reply.h: reading hiredis' replies without trusting their shape. */
#ifndef BLOTTER_DRAINER_REDIS_REDIS_REPLY_H
#define BLOTTER_DRAINER_REDIS_REDIS_REPLY_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

#include "drainer/batch.h"

enum { ENTRY_ID_BYTES = 48 }; /* "ms-seq", with the NUL */

bool reply_is_array(const redisReply *, size_t at_least);
bool reply_is_string(const redisReply *);
bool reply_is_error(const redisReply *, const char *code); /* does the error begin with it? */
bool reply_parse_id(const redisReply *, struct stream_entry_id *);
bool parse_entry_id(const char *text, size_t length, struct stream_entry_id *);
void format_entry_id(char out[ENTRY_ID_BYTES], struct stream_entry_id);

/* The value behind a key in a flat list of pairs (XINFO); NULL: none. */
const redisReply *reply_map_get(const redisReply *map, const char *key);

#endif
