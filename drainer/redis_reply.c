/* redis_reply.c: see redis_reply.h. */
#include "drainer/redis_reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool reply_is_array(const redisReply *reply, size_t at_least)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= at_least;
}

bool reply_is_string(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

bool reply_is_error(const redisReply *reply, const char *code)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, code, strlen(code)) == 0;
}

bool reply_parse_id(const redisReply *reply, struct stream_entry_id *id)
{
    char *end;

    if (!reply_is_string(reply)) {
        return false;
    }
    id->ms = strtoull(reply->str, &end, 10);
    if (*end != '-') {
        return false;
    }
    id->seq = strtoull(end + 1, &end, 10);
    return *end == '\0';
}

void format_entry_id(char out[ENTRY_ID_BYTES], struct stream_entry_id id)
{
    snprintf(out, ENTRY_ID_BYTES, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}

const redisReply *reply_map_get(const redisReply *map, const char *key)
{
    if (map->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }
    for (size_t i = 0; i + 1 < map->elements; i += 2) {
        if (reply_is_string(map->element[i]) && strcmp(map->element[i]->str, key) == 0) {
            return map->element[i + 1];
        }
    }
    return NULL;
}
