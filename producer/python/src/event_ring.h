/* event_ring.h: keeps libblotter's events of a producer until Python asks for them.
 *
 * The sender's thread adds events and must never wait for the GIL, so the ring holds no Python
 * objects, and the mutex is held only while some bytes are copied. The newest EVENTS_KEPT are kept.
 * Each listener reads all of them at its own pace, from the oldest kept on, and is given the number
 * of those it was too late for. */
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

/* A listener is known by its eventfd, which is written to when there is news. This one has none:
 * events() asks for it. It always exists. */
#define LISTENER_POLLED (-1)

struct event_ring;

/* Makes a ring. Every owner releases it once; the GIL guards the count. */
struct event_ring *event_ring_create(void); /* NULL: no memory */
struct event_ring *event_ring_share(struct event_ring *);
void event_ring_release(struct event_ring *);

/* Says whether this process made it. In a forked child the parent's sender may have held the mutex:
 * nothing but event_ring_release may be called there. */
bool event_ring_is_ours(const struct event_ring *);

/* Adds an event, as blotter_options.on_event. Does not block. */
void event_ring_add(void *ring, enum blotter_event, const char *text);

/* Ends it: all listeners are woken. */
void event_ring_close(struct event_ring *);
bool event_ring_is_closed(struct event_ring *);

int event_ring_listen(struct event_ring *, int fd); /* -1: no memory */
void event_ring_unlisten(struct event_ring *, int fd);

/* Takes the next event for a listener; false: it has had them all. */
bool event_ring_take(struct event_ring *, int fd, struct event *);

#endif
