/* settle.c: see settle.h. The format of confirmations is that of schema/stream.h. */
#include "drainer/redis/settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/redis/scripts.h"
#include "drainer/redis/streams.h"
#include "schema/decimal.h"

enum {
    IDS_PER_COMMAND = 500,
    CONFIRMATIONS_PER_COMMAND = 64,
    STRING_HEAD_BYTES = 32, /* more than "$", a number of 64 bits, and two ends of line take */
    RANGE_BYTES = 48,       /* more than ",", two numbers of 64 bits and "-" take */
};

/* --- runs of seq --- */

void settled_add(struct settled *settled, int64_t producer_id, int64_t seq)
{
    struct settled_run *last = settled->count > 0 ? &settled->runs[settled->count - 1] : NULL;

    if (last != NULL && last->producer_id == producer_id && last->to == seq - 1) {
        last->to = seq;
        return;
    }
    settled->runs = array_grow_or_abort(settled->runs, &settled->capacity, settled->count + 1,
                                        sizeof *settled->runs);
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

/* --- one command --- */

/* An EVAL of settle.lua, written by hand: hiredis' own formatting takes several times as long, and
 * PostgreSQL may be waiting meanwhile. The keys of confirmations stand in front of the ids, so the
 * parts are gathered apart. */
struct part {
    char *bytes;
    size_t length, capacity, count;
};

static struct settle_command {
    struct part ids, keys, ranges, all;
} settle_command; /* the drainer has one thread */

static char *settle_room(struct part *part, size_t wanted)
{
    part->bytes = array_grow_or_abort(part->bytes, &part->capacity, part->length + wanted, 1);
    return part->bytes + part->length;
}

/* Appends a string as Redis' protocol writes it. */
static void settle_put_string(struct part *part, const char *bytes, size_t length)
{
    char *begin = settle_room(part, length + STRING_HEAD_BYTES), *at = begin;

    *at++ = '$';
    at += decimal_from_uint64(length, at);
    memcpy(at, "\r\n", 2);
    memcpy(at + 2, bytes, length);
    memcpy(at + 2 + length, "\r\n", 2);
    part->length += (size_t)(at + length + 4 - begin);
    part->count++;
}

static void settle_put_text(struct part *part, const char *text)
{
    settle_put_string(part, text, strlen(text));
}

static void settle_put_number(struct part *part, uint64_t number)
{
    char text[DECIMAL_INTEGER_BYTES];

    settle_put_string(part, text, (size_t)decimal_from_uint64(number, text));
}

static void put_id(struct part *part, struct stream_entry_id id)
{
    char text[2 * DECIMAL_INTEGER_BYTES + 1];
    int length = decimal_from_uint64(id.ms, text);

    text[length++] = '-';
    length += decimal_from_uint64(id.seq, text + length);
    settle_put_string(part, text, (size_t)length);
}

static void put_part(struct part *out, const struct part *part)
{
    if (part->length > 0) {
        memcpy(settle_room(out, part->length), part->bytes, part->length);
        out->length += part->length;
    }
    out->count += part->count;
}

static void clear_part(struct part *part)
{
    part->length = part->count = 0;
}

/* Sends what is gathered. Each command tells the number of transactions: whatever is acknowledged
 * when the connection ends, Redis knows that PostgreSQL had it. */
static void send_settle(struct settling *settling, const struct stream *stream)
{
    struct settle_command *command = &settle_command;
    struct part *all = &command->all;
    char load[STREAM_KEY_BYTES], head[STRING_HEAD_BYTES];
    size_t head_length;

    clear_part(all);
    settle_room(all, STRING_HEAD_BYTES); /* for the head, whose count is known at the end */
    all->length = STRING_HEAD_BYTES;
    stream_load_name(load, stream->name);
    settle_put_text(all, "EVAL");
    settle_put_text(all, script_settle);
    settle_put_number(all, 2 + command->keys.count);
    settle_put_text(all, stream->name);
    /* one that is not fenced needs no right to it */
    settle_put_text(all, settling->silent ? stream->name : load);
    put_part(all, &command->keys);
    settle_put_text(all, settling->history->id);
    settle_put_text(all, settling->holder);
    if (stream->reload_wanted) {
        settle_put_text(all, "");
    } else {
        settle_put_number(all, (uint64_t)stream->loaded_n);
    }
    settle_put_text(all, settling->group);
    settle_put_number(all, command->ids.count);
    put_part(all, &command->ids);
    put_part(all, &command->ranges);
    head_length = (size_t)snprintf(head, sizeof head, "*%zu\r\n", all->count);
    memcpy(all->bytes + STRING_HEAD_BYTES - head_length, head, head_length);
    redis_link_send(stream->link, settling->on_settled, command->ids.count,
                    all->bytes + STRING_HEAD_BYTES - head_length,
                    all->length - STRING_HEAD_BYTES + head_length);
    clear_part(&command->ids);
    clear_part(&command->keys);
    clear_part(&command->ranges);
}

/* Adds one confirmation per producer, or more where the ranges do not fit into one, and sends
 * everything. */
static size_t send_confirmations(struct settling *settling, const struct stream *stream,
                                 struct settled *settled)
{
    char ranges[CONFIRMATION_BYTES], key[STREAM_ACK_NAME_BYTES];
    size_t confirmations = 0;

    settled_sort(settled);
    for (size_t at = 0; at < settled->count; confirmations++) {
        stream_ack_name(key, stream->name, settled_confirmation(settled, &at, ranges));
        settle_put_text(&settle_command.keys, key);
        settle_put_text(&settle_command.ranges, ranges);
        if (settle_command.keys.count == CONFIRMATIONS_PER_COMMAND && at < settled->count) {
            send_settle(settling, stream);
        }
    }
    send_settle(settling, stream);
    return confirmations;
}

void settle_count(struct settling *settling, const struct stream *stream)
{
    send_settle(settling, stream);
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
        runs = array_grow_or_abort(runs, &capacity, *count + 1, sizeof *runs);
        runs[(*count)++] = (struct run){stream, i, i + 1};
    }
    if (*count > 1) {
        qsort(runs, *count, sizeof *runs, compare_streams);
    }
    return runs;
}

/* Acknowledges the entries of a run and notes which records they settle. */
static void settle_run(struct settling *settling, const struct batch *batch, const struct run *run,
                       struct settled *settled)
{
    for (size_t i = run->from; i < run->to; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->producer_id > 0 && entry->seq > 0 && !settling->silent) {
            settled_add(settled, entry->producer_id, entry->seq);
        }
        if (entry->connection != entry->stream->connection || entry->reloaded) {
            continue;
        }
        if (settle_command.ids.count == IDS_PER_COMMAND) {
            send_settle(settling, run->stream);
        }
        put_id(&settle_command.ids, entry->id);
    }
}

size_t settle_batch(struct settling *settling, const struct batch *batch)
{
    struct settled settled = {0};
    size_t run_count, confirmations = 0;
    struct run *runs = find_runs(batch, &run_count);

    for (size_t i = 0; i < run_count; i++) {
        if (!redis_link_up(runs[i].stream->link)) {
            continue;
        }
        settle_run(settling, batch, &runs[i], &settled);
        if (i + 1 == run_count || runs[i + 1].stream != runs[i].stream) {
            confirmations += send_confirmations(settling, runs[i].stream, &settled);
            settled.count = 0;
        }
    }
    settled_release(&settled);
    free(runs);
    return confirmations;
}
