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
 * confirmed (eviction.h), never over unsent ones.
 *
 * Idle. A sender without records looks less and less often, so that it costs nothing; but at least
 * every 20 ms, and so often that a burst after a pause cannot fill the journal. */
#include "producer/sender.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/confirm.h"
#include "producer/event_notifier.h"
#include "producer/eviction.h"
#include "producer/histogram.h"
#include "producer/loss.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"
#include "producer/refusals.h"
#include "producer/target.h"
#include "producer/waiters.h"
#include "producer/waker.h"
#include "producer/xadd.h"
#include "schema/clock.h"
#include "schema/stream.h"

enum {
    WINDOW_RECORDS = 4096, /* in flight, for a round trip of WINDOW_MS or less; longer ones: more */
    WINDOW_MS = 10,
    WINDOW_RECORDS_MAX = 1 << 16,
    WINDOW_BYTES = 1 << 24, /* in flight */
    UNSENT_BYTES = 1 << 20, /* in our own memory */
    MEAN_SHARE = 64,
    POLL_MAX_US = 20000,
    POLL_SHARE = 4, /* of the time without records: so long is waited between two polls */
    TICK_MS = 50,
    TICK_IDLE_MS = 250,
    HURRY_MS = 5, /* how often confirmations are read while a thread waits, or the journal fills */
    ASK_MS = 1000,
    RETRY_MS = 200, /* what Redis could not answer on a new connection */
    LOOK_MS = 1000,
    LOOK_STRANGE_MS = 5, /* in need of room, which looking alone does not give */
    LOOK_IMPATIENT_MS = 20,
    HEARTBEAT_MS = 10000,
    REFUSED_MIN_MS = 50,
    REFUSED_MAX_MS = 2000,
    CONNECT_BACKOFF_MAX_MS = 500, /* so that records flow within a second of Redis' return */
    RECORDS_PER_SAMPLE = 16,  /* a power of two; of so many one is timed while more are in flight */
    READONLY_RESET_MS = 5000, /* the master's name may lead elsewhere by now */
};

/* clang-format off */
#define SENDER_STATES(X) \
    X(OFFLINE, "no connection") \
    X(MEETING, "asking for the stream's id") \
    X(LEFT_ALONE, "the records are for another Redis") \
    X(ASKING, "reading confirmations") \
    X(CHECKING, "looking for what was sent before") \
    X(SENDING, "sending") \
    X(REFUSED, "refused by Redis, waiting")
/* clang-format on */
#define X(name, text) name,
enum sender_state { SENDER_STATES(X) };
#undef X

struct sender {
    struct sender_options options;
    struct journal *journal;
    struct redis_link *link;
    struct confirm *confirm;
    struct loss *loss;
    struct target target;
    struct refusals refusals;
    struct event *poll, *tick;
    struct waker waker;
    enum sender_state state;
    uint64_t answered, next_send;
    uint64_t untimed; /* the first position that Redis has not answered for once */
    unsigned in_flight, stale;
    size_t command_bytes; /* running mean of XADD's length */
    int64_t resume_at_ms; /* REFUSED */
    unsigned refused_ms;  /* the next back-off; 0: not refused lately */
    int64_t refused_since_ms;
    int64_t asked_ms, looked_ms, heartbeat_ms, synced_ms;
    int64_t active_us; /* when a record was last sent */
    unsigned seed;
    char stream[STREAM_NAME_BYTES];
    struct xadd xadd;
    struct event_notifier notifier;
    /* shared with other threads */
    struct waiters waiters;
    _Atomic int64_t resent, evicted, connects, errors, redis_up, left_alone;
    struct histogram submit_to_sent_ns;
};

static void pump(struct sender *sender);

/* relaxed: counters that only people look at */
static void sender_count(_Atomic int64_t *counter, int64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static void sender_show(_Atomic int64_t *shown, int64_t value)
{
    atomic_store_explicit(shown, value, memory_order_relaxed);
}

static void sender_set_state(struct sender *sender, enum sender_state state)
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

static uint64_t floor_of(const struct sender *sender)
{
    return journal_cursor(&sender->journal->header->floor);
}

static bool is_checked(const struct sender *sender)
{
    return sender->state == SENDING || sender->state == REFUSED;
}

/* The cursor that others see. */
static void publish_sent(struct sender *sender)
{
    journal_cursor_set(&sender->journal->header->sent,
                       is_checked(sender) ? sender->answered : floor_of(sender));
}

static void set_answered(struct sender *sender, uint64_t position)
{
    assert(position >= floor_of(sender));
    sender->answered = position;
    if (sender->next_send < position) {
        sender->next_send = position;
    }
    publish_sent(sender);
}

static void go_back(struct sender *sender)
{
    sender->next_send = sender->answered;
    sender->stale = sender->in_flight;
}

/* Order of stores: floor never is beyond sent, whoever looks. */
static void raise_floor(struct sender *sender, uint64_t position)
{
    struct journal_header *header = sender->journal->header;
    if (position <= floor_of(sender)) {
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

static void on_settled(void *owner)
{
    struct sender *sender = owner;
    uint64_t committed = confirm_committed(sender->confirm);
    raise_floor(sender, confirm_first_open(sender->confirm, floor_of(sender)));
    journal_cursor_set(&sender->journal->header->committed, committed);
    waiters_wake(&sender->waiters);
}

static bool due(int64_t *last_ms, int64_t now, int64_t interval_ms)
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

static void look_when_due(struct sender *sender)
{
    bool pressed = eviction_is_near(sender->journal, loss_waiting(sender->loss));
    int64_t now = clock_monotonic_ms();
    if (sender->state == SENDING && due(&sender->looked_ms, now, look_interval(sender, pressed))) {
        loss_look(sender->loss, confirm_first_open(sender->confirm, floor_of(sender)),
                  sender->answered, pressed, now);
    }
}

static void sender_make_room(struct sender *sender)
{
    if (eviction_is_over(sender->journal)) {
        event_notifier_eviction_over(&sender->notifier);
    }
    uint64_t floor = floor_of(sender),
             target = eviction_below(sender->journal, loss_waiting(sender->loss));
    if (sender->state != SENDING || target <= floor) {
        return;
    }
    uint64_t open = confirm_open_within(sender->confirm, floor, target);
    sender_count(&sender->evicted, (int64_t)open);
    event_notifier_evicted(&sender->notifier, open);
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
    go_back(sender);
    sender_set_state(sender, REFUSED);
    if (redis_error_action(error) == REDIS_ERROR_RESET) {
        redis_link_reset(sender->link, error); /* the name may lead to the master by now */
    }
}

/* In a cluster: is the stream on another node? The link goes there, and sends from this record on.
 */
static bool sender_leave_node(struct sender *sender, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR && redis_link_follow(sender->link, reply->str)) {
        go_back(sender);
        return true;
    }
    if (reply->type == REDIS_REPLY_NIL && sender->xadd.existing_only) {
        redis_link_reset(sender->link, "the stream is not where its slot was being moved to");
        go_back(sender);
        return true;
    }
    return false;
}

/* Only what this producer has submitted, and only the first time that it is sent. */
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
        pump(sender);
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
        on_settled(sender);
    }
}

static void pump(struct sender *sender)
{
    /* Between the last callback of a lost connection and on_change nothing is in flight, and yet
     * not all is answered. */
    if (sender->state == SENDING && sender->stale == 0 && redis_link_up(sender->link)) {
        send_all(sender);
    }
    if (eviction_is_near(sender->journal, loss_waiting(sender->loss))) {
        look_when_due(sender);
    }
    sender_make_room(sender);
}

/* --- a new connection --- */

static void on_lost(void *owner, const char *why)
{
    struct sender *sender = owner;
    uint64_t first = confirm_first_open(sender->confirm, floor_of(sender));
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
    publish_sent(sender);
    go_back(sender);
    /* only now: a process that hears of it and waits until all is sent shall wait for the copies */
    event_notifier_event(&sender->notifier, BLOTTER_EVENT_RESEND, text);
}

static void on_checked(void *owner)
{
    struct sender *sender = owner;
    if (sender->state == CHECKING) {
        sender_set_state(sender, SENDING);
        publish_sent(sender);
        waiters_wake(&sender->waiters);
        pump(sender);
    }
}

static void on_answered(void *owner)
{
    struct sender *sender = owner;
    if (sender->state == ASKING) {
        sender_set_state(sender, CHECKING);
        loss_check(sender->loss, floor_of(sender), sender->answered);
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
    publish_sent(sender);
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
    go_back(sender);
    sender_set_state(sender, OFFLINE);
    event_notifier_down(&sender->notifier, why);
}

/* --- the clock --- */

static bool in_a_hurry(const struct sender *sender)
{
    return atomic_load_explicit(&sender->waiters.in_hurry, memory_order_relaxed) > 0 ||
           loss_is_impatient(sender->loss) ||
           journal_next(sender->journal) - floor_of(sender) > sender->journal->slots / 8;
}

static void ask_when_due(struct sender *sender, int64_t now)
{
    bool retries = sender->state == MEETING || sender->state == CHECKING;
    if (retries && due(&sender->asked_ms, now, RETRY_MS)) {
        if (sender->state == MEETING) {
            target_ask(&sender->target);
        } else {
            loss_check(sender->loss, floor_of(sender), sender->answered);
        }
    } else if (sender->state == SENDING &&
               due(&sender->asked_ms, now, in_a_hurry(sender) ? HURRY_MS : ASK_MS)) {
        confirm_ask(sender->confirm, sender->answered);
    }
}

/* Writes the producer's counters as a JSON object of whole numbers. */
static void heartbeat_print(const struct blotter_stats *stats, char *out, size_t size)
{
    int length = 0;
#define X(type, name, meaning)                                                          \
    length += snprintf(out + length, size - (size_t)length, "%c\"" #name "\":%" PRId64, \
                       length == 0 ? '{' : ',', (int64_t)stats->name);
    BLOTTER_STATS(X)
#undef X
    snprintf(out + length, size - (size_t)length, "}");
}

static void append_heartbeat(struct sender *sender)
{
#define X(type, name, meaning) +sizeof "{\"" #name "\":-9223372036854775808}"
    char extra[0 BLOTTER_STATS(X)]; /* the longest text of all of them */
#undef X
    struct blotter_stats *stats = sender->options.fill_stats == NULL
                                      ? NULL
                                      : calloc(1, sizeof *stats); /* 10 KB: no stack's */

    if (stats != NULL) {
        sender->options.fill_stats(sender->options.fill_stats_arg, stats);
        heartbeat_print(stats, extra, sizeof extra);
    }
    journal_append_session(sender->journal, "heartbeat", stats == NULL ? NULL : extra);
    free(stats);
}

static void do_what_is_due(struct sender *sender)
{
    int64_t now = clock_monotonic_ms();
    event_notifier_damaged(&sender->notifier, &sender->journal->found.damaged,
                           sender->journal->path);
    (void)journal_clock_now(&sender->journal->clock); /* which looks at the wall clock */
    event_notifier_clock(&sender->notifier, journal_clock_jump(&sender->journal->clock));
    if (sender->state == REFUSED && now >= sender->resume_at_ms) {
        sender_set_state(sender, SENDING);
    }
    if (sender->state == OFFLINE && *redis_link_last_error(sender->link)) {
        event_notifier_down(&sender->notifier, redis_link_last_error(sender->link));
    }
    pump(sender);
    ask_when_due(sender, now);
    look_when_due(sender);
    event_notifier_full(
        &sender->notifier,
        atomic_load_explicit(&sender->journal->full, memory_order_relaxed), /* a counter */
        journal_next(sender->journal) - floor_of(sender), sender->journal->slots);
    if (sender->journal->writer && due(&sender->heartbeat_ms, now, HEARTBEAT_MS)) {
        append_heartbeat(sender);
    }
    if (sender->options.sync_interval_ms &&
        due(&sender->synced_ms, now, sender->options.sync_interval_ms)) {
        event_notifier_synced(&sender->notifier, journal_sync(sender->journal) == 0 ? 0 : errno,
                              sender->journal->path);
    }
}

static void add_timer(struct event *event, int64_t us)
{
    struct timeval delay = {.tv_sec = us / 1000000, .tv_usec = (suseconds_t)(us % 1000000)};
    event_add(event, &delay);
}

static bool is_idle(const struct sender *sender)
{
    return sender->in_flight == 0 &&
           journal_next(sender->journal) == journal_cursor(&sender->journal->header->committed);
}

static int64_t tick_interval_ms(const struct sender *sender)
{
    int64_t interval = in_a_hurry(sender) ? HURRY_MS : is_idle(sender) ? TICK_IDLE_MS : TICK_MS;
    int64_t sync = sender->options.sync_interval_ms;
    return sync != 0 && sync < interval ? sync : interval;
}

static void sender_on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct sender *sender = arg;
    do_what_is_due(sender);
    add_timer(sender->tick, tick_interval_ms(sender) * 1000);
}

int64_t sender_poll_interval_us(int64_t shortest_us, uint32_t slots, int64_t idle_us)
{
    int64_t longest = (int64_t)slots * 2 < POLL_MAX_US ? (int64_t)slots * 2 : POLL_MAX_US;
    int64_t wanted = idle_us / POLL_SHARE < longest ? idle_us / POLL_SHARE : longest;
    return wanted > shortest_us ? wanted : shortest_us;
}

static void sender_on_poll(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct sender *sender = arg;
    pump(sender);
    int64_t idle_us = clock_monotonic_us() - sender->active_us;
    add_timer(sender->poll, sender_poll_interval_us(sender->options.poll_interval_us,
                                                    sender->journal->slots, idle_us));
}

void sender_poll(struct sender *sender)
{
    pump(sender);
}

static void on_wake(void *arg)
{
    sender_on_tick(-1, 0, arg);
}

void sender_wake(struct sender *sender)
{
    waker_wake(&sender->waker);
}

/* --- waiting --- */

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

/* --- life --- */

/* How far the slots say that records were sent: up to the first without an entry id. Only a hint;
 * and journals of version 1 have none. */
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
    for (uint64_t position = floor_of(sender); position < next; position++) {
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
                                      .on_settled = on_settled};
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
    if (!make_confirming(sender) || !waker_init(&sender->waker, base, on_wake, sender) ||
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
    sender->poll = event_new(base, -1, 0, sender_on_poll, sender);
    sender->tick = event_new(base, -1, 0, sender_on_tick, sender);
    return sender->poll != NULL && sender->tick != NULL;
}

static void start(struct sender *sender)
{
    sender->options.redis = sender->options.password = NULL; /* borrowed for the call only */
    sender->seed = (unsigned)clock_monotonic_ns() ^ (unsigned)getpid();
    sender->heartbeat_ms = sender->synced_ms = clock_monotonic_ms();
    sender->active_us = clock_monotonic_us();
    sender->next_send = sender->answered;
    publish_sent(sender);
    note_leftovers(sender);
    add_timer(sender->tick, 0);
    if (sender->options.poll_interval_us != 0) {
        add_timer(sender->poll, sender->options.poll_interval_us);
    }
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

static void free_timer(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

void sender_destroy(struct sender *sender)
{
    if (sender == NULL) {
        return;
    }
    redis_link_destroy(sender->link);
    free_timer(sender->poll);
    free_timer(sender->tick);
    waker_release(&sender->waker);
    confirm_destroy(sender->confirm);
    loss_destroy(sender->loss);
    waiters_release(&sender->waiters);
    event_notifier_release(&sender->notifier);
    xadd_release(&sender->xadd);
    free(sender);
}
