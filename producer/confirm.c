/* confirm.c: the drainer's word, and what silence means.
 *
 * Words are entries of one stream per producer_id, each a list of ranges of seq. A journal may hold
 * records of several producers, one after the other: each is a segment, known from the records
 * themselves.
 *
 * Silence. While the oldest open record waits in the stream (not delivered, or delivered and
 * pending, or there is no group yet), PostgreSQL or the drainer is away, and sending again would
 * only multiply the stream. When its entry is gone, or was delivered and is no longer pending, and
 * for a while still no word comes, then something has happened that nobody here can tell (FLUSHALL,
 * a stale replica, DELCONSUMER, SETID, a foreign XACK or XTRIM, a lost word), and everything open
 * is sent again. A wrong guess costs duplicates, which PostgreSQL drops.
 *
 * A new connection may lead to a server that has lost its newest entries, or all: then everything
 * open is sent again at once.
 *
 * An id says little of a server that has forgotten: it may have given the same to another record
 * since. So what is found under it has to be ours, to the last byte of the identity. */
#include "producer/confirm.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/ranges.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"
#include "schema/stream.h"

enum {
    WORDS_PER_READ = 128,
    SILENCE_MS = 5000,        /* how long it has to last; each time in vain doubles it */
    SILENCE_PRESSED_MS = 200, /* the same where the journal needs room */
    SILENCE_MAX_MS = 60000,
    ID_BYTES = 48,
};

/* What can be refused, each by itself: an ACL may allow one and not the other. */
enum question { WORDS = 1, ENTRY = 2, PENDING = 4, GROUPS = 8 };

struct segment {
    int64_t producer_id;
    uint64_t base; /* seq = position - base */
    uint64_t first, end;
    char key[STREAM_ACK_NAME_BYTES];
    char last_word[ID_BYTES]; /* "": none read on this connection */
};

struct entry_id {
    uint64_t ms, seq; /* 0-0: not known */
};

/* What Redis says of the oldest open record: three answers make one look. */
struct look {
    unsigned awaited;
    uint64_t position, sent;
    struct entry_id id;
    int64_t at_ms;
    bool pressed, answered_by_error, gone, pending, group, delivered;
};

struct confirm {
    struct confirm_options options;
    struct segment *segments;
    size_t segment_count, segment_room;
    uint64_t noted; /* positions below belong to a known segment */
    uint64_t sent; /* words count for positions below: those beyond may be another journal's, a copy
                      of this one */
    uint64_t committed;
    unsigned asked;       /* answers of confirm_ask still to come */
    uint64_t sent_before; /* `sent` as this connection came up */
    bool newest_seen;     /* on this connection, or there was nothing to see */
    unsigned refused;     /* questions that were answered with an error */
    struct look look;
    struct waiting waiting;
    uint64_t silent_position; /* the oldest open record when the silence began */
    int64_t silent_since_ms;  /* 0: nothing strange */
    unsigned resends;         /* for this position */
    struct entry_id *ids;     /* by slot */
    struct ranges settled;    /* from `committed` on */
};

struct confirm *confirm_create(const struct confirm_options *options)
{
    struct confirm *confirm = calloc(1, sizeof *confirm);
    if (confirm == NULL) {
        return NULL;
    }
    confirm->options = *options;
    confirm->committed = confirm->noted = journal_cursor(&options->journal->header->floor);
    confirm->sent = journal_cursor(&options->journal->header->sent);
    confirm->ids = calloc(options->journal->slots, sizeof *confirm->ids);
    if (confirm->ids != NULL) {
        return confirm;
    }
    free(confirm);
    return NULL;
}

void confirm_destroy(struct confirm *confirm)
{
    if (confirm == NULL) {
        return;
    }
    free(confirm->ids);
    free(confirm->segments);
    free(confirm);
}

/* --- what is known
 * --------------------------------------------------------------------------------------------------------
 */

static struct segment *add_segment(struct confirm *confirm)
{
    if (confirm->segment_count == confirm->segment_room) {
        size_t room = confirm->segment_room ? confirm->segment_room * 2 : 4;
        struct segment *grown = realloc(confirm->segments, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        confirm->segments = grown;
        confirm->segment_room = room;
    }
    struct segment *segment = &confirm->segments[confirm->segment_count++];
    memset(segment, 0, sizeof *segment);
    return segment;
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
        last = add_segment(confirm);
        if (last == NULL) {
            confirm->noted = position; /* out of memory: tried again at the next look */
            return;
        }
        last->producer_id = slot->producer_id;
        last->base = base;
        last->first = position;
        stream_ack_name(last->key, confirm->options.stream, slot->producer_id);
    }
    last->end = position + 1;
}

static struct entry_id *id_of(struct confirm *confirm, uint64_t position)
{
    return &confirm->ids[position & (confirm->options.journal->slots - 1)];
}

void confirm_note_entry(struct confirm *confirm, uint64_t position, uint64_t ms, uint64_t seq)
{
    *id_of(confirm, position) = (struct entry_id){ms, seq};
    if (position >= confirm->sent) {
        confirm->sent = position + 1;
    }
}

static void advance(struct confirm *confirm)
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
    advance(confirm);
}

bool confirm_is_settled(const struct confirm *confirm, uint64_t position)
{
    return position < confirm->committed || ranges_end(&confirm->settled, position) > position;
}

/* Neither settled nor let go. */
static bool is_open(const struct confirm *confirm, uint64_t position)
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

/* Is it an error that leaves the connection usable and passes by itself or by an operator's hand? */
static bool passes(const char *error_text)
{
    enum redis_error_action action = redis_error_action(error_text);
    return action != REDIS_ERROR_OTHER && action != REDIS_ERROR_GROUP;
}

/* Not every error is a refusal: that there is no group, or no stream, is an answer. */
static void note_refusal(struct confirm *confirm, enum question question, const redisReply *reply)
{
    unsigned before = confirm->refused;
    if (reply->type == REDIS_REPLY_ERROR && (question == WORDS || passes(reply->str))) {
        confirm->refused |= question;
    } else {
        confirm->refused &= ~(unsigned)question;
    }
    if ((before == 0) != (confirm->refused == 0)) {
        confirm->options.on_refused(confirm->options.owner, confirm->refused ? reply->str : NULL);
    }
}

static void format_id(struct entry_id id, char text[ID_BYTES])
{
    snprintf(text, ID_BYTES, "%llu-%llu", (unsigned long long)id.ms, (unsigned long long)id.seq);
}

/* --- the drainer's word
 * ---------------------------------------------------------------------------------------------------
 */

/* A seq in decimal at *at, before `end`. 0: none. */
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

/* "1-50,53,60-70". What is malformed ends it: a word less costs at most a duplicate. */
static void take_word(struct confirm *confirm, const struct segment *segment, const char *text,
                      size_t length)
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

/* One entry: [id, [field, value, ...]] */
static void take_entry(struct confirm *confirm, struct segment *segment, const redisReply *entry)
{
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        entry->element[0]->type != REDIS_REPLY_STRING) {
        return;
    }
    snprintf(segment->last_word, sizeof segment->last_word, "%s", entry->element[0]->str);
    const redisReply *pairs = entry->element[1];
    for (size_t i = 0; pairs->type == REDIS_REPLY_ARRAY && i + 1 < pairs->elements; i += 2) {
        const redisReply *field = pairs->element[i], *value = pairs->element[i + 1];
        if (field->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
            strcmp(field->str, STREAM_ACK_FIELD) == 0) {
            take_word(confirm, segment, value->str, value->len);
        }
    }
}

static bool ask_segment(struct confirm *, const struct segment *);
static bool ask_newest(struct confirm *);

/* tag: the low bits of the producer_id, as segments move in their list. */
static struct segment *segment_of(struct confirm *confirm, uintptr_t tag)
{
    for (size_t i = 0; i < confirm->segment_count; i++) {
        if ((uintptr_t)confirm->segments[i].producer_id == tag) {
            return &confirm->segments[i];
        }
    }
    return NULL;
}

static void on_words(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct confirm *confirm = owner;
    struct segment *segment = segment_of(confirm, tag);
    confirm->asked--;
    if (reply == NULL) {
        return; /* asked again on the next connection */
    }
    note_refusal(confirm, WORDS, reply);
    if (segment != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        for (size_t i = 0; i < reply->elements; i++) {
            take_entry(confirm, segment, reply->element[i]);
        }
        if (reply->elements == WORDS_PER_READ) {
            ask_segment(confirm, segment);
        }
        advance(confirm);
        forget_settled_segments(confirm);
        confirm->options.on_settled(confirm->options.owner);
    }
    if (confirm->asked == 0 && !ask_newest(confirm)) {
        confirm->options.on_answered(confirm->options.owner);
    }
}

static bool ask_segment(struct confirm *confirm, const struct segment *segment)
{
    char from[ID_BYTES + 1], count[16];
    snprintf(from, sizeof from, "%s%s", *segment->last_word ? "(" : "-", segment->last_word);
    snprintf(count, sizeof count, "%d", WORDS_PER_READ);
    const char *argv[] = {"XRANGE", segment->key, from, "+", "COUNT", count};
    if (redis_link_sendv_as(confirm->options.link, confirm, on_words,
                            (uintptr_t)segment->producer_id, 6, argv, NULL) != 0) {
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
    confirm->newest_seen |= confirm->asked == 0; /* nothing is open */
    return confirm->asked > 0;
}

void confirm_on_up(struct confirm *confirm)
{
    confirm->asked = confirm->refused = 0;
    confirm->newest_seen = false;
    confirm->sent_before = confirm->sent;
    confirm->look.awaited = 0;
    confirm->waiting.below = 0;
    for (size_t i = 0; i < confirm->segment_count; i++) {
        confirm->segments[i].last_word[0] = 0;
    }
}

/* --- silence
 * --------------------------------------------------------------------------------------------------------------
 */

static bool parse_id(const redisReply *reply, struct entry_id *id)
{
    unsigned long long ms, seq;
    if (reply->type != REDIS_REPLY_STRING || sscanf(reply->str, "%llu-%llu", &ms, &seq) != 2) {
        return false;
    }
    *id = (struct entry_id){ms, seq};
    return true;
}

/* XRANGE of one id: is it this record, which is open? (One that is not may be overwritten at this
 * moment.) */
static bool holds_record(const struct confirm *confirm, const redisReply *reply, uint64_t position)
{
    const struct journal_slot *slot;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
        reply->element[0]->elements != 2) {
        return false;
    }
    const redisReply *pairs = reply->element[0]->element[1];
    if (pairs->type != REDIS_REPLY_ARRAY || pairs->elements != 2 ||
        journal_read(confirm->options.journal, position, &slot) != JOURNAL_RECORD) {
        return false;
    }
    struct record_identity identity = {slot->producer_id, slot->seq, slot->recorded_at_ns,
                                       confirm->options.journal->exchange};
    unsigned char head[RECORD_HEAD_BYTES_MAX];
    size_t length = record_encode_head(&identity, slot->fields, head);
    return pairs->element[1]->len >= length && memcmp(pairs->element[1]->str, head, length) == 0;
}

static void on_newest(void *owner, uintptr_t position, struct redisReply *reply)
{
    struct confirm *confirm = owner;
    confirm->asked--;
    if (reply == NULL) {
        return;
    }
    note_refusal(confirm, ENTRY, reply);
    confirm->newest_seen = reply->type != REDIS_REPLY_ERROR; /* while it is LOADING it cannot say */
    if (reply->type == REDIS_REPLY_ARRAY && is_open(confirm, position) &&
        !holds_record(confirm, reply, position)) {
        confirm->options.on_lost(confirm->options.owner, "Redis is back without the newest");
    }
    confirm->options.on_answered(confirm->options.owner);
}

/* After the words, until there was an answer on this connection: looks for the newest open record
 * that was sent before it. False: there is nothing to ask. */
static bool ask_newest(struct confirm *confirm)
{
    uint64_t newest = confirm->sent_before;
    char id[ID_BYTES];
    if (confirm->newest_seen) {
        return false;
    }
    confirm->newest_seen = true;
    while (newest > confirm->committed && confirm_is_settled(confirm, newest - 1)) {
        newest--;
    }
    if (newest-- == 0 || !is_open(confirm, newest)) {
        return false;
    }
    format_id(*id_of(confirm, newest), id);
    const char *argv[] = {"XRANGE", confirm->options.stream, id, id};
    if (redis_link_sendv_as(confirm->options.link, confirm, on_newest, (uintptr_t)newest, 4, argv,
                            NULL) != 0) {
        return false;
    }
    confirm->asked++;
    return true;
}

static unsigned patience_ms(const struct confirm *confirm, bool pressed)
{
    unsigned patience = pressed ? SILENCE_PRESSED_MS : SILENCE_MS;
    for (unsigned i = 0; i < confirm->resends && patience < SILENCE_MAX_MS; i++) {
        patience *= 2;
    }
    return patience < SILENCE_MAX_MS ? patience : SILENCE_MAX_MS;
}

static void judge(struct confirm *confirm)
{
    const struct look *look = &confirm->look;
    if (!is_open(confirm, look->position)) {
        return;
    }
    bool strange = !look->answered_by_error &&
                   (look->gone || (look->group && look->delivered && !look->pending));
    confirm->waiting =
        (struct waiting){strange || look->answered_by_error ? 0 : look->sent, look->at_ms};
    if (!strange) {
        confirm->silent_since_ms = 0;
    } else if (confirm->silent_since_ms == 0) {
        confirm->silent_since_ms = look->at_ms;
    } else if (look->at_ms - confirm->silent_since_ms >= patience_ms(confirm, look->pressed)) {
        confirm->silent_since_ms = 0;
        confirm->resends++;
        confirm->options.on_lost(confirm->options.owner,
                                 look->gone
                                     ? "the oldest is gone from the stream"
                                     : "the oldest was delivered, is not pending, and has no word");
    }
}

bool confirm_is_strange(const struct confirm *confirm)
{
    return confirm->waiting.below == 0;
}

struct waiting confirm_waiting(const struct confirm *confirm)
{
    return confirm->waiting;
}

static void on_entry(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct confirm *confirm = owner;
    struct look *look = &confirm->look;
    if (reply == NULL) {
        return;
    }
    note_refusal(confirm, ENTRY, reply);
    look->answered_by_error |= reply->type == REDIS_REPLY_ERROR;
    look->gone = reply->type == REDIS_REPLY_ARRAY && is_open(confirm, look->position) &&
                 !holds_record(confirm, reply, look->position);
    look->awaited--;
}

/* XPENDING with a range. That there is no group is found out by the next answer too. */
static void on_pending(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct confirm *confirm = owner;
    if (reply == NULL) {
        return;
    }
    note_refusal(confirm, PENDING, reply);
    confirm->look.answered_by_error |= (confirm->refused & PENDING) != 0;
    confirm->look.pending = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0;
    confirm->look.awaited--;
}

/* One group: [name, drainers, ..., last-delivered-id, 1-1, ...] */
static void take_group(struct look *look, const redisReply *group)
{
    struct entry_id last = {0, 0};
    bool ours = false;
    for (size_t i = 0; group->type == REDIS_REPLY_ARRAY && i + 1 < group->elements; i += 2) {
        const redisReply *name = group->element[i], *value = group->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
            continue;
        }
        if (strcmp(name->str, "name") == 0) {
            ours = strcmp(value->str, STREAM_GROUP) == 0;
        } else if (strcmp(name->str, "last-delivered-id") == 0) {
            parse_id(value, &last);
        }
    }
    if (!ours) {
        return;
    }
    look->group = true;
    look->delivered = look->id.ms < last.ms || (look->id.ms == last.ms && look->id.seq <= last.seq);
}

static void on_groups(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct confirm *confirm = owner;
    if (reply == NULL) {
        return;
    }
    note_refusal(confirm, GROUPS, reply);
    confirm->look.answered_by_error |= (confirm->refused & GROUPS) != 0;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        take_group(&confirm->look, reply->element[i]);
    }
    if (--confirm->look.awaited == 0) {
        judge(confirm);
    }
}

static void ask_look(struct confirm *confirm)
{
    char id[ID_BYTES];
    format_id(confirm->look.id, id);
    const char *stream = confirm->options.stream;
    const char *range[] = {"XRANGE", stream, id, id};
    const char *pending[] = {"XPENDING", stream, STREAM_GROUP, id, id, "1"};
    const char *groups[] = {"XINFO", "GROUPS", stream};
    struct redis_link *link = confirm->options.link;
    if (redis_link_sendv_as(link, confirm, on_entry, 0, 4, range, NULL) != 0 ||
        redis_link_sendv_as(link, confirm, on_pending, 0, 6, pending, NULL) != 0 ||
        redis_link_sendv_as(link, confirm, on_groups, 0, 3, groups, NULL) != 0) {
        redis_link_reset(
            link,
            "out of memory"); /* whose answers are still to come cannot be told apart any more */
    }
}

void confirm_look(struct confirm *confirm, uint64_t first, uint64_t sent, bool pressed,
                  int64_t now_ms)
{
    if (first != confirm->silent_position) { /* words have come, so a later silence is a new one */
        confirm->silent_position = first;
        confirm->silent_since_ms = 0;
        confirm->resends = 0;
    }
    if (first >= sent || confirm->look.awaited > 0) {
        return;
    }
    struct entry_id id = *id_of(confirm, first);
    confirm->look = (struct look){
        .position = first, .sent = sent, .id = id, .at_ms = now_ms, .pressed = pressed};
    if (id.ms == 0 &&
        id.seq == 0) { /* said to be sent, but nobody knows as what: as good as gone */
        confirm->look.gone = true;
        judge(confirm);
        return;
    }
    confirm->look.awaited = 3;
    ask_look(confirm);
}
