/* sender_private.h: a sender's state, for the files that share it: sender.c (cursors, sending,
 * waiting), sender_life.c (its beginning and end, and what leads from a new connection to sending),
 * sender_clock.c (what is done by time). All of it belongs to the thread that runs the base. */
#ifndef BLOTTER_PRODUCER_SENDER_PRIVATE_H
#define BLOTTER_PRODUCER_SENDER_PRIVATE_H

#include <event2/event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "producer/confirm.h"
#include "producer/event_notifier.h"
#include "producer/histogram.h"
#include "producer/loss.h"
#include "producer/redis_link.h"
#include "producer/refusals.h"
#include "producer/sender.h"
#include "producer/target.h"
#include "producer/waiters.h"
#include "producer/waker.h"
#include "producer/xadd.h"
#include "schema/stream.h"

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
    struct event *timer;
    struct waker waker;
    enum sender_state state;
    uint64_t answered, next_send;
    uint64_t untimed; /* the first position that Redis has not answered for once */
    unsigned in_flight, stale;
    size_t command_bytes; /* running mean of XADD's length */
    int64_t resume_at_ms; /* REFUSED */
    unsigned refused_ms;  /* the next back-off; 0: not refused lately */
    int64_t asked_ms, looked_ms, heartbeat_ms, synced_ms;
    int64_t ticked_ms; /* when what is due was last looked for */
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

/* Adds to a counter. relaxed: only people look at them. */
static inline void sender_count(_Atomic int64_t *counter, int64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static inline void sender_show(_Atomic int64_t *shown, int64_t value)
{
    atomic_store_explicit(shown, value, memory_order_relaxed);
}

void sender_set_state(struct sender *, enum sender_state);

/* Returns the oldest position that is kept. */
uint64_t sender_floor(const struct sender *);

/* Publishes the cursor `sent`, which others see. */
void sender_publish_sent(struct sender *);

/* Sends again from the first record on that Redis has not answered for. */
void sender_go_back(struct sender *);

/* Frees the slots of confirmed records: confirm's on_settled. */
void sender_settle(void *sender);

/* Says whether the interval has passed since; then it begins anew. */
bool sender_due(int64_t *last_ms, int64_t now, int64_t interval_ms);

/* Looks whether Redis still has what was sent. */
void sender_look_when_due(struct sender *);

/* Sends what there is, up to the window, and makes room where the journal is nearly full. */
void sender_pump(struct sender *);

/* --- sender_clock.c --- */

bool sender_clock_init(struct sender *);
void sender_clock_start(struct sender *);
void sender_clock_release(struct sender *);

/* Does what is due, at once: the waker's on_wake. */
void sender_clock_tick(void *sender);

#endif
