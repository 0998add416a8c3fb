/* redis_reply.c: see redis_reply.h. */
#include "drainer/redis/redis_reply.h"

#include <inttypes.h>
#include <stdio.h>
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

/* Reads digits up to what is none, or to the end. False: there is no digit, or they are more than
 * 64 bits hold. */
static bool parse_digits(const char **at, const char *end, uint64_t *value)
{
    const char *first = *at;

    *value = 0;
    for (; *at < end && (unsigned char)(**at - '0') < 10; (*at)++) {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(**at - '0'), value)) {
            return false;
        }
    }
    return *at > first;
}

bool parse_entry_id(const char *text, size_t length, struct stream_entry_id *id)
{
    const char *at = text, *end = text + length;

    return parse_digits(&at, end, &id->ms) && at < end && *at++ == '-' &&
           parse_digits(&at, end, &id->seq) && at == end;
}

bool reply_parse_id(const redisReply *reply, struct stream_entry_id *id)
{
    return reply_is_string(reply) && parse_entry_id(reply->str, reply->len, id);
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
