/* settle.c: see settle.h. The format of confirmations is that of schema/stream.h. */
#include "drainer/redis/settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/redis/streams.h"
#include "schema/decimal.h"

enum {
    IDS_PER_ACK = 500,
    ID_BYTES = 48, /* more than "$41", an id of two numbers of 64 bits, and two ends of line take */
    HEAD_BYTES = 192, /* more than "*503", XACK, the stream and the group take */
    RANGE_BYTES = 48, /* more than ",", two numbers of 64 bits and "-" take */
};
#define CONFIRMATIONS_KEPT "1000"
#define CONFIRMATIONS_EXPIRE_S "86400"

/* --- runs of seq --- */

void settled_add(struct settled *settled, int64_t producer_id, int64_t seq)
{
    struct settled_run *last = settled->count > 0 ? &settled->runs[settled->count - 1] : NULL;

    if (last != NULL && last->producer_id == producer_id && last->to == seq - 1) {
        last->to = seq;
        return;
    }
    if (settled->count == settled->capacity) {
        settled->capacity = settled->capacity == 0 ? 64 : settled->capacity * 2;
        settled->runs = realloc(settled->runs, settled->capacity * sizeof *settled->runs);
        if (settled->runs == NULL) {
            abort();
        }
    }
    settled->runs[settled->count++] = (struct settled_run){producer_id, seq, seq};
}

void settled_release(struct settled *settled)
{
    free(settled->runs);
    *settled = (struct settled){0};
}

static int compare_runs(const void *a, const void *b)
{
    const struct settled_run *x = a, *y = b;

    if (x->producer_id != y->producer_id) {
        return x->producer_id < y->producer_id ? -1 : 1;
    }
    return x->from < y->from ? -1 : x->from > y->from;
}

/* Joins what came in pieces, as entries are sent again and out of order, to as few runs as there
 * are. */
void settled_sort(struct settled *settled)
{
    size_t kept = 0;

    if (settled->count > 0) {
        qsort(settled->runs, settled->count, sizeof *settled->runs, compare_runs);
    }
    for (size_t i = 1; i < settled->count; i++) {
        struct settled_run *last = &settled->runs[kept], *next = &settled->runs[i];

        if (next->producer_id == last->producer_id && next->from - 1 <= last->to) {
            last->to = next->to > last->to ? next->to : last->to;
        } else {
            settled->runs[++kept] = *next;
        }
    }
    settled->count = settled->count > 0 ? kept + 1 : 0;
}

int64_t settled_confirmation(const struct settled *settled, size_t *at,
                             char ranges[CONFIRMATION_BYTES])
{
    int64_t producer_id = settled->runs[*at].producer_id;
    size_t length = 0;

    while (*at < settled->count && settled->runs[*at].producer_id == producer_id &&
           length < CONFIRMATION_BYTES - RANGE_BYTES) {
        const struct settled_run *run = &settled->runs[(*at)++];

        length += (size_t)snprintf(ranges + length, RANGE_BYTES, "%s%" PRId64,
                                   length == 0 ? "" : ",", run->from);
        if (run->to != run->from) {
            length += (size_t)snprintf(ranges + length, RANGE_BYTES, "-%" PRId64, run->to);
        }
    }
    return producer_id;
}

/* --- commands --- */

/* Holds one XACK, written by hand: hiredis' own formatting takes several times as long, and
 * PostgreSQL may be waiting meanwhile. */
struct ack {
    char bytes[HEAD_BYTES + IDS_PER_ACK * ID_BYTES];
    size_t length, count; /* of the ids, which begin behind room for the head */
};

static void add_id(struct ack *ack, struct stream_entry_id id)
{
    char text[2 * DECIMAL_INTEGER_BYTES + 1];
    char *at = ack->bytes + HEAD_BYTES + ack->length;
    int length = decimal_from_uint64(id.ms, text);

    text[length++] = '-';
    length += decimal_from_uint64(id.seq, text + length);
    *at++ = '$';
    at += decimal_from_uint64((uint64_t)length, at);
    memcpy(at, "\r\n", 2);
    memcpy(at + 2, text, (size_t)length);
    memcpy(at + 2 + length, "\r\n", 2);
    ack->length = (size_t)(at + length + 4 - ack->bytes) - HEAD_BYTES;
    ack->count++;
}

static void send_ack(struct redis_link *link, const char *stream, struct ack *ack,
                     redis_link_reply *on_acked)
{
    char head[HEAD_BYTES];
    size_t length = (size_t)snprintf(
        head, sizeof head, "*%zu\r\n$4\r\nXACK\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", 3 + ack->count,
        strlen(stream), stream, strlen(STREAM_GROUP), STREAM_GROUP);
    char *begin = ack->bytes + HEAD_BYTES - length;

    if (ack->count > 0) {
        memcpy(begin, head, length);
        redis_link_send(link, on_acked, ack->count, begin, length + ack->length);
    }
    ack->length = ack->count = 0;
}

static void send_confirmation(struct redis_link *link, const char *stream, int64_t producer_id,
                              const char *ranges)
{
    char key[STREAM_ACK_NAME_BYTES];

    stream_ack_name(key, stream, producer_id);
    const char *add[] = {"XADD",           key,   "MAXLEN", "~", CONFIRMATIONS_KEPT, "*",
                         STREAM_ACK_FIELD, ranges};
    const char *expire[] = {"EXPIRE", key, CONFIRMATIONS_EXPIRE_S};

    redis_link_sendv(link, NULL, 0, sizeof add / sizeof add[0], add, NULL);
    redis_link_sendv(link, NULL, 0, sizeof expire / sizeof expire[0], expire, NULL);
}

/* Sends one confirmation per producer, or more where the ranges do not fit into one. */
static size_t send_confirmations(struct redis_link *link, const char *stream,
                                 struct settled *settled)
{
    char ranges[CONFIRMATION_BYTES];
    size_t confirmations = 0;

    settled_sort(settled);
    for (size_t at = 0; at < settled->count; confirmations++) {
        int64_t producer_id = settled_confirmation(settled, &at, ranges);

        send_confirmation(link, stream, producer_id, ranges);
    }
    return confirmations;
}

/* --- the batch --- */

/* Names entries of one stream that lie side by side, as an answer brought them. */
struct run {
    const struct stream *stream;
    size_t from, to;
};

static int compare_streams(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    int order = strcmp(x->stream->name, y->stream->name);

    return order != 0 ? order : x->from < y->from ? -1 : 1;
}

/* Finds the runs of the batch, those of a stream one behind the other. The caller frees them. */
static struct run *find_runs(const struct batch *batch, size_t *count)
{
    struct run *runs = NULL;
    size_t capacity = 0;

    *count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct stream *stream = batch->entries[i].stream;

        if (*count > 0 && runs[*count - 1].stream == stream) {
            runs[*count - 1].to = i + 1;
            continue;
        }
        if (*count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            runs = realloc(runs, capacity * sizeof *runs);
            if (runs == NULL) {
                abort();
            }
        }
        runs[(*count)++] = (struct run){stream, i, i + 1};
    }
    if (*count > 1) {
        qsort(runs, *count, sizeof *runs, compare_streams);
    }
    return runs;
}

/* Acknowledges the entries of a run and notes which records they settle. */
static void settle_run(struct redis_link *link, const struct batch *batch, const struct run *run,
                       struct ack *ack, struct settled *settled, redis_link_reply *on_acked)
{
    for (size_t i = run->from; i < run->to; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->producer_id > 0 && entry->seq > 0) {
            settled_add(settled, entry->producer_id, entry->seq);
        }
        if (on_acked == NULL || entry->reloaded) {
            continue;
        }
        add_id(ack, entry->id);
        if (ack->count == IDS_PER_ACK) {
            send_ack(link, run->stream->name, ack, on_acked);
        }
    }
}

size_t settle_batch(struct redis_link *link, const struct batch *batch, redis_link_reply *on_acked)
{
    static struct ack ack; /* the drainer has one thread */
    struct settled settled = {0};
    size_t run_count, confirmations = 0;
    struct run *runs = find_runs(batch, &run_count);

    for (size_t i = 0; i < run_count; i++) {
        settle_run(link, batch, &runs[i], &ack, &settled, on_acked);
        if (i + 1 == run_count || runs[i + 1].stream != runs[i].stream) {
            send_ack(link, runs[i].stream->name, &ack, on_acked);
            confirmations += send_confirmations(link, runs[i].stream->name, &settled);
            settled.count = 0;
        }
    }
    settled_release(&settled);
    free(runs);
    return confirmations;
}
