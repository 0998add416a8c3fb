/* stream.c: the names under which records travel through Redis (the scheme is in stream.h).
 *
 * Names are made of validated parts only, so that a name never needs quoting, and a part never
 * holds the `:` that separates or the braces that Redis Cluster hashes by. */
#include "schema/stream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static bool name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool stream_name_part_valid(const char *text, size_t length)
{
    if (length < 1 || length > LIMIT_EXCHANGE_BYTES) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!name_character(text[i])) {
            return false;
        }
    }
    return true;
}

void stream_name(char out[STREAM_NAME_BYTES], const char *exchange, const char *lane)
{
    bool with_lane = lane && *lane;

    assert(stream_name_part_valid(exchange, strlen(exchange)));
    assert(!with_lane || stream_name_part_valid(lane, strlen(lane)));
    snprintf(out, STREAM_NAME_BYTES, STREAM_PREFIX "%s%s%s", exchange, with_lane ? ":" : "",
             with_lane ? lane : "");
}

void stream_ack_name(char out[STREAM_ACK_NAME_BYTES], const char *stream, int64_t producer_id)
{
    snprintf(out, STREAM_ACK_NAME_BYTES, "blotter-ack:{%s}:%" PRId64, stream, producer_id);
}

bool stream_id_draw(char out[STREAM_ID_DIGITS + 1])
{
    unsigned char bytes[STREAM_ID_DIGITS / 2];

    out[0] = '\0';
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return false;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
    return true;
}

bool stream_id_valid(const char *text, size_t length)
{
    return length == STREAM_ID_DIGITS && strspn(text, "0123456789abcdef") == STREAM_ID_DIGITS;
}

const char *stream_lane(const char *name, const char *exchange)
{
    const char *behind = name + sizeof STREAM_PREFIX - 1 + strlen(exchange);

    return *behind == ':' ? behind + 1 : behind;
}

void stream_id_name(char out[STREAM_KEY_BYTES], const char *stream)
{
    snprintf(out, STREAM_KEY_BYTES, "blotter-id:{%s}", stream);
}

void stream_load_name(char out[STREAM_KEY_BYTES], const char *stream)
{
    snprintf(out, STREAM_KEY_BYTES, "blotter-load:{%s}", stream);
}

void stream_mirror_name(char out[STREAM_KEY_BYTES], const char *stream)
{
    snprintf(out, STREAM_KEY_BYTES, "blotter-mirror:{%s}", stream);
}

static bool copy_part(char out[LIMIT_EXCHANGE_BYTES + 1], const char *text, size_t length)
{
    if (!stream_name_part_valid(text, length)) {
        return false;
    }
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

bool stream_parse(const char *name, size_t length, char exchange[LIMIT_EXCHANGE_BYTES + 1],
                  char lane[LIMIT_EXCHANGE_BYTES + 1])
{
    const size_t prefix = sizeof STREAM_PREFIX - 1;

    if (length < prefix || memcmp(name, STREAM_PREFIX, prefix) != 0) {
        return false;
    }
    name += prefix;
    length -= prefix;
    lane[0] = '\0';
    const char *colon = memchr(name, ':', length);
    if (colon == NULL) {
        return copy_part(exchange, name, length);
    }
    size_t before = (size_t)(colon - name);
    return copy_part(exchange, name, before) && copy_part(lane, colon + 1, length - before - 1);
}

/* Reads digits up to a byte that is none, or to the end. False: there is no digit, or the number is
 * larger than 64 bits. */
static bool stream_parse_digits(const char **at, const char *end, uint64_t *value)
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

bool stream_entry_id_parse(const char *text, size_t length, struct stream_entry_id *id)
{
    const char *at = text, *end = text + length;

    return stream_parse_digits(&at, end, &id->ms) && at < end && *at++ == '-' &&
           stream_parse_digits(&at, end, &id->seq) && at == end;
}

void stream_entry_id_format(char out[STREAM_ENTRY_ID_BYTES], struct stream_entry_id id)
{
    snprintf(out, STREAM_ENTRY_ID_BYTES, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}

struct stream_entry_id stream_entry_id_next(struct stream_entry_id id)
{
    id.seq++;
    id.ms += id.seq == 0;
    return id;
}

int stream_entry_id_compare(struct stream_entry_id a, struct stream_entry_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}
