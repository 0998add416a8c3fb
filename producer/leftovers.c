/* leftovers.c: see leftovers.h. */
#include "producer/leftovers.h"

#include <event2/event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "producer/journal_recover.h"
#include "producer/timer.h"

enum { LEFTOVERS_LOOK_MS = 200 };

struct leftover {
    struct leftover *next;
    struct journal *journal;
    struct sender *sender;
};

struct leftovers {
    struct leftover *first;
    struct event *look;
    _Atomic int64_t left_alone;
};

static bool open_leftover(struct leftovers *leftovers, const struct sender_options *options,
                          const char *path)
{
    char error[JOURNAL_ERROR_BYTES];
    struct sender_options wanted = *options;
    struct leftover *leftover = calloc(1, sizeof *leftover);
    if (leftover == NULL) {
        return false;
    }
    if (journal_open(&leftover->journal, path, &(struct journal_options){.send = true}, error) !=
        0) {
        free(leftover);
        return false;
    }
    wanted.journal = leftover->journal;
    if (sender_create(&leftover->sender, &wanted, error, sizeof error) != 0) {
        journal_release(leftover->journal);
        free(leftover);
        return false;
    }
    leftover->next = leftovers->first;
    leftovers->first = leftover;
    return true;
}

static void close_leftover(struct leftover **at)
{
    struct leftover *leftover = *at;
    *at = leftover->next;
    sender_destroy(leftover->sender);
    journal_release(leftover->journal);
    free(leftover);
}

/* Says whether all of it is committed, or a new owner waits for us to give it back. */
static bool is_over(const struct leftover *leftover)
{
    struct journal *journal = leftover->journal;
    if (!journal_adopt(journal)) {
        return journal_is_closing(journal);
    }
    uint64_t next = journal_next(journal);
    return journal_cursor(&journal->header->committed) == next &&
           journal_cursor(&journal->header->floor) == next;
}

static void leftovers_on_look(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct leftovers *leftovers = arg;
    int64_t left_alone = atomic_load_explicit(&leftovers->left_alone, memory_order_relaxed);
    for (struct leftover **each = &leftovers->first; *each != NULL;) {
        bool foreign = sender_left_alone(each[0]->sender) != NULL;
        if (foreign || is_over(*each)) {
            left_alone += foreign;
            close_leftover(each);
        } else {
            each = &(*each)->next;
        }
    }
    atomic_store_explicit(&leftovers->left_alone, left_alone, memory_order_relaxed); /* shown */
    if (leftovers->first == NULL) {
        event_del(leftovers->look);
    }
}

struct leftovers *leftovers_create(const struct sender_options *options,
                                   const struct journal_others *others)
{
    struct leftovers *leftovers = calloc(1, sizeof *leftovers);
    if (leftovers == NULL) {
        return NULL;
    }
    for (unsigned i = 0; i < others->count; i++) {
        (void)open_leftover(leftovers, options, others->path[i]); /* the next open tries again */
    }
    leftovers->look = event_new(options->base, -1, EV_PERSIST, leftovers_on_look, leftovers);
    if (leftovers->first == NULL || leftovers->look == NULL ||
        timer_start(leftovers->look, LEFTOVERS_LOOK_MS) != 0) {
        leftovers_destroy(leftovers);
        return NULL;
    }
    return leftovers;
}

void leftovers_destroy(struct leftovers *leftovers)
{
    if (leftovers == NULL) {
        return;
    }
    while (leftovers->first != NULL) {
        close_leftover(&leftovers->first);
    }
    if (leftovers->look != NULL) {
        event_free(leftovers->look);
    }
    free(leftovers);
}

int64_t leftovers_left_alone(const struct leftovers *leftovers)
{
    return leftovers != NULL ? atomic_load_explicit(&leftovers->left_alone, memory_order_relaxed)
                             : 0;
}
