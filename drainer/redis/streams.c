/* streams.c: see streams.h. */
#include "drainer/redis/streams.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"

/* clang-format off */
static const char *const state_texts[] = {
#define X(name, text) text,
    STREAM_STATES(X)
#undef X
};
/* clang-format on */

/* Every drainer of every version must come to the same key: FNV-1a, 64 bits, of the stream's name.
 */
static int64_t lock_key_of(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++) {
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    }
    return (int64_t)h;
}

/* Where the stream is, or would be, in the list. */
static size_t place_of(const struct streams *streams, const char *name, size_t length)
{
    size_t from = 0, to = streams->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        const char *there = streams->all[middle]->name;
        int order = strncmp(there, name, length);

        if (order < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

struct stream *streams_find(const struct streams *streams, const char *name, size_t length)
{
    size_t at = place_of(streams, name, length);
    struct stream *stream = at < streams->count ? streams->all[at] : NULL;

    return stream != NULL && strlen(stream->name) == length &&
                   memcmp(stream->name, name, length) == 0
               ? stream
               : NULL;
}

struct stream *streams_add(struct streams *streams, const char *name, size_t length)
{
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];
    struct stream *stream = streams_find(streams, name, length);
    size_t at = place_of(streams, name, length);

    if (stream != NULL || !stream_parse(name, length, exchange, lane)) {
        return stream;
    }
    stream = calloc(1, sizeof *stream);
    streams->all = realloc(streams->all, (streams->count + 1) * sizeof(struct stream *));
    if (stream == NULL || streams->all == NULL) {
        abort();
    }
    memmove(streams->all + at + 1, streams->all + at,
            (streams->count - at) * sizeof(struct stream *));
    streams->all[at] = stream;
    streams->count++;
    stream_name(stream->name, exchange, lane);
    memcpy(stream->exchange, exchange, sizeof exchange);
    memcpy(stream->lane, lane, sizeof lane);
    stream->lock_key = lock_key_of(stream->name);
    log_info(stream->name, "found");
    return stream;
}

void streams_release(struct streams *streams)
{
    for (size_t i = 0; i < streams->count; i++) {
        free(streams->all[i]);
    }
    free(streams->all);
    *streams = (struct streams){0};
}

void stream_enter(struct stream *stream, enum stream_state state)
{
    if (stream->state == state) {
        return;
    }
    assert(stream->state != STREAM_FREE || state == STREAM_GROUPING);
    assert(state != STREAM_READING || stream->state == STREAM_CLAIMING ||
           stream->state == STREAM_REPLAYING);
    log_debug(stream->name, "%s -> %s", state_texts[stream->state], state_texts[state]);
    if (state == STREAM_GROUPING && stream->state == STREAM_FREE) {
        log_info(stream->name, "taken");
    } else if (state == STREAM_FREE) {
        log_info(stream->name, "given up");
    }
    stream->state = state;
    stream->claim_wanted = false;
    stream->claim_cursor = (struct stream_entry_id){0, 0};
    stream->progress_at_ms = 0;
}

bool stream_is_held(const struct stream *stream)
{
    return stream->state != STREAM_FREE;
}

size_t streams_held(const struct streams *streams)
{
    size_t held = 0;

    for (size_t i = 0; i < streams->count; i++) {
        held += stream_is_held(streams->all[i]);
    }
    return held;
}

size_t streams_to_read(const struct streams *streams, struct stream **out)
{
    size_t count = 0;

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->state == STREAM_READING && !streams->all[i]->claim_wanted) {
            out[count++] = streams->all[i];
        }
    }
    return count;
}
