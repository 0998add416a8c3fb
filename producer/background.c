/* background.c: see background.h. The work is shared by the loop and its thread; the last of both
 * frees it, so neither waits for the other. */
#include "producer/background.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct background {
    atomic_int references;
    int ready_fd; /* the thread writes when the work is done */
    struct event *ready;
    struct background_task task;
    void *arg;
};

static void background_unreference(struct background *background)
{
    /* acq_rel: the one that frees sees everything the other has written */
    if (atomic_fetch_sub_explicit(&background->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    background->task.release(background->arg);
    close(background->ready_fd);
    free(background);
}

static void *background_main(void *arg)
{
    struct background *background = arg;
    uint64_t one = 1;

    background->task.work(background->arg);
    ssize_t written = write(background->ready_fd, &one, sizeof one);
    (void)written; /* cannot fail on an eventfd that was never written; if it did, the caller's
                      timer ends the wait */
    background_unreference(background);
    return NULL;
}

static void background_on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct background *background = arg;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof count) == sizeof count) {
        event_free(background->ready);
        background->ready = NULL;
        background->task.done(background->arg);
        background_unreference(background);
    }
}

int background_start_thread(pthread_t *thread, void *(*function)(void *), void *arg)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, function, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct background *background_start(struct event_base *base, const struct background_task *task,
                                    void *arg)
{
    struct background *background = calloc(1, sizeof *background);

    if (background == NULL) {
        task->release(arg);
        return NULL;
    }
    background->task = *task;
    background->arg = arg;
    background->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (background->ready_fd < 0) {
        task->release(arg);
        free(background);
        return NULL;
    }
    atomic_init(&background->references, 2);
    background->ready =
        event_new(base, background->ready_fd, EV_READ, background_on_ready, background);
    int error = ENOMEM;
    pthread_t thread;
    if (background->ready != NULL && event_add(background->ready, NULL) == 0) {
        error = background_start_thread(&thread, background_main, background);
    }
    if (error != 0) {
        /* there is no thread */
        atomic_store_explicit(&background->references, 1, memory_order_relaxed);
        background_cancel(background);
        errno = error;
        return NULL;
    }
    pthread_detach(thread);
    return background;
}

void background_cancel(struct background *background)
{
    if (background == NULL) {
        return;
    }
    if (background->ready != NULL) {
        event_free(background->ready);
        background->ready = NULL;
    }
    background_unreference(background);
}
