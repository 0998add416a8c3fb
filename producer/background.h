/* background.h: work that blocks (a name to look up, sentinels to ask), in a thread of its own that
 * is gone when it is done; its end comes back on the event loop. */
#ifndef BLOTTER_PRODUCER_BACKGROUND_H
#define BLOTTER_PRODUCER_BACKGROUND_H

#include <pthread.h>

struct event_base;
struct background;

struct background_task {
    void (*work)(void *task);    /* in the thread; the task is its own until it returns */
    void (*done)(void *task);    /* on the loop, once, unless cancelled; it is over then */
    void (*release)(void *task); /* wherever it is needed last */
};

/* Takes the task over. NULL: no memory, descriptor or thread (errno says which); the task is
 * released then. */
struct background *background_start(struct event_base *base, const struct background_task *task,
                                    void *arg);
void background_cancel(struct background *); /* takes NULL; `done` is not called any more */

/* Starts a thread with all signals blocked: SIGPIPE, which hiredis' writes would raise, and those
 * of the host program's handlers, which do not know the thread. Returns 0 or an errno. */
int background_start_thread(pthread_t *thread, void *(*function)(void *), void *arg);

#endif
