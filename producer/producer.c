/* producer.c: the public functions: a journal, a sender for it, and the thread that runs the
 * sender.
 *
 * Life of a handle. A thread may call in at any time, also while another closes, so a closed handle
 * is never freed: it is kept, a few hundred bytes and a page, in a list. What it points to is
 * protected in two ways. Submitting, which must cost nothing, is answered by the journal, whose
 * `next` says CLOSED in the same compare-and-swap that would have claimed. All else goes through
 * enter() and leave(), which count who is inside; close waits until nobody is. */
#include "producer/blotter.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "producer/histogram.h"
#include "producer/journal.h"
#include "producer/journal_open.h"
#include "producer/sender.h"
#include "schema/decimal.h"
#include "schema/record.h"
#include "schema/stream.h"

#define BLOTTER_PUBLIC __attribute__((visibility("default")))
#define FOR_EVER_MS (INT64_MAX / 2)
#define DEFAULT_REDIS "redis://127.0.0.1:6379"

enum {
    POLL_INTERVAL_US = 1000,
    SYNC_INTERVAL_MS = 100,
    BODY_BYTES_SMALL = 4096,
    SUBMITS_PER_SAMPLE = 64, /* a power of two; of so many one is timed */
    CLOSE_ROOM_MS =
        2000, /* how long close waits for room for `closed` in a journal that was full */
    CLOSE_GRACE_MS = 200, /* how long close waits for the word about the last records, so that no
                             journal is left behind */
};

struct blotter_producer {
    struct journal *journal;
    struct sender *sender; /* NULL: none, or closed */
    bool wake;             /* each submit wakes the sender */
    _Atomic bool closed;
    _Atomic unsigned inside; /* threads between enter and leave */
    _Atomic int64_t invalid;
    _Atomic int64_t misplaced;
    enum blotter_sender kind;
    struct event_base *base; /* of our thread, or the caller's */
    struct event *stop;
    int stop_fd;
    pthread_t thread;
    struct blotter_producer *next_kept;
    struct histogram submit_ns;
};

/* initial-exec: no call to find it. Written only for records that are not valid. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct record_problem last_problem;
static _Thread_local char problem_text[160];
static _Thread_local char open_error[JOURNAL_ERROR_BYTES];

static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct blotter_producer *kept; /* closed handles, under kept_mutex */

/* --- submitting
 * -----------------------------------------------------------------------------------------------------------
 */

static __attribute__((noinline, cold)) int64_t refuse(blotter_producer *producer,
                                                      const struct record_problem *problem)
{
    last_problem = *problem;
    atomic_fetch_add_explicit(&producer->invalid, 1, memory_order_relaxed); /* a counter */
    return problem->fault == RECORD_FAULT_TOO_LONG && problem->field == NULL ? BLOTTER_TOO_LONG
                                                                             : BLOTTER_INVALID;
}

/* The record is good, but values of it are in `extra`: counted, and told by blotter_problem. */
static __attribute__((noinline, cold)) void note_misplaced(blotter_producer *producer,
                                                           const struct record_problem *problem)
{
    last_problem = *problem;
    atomic_fetch_add_explicit(&producer->misplaced, problem->misplaced,
                              memory_order_relaxed); /* a counter */
}

static bool enter(blotter_producer *producer)
{
    /* seq_cst, both here and in close: either we see `closed`, or close sees us inside */
    atomic_fetch_add(&producer->inside, 1);
    if (!atomic_load(&producer->closed)) {
        return true;
    }
    atomic_fetch_sub(&producer->inside, 1);
    return false;
}

static void leave(blotter_producer *producer)
{
    atomic_fetch_sub(&producer->inside, 1);
}

static __attribute__((noinline)) void wake(blotter_producer *producer)
{
    if (!enter(producer)) {
        return;
    }
    sender_wake(producer->sender);
    leave(producer);
}

static inline __attribute__((always_inline)) int64_t submit_into(blotter_producer *producer,
                                                                 enum record_kind kind,
                                                                 const void *record,
                                                                 unsigned char *body)
{
    struct journal *journal = producer->journal;
    struct record_problem problem;
    unsigned fields;
    int length = record_encode(kind, record, body, journal->body_capacity, &fields, &problem);
    if (__builtin_expect(length < 0, 0)) {
        return refuse(producer, &problem);
    }
    if (__builtin_expect(problem.misplaced > 0, 0)) {
        note_misplaced(producer, &problem);
    }
    int64_t seq = journal_append(journal, kind, body, (uint32_t)length, fields);
    if (producer->wake && seq > 0) {
        wake(producer);
    }
    return seq;
}

/* Of its own, so that the stack of a strategy's thread is asked for 64 KiB only where slots are
 * that large. */
static __attribute__((noinline)) int64_t submit_large(blotter_producer *producer,
                                                      enum record_kind kind, const void *record)
{
    unsigned char body[LIMIT_RECORD_BYTES];
    return submit_into(producer, kind, record, body);
}

static inline __attribute__((always_inline)) int64_t
submit_untimed(blotter_producer *producer, enum record_kind kind, const void *record)
{
    unsigned char body[BODY_BYTES_SMALL];
    if (__builtin_expect(producer->journal->body_capacity > sizeof body, 0)) {
        return submit_large(producer, kind, record);
    }
    return submit_into(producer, kind, record, body);
}

static __attribute__((noinline)) int64_t submit_timed(blotter_producer *producer,
                                                      enum record_kind kind, const void *record)
{
    int64_t begin_ns = journal_clock_now(&producer->journal->clock);
    int64_t seq = submit_untimed(producer, kind, record);
    if (seq > 0) {
        histogram_add(&producer->submit_ns, journal_clock_now(&producer->journal->clock) - begin_ns);
    }
    return seq;
}

static inline __attribute__((always_inline)) int64_t
submit(blotter_producer *producer, enum record_kind kind, const void *record)
{
    if (__builtin_expect(journal_forked(producer->journal), 0)) {
        return BLOTTER_FORKED;
    }
    if (__builtin_expect(journal_next(producer->journal) % SUBMITS_PER_SAMPLE == 0, 0)) {
        return submit_timed(producer, kind, record);
    }
    return submit_untimed(producer, kind, record);
}

BLOTTER_PUBLIC int64_t blotter_order(blotter_producer *producer, const struct blotter_order *order)
{
    return submit(producer, RECORD_ORDER, order);
}

BLOTTER_PUBLIC int64_t blotter_trade(blotter_producer *producer, const struct blotter_trade *trade)
{
    return submit(producer, RECORD_TRADE, trade);
}

BLOTTER_PUBLIC int64_t blotter_cash(blotter_producer *producer, const struct blotter_cash *cash)
{
    return submit(producer, RECORD_CASH, cash);
}

BLOTTER_PUBLIC int64_t blotter_balance(blotter_producer *producer,
                                       const struct blotter_balance *balance)
{
    return submit(producer, RECORD_BALANCE, balance);
}

BLOTTER_PUBLIC int64_t blotter_position(blotter_producer *producer,
                                        const struct blotter_position *position)
{
    return submit(producer, RECORD_POSITION, position);
}

BLOTTER_PUBLIC int64_t blotter_instrument(blotter_producer *producer,
                                          const struct blotter_instrument *instrument)
{
    return submit(producer, RECORD_INSTRUMENT, instrument);
}

BLOTTER_PUBLIC int64_t blotter_reject(blotter_producer *producer,
                                      const struct blotter_reject *reject)
{
    return submit(producer, RECORD_REJECT, reject);
}

BLOTTER_PUBLIC const char *blotter_problem(void)
{
    const struct record_problem *problem = &last_problem;
    if (problem->fault == RECORD_FAULT_NONE) {
        return "";
    }
    snprintf(problem_text, sizeof problem_text, "%s: %s",
             problem->field != NULL ? problem->field : "the record",
             record_fault_text(problem->fault));
    return problem_text;
}

_Static_assert(BLOTTER_DECIMAL_BYTES >= LIMIT_DECIMAL_BYTES &&
                   LIMIT_DECIMAL_BYTES > LIMIT_DECIMAL_DIGITS + 2,
               "and a NUL");

BLOTTER_PUBLIC int blotter_decimal(double value, char out[BLOTTER_DECIMAL_BYTES])
{
    int length = decimal_from_double(value, out);
    out[length < 0 ? 0 : length] = 0;
    return length < 0 ? BLOTTER_INVALID : length;
}

_Static_assert((int)BLOTTER_DOUBLE_BYTES == (int)RECORD_DOUBLE_BYTES, "one size");

BLOTTER_PUBLIC const char *blotter_double(double value, char out[BLOTTER_DOUBLE_BYTES])
{
    return record_double(value, out);
}

/* --- opening
 * --------------------------------------------------------------------------------------------------------------
 */

static int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(open_error, sizeof open_error, format, args);
    va_end(args);
    return status;
}

BLOTTER_PUBLIC const char *blotter_open_error(void)
{
    return open_error;
}

static int check_options(const struct blotter_options *options)
{
    const char *exchange = options->exchange, *lane = options->lane;
    if (exchange == NULL || !stream_name_part_valid(exchange, strlen(exchange))) {
        return fail(BLOTTER_OPTION, "exchange: %.64s: 1 to %d of a-z 0-9 . _ - are allowed",
                    exchange != NULL ? exchange : "(none)", LIMIT_EXCHANGE_BYTES);
    }
    if (lane != NULL && !stream_name_part_valid(lane, strlen(lane))) {
        return fail(BLOTTER_OPTION, "lane: %.64s: 1 to %d of a-z 0-9 . _ - are allowed", lane,
                    LIMIT_EXCHANGE_BYTES);
    }
    if (options->sender != BLOTTER_SENDER_THREAD && options->sender != BLOTTER_SENDER_LOOP &&
        options->sender != BLOTTER_SENDER_NONE) {
        return fail(BLOTTER_OPTION, "sender: %d: thread, loop or none (0, 1, 2) are allowed",
                    (int)options->sender);
    }
    if (options->sender == BLOTTER_SENDER_LOOP && options->event_base == NULL) {
        return fail(BLOTTER_OPTION, "event_base: missing, sender is loop");
    }
    if (options->sync != BLOTTER_SYNC_NONE && options->sync != BLOTTER_SYNC_INTERVAL) {
        return fail(BLOTTER_OPTION, "sync: %d: none or interval (0, 1) are allowed",
                    (int)options->sync);
    }
    return 0;
}

static const char *or_environment(const char *given, const char *name, const char *otherwise)
{
    const char *value = given != NULL ? given : getenv(name);
    return value != NULL && *value ? value : otherwise;
}

static int open_journal(blotter_producer *producer, const struct blotter_options *options)
{
    struct journal_options wanted = {
        .exchange = options->exchange,
        .lane = options->lane,
        .slots = options->slots,
        .slot_bytes = options->slot_bytes,
        .write = true,
        .send = options->sender != BLOTTER_SENDER_NONE,
        .create = true,
    };
    char folder[JOURNAL_PATH_BYTES];
    const char *path = or_environment(options->journal, "BLOTTER_JOURNAL", NULL);
    wanted.patient = path != NULL && !journal_is_folder(path);
    if (wanted.patient) {
        return journal_open(&producer->journal, path, &wanted, open_error);
    }
    int status = path != NULL ? 0 : journal_default_folder(folder, open_error);
    if (status != 0) {
        return status;
    }
    return journal_open_in_folder(&producer->journal, path != NULL ? path : folder, &wanted,
                                  open_error);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

static void *thread_main(void *arg)
{
    blotter_producer *producer = arg;
    pthread_setname_np(pthread_self(), "blotter-sender");
    event_base_dispatch(producer->base);
    return NULL;
}

static int make_base(blotter_producer *producer)
{
    struct event_config *config = event_config_new();
    if (config != NULL) {
        /* libevent's own locks are not needed: other threads only write to eventfds. Precise: polls
         * are 1 ms apart */
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
        producer->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    producer->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (producer->base != NULL && producer->stop_fd >= 0) {
        producer->stop =
            event_new(producer->base, producer->stop_fd, EV_READ, on_stop, producer->base);
    }
    if (producer->stop == NULL || event_add(producer->stop, NULL) != 0) {
        return fail(BLOTTER_SYSTEM, "the sender's event loop: out of memory or descriptors");
    }
    return 0;
}

/* All signals blocked: SIGPIPE, which hiredis' writes would raise, and the program's handlers,
 * which do not know the thread. */
static int start_thread(blotter_producer *producer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&producer->thread, NULL, thread_main, producer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? fail(BLOTTER_SYSTEM, "the sender's thread: %s", strerror(error)) : 0;
}

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given ? given : otherwise;
}

static int start_sender(blotter_producer *producer, const struct blotter_options *options)
{
    if (options->sender == BLOTTER_SENDER_NONE) {
        return 0;
    }
    int status = options->sender == BLOTTER_SENDER_THREAD ? make_base(producer) : 0;
    if (status != 0) {
        return status;
    }
    if (options->sender == BLOTTER_SENDER_LOOP) {
        producer->base = options->event_base;
    }
    struct sender_options wanted = {
        .base = producer->base,
        .journal = producer->journal,
        .redis = or_environment(options->redis, "BLOTTER_REDIS", DEFAULT_REDIS),
        .password = or_environment(options->redis_password, "BLOTTER_REDIS_PASSWORD", NULL),
        .poll_interval_us =
            options->wake ? 0 : or_default(options->poll_interval_us, POLL_INTERVAL_US),
        .sync_interval_ms = options->sync == BLOTTER_SYNC_INTERVAL
                                ? or_default(options->sync_interval_ms, SYNC_INTERVAL_MS)
                                : 0,
        .on_event = options->on_event,
        .on_event_arg = options->on_event_arg,
    };
    producer->sender = sender_create(&wanted, open_error, sizeof open_error);
    if (producer->sender == NULL) {
        return BLOTTER_OPTION;
    }
    producer->wake = options->wake != 0;
    return options->sender == BLOTTER_SENDER_THREAD ? start_thread(producer) : 0;
}

/* Everything but the handle itself and the journal. */
static void release_sender(blotter_producer *producer)
{
    sender_destroy(producer->sender);
    producer->sender = NULL;
    if (producer->stop != NULL) {
        event_free(producer->stop);
    }
    if (producer->stop_fd >= 0) {
        close(producer->stop_fd);
    }
    if (producer->kind == BLOTTER_SENDER_THREAD && producer->base != NULL) {
        event_base_free(producer->base);
    }
}

BLOTTER_PUBLIC int blotter_open(blotter_producer **out, const struct blotter_options *options)
{
    *out = NULL;
    *open_error = 0;
    int status = check_options(options);
    if (status != 0) {
        return status;
    }
    blotter_producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL) {
        return fail(BLOTTER_SYSTEM, "out of memory");
    }
    producer->stop_fd = -1;
    producer->kind = options->sender;
    status = open_journal(producer, options);
    uint64_t damaged = status == 0 ? producer->journal->found.damaged : 0;
    if (status == 0) {
        status = start_sender(producer, options);
    }
    if (status == 0) {
        if (damaged) {
            fail(0, "%s: %llu records were damaged and are lost", producer->journal->path,
                 (unsigned long long)damaged);
        }
        *out = producer;
        return 0;
    }
    release_sender(producer);
    if (producer->journal != NULL) {
        journal_close_writing(producer->journal);
        journal_release(producer->journal);
    }
    free(producer);
    return status;
}

/* --- waiting and looking
 * --------------------------------------------------------------------------------------------------
 */

static int wait_for(blotter_producer *producer, uint64_t position, enum blotter_stage stage,
                    int timeout_ms)
{
    if (journal_forked(producer->journal)) {
        return BLOTTER_FORKED;
    }
    if (producer->kind == BLOTTER_SENDER_NONE) {
        return BLOTTER_NO_SENDER;
    }
    if (!enter(producer)) {
        return BLOTTER_CLOSED;
    }
    int status = sender_wait(producer->sender, position, stage, timeout_ms);
    leave(producer);
    return status;
}

BLOTTER_PUBLIC int blotter_wait(blotter_producer *producer, int64_t seq, enum blotter_stage stage,
                                int timeout_ms)
{
    return wait_for(producer, producer->journal->base + (uint64_t)(seq > 0 ? seq : 0), stage,
                    timeout_ms);
}

BLOTTER_PUBLIC int blotter_flush(blotter_producer *producer, enum blotter_stage stage,
                                 int timeout_ms)
{
    if (journal_forked(producer->journal)) {
        return BLOTTER_FORKED;
    }
    if (!enter(producer)) { /* the journal's header may be gone else */
        return BLOTTER_CLOSED;
    }
    uint64_t last = journal_next(producer->journal) - 1;
    leave(producer);
    return wait_for(producer, last, stage, timeout_ms);
}

BLOTTER_PUBLIC int blotter_notify(blotter_producer *producer, int fd, enum blotter_stage stage,
                                  int64_t seq)
{
    if (journal_forked(producer->journal)) {
        return BLOTTER_FORKED;
    }
    if (producer->kind == BLOTTER_SENDER_NONE) {
        return BLOTTER_NO_SENDER;
    }
    if (!enter(producer)) {
        return BLOTTER_CLOSED;
    }
    int status = BLOTTER_OK;
    if (seq > 0) {
        status =
            sender_notify(producer->sender, fd, stage, producer->journal->base + (uint64_t)seq);
    } else {
        sender_withdraw(producer->sender, fd, stage);
    }
    leave(producer);
    return status;
}

/* How many of this producer's records lie below a cursor. */
static int64_t seq_below(const struct journal *journal, uint64_t position)
{
    return position > journal->base + 1 ? (int64_t)(position - 1 - journal->base) : 0;
}

static void fill_stats(blotter_producer *producer, struct blotter_stats *stats)
{
    struct journal *journal = producer->journal;
    const struct journal_header *header = journal->header;
    uint64_t floor = journal_cursor(&header->floor), committed = journal_cursor(&header->committed);
    uint64_t sent = journal_cursor(&header->sent), next = journal_next(journal);
    stats->producer_id = journal->producer_id;
    stats->accepted = seq_below(journal, next);
    stats->sent = seq_below(journal, sent);
    stats->committed = seq_below(journal, committed);
    stats->held = (int64_t)(next - floor);
    stats->slots = journal->slots;
    stats->full =
        (int64_t)atomic_load_explicit(&journal->full, memory_order_relaxed); /* counters */
    stats->misplaced = atomic_load_explicit(&producer->misplaced, memory_order_relaxed);
    stats->invalid = atomic_load_explicit(&producer->invalid, memory_order_relaxed);
    snprintf(stats->journal, sizeof stats->journal, "%s", journal->path);
    histogram_copy(&producer->submit_ns, &stats->submit_ns);
    if (producer->sender != NULL) {
        sender_stats(producer->sender, stats);
    }
}

BLOTTER_PUBLIC int blotter_stats(blotter_producer *producer, struct blotter_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    if (journal_forked(producer->journal)) {
        return BLOTTER_FORKED;
    }
    if (!enter(producer)) {
        return BLOTTER_CLOSED;
    }
    fill_stats(producer, stats);
    leave(producer);
    return BLOTTER_OK;
}

/* --- closing
 * --------------------------------------------------------------------------------------------------------------
 */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* In the caller's loop nobody else runs it while we wait; where close was called from one of its
 * callbacks libevent refuses to run it again, and we do not wait. */
static void wait_in_loop(blotter_producer *producer, uint64_t last, enum blotter_stage stage,
                         int64_t until_ms)
{
    sender_hurry(producer->sender, true);
    while (sender_wait(producer->sender, last, stage, 0) == BLOTTER_TIMEOUT &&
           now_ms() < until_ms) {
        if (event_base_loop(producer->base, EVLOOP_NONBLOCK) < 0) {
            break;
        }
        usleep(200);
    }
    sender_hurry(producer->sender, false);
}

static void wait_until(blotter_producer *producer, uint64_t last, enum blotter_stage stage,
                       int64_t until_ms)
{
    int64_t left = until_ms - now_ms();
    if (producer->kind == BLOTTER_SENDER_LOOP) {
        wait_in_loop(producer, last, stage, until_ms);
    } else {
        sender_wait(producer->sender, last, stage, left > 0 ? (int)left : 0);
    }
}

static void finish_sending(blotter_producer *producer, int64_t until)
{
    uint64_t last = journal_next(producer->journal) - 1;
    if (until == FOR_EVER_MS && producer->kind == BLOTTER_SENDER_THREAD) {
        sender_wait(producer->sender, last, BLOTTER_SENT, -1);
    } else {
        wait_until(producer, last, BLOTTER_SENT, until);
    }
    if (sender_wait(producer->sender, last, BLOTTER_SENT, 0) != BLOTTER_OK) {
        return;
    }
    int64_t grace = now_ms() + CLOSE_GRACE_MS;
    wait_until(producer, last, BLOTTER_COMMITTED, grace < until ? grace : until);
}

/* There was no room for `closed`: there is when the drainer's word for the oldest record has come.
 */
static void write_late_closed(blotter_producer *producer, int64_t until)
{
    struct journal *journal = producer->journal;
    int64_t limit = now_ms() + CLOSE_ROOM_MS;
    bool closed = false;
    if (limit > until) {
        limit = until;
    }
    wait_until(producer, journal_cursor(&journal->header->floor), BLOTTER_COMMITTED, limit);
    while (!(closed = journal_close_writing(journal)) && now_ms() < limit) {
        usleep(1000); /* the sender has told us before it makes the room */
    }
    if (closed) {
        finish_sending(producer, until);
    }
}

static void stop_thread(blotter_producer *producer)
{
    uint64_t one = 1;
    while (write(producer->stop_fd, &one, sizeof one) < 0)
        ; /* only if interrupted */
    pthread_join(producer->thread, NULL);
}

static void keep(blotter_producer *producer)
{
    pthread_mutex_lock(&kept_mutex);
    producer->next_kept = kept;
    kept = producer;
    pthread_mutex_unlock(&kept_mutex);
}

BLOTTER_PUBLIC int64_t blotter_close(blotter_producer *producer, int timeout_ms)
{
    struct journal *journal = producer->journal;
    if (journal_forked(journal)) {
        journal_release(journal);
        free(producer); /* threads, sockets and the rest are the parent's */
        return BLOTTER_FORKED;
    }
    int64_t until = timeout_ms < 0 ? FOR_EVER_MS : now_ms() + timeout_ms;
    bool closed = journal_close_writing(journal);
    if (producer->sender != NULL) {
        finish_sending(producer, until);
        if (!closed && journal_next(journal) > journal->base + 1) {
            write_late_closed(producer, until);
        }
    }
    atomic_store(&producer->closed, true); /* seq_cst: see enter */
    if (producer->sender != NULL) {
        sender_release_waiters(producer->sender);
    }
    while (atomic_load(&producer->inside) > 0) {
        usleep(50);
    }
    if (producer->kind == BLOTTER_SENDER_THREAD) {
        stop_thread(producer);
    }
    release_sender(producer);
    int64_t unsent = (int64_t)(journal_next(journal) - journal_cursor(&journal->header->sent));
    journal_release(journal);
    keep(producer);
    return unsent;
}
