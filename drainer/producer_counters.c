/* producer_counters.c: see producer_counters.h. */
#include "drainer/producer_counters.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/metrics_text.h"
#include "drainer/record_json.h"
#include "drainer/redis/streams.h"
#include "schema/clock.h"

enum { PRODUCERS_MAX = 2000, FORGET_MS = 300000 };

/* X(member of a heartbeat's `extra`, metric, type, meaning) */
/* clang-format off */
#define PRODUCER_COUNTERS(X) \
    X(accepted, producer_accepted_total, "counter", "records accepted") \
    X(sent, producer_sent_total, "counter", "records sent") \
    X(committed, producer_committed_total, "counter", "records that are known to be committed") \
    X(held, producer_journal_held, "gauge", "places taken in the journal") \
    X(slots, producer_journal_slots, "gauge", "places in the journal") \
    X(full, producer_full_total, "counter", \
      "submits answered FULL: records that were not recorded") \
    X(invalid, producer_invalid_total, "counter", "submits answered INVALID or TOO_LONG") \
    X(resent, producer_resent_total, "counter", "records sent again") \
    X(evicted, producer_evicted_total, "counter", \
      "sent records that made room before they were confirmed") \
    X(left_alone, producer_left_alone, "gauge", \
      "journals that are for another Redis, and not sent") \
    X(connects, producer_connects_total, "counter", "connections to Redis that came up") \
    X(errors, producer_errors_total, "counter", "error answers from Redis") \
    X(redis_up, producer_redis_up, "gauge", "1 while it is connected to Redis") \
    X(misplaced, producer_misplaced_total, "counter", "values that their field could not take")
/* clang-format on */

static const struct {
    const char *member, *metric, *type, *meaning;
} counters[] = {
#define X(member, metric, type, meaning) {#member, #metric, type, meaning},
    PRODUCER_COUNTERS(X)
#undef X
};
enum { COUNTERS = sizeof counters / sizeof counters[0] };

struct heard_producer {
    int64_t producer_id, heard_ms;
    int64_t error_at_ns; /* since when it is in trouble with Redis; 0: it is not */
    const struct stream *stream;
    int64_t values[COUNTERS]; /* -1: not said */
};

struct producer_counters {
    struct heard_producer all[PRODUCERS_MAX];
    size_t count;
};

struct producer_counters *producer_counters_create(void)
{
    struct producer_counters *made = memory_or_abort(calloc(1, sizeof *made));
    return made;
}

void producer_counters_destroy(struct producer_counters *producers)
{
    free(producers);
}

static void producers_remove(struct producer_counters *producers, size_t at)
{
    producers->all[at] = producers->all[--producers->count];
}

static void producers_forget_old(struct producer_counters *producers)
{
    for (size_t i = producers->count; i-- > 0;) {
        if (clock_monotonic_ms() - producers->all[i].heard_ms > FORGET_MS) {
            producers_remove(producers, i);
        }
    }
}

/* Returns the place of a producer; `count`: it is not known. The same number in another stream is
 * another producer. */
static size_t producers_find(const struct producer_counters *producers, const struct stream *stream,
                             int64_t producer_id)
{
    size_t at = 0;
    while (at < producers->count &&
           (producers->all[at].producer_id != producer_id || producers->all[at].stream != stream)) {
        at++;
    }
    return at;
}

/* Says whether the stream may have one more place. One that needs many gets half of them, the next
 * half of what is left: a flood of numbers in one stream leaves room for those of others. */
static bool producers_have_room(const struct producer_counters *producers,
                                const struct stream *stream)
{
    size_t same = 0;
    for (size_t i = 0; i < producers->count; i++) {
        same += producers->all[i].stream == stream;
    }
    return same < PRODUCERS_MAX - producers->count;
}

static int64_t member_number(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    return json_is_integer(member) && json_integer_value(member) >= 0 ? json_integer_value(member)
                                                                      : -1;
}

static void heard_fill(struct heard_producer *heard, const json_t *extra)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        int64_t value = member_number(extra, counters[i].member);
        heard->values[i] = value;
    }
    int64_t error_at_ns = member_number(extra, "last_error_at_ns");
    heard->error_at_ns = error_at_ns > 0 ? error_at_ns : 0;
}

/* Reads `extra`, which may stand in the record as an object or as text that holds one. Returns a
 * new reference, or NULL. */
static json_t *extra_of(const json_t *record)
{
    json_t *extra = json_object_get(record, "extra");
    if (json_is_string(extra)) {
        return json_loads(json_string_value(extra), 0, NULL);
    }
    return json_is_object(extra) ? json_incref(extra) : NULL;
}

/* Returns the body of a session entry, {"session": {...}} or {...}; borrowed from `whole`. */
static const json_t *session_of(const json_t *whole)
{
    const json_t *inner = json_object_get(whole, "session");
    return json_is_object(inner) ? inner : whole;
}

void producer_counters_note(struct producer_counters *producers, const struct stream *stream,
                            int64_t producer_id, const void *raw, size_t length)
{
    char *text = record_json_of_entry(raw, length);
    json_t *whole = text == NULL ? NULL : json_loads(text, 0, NULL);
    const json_t *session = session_of(whole);
    const char *event = json_string_value(json_object_get(session, "event"));
    json_t *extra = extra_of(session);
    size_t at = producers_find(producers, stream, producer_id);

    free(text);
    if (event != NULL && strcmp(event, "closed") == 0) {
        if (at < producers->count) {
            producers_remove(producers, at);
        }
    } else if (event != NULL && strcmp(event, "heartbeat") == 0 && json_is_object(extra)) {
        producers_forget_old(producers);
        at = producers_find(producers, stream, producer_id);
        if (at < producers->count || producers_have_room(producers, stream)) {
            producers->count += at == producers->count;
            producers->all[at] = (struct heard_producer){
                .producer_id = producer_id, .heard_ms = clock_monotonic_ms(), .stream = stream};
            heard_fill(&producers->all[at], extra);
        }
    }
    json_decref(extra);
    json_decref(whole);
}

static void put_sample(struct evbuffer *out, const char *metric, const struct heard_producer *heard,
                       double value)
{
    evbuffer_add_printf(
        out, "blotter_%s{stream=\"%s\",exchange=\"%s\",producer=\"%" PRId64 "\"} %.10g\n", metric,
        heard->stream->name, heard->stream->exchange, heard->producer_id, value);
}

void producer_counters_put(struct producer_counters *producers, struct evbuffer *out)
{
    producers_forget_old(producers);
    metrics_put_gauge(out, "producers", "producers that were heard of in the last five minutes",
                      producers->count);
    for (size_t i = 0; i < COUNTERS; i++) {
        metrics_put_head(out, counters[i].metric, counters[i].type, counters[i].meaning);
        for (size_t k = 0; k < producers->count; k++) {
            if (producers->all[k].values[i] >= 0) {
                put_sample(out, counters[i].metric, &producers->all[k],
                           (double)producers->all[k].values[i]);
            }
        }
    }
    metrics_put_head(out, "producer_trouble_seconds", "gauge",
                     "for how long it could not send or confirm; 0: all is well");
    for (size_t k = 0; k < producers->count; k++) {
        int64_t since_ms = producers->all[k].error_at_ns / 1000000;
        double trouble = since_ms == 0 ? 0 : (double)(clock_wall_ms() - since_ms) / 1000;
        put_sample(out, "producer_trouble_seconds", &producers->all[k], trouble > 0 ? trouble : 0);
    }
    metrics_put_head(out, "producer_heard_seconds", "gauge", "since its last heartbeat was loaded");
    for (size_t k = 0; k < producers->count; k++) {
        put_sample(out, "producer_heard_seconds", &producers->all[k],
                   (double)(clock_monotonic_ms() - producers->all[k].heard_ms) / 1000);
    }
}
