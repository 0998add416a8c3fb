/* event_ring.h: what libblotter tells of a producer, kept until Python asks for it.
 *
 * The sender's thread tells, and must never wait for the GIL: so there is no object of Python's in
 * here, and whoever holds the mutex copies some bytes and lets go of it. The newest EVENTS_KEPT are
 * kept. Each listener reads all of them at its own pace, from the oldest kept on, and hears how
 * many it was too late for. */
#ifndef BLOTTER_PYTHON_EVENT_RING_H
#define BLOTTER_PYTHON_EVENT_RING_H

#include <blotter.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    EVENTS_KEPT = 64,
    EVENT_TEXT_BYTES = 320,
};

struct event {
    int what; /* enum blotter_event, of this library or a newer one */
    int64_t at_ns;
    uint64_t missed; /* how many before it this listener was too late for */
    char text[EVENT_TEXT_BYTES];
};

/* Who listens is known by an eventfd, which is written to when there is news; of this one there is
 * always one, and nobody is woken. */
#define LISTENER_WHO_ASKS (-1)

struct event_ring;

/* Each who has it releases it once; the GIL guards the count. */
struct event_ring *event_ring_create(void); /* NULL: out of memory */
struct event_ring *event_ring_share(struct event_ring *);
void event_ring_release(struct event_ring *);

/* False in a forked child: the parent's sender may have held the mutex. Nothing but
 * event_ring_release may be called there. */
bool event_ring_is_ours(const struct event_ring *);

/* As blotter_options wants on_event. Does not block. */
void event_ring_tell(void *ring, enum blotter_event, const char *text);

/* Nothing more will be told: all who listen are woken. */
void event_ring_close(struct event_ring *);
bool event_ring_is_closed(struct event_ring *);

int event_ring_listen(struct event_ring *, int fd); /* -1: out of memory */
void event_ring_unlisten(struct event_ring *, int fd);

/* The next event for a listener; false: it has had them all. */
bool event_ring_take(struct event_ring *, int fd, struct event *);

#endif
