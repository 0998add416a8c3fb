/* sender.h: sends what a journal holds to a Redis stream, in order, and frees its slots as the
 * drainer confirms them.
 *
 * Works on any journal opened with the sender's role, so also on one that another process writes.
 * Everything runs on the given event base and the one thread that runs it, except what says "any
 * thread". */
#ifndef BLOTTER_PRODUCER_SENDER_H
#define BLOTTER_PRODUCER_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/blotter.h"
#include "producer/journal.h"

struct event_base;
struct sender;

struct sender_options {
    struct event_base *base;
    struct journal *journal;
    const char *redis;         /* URL; borrowed for the call */
    const char *password;      /* may be NULL; borrowed for the call */
    uint32_t poll_interval_us; /* 0: only when woken, or by sender_poll */
    uint32_t sync_interval_ms; /* 0: no msync */
    void (*on_event)(void *arg, enum blotter_event, const char *text); /* may be NULL */
    void *on_event_arg;
    bool retarget; /* send also what another Redis was to get */
    /* Fills the numbers of a heartbeat; from the sender's thread. NULL: it has none. */
    void (*fill_stats)(void *arg, struct blotter_stats *);
    void *fill_stats_arg;
};

/* Starts at once; does not wait for Redis. OK, or SYSTEM with a text in error. */
int sender_create(struct sender **, const struct sender_options *, char *error, size_t error_size);
/* Takes NULL. No thread may wait any more. Not from a callback of the link. */
void sender_destroy(struct sender *);

/* Tells that there is something new to send. Any thread; one system call, and only if the sender
 * sleeps. */
void sender_wake(struct sender *);

/* Looks for something new to send: for a caller that has many senders on one base, and polls them
 * all by one timer. */
void sender_poll(struct sender *);

/* Waits until everything up to `position` has reached the stage. cancel_state: whether the thread
 * may be cancelled meanwhile. Any thread but the base's. OK, TIMEOUT, CLOSED. */
int sender_wait(struct sender *, uint64_t position, enum blotter_stage, int timeout_ms,
                int cancel_state);

/* Has confirmations read, from `on` to off, as often as while a thread waits: for a caller that
 * runs the base itself until it has what it waits for. */
void sender_hurry(struct sender *, bool on);

/* Writes 1 to fd, once, when `position` has reached the stage; one request for each fd and stage.
 * Any thread. OK, CLOSED, SYSTEM. */
int sender_notify(struct sender *, int fd, enum blotter_stage, uint64_t position);
void sender_withdraw(struct sender *, int fd, enum blotter_stage);

/* Gives all threads that wait, or begin to, CLOSED; every notice is given. Any thread. */
void sender_release_waiters(struct sender *);

/* Fills in what the sender knows: resent, evicted, connects, errors, redis_up, last_error. Any
 * thread. */
void sender_stats(struct sender *, struct blotter_stats *);

/* Says why the journal's records are not sent: they are for another Redis. NULL: they are sent. */
const char *sender_left_alone(const struct sender *);

#endif
