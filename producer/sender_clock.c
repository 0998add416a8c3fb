/* sender_clock.c: what a sender does by time: it polls the journal for new records, and now and
 * then asks for confirmations, looks whether Redis still has the records, writes a heartbeat.
 *
 * Idle. A sender without records looks less and less often, so that it costs nothing; but at least
 * every 100 ms, and so often that a burst after a pause cannot fill the journal. One timer is for
 * all of it: a wake costs more than what is then done. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "producer/sender_private.h"
#include "schema/clock.h"

enum {
    POLL_MAX_US = 100000,
    POLL_SHARE = 4, /* of the time without records: so long is waited between two polls ... */
    LATE_US = 10000,
    POLL_SHARE_LATE = 2,       /* ... and after so long without any */
    BURST_PER_SECOND = 330000, /* records that come at once, after a pause */
    TICK_MS = 50,
    TICK_IDLE_MS = 250,
    HURRY_MS = 5, /* how often confirmations are read while a thread waits, or the journal fills */
    ASK_MS = 1000,
    RETRY_MS = 200, /* what Redis could not answer on a new connection */
    HEARTBEAT_MS = 10000,
};

static bool in_a_hurry(const struct sender *sender)
{
    return atomic_load_explicit(&sender->waiters.in_hurry, memory_order_relaxed) > 0 ||
           loss_is_impatient(sender->loss) ||
           journal_next(sender->journal) - sender_floor(sender) > sender->journal->slots / 8;
}

static void ask_when_due(struct sender *sender, int64_t now)
{
    bool retries = sender->state == MEETING || sender->state == CHECKING;
    if (retries && sender_due(&sender->asked_ms, now, RETRY_MS)) {
        if (sender->state == MEETING) {
            target_ask(&sender->target);
        } else {
            loss_check(sender->loss, sender_floor(sender), sender->answered);
        }
    } else if (sender->state == SENDING &&
               sender_due(&sender->asked_ms, now, in_a_hurry(sender) ? HURRY_MS : ASK_MS)) {
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

static void do_what_is_due(struct sender *sender, int64_t now)
{
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
    sender_pump(sender);
    ask_when_due(sender, now);
    sender_look_when_due(sender);
    event_notifier_full(
        &sender->notifier,
        atomic_load_explicit(&sender->journal->full, memory_order_relaxed), /* a counter */
        journal_next(sender->journal) - sender_floor(sender), sender->journal->slots);
    if (sender->journal->writer && sender_due(&sender->heartbeat_ms, now, HEARTBEAT_MS)) {
        int64_t active_us = sender->active_us;
        append_heartbeat(sender);
        sender_pump(sender);
        sender->active_us = active_us; /* others' records are no likelier for it */
    }
    if (sender->options.sync_interval_ms &&
        sender_due(&sender->synced_ms, now, sender->options.sync_interval_ms)) {
        event_notifier_synced(&sender->notifier, journal_sync(sender->journal) == 0 ? 0 : errno,
                              sender->journal->path);
    }
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

/* Returns how long to wait between two polls: the longer, the longer nothing was sent. */
static int64_t poll_interval_us(const struct sender *sender, int64_t idle_us)
{
    int64_t shortest = sender->options.poll_interval_us;
    int64_t fills = (int64_t)sender->journal->slots * 1000000 / BURST_PER_SECOND;
    int64_t longest = fills < POLL_MAX_US ? fills : POLL_MAX_US;
    int64_t share = idle_us / (idle_us < LATE_US ? POLL_SHARE : POLL_SHARE_LATE);
    int64_t wanted = share < longest ? share : longest;
    return wanted > shortest ? wanted : shortest;
}

/* Returns how long to rest. A tick that is not in a hurry waits for a poll. */
static int64_t rest_us(const struct sender *sender)
{
    int64_t now_us = clock_monotonic_us(), interval_ms = tick_interval_ms(sender);
    int64_t tick_us = (sender->ticked_ms + interval_ms) * 1000 - now_us;
    if (tick_us < 0) {
        tick_us = 0;
    }
    if (sender->options.poll_interval_us == 0) {
        return tick_us;
    }
    int64_t poll_us = poll_interval_us(sender, now_us - sender->active_us);
    return tick_us < poll_us && (interval_ms * 1000 <= POLL_MAX_US || poll_us > POLL_MAX_US)
               ? tick_us
               : poll_us;
}

static void rest(struct sender *sender)
{
    int64_t us = rest_us(sender);
    struct timeval delay = {.tv_sec = us / 1000000, .tv_usec = (suseconds_t)(us % 1000000)};
    event_add(sender->timer, &delay);
}

void sender_clock_tick(void *arg)
{
    struct sender *sender = arg;
    sender->ticked_ms = clock_monotonic_ms();
    do_what_is_due(sender, sender->ticked_ms);
    rest(sender);
}

static void sender_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct sender *sender = arg;
    if (clock_monotonic_ms() - sender->ticked_ms >= tick_interval_ms(sender)) {
        sender_clock_tick(sender);
        return;
    }
    sender_pump(sender);
    rest(sender);
}

void sender_poll(struct sender *sender)
{
    sender_pump(sender);
}

bool sender_clock_init(struct sender *sender)
{
    sender->timer = event_new(sender->options.base, -1, 0, sender_on_timer, sender);
    return sender->timer != NULL;
}

void sender_clock_start(struct sender *sender)
{
    sender->heartbeat_ms = sender->synced_ms = clock_monotonic_ms();
    sender->active_us = clock_monotonic_us();
    event_active(sender->timer, EV_TIMEOUT, 0); /* ticked_ms is 0: a tick */
}

void sender_clock_release(struct sender *sender)
{
    if (sender->timer != NULL) {
        event_free(sender->timer);
    }
}
