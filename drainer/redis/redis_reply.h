/* redis_reply.h: reading hiredis' replies without trusting their shape. */
#ifndef BLOTTER_DRAINER_REDIS_REDIS_REPLY_H
#define BLOTTER_DRAINER_REDIS_REDIS_REPLY_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

#include "producer/redis_error.h"
#include "schema/stream.h"

bool reply_is_array(const redisReply *, size_t at_least);
bool reply_is_string(const redisReply *);
bool reply_is_error(const redisReply *, const char *code); /* does the error begin with it? */
bool reply_parse_id(const redisReply *, struct stream_entry_id *);
/* Returns the text of an error, or says that the answer is of an unexpected kind. */
const char *reply_problem(const redisReply *);
/* Finds what to do about an error; about an answer that is none: REDIS_ERROR_OTHER. */
enum redis_error_action reply_error_action(const redisReply *);

/* Finds the value behind a key in a flat list of pairs (XINFO); NULL: none. */
const redisReply *reply_map_get(const redisReply *map, const char *key);

/* Finds the group of that name in an answer to XINFO GROUPS; NULL: none. */
const redisReply *reply_find_group(const redisReply *groups, const char *name);

/* Says whether it is an answer of gauge.lua: three numbers, three ids that may be "". */
bool reply_is_gauge(const redisReply *);

#endif
