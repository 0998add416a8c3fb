/* sender_life.c: begins and ends a sender, and leads it from a new connection to sending.
 *
 * The states are drawn in sender.c. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "producer/sender_private.h"
#include "schema/clock.h"

enum { CONNECT_BACKOFF_MAX_MS = 500 }; /* so that records flow within a second of Redis' return */

/* --- a new connection --- */

static void on_lost(void *owner, const char *why)
{
    struct sender *sender = owner;
    uint64_t first = confirm_first_open(sender->confirm, sender_floor(sender));
    uint64_t sent = sender->answered;
    if ((sender->state != SENDING && sender->state != CHECKING) || first >= sent) {
        return;
    }
    char text[160];
    uint64_t open = confirm_open_within(sender->confirm, first, sent);
    snprintf(text, sizeof text, "%llu records that are not confirmed: %s", (unsigned long long)open,
             why);
    sender_count(&sender->resent, (int64_t)open);
    for (uint64_t position = first; position < sent; position++) {
        confirm_forget_entry(sender->confirm, position); /* else a later check might believe it */
    }
    sender->answered = first;
    sender_publish_sent(sender);
    sender_go_back(sender);
    /* only now: a process that hears of it and waits until all is sent shall wait for the copies */
    event_notifier_event(&sender->notifier, BLOTTER_EVENT_RESEND, text);
}

static void on_checked(void *owner)
{
    struct sender *sender = owner;
    if (sender->state == CHECKING) {
        sender_set_state(sender, SENDING);
        sender_publish_sent(sender);
        waiters_wake(&sender->waiters);
        sender_pump(sender);
    }
}

static void on_answered(void *owner)
{
    struct sender *sender = owner;
    if (sender->state == ASKING) {
        sender_set_state(sender, CHECKING);
        loss_check(sender->loss, sender_floor(sender), sender->answered);
    }
}

static void on_known(void *owner, bool ours)
{
    struct sender *sender = owner;
    if (sender->state != MEETING) {
        return;
    }
    sender_show(&sender->left_alone, !ours);
    if (!ours) {
        sender_set_state(sender, LEFT_ALONE);
        event_notifier_left_alone(&sender->notifier, sender->target.left_alone);
        return;
    }
    sender_set_state(sender, ASKING);
    if (!confirm_ask(sender->confirm, journal_next(sender->journal))) {
        on_answered(sender);
    }
}

static void on_refused(void *owner, const char *error)
{
    struct sender *sender = owner;
    if (error != NULL) {
        sender_count(&sender->errors, 1);
    }
    event_notifier_refused(&sender->notifier, REFUSED_CONFIRMING, error);
}

static void sender_go_up(struct sender *sender, const char *place)
{
    sender_count(&sender->connects, 1);
    sender_show(&sender->redis_up, 1);
    refusals_forget(&sender->refusals);
    event_notifier_up(&sender->notifier, place);
    sender_set_state(sender, MEETING);
    sender_publish_sent(sender);
    confirm_on_up(sender->confirm);
    loss_on_up(sender->loss);
    target_on_up(&sender->target);
    target_ask(&sender->target);
}

static void sender_on_change(void *owner, bool up, const char *why)
{
    struct sender *sender = owner;
    if (up) {
        sender_go_up(sender, why);
        return;
    }
    assert(sender->in_flight == 0); /* the link has called back for all */
    sender_show(&sender->redis_up, 0);
    sender->refused_ms = 0;
    sender_go_back(sender);
    sender_set_state(sender, OFFLINE);
    event_notifier_down(&sender->notifier, why);
}

/* --- life --- */

/* Finds how far the slots say that records were sent: up to the first without an entry id. Only a
 * hint; and journals of version 1 have none. */
static uint64_t find_answered(const struct journal *journal)
{
    uint64_t position = journal_cursor(&journal->header->floor), next = journal_next(journal);
    for (; journal->version > 1 && position < next; position++) {
        const struct journal_slot *slot;
        enum journal_read read = journal_read(journal, position, &slot);
        bool has_entry = read == JOURNAL_RECORD &&
                         (atomic_load_explicit(&slot->entry_ms, memory_order_relaxed) != 0 ||
                          atomic_load_explicit(&slot->entry_seq, memory_order_relaxed) != 0);
        if (!has_entry && read != JOURNAL_LEFT_OUT) {
            break;
        }
    }
    return position;
}

/* Reads what a former owner left once, so that its confirmations can be asked for. */
static void note_leftovers(struct sender *sender)
{
    uint64_t next = journal_next(sender->journal);
    for (uint64_t position = sender_floor(sender); position < next; position++) {
        const struct journal_slot *slot;
        enum journal_read read = journal_read(sender->journal, position, &slot);
        if (read == JOURNAL_RECORD) {
            confirm_note_record(sender->confirm, position, slot);
        } else if (read == JOURNAL_LEFT_OUT && position < sender->answered) {
            confirm_skip(sender->confirm, position);
        }
    }
}

static bool make_confirming(struct sender *sender)
{
    struct confirm_options confirm = {.journal = sender->journal,
                                      .link = sender->link,
                                      .refusals = &sender->refusals,
                                      .stream = sender->stream,
                                      .sent = sender->answered,
                                      .owner = sender,
                                      .on_answered = on_answered,
                                      .on_settled = sender_settle};
    sender->confirm = confirm_create(&confirm);
    struct loss_options loss = {.journal = sender->journal,
                                .link = sender->link,
                                .confirm = sender->confirm,
                                .refusals = &sender->refusals,
                                .stream = sender->stream,
                                .owner = sender,
                                .on_checked = on_checked,
                                .on_lost = on_lost};
    sender->loss = loss_create(&loss);
    return sender->confirm != NULL && sender->loss != NULL;
}

static bool make_parts(struct sender *sender, char *error, size_t error_size)
{
    struct event_base *base = sender->options.base;
    char name[96];
    snprintf(name, sizeof name, "blotter-%s%s%s-%d", sender->journal->exchange,
             sender->journal->lane[0] != '\0' ? "-" : "", sender->journal->lane, (int)getpid());
    struct redis_link_options link = {.base = base,
                                      .url = sender->options.redis,
                                      .password = sender->options.password,
                                      .name = name,
                                      .stream = sender->stream,
                                      .backoff_max_ms = CONNECT_BACKOFF_MAX_MS,
                                      .on_change = sender_on_change,
                                      .owner = sender};
    sender->link = redis_link_create(&link, error, error_size);
    if (sender->link == NULL) {
        return false;
    }
    snprintf(error, error_size, "the sender: out of memory or descriptors");
    if (!make_confirming(sender) || !waker_init(&sender->waker, base, sender_clock_tick, sender) ||
        !xadd_init(&sender->xadd, sender->journal, sender->stream)) {
        return false;
    }
    sender->target = (struct target){.journal = sender->journal,
                                     .link = sender->link,
                                     .refusals = &sender->refusals,
                                     .retarget = sender->options.retarget,
                                     .owner = sender,
                                     .on_known = on_known};
    target_init(&sender->target, sender->stream);
    return sender_clock_init(sender);
}

static void start(struct sender *sender)
{
    sender->options.redis = sender->options.password = NULL; /* borrowed for the call only */
    sender->seed = (unsigned)clock_monotonic_ns() ^ (unsigned)getpid();
    sender->next_send = sender->answered;
    sender_publish_sent(sender);
    note_leftovers(sender);
    sender_clock_start(sender);
    redis_link_start(sender->link);
}

int sender_create(struct sender **out, const struct sender_options *options, char *error,
                  size_t error_size)
{
    assert(options->journal->sender);
    *out = NULL;
    struct sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL) {
        snprintf(error, error_size, "out of memory");
        return BLOTTER_SYSTEM;
    }
    sender->options = *options;
    sender->journal = options->journal;
    sender->refusals = (struct refusals){.owner = sender, .on_refused = on_refused};
    sender->answered = find_answered(sender->journal);
    waiters_init(&sender->waiters);
    event_notifier_init(&sender->notifier, options->on_event, options->on_event_arg);
    stream_name(sender->stream, sender->journal->exchange, sender->journal->lane);
    if (!make_parts(sender, error, error_size)) {
        sender_destroy(sender);
        return BLOTTER_SYSTEM;
    }
    *error = '\0';
    start(sender);
    *out = sender;
    return BLOTTER_OK;
}

void sender_destroy(struct sender *sender)
{
    if (sender == NULL) {
        return;
    }
    redis_link_destroy(sender->link);
    sender_clock_release(sender);
    waker_release(&sender->waker);
    confirm_destroy(sender->confirm);
    loss_destroy(sender->loss);
    waiters_release(&sender->waiters);
    event_notifier_release(&sender->notifier);
    xadd_release(&sender->xadd);
    free(sender);
}
