/* settle.c: see settle.h. The words' format is that of schema/stream.h. */
#include "drainer/settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/streams.h"

#define IDS_PER_ACK 500
#define ID_BYTES 48
#define WORD_BYTES 8192
#define WORDS_KEPT "1000"
#define WORDS_EXPIRE_S "86400"

struct run {
    int64_t producer_id, from, to;
};

struct runs {
    struct run *all;
    size_t count, capacity;
};

static void runs_add(struct runs *runs, int64_t producer_id, int64_t seq)
{
    struct run *last = runs->count > 0 ? &runs->all[runs->count - 1] : NULL;

    if (last != NULL && last->producer_id == producer_id && last->to + 1 == seq) {
        last->to = seq;
        return;
    }
    if (runs->count == runs->capacity) {
        runs->capacity = runs->capacity == 0 ? 64 : runs->capacity * 2;
        runs->all = realloc(runs->all, runs->capacity * sizeof *runs->all);
        if (runs->all == NULL) {
            abort();
        }
    }
    runs->all[runs->count++] = (struct run){producer_id, seq, seq};
}

static int compare_runs(const void *a, const void *b)
{
    const struct run *x = a, *y = b;

    if (x->producer_id != y->producer_id) {
        return x->producer_id < y->producer_id ? -1 : 1;
    }
    return x->from < y->from ? -1 : x->from > y->from;
}

static void acknowledge_ids(struct redis_link *link, const char *stream, char ids[][ID_BYTES], size_t count,
                            redis_link_reply *on_acked)
{
    const char *argv[3 + IDS_PER_ACK] = {"XACK", stream, STREAM_GROUP};

    for (size_t i = 0; i < count; i++) {
        argv[3 + i] = ids[i];
    }
    if (count > 0) {
        redis_link_sendv(link, on_acked, count, (int)(3 + count), argv, NULL);
    }
}

static void give_word(struct redis_link *link, const char *stream, int64_t producer_id, const char *ranges)
{
    char key[STREAM_ACK_NAME_BYTES];

    stream_ack_name(key, stream, producer_id);
    const char *add[] = {"XADD", key, "MAXLEN", "~", WORDS_KEPT, "*", STREAM_ACK_FIELD, ranges};
    const char *expire[] = {"EXPIRE", key, WORDS_EXPIRE_S};

    redis_link_sendv(link, NULL, 0, sizeof add / sizeof add[0], add, NULL);
    redis_link_sendv(link, NULL, 0, sizeof expire / sizeof expire[0], expire, NULL);
}

/* One word per producer, or more where the ranges do not fit into one. */
static size_t give_words(struct redis_link *link, const char *stream, struct runs *runs)
{
    char ranges[WORD_BYTES];
    size_t length = 0, words = 0;

    qsort(runs->all, runs->count, sizeof *runs->all, compare_runs);
    for (size_t i = 0; i < runs->count; i++) {
        const struct run *run = &runs->all[i];
        bool last = i + 1 == runs->count || runs->all[i + 1].producer_id != run->producer_id;

        length += (size_t)snprintf(ranges + length, sizeof ranges - length, "%s%" PRId64, length == 0 ? "" : ",", run->from);
        if (run->to != run->from) {
            length += (size_t)snprintf(ranges + length, sizeof ranges - length, "-%" PRId64, run->to);
        }
        if (last || length > sizeof ranges - 64) {
            give_word(link, stream, run->producer_id, ranges);
            length = 0;
            words++;
        }
    }
    return words;
}

static size_t settle_stream(struct redis_link *link, const struct batch *batch, const struct stream *stream, bool acknowledge,
                            redis_link_reply *on_acked)
{
    static char ids[IDS_PER_ACK][ID_BYTES]; /* the drainer has one thread */
    struct runs runs = {0};
    size_t count = 0, words;

    for (size_t i = 0; i < batch->count; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->stream != stream) {
            continue;
        }
        if (entry->producer_id > 0) {
            runs_add(&runs, entry->producer_id, entry->seq);
        }
        if (entry->replayed) {
            continue;
        }
        snprintf(ids[count++], ID_BYTES, "%" PRIu64 "-%" PRIu64, entry->id.ms, entry->id.seq);
        if (count == IDS_PER_ACK) {
            if (acknowledge) {
                acknowledge_ids(link, stream->name, ids, count, on_acked);
            }
            count = 0;
        }
    }
    if (acknowledge) {
        acknowledge_ids(link, stream->name, ids, count, on_acked);
    }
    words = give_words(link, stream->name, &runs);
    free(runs.all);
    return words;
}

size_t settle_batch(struct redis_link *link, const struct batch *batch, const struct streams *streams, bool acknowledge,
                    redis_link_reply *on_acked)
{
    size_t words = 0;

    for (size_t i = 0; i < streams->count; i++) {
        if (streams->all[i]->in_hand > 0) {
            words += settle_stream(link, batch, streams->all[i], acknowledge, on_acked);
        }
    }
    return words;
}
