/* booker.h: keeps the books milliseconds behind what is loaded, by a session of its own.
 *
 * Loading writes what concerns the books into a queue, in the same commit. The booker calls
 * blotter_internal.book() until the queue of the exchanges whose streams this drainer holds is
 * empty: after each commit, with pauses of at most 20 ms, and once a second for what others have
 * queued. A booking is one statement that commits by itself, and takes its lock for an exchange in
 * it: there is nothing that a stuck or dead drainer could keep. While a backlog is loaded it takes
 * a sixteenth of the time, and books_lag grows, until the books are half a minute behind. One
 * thread.
 */
#ifndef BLOTTER_DRAINER_POSTGRES_BOOKER_H
#define BLOTTER_DRAINER_POSTGRES_BOOKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct settings;
struct streams;

/* clang-format off */
#define BOOKER_COUNTERS(X) \
    X(rows, "rows of the queue that were booked") \
    X(set_aside, "rows that could not be booked: blotter_internal.book_errors") \
    X(runs, "bookings, empty ones included") \
    X(pauses, "pauses of at most 20 ms between bookings, so that each books more") \
    X(rests, "rests between bookings, while large batches were loaded") \
    X(failures, "bookings that failed and are tried again")
/* clang-format on */

struct booker_counters {
#define X(name, meaning) uint64_t name;
    BOOKER_COUNTERS(X)
#undef X
};

struct booker_options {
    struct event_base *base;
    const struct settings *settings;
    const char *application_name;
    const struct streams *streams; /* borrowed: whose exchanges are booked */
    void (*on_turn)(void *owner);  /* booker_is_done() may have changed */
    void *owner;
};

struct booker;

struct booker *booker_create(const struct booker_options *);
void booker_destroy(struct booker *); /* takes NULL */
void booker_start(struct booker *);

/* Notes that so many rows were committed to the queue. */
void booker_wake(struct booker *, size_t rows);

/* Returns how long to rest after a booking, in milliseconds, by the rows of the newest commit, how
 * long the booking took, and how far the books are behind. */
int64_t booker_rest_ms(size_t commit_rows, int64_t booking_ms, int64_t lag_ms);

/* Returns how many rows the next booking may take, where the last one might take rows_max. */
int64_t booker_next_rows(int64_t rows_max, bool full, int64_t booking_ms);

/* Returns how long to pause where booking keeps up, in milliseconds: the shorter the booking was,
 * the sooner the next one comes. */
int64_t booker_pause_ms(int64_t booking_ms);

/* Looks at the queue until it is empty, for one who waits for booker_is_done(). */
void booker_finish(struct booker *);

/* Says whether the whole queue was seen empty since the last wake. */
bool booker_is_done(const struct booker *);

/* Returns how many rows wait to be booked, at least: of those that were there when booker_finish()
 * looked first, or of those that this drainer has queued. */
int64_t booker_left(const struct booker *);

/* Says whether its session is there. Without one a clean stop does not wait: the queue is in
 * PostgreSQL, and the next drainer books it. */
bool booker_is_connected(const struct booker *);

/* Returns how long the oldest row that this drainer queued has waited to be booked, at most: it
 * counts from when all rows were last seen booked, as a booking does not tell whose rows it took.
 * 0: none waits. */
int64_t booker_lag_ms(const struct booker *);

/* Returns why nothing is booked; NULL: all is well. */
const char *booker_trouble(const struct booker *);

const struct booker_counters *booker_counters(const struct booker *);

#endif
