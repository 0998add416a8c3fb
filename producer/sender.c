/* sender.c: from the journal to Redis.
 *
 *     OFFLINE -> MEETING -> ASKING -> CHECKING -> SENDING <-> REFUSED
 *                   |                                any state -> OFFLINE when the link is lost
 *                   +-> LEFT_ALONE
 *
 *     MEETING    is this the Redis that the records are for? (target.h)
 *     ASKING     confirmations are read first: confirmed records need not be sent again
 *     CHECKING   does Redis have what was sent before? (loss.h)
 *     SENDING    published records go out in order, up to a window of records and of bytes
 *     REFUSED    Redis has answered with an error: back-off, then again from that record on
 *
 * Positions:  floor <= answered <= next_send <= next. `answered` is the first position that Redis
 * has not answered for, `next_send` the next one to hand to the link. Going back means next_send =
 * answered; answers to what went out before are counted in `stale` and not believed. Nothing is
 * handed out while there are any: order is kept. The journal's cursor `sent` is `answered`, but
 * from a new connection to the end of the check it is `floor`: nothing counts as sent then.
 *
 * When the journal is nearly full `floor` is raised over the oldest sent records that are not
 * confirmed (eviction.h), never over unsent ones. */
#include "producer/sender.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "producer/eviction.h"
#include "producer/redis_error.h"
#include "producer/sender_private.h"
#include "schema/clock.h"

enum {
    WINDOW_RECORDS = 4096, /* in flight, for a round trip of WINDOW_MS or less; longer ones: more */
    WINDOW_MS = 10,
    WINDOW_RECORDS_MAX = 1 << 16,
    WINDOW_BYTES = 1 << 24, /* in flight */
    UNSENT_BYTES = 1 << 18, /* in our own memory: all of it is moved at each write */
    MEAN_SHARE = 64,
    LOOK_MS = 1000,
    LOOK_STRANGE_MS = 5, /* in need of room, which looking alone does not give */
    LOOK_IMPATIENT_MS = 20,
    REFUSED_MIN_MS = 50,
    REFUSED_MAX_MS = 2000,
    RECORDS_PER_SAMPLE = 16, /* a power of two; of so many one is timed while more are in flight */
};

void sender_set_state(struct sender *sender, enum sender_state state)
{
    static const unsigned allowed[] = {
        [OFFLINE] = 1u << MEETING,
        [MEETING] = 1u << ASKING | 1u << LEFT_ALONE | 1u << OFFLINE,
        [LEFT_ALONE] = 1u << OFFLINE,
        [ASKING] = 1u << CHECKING | 1u << OFFLINE,
        [CHECKING] = 1u << SENDING | 1u << OFFLINE,
        [SENDING] = 1u << REFUSED | 1u << OFFLINE,
        [REFUSED] = 1u << SENDING | 1u << OFFLINE,
    };
    assert((allowed[sender->state] & 1u << state) != 0);
    (void)allowed;
    sender->state = state;
}

/* --- cursors --- */

uint64_t sender_floor(const struct sender *sender)
{
    return journal_cursor(&sender->journal->header->floor);
}

static bool is_checked(const struct sender *sender)
{
    return sender->state == SENDING || sender->state == REFUSED;
}

void sender_publish_sent(struct sender *sender)
{
    journal_cursor_set(&sender->journal->header->sent,
                       is_checked(sender) ? sender->answered : sender_floor(sender));
}

static void set_answered(struct sender *sender, uint64_t position)
{
    assert(position >= sender_floor(sender));
    sender->answered = position;
    if (sender->next_send < position) {
        sender->next_send = position;
    }
    sender_publish_sent(sender);
}

void sender_go_back(struct sender *sender)
{
    sender->next_send = sender->answered;
    sender->stale = sender->in_flight;
}

/* Frees the slots below. The order of stores: floor never is beyond sent, whoever looks. */
static void raise_floor(struct sender *sender, uint64_t position)
{
    struct journal_header *header = sender->journal->header;
    if (position <= sender_floor(sender)) {
        return;
    }
    if (sender->answered < position) {
        set_answered(sender, position);
    }
    if (journal_cursor(&header->sent) < position) {
        journal_cursor_set(&header->sent, position);
    }
    journal_cursor_set(&header->floor, position);
}

void sender_settle(void *owner)
{
    struct sender *sender = owner;
    uint64_t committed = confirm_committed(sender->confirm);
    raise_floor(sender, confirm_first_open(sender->confirm, sender_floor(sender)));
    journal_cursor_set(&sender->journal->header->committed, committed);
    waiters_wake(&sender->waiters);
}

bool sender_due(int64_t *last_ms, int64_t now, int64_t interval_ms)
{
    if (now - *last_ms < interval_ms) {
        return false;
    }
    *last_ms = now;
    return true;
}

static int64_t look_interval(const struct sender *sender, bool pressed)
{
    if (loss_is_impatient(sender->loss)) {
        return LOOK_IMPATIENT_MS;
    }
    if (!pressed) {
        return LOOK_MS;
    }
    return loss_is_strange(sender->loss) ? LOOK_STRANGE_MS : 0;
}

void sender_look_when_due(struct sender *sender)
{
    bool pressed = eviction_is_near(sender->journal, loss_waiting(sender->loss));
    int64_t now = clock_monotonic_ms();
    if (sender->state == SENDING &&
        sender_due(&sender->looked_ms, now, look_interval(sender, pressed))) {
        loss_look(sender->loss, confirm_first_open(sender->confirm, sender_floor(sender)),
                  sender->answered, pressed, now);
    }
}

static void sender_make_room(struct sender *sender)
{
    if (eviction_is_over(sender->journal)) {
        event_notifier_eviction_over(&sender->notifier);
    }
    uint64_t floor = sender_floor(sender),
             target = eviction_below(sender->journal, loss_waiting(sender->loss));
    if (sender->state != SENDING || target <= floor) {
        return;
    }
    uint64_t open = confirm_open_within(sender->confirm, floor, target);
    sender_count(&sender->evicted, (int64_t)open);
    if (open > 0) {
        event_notifier_evicted(&sender->notifier, (uint64_t)atomic_load_explicit(
                                                      &sender->evicted, memory_order_relaxed));
    }
    raise_floor(sender, target);
}

/* --- sending --- */

static void sender_refuse(struct sender *sender, const char *error)
{
    sender_count(&sender->errors, 1);
    int64_t now = clock_monotonic_ms();
    if (sender->refused_ms == 0) {
        sender->refused_ms = REFUSED_MIN_MS;
    }
    event_notifier_refused(&sender->notifier, REFUSED_SENDING, error);
    sender->resume_at_ms = now + sender->refused_ms / 2 +
                           (unsigned)rand_r(&sender->seed) % (sender->refused_ms / 2 + 1);
    sender->refused_ms =
        sender->refused_ms * 2 < REFUSED_MAX_MS ? sender->refused_ms * 2 : REFUSED_MAX_MS;
    sender_go_back(sender);
    sender_set_state(sender, REFUSED);
    if (redis_error_action(error) == REDIS_ERROR_RESET) {
        redis_link_reset(sender->link, error); /* the name may lead to the master by now */
    }
}

/* Leaves, in a cluster, for the node that has the stream. The link goes there, and sends from this
 * record on. */
static bool sender_leave_node(struct sender *sender, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR && redis_link_follow(sender->link, reply->str)) {
        sender_go_back(sender);
        return true;
    }
    if (reply->type == REDIS_REPLY_NIL && sender->xadd.existing_only) {
        redis_link_reset(sender->link, "the stream is not where its slot was being moved to");
        sender_go_back(sender);
        return true;
    }
    return false;
}

/* Times only what this producer has submitted, and only the first time that it is sent. */
static void time_answer(struct sender *sender, uint64_t position)
{
    struct journal *journal = sender->journal;
    if (position < sender->untimed || position <= journal->base) {
        return;
    }
    sender->untimed = position + 1;
    if (sender->in_flight < RECORDS_PER_SAMPLE || position % RECORDS_PER_SAMPLE == 0) {
        histogram_add(&sender->submit_to_sent_ns,
                      journal_clock_now(&journal->clock) -
                          journal_slot_at(journal, position)->recorded_at_ns);
    }
}

static void sender_take_answer(struct sender *sender, uint64_t position, const char *id)
{
    time_answer(sender, position);
    struct stream_entry_id entry = {0, 0};
    (void)stream_entry_id_parse(id, strlen(id), &entry); /* 0-0: it is not known where it is */
    confirm_note_entry(sender->confirm, position, entry);
    /* with nothing more under way, what was skipped behind this record is done as well */
    uint64_t done = sender->in_flight == 0 ? sender->next_send : position + 1;
    if (done > sender->answered) { /* else the confirmation of an earlier copy was quicker */
        set_answered(sender, done);
    }
    sender->refused_ms = 0;
    event_notifier_refused(&sender->notifier, REFUSED_SENDING, NULL);
    waiters_wake(&sender->waiters);
}

/* Returns how many records may be in flight: what Redis can take in a round trip, within limits. */
static unsigned window_of(const struct sender *sender)
{
    unsigned round_trip_ms = redis_link_round_trip_ms(sender->link), records = WINDOW_RECORDS_MAX;
    unsigned by_bytes = (unsigned)(WINDOW_BYTES / (sender->command_bytes + 1));
    if (sender->refused_ms != 0) {
        return 1; /* one tries whether it is still refused */
    }
    if (round_trip_ms <= WINDOW_MS) {
        return WINDOW_RECORDS;
    }
    if (round_trip_ms < WINDOW_MS * (WINDOW_RECORDS_MAX / WINDOW_RECORDS)) {
        records = WINDOW_RECORDS * round_trip_ms / WINDOW_MS;
    }
    records = records < by_bytes ? records : by_bytes;
    return records > WINDOW_RECORDS ? records : WINDOW_RECORDS;
}

static void on_added(void *owner, uintptr_t tag, struct redisReply *reply)
{
    struct sender *sender = owner;
    sender->in_flight--;
    if (reply == NULL) {
        return; /* unknown; on_change goes back to it */
    }
    if (sender->stale > 0) {
        sender->stale--;
    } else if (reply->type == REDIS_REPLY_STRING) {
        sender_take_answer(sender, tag, reply->str);
    } else if (!sender_leave_node(sender, reply)) {
        sender_refuse(sender, reply->type == REDIS_REPLY_ERROR
                                  ? reply->str
                                  : "an answer to XADD that is no entry id");
    }
    unsigned window = window_of(sender);
    if (sender->in_flight < window - window / 8) { /* not for each answer, and not half empty */
        sender_pump(sender);
    }
}

static int send_record(struct sender *sender, uint64_t position, const struct journal_slot *slot)
{
    size_t length;
    /* The node that the slot is being moved to may not have the stream yet, or any more. */
    sender->xadd.existing_only = redis_link_is_asking(sender->link);
    const char *command = xadd_command(&sender->xadd, slot, &length);
    if (command == NULL) {
        return -1;
    }
    sender->command_bytes += length / MEAN_SHARE - sender->command_bytes / MEAN_SHARE;
    return redis_link_send(sender->link, on_added, (uintptr_t)position, command, length);
}

/* Sends the record at next_send. False: there is none yet, or it cannot be sent now. */
static bool send_next(struct sender *sender)
{
    const struct journal_slot *slot;
    struct confirm *confirm = sender->confirm;
    uint64_t position = sender->next_send;
    switch (journal_read(sender->journal, position, &slot)) {
    case JOURNAL_NOTHING_YET:
        return false;
    case JOURNAL_DAMAGED:
        event_notifier_event(&sender->notifier, BLOTTER_EVENT_DAMAGED,
                             "a record was damaged in the journal's memory and is left out");
        /* fall through */
    case JOURNAL_LEFT_OUT:
        confirm_skip(confirm, position);
        break;
    case JOURNAL_RECORD:
        confirm_note_record(confirm, position, slot);
        if (!confirm_is_settled(confirm, position)) {
            if (send_record(sender, position, slot) != 0) {
                return false;
            }
            sender->in_flight++;
        }
    }
    sender->next_send = position + 1;
    sender->active_us = clock_monotonic_us();
    return true;
}

static void send_all(struct sender *sender)
{
    unsigned window = window_of(sender);
    while (sender->in_flight < window && redis_link_unsent_bytes(sender->link) < UNSENT_BYTES &&
           send_next(sender)) {
    }
    if (sender->in_flight == 0 &&
        sender->answered < sender->next_send) { /* nothing but skipped ones */
        set_answered(sender, sender->next_send);
        sender_settle(sender);
    }
}

void sender_pump(struct sender *sender)
{
    /* Between the last callback of a lost connection and on_change nothing is in flight, and yet
     * not all is answered. */
    if (sender->state == SENDING && sender->stale == 0 && redis_link_up(sender->link)) {
        send_all(sender);
    }
    if (eviction_is_near(sender->journal, loss_waiting(sender->loss))) {
        sender_look_when_due(sender);
    }
    sender_make_room(sender);
}

/* --- waiting --- */

void sender_wake(struct sender *sender)
{
    waker_wake(&sender->waker);
}

static const struct journal_cursor *cursor_of(const struct sender *sender, enum blotter_stage stage)
{
    const struct journal_header *header = sender->journal->header;
    return stage == BLOTTER_SENT ? &header->sent : &header->committed;
}

struct hurry {
    struct sender *sender;
    bool committed;
};

static void end_hurry(void *arg)
{
    const struct hurry *hurry = arg;
    waiters_leave(&hurry->sender->waiters, hurry->committed);
}

int sender_wait(struct sender *sender, uint64_t position, enum blotter_stage stage, int timeout_ms,
                int cancel_state)
{
    const struct journal_cursor *cursor = cursor_of(sender, stage);
    struct hurry hurry = {sender, stage == BLOTTER_COMMITTED};
    int status;
    if (journal_cursor(cursor) > position) {
        return BLOTTER_OK;
    }
    if (timeout_ms == 0) {
        return BLOTTER_TIMEOUT;
    }
    waiters_enter(&sender->waiters, hurry.committed);
    pthread_cleanup_push(end_hurry, &hurry);
    sender_wake(sender);
    status = waiters_wait(&sender->waiters, cursor, position, timeout_ms, cancel_state);
    pthread_cleanup_pop(1);
    return status;
}

void sender_hurry(struct sender *sender, bool on)
{
    if (on) {
        waiters_enter(&sender->waiters, true);
    } else {
        waiters_leave(&sender->waiters, true);
    }
    sender_wake(sender);
}

int sender_notify(struct sender *sender, int fd, enum blotter_stage stage, uint64_t position)
{
    int status = waiters_notify(&sender->waiters, fd, cursor_of(sender, stage), position,
                                stage == BLOTTER_COMMITTED);
    sender_wake(sender);
    return status;
}

void sender_withdraw(struct sender *sender, int fd, enum blotter_stage stage)
{
    waiters_withdraw(&sender->waiters, fd, cursor_of(sender, stage));
}

const char *sender_left_alone(const struct sender *sender)
{
    return sender->state == LEFT_ALONE ? sender->target.left_alone : NULL;
}

void sender_release_waiters(struct sender *sender)
{
    waiters_close(&sender->waiters);
}

void sender_stats(struct sender *sender, struct blotter_stats *stats)
{
    stats->resent = atomic_load_explicit(&sender->resent, memory_order_relaxed); /* counters */
    stats->evicted = atomic_load_explicit(&sender->evicted, memory_order_relaxed);
    stats->connects = atomic_load_explicit(&sender->connects, memory_order_relaxed);
    stats->errors = atomic_load_explicit(&sender->errors, memory_order_relaxed);
    stats->redis_up = atomic_load_explicit(&sender->redis_up, memory_order_relaxed);
    stats->left_alone = atomic_load_explicit(&sender->left_alone, memory_order_relaxed);
    histogram_copy(&sender->submit_to_sent_ns, &stats->submit_to_sent_ns);
    event_notifier_stats(&sender->notifier, stats);
}
