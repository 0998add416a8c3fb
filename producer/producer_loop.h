/* producer_loop.h: the threads in which senders run.
 *
 * Each producer of a process has a thread of its own, until there are PRODUCER_LOOPS of them: then
 * they share, as a thread costs descriptors and wakes. */
#ifndef BLOTTER_PRODUCER_PRODUCER_LOOP_H
#define BLOTTER_PRODUCER_PRODUCER_LOOP_H

struct event_base;
struct producer_loop;

enum { PRODUCER_LOOPS = 16 };

/* Takes the loop that serves the fewest producers, perhaps a new one. NULL: out of memory,
 * descriptors or threads, told in error. Any thread. */
struct producer_loop *producer_loop_take(char *error);

/* Gives it back; the last one ends the thread. Not from the loop's own thread. */
void producer_loop_give(struct producer_loop *);

struct event_base *producer_loop_base(const struct producer_loop *);

/* Calls the function in the loop's thread, and waits for its end. */
void producer_loop_call(struct producer_loop *, void (*function)(void *arg), void *arg);

#endif
