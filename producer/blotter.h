/* blotter.h: record every order and trade without ever waiting.
 *
 * A strategy submits a record; a journal in shared memory keeps it; a sender (a thread of the
 * library, the caller's own event loop, or the program `blotter ship`) sends it to a Redis stream;
 * `blotter drain` loads it into PostgreSQL and says so.
 *
 * What a record goes through:
 *   accepted   submit returned its sequence number: it is in the journal and survives the death of
 * this process, of Redis, of the drainers and of PostgreSQL (not the loss of the machine, unless
 * the journal is on a disk path). sent       Redis has answered for it. committed  a drainer has
 * said that PostgreSQL has it: stored, already there, or rejected with its reason. Only then is its
 * place in the journal free again.
 *
 * Pointers   Strings are borrowed for the call only and copied. NULL, 0 and BLOTTER_ABSENT mean
 * absent. Text is UTF-8. Decimals are text as the exchange sent them ("10.100", "1E-8"): nothing is
 * rounded. `extra` is JSON text of an object.
 *
 * Threads    Every function may be called by any thread at any time, but blotter_open and
 * blotter_close, which one thread calls. Calls that are under way in others when blotter_close is
 * called finish, or answer BLOTTER_CLOSED. A handle belongs to its process: in a forked child every
 * call answers BLOTTER_FORKED.
 *
 * Errors     Functions return 0 or more, or a negative enum blotter_status. On failure nothing has
 * changed. Nothing is printed.
 *
 * Units      Times in nanoseconds since 1970 (_ns) or milliseconds (_ms), sizes in bytes (_bytes).
 */
#ifndef BLOTTER_H
#define BLOTTER_H

#include <stddef.h>
#include <stdint.h>

#include "schema/record_structs.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BLOTTER_VERSION "0.1.0"

/* X(name, value, text): every status, what it means, and what to do. */
/* clang-format off */
#define BLOTTER_STATUSES(X) \
    X(OK, 0, "done") \
    X(FULL, -1, "the journal is full: nothing was recorded; it is counted; sending or loading has been down too long") \
    X(INVALID, -2, "the record is not valid: blotter_problem says which field and why") \
    X(TOO_LONG, -3, "the record does not fit a journal slot: open with a larger slot_bytes") \
    X(CLOSED, -4, "the producer is closed") \
    X(FORKED, -5, "the handle belongs to the parent process: open another one here") \
    X(TIMEOUT, -6, "it has not happened within the time given; the record stays in the journal") \
    X(BUSY, -7, "another process has this journal open") \
    X(CORRUPT, -8, "the journal is damaged: it was left as it is; `blotter journal` shows what it holds") \
    X(FORMAT, -9, "the journal has a format that this version does not know: it was left as it is") \
    X(SYSTEM, -10, "a system call failed: blotter_open_error says which") \
    X(OPTION, -11, "an option is not valid: blotter_open_error says which and what is allowed") \
    X(NO_SENDER, -12, "the producer was opened without a sender: `blotter ship` sends, and this process cannot wait for it") \
    X(NOT_OURS, -13, "the journal's file belongs to another user, is writable by others or has several names: it was left alone")
/* clang-format on */

/* clang-format off */
enum blotter_status {
#define X(name, value, text) BLOTTER_##name = (value),
    BLOTTER_STATUSES(X)
#undef X
};
/* clang-format on */

/* The text of a status; never NULL. */
const char *blotter_status_text(int status);

typedef struct blotter_producer blotter_producer;

enum blotter_sender {
    BLOTTER_SENDER_THREAD = 0, /* a thread of the library */
    BLOTTER_SENDER_LOOP = 1, /* the caller's struct event_base, run by the thread that opens, which
                                must ignore SIGPIPE */
    BLOTTER_SENDER_NONE = 2, /* `blotter ship` sends: no thread and no socket here, and no
                                heartbeats; nobody here can wait */
};

enum blotter_sync {
    BLOTTER_SYNC_NONE =
        0, /* the kernel writes the journal when it likes (in shared memory: never) */
    BLOTTER_SYNC_INTERVAL = 1, /* the sender (with none: `blotter ship --sync interval`) calls msync
                                  every sync_interval_ms: for journals on disk */
};

/* What has changed, told once per change. X(name, value, word, meaning); a new one gets the next
 * value. */
/* clang-format off */
#define BLOTTER_EVENTS(X) \
    X(REDIS_UP, 0, "redis_up", "connected, or no longer refusing; text: where") \
    X(REDIS_DOWN, 1, "redis_down", "not connected; text: why") \
    X(REDIS_REFUSES, 2, "redis_refuses", "Redis answers an error, or another one: it is asked again; text: it") \
    X(FULL, 3, "full", "the journal became full") \
    X(ROOM, 4, "room", "the journal has room again") \
    X(EVICTED, 5, "evicted", "sent records that wait for PostgreSQL had to make room; text: how many") \
    X(DAMAGED, 6, "damaged", "records were found damaged in the journal and are lost; text: how many, where") \
    X(RESEND, 7, "resend", "records without the drainer's word are sent again; text: how many and why") \
    X(NOT_SYNCED, 8, "not_synced", "msync fails: what is accepted now may not outlive a loss of power; text: why, where") \
    X(SYNCED, 9, "synced", "msync succeeds again; pages that the disk refused may still be missing there; text: where")
/* clang-format on */
/* clang-format off */
enum blotter_event {
#define X(name, value, word, meaning) BLOTTER_EVENT_##name = (value),
    BLOTTER_EVENTS(X)
#undef X
};
/* clang-format on */

/* Zero is the default of every member, so `struct blotter_options options = {.exchange =
 * "binance"}` will do. */
struct blotter_options {
    const char *exchange; /* required, [a-z0-9._-]{1,32} */
    const char
        *lane; /* NULL: none; else as exchange: a stream of its own, blotter:<exchange>:<lane> */
    const char *redis;          /* URL; NULL: $BLOTTER_REDIS, else redis://127.0.0.1:6379. With TLS:
                                   rediss://, see blotter(1) */
    const char *redis_password; /* overrides the URL's; NULL: $BLOTTER_REDIS_PASSWORD, if set */
    const char *
        journal; /* a folder, or a file's path; NULL: $BLOTTER_JOURNAL, else /dev/shm/blotter-<uid>.
                    In a folder: <exchange>[:<lane>].<n>, the first that is not locked */
    /* The size of a new journal. One that is adopted keeps its own. */
    uint32_t
        slots; /* records that the journal holds, a power of two in 64 .. 16777216; 0 = 32768 */
    uint32_t
        slot_bytes; /* multiple of 64 in 256 .. 65536, 64 of them for the slot's head; 0 = 1024 */
    enum blotter_sender sender;
    void *event_base; /* struct event_base * for BLOTTER_SENDER_LOOP */
    /* How often the sender looks for new records; 0 = 1000. Each look wakes a thread: 15 to 20 us
     * of processor on a virtual machine, so at 1000 1.5 to 2 % of a processor for each producer, at
     * 10000 a tenth of that, and a record is sent up to 10 ms later. On hosts with many producers
     * BLOTTER_SENDER_NONE: `blotter ship` looks into all their journals at one wake. */
    uint32_t poll_interval_us;
    int wake; /* 1: submit wakes the sender where that sleeps, through an eventfd (one system call),
                 and nothing is polled */
    enum blotter_sync sync;
    uint32_t sync_interval_ms; /* 0 = 100 */
    /* Called by the sender's thread (or in the caller's loop). text is valid during the call. Must
     * not block. */
    void (*on_event)(void *arg, enum blotter_event event, const char *text);
    void *on_event_arg;
};

/* Opens a journal (adopting what a dead process left in it) and starts the sender. Does not wait
 * for Redis. Threads:  one at a time      Blocks: for disk and memory (tens of ms), never for the
 * network; where `journal` names a file, up to two seconds for `blotter ship` to let go of it
 * Memory:   copies the options
 * Returns:  0 and *producer; or a status with *producer NULL: BUSY, CORRUPT, FORMAT (only where
 * `journal` names a file: in a folder the next free name is taken), SYSTEM, OPTION.
 * blotter_open_error() says more. */
int blotter_open(blotter_producer **producer, const struct blotter_options *options);

/* What was wrong at this thread's last blotter_open; "" if nothing. After one that succeeded: how
 * many records the adopted journal had lost by damage. Valid until the next open. Never holds a
 * secret. */
const char *blotter_open_error(void);

/* Records one state change of an order, or one trade; an entry of an account's ledger; what the
 * venue reports as a balance or a position; the meaning of a symbol.
 * Threads:  any     Blocks: never: no system call, no lock, no allocation
 * Returns:  the record's seq, 1 or more: accepted; FULL (counted in stats.full), INVALID, TOO_LONG,
 * CLOSED, FORKED */
int64_t blotter_order(blotter_producer *producer, const struct blotter_order *order);
int64_t blotter_trade(blotter_producer *producer, const struct blotter_trade *trade);
int64_t blotter_cash(blotter_producer *producer, const struct blotter_cash *cash);
int64_t blotter_balance(blotter_producer *producer, const struct blotter_balance *balance);
int64_t blotter_position(blotter_producer *producer, const struct blotter_position *position);
int64_t blotter_instrument(blotter_producer *producer, const struct blotter_instrument *instrument);

/* Records an object that the caller could not make a record of: it goes to blotter.rejects. */
int64_t blotter_reject(blotter_producer *producer, const struct blotter_reject *reject);

/* What was wrong with this thread's last record that was INVALID, or that has a value in `extra`
 * because its field could not take it: "price: not a finite decimal number ...". Valid until the
 * next. */
const char *blotter_problem(void);

#define BLOTTER_DECIMAL_BYTES 256

/* Writes the shortest decimal that reads back as the same double ("0.1", "67123.1") and a NUL, for
 * those who have a double and not the exchange's own digits. Threads:  any     Blocks: never
 * Returns:  its length; INVALID: not finite, or of more than 128 digits */
int blotter_decimal(double value, char out[BLOTTER_DECIMAL_BYTES]);

#define BLOTTER_DOUBLE_BYTES 12

/* Lets a double stand for a decimal, as cheaply as can be: PostgreSQL gets its shortest digits.
 * `price = blotter_double(67123.1, buffer)`. NaN and what is beyond 1e100 is no decimal.
 * Returns:  out, for the member of a record; text of no other use */
const char *blotter_double(double value, char out[BLOTTER_DOUBLE_BYTES]);

enum blotter_stage { BLOTTER_SENT = 1, BLOTTER_COMMITTED = 2 };

/* Waits until the record `seq` of this producer, and all before it, have reached the stage.
 * Threads:  any but the sender's loop     Blocks: up to timeout_ms (-1: for ever, 0: just looks)
 * Returns:  OK, TIMEOUT, CLOSED, FORKED, NO_SENDER */
int blotter_wait(blotter_producer *producer, int64_t seq, enum blotter_stage stage, int timeout_ms);

/* blotter_wait for everything accepted so far, and everything that this journal held before. */
int blotter_flush(blotter_producer *producer, enum blotter_stage stage, int timeout_ms);

/* For event loops: writes 1 to `fd`, an eventfd, when the record `seq` of this producer and all
 * before it have reached the stage, at once if they have, or when the producer is closed.
 * blotter_wait with timeout 0 then says which. Once only: ask again for the next. A descriptor has
 * one request for each stage; the next one takes its place, and seq 0 withdraws it. What has been
 * told or withdrawn is not written to any more, and may be closed.
 * Threads:  any     Blocks: for the moment in which the sender tells others; at most two system
 * calls Memory:   some bytes, until told or withdrawn Returns:  OK, CLOSED, FORKED, NO_SENDER,
 * SYSTEM: out of memory */
int blotter_notify(blotter_producer *producer, int fd, enum blotter_stage stage, int64_t seq);

/* How long something took, in nanoseconds. Bucket i counts durations in steps of an eighth of a
 * power of two, the last one all that is longer (18 minutes); blotter_percentile reads it. */
#define BLOTTER_BUCKETS 312
struct blotter_histogram {
    uint64_t count[BLOTTER_BUCKETS];
    uint64_t sum; /* of the durations: sum over count is the mean */
};

/* The duration in ns that `percent` (0 .. 100) of the counted ones did not exceed, at most an
 * eighth too long; -1: none counted.
 */
int64_t blotter_percentile(const struct blotter_histogram *histogram, double percent);

/* Counters and states, X(type, name, meaning). A consistent enough picture, cheap to take. */
/* clang-format off */
#define BLOTTER_STATS(X) \
    X(int64_t, producer_id, "this open's producer_id") \
    X(int64_t, accepted, "records accepted: the last seq") \
    X(int64_t, sent, "every seq up to this one is sent") \
    X(int64_t, committed, "every seq up to this one is committed") \
    X(int64_t, held, "places taken in the journal, also by what others left") \
    X(int64_t, slots, "places in the journal") \
    X(int64_t, full, "submits answered FULL") \
    X(int64_t, invalid, "submits answered INVALID or TOO_LONG") \
    X(int64_t, resent, "records sent again") \
    X(int64_t, evicted, "sent records let go without the drainer's word") \
    X(int64_t, connects, "connections to Redis that came up") \
    X(int64_t, errors, "error answers from Redis") \
    X(int64_t, redis_up, "1 while connected") \
    X(int64_t, last_error_at_ns, "when last_error began; 0 if there is none now") \
    X(int64_t, misplaced, "values that their field could not take, and that are in `extra`")
/* clang-format on */
/* clang-format off */
struct blotter_stats {
#define X(type, name, meaning) type name;
    BLOTTER_STATS(X)
#undef X
    char last_error[160]; /* what Redis or the connection says while records cannot be sent or confirmed; "" when all is well */
    char journal[256];    /* the journal's path */
    struct blotter_histogram submit_ns;         /* what submitting cost the caller; one call in 64 is measured */
    struct blotter_histogram submit_to_sent_ns; /* from submit to Redis' answer; one record in 16 while many are under way */
};
/* clang-format on */
int blotter_stats(blotter_producer *producer, struct blotter_stats *stats);

/* Writes `closed`, sends what it can within timeout_ms (-1: all of it), stops the sender, frees all
 * but a page. A journal in which everything is committed is removed (for that it waits a fifth of a
 * second longer than for sending, within timeout_ms); any other stays and is adopted by the next
 * open, or by `blotter ship`. In a journal that was full it waits up to two seconds, within
 * timeout_ms, for room for `closed`. Threads:  one; submits that are under way in others finish, or
 * get CLOSED Returns:  how many records stay in the journal not yet sent, 0 or more; FORKED (the
 * child's handle is freed) */
int64_t blotter_close(blotter_producer *producer, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
