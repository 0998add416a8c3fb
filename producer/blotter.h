/* blotter.h: record every order, trade and cash flow without ever waiting.
 *
 * A strategy submits a record; a journal in shared memory keeps it; a sender (a thread of the
 * library, the caller's own event loop, or the program `blotter ship`) sends it to a Redis stream;
 * `blotter drain` loads it into PostgreSQL and confirms it.
 *
 * A record is
 *   accepted   when submit has returned its sequence number: it is in the journal, and survives the
 *              death of this process, of Redis, of the drainers and of PostgreSQL (not the loss of
 *              the machine, unless the journal is on a disk path);
 *   sent       when Redis has answered for it;
 *   committed  when a drainer has confirmed that PostgreSQL has it: stored, already there, or
 *              rejected with its reason. Only then is its slot in the journal free again.
 *
 * Pointers   Strings are borrowed for the call only and copied. NULL, 0 and BLOTTER_ABSENT mean
 *            absent. Text is UTF-8. Decimals are text as the exchange sent them ("10.100", "1E-8"):
 *            nothing is rounded. `extra` is JSON text of an object.
 *
 * Threads    Every function may be called by any thread at any time, except blotter_open, which one
 *            thread calls at a time. Calls that are under way in others when blotter_close is
 *            called finish, or answer BLOTTER_CLOSED. A handle belongs to its process: in a forked
 *            child every call answers BLOTTER_FORKED. A thread may be cancelled: in blotter_wait
 *            and blotter_flush at once, elsewhere when the call returns.
 *            libblotter.so stays loaded, as a look-up of a name may outlive blotter_close: link a
 *            plug-in that holds libblotter.a, and may be unloaded, with -z nodelete.
 *
 * Stack      Recording takes 12 KiB of the caller's stack where slots are at most 4,160 bytes (the
 *            default is 1,024), 24 KiB up to 16,448, and 80 KiB beyond. A stack that is too small
 *            is a fault at its guard page, never a write beyond it.
 *
 * Errors     Functions return 0 or more, or a negative enum blotter_status. On failure nothing has
 *            changed. Nothing is printed, and the process is never ended.
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

/* Every status, what it means, and what to do: (name, value, text) */
/* clang-format off */
#define BLOTTER_STATUSES(BLOTTER_X_) \
    BLOTTER_X_(OK, 0, "done") \
    BLOTTER_X_(FULL, -1, \
      "the journal is full: nothing was recorded; it is counted; sending or loading has been " \
      "down too long") \
    BLOTTER_X_(INVALID, -2, "the record is not valid: blotter_problem says which field and why") \
    BLOTTER_X_(TOO_LONG, -3, \
      "the record does not fit a journal slot: open with a larger slot_bytes") \
    BLOTTER_X_(CLOSED, -4, "the producer is closed") \
    BLOTTER_X_(FORKED, -5, "the handle belongs to the parent process: open another one here") \
    BLOTTER_X_(TIMEOUT, -6, \
      "it has not happened within the time given; the record stays in the journal") \
    BLOTTER_X_(BUSY, -7, "another process has this journal open") \
    BLOTTER_X_(CORRUPT, -8, \
      "the journal is damaged: it was left as it is; `blotter journal` shows what it holds") \
    BLOTTER_X_(FORMAT, -9, \
      "the journal has a format that this version does not know: it was left as it is") \
    BLOTTER_X_(SYSTEM, -10, "a system call failed: blotter_open_error says which") \
    BLOTTER_X_(OPTION, -11, \
      "an option is not valid: blotter_open_error says which and what is allowed") \
    BLOTTER_X_(NO_SENDER, -12, \
      "the producer was opened without a sender: `blotter ship` sends, and this process cannot " \
      "wait for it") \
    BLOTTER_X_(NOT_OURS, -13, \
      "what is in the journal's place is no file, belongs to another user, is writable by others " \
      "or has several names: it was left alone")

enum blotter_status {
#define BLOTTER_X_(name, value, text) BLOTTER_##name = (value),
    BLOTTER_STATUSES(BLOTTER_X_)
#undef BLOTTER_X_
};
/* clang-format on */

/* Returns the text of a status; never NULL. */
const char *blotter_status_text(int status);

typedef struct blotter_producer blotter_producer;

/* --- opening --- */

enum blotter_sender {
    /* a thread of the library; beyond 16 producers in a process, they share the threads */
    BLOTTER_SENDER_THREAD = 0,
    /* the caller's struct event_base, run by the thread that opens, which must ignore SIGPIPE */
    BLOTTER_SENDER_LOOP = 1,
    /* `blotter ship` sends: no thread and no socket here, and no heartbeats; no thread can wait */
    BLOTTER_SENDER_NONE = 2,
};

enum blotter_sync {
    /* the kernel writes the journal when it likes (in shared memory: never) */
    BLOTTER_SYNC_NONE = 0,
    /* the sender (with none: `blotter ship --sync interval`) calls msync every sync_interval_ms:
     * for journals on disk */
    BLOTTER_SYNC_INTERVAL = 1,
};

/* Changes that on_event is called for, once for each change: (name, value, word, meaning). A new
 * one gets the next value. */
/* clang-format off */
#define BLOTTER_EVENTS(BLOTTER_X_) \
    BLOTTER_X_(REDIS_UP, 0, "redis_up", "connected, or no longer refusing; text: where") \
    BLOTTER_X_(REDIS_DOWN, 1, "redis_down", "not connected; text: why") \
    BLOTTER_X_(REDIS_REFUSES, 2, "redis_refuses", \
      "Redis answers an error, or another one: it is asked again; text: it") \
    BLOTTER_X_(FULL, 3, "full", "the journal became full") \
    BLOTTER_X_(ROOM, 4, "room", "the journal has room again") \
    BLOTTER_X_(EVICTED, 5, "evicted", \
      "sent records that wait for PostgreSQL had to make room; text: how many") \
    BLOTTER_X_(DAMAGED, 6, "damaged", \
      "records were found damaged in the journal and are lost; text: how many, where") \
    BLOTTER_X_(RESEND, 7, "resend", \
      "records that are not confirmed are sent again; text: how many and why") \
    BLOTTER_X_(NOT_SYNCED, 8, "not_synced", \
      "msync fails: what is accepted now may not outlive a loss of power; text: why, where") \
    BLOTTER_X_(SYNCED, 9, "synced", \
      "msync succeeds again; pages that the disk refused may still be missing there; text: " \
      "where") \
    BLOTTER_X_(LEFT_ALONE, 10, "left_alone", \
      "a journal's records are for another Redis, so they are not sent; text: which, and what " \
      "to do") \
    BLOTTER_X_(CLOCK, 11, "clock", \
      "the wall clock jumped ahead by more than an hour, or is believed again; text: how far")

enum blotter_event {
#define BLOTTER_X_(name, value, word, meaning) BLOTTER_EVENT_##name = (value),
    BLOTTER_EVENTS(BLOTTER_X_)
#undef BLOTTER_X_
};
/* clang-format on */

/* Zero is the default of every member, so `struct blotter_options options = {.exchange =
 * "binance"}` will do. */
struct blotter_options {
    /* required, [a-z0-9._-]{1,32} */
    const char *exchange;
    /* NULL: none; else as exchange: a stream of its own, blotter:<exchange>:<lane> */
    const char *lane;
    /* URL, see blotter(1); NULL: $BLOTTER_REDIS, else redis://127.0.0.1:6379 */
    const char *redis;
    /* overrides the URL's; NULL: $BLOTTER_REDIS_PASSWORD, if set */
    const char *redis_password;
    /* A folder, or a file's path; NULL: $BLOTTER_JOURNAL, else /dev/shm/blotter-<uid>. In a folder:
     * <exchange>[:<lane>].<n>, the first that is free. A journal of another size than asked for, of
     * an older format, or for another Redis is not written to: a new one is made (a file is renamed
     * to <path>.<n> first), and the sender sends what is in the old one, unless it is for another
     * Redis. */
    const char *journal;
    /* records that the journal holds, a power of two in 64 .. 16777216; 0: 32768, or as it is */
    uint32_t slots;
    /* multiple of 64 in 256 .. 65536, 64 of them for the slot's head; 0: 1024, or as it is */
    uint32_t slot_bytes;
    enum blotter_sender sender;
    void *event_base; /* struct event_base * for BLOTTER_SENDER_LOOP */
    /* The sender looks for new records this often while there are any; 0 = 1000. Without records it
     * looks less and less often, down to every 100 ms, or slots * 3 us if that is less. */
    uint32_t poll_interval_us;
    /* 1: submit wakes the sender where that sleeps, through an eventfd (one system call), and
     * nothing is polled */
    int wake;
    enum blotter_sync sync;
    uint32_t sync_interval_ms; /* 0 = 100 */
    /* Called by the sender's thread (or in the caller's loop). text is valid during the call. Must
     * not block, nor close the producer. */
    void (*on_event)(void *arg, enum blotter_event event, const char *text);
    void *on_event_arg;
};

/* Opens a journal, adopting what a dead process left in it, and starts the sender. Does not wait
 * for Redis.
 * Threads:  one at a time
 * Blocks:   for disk and memory (tens of ms), never for the network; up to two seconds where
 *           `blotter ship` has to give the journal back first
 * Memory:   copies the options; a producer takes 3 descriptors, and 5 for its thread
 * Returns:  0 and *producer; or a status with *producer NULL: BUSY, CORRUPT, FORMAT, NOT_OURS
 *           (these only where `journal` names a file: in a folder the next free name is taken),
 *           SYSTEM, OPTION. blotter_open_error() says more */
int blotter_open(blotter_producer **producer, const struct blotter_options *options);

/* Returns what was wrong at this thread's last blotter_open; "" if nothing. After one that
 * succeeded: how many records the adopted journal had lost by damage. Valid until the next open.
 * Never holds a secret. */
const char *blotter_open_error(void);

/* --- recording --- */

/* Records one state change of an order, or one trade; an entry of an account's ledger; what the
 * venue reports as a balance or a position; the meaning of a symbol; an object that the strategy
 * could not make a record of.
 * Threads:  any
 * Blocks:   never: no system call, no lock, no allocation
 * Returns:  the record's seq, 1 or more: accepted; FULL (counted in stats.full), INVALID, TOO_LONG,
 *           CLOSED, FORKED */
int64_t blotter_order(blotter_producer *producer, const struct blotter_order *order);
int64_t blotter_trade(blotter_producer *producer, const struct blotter_trade *trade);
int64_t blotter_cash(blotter_producer *producer, const struct blotter_cash *cash);
int64_t blotter_balance(blotter_producer *producer, const struct blotter_balance *balance);
int64_t blotter_position(blotter_producer *producer, const struct blotter_position *position);
int64_t blotter_instrument(blotter_producer *producer, const struct blotter_instrument *instrument);
int64_t blotter_reject(blotter_producer *producer, const struct blotter_reject *reject);

/* Returns the reason why this thread's last record was INVALID, or which of its values went to
 * `extra`: "price: not a finite decimal number ...", for a group "entry 3: price: ...". Valid until
 * the next. */
const char *blotter_problem(void);

/* The kinds of record, numbered as in journals. */
enum blotter_kind {
    BLOTTER_KIND_ORDER = 0,
    BLOTTER_KIND_TRADE = 1,
    BLOTTER_KIND_CASH = 3,
    BLOTTER_KIND_BALANCE = 4,
    BLOTTER_KIND_POSITION = 5,
    BLOTTER_KIND_INSTRUMENT = 6,
    BLOTTER_KIND_REJECT = 15,
};

/* Members that are the same in many records, checked and encoded once. */
typedef struct blotter_binding blotter_binding;

/* Binds the members that are given in `constants`, a struct blotter_<kind>: account, strategy,
 * symbol and so on, but not `extra`. Recording with a binding is the fastest way.
 * Threads:  any; a binding may be used by many at a time, and only with this producer
 * Blocks:   never, but allocates
 * Memory:   copies; free it with blotter_unbind, also after blotter_close
 * Returns:  NULL: a member is not valid, or the producer is closed: blotter_problem() says which;
 *           "": out of memory */
blotter_binding *blotter_bind(blotter_producer *producer, enum blotter_kind kind,
                              const void *constants);
void blotter_unbind(blotter_binding *binding); /* takes NULL */

/* Records a struct blotter_<kind> of the binding's kind, with what is bound beside it. NULL: that
 * alone.
 * Threads, Blocks: as blotter_order
 * Returns:  as blotter_order; INVALID also where a member is both bound and given */
int64_t blotter_submit_bound(blotter_producer *producer, const blotter_binding *binding,
                             const void *record);

/* One record of a group. */
struct blotter_entry {
    int kind;                     /* enum blotter_kind */
    const void *record;           /* struct blotter_<kind> */
    const blotter_binding *bound; /* of the same kind; NULL: none */
};

/* Records what belongs together, such as an order with its trades: all of it, or nothing, also if
 * the process dies meanwhile. Their seqs are dense.
 * Threads, Blocks: as blotter_order; encodes each record twice
 * Returns:  the first record's seq; FULL (counted once), INVALID, TOO_LONG (also for no entries, or
 *           more than half of the journal's slots), CLOSED, FORKED */
int64_t blotter_submit(blotter_producer *producer, const struct blotter_entry *entries,
                       size_t count);

/* Has the processor fetch the memory that the next record goes into, for a caller that has
 * something else to do before: reading the message that it will record. A record's bytes would wait
 * for that memory, and with them what the thread does next.
 * Threads:  any
 * Blocks:   never */
void blotter_prepare(blotter_producer *producer);

#define BLOTTER_DECIMAL_BYTES 256

/* Writes the shortest decimal that reads back as the same double ("0.1", "67123.1") and a NUL, for
 * a caller that has a double and not the exchange's own digits.
 * Threads:  any
 * Blocks:   never
 * Returns:  its length; INVALID: not finite, or of more than 128 digits */
int blotter_decimal(double value, char out[BLOTTER_DECIMAL_BYTES]);

#define BLOTTER_DOUBLE_BYTES 12

/* Lets a double stand for a decimal, as cheaply as can be: PostgreSQL gets its shortest digits.
 * `price = blotter_double(67123.1, buffer)`. NaN and numbers beyond 1e100, or nearer to 0 than
 * 1e-100, are not decimals.
 * Returns:  out, for the member of a record; text of no other use */
const char *blotter_double(double value, char out[BLOTTER_DOUBLE_BYTES]);

/* --- waiting --- */

enum blotter_stage { BLOTTER_SENT = 1, BLOTTER_COMMITTED = 2 };

/* Waits until the record `seq` of this producer, and all before it, have reached the stage.
 * Threads:  any but the sender's loop; may be cancelled meanwhile
 * Blocks:   up to timeout_ms (-1: for ever, 0: just looks)
 * Returns:  OK, TIMEOUT, CLOSED, FORKED, NO_SENDER */
int blotter_wait(blotter_producer *producer, int64_t seq, enum blotter_stage stage, int timeout_ms);

/* Does the same for everything accepted so far, and everything that this journal held before. */
int blotter_flush(blotter_producer *producer, enum blotter_stage stage, int timeout_ms);

/* Writes 1 to `fd`, an eventfd, when the record `seq` of this producer and all before it have
 * reached the stage, at once if they have, or when the producer is closed; it is for event loops.
 * blotter_wait with timeout 0 then says which. Once only: ask again for the next. A descriptor has
 * one request for each stage; the next one takes its place, and seq 0 withdraws it. Once it was
 * told or withdrawn, or the answer is CLOSED, it is not written to any more, and may be closed.
 * Threads:  any
 * Blocks:   for the moment in which the sender tells others; at most two system calls
 * Memory:   some bytes, until told or withdrawn
 * Returns:  OK, CLOSED, FORKED, NO_SENDER, SYSTEM: out of memory */
int blotter_notify(blotter_producer *producer, int fd, enum blotter_stage stage, int64_t seq);

/* --- looking --- */

/* Durations of something, in nanoseconds. Bucket i counts durations in steps of an eighth of a
 * power of two, the last one all that is longer (18 minutes); blotter_percentile reads it. */
#define BLOTTER_BUCKETS 312
struct blotter_histogram {
    uint64_t count[BLOTTER_BUCKETS];
    uint64_t sum; /* of the durations: sum over count is the mean */
};

/* Returns the duration in ns that `percent` (0 .. 100) of the counted ones did not exceed, at most
 * an eighth too long; -1: none counted. */
int64_t blotter_percentile(const struct blotter_histogram *histogram, double percent);

/* Counters and states: (type, name, meaning) */
/* clang-format off */
#define BLOTTER_STATS(BLOTTER_X_) \
    BLOTTER_X_(int64_t, producer_id, "this open's producer_id") \
    BLOTTER_X_(int64_t, accepted, "records accepted: the last seq") \
    BLOTTER_X_(int64_t, sent, "every seq up to this one is sent") \
    BLOTTER_X_(int64_t, committed, "every seq up to this one is committed") \
    BLOTTER_X_(int64_t, held, "slots taken in the journal, also by what others left") \
    BLOTTER_X_(int64_t, slots, "slots of the journal") \
    BLOTTER_X_(int64_t, full, "submits answered FULL") \
    BLOTTER_X_(int64_t, invalid, "submits answered INVALID or TOO_LONG") \
    BLOTTER_X_(int64_t, resent, "records sent again") \
    BLOTTER_X_(int64_t, evicted, "sent records that had to make room before they were confirmed") \
    BLOTTER_X_(int64_t, left_alone, \
      "journals that are not sent, as their records are for another Redis") \
    BLOTTER_X_(int64_t, connects, "connections to Redis that came up") \
    BLOTTER_X_(int64_t, errors, "error answers from Redis") \
    BLOTTER_X_(int64_t, redis_up, "1 while connected") \
    BLOTTER_X_(int64_t, last_error_at_ns, "when last_error began; 0 if there is none now") \
    BLOTTER_X_(int64_t, misplaced, \
      "values that their field could not take, and that are in `extra`")

struct blotter_stats {
#define BLOTTER_X_(type, name, meaning) type name;
    BLOTTER_STATS(BLOTTER_X_)
#undef BLOTTER_X_
    /* of Redis or the connection, while records cannot be sent or confirmed; "" when all is well */
    char last_error[160];
    char journal[256];    /* the journal's path */
    /* what submitting cost the caller; one call in 64 is measured */
    struct blotter_histogram submit_ns;
    /* from submit to Redis' answer; one record in 16 while many are in flight */
    struct blotter_histogram submit_to_sent_ns;
};
/* clang-format on */

/* Takes a consistent enough picture, cheaply.
 * Threads:  any
 * Blocks:   for the moment of a lock
 * Returns:  OK, CLOSED, FORKED */
int blotter_stats(blotter_producer *producer, struct blotter_stats *stats);

/* --- closing --- */

/* Writes `closed`, sends what it can within timeout_ms (-1: all of it), stops the sender, and frees
 * everything. Later calls are answered CLOSED, for ever: what stays is addresses that are not used
 * again, 8 KiB for each file that was tried. A journal in which everything is committed is removed
 * (for that it waits a fifth of a second longer than for sending, within timeout_ms); any other
 * stays and is adopted by the next open, or by `blotter ship`. In a journal that was full it waits
 * up to two seconds, within timeout_ms, for room for `closed`.
 * Threads:  any, but not on_event; submits that are under way in others finish, or get CLOSED
 * Returns:  how many records stay in the journal not yet sent, 0 or more; CLOSED: it was called
 *           before; FORKED (and the child's handle is closed) */
int64_t blotter_close(blotter_producer *producer, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
