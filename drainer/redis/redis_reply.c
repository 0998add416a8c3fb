/* redis_reply.c: see redis_reply.h. */
#include "drainer/redis/redis_reply.h"

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

const char *reply_problem(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of an unexpected kind";
}

enum redis_error_action reply_error_action(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR ? redis_error_action(reply->str) : REDIS_ERROR_OTHER;
}

bool reply_parse_id(const redisReply *reply, struct stream_entry_id *id)
{
    return reply_is_string(reply) && stream_entry_id_parse(reply->str, reply->len, id);
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

const redisReply *reply_find_group(const redisReply *groups, const char *name)
{
    for (size_t i = 0; reply_is_array(groups, 0) && i < groups->elements; i++) {
        const redisReply *found = reply_map_get(groups->element[i], "name");

        if (found != NULL && reply_is_string(found) && strcmp(found->str, name) == 0) {
            return groups->element[i];
        }
    }
    return NULL;
}

bool reply_is_gauge(const redisReply *reply)
{
    static const bool is_text[] = {false, false, true, true, true, false};
    bool sound = reply_is_array(reply, sizeof is_text / sizeof is_text[0]);

    for (size_t i = 0; sound && i < sizeof is_text / sizeof is_text[0]; i++) {
        sound = is_text[i] ? reply_is_string(reply->element[i])
                           : reply->element[i]->type == REDIS_REPLY_INTEGER;
    }
    return sound;
}
