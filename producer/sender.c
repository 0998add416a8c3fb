/* sender.c: from the journal to Redis.
 *
 *     OFFLINE ──► ASKING ──► SENDING ◄──► REFUSED         any ──► OFFLINE when the link is lost
 *
 *     ASKING    the drainer's word is read before anything is sent: what is committed already need
 * not go again SENDING   published records go out in order, up to a window of records and of bytes
 *     REFUSED   Redis has answered with an error: back-off, then again from that record on
 *
 * Positions:  floor <= sent <= next_send <= next. `sent` is the first position that Redis has not
 * answered for, `next_send` the next one to hand to the link. Going back means next_send = sent;
 * answers to what went out before are counted in `stale` and not believed. Nothing is handed out
 * while there are any: order is kept.
 *
 * When the ring is nearly full `floor` is raised over the oldest sent records without a word
 * (room.h), never over unsent ones. */
#include "producer/sender.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "producer/confirm.h"
#include "producer/event_notifier.h"
#include "producer/eviction.h"
#include "producer/histogram.h"
#include "producer/redis_error.h"
#include "producer/redis_link.h"
#include "producer/waiters.h"
#include "producer/waker.h"
#include "producer/xadd.h"
#include "schema/stream.h"

enum {
    WINDOW_RECORDS = 4096,
    WINDOW_BYTES = 1 << 20,
    TICK_MS = 50,
    HURRY_MS = 5, /* how often words are read while somebody waits, or the ring fills */
    ASK_MS = 1000,
    LOOK_MS = 1000,
    LOOK_STRANGE_MS = 5, /* in need of room, which looking alone does not give */
    HEARTBEAT_MS = 10000,
    REFUSED_MIN_MS = 50,
    REFUSED_MAX_MS = 2000,
    CONNECT_BACKOFF_MAX_MS = 500, /* so that records flow within a second of Redis' return */
    RECORDS_PER_SAMPLE =
        16, /* a power of two; of so many one is timed while more than so many are under way */
};

/* clang-format off */
#define SENDER_STATES(X) \
    X(OFFLINE, "no connection") \
    X(ASKING, "reading the drainer's word") \
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
    struct event *poll, *tick;
    struct waker waker;
    enum sender_state state;
    uint64_t next_send;
    uint64_t untimed; /* the first position that Redis has not answered for once */
    unsigned in_flight, stale;
    int64_t resume_at_ms; /* REFUSED */
    unsigned refused_ms;  /* the next back-off; 0: not refused lately */
    int64_t asked_ms, looked_ms, heartbeat_ms, synced_ms;
    unsigned seed;
    char stream[STREAM_NAME_BYTES];
    struct xadd xadd;
    struct event_notifier notifier;
    /* shared with other threads */
    struct waiters waiters;
    _Atomic int64_t resent, evicted, connects, errors, redis_up;
    struct histogram submit_to_sent_ns;
};

static void pump(struct sender *sender);

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* relaxed: counters that only people look at */
static void count(_Atomic int64_t *counter, int64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static void set_state(struct sender *sender, enum sender_state state)
{
    static const unsigned allowed[] = {
        [OFFLINE] = 1u << ASKING,
        [ASKING] = 1u << SENDING | 1u << OFFLINE,
        [SENDING] = 1u << REFUSED | 1u << OFFLINE,
        [REFUSED] = 1u << SENDING | 1u << OFFLINE,
    };
    assert(allowed[sender->state] & 1u << state);
    (void)allowed;
    sender->state = state;
}

/* --- cursors
 * --------------------------------------------------------------------------------------------------------------
 */

static uint64_t sent_of(const struct sender *sender)
{
    return journal_cursor(&sender->journal->header->sent);
}

static uint64_t floor_of(const struct sender *sender)
{
    return journal_cursor(&sender->journal->header->floor);
}

static void set_sent(struct sender *sender, uint64_t position)
{
    assert(position >= floor_of(sender));
    journal_cursor_set(&sender->journal->header->sent, position);
    if (sender->next_send < position) {
        sender->next_send = position;
    }
}

static void go_back(struct sender *sender)
{
    sender->next_send = sent_of(sender);
    sender->stale = sender->in_flight;
}

/* Order of stores: floor never is beyond sent, whoever looks. */
static void raise_floor(struct sender *sender, uint64_t position)
{
    if (position <= floor_of(sender)) {
        return;
    }
    if (sent_of(sender) < position) {
        set_sent(sender, position);
    }
    journal_cursor_set(&sender->journal->header->floor, position);
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

static void look_when_due(struct sender *sender)
{
    bool pressed = eviction_is_near(sender->journal, confirm_waiting(sender->confirm));
    int64_t now = now_ms(), interval = !pressed                              ? LOOK_MS
                                       : confirm_is_strange(sender->confirm) ? LOOK_STRANGE_MS
                                                                             : 0;
    if (sender->state == SENDING && due(&sender->looked_ms, now, interval)) {
        confirm_look(sender->confirm, confirm_first_open(sender->confirm, floor_of(sender)),
                     sent_of(sender), pressed, now);
    }
}

static void make_room(struct sender *sender)
{
    if (eviction_is_over(sender->journal)) {
        event_notifier_eviction_over(&sender->notifier);
    }
    uint64_t floor = floor_of(sender),
             target = eviction_below(sender->journal, confirm_waiting(sender->confirm));
    if (sender->state != SENDING || target <= floor) {
        return;
    }
    uint64_t open = confirm_open_within(sender->confirm, floor, target);
    count(&sender->evicted, (int64_t)open);
    event_notifier_evicted(&sender->notifier, open);
    raise_floor(sender, target);
}

/* --- sending
 * --------------------------------------------------------------------------------------------------------------
 */

static void refuse(struct sender *sender, const char *error)
{
    count(&sender->errors, 1);
    int64_t now = now_ms();
    if (sender->refused_ms == 0) {
        sender->refused_ms = REFUSED_MIN_MS;
    }
    event_notifier_refused(&sender->notifier, REFUSED_SENDING, error);
    sender->resume_at_ms = now + sender->refused_ms / 2 +
                           (unsigned)rand_r(&sender->seed) % (sender->refused_ms / 2 + 1);
    sender->refused_ms =
        sender->refused_ms * 2 < REFUSED_MAX_MS ? sender->refused_ms * 2 : REFUSED_MAX_MS;
    go_back(sender);
    set_state(sender, REFUSED);
    if (redis_error_action(error) == REDIS_ERROR_RESET) {
        redis_link_reset(sender->link, error); /* the name may lead to the master by now */
    }
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
                      journal_clock_now(&journal->clock) - journal_slot_at(journal, position)->recorded_at_ns);
    }
}

static void take_answer(struct sender *sender, uint64_t position, const char *id)
{
    time_answer(sender, position);
    char *end;
    uint64_t ms = strtoull(id, &end, 10), seq = *end == '-' ? strtoull(end + 1, NULL, 10) : 0;
    confirm_note_entry(sender->confirm, position, ms, seq);
    /* with nothing more under way, what was skipped behind this record is done as well */
    uint64_t done = sender->in_flight == 0 ? sender->next_send : position + 1;
    if (done > sent_of(sender)) { /* else a word for an earlier copy of it was quicker */
        set_sent(sender, done);
    }
    sender->refused_ms = 0;
    event_notifier_refused(&sender->notifier, REFUSED_SENDING, NULL);
    waiters_wake(&sender->waiters);
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
        take_answer(sender, tag, reply->str);
    } else {
        refuse(sender, reply->type == REDIS_REPLY_ERROR ? reply->str
                                                        : "an answer to XADD that is no entry id");
    }
    if (sender->in_flight < WINDOW_RECORDS / 2) {
        pump(sender);
    }
}

static int send_record(struct sender *sender, uint64_t position, const struct journal_slot *slot)
{
    size_t length;
    const char *command = xadd_command(&sender->xadd, slot, &length);
    return command ? redis_link_send(sender->link, on_added, (uintptr_t)position, command, length)
                   : -1;
}

/* Takes the record at next_send. False: there is none yet, or it cannot be sent now. */
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
    return true;
}

static void send_all(struct sender *sender)
{
    unsigned window =
        sender->refused_ms ? 1 : WINDOW_RECORDS; /* one tries whether it is still refused */
    while (sender->in_flight < window && redis_link_unsent_bytes(sender->link) < WINDOW_BYTES &&
           send_next(sender))
        ;
    if (sender->in_flight == 0 &&
        sent_of(sender) < sender->next_send) { /* nothing but skipped ones */
        set_sent(sender, sender->next_send);
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
    if (eviction_is_near(sender->journal, confirm_waiting(sender->confirm))) {
        look_when_due(sender);
    }
    make_room(sender);
}

/* --- what others tell us
 * --------------------------------------------------------------------------------------------------
 */

static void on_answered(void *owner)
{
    struct sender *sender = owner;
    if (sender->state != ASKING) {
        return;
    }
    set_state(sender, SENDING);
    pump(sender);
}

/* Everything open and sent goes again; `why` from confirm.c */
static void on_lost(void *owner, const char *why)
{
    struct sender *sender = owner;
    uint64_t first = confirm_first_open(sender->confirm, floor_of(sender)), sent = sent_of(sender);
    if ((sender->state != SENDING && sender->state != ASKING) || first >= sent) {
        return;
    }
    char text[160];
    uint64_t open = confirm_open_within(sender->confirm, first, sent);
    snprintf(text, sizeof text, "%llu records without the drainer's word: %s",
             (unsigned long long)open, why);
    count(&sender->resent, (int64_t)open);
    event_notifier_event(&sender->notifier, BLOTTER_EVENT_RESEND, text);
    journal_cursor_set(&sender->journal->header->sent, first);
    go_back(sender);
}

static void on_refused(void *owner, const char *error)
{
    struct sender *sender = owner;
    if (error != NULL) {
        count(&sender->errors, 1);
    }
    event_notifier_refused(&sender->notifier, REFUSED_CONFIRMING, error);
}

static void go_up(struct sender *sender, const char *place)
{
    count(&sender->connects, 1);
    atomic_store_explicit(&sender->redis_up, 1, memory_order_relaxed); /* for people */
    event_notifier_up(&sender->notifier, place);
    set_state(sender, ASKING);
    confirm_on_up(sender->confirm);
    if (!confirm_ask(sender->confirm, journal_next(sender->journal))) {
        on_answered(sender);
    }
}

static void on_change(void *owner, bool up, const char *why)
{
    struct sender *sender = owner;
    if (up) {
        go_up(sender, why);
        return;
    }
    assert(sender->in_flight == 0); /* the link has called back for all */
    atomic_store_explicit(&sender->redis_up, 0, memory_order_relaxed); /* for people */
    sender->refused_ms = 0;
    go_back(sender);
    set_state(sender, OFFLINE);
    event_notifier_down(&sender->notifier, why);
}

/* --- the clock
 * ------------------------------------------------------------------------------------------------------------
 */

static bool in_a_hurry(const struct sender *sender)
{
    return atomic_load_explicit(&sender->waiters.in_hurry, memory_order_relaxed) > 0 ||
           journal_next(sender->journal) - floor_of(sender) > sender->journal->slots / 8;
}

static void ask_when_due(struct sender *sender, int64_t now)
{
    if (sender->state == SENDING &&
        due(&sender->asked_ms, now, in_a_hurry(sender) ? HURRY_MS : ASK_MS)) {
        confirm_ask(sender->confirm, sent_of(sender));
    }
}

static void do_what_is_due(struct sender *sender)
{
    int64_t now = now_ms();
    event_notifier_damaged(&sender->notifier, &sender->journal->found.damaged,
                           sender->journal->path);
    if (sender->state == REFUSED && now >= sender->resume_at_ms) {
        set_state(sender, SENDING);
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
        journal_append_session(sender->journal, "heartbeat");
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

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct sender *sender = arg;
    do_what_is_due(sender);
    add_timer(sender->tick, (in_a_hurry(sender) ? HURRY_MS : TICK_MS) * 1000);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    pump(arg);
}

void sender_poll(struct sender *sender)
{
    pump(sender);
}

static void on_wake(void *arg)
{
    on_tick(-1, 0, arg);
}

void sender_wake(struct sender *sender)
{
    waker_wake(&sender->waker);
}

/* --- waiting
 * --------------------------------------------------------------------------------------------------------------
 */

static const struct journal_cursor *cursor_of(const struct sender *sender, enum blotter_stage stage)
{
    const struct journal_header *header = sender->journal->header;
    return stage == BLOTTER_SENT ? &header->sent : &header->committed;
}

int sender_wait(struct sender *sender, uint64_t position, enum blotter_stage stage, int timeout_ms)
{
    const struct journal_cursor *cursor = cursor_of(sender, stage);
    if (journal_cursor(cursor) > position) {
        return BLOTTER_OK;
    }
    if (timeout_ms == 0) {
        return BLOTTER_TIMEOUT;
    }
    bool committed = stage == BLOTTER_COMMITTED;
    waiters_enter(&sender->waiters, committed);
    sender_wake(sender);
    int status = waiters_wait(&sender->waiters, cursor, position, timeout_ms);
    waiters_leave(&sender->waiters, committed);
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
    histogram_copy(&sender->submit_to_sent_ns, &stats->submit_to_sent_ns);
    event_notifier_stats(&sender->notifier, stats);
}

/* --- life
 * -----------------------------------------------------------------------------------------------------------------
 */

/* What a former owner left is read once, so that the words for it can be asked for before any of it
 * is sent again. */
static void note_leftovers(struct sender *sender)
{
    uint64_t next = journal_next(sender->journal);
    for (uint64_t position = floor_of(sender); position < next; position++) {
        const struct journal_slot *slot;
        if (journal_read(sender->journal, position, &slot) == JOURNAL_RECORD) {
            confirm_note_record(sender->confirm, position, slot);
        }
    }
    journal_cursor_set(&sender->journal->header->sent, floor_of(sender));
    sender->next_send = floor_of(sender);
}

static bool make_parts(struct sender *sender, char *error, size_t error_size)
{
    struct event_base *base = sender->options.base;
    char name[96];
    snprintf(name, sizeof name, "blotter-%s%s%s-%d", sender->journal->exchange,
             *sender->journal->lane ? "-" : "", sender->journal->lane, (int)getpid());
    struct redis_link_options link = {.base = base,
                                      .url = sender->options.redis,
                                      .password = sender->options.password,
                                      .name = name,
                                      .backoff_max_ms = CONNECT_BACKOFF_MAX_MS,
                                      .on_change = on_change,
                                      .owner = sender};
    sender->link = redis_link_create(&link, error, error_size);
    if (sender->link == NULL) {
        return false;
    }
    struct confirm_options confirm = {.journal = sender->journal,
                                      .link = sender->link,
                                      .stream = sender->stream,
                                      .owner = sender,
                                      .on_answered = on_answered,
                                      .on_settled = on_settled,
                                      .on_lost = on_lost,
                                      .on_refused = on_refused};
    snprintf(error, error_size, "the sender: out of memory or descriptors");
    sender->confirm = confirm_create(&confirm);
    if (!waker_init(&sender->waker, base, on_wake, sender) ||
        !xadd_init(&sender->xadd, sender->journal, sender->stream)) {
        return false;
    }
    sender->poll = event_new(base, -1, EV_PERSIST, on_poll, sender);
    sender->tick = event_new(base, -1, 0, on_tick, sender);
    return sender->confirm != NULL && sender->poll != NULL && sender->tick != NULL;
}

struct sender *sender_create(const struct sender_options *options, char *error, size_t error_size)
{
    assert(options->journal->sender);
    struct sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    sender->options = *options;
    sender->journal = options->journal;
    waiters_init(&sender->waiters);
    event_notifier_init(&sender->notifier, options->on_event, options->on_event_arg);
    stream_name(sender->stream, sender->journal->exchange, sender->journal->lane);
    if (!make_parts(sender, error, error_size)) {
        sender_destroy(sender);
        return NULL;
    }
    *error = 0;
    sender->options.redis = sender->options.password = NULL; /* borrowed for the call only */
    sender->seed = (unsigned)now_ms() ^ (unsigned)getpid();
    sender->heartbeat_ms = sender->synced_ms = now_ms();
    note_leftovers(sender);
    add_timer(sender->tick, 0);
    if (options->poll_interval_us) {
        add_timer(sender->poll, options->poll_interval_us);
    }
    redis_link_start(sender->link);
    return sender;
}

static void free_event(struct event *event)
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
    free_event(sender->poll);
    free_event(sender->tick);
    waker_release(&sender->waker);
    confirm_destroy(sender->confirm);
    waiters_release(&sender->waiters);
    event_notifier_release(&sender->notifier);
    xadd_release(&sender->xadd);
    free(sender);
}
