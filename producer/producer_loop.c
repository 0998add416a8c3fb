/* producer_loop.c: see producer_loop.h. */
#include "producer/producer_loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "producer/background.h"
#include "producer/blotter.h"
#include "producer/journal_format.h"

/* An event base takes an epoll, a timer and a pair of sockets, a loop an eventfd; one to spare. */
enum { LOOP_DESCRIPTORS = 6 };

struct producer_loop {
    struct event_base *base;
    struct event *called;
    int fd;
    unsigned users; /* under loops_mutex */
    pthread_t thread;
    pthread_mutex_t calling; /* held by the thread that calls */
    pthread_mutex_t mutex;   /* of what follows */
    pthread_cond_t done;
    void (*function)(void *arg); /* NULL: done */
    void *arg;
    bool stop;
};

static pthread_mutex_t loops_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct producer_loop *loops[PRODUCER_LOOPS]; /* under loops_mutex */

/* --- forks: a child has no such threads --- */

static void producer_loop_before_fork(void)
{
    pthread_mutex_lock(&loops_mutex);
}

static void producer_loop_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&loops_mutex);
}

static void producer_loop_after_fork_in_child(void)
{
    memset(loops, 0, sizeof loops);
    pthread_mutex_unlock(&loops_mutex);
}

static void install_loop_fork_handlers(void)
{
    pthread_atfork(producer_loop_before_fork, producer_loop_after_fork_in_parent,
                   producer_loop_after_fork_in_child);
}

/* --- the thread --- */

static void on_called(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct producer_loop *loop = arg;
    uint64_t times;
    if (read(fd, &times, sizeof times) < 0) {
        return;
    }
    pthread_mutex_lock(&loop->mutex);
    if (loop->function != NULL) {
        loop->function(loop->arg);
        loop->function = NULL;
        pthread_cond_signal(&loop->done);
    }
    bool stop = loop->stop;
    pthread_mutex_unlock(&loop->mutex);
    if (stop) {
        event_base_loopbreak(loop->base);
    }
}

static void *loop_main(void *arg)
{
    struct producer_loop *loop = arg;
    pthread_setname_np(pthread_self(), "blotter-sender");
    event_base_dispatch(loop->base);
    return NULL;
}

static void ring(struct producer_loop *loop)
{
    uint64_t one = 1;
    while (write(loop->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void producer_loop_call(struct producer_loop *loop, void (*function)(void *arg), void *arg)
{
    pthread_mutex_lock(&loop->calling);
    pthread_mutex_lock(&loop->mutex);
    loop->function = function;
    loop->arg = arg;
    ring(loop);
    while (loop->function != NULL) {
        pthread_cond_wait(&loop->done, &loop->mutex);
    }
    pthread_mutex_unlock(&loop->mutex);
    pthread_mutex_unlock(&loop->calling);
}

struct event_base *producer_loop_base(const struct producer_loop *loop)
{
    return loop->base;
}

/* --- making and ending --- */

/* Says whether there are enough descriptors for libevent, which ends the process where it lacks
 * one. */
static bool has_descriptors(void)
{
    int fds[LOOP_DESCRIPTORS];
    unsigned taken = 0;
    while (taken < LOOP_DESCRIPTORS && (fds[taken] = eventfd(0, EFD_CLOEXEC)) >= 0) {
        taken++;
    }
    int problem = errno;
    for (unsigned i = 0; i < taken; i++) {
        close(fds[i]);
    }
    errno = problem;
    return taken == LOOP_DESCRIPTORS;
}

static bool make_base(struct producer_loop *loop)
{
    struct event_config *config = event_config_new();
    if (config != NULL) {
        /* libevent's own locks are not needed: other threads only write to eventfds. Precise: polls
         * are 1 ms apart */
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    loop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->base != NULL && loop->fd >= 0) {
        loop->called = event_new(loop->base, loop->fd, EV_READ | EV_PERSIST, on_called, loop);
    }
    return loop->called != NULL && event_add(loop->called, NULL) == 0;
}

static void loop_free(struct producer_loop *loop)
{
    if (loop->called != NULL) {
        event_free(loop->called);
    }
    if (loop->fd >= 0) {
        close(loop->fd);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    pthread_cond_destroy(&loop->done);
    pthread_mutex_destroy(&loop->mutex);
    pthread_mutex_destroy(&loop->calling);
    free(loop);
}

static struct producer_loop *loop_new(char *error)
{
    if (!has_descriptors()) {
        journal_fail(error, 0, "the sender's event loop: %s", strerror(errno));
        return NULL;
    }
    struct producer_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        journal_fail(error, 0, "out of memory");
        return NULL;
    }
    loop->fd = -1;
    pthread_mutex_init(&loop->calling, NULL);
    pthread_mutex_init(&loop->mutex, NULL);
    pthread_cond_init(&loop->done, NULL);
    int problem =
        make_base(loop) ? background_start_thread(&loop->thread, loop_main, loop) : ENOMEM;
    if (problem != 0) {
        journal_fail(error, 0, "the sender's thread: %s", strerror(problem));
        loop_free(loop);
        return NULL;
    }
    return loop;
}

/* Returns a free place, or the loop with the fewest users. */
static struct producer_loop **best_place(void)
{
    struct producer_loop **best = &loops[0];
    for (unsigned i = 0; i < PRODUCER_LOOPS && *best != NULL; i++) {
        if (loops[i] == NULL || loops[i]->users < (*best)->users) {
            best = &loops[i];
        }
    }
    return best;
}

struct producer_loop *producer_loop_take(char *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_loop_fork_handlers);
    pthread_mutex_lock(&loops_mutex);
    struct producer_loop **place = best_place();
    if (*place == NULL) {
        *place = loop_new(error);
    }
    struct producer_loop *loop = *place;
    if (loop != NULL) {
        loop->users++;
    }
    pthread_mutex_unlock(&loops_mutex);
    return loop;
}

void producer_loop_give(struct producer_loop *loop)
{
    pthread_mutex_lock(&loops_mutex);
    bool last = --loop->users == 0;
    for (unsigned i = 0; i < PRODUCER_LOOPS && last; i++) {
        if (loops[i] == loop) {
            loops[i] = NULL;
        }
    }
    pthread_mutex_unlock(&loops_mutex);
    if (!last) {
        return;
    }
    pthread_mutex_lock(&loop->mutex);
    loop->stop = true;
    ring(loop);
    pthread_mutex_unlock(&loop->mutex);
    pthread_join(loop->thread, NULL);
    loop_free(loop);
}
