/* booker.c: see booker.h.
 *
 * Where in the queue a booking looks: what was booked leaves dead rows behind until they are
 * vacuumed, so while rows keep coming a booking begins at the block where the last one ended. Only
 * a look from the first block on tells that the queue is empty, because PostgreSQL fills old blocks
 * again, and because another session's rows may become visible late. So a booking is told how many
 * records wait, and looks from the first block on if it finds fewer.
 *
 *     wake ──► from the last block ──as many as a booking takes──► from the last block ...
 *                     │
 *                     ├──fewer than were queued──► in the same booking from the first block, but
 *                     │                            not for most of the time
 *                     └──all──► wait; from the first block once a second, or at once when somebody
 *                               waits for the end
 *
 * Fills that come late make their positions be folded again from their hour on, which takes the
 * same time for one late fill as for thousands. So while bookings are slow, each takes more rows.
 *
 * Loading comes first. A booking takes a processor for longer than the load of the same rows, so
 * while large batches are committed, as from a backlog, it rests between bookings: what is in the
 * queue is in PostgreSQL, what is in Redis is not yet. Where that goes on, the books would fall
 * behind for ever: from half a minute on rests become shorter, after a minute there are none. */
#include "drainer/postgres/booker.h"

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/backoff.h"
#include "drainer/log.h"
#include "drainer/postgres/pg_link.h"
#include "drainer/postgres/pg_result.h"
#include "drainer/postgres/pg_session.h"
#include "drainer/postgres/sql_text.h"
#include "drainer/redis/streams.h"
#include "drainer/settings_table.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum {
    ROWS_MIN = 4000, /* of one booking, if so many wait: some 100 ms */
    ROWS_MAX = 64000,
    SLOW_MS = 1000, /* after a full booking of this time the next takes twice as many rows */
    TICK_MS = 1000,
    CONNECT_TIMEOUT_MS = 10000,
    BOOKING_TIMEOUT_MS = 3600000, /* an instrument that comes late may change years of fills */
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 5000,
    PAUSE_TIMES = 4, /* a pause takes so many times as long as the booking before it */
    PAUSE_MAX_MS = 12,
    EMPTY_ROWS = 1000, /* booked, until the temporary tables are emptied of dead rows */
    LOOK_PAUSE = 2,    /* times as long as the last look at all of the queue took, until the next */
    BURST_ROWS = 500,  /* of one commit, from which on bookings rest */
    REST_TIMES_MAX = 15, /* a rest takes so many times as long as the booking before it */
    REST_MAX_MS = 2000,
    REST_UNTIL_MS = 60000, /* books that are so far behind take what they need */
};

struct booker {
    struct booker_options options;
    struct pg_link *link;
    struct event *timer; /* the tick, or the wait before a retry */
    struct sql_text sql;
    bool running, waiting; /* waiting: before a retry */
    bool woken;            /* since the running, or the last, booking began */
    bool from_first;       /* the running, or the last, booking looks for others' rows, too */
    bool empty;            /* all of the queue was seen, and nothing was left */
    bool hurried;          /* somebody waits for the end */
    bool resting;          /* between two bookings */
    size_t burst;          /* rows of the newest commit since the running booking began */
    int64_t began_ms;      /* the running, or the last, booking */
    bool counted;          /* the queue was counted, as somebody waits for the end */
    bool looked;           /* the last booking looked at all of the queue */
    int64_t rows, records, last_block;
    int64_t unemptied; /* rows booked since the temporary tables were emptied of dead ones */
    int64_t rows_max;  /* of the running, or the next, booking */
    bool full;         /* the last booking took as many as it might */
    int64_t expected;  /* records queued here, or counted, and not booked yet, at least ... */
    int64_t meanwhile; /* ... and of these since the running booking began, at most */
    int64_t wake_ms, next_wake_ms;   /* of the oldest wake not served yet; 0: none */
    int64_t looked_ms, look_took_ms; /* when all of the queue was looked at last, how long */
    unsigned retry_ms;
    char trouble[sizeof((struct pg_failure *)0)->message + 32];
    struct booker_counters counters;
};

/* --- the statement --- */

/* Lists the exchanges of the streams held, which are sorted by name, so those of an exchange lie
 * together. Names of exchanges need no quoting. Returns whether there are any. */
static bool booker_add_exchanges(struct booker *booker)
{
    const struct streams *streams = booker->options.streams;
    const char *last = NULL;

    for (size_t i = 0; i < streams->count; i++) {
        const struct stream *stream = streams->all[i];

        if (!stream_is_held(stream) || (last != NULL && strcmp(last, stream->exchange) == 0)) {
            continue;
        }
        sql_text_add(&booker->sql, "%s%s", last == NULL ? "" : ",", stream->exchange);
        last = stream->exchange;
    }
    return last != NULL;
}

static void booker_on_rows(void *owner, const PGresult *result)
{
    struct booker *booker = owner;

    if (PQntuples(result) == 1 && PQnfields(result) == 6) {
        booker->rows = strtoll(pg_result_text(result, 0, 0), NULL, 10);
        booker->counters.set_aside += strtoull(pg_result_text(result, 0, 1), NULL, 10);
        booker->last_block = strtoll(pg_result_text(result, 0, 2), NULL, 10);
        booker->records = strtoll(pg_result_text(result, 0, 3), NULL, 10);
        booker->looked = pg_result_text(result, 0, 4)[0] == 't';
        if (!PQgetisnull(result, 0, 5)) {
            booker->counted = true;
            booker->expected = strtoll(pg_result_text(result, 0, 5), NULL, 10);
        }
    }
}

static void booker_next(struct booker *booker);

static void booker_on_failed(struct booker *booker, const struct pg_failure *failure)
{
    booker->counters.failures++;
    snprintf(booker->trouble, sizeof booker->trouble, "%s, SQLSTATE %s", failure->message,
             failure->sqlstate[0] == '\0' ? "none" : failure->sqlstate);
    log_warn("books", "not booked: %s: tried again", booker->trouble);
    if (strcmp(failure->sqlstate, "55P03") != 0) { /* another drainer books for so long */
        booker->rows_max = ROWS_MIN;
    }
    booker->resting = false; /* the timer is for the retry now */
    booker->waiting = true;
    booker->woken = true;
    timer_start(booker->timer, backoff_next_ms(&booker->retry_ms, RETRY_MIN_MS, RETRY_MAX_MS));
    if (failure->action == PG_ACTION_PERSON && !failure->connection_lost) {
        /* its temporary tables may be of before a migration */
        pg_link_reconnect(booker->link, failure->message);
    }
}

static void booker_on_emptied(void *owner, const struct pg_failure *failure)
{
    struct booker *booker = owner;

    if (failure != NULL) {
        booker_on_failed(booker, failure);
        return;
    }
    booker_next(booker);
}

/* Empties the temporary tables while nobody waits for a booking: their dead rows make bookings
 * slow, and to be rid of them takes as long as a few. */
static void booker_empty(struct booker *booker)
{
    booker->unemptied += booker->rows;
    if (!booker->resting || booker->unemptied < EMPTY_ROWS) {
        return;
    }
    booker->unemptied = 0;
    pg_link_run(booker->link, &(struct pg_command){.sql = "SELECT blotter_internal.empty_booking()",
                                                   .on_done = booker_on_emptied,
                                                   .owner = booker});
}

/* Waits before the next booking, which has a price of its own, so that what is committed within a
 * pause is booked together; longer while large batches are committed. */
static void booker_rest(struct booker *booker)
{
    int64_t booking_ms = clock_monotonic_ms() - booker->began_ms,
            ms = booker_rest_ms(booker->burst, booking_ms, booker_lag_ms(booker));

    if (booker->hurried) {
        return;
    }
    if (ms > 0) {
        booker->counters.rests++;
    } else if (booker->rows > 0 && !booker->full) {
        ms = booker_pause_ms(booking_ms);
        booker->counters.pauses++;
    } else {
        return;
    }
    booker->resting = true;
    timer_start(booker->timer, ms);
}

/* Notes what is left to book. What waited before a booking that has looked at all of the queue, and
 * was not found, was another drainer's to book. */
static void booker_note_rest(struct booker *booker)
{
    int64_t now = clock_monotonic_ms();

    booker->expected = booker->records < booker->expected ? booker->expected - booker->records : 0;
    if (booker->looked) {
        booker->looked_ms = now;
        booker->look_took_ms = now - booker->began_ms;
    }
    if (booker->full) {
        return;
    }
    if (booker->looked && booker->expected > booker->meanwhile) {
        booker->expected = booker->meanwhile;
    }
    if (booker->from_first) {
        booker->empty = !booker->woken;
    }
    if (booker->expected <= booker->meanwhile) {
        booker->wake_ms = booker->next_wake_ms;
    }
}

static void booker_on_booked(void *owner, const struct pg_failure *failure)
{
    struct booker *booker = owner;

    booker->running = false;
    if (failure != NULL) {
        booker_on_failed(booker, failure);
        return;
    }
    booker->retry_ms = 0;
    booker->trouble[0] = '\0';
    booker->counters.runs++;
    booker->counters.rows += (uint64_t)booker->rows;
    booker->full = booker->rows == booker->rows_max;
    booker->rows_max =
        booker_next_rows(booker->rows_max, booker->full, clock_monotonic_ms() - booker->began_ms);
    booker_note_rest(booker);
    booker_rest(booker);
    booker_empty(booker);
    booker_next(booker);
    booker->options.on_turn(booker->options.owner);
}

static void booker_run(struct booker *booker, bool from_first)
{
    bool may_look = clock_monotonic_ms() >= booker->looked_ms + LOOK_PAUSE * booker->look_took_ms;

    sql_text_clear(&booker->sql);
    sql_text_add(&booker->sql, "SELECT booked, set_aside, last_block, records, looked, ");
    if (booker->hurried && !booker->counted) {
        sql_text_add(&booker->sql, "(SELECT count(*) FROM blotter_internal.book_queue q "
                                   "WHERE q.kind <> 'h' AND q.exchange = ANY ('{");
        booker_add_exchanges(booker);
        sql_text_add(&booker->sql, "}'))");
    } else {
        sql_text_add(&booker->sql, "NULL");
    }
    sql_text_add(&booker->sql, " FROM blotter_internal.book('{");
    if (!booker_add_exchanges(booker)) { /* nothing is ours to book, what we have queued included */
        booker->empty = true;
        booker->woken = false;
        booker->expected = booker->wake_ms = booker->next_wake_ms = 0;
        return;
    }
    sql_text_add(&booker->sql, "}', %lld, %lld, %s, %lld)", (long long)booker->rows_max,
                 from_first ? 0LL : (long long)booker->last_block, from_first ? "true" : "false",
                 may_look ? (long long)booker->expected : 0LL);
    booker->running = true;
    booker->woken = false;
    booker->burst = 0;
    booker->began_ms = clock_monotonic_ms();
    booker->empty = false;
    booker->from_first = from_first;
    booker->next_wake_ms = 0;
    booker->rows = booker->records = booker->meanwhile = 0;
    pg_link_run(booker->link, &(struct pg_command){.sql = booker->sql.text,
                                                   .on_rows = booker_on_rows,
                                                   .on_done = booker_on_booked,
                                                   .owner = booker});
}

/* Decides what is booked next. */
static void booker_next(struct booker *booker)
{
    bool look = booker->hurried || clock_monotonic_ms() >= booker->looked_ms + TICK_MS;

    if (booker->running || booker->waiting || booker->resting || !pg_link_ready(booker->link)) {
        return;
    }
    if (booker->full) {
        booker_run(booker, false);
    } else if (booker->woken) {
        booker_run(booker, look);
    } else if (!booker->empty && (look || booker->expected > 0)) {
        booker_run(booker, true);
    }
    if (!booker->running && !evtimer_pending(booker->timer, NULL)) {
        timer_start(booker->timer, TICK_MS);
    }
}

static void booker_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct booker *booker = arg;

    (void)fd, (void)what;
    if (booker->resting) {
        booker->resting = false;
    } else {
        booker->waiting = booker->empty = false;
        booker->looked_ms = 0;
    }
    booker_next(booker);
}

static void booker_on_session(void *owner, bool ready, const struct pg_failure *why)
{
    struct booker *booker = owner;

    booker->resting = false;
    if (!ready) {
        booker->running = false;
        if (why != NULL) {
            snprintf(booker->trouble, sizeof booker->trouble, "%s", why->message);
        }
        return;
    }
    if (!booker->waiting) { /* else the new session has still to show that it can book */
        booker->trouble[0] = '\0';
    }
    booker->rows = booker->last_block = 0;
    booker->full = false;
    booker->rows_max = ROWS_MIN;
    booker->looked_ms = 0;
    booker->empty = false;
    booker_next(booker);
}

/* --- the interface --- */

struct booker *booker_create(const struct booker_options *options)
{
    struct booker *booker = calloc(1, sizeof *booker);
    char *sql = pg_session_books_sql(options->settings);

    if (booker == NULL) {
        abort();
    }
    booker->options = *options;
    booker->timer = evtimer_new(options->base, booker_on_timer, booker);
    booker->link =
        pg_link_create(&(struct pg_link_options){.base = options->base,
                                                 .conninfo = options->settings->postgres,
                                                 .application_name = options->application_name,
                                                 .prepare_sql = sql,
                                                 .on_change = booker_on_session,
                                                 .owner = booker,
                                                 .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                                 .command_timeout_ms = BOOKING_TIMEOUT_MS});
    free(sql);
    return booker;
}

void booker_destroy(struct booker *booker)
{
    if (booker == NULL) {
        return;
    }
    pg_link_destroy(booker->link);
    event_free(booker->timer);
    sql_text_release(&booker->sql);
    free(booker);
}

void booker_start(struct booker *booker)
{
    pg_link_start(booker->link);
}

void booker_wake(struct booker *booker, size_t rows)
{
    int64_t now = clock_monotonic_ms();

    booker->expected += (int64_t)rows;
    booker->meanwhile += (int64_t)rows;
    booker->woken = true;
    booker->burst = rows;
    booker->empty = false;
    booker->wake_ms = booker->wake_ms == 0 ? now : booker->wake_ms;
    booker->next_wake_ms = booker->next_wake_ms == 0 ? now : booker->next_wake_ms;
    booker_next(booker);
}

int64_t booker_rest_ms(size_t commit_rows, int64_t booking_ms, int64_t lag_ms)
{
    int64_t times = (int64_t)(commit_rows / BURST_ROWS),
            patience = (REST_UNTIL_MS - lag_ms) * 2 * REST_TIMES_MAX / REST_UNTIL_MS, ms;

    times = times > REST_TIMES_MAX ? REST_TIMES_MAX : times;
    times = times > patience ? patience : times;
    ms = times > 0 ? booking_ms * times : 0;
    return ms > REST_MAX_MS ? REST_MAX_MS : ms;
}

int64_t booker_next_rows(int64_t rows_max, bool full, int64_t booking_ms)
{
    if (!full) {
        return ROWS_MIN;
    }
    return booking_ms < SLOW_MS || rows_max > ROWS_MAX / 2 ? rows_max : 2 * rows_max;
}

int64_t booker_pause_ms(int64_t booking_ms)
{
    return booking_ms < PAUSE_MAX_MS / PAUSE_TIMES ? (booking_ms + 1) * PAUSE_TIMES : PAUSE_MAX_MS;
}

void booker_finish(struct booker *booker)
{
    booker->hurried = true;
    booker->resting = booker->empty = false;
    booker_next(booker);
}

bool booker_is_connected(const struct booker *booker)
{
    enum pg_link_state state = pg_link_state(booker->link);

    return state == PG_LINK_READY || state == PG_LINK_RUNNING || state == PG_LINK_ROLLING_BACK;
}

bool booker_is_done(const struct booker *booker)
{
    return booker->empty && !booker->running && !booker->woken;
}

int64_t booker_left(const struct booker *booker)
{
    return booker->expected;
}

int64_t booker_lag_ms(const struct booker *booker)
{
    return booker->wake_ms == 0 ? 0 : clock_monotonic_ms() - booker->wake_ms;
}

const char *booker_trouble(const struct booker *booker)
{
    return booker->trouble[0] == '\0' ? NULL : booker->trouble;
}

const struct booker_counters *booker_counters(const struct booker *booker)
{
    return &booker->counters;
}
