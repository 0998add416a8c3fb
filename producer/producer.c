/* producer.c: the public functions beside those that record: open, wait, look, close. The handle
 * and its life: producer.h. */
#include "producer/producer.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/journal_open.h"
#include "producer/leftovers.h"
#include "producer/producer_loop.h"
#include "producer/redis_url.h"
#include "producer/sender.h"
#include "schema/clock.h"
#include "schema/stream.h"

#define DEFAULT_REDIS "redis://127.0.0.1:6379"

static const int64_t FOR_EVER_MS = INT64_MAX / 2;

enum {
    POLL_INTERVAL_US = 1000,
    SYNC_INTERVAL_MS = 100,
    CLOSE_ROOM_MS = 2000, /* how long close waits for room for `closed` in a full journal */
    CLOSE_GRACE_MS =
        200, /* and for the confirmation of the last records, so that no journal stays */
};

static _Thread_local char open_error[JOURNAL_ERROR_BYTES];

/* --- threads inside --- */

bool producer_enter(blotter_producer *producer, int *cancel_state)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancel_state);
    /* seq_cst, both here and in close: either we see it closed, or close sees us inside */
    atomic_fetch_add(&producer->inside, 1);
    if (atomic_load(&producer->open)) {
        return true;
    }
    producer_leave(producer, *cancel_state);
    return false;
}

void producer_leave(blotter_producer *producer, int cancel_state)
{
    atomic_fetch_sub(&producer->inside, 1);
    pthread_setcancelstate(cancel_state, NULL);
}

static void leave_when_cancelled(void *producer)
{
    atomic_fetch_sub(&((blotter_producer *)producer)->inside, 1);
}

/* --- opening --- */

static int open_failed(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int open_failed(int status, const char *format, ...)
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

static int producer_check_options(const struct blotter_options *options)
{
    const char *exchange = options->exchange, *lane = options->lane;
    if (exchange == NULL || !stream_name_part_valid(exchange, strlen(exchange))) {
        return open_failed(BLOTTER_OPTION, "exchange: %.64s: 1 to %d of a-z 0-9 . _ - are allowed",
                           exchange != NULL ? exchange : "(none)", LIMIT_EXCHANGE_BYTES);
    }
    if (lane != NULL && !stream_name_part_valid(lane, strlen(lane))) {
        return open_failed(BLOTTER_OPTION, "lane: %.64s: 1 to %d of a-z 0-9 . _ - are allowed",
                           lane, LIMIT_EXCHANGE_BYTES);
    }
    if (options->sender != BLOTTER_SENDER_THREAD && options->sender != BLOTTER_SENDER_LOOP &&
        options->sender != BLOTTER_SENDER_NONE) {
        return open_failed(BLOTTER_OPTION, "sender: %d: thread, loop or none (0, 1, 2) are allowed",
                           (int)options->sender);
    }
    if (options->sender == BLOTTER_SENDER_LOOP && options->event_base == NULL) {
        return open_failed(BLOTTER_OPTION, "event_base: missing, sender is loop");
    }
    if (options->sync != BLOTTER_SYNC_NONE && options->sync != BLOTTER_SYNC_INTERVAL) {
        return open_failed(BLOTTER_OPTION, "sync: %d: none or interval (0, 1) are allowed",
                           (int)options->sync);
    }
    return 0;
}

static const char *or_environment(const char *given, const char *name, const char *otherwise)
{
    const char *value = given != NULL ? given : getenv(name);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given != 0 ? given : otherwise;
}

/* The state of an opening, beside its options. */
struct opening {
    blotter_producer *producer;
    const struct blotter_options *options;
    const char *redis, *password;  /* NULL redis: none */
    char place[JOURNAL_URL_BYTES]; /* the URL without credentials */
    struct journal_others others;
    int status;
};

static int find_redis(struct opening *opening)
{
    const struct blotter_options *options = opening->options;
    if (options->sender == BLOTTER_SENDER_NONE) {
        return 0;
    }
    opening->redis = or_environment(options->redis, "BLOTTER_REDIS", DEFAULT_REDIS);
    opening->password = or_environment(options->redis_password, "BLOTTER_REDIS_PASSWORD", NULL);
    struct redis_url *url = malloc(sizeof *url);
    if (url == NULL) {
        return open_failed(BLOTTER_SYSTEM, "out of memory");
    }
    int status = BLOTTER_OPTION;
    if (redis_url_parse(url, opening->redis, open_error, sizeof open_error) == 0) {
        snprintf(opening->place, sizeof opening->place, "%s", url->place);
        status = 0;
    }
    free(url);
    return status;
}

static int open_journal(struct opening *opening, struct journal **journal)
{
    const struct blotter_options *options = opening->options;
    struct journal_options wanted = {
        .exchange = options->exchange,
        .lane = options->lane,
        .slots = options->slots,
        .slot_bytes = options->slot_bytes,
        .write = true,
        .send = options->sender != BLOTTER_SENDER_NONE,
        .create = true,
        .url = opening->redis != NULL ? opening->place : NULL,
        .others = &opening->others,
    };
    char folder[JOURNAL_PATH_BYTES];
    const char *path = or_environment(options->journal, "BLOTTER_JOURNAL", NULL);
    wanted.patient = path != NULL && !journal_is_folder(path);
    if (wanted.patient) {
        return journal_open(journal, path, &wanted, open_error);
    }
    int status = path != NULL ? 0 : journal_default_folder(folder, open_error);
    if (status != 0) {
        return status;
    }
    return journal_open_in_folder(journal, path != NULL ? path : folder, &wanted, open_error);
}

static void producer_fill_stats(blotter_producer *, struct blotter_stats *);

static void producer_on_heartbeat(void *arg, struct blotter_stats *stats)
{
    producer_fill_stats(arg, stats);
}

/* Runs in the sender's thread. */
static void start_sender(void *arg)
{
    struct opening *opening = arg;
    blotter_producer *producer = opening->producer;
    const struct blotter_options *options = opening->options;
    struct sender_options wanted = {
        .base = producer->base,
        .journal = &producer->journal,
        .redis = opening->redis,
        .password = opening->password,
        .poll_interval_us =
            options->wake != 0 ? 0 : or_default(options->poll_interval_us, POLL_INTERVAL_US),
        .sync_interval_ms = options->sync == BLOTTER_SYNC_INTERVAL
                                ? or_default(options->sync_interval_ms, SYNC_INTERVAL_MS)
                                : 0,
        .on_event = options->on_event,
        .on_event_arg = options->on_event_arg,
        .fill_stats = producer_on_heartbeat,
        .fill_stats_arg = producer,
    };
    opening->status = sender_create(&producer->sender, &wanted, open_error, sizeof open_error);
    if (opening->status == 0 && opening->others.count > 0) {
        producer->leftovers = leftovers_create(&wanted, &opening->others);
    }
}

/* The thread that runs the base has an open_error of its own. */
struct loop_opening {
    struct opening *opening;
    char error[JOURNAL_ERROR_BYTES];
};

static void start_sender_in_loop(void *arg)
{
    struct loop_opening *in_loop = arg;
    start_sender(in_loop->opening);
    memcpy(in_loop->error, open_error, sizeof in_loop->error);
}

static int start_sending(struct opening *opening)
{
    blotter_producer *producer = opening->producer;
    struct loop_opening in_loop = {.opening = opening};
    if (producer->kind == BLOTTER_SENDER_NONE) {
        return 0;
    }
    if (producer->kind == BLOTTER_SENDER_LOOP) {
        producer->base = opening->options->event_base;
        start_sender(opening);
    } else {
        producer->loop = producer_loop_take(open_error);
        if (producer->loop == NULL) {
            return BLOTTER_SYSTEM;
        }
        producer->base = producer_loop_base(producer->loop);
        producer_loop_call(producer->loop, start_sender_in_loop, &in_loop);
        memcpy(open_error, in_loop.error, sizeof open_error);
    }
    producer->wake = opening->options->wake != 0;
    return opening->status;
}

static void destroy_sender(void *arg)
{
    blotter_producer *producer = arg;
    leftovers_destroy(producer->leftovers);
    sender_destroy(producer->sender);
    producer->leftovers = NULL;
    producer->sender = NULL;
}

static void release_sender(blotter_producer *producer)
{
    if (producer->loop != NULL) {
        producer_loop_call(producer->loop, destroy_sender, producer);
        producer_loop_give(producer->loop);
        producer->loop = NULL;
    } else {
        destroy_sender(producer);
    }
}

static int producer_open_parts(struct opening *opening)
{
    struct journal *journal;
    int status = find_redis(opening);
    if (status == 0) {
        status = open_journal(opening, &journal);
    }
    if (status != 0) {
        return status;
    }
    opening->producer = (blotter_producer *)journal;
    opening->producer->kind = opening->options->sender;
    atomic_store(&opening->producer->open, true);
    uint64_t damaged = journal->found.damaged;
    status = start_sending(opening);
    if (status == 0 && damaged > 0) {
        open_failed(0, "%s: %llu records were damaged and are lost", journal->path,
                    (unsigned long long)damaged);
    }
    return status;
}

static int producer_open_producer(blotter_producer **out, const struct blotter_options *options)
{
    *open_error = '\0';
    int status = producer_check_options(options);
    if (status != 0) {
        return status;
    }
    struct opening opening = {.options = options};
    status = producer_open_parts(&opening);
    if (status == 0) {
        *out = opening.producer;
    } else if (opening.producer != NULL) {
        release_sender(opening.producer);
        journal_close_writing(&opening.producer->journal);
        journal_release(&opening.producer->journal);
    }
    return status;
}

BLOTTER_PUBLIC int blotter_open(blotter_producer **out, const struct blotter_options *options)
{
    int cancel_state;
    *out = NULL;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    int status = producer_open_producer(out, options);
    pthread_setcancelstate(cancel_state, NULL);
    return status;
}

/* --- waiting and looking --- */

/* Enters to ask the sender. Not OK: there is none to ask, and nothing to leave. */
static int enter_to_ask(blotter_producer *producer, int *cancel_state)
{
    int state = journal_state(&producer->journal);
    if (state != BLOTTER_OK) {
        return state;
    }
    if (producer->kind == BLOTTER_SENDER_NONE) {
        return BLOTTER_NO_SENDER;
    }
    return producer_enter(producer, cancel_state) ? BLOTTER_OK : BLOTTER_CLOSED;
}

static int producer_wait_for(blotter_producer *producer, uint64_t position,
                             enum blotter_stage stage, int timeout_ms)
{
    int cancel_state, status = enter_to_ask(producer, &cancel_state);
    if (status != BLOTTER_OK) {
        return status;
    }
    pthread_cleanup_push(leave_when_cancelled, producer);
    status = sender_wait(producer->sender, position, stage, timeout_ms, cancel_state);
    pthread_cleanup_pop(0);
    producer_leave(producer, cancel_state);
    return status;
}

BLOTTER_PUBLIC int blotter_wait(blotter_producer *producer, int64_t seq, enum blotter_stage stage,
                                int timeout_ms)
{
    return producer_wait_for(producer, producer->journal.base + (uint64_t)(seq > 0 ? seq : 0),
                             stage, timeout_ms);
}

BLOTTER_PUBLIC int blotter_flush(blotter_producer *producer, enum blotter_stage stage,
                                 int timeout_ms)
{
    int cancel_state, state = journal_state(&producer->journal);
    if (state != BLOTTER_OK) {
        return state;
    }
    if (!producer_enter(producer, &cancel_state)) { /* else the journal's header may be gone */
        return BLOTTER_CLOSED;
    }
    uint64_t last = journal_next(&producer->journal) - 1;
    producer_leave(producer, cancel_state);
    return producer_wait_for(producer, last, stage, timeout_ms);
}

BLOTTER_PUBLIC int blotter_notify(blotter_producer *producer, int fd, enum blotter_stage stage,
                                  int64_t seq)
{
    int cancel_state, status = enter_to_ask(producer, &cancel_state);
    if (status != BLOTTER_OK) {
        return status;
    }
    if (seq > 0) {
        status = sender_notify(producer->sender, fd, stage, producer->journal.base + (uint64_t)seq);
    } else {
        sender_withdraw(producer->sender, fd, stage);
    }
    producer_leave(producer, cancel_state);
    return status;
}

/* Counts this producer's records below a cursor. */
static int64_t seq_below(const struct journal *journal, uint64_t position)
{
    return position > journal->base + 1 ? (int64_t)(position - 1 - journal->base) : 0;
}

static void producer_fill_stats(blotter_producer *producer, struct blotter_stats *stats)
{
    struct journal *journal = &producer->journal;
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
    snprintf(stats->journal, sizeof stats->journal, "%.255s", journal->path);
    histogram_copy(&producer->submit_ns, &stats->submit_ns);
    if (producer->sender != NULL) {
        sender_stats(producer->sender, stats);
        stats->left_alone += leftovers_left_alone(producer->leftovers);
    }
}

BLOTTER_PUBLIC int blotter_stats(blotter_producer *producer, struct blotter_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    int cancel_state, state = journal_state(&producer->journal);
    if (state != BLOTTER_OK) {
        return state;
    }
    if (!producer_enter(producer, &cancel_state)) {
        return BLOTTER_CLOSED;
    }
    producer_fill_stats(producer, stats);
    producer_leave(producer, cancel_state);
    return BLOTTER_OK;
}

/* --- closing --- */

/* Runs the caller's loop, which no other thread does while we wait. Where close was called from one
 * of its callbacks libevent refuses to run it again, and we do not wait. */
static void wait_in_loop(blotter_producer *producer, uint64_t last, enum blotter_stage stage,
                         int64_t until_ms)
{
    sender_hurry(producer->sender, true);
    while (sender_wait(producer->sender, last, stage, 0, PTHREAD_CANCEL_DISABLE) ==
               BLOTTER_TIMEOUT &&
           clock_monotonic_ms() < until_ms) {
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
    int64_t left = until_ms - clock_monotonic_ms();
    if (producer->kind == BLOTTER_SENDER_LOOP) {
        wait_in_loop(producer, last, stage, until_ms);
    } else {
        sender_wait(producer->sender, last, stage, left > 0 ? (int)left : 0,
                    PTHREAD_CANCEL_DISABLE);
    }
}

static void finish_sending(blotter_producer *producer, int64_t until)
{
    uint64_t last = journal_next(&producer->journal) - 1;
    if (until == FOR_EVER_MS && producer->kind == BLOTTER_SENDER_THREAD) {
        sender_wait(producer->sender, last, BLOTTER_SENT, -1, PTHREAD_CANCEL_DISABLE);
    } else {
        wait_until(producer, last, BLOTTER_SENT, until);
    }
    if (sender_wait(producer->sender, last, BLOTTER_SENT, 0, PTHREAD_CANCEL_DISABLE) !=
        BLOTTER_OK) {
        return;
    }
    int64_t grace = clock_monotonic_ms() + CLOSE_GRACE_MS;
    wait_until(producer, last, BLOTTER_COMMITTED, grace < until ? grace : until);
}

/* Writes `closed`, for which there was no room, when the oldest record is confirmed. */
static void write_late_closed(blotter_producer *producer, int64_t until)
{
    struct journal *journal = &producer->journal;
    int64_t limit = clock_monotonic_ms() + CLOSE_ROOM_MS;
    bool closed = false;
    if (limit > until) {
        limit = until;
    }
    wait_until(producer, journal_cursor(&journal->header->floor), BLOTTER_COMMITTED, limit);
    while (!(closed = journal_close_writing(journal)) && clock_monotonic_ms() < limit) {
        usleep(1000); /* the sender has told us before it makes the room */
    }
    if (closed) {
        finish_sending(producer, until);
    }
}

/* Returns how many records are not sent. */
static int64_t close_producer(blotter_producer *producer, int timeout_ms)
{
    struct journal *journal = &producer->journal;
    int64_t until = timeout_ms < 0 ? FOR_EVER_MS : clock_monotonic_ms() + timeout_ms;
    bool closed = journal_close_writing(journal);
    if (producer->sender != NULL) {
        finish_sending(producer, until);
        if (!closed && journal_next(journal) > journal->base + 1) {
            write_late_closed(producer, until);
        }
    }
    if (producer->sender != NULL) { /* first: who is told CLOSED may close its descriptors */
        sender_release_waiters(producer->sender);
    }
    atomic_store(&producer->open, false); /* seq_cst: see producer_enter */
    while (atomic_load(&producer->inside) > 0) {
        usleep(50);
    }
    release_sender(producer);
    int64_t unsent = (int64_t)(journal_next(journal) - journal_cursor(&journal->header->sent));
    journal_release(journal); /* and the handle with it */
    return unsent;
}

BLOTTER_PUBLIC int64_t blotter_close(blotter_producer *producer, int timeout_ms)
{
    int cancel_state, state = journal_state(&producer->journal);
    /* the second look: where another close was done meanwhile, `closing` is zero again */
    if (state == BLOTTER_CLOSED || atomic_exchange(&producer->closing, true) ||
        journal_state(&producer->journal) == BLOTTER_CLOSED) {
        return BLOTTER_CLOSED;
    }
    if (state == BLOTTER_FORKED) { /* threads, sockets and the rest are the parent's */
        journal_release(&producer->journal);
        return BLOTTER_FORKED;
    }
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    int64_t unsent = close_producer(producer, timeout_ms);
    pthread_setcancelstate(cancel_state, NULL);
    return unsent;
}
