/* resolve.c: a lookup is shared by the loop and its thread; the last of both frees it, so neither
 * waits for the other. */
#include "producer/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct resolve {
    atomic_int references;
    int ready_fd; /* the thread writes when `error` and `result` are there */
    struct event *ready;
    resolve_done *done;
    void *owner;
    unsigned pick;
    int error;
    struct addrinfo *result;
    char host[];
};

bool resolve_is_literal(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void unreference(struct resolve *lookup)
{
    /* acq_rel: the one that frees sees everything the other has written */
    if (atomic_fetch_sub_explicit(&lookup->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (lookup->result != NULL) {
        freeaddrinfo(lookup->result);
    }
    close(lookup->ready_fd);
    free(lookup);
}

static void *lookup_main(void *arg)
{
    struct resolve *lookup = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    lookup->error = getaddrinfo(lookup->host, NULL, &hints, &lookup->result);
    uint64_t one = 1;
    ssize_t written = write(lookup->ready_fd, &one, sizeof one);
    (void)written; /* cannot fail on an eventfd that was never written; if it did, the caller's
                      timer ends the wait */
    unreference(lookup);
    return NULL;
}

static bool pick_address(const struct resolve *lookup, char out[RESOLVE_ADDRESS_BYTES])
{
    unsigned count = 0;
    for (const struct addrinfo *each = lookup->result; each != NULL; each = each->ai_next) {
        count++;
    }
    if (count == 0) {
        return false;
    }
    const struct addrinfo *each = lookup->result;
    for (unsigned skip = lookup->pick % count; skip > 0; skip--) {
        each = each->ai_next;
    }
    return getnameinfo(each->ai_addr, each->ai_addrlen, out, RESOLVE_ADDRESS_BYTES, NULL, 0,
                       NI_NUMERICHOST) == 0;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct resolve *lookup = arg;
    uint64_t count;
    if (read(fd, &count, sizeof count) != sizeof count) {
        return;
    }
    char address[RESOLVE_ADDRESS_BYTES], why[320];
    bool found = lookup->error == 0 && pick_address(lookup, address);
    snprintf(why, sizeof why, "cannot look up %.200s: %s", lookup->host,
             lookup->error ? gai_strerror(lookup->error) : "no address");
    resolve_done *done = lookup->done;
    void *owner = lookup->owner;
    resolve_cancel(lookup);
    done(owner, found ? address : NULL, why);
}

/* All signals blocked: the host program's handlers must not run on a thread it does not know. */
static int start_thread(struct resolve *lookup)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0) {
        return ENOMEM;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, lookup_main, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

struct resolve *resolve_start(struct event_base *base, const char *host, unsigned pick,
                              resolve_done *done, void *owner)
{
    size_t length = strlen(host) + 1;
    struct resolve *lookup = calloc(1, sizeof *lookup + length);
    if (lookup == NULL) {
        return NULL;
    }
    memcpy(lookup->host, host, length);
    lookup->done = done;
    lookup->owner = owner;
    lookup->pick = pick;
    lookup->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->ready_fd < 0) {
        free(lookup);
        return NULL;
    }
    atomic_init(&lookup->references, 2);
    lookup->ready = event_new(base, lookup->ready_fd, EV_READ, on_ready, lookup);
    int error = ENOMEM;
    if (lookup->ready && event_add(lookup->ready, NULL) == 0) {
        error = start_thread(lookup);
    }
    if (error != 0) {
        atomic_store_explicit(&lookup->references, 1,
                              memory_order_relaxed); /* there is no thread */
        resolve_cancel(lookup);
        errno = error;
        return NULL;
    }
    return lookup;
}

void resolve_cancel(struct resolve *lookup)
{
    if (lookup == NULL) {
        return;
    }
    if (lookup->ready != NULL) {
        event_free(lookup->ready);
    }
    lookup->ready = NULL;
    unreference(lookup);
}
