/* streams.c: see streams.h. */
#include "drainer/redis/streams.h"

#include <assert.h>
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "schema/clock.h"
#include "schema/sha256.h"
#include "schema/text.h"

/* clang-format off */
static const char *const state_texts[] = {
#define X(name, text) text,
    STREAM_STATES(X)
#undef X
};
/* clang-format on */

int64_t stream_lease_key(const struct stream *stream)
{
    unsigned char digest[SHA256_BYTES];
    struct sha256 sha;
    uint64_t key;

    sha256_begin(&sha);
    sha256_add(&sha, stream->random_id, strlen(stream->random_id));
    sha256_add(&sha, ":", 1);
    sha256_add(&sha, stream->name, strlen(stream->name));
    sha256_end(&sha, digest);
    memcpy(&key, digest, sizeof key);
    return (int64_t)be64toh(key);
}

/* Puts the stream where its number leads to, or into the next free place. */
static void streams_index_put(struct streams *streams, struct stream *stream)
{
    size_t at = (size_t)stream->lock_key % streams->index_capacity;

    while (streams->index[at] != NULL) {
        at = (at + 1) % streams->index_capacity;
    }
    streams->index[at] = stream;
    streams->indexed++;
}

/* Adds a stream. One that has had another number stays where that led to, until the index is made
 * anew. */
static void streams_index_add(struct streams *streams, struct stream *stream)
{
    if (2 * (streams->indexed + 1) > streams->index_capacity) {
        free(streams->index);
        streams->index_capacity = 4 * (streams->count + 16);
        streams->index = memory_or_abort(calloc(streams->index_capacity, sizeof(struct stream *)));
        streams->indexed = 0;
        for (size_t i = 0; i < streams->count; i++) {
            if (streams->all[i] != stream) {
                streams_index_put(streams, streams->all[i]);
            }
        }
    }
    streams_index_put(streams, stream);
}

static const struct stream *streams_find_lock_key(const struct streams *streams, int64_t key,
                                                  const struct stream *but)
{
    for (size_t n = 0; n < streams->index_capacity; n++) {
        const struct stream *stream =
            streams->index[((size_t)key % streams->index_capacity + n) % streams->index_capacity];

        if (stream == NULL) {
            break;
        }
        if (stream->lock_key == key && stream != but && !stream->key_taken) {
            return stream;
        }
    }
    return NULL;
}

void streams_set_lock_key(struct streams *streams, struct stream *stream, int64_t key)
{
    const struct stream *other = streams_find_lock_key(streams, key, stream);
    bool was_taken = stream->key_taken;

    stream->lock_key = key;
    stream->key_taken = other != NULL;
    streams_index_add(streams, stream);
    if (other != NULL) {
        streams_trouble(streams, stream, TROUBLE_KEY,
                        "its lease would have the number of %s's: it is not loaded; delete the "
                        "key blotter-id:{%s}",
                        other->name, stream->name);
    } else if (was_taken) {
        streams_trouble_over(streams, stream, TROUBLE_KEY);
    }
}

/* --- the list --- */

/* Finds where the stream is, or would be, in the list. */
static size_t streams_place(const struct streams *streams, const char *name, size_t length)
{
    size_t from = 0, to = streams->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (strncmp(streams->all[middle]->name, name, length) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

struct stream *streams_find(const struct streams *streams, const char *name, size_t length)
{
    size_t at = streams_place(streams, name, length);
    struct stream *stream = at < streams->count ? streams->all[at] : NULL;

    return stream != NULL && strlen(stream->name) == length &&
                   memcmp(stream->name, name, length) == 0
               ? stream
               : NULL;
}

/* Counts the known lanes of an exchange: their names are neighbours, as ';' follows ':'. */
static size_t streams_lanes(const struct streams *streams, const char *exchange)
{
    char name[STREAM_NAME_BYTES];
    size_t length = (size_t)snprintf(name, sizeof name, STREAM_PREFIX "%s:", exchange);
    size_t first = streams_place(streams, name, length);

    name[length - 1] = ':' + 1;
    return streams_place(streams, name, length) - first;
}

/* Checks the limits, which keep a flood of names from filling memory and PostgreSQL's lock table.
 */
static bool streams_has_room(struct streams *streams, const char *name, size_t length,
                             const char *exchange, const char *lane)
{
    const char *setting = NULL;
    size_t limit = 0;

    if (streams->max_streams > 0 && streams->count >= streams->max_streams) {
        setting = "max_streams";
        limit = streams->max_streams;
    } else if (streams->max_lanes > 0 && lane[0] != '\0' &&
               streams_lanes(streams, exchange) >= streams->max_lanes) {
        setting = "max_lanes";
        limit = streams->max_lanes;
    }
    if (setting != NULL && streams->left_out++ == 0) {
        streams_trouble(streams, NULL, TROUBLE_LIMIT,
                        "stream %.*s is not loaded: the setting %s of %zu is reached", (int)length,
                        name, setting, limit);
    }
    return setting == NULL;
}

static void streams_insert(struct streams *streams, size_t at, struct stream *stream)
{
    streams->all = array_grow_or_abort(streams->all, &streams->capacity, streams->count + 1,
                                       sizeof(struct stream *));
    memmove(streams->all + at + 1, streams->all + at,
            (streams->count - at) * sizeof(struct stream *));
    streams->all[at] = stream;
    streams->count++;
}

struct stream *streams_add(struct streams *streams, const char *name, size_t length)
{
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];
    struct stream *stream = streams_find(streams, name, length);

    if (stream != NULL || !stream_parse(name, length, exchange, lane) ||
        !streams_has_room(streams, name, length, exchange, lane)) {
        return stream;
    }
    stream = memory_or_abort(calloc(1, sizeof *stream));
    streams_insert(streams, streams_place(streams, name, length), stream);
    stream_name(stream->name, exchange, lane);
    memcpy(stream->exchange, exchange, sizeof exchange);
    memcpy(stream->lane, lane, sizeof lane);
    streams_set_lock_key(streams, stream, stream_lease_key(stream));
    log_info(stream->name, "found");
    return stream;
}

static void troubles_release(struct trouble troubles[TROUBLE_SOURCES])
{
    for (int source = 0; source < TROUBLE_SOURCES; source++) {
        free(troubles[source].why);
    }
}

void streams_release(struct streams *streams)
{
    for (size_t i = 0; i < streams->count; i++) {
        troubles_release(streams->all[i]->troubles);
        free(streams->all[i]->incident);
        free(streams->all[i]);
    }
    troubles_release(streams->troubles);
    free(streams->all);
    free(streams->index);
    free(streams->history.chain);
    *streams = (struct streams){0};
}

/* --- states --- */

void stream_enter(struct stream *stream, enum stream_state state)
{
    if (stream->state == state) {
        return;
    }
    assert(stream->state != STREAM_FREE || state == STREAM_LOCKED || state == STREAM_GROUPING);
    assert(state != STREAM_READING || stream->state == STREAM_CLAIMING ||
           stream->state == STREAM_RELOADING);
    log_debug(stream->name, "%s -> %s", state_texts[stream->state], state_texts[state]);
    if (stream->state == STREAM_FREE) {
        log_info(stream->name, "taken");
    } else if (state == STREAM_FREE) {
        log_info(stream->name, "given up");
        stream->held_times = 0;
    }
    stream->state = state;
    stream->claim_wanted = stream->nothing_pending = false;
    stream->claim_cursor = (struct stream_entry_id){0, 0};
    stream->progress_at_ms = 0;
}

void stream_put_back(struct stream *stream, unsigned ms)
{
    stream->in_hand = 0;
    if (stream->state == STREAM_READING || stream->state == STREAM_CLAIMING ||
        stream->state == STREAM_RELOADING) {
        stream_enter(stream, STREAM_GROUPING);
        stream->retry_at_ms = clock_monotonic_ms() + ms;
    }
}

bool stream_is_held(const struct stream *stream)
{
    return stream->state != STREAM_FREE;
}

bool stream_is_left(const struct stream *stream)
{
    return stream->state == STREAM_LEAVING && stream->in_hand == 0 && !stream->asked;
}

size_t streams_held(const struct streams *streams)
{
    size_t held = 0;

    for (size_t i = 0; i < streams->count; i++) {
        held += stream_is_held(streams->all[i]);
    }
    return held;
}

size_t streams_kept(const struct streams *streams)
{
    size_t kept = 0;

    for (size_t i = 0; i < streams->count; i++) {
        kept += stream_is_held(streams->all[i]) && streams->all[i]->state != STREAM_LEAVING;
    }
    return kept;
}

size_t streams_to_read(const struct streams *streams, const struct node *node, struct stream **out)
{
    size_t count = 0;

    for (size_t i = 0; i < streams->count; i++) {
        struct stream *stream = streams->all[i];

        if (stream->node == node && stream->state == STREAM_READING && !stream->claim_wanted) {
            out[count++] = stream;
        }
    }
    return count;
}

/* --- troubles --- */

static struct trouble *trouble_of(struct streams *streams, struct stream *stream,
                                  enum trouble_source source)
{
    return stream == NULL ? &streams->troubles[source] : &stream->troubles[source];
}

static const char *object_of(const struct streams *streams, const struct stream *stream)
{
    return stream != NULL ? stream->name : streams->beside ? "mirror" : "drain";
}

void streams_trouble(struct streams *streams, struct stream *stream, enum trouble_source source,
                     const char *format, ...)
{
    struct trouble *trouble = trouble_of(streams, stream, source);
    char why[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    text_clean(why);
    if (trouble->why != NULL && strcmp(trouble->why, why) == 0) {
        return;
    }
    log_warn(object_of(streams, stream), "%s", why);
    free(trouble->why);
    trouble->why = memory_copy(why);
    if (trouble->since_ms == 0) {
        trouble->since_ms = clock_wall_ms();
    }
}

void streams_trouble_over(struct streams *streams, struct stream *stream,
                          enum trouble_source source)
{
    struct trouble *trouble = trouble_of(streams, stream, source);

    if (trouble->why != NULL) {
        log_info(object_of(streams, stream), "over: %s", trouble->why);
        free(trouble->why);
        *trouble = (struct trouble){0};
    }
}

static void put_each(const struct trouble troubles[TROUBLE_SOURCES], const char *object,
                     streams_put_trouble *put, void *arg)
{
    for (int source = 0; source < TROUBLE_SOURCES; source++) {
        if (troubles[source].why != NULL) {
            put(arg, object, troubles[source].since_ms, troubles[source].why);
        }
    }
}

void streams_each_trouble(const struct streams *streams, streams_put_trouble *put, void *arg)
{
    put_each(streams->troubles, object_of(streams, NULL), put, arg);
    for (size_t i = 0; i < streams->count; i++) {
        put_each(streams->all[i]->troubles, streams->all[i]->name, put, arg);
    }
}
