/* event_ring.c: see event_ring.h. Its memory is of the kind that Python counts and that needs no
 * GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "event_ring.h"
#include "schema/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct listener {
    struct listener *next;
    uint64_t heard; /* how many of all events it has had, or missed */
    int fd;
};

struct event_ring {
    int owners;
    pid_t process;
    pthread_mutex_t mutex; /* of all that follows */
    uint64_t added;
    bool closed;
    struct listener *listeners;
    struct event events[EVENTS_KEPT]; /* event n, from 0, at n % EVENTS_KEPT */
};

struct event_ring *event_ring_create(void)
{
    struct event_ring *ring = PyMem_RawCalloc(1, sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    ring->owners = 1;
    ring->process = getpid();
    pthread_mutex_init(&ring->mutex, NULL);
    if (event_ring_listen(ring, LISTENER_POLLED) != 0) {
        event_ring_release(ring);
        return NULL;
    }
    return ring;
}

struct event_ring *event_ring_share(struct event_ring *ring)
{
    if (ring != NULL) {
        ring->owners++;
    }
    return ring;
}

void event_ring_release(struct event_ring *ring)
{
    if (ring == NULL || --ring->owners > 0) {
        return;
    }
    while (ring->listeners != NULL) {
        struct listener *listener = ring->listeners;
        ring->listeners = listener->next;
        PyMem_RawFree(listener);
    }
    if (event_ring_is_ours(ring)) {
        pthread_mutex_destroy(&ring->mutex);
    }
    PyMem_RawFree(ring);
}

bool event_ring_is_ours(const struct event_ring *ring)
{
    return ring->process == getpid();
}

/* --- adding --- */

/* Wakes all listeners. Needs the mutex, so that no descriptor is written to after its listener has
 * gone. */
static void wake_all(const struct event_ring *ring)
{
    static const uint64_t one = 1;
    for (const struct listener *listener = ring->listeners; listener != NULL;
         listener = listener->next) {
        if (listener->fd >= 0 && write(listener->fd, &one, sizeof one) < 0) {
            continue; /* it is full, so the listener will wake anyway */
        }
    }
}

void event_ring_add(void *arg, enum blotter_event what, const char *text)
{
    struct event_ring *ring = arg;
    int64_t now = clock_wall_ns();
    pthread_mutex_lock(&ring->mutex);
    struct event *event = &ring->events[ring->added++ % EVENTS_KEPT];
    event->what = (int)what;
    event->at_ns = now;
    snprintf(event->text, sizeof event->text, "%s", text);
    wake_all(ring);
    pthread_mutex_unlock(&ring->mutex);
}

void event_ring_close(struct event_ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    ring->closed = true;
    wake_all(ring);
    pthread_mutex_unlock(&ring->mutex);
}

bool event_ring_is_closed(struct event_ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    bool closed = ring->closed;
    pthread_mutex_unlock(&ring->mutex);
    return closed;
}

/* --- listening --- */

int event_ring_listen(struct event_ring *ring, int fd)
{
    struct listener *listener = PyMem_RawMalloc(sizeof *listener);
    if (listener == NULL) {
        return -1;
    }
    pthread_mutex_lock(&ring->mutex);
    *listener = (struct listener){ring->listeners, 0, fd};
    if (ring->added > EVENTS_KEPT) {
        listener->heard = ring->added - EVENTS_KEPT; /* older ones are not missed */
    }
    ring->listeners = listener;
    pthread_mutex_unlock(&ring->mutex);
    return 0;
}

/* Returns where the listener is linked, or where NULL is. Needs the mutex. */
static struct listener **find_listener(struct event_ring *ring, int fd)
{
    struct listener **at = &ring->listeners;
    while (*at != NULL && (*at)->fd != fd) {
        at = &(*at)->next;
    }
    return at;
}

void event_ring_unlisten(struct event_ring *ring, int fd)
{
    pthread_mutex_lock(&ring->mutex);
    struct listener **at = find_listener(ring, fd), *listener = *at;
    if (listener != NULL) {
        *at = listener->next;
    }
    pthread_mutex_unlock(&ring->mutex);
    PyMem_RawFree(listener);
}

/* Takes the next event. Needs the mutex. */
static bool event_ring_take_next(const struct event_ring *ring, struct listener *listener,
                                 struct event *out)
{
    if (listener == NULL || listener->heard == ring->added) {
        return false;
    }
    uint64_t oldest = ring->added > EVENTS_KEPT ? ring->added - EVENTS_KEPT : 0;
    uint64_t next = listener->heard < oldest ? oldest : listener->heard;
    *out = ring->events[next % EVENTS_KEPT];
    out->missed = next - listener->heard;
    listener->heard = next + 1;
    return true;
}

bool event_ring_take(struct event_ring *ring, int fd, struct event *out)
{
    pthread_mutex_lock(&ring->mutex);
    bool taken = event_ring_take_next(ring, *find_listener(ring, fd), out);
    pthread_mutex_unlock(&ring->mutex);
    return taken;
}
