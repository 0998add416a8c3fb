/* confirm.c: see confirm.h. */
#include "producer/confirm.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/ranges.h"
#include "producer/redis_link.h"
#include "schema/array.h"

enum { ENTRIES_PER_READ = 128 };

struct segment {
    int64_t producer_id;
    uint64_t base; /* seq = position - base */
    uint64_t first, end;
    char key[STREAM_ACK_NAME_BYTES];
    char last_read[STREAM_ENTRY_ID_BYTES]; /* "": none read on this connection */
};

struct confirm {
    struct confirm_options options;
    struct segment *segments;
    size_t segment_count, segment_room;
    uint64_t noted; /* positions below belong to a known segment */
    uint64_t sent;
    uint64_t committed;
    unsigned asked;        /* answers of confirm_ask still to come */
    struct ranges settled; /* from `committed` on */
};

/* Gives the position at which a sender begins. A sender knows nothing of records below floor; but
 * evicted records of a living writer must not count as committed. */
static uint64_t first_uncommitted(const struct journal *journal)
{
    const struct journal_header *header = journal->header;
    uint64_t floor = journal_cursor(&header->floor);
    uint64_t committed = journal_cursor(&header->committed);
    if (journal->writer || journal_is_closing(journal) ||
        !journal_owner_valid(&header->owner, journal->version)) {
        return floor;
    }
    uint64_t first = header->owner.base + 1;
    first = first > committed ? first : committed;
    return first < floor ? first : floor;
}

struct confirm *confirm_create(const struct confirm_options *options)
{
    struct confirm *confirm = calloc(1, sizeof *confirm);
    if (confirm == NULL) {
        return NULL;
    }
    confirm->options = *options;
    confirm->noted = journal_cursor(&options->journal->header->floor);
    confirm->committed = first_uncommitted(options->journal);
    confirm->sent = options->sent;
    return confirm;
}

void confirm_destroy(struct confirm *confirm)
{
    if (confirm == NULL) {
        return;
    }
    free(confirm->segments);
    free(confirm);
}

/* --- what is known --- */

static struct segment *confirm_add_segment(struct confirm *confirm)
{
    struct segment *grown = array_grow(confirm->segments, &confirm->segment_room,
                                       confirm->segment_count + 1, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    confirm->segments = grown;
    struct segment *segment = &grown[confirm->segment_count++];
    memset(segment, 0, sizeof *segment);
    return segment;
}

/* Returns a segment's first position. The first segment also has the records of the same producer
 * that were evicted. */
static uint64_t first_of(const struct confirm *confirm, uint64_t position, uint64_t base)
{
    uint64_t first = confirm->committed > base + 1 ? confirm->committed : base + 1;
    return first < position ? first : position;
}

void confirm_note_record(struct confirm *confirm, uint64_t position,
                         const struct journal_slot *slot)
{
    if (position < confirm->noted) {
        return;
    }
    confirm->noted = position + 1;
    uint64_t base = position - (uint64_t)slot->seq;
    struct segment *last =
        confirm->segment_count ? &confirm->segments[confirm->segment_count - 1] : NULL;
    if (last == NULL || last->producer_id != slot->producer_id || last->base != base) {
        last = confirm_add_segment(confirm);
        if (last == NULL) {
            confirm->noted = position; /* out of memory: tried again at the next look */
            return;
        }
        last->producer_id = slot->producer_id;
        last->base = base;
        last->first = confirm->segment_count == 1 ? first_of(confirm, position, base) : position;
        stream_ack_name(last->key, confirm->options.stream, slot->producer_id);
    }
    last->end = position + 1;
}

void confirm_note_entry(struct confirm *confirm, uint64_t position, struct stream_entry_id id)
{
    if (position >= confirm->sent) {
        confirm->sent = position + 1;
    }
    /* below floor a writer may be at work in the slot */
    if (position >= journal_cursor(&confirm->options.journal->header->floor)) {
        struct journal_slot *slot = journal_slot_at(confirm->options.journal, position);
        atomic_store_explicit(&slot->entry_seq, id.seq, memory_order_relaxed);
        atomic_store_explicit(&slot->entry_ms, id.ms, memory_order_relaxed);
    }
}

/* Reads the slot's entry id. relaxed: only senders touch it, one after the other. */
struct stream_entry_id confirm_entry(const struct confirm *confirm, uint64_t position)
{
    struct journal_slot *slot = journal_slot_at(confirm->options.journal, position);
    return (struct stream_entry_id){atomic_load_explicit(&slot->entry_ms, memory_order_relaxed),
                                    atomic_load_explicit(&slot->entry_seq, memory_order_relaxed)};
}

void confirm_forget_entry(struct confirm *confirm, uint64_t position)
{
    struct journal_slot *slot = journal_slot_at(confirm->options.journal, position);
    atomic_store_explicit(&slot->entry_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->entry_seq, 0, memory_order_relaxed);
}

static void confirm_advance(struct confirm *confirm)
{
    confirm->committed = ranges_end(&confirm->settled, confirm->committed);
    ranges_drop_below(&confirm->settled, confirm->committed);
}

void confirm_skip(struct confirm *confirm, uint64_t position)
{
    if (position < confirm->committed) {
        return;
    }
    ranges_add(&confirm->settled, position, position + 1);
    confirm_advance(confirm);
}

bool confirm_is_settled(const struct confirm *confirm, uint64_t position)
{
    return position < confirm->committed || ranges_end(&confirm->settled, position) > position;
}

bool confirm_is_open(const struct confirm *confirm, uint64_t position)
{
    return position >= journal_cursor(&confirm->options.journal->header->floor) &&
           !confirm_is_settled(confirm, position);
}

uint64_t confirm_committed(const struct confirm *confirm)
{
    return confirm->committed;
}

uint64_t confirm_first_open(const struct confirm *confirm, uint64_t floor)
{
    uint64_t from = floor > confirm->committed ? floor : confirm->committed;
    return ranges_end(&confirm->settled, from);
}

uint64_t confirm_last_open(const struct confirm *confirm, uint64_t sent)
{
    while (sent > confirm->committed && confirm_is_settled(confirm, sent - 1)) {
        sent--;
    }
    return sent > 0 && confirm_is_open(confirm, sent - 1) ? sent - 1 : 0;
}

uint64_t confirm_open_within(const struct confirm *confirm, uint64_t from, uint64_t to)
{
    from = from > confirm->committed ? from : confirm->committed;
    return from >= to ? 0 : to - from - ranges_within(&confirm->settled, from, to);
}

static void forget_settled_segments(struct confirm *confirm)
{
    size_t gone = 0; /* the last one may still grow */
    while (gone + 1 < confirm->segment_count && confirm->segments[gone].end <= confirm->committed) {
        gone++;
    }
    if (gone == 0) {
        return;
    }
    confirm->segment_count -= gone;
    memmove(confirm->segments, confirm->segments + gone,
            confirm->segment_count * sizeof *confirm->segments);
}

/* --- reading --- */

/* Reads a seq in decimal at *at, before `end`. 0: none. */
static uint64_t take_number(const char **at, const char *end)
{
    uint64_t value = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        if (value > UINT64_MAX / 16) {
            return 0;
        }
        value = value * 10 + (uint64_t)(**at - '0');
    }
    return value;
}

static void settle_seqs(struct confirm *confirm, const struct segment *segment, uint64_t from,
                        uint64_t to)
{
    uint64_t low = segment->base + from, high = segment->base + to + 1;
    low = low > segment->first ? low : segment->first;
    low = low > confirm->committed ? low : confirm->committed;
    high = high < segment->end ? high : segment->end;
    high = high < confirm->sent ? high : confirm->sent;
    ranges_add(&confirm->settled, low, high);
}

/* Takes "1-50,53,60-70". It ends where it is malformed: a confirmation less costs at most a
 * duplicate. */
static void confirm_take_ranges(struct confirm *confirm, const struct segment *segment,
                                const char *text, size_t length)
{
    const char *end = text + length;
    while (text < end) {
        uint64_t from = take_number(&text, end), to = from;
        if (text < end && *text == '-') {
            text++;
            to = take_number(&text, end);
        }
        if (from == 0 || to < from || to > NEXT_POSITION || (text < end && *text != ',')) {
            return;
        }
        settle_seqs(confirm, segment, from, to);
        text++;
    }
}

/* Takes one entry: [id, [field, value, ...]]. */
static void confirm_take_entry(struct confirm *confirm, struct segment *segment,
                               const redisReply *entry)
{
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        entry->element[0]->type != REDIS_REPLY_STRING) {
        return;
    }
    snprintf(segment->last_read, sizeof segment->last_read, "%s", entry->element[0]->str);
    const redisReply *pairs = entry->element[1];
    for (size_t i = 0; pairs->type == REDIS_REPLY_ARRAY && i + 1 < pairs->elements; i += 2) {
        const redisReply *field = pairs->element[i], *value = pairs->element[i + 1];
        if (field->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
            strcmp(field->str, STREAM_ACK_FIELD) == 0) {
            confirm_take_ranges(confirm, segment, value->str, value->len);
        }
    }
}

static bool ask_segment(struct confirm *, const struct segment *);

/* Finds a segment, as they move in their list. tag: the low bits of the producer_id. */
static struct segment *segment_of(struct confirm *confirm, uintptr_t tag)
{
    for (size_t i = 0; i < confirm->segment_count; i++) {
        if ((uintptr_t)confirm->segments[i].producer_id == tag) {
            return &confirm->segments[i];
        }
    }
    return NULL;
}

static void on_confirmations(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct confirm *confirm = owner;
    struct segment *segment = segment_of(confirm, tag);
    confirm->asked--;
    if (reply == NULL) {
        return; /* asked again on the next connection */
    }
    refusals_note(confirm->options.refusals, ASK_CONFIRMATIONS, reply);
    if (segment != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        for (size_t i = 0; i < reply->elements; i++) {
            confirm_take_entry(confirm, segment, reply->element[i]);
        }
        if (reply->elements == ENTRIES_PER_READ) {
            ask_segment(confirm, segment);
        }
        confirm_advance(confirm);
        forget_settled_segments(confirm);
        confirm->options.on_settled(confirm->options.owner);
    }
    if (confirm->asked == 0) {
        confirm->options.on_answered(confirm->options.owner);
    }
}

static bool ask_segment(struct confirm *confirm, const struct segment *segment)
{
    char from[STREAM_ENTRY_ID_BYTES + 1], count[16];
    snprintf(from, sizeof from, "%s%s", *segment->last_read ? "(" : "-", segment->last_read);
    snprintf(count, sizeof count, "%d", ENTRIES_PER_READ);
    const char *argv[] = {"XRANGE", segment->key, from, "+", "COUNT", count};
    if (redis_link_sendv_as(confirm->options.link, confirm, on_confirmations,
                            (uintptr_t)segment->producer_id, 6, argv) != 0) {
        return false;
    }
    confirm->asked++;
    return true;
}

bool confirm_ask(struct confirm *confirm, uint64_t sent)
{
    if (confirm->asked > 0) {
        return false;
    }
    for (size_t i = 0; confirm->committed < sent && i < confirm->segment_count; i++) {
        const struct segment *segment = &confirm->segments[i];
        if (segment->end > confirm->committed && segment->first < sent) {
            ask_segment(confirm, segment);
        }
    }
    return confirm->asked > 0;
}

void confirm_on_up(struct confirm *confirm)
{
    confirm->asked = 0;
    for (size_t i = 0; i < confirm->segment_count; i++) {
        confirm->segments[i].last_read[0] = '\0';
    }
}
