/* loss.c: see loss.h. */
#include "producer/loss.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "producer/redis_link.h"
#include "schema/clock.h"
#include "schema/stream.h"

enum {
    SILENCE_MS = 5000,        /* how long it has to last; each time in vain doubles it */
    SILENCE_PRESSED_MS = 200, /* the same where the journal is nearly full */
    SILENCE_FIRST_MS = 20,    /* a new sender's: confirmations are read once more meanwhile */
    SILENCE_MAX_MS = 60000,
};

/* The two entries that are looked for on a new connection. */
struct check {
    unsigned awaited;
    bool failed;     /* Redis could not say */
    const char *why; /* something is lost; NULL: nothing */
};

/* A look asks Redis for the oldest open record: three answers make one. */
struct look {
    unsigned awaited;
    uint64_t position, sent;
    struct stream_entry_id id;
    int64_t at_ms;
    bool pressed, answered_by_error, gone, pending, group, delivered;
};

struct loss {
    struct loss_options options;
    struct check check;
    struct look look;
    struct waiting waiting;
    bool seen_waiting;        /* at least once, by this sender */
    uint64_t silent_position; /* the oldest open record when the silence began */
    int64_t silent_since_ms;  /* 0: nothing strange */
    unsigned resends;         /* for this position */
};

struct loss *loss_create(const struct loss_options *options)
{
    struct loss *loss = calloc(1, sizeof *loss);
    if (loss != NULL) {
        loss->options = *options;
    }
    return loss;
}

void loss_destroy(struct loss *loss)
{
    free(loss);
}

void loss_on_up(struct loss *loss)
{
    memset(&loss->check, 0, sizeof loss->check);
    loss->look.awaited = 0;
    loss->waiting.below = 0;
}

/* --- entries --- */

/* Says whether the answer to XRANGE of one id is this record, which is open. (One that is not may
 * be overwritten at this moment.) */
static bool holds_record(const struct loss *loss, const redisReply *reply, uint64_t position)
{
    const struct journal *journal = loss->options.journal;
    const struct journal_slot *slot;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
        reply->element[0]->elements != 2) {
        return false;
    }
    const redisReply *pairs = reply->element[0]->element[1];
    if (pairs->type != REDIS_REPLY_ARRAY || pairs->elements != 2 ||
        journal_read(journal, position, &slot) != JOURNAL_RECORD) {
        return false;
    }
    struct record_identity identity = {slot->producer_id, slot->seq, slot->recorded_at_ns,
                                       journal->exchange};
    unsigned char head[RECORD_HEAD_BYTES_MAX];
    size_t length = record_encode_head(&identity, slot->fields, head);
    return pairs->element[1]->type == REDIS_REPLY_STRING && pairs->element[1]->len >= length &&
           memcmp(pairs->element[1]->str, head, length) == 0;
}

static bool loss_is_known(struct stream_entry_id id)
{
    return id.ms != 0 || id.seq != 0;
}

static bool ask_entry(struct loss *loss, redis_link_reply *callback, uint64_t position)
{
    char id[STREAM_ENTRY_ID_BYTES];
    stream_entry_id_format(id, confirm_entry(loss->options.confirm, position));
    const char *argv[] = {"XRANGE", loss->options.stream, id, id};
    return redis_link_sendv_as(loss->options.link, loss, callback, (uintptr_t)position, 4, argv) ==
           0;
}

/* --- the check --- */

static void end_check(struct loss *loss)
{
    const char *why = loss->check.why;
    if (loss->check.failed && why == NULL) {
        return; /* asked again later */
    }
    if (why != NULL) {
        loss->options.on_lost(loss->options.owner, why);
    }
    loss->options.on_checked(loss->options.owner);
}

static void on_checked_entry(void *owner, uintptr_t position, struct redisReply *reply)
{
    struct loss *loss = owner;
    if (reply == NULL) {
        return;
    }
    bool refused = refusals_note(loss->options.refusals, ASK_ENTRY, reply);
    if (refusals_is_forbidden(reply)) {
        loss->check.why = "Redis does not let us look for them (NOPERM)";
    } else if (refused) {
        loss->check.failed = true;
    } else if (confirm_is_open(loss->options.confirm, position) &&
               !holds_record(loss, reply, position)) {
        loss->check.why = "Redis does not have the newest or the oldest of them";
    }
    if (--loss->check.awaited == 0) {
        end_check(loss);
    }
}

void loss_check(struct loss *loss, uint64_t floor, uint64_t sent)
{
    const struct confirm *confirm = loss->options.confirm;
    if (loss->check.awaited > 0) {
        return;
    }
    loss->check = (struct check){0};
    uint64_t oldest = confirm_first_open(confirm, floor);
    uint64_t newest = confirm_last_open(confirm, sent);
    if (oldest >= sent || newest == 0) {
        loss->options.on_checked(loss->options.owner);
        return;
    }
    if (!loss_is_known(confirm_entry(confirm, oldest)) ||
        !loss_is_known(confirm_entry(confirm, newest))) {
        loss->check.why = "where they are in Redis is not known";
        end_check(loss);
        return;
    }
    loss->check.awaited = 2;
    if (!ask_entry(loss, on_checked_entry, newest) || !ask_entry(loss, on_checked_entry, oldest)) {
        redis_link_reset(loss->options.link, "out of memory");
    }
}

/* --- the look --- */

/* Says whether to wait least: a new sender may come so late that confirmations have expired, and
 * with a full journal nothing moves until it sends again. So it has no patience until it has seen
 * records wait. */
bool loss_is_impatient(const struct loss *loss)
{
    return !loss->seen_waiting && loss->silent_since_ms != 0;
}

static unsigned loss_patience_ms(const struct loss *loss, bool pressed)
{
    if (loss_is_impatient(loss)) {
        return SILENCE_FIRST_MS;
    }
    unsigned patience = pressed ? SILENCE_PRESSED_MS : SILENCE_MS;
    for (unsigned i = 0; i < loss->resends && patience < SILENCE_MAX_MS; i++) {
        patience *= 2;
    }
    return patience < SILENCE_MAX_MS ? patience : SILENCE_MAX_MS;
}

static void resend(struct loss *loss)
{
    loss->silent_since_ms = 0;
    loss->seen_waiting = true;
    loss->resends++;
    loss->options.on_lost(loss->options.owner,
                          loss->look.gone
                              ? "the oldest is gone from the stream"
                              : "the oldest was delivered, is not pending, and is not confirmed");
}

static void judge(struct loss *loss)
{
    const struct look *look = &loss->look;
    if (!confirm_is_open(loss->options.confirm, look->position)) {
        return;
    }
    bool strange = !look->answered_by_error &&
                   (look->gone || (look->group && look->delivered && !look->pending));
    /* The time is that of the answer: else a Redis that takes long would let nothing be evicted. */
    loss->waiting =
        (struct waiting){strange || look->answered_by_error ? 0 : look->sent, clock_monotonic_ms()};
    if (!strange) {
        loss->silent_since_ms = 0;
        loss->seen_waiting |= !look->answered_by_error;
    } else if (loss->silent_since_ms == 0) {
        loss->silent_since_ms = look->at_ms;
    } else if (look->at_ms - loss->silent_since_ms >= loss_patience_ms(loss, look->pressed)) {
        resend(loss);
    }
}

bool loss_is_strange(const struct loss *loss)
{
    return loss->waiting.below == 0;
}

struct waiting loss_waiting(const struct loss *loss)
{
    return loss->waiting;
}

static void end_look(struct loss *loss)
{
    if (--loss->look.awaited == 0) {
        judge(loss);
    }
}

static void on_entry(void *owner, uintptr_t position, struct redisReply *reply)
{
    struct loss *loss = owner;
    if (reply == NULL) {
        return;
    }
    refusals_note(loss->options.refusals, ASK_ENTRY, reply);
    loss->look.answered_by_error |= reply->type == REDIS_REPLY_ERROR;
    loss->look.gone = reply->type == REDIS_REPLY_ARRAY &&
                      confirm_is_open(loss->options.confirm, position) &&
                      !holds_record(loss, reply, position);
    end_look(loss);
}

/* Takes the answer to XPENDING with a range. That there is no group is found out by the next
 * answer, too. */
static void loss_on_pending(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct loss *loss = owner;
    if (reply == NULL) {
        return;
    }
    loss->look.answered_by_error |= refusals_note(loss->options.refusals, ASK_PENDING, reply);
    loss->look.pending = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0;
    end_look(loss);
}

/* Takes one group: [name, drainers, ..., last-delivered-id, 1-1, ...]. */
static void take_group(struct look *look, const redisReply *group)
{
    struct stream_entry_id last = {0, 0};
    bool ours = false;
    for (size_t i = 0; group->type == REDIS_REPLY_ARRAY && i + 1 < group->elements; i += 2) {
        const redisReply *name = group->element[i], *value = group->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
            continue;
        }
        if (strcmp(name->str, "name") == 0) {
            ours = strcmp(value->str, STREAM_GROUP) == 0;
        } else if (strcmp(name->str, "last-delivered-id") == 0) {
            stream_entry_id_parse(value->str, value->len, &last);
        }
    }
    if (ours) {
        look->group = true;
        look->delivered = stream_entry_id_compare(look->id, last) <= 0;
    }
}

static void on_groups(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct loss *loss = owner;
    if (reply == NULL) {
        return;
    }
    loss->look.answered_by_error |= refusals_note(loss->options.refusals, ASK_GROUPS, reply);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        take_group(&loss->look, reply->element[i]);
    }
    end_look(loss);
}

static void ask_look(struct loss *loss)
{
    char id[STREAM_ENTRY_ID_BYTES];
    stream_entry_id_format(id, loss->look.id);
    const char *stream = loss->options.stream;
    const char *pending[] = {"XPENDING", stream, STREAM_GROUP, id, id, "1"};
    const char *groups[] = {"XINFO", "GROUPS", stream};
    struct redis_link *link = loss->options.link;
    loss->look.awaited = 3;
    if (!ask_entry(loss, on_entry, loss->look.position) ||
        redis_link_sendv_as(link, loss, loss_on_pending, 0, 6, pending) != 0 ||
        redis_link_sendv_as(link, loss, on_groups, 0, 3, groups) != 0) {
        /* answers that are still to come cannot be told apart any more */
        redis_link_reset(link, "out of memory");
    }
}

void loss_look(struct loss *loss, uint64_t first, uint64_t sent, bool pressed, int64_t now_ms)
{
    if (first != loss->silent_position) { /* some were confirmed, so a later silence is a new one */
        loss->silent_position = first;
        loss->silent_since_ms = 0;
        loss->resends = 0;
    }
    if (first >= sent || loss->look.awaited > 0) {
        return;
    }
    struct stream_entry_id id = confirm_entry(loss->options.confirm, first);
    loss->look = (struct look){
        .position = first, .sent = sent, .id = id, .at_ms = now_ms, .pressed = pressed};
    if (!loss_is_known(id)) { /* sent, but nobody knows as what: as good as gone */
        loss->look.gone = true;
        judge(loss);
        return;
    }
    ask_look(loss);
}
