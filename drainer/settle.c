/* settle.c: see settle.h. The words' format is that of schema/stream.h. */
#include "drainer/settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/streams.h"

#define IDS_PER_ACK 500
#define ID_BYTES 48
#define RANGE_BYTES 48 /* more than ",", two numbers of 64 bits and "-" take */
#define WORDS_KEPT "1000"
#define WORDS_EXPIRE_S "86400"

/* --- runs of seq --------------------------------------------------------------------------------------------------------- */

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

/* What came in pieces (entries are sent again, out of order) becomes as few runs as there are. */
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

int64_t settled_word(const struct settled *settled, size_t *at, char ranges[SETTLED_WORD_BYTES])
{
    int64_t producer_id = settled->runs[*at].producer_id;
    size_t length = 0;

    while (*at < settled->count && settled->runs[*at].producer_id == producer_id && length < SETTLED_WORD_BYTES - RANGE_BYTES) {
        const struct settled_run *run = &settled->runs[(*at)++];

        length += (size_t)snprintf(ranges + length, RANGE_BYTES, "%s%" PRId64, length == 0 ? "" : ",", run->from);
        if (run->to != run->from) {
            length += (size_t)snprintf(ranges + length, RANGE_BYTES, "-%" PRId64, run->to);
        }
    }
    return producer_id;
}

/* --- commands ------------------------------------------------------------------------------------------------------------ */

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
static size_t give_words(struct redis_link *link, const char *stream, struct settled *settled)
{
    char ranges[SETTLED_WORD_BYTES];
    size_t words = 0;

    settled_sort(settled);
    for (size_t at = 0; at < settled->count; words++) {
        int64_t producer_id = settled_word(settled, &at, ranges);

        give_word(link, stream, producer_id, ranges);
    }
    return words;
}

static size_t settle_stream(struct redis_link *link, const struct batch *batch, const struct stream *stream, bool acknowledge,
                            redis_link_reply *on_acked)
{
    static char ids[IDS_PER_ACK][ID_BYTES]; /* the drainer has one thread */
    struct settled settled = {0};
    size_t count = 0, words;

    for (size_t i = 0; i < batch->count; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->stream != stream) {
            continue;
        }
        if (entry->producer_id > 0 && entry->seq > 0) {
            settled_add(&settled, entry->producer_id, entry->seq);
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
    words = give_words(link, stream->name, &settled);
    settled_release(&settled);
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
