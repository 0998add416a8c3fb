/* loader.c: see loader.h.
 *
 * A batch is loaded as a stack of ranges of its entries, at first one range: all of it. For each
 * range one simple query holds the whole transaction, BEGIN to COMMIT with its COPYs, so a lone
 * record costs one round trip and one commit.
 *
 *     pop range ──► COPY … COMMIT ──► done: next range, or the batch is loaded
 *                        │
 *                        ├─ duplicate key    ► the batch becomes careful, the range again
 *                        ├─ rows refused     ► load_staged() names them: rejects, the range again
 *                        ├─ no partition     ► forget the days that were there, the range again
 *                        ├─ data error       ► bisect; a single entry becomes a reject, and a
 *                        │                     reject that cannot be stored a minimal one
 *                        ├─ lock timeout     ► each exchange by itself; one that still waits is
 *                        │                     left out, and read again
 *                        └─ else             ► give the batch up; after three times for the same
 *                                              state: bisect
 *
 * Before an error that names neither a row nor a constraint is held against a record, a good record
 * of the drainer's own is loaded and rolled back. If that meets the same error, no record is at
 * fault: loading stops, and a person is asked for.
 *
 * A batch that is bisected for an error that passes gets its chance in smaller transactions, but no
 * entry of it is rejected: a full disk is no record's fault, even where its neighbours could be
 * loaded. An entry that a trigger refuses with such an error is.
 *
 * A COPY that stores fewer rows than it was given met a trigger that drops rows. They are not
 * known, and the others are committed by then; so the range is loaded again through staging, where
 * load_staged() names them. */
#include "drainer/postgres/loader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/postgres/bisect.h"
#include "drainer/postgres/days.h"
#include "drainer/postgres/good_record.h"
#include "drainer/postgres/load_transaction.h"
#include "drainer/postgres/sql_text.h"
#include "drainer/redis/streams.h"
#include "schema/clock.h"

enum {
    CAREFUL_MIN_MS = 3000,
    CAREFUL_MAX_MS = 30000,
    SAME_STATE_LIMIT = 3,
    HURRIED_LOCK_MS =
        250, /* instead of lock_timeout, where other exchanges may wait behind it ... */
    HURRIED_LOCK_MIN_MS = 10,
    OTHERS_MS = 10000,   /* ... which they may for so long after records were loaded */
    HELD_MAX = 4,        /* exchanges in a row: then it may be no exchange's lock */
    TOGETHER_CREDIT = 8, /* for one more exchange */
    RANGES_MAX = 64,     /* halving at most 2^31 entries never needs half of them */
    RANGES_NAMED_MAX = RANGES_MAX / 2 - 2, /* most, where PostgreSQL names the entry to split at */
    TABLE_NAME_BYTES = 64,
};

struct loader {
    struct pg_link *link;
    struct loader_options options;
    struct load_transaction *transaction;
    struct batch *batch;
    loader_done *on_done;
    void *owner;
    struct batch_range ranges[RANGES_MAX];
    size_t range_count;
    struct batch_range current;
    struct days days;
    struct sql_text days_sql;
    int64_t careful_until_ms; /* monotonic */
    unsigned careful_ms;      /* how long until then */
    char last_state[6];       /* of the failure for which a batch was given up last ... */
    unsigned given_up;        /* ... and how many in a row were, for the same */
    bool apart; /* this batch was given up so often that it is bisected, whatever the error */
    unsigned days_forgotten;    /* how often the range met a day without partition */
    bool by_exchange;           /* of this batch: a transaction has records of few exchanges: ... */
    size_t credit;              /* ... of one, and an eighth of this, which doubles with each */
    bool among_held;            /* has come to those that have waited for a lock before */
    bool any_loaded;            /* of this batch */
    int64_t loaded_at_ms;       /* when any were, monotonic */
    size_t held;                /* exchanges of this batch that wait for a lock ... */
    struct pg_failure held_for; /* ... and the last one's */
    char innocent_state[6];     /* of this batch: an error that a good record does not meet */
    struct batch good;          /* the good record */
    struct pg_failure suspected; /* the failure that the good record is loaded for */
    struct load_stats stats;
};

/* A place in the range, up to which the rows of a kind are counted. */
struct row_cursor {
    int kind; /* RECORD_KINDS: none */
    size_t at;
    unsigned long row;
};

static void loader_next_range(struct loader *loader);
static void loader_run_range(struct loader *loader);

static void loader_finish(struct loader *loader, const struct pg_failure *failure)
{
    struct batch *batch = loader->batch;

    loader->batch = NULL;
    loader->range_count = 0;
    batch_enter(batch,
                failure == NULL || failure == &loader->held_for ? BATCH_COMMITTED : BATCH_FAILED);
    if (failure != NULL) {
        bool same = strcmp(failure->sqlstate, loader->last_state) == 0;

        loader->stats.counters.retries++;
        loader->given_up = same ? loader->given_up + 1 : 1;
        memcpy(loader->last_state, failure->sqlstate, sizeof loader->last_state);
    } else {
        loader->given_up = 0;
        loader->last_state[0] = '\0';
    }
    loader->on_done(loader->owner, batch, failure);
}

static void loader_push_range(struct loader *loader, struct batch_range range)
{
    assert(loader->range_count < RANGES_MAX);
    loader->ranges[loader->range_count++] = range;
}

/* --- the record at fault --- */

/* Stops loading for a failure that is no record's fault. */
static void loader_stop(struct loader *loader, const struct pg_failure *failure, const char *why)
{
    struct pg_failure stop = *failure;

    stop.action = PG_ACTION_PERSON;
    snprintf(stop.message, sizeof stop.message, "%s: %.400s", why, failure->message);
    loader_finish(loader, &stop);
}

/* Makes a reject of a single entry that has failed, with PostgreSQL's own words; and of a reject
 * that fails one that touches nothing but the table rejects. */
static void loader_reject(struct loader *loader, const struct pg_failure *failure)
{
    struct entry *entry = &loader->batch->entries[loader->current.from];

    if (failure->action == PG_ACTION_RETRY) {
        loader_finish(loader, failure);
    } else if (entry->fate != ENTRY_REJECTED) {
        log_warn(entry->stream->name, "record rejected: %s, SQLSTATE %s", failure->message,
                 failure->sqlstate);
        batch_reject(loader->batch, entry, failure->sqlstate, failure->message);
        loader_run_range(loader);
    } else if (!entry->minimal) {
        log_warn(entry->stream->name, "reject stored without counting it: %s, SQLSTATE %s",
                 failure->message, failure->sqlstate);
        entry->minimal = true;
        loader_run_range(loader);
    } else {
        loader_stop(loader, failure, "a reject cannot be stored");
    }
}

static void loader_bisect(struct loader *loader, const struct pg_failure *failure)
{
    struct batch_range parts[BISECT_PARTS_MAX];

    loader->stats.counters.bisected++;
    if (loader->current.to - loader->current.from == 1) {
        loader_reject(loader, failure);
        return;
    }
    log_warn("batch", "%s, SQLSTATE %s: bisected, %zu entries", failure->message, failure->sqlstate,
             loader->current.to - loader->current.from);
    size_t count = bisect_range(loader->batch, loader->current, failure,
                                loader->range_count > RANGES_NAMED_MAX, parts);
    while (count-- > 0) {
        loader_push_range(loader, parts[count]);
    }
    loader_next_range(loader);
}

/* Says whether an error may be the server's and no record's: neither is it about values, as errors
 * of data and integrity are, nor has a good record been loaded in spite of it. */
static bool loader_suspects_server(const struct loader *loader, const struct pg_failure *failure)
{
    return failure->action == PG_ACTION_DATA && !pg_failure_is_about_values(failure) &&
           strcmp(failure->sqlstate, loader->innocent_state) != 0;
}

static void loader_on_good_record(void *owner, const struct pg_failure *failure)
{
    struct loader *loader = owner;
    struct pg_failure suspected = loader->suspected;

    if (failure == NULL) {
        memcpy(loader->innocent_state, suspected.sqlstate, sizeof loader->innocent_state);
        loader_bisect(loader, &suspected);
    } else if (strcmp(failure->sqlstate, suspected.sqlstate) == 0) {
        loader_stop(loader, failure, "no record can be loaded");
    } else {
        loader_finish(loader, failure);
    }
}

static void loader_load_good_record(struct loader *loader, const struct pg_failure *failure)
{
    loader->suspected = *failure;
    good_record_fill(&loader->good, loader->batch, loader->current);
    load_transaction_build(loader->transaction, &loader->good,
                           (struct batch_range){0, loader->good.count}, 0, LOAD_ROLLBACK);
    struct pg_command command = load_transaction_command(loader->transaction);
    command.on_done = loader_on_good_record;
    command.owner = loader;
    pg_link_run(loader->link, &command);
}

/* Rejects the n-th row of the cursor's kind, from 1. False: it is not behind the cursor. */
static bool loader_reject_row(struct loader *loader, struct row_cursor *cursor, unsigned long n,
                              const struct pg_failure *failure)
{
    for (; cursor->at < loader->current.to && cursor->row < n; cursor->at++) {
        struct entry *entry = &loader->batch->entries[cursor->at];
        bool counts = entry->fate == ENTRY_ROW && (int)entry->kind == cursor->kind;

        if (counts && ++cursor->row == n) {
            batch_reject(loader->batch, entry, failure->sqlstate, failure->message);
            cursor->at++;
            return true;
        }
    }
    return false;
}

/* Rejects the rows that load_staged() names, as "order_events 3; order_events 7; trades 1": a
 * table, and which row of its COPY, in rising order. Returns how many it found. */
static size_t loader_reject_named(struct loader *loader, const struct pg_failure *failure)
{
    struct row_cursor cursor = {.kind = RECORD_KINDS};
    const char *at = pg_link_error_detail(loader->link);
    char table[TABLE_NAME_BYTES];
    unsigned long n;
    size_t found = 0;
    int length = 0;

    for (; sscanf(at, "%63s %lu%n", table, &n, &length) == 2; at += strspn(at, "; ")) {
        at += length;
        if (cursor.kind == RECORD_KINDS || strcmp(record_schemas[cursor.kind].table, table) != 0) {
            cursor = (struct row_cursor){.at = loader->current.from};
            while (cursor.kind < RECORD_KINDS &&
                   strcmp(record_schemas[cursor.kind].table, table) != 0) {
                cursor.kind++;
            }
        }
        found += loader_reject_row(loader, &cursor, n, failure);
    }
    if (found > 0) {
        log_warn("batch", "%zu records rejected: %s", found, failure->message);
    }
    return found;
}

/* --- a lock that somebody holds --- */

static bool loader_met_lock(const struct loader *loader, const struct pg_failure *failure)
{
    return failure->action == PG_ACTION_RETRY && strcmp(failure->sqlstate, "55P03") == 0 &&
           !loader->options.replays; /* which report the failure */
}

/* Loads what is left by exchanges: one at a time, if the credit is 1. */
static void loader_begin_by_exchange(struct loader *loader, size_t credit)
{
    loader->by_exchange = true;
    loader->credit = credit;
    for (size_t i = 0; i < loader->range_count; i++) {
        bisect_sort_exchanges(loader->batch, loader->ranges[i]);
    }
}

/* Marks the exchange in all of the batch: its later records may not overtake these. */
static void loader_mark_held(const struct batch *batch, const char *exchange, bool tried)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct stream *stream = batch->entries[i].stream;

        if (!stream->held_up && strcmp(stream->exchange, exchange) == 0) {
            stream->held_up = true;
            stream->held_times += tried;
        }
    }
}

static void loader_on_lock(struct loader *loader, const struct pg_failure *failure)
{
    const struct batch *batch = loader->batch;

    if (bisect_exchange_end(batch, loader->current) < loader->current.to) {
        loader_push_range(loader, loader->current);
        loader_begin_by_exchange(loader, 1);
        loader_next_range(loader);
        return;
    }
    if (!loader->by_exchange) { /* else all of a range that it begins would be left out with it */
        loader_begin_by_exchange(loader, 1);
    }
    loader_mark_held(batch, batch->entries[loader->current.from].stream->exchange, true);
    loader->held++;
    if (loader->held >= HELD_MAX && !loader->any_loaded) {
        loader_finish(loader, failure);
    } else {
        loader->held_for = *failure;
        loader_next_range(loader);
    }
}

/* Says whether an error that may pass by itself has come so often that its record is looked for. */
static bool loader_is_worn_out(struct loader *loader, const struct pg_failure *failure)
{
    bool same = strcmp(failure->sqlstate, loader->last_state) == 0;

    loader->apart = loader->apart || (same && loader->given_up + 1 >= SAME_STATE_LIMIT);
    return loader->apart;
}

unsigned loader_careful_ms(unsigned before_ms, int64_t since_ms)
{
    unsigned twice = before_ms > CAREFUL_MAX_MS / 2 ? CAREFUL_MAX_MS : 2 * before_ms;

    return since_ms < (int64_t)before_ms ? twice : CAREFUL_MIN_MS;
}

static void loader_become_careful(struct loader *loader)
{
    int64_t now = clock_monotonic_ms();

    loader->careful_ms = loader_careful_ms(loader->careful_ms, now - loader->careful_until_ms);
    loader->careful_until_ms = now + loader->careful_ms;
    loader->batch->careful = true;
}

static void loader_on_failure(struct loader *loader, const struct pg_failure *failure)
{
    bool may_pass = failure->action == PG_ACTION_RETRY || failure->action == PG_ACTION_DOUBT;

    loader->stats.failures[failure->action]++;
    if (failure->connection_lost || failure->action == PG_ACTION_PERSON) {
        loader_finish(loader, failure);
    } else if (failure->action == PG_ACTION_DUPLICATE && !loader->batch->careful) {
        loader->stats.counters.duplicates++;
        loader_become_careful(loader);
        loader_run_range(loader);
    } else if (failure->action == PG_ACTION_NO_DAY && ++loader->days_forgotten < SAME_STATE_LIMIT) {
        loader_forget_session(loader);
        loader_run_range(loader);
    } else if (failure->action == PG_ACTION_ROWS && loader_reject_named(loader, failure) > 0) {
        loader_run_range(loader);
    } else if (loader_met_lock(loader, failure)) {
        loader_on_lock(loader, failure);
    } else if (may_pass && !loader_is_worn_out(loader, failure)) {
        loader_finish(loader, failure);
    } else if (loader_suspects_server(loader, failure)) {
        loader_load_good_record(loader, failure);
    } else {
        loader_bisect(loader, failure);
    }
}

/* --- running --- */

/* Loads the range again to find the rows that a trigger has dropped: it is committed without them.
 */
static void loader_find_dropped(struct loader *loader, const char *table, size_t sent,
                                size_t stored)
{
    log_warn("batch",
             "blotter.%s: PostgreSQL has stored %zu of %zu rows, a trigger of yours drops "
             "the others; they are looked for, and rejected",
             table, stored, sent);
    for (size_t i = loader->current.from; i < loader->current.to; i++) {
        loader->batch->entries[i].counted = loader->batch->entries[i].fate == ENTRY_ROW;
    }
    loader_become_careful(loader);
    loader_run_range(loader);
}

static void loader_on_loaded(void *owner, const struct pg_failure *failure)
{
    struct loader *loader = owner;
    size_t sent, stored;

    if (failure != NULL) {
        loader_on_failure(loader, failure);
        return;
    }
    loader->any_loaded = true;
    loader->credit *= loader->credit < TOGETHER_CREDIT * loader->batch->count ? 2 : 1;
    loader->loaded_at_ms = clock_monotonic_ms();
    load_transaction_committed(loader->transaction);
    loader->stats.counters.queued += load_transaction_queued(loader->transaction);
    const char *table = load_transaction_short_table(loader->transaction, &sent, &stored);
    if (table != NULL && !loader->batch->careful) {
        loader_find_dropped(loader, table, sent, stored);
        return;
    }
    load_stats_committed(&loader->stats, loader->batch, loader->current.from, loader->current.to,
                         pg_link_times(loader->link));
    for (size_t i = loader->current.from; i < loader->current.to; i++) {
        loader->batch->entries[i].loaded = true;
    }
    loader_next_range(loader);
}

/* Returns how long a lock is waited for; 0: as long as the setting says. Where others may wait
 * behind it, it is the less, the more exchanges of the batch wait for locks already. */
static unsigned loader_lock_ms(const struct loader *loader)
{
    bool all = loader->current.to - loader->current.from == loader->batch->count &&
               clock_monotonic_ms() - loader->loaded_at_ms >= OTHERS_MS;
    unsigned ms = HURRIED_LOCK_MS / (unsigned)(1 + loader->held / HELD_MAX);

    ms = ms < HURRIED_LOCK_MIN_MS ? HURRIED_LOCK_MIN_MS : ms;
    return loader->by_exchange && !all &&
                   (loader->options.lock_ms == 0 || loader->options.lock_ms > ms)
               ? ms
               : 0;
}

static void loader_load_range(struct loader *loader)
{
    load_transaction_build(loader->transaction, loader->batch, loader->current,
                           loader_lock_ms(loader),
                           loader->options.dry_run ? LOAD_ROLLBACK : LOAD_COMMIT);
    struct pg_command command = load_transaction_command(loader->transaction);
    command.on_done = loader_on_loaded;
    command.owner = loader;
    pg_link_run(loader->link, &command);
}

/* --- days --- */

static void loader_on_days(void *owner, const PGresult *result)
{
    struct loader *loader = owner;

    days_learn(&loader->days, result);
}

static void loader_on_days_made(void *owner, const struct pg_failure *failure)
{
    struct loader *loader = owner;

    if (failure != NULL) {
        loader_on_failure(loader, failure);
    } else {
        loader_run_range(loader);
    }
}

/* Asks for the days of the range. False: all of them are known. */
static bool loader_make_days(struct loader *loader)
{
    if (!days_ask(&loader->days, loader->batch, loader->current.from, loader->current.to,
                  time(NULL), &loader->days_sql)) {
        return false;
    }
    pg_link_run(loader->link, &(struct pg_command){.sql = loader->days_sql.text,
                                                   .on_rows = loader_on_days,
                                                   .on_done = loader_on_days_made,
                                                   .owner = loader});
    return true;
}

static void loader_run_range(struct loader *loader)
{
    if (!loader_make_days(loader)) {
        days_expire(&loader->days, loader->batch, loader->current.from, loader->current.to);
        loader_load_range(loader);
    }
}

/* Expects no lock the next time for the streams of which everything was loaded. */
static void loader_note_free(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct stream *stream = batch->entries[i].stream;

        stream->held_times = stream->held_up ? stream->held_times : 0;
    }
}

/* Returns where the next exchanges of the range end. One with records left out is by itself: what
 * is together is loaded, or left out. */
static size_t loader_exchanges_end(const struct loader *loader, struct batch_range range)
{
    const struct entry *entries = loader->batch->entries;
    const struct stream *first = entries[range.from].stream;
    size_t end = bisect_exchange_end(loader->batch, range);

    for (size_t more = loader->credit / TOGETHER_CREDIT;
         more > 0 && end < range.to && !first->held_up && !entries[end].stream->held_up &&
         (first->held_times > 0) == (entries[end].stream->held_times > 0);
         more--) {
        end = bisect_exchange_end(loader->batch, (struct batch_range){end, range.to});
    }
    return end;
}

/* Says whether the exchange is left out. Of those that have waited for locks before, only some are
 * tried once several wait still: the others' next records have no time for all of them. */
static bool loader_leaves_out(struct loader *loader, const struct stream *stream)
{
    if (loader->by_exchange && !loader->among_held && stream->held_times > 0) {
        loader->among_held = true;
        loader->credit = 1;
    }
    if (loader->held >= HELD_MAX && stream->held_times > 0) {
        loader_mark_held(loader->batch, stream->exchange, false);
    }
    return stream->held_up;
}

/* Returns how many entries were neither loaded nor left out with their exchange. */
static size_t loader_missed(const struct batch *batch)
{
    size_t missed = 0;

    for (size_t i = 0; i < batch->count; i++) {
        missed += !batch->entries[i].loaded && !batch->entries[i].stream->held_up;
    }
    return missed;
}

/* Ends the batch. That an entry was missed would be a mistake of ours: it is read again, as what is
 * acknowledged and not stored is lost. */
static void loader_end(struct loader *loader)
{
    size_t missed = loader_missed(loader->batch);

    if (loader->by_exchange) {
        loader_note_free(loader->batch);
    }
    if (missed > 0) {
        struct pg_failure failure = {.action = PG_ACTION_RETRY};

        snprintf(failure.message, sizeof failure.message,
                 "%zu of %zu entries were not loaded, a mistake of Blotter's", missed,
                 loader->batch->count);
        loader_finish(loader, &failure);
    } else {
        loader_finish(loader, loader->held > 0 ? &loader->held_for : NULL);
    }
}

static void loader_next_range(struct loader *loader)
{
    while (loader->range_count > 0) {
        struct batch_range range = loader->ranges[--loader->range_count];
        bool left_out = loader_leaves_out(loader, loader->batch->entries[range.from].stream);
        size_t end = loader->by_exchange ? loader_exchanges_end(loader, range) : range.to;

        if (end < range.to) {
            loader_push_range(loader, (struct batch_range){end, range.to});
        }
        if (!left_out) {
            loader->current = (struct batch_range){range.from, end};
            loader->days_forgotten = 0;
            loader_run_range(loader);
            return;
        }
    }
    loader_end(loader);
}

/* Clears the marks of the batch before. Returns whether it left out one of these streams. */
static bool loader_clear_held(const struct batch *batch)
{
    bool any = false;

    for (size_t i = 0; i < batch->count; i++) {
        batch->entries[i].stream->held_up = false;
        any = any || batch->entries[i].stream->held_times > 0;
    }
    return any;
}

/* --- the interface --- */

struct loader *loader_create(struct pg_link *link, const struct loader_options *options)
{
    struct loader *loader = memory_or_abort(calloc(1, sizeof *loader));

    loader->link = link;
    loader->options = *options;
    loader->transaction = load_transaction_create(
        &(struct load_transaction_options){.drainer = options->drainer,
                                           .keep_orders = options->keep_orders,
                                           .replays = options->replays,
                                           .venues_by_symbol = options->venues_by_symbol,
                                           .terminal_statuses = options->terminal_statuses});
    return loader;
}

void loader_destroy(struct loader *loader)
{
    if (loader == NULL) {
        return;
    }
    load_transaction_destroy(loader->transaction);
    sql_text_release(&loader->days_sql);
    batch_release(&loader->good);
    free(loader);
}

void loader_load(struct loader *loader, struct batch *batch, loader_done *on_done, void *owner)
{
    assert(loader->batch == NULL);
    batch_enter(batch, BATCH_LOADING);
    loader->batch = batch;
    loader->on_done = on_done;
    loader->owner = owner;
    loader->apart = loader->by_exchange = loader->among_held = false;
    loader->innocent_state[0] = '\0';
    loader->any_loaded = false;
    loader->held = 0;
    loader_push_range(loader, (struct batch_range){0, batch->count});
    if (loader_clear_held(batch)) {
        loader_begin_by_exchange(loader, TOGETHER_CREDIT * batch->count);
    }
    loader_next_range(loader);
}

void loader_forget_session(struct loader *loader)
{
    days_forget(&loader->days);
}

bool loader_is_careful(const struct loader *loader)
{
    return clock_monotonic_ms() < loader->careful_until_ms;
}

const struct load_stats *loader_stats(const struct loader *loader)
{
    return &loader->stats;
}
