/* loader.c: see loader.h.
 *
 * A batch is loaded as a stack of ranges of its entries, at first one range: all of it. For each
 * range one simple query holds the whole transaction, BEGIN to COMMIT with its COPYs, so a lone
 * record costs one round trip and one commit.
 *
 *     pop range ──► COPY … COMMIT ──► done: next range, or the batch is loaded
 *                        │
 *                        ├─ duplicate key  ► the batch becomes careful, the range again
 *                        ├─ data error     ► split the range, at the entry that is named or in two;
 * a single one becomes a reject ├─ no partition   ► forget the days that were thought to exist, the
 * range again └─ else           ► the batch is given up; three times for the same state: taken
 * apart
 *
 * A batch that is taken apart for an error that passes gets its chance in smaller transactions, but
 * no entry of it is rejected: a lock that somebody holds, or a full disk, is no record's fault,
 * even where its neighbours could be loaded. An entry that a trigger refuses with such an error is.
 */
#include "drainer/postgres/loader.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/log.h"
#include "drainer/postgres/bisect.h"
#include "drainer/postgres/days.h"
#include "drainer/postgres/sql_text.h"
#include "drainer/redis/streams.h"

enum {
    CAREFUL_SECONDS = 30,
    SAME_STATE_LIMIT = 3,
    RANGES_MAX = 64, /* splitting in two of at most 2^31 entries never needs half of them */
};
#define RANGES_NAMED_MAX \
    (RANGES_MAX / 2 - 2) /* so many at most where PostgreSQL names the entries to split at */

#define COLUMN(name, kind, meaning) ", " #name
static const char identity_columns[] = "producer_id, seq, recorded_at, exchange, lane";
/* clang-format off */
static const char *const record_columns[RECORD_KINDS] = {
#define X(kind, name, sql_schema, table, fields) [RECORD_##kind] = fields(COLUMN),
    BLOTTER_RECORD_KINDS(X)
#undef X
};
/* clang-format on */

/* What one transaction sends: its SQL and the data of its COPYs. */
struct transaction {
    struct sql_text sql;
    struct pg_chunk *chunks;
    size_t chunk_count, chunk_capacity;
    size_t copy_first[RECORD_KINDS + 2]; /* index of each COPY's first chunk */
    struct pg_copy copies[RECORD_KINDS + 2];
    size_t copy_count;
    struct copy_buffer rejects, orders;
};

/* What the transaction adds to the table progress. */
struct producer_progress {
    int64_t producer_id, stored, last_seq, voided;
    const struct stream *stream;
};

struct loader {
    struct pg_link *link;
    struct loader_options options;
    struct order_changes *fold;
    struct batch *batch;
    loader_done *on_done;
    void *owner;
    struct batch_range ranges[RANGES_MAX];
    size_t range_count;
    struct batch_range current;
    struct transaction transaction;
    struct producer_progress *progress;
    size_t progress_count, progress_capacity;
    struct days days;
    time_t careful_until; /* CLOCK_MONOTONIC */
    char last_state[6]; /* of the failure for which a batch was given up last, and how many in a row
                           for the same */
    unsigned given_up;
    bool apart; /* this batch was given up so often that it is taken apart, whatever the error */
    unsigned days_forgotten; /* how often a range met a day without partition */
    struct load_stats stats;
};

static time_t monotonic_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* --- the transaction's text and data --- */

static void chunk_add(struct transaction *t, const void *bytes, size_t length)
{
    if (t->chunk_count == t->chunk_capacity) {
        t->chunk_capacity = t->chunk_capacity == 0 ? 64 : t->chunk_capacity * 2;
        t->chunks = realloc(t->chunks, t->chunk_capacity * sizeof *t->chunks);
        if (t->chunks == NULL) {
            abort();
        }
    }
    t->chunks[t->chunk_count++] = (struct pg_chunk){bytes, length};
}

static void copy_begin(struct transaction *t)
{
    t->copy_first[t->copy_count] = t->chunk_count;
    chunk_add(t, copy_head, sizeof copy_head);
}

static void copy_end(struct transaction *t)
{
    chunk_add(t, copy_tail, sizeof copy_tail);
    t->copies[t->copy_count].count = t->chunk_count - t->copy_first[t->copy_count];
    t->copy_count++;
}

static bool is_row(const struct entry *entry, enum record_kind kind)
{
    return entry->fate == ENTRY_ROW && entry->kind == kind;
}

/* The rows of one kind as few chunks: entries that lie side by side are one. Returns how many rows.
 */
static size_t add_rows(struct loader *loader, enum record_kind kind)
{
    const struct batch *batch = loader->batch;
    size_t rows = 0, start = 0, end = 0;

    for (size_t i = loader->current.from; i < loader->current.to; i++) {
        const struct entry *entry = &batch->entries[i];

        if (!is_row(entry, kind)) {
            continue;
        }
        if (rows == 0 || entry->row_offset != end) {
            if (rows > 0) {
                chunk_add(&loader->transaction, batch->rows[kind].bytes + start, end - start);
            }
            start = entry->row_offset;
        }
        end = entry->row_offset + entry->row_length;
        rows++;
    }
    if (rows > 0) {
        chunk_add(&loader->transaction, batch->rows[kind].bytes + start, end - start);
    }
    return rows;
}

static void add_copies_of_rows(struct loader *loader)
{
    struct transaction *t = &loader->transaction;

    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        size_t chunks = t->chunk_count;

        copy_begin(t);
        if (add_rows(loader, (enum record_kind)kind) == 0) {
            t->chunk_count = chunks;
            continue;
        }
        copy_end(t);
        if (loader->batch->careful) {
            sql_text_add(&t->sql, "COPY pg_temp." SPLIT_STAGED "%s", record_schemas[kind].table);
        } else {
            sql_text_add(&t->sql, "COPY %s.%s", record_schemas[kind].sql_schema,
                         record_schemas[kind].table);
        }
        sql_text_add(&t->sql, " (%s%s) FROM STDIN BINARY; ", identity_columns,
                     record_columns[kind]);
    }
}

static void add_copy_of_rejects(struct loader *loader)
{
    struct transaction *t = &loader->transaction;
    bool any = false;

    t->rejects.length = 0;
    for (size_t i = loader->current.from; i < loader->current.to; i++) {
        const struct entry *entry = &loader->batch->entries[i];

        if (entry->fate == ENTRY_REJECTED && !loader->options.replays) {
            batch_put_reject(loader->batch, entry, entry->stream->name, entry->stream->exchange,
                             loader->options.drainer, &t->rejects);
            any = true;
        }
    }
    if (any) {
        copy_begin(t);
        chunk_add(t, t->rejects.bytes, t->rejects.length);
        copy_end(t);
        sql_text_add(&t->sql, "COPY pg_temp.staged_rejects (%s) FROM STDIN BINARY; ",
                     BATCH_REJECT_COLUMNS);
    }
}

/* The fold of the range's rows: nearly always the one that was made while they were gathered. */
static const struct order_changes *fold_of_range(struct loader *loader)
{
    const struct batch *batch = loader->batch;
    bool whole = loader->current.from == 0 && loader->current.to == batch->count;

    if (whole && batch->fold != NULL && batch->expired == 0 && !batch->refused) {
        return batch->fold;
    }
    order_changes_clear(loader->fold);
    for (size_t i = loader->current.from; i < loader->current.to; i++) {
        if (is_row(&batch->entries[i], RECORD_ORDER)) {
            order_changes_add_row(loader->fold, &batch->rows[RECORD_ORDER],
                                  batch->entries[i].row_offset);
        }
    }
    return loader->fold;
}

static void add_merge_of_orders(struct loader *loader)
{
    struct transaction *t = &loader->transaction;
    const struct order_changes *fold = fold_of_range(loader);

    if (order_changes_count(fold) == 0) {
        return;
    }
    t->orders.length = 0;
    order_changes_put(fold, &loader->batch->rows[RECORD_ORDER], loader->batch->careful, &t->orders);
    copy_begin(t);
    chunk_add(t, t->orders.bytes, t->orders.length);
    copy_end(t);
    sql_text_add(&t->sql,
                 "COPY pg_temp.staged_orders (%s) FROM STDIN BINARY; SELECT "
                 "blotter_internal.merge_orders(); ",
                 order_changes_columns());
}

/* --- progress
 * ------------------------------------------------------------------------------------------------------------
 */

static struct producer_progress *progress_of(struct loader *loader, const struct entry *entry)
{
    for (size_t i = loader->progress_count; i-- > 0;) {
        if (loader->progress[i].producer_id == entry->producer_id &&
            loader->progress[i].stream == entry->stream) {
            return &loader->progress[i];
        }
    }
    if (loader->progress_count == loader->progress_capacity) {
        loader->progress_capacity =
            loader->progress_capacity == 0 ? 16 : loader->progress_capacity * 2;
        loader->progress =
            realloc(loader->progress, loader->progress_capacity * sizeof *loader->progress);
        if (loader->progress == NULL) {
            abort();
        }
    }
    loader->progress[loader->progress_count] =
        (struct producer_progress){.producer_id = entry->producer_id, .stream = entry->stream};
    return &loader->progress[loader->progress_count++];
}

/* Rows that go through staging, rejects and expired records are counted where it is known which are
 * new: in SQL. */
static void count_progress(struct loader *loader)
{
    loader->progress_count = 0;
    for (size_t i = loader->current.from; i < loader->current.to && !loader->batch->careful; i++) {
        const struct entry *entry = &loader->batch->entries[i];
        struct producer_progress *progress;

        if (entry->producer_id <= 0 || entry->fate != ENTRY_ROW) {
            continue;
        }
        progress = progress_of(loader, entry);
        progress->stored++;
        progress->voided += entry->is_void;
        progress->last_seq = entry->seq > progress->last_seq ? entry->seq : progress->last_seq;
    }
}

/* A member of every element as an array; -1: zeros. */
static void sql_add_array(struct loader *loader, long member_offset)
{
    struct sql_text *sql = &loader->transaction.sql;

    sql_text_add(sql, ", '{");
    for (size_t i = 0; i < loader->progress_count; i++) {
        int64_t value = 0;

        if (member_offset >= 0) {
            memcpy(&value, (const char *)&loader->progress[i] + member_offset, sizeof value);
        }
        sql_text_add(sql, "%s%" PRId64, i == 0 ? "" : ",", value);
    }
    sql_text_add(sql, "}'");
}

/* The exchange and the lane of every element as an array: names of streams need no escapes. */
static void sql_add_streams(struct loader *loader)
{
    struct sql_text *sql = &loader->transaction.sql;

    sql_text_add(sql, ", '{");
    for (size_t i = 0; i < loader->progress_count; i++) {
        sql_text_add(sql, "%s\"%s\"", i == 0 ? "" : ",", loader->progress[i].stream->exchange);
    }
    sql_text_add(sql, "}', '{");
    for (size_t i = 0; i < loader->progress_count; i++) {
        sql_text_add(sql, "%s\"%s\"", i == 0 ? "" : ",", loader->progress[i].stream->lane);
    }
    sql_text_add(sql, "}'");
}

static void add_progress(struct loader *loader)
{
    count_progress(loader);
    if (loader->progress_count == 0) {
        return;
    }
    sql_text_add(&loader->transaction.sql, "SELECT blotter_internal.add_progress('%s'",
                 loader->options.drainer);
    sql_add_array(loader, offsetof(struct producer_progress, producer_id));
    sql_add_streams(loader);
    sql_add_array(loader, offsetof(struct producer_progress, stored));
    sql_add_array(loader, -1); /* rejected */
    sql_add_array(loader, -1); /* expired */
    sql_add_array(loader, offsetof(struct producer_progress, last_seq));
    sql_add_array(loader, offsetof(struct producer_progress, voided));
    sql_text_add(&loader->transaction.sql, "); ");
}

enum expired_part { EXPIRED_PRODUCER, EXPIRED_EXCHANGE, EXPIRED_LANE, EXPIRED_SEQ };

static void sql_add_expired(struct loader *loader, enum expired_part part)
{
    struct sql_text *sql = &loader->transaction.sql;
    bool any = false;

    sql_text_add(sql, ", '{");
    for (size_t i = loader->current.from; i < loader->current.to; i++) {
        const struct entry *entry = &loader->batch->entries[i];

        if (entry->fate == ENTRY_EXPIRED && entry->producer_id > 0) {
            const char *comma = any ? "," : "";

            if (part == EXPIRED_EXCHANGE || part == EXPIRED_LANE) {
                sql_text_add(sql, "%s\"%s\"", comma,
                             part == EXPIRED_EXCHANGE ? entry->stream->exchange
                                                      : entry->stream->lane);
            } else {
                sql_text_add(sql, "%s%" PRId64, comma,
                             part == EXPIRED_SEQ ? entry->seq : entry->producer_id);
            }
            any = true;
        }
    }
    sql_text_add(sql, "}'");
}

/* Records that are not stored because their day is gone are named, so that the audit does not miss
 * them. */
static void add_expired(struct loader *loader)
{
    if (loader->batch->expired > 0) {
        sql_text_add(&loader->transaction.sql, "SELECT blotter_internal.add_expired('%s'",
                     loader->options.drainer);
        for (int part = EXPIRED_PRODUCER; part <= EXPIRED_SEQ; part++) {
            sql_add_expired(loader, (enum expired_part)part);
        }
        sql_text_add(&loader->transaction.sql, "); ");
    }
}

/* --- running
 * -------------------------------------------------------------------------------------------------------------
 */

static void next_range(struct loader *loader);
static void run_range(struct loader *loader);

static void finish(struct loader *loader, const struct pg_failure *failure)
{
    struct batch *batch = loader->batch;

    loader->batch = NULL;
    loader->range_count = 0;
    batch_enter(batch, failure == NULL ? BATCH_COMMITTED : BATCH_FAILED);
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

static void push_range(struct loader *loader, struct batch_range range)
{
    assert(loader->range_count < RANGES_MAX);
    loader->ranges[loader->range_count++] = range;
}

/* Finds the record at fault; a single entry that fails is rejected with PostgreSQL's own words. */
static void take_apart(struct loader *loader, const struct pg_failure *failure)
{
    size_t from = loader->current.from, to = loader->current.to, count;
    struct batch_range parts[BISECT_PARTS_MAX];

    loader->stats.counters.taken_apart++;
    if (to - from > 1) {
        count = bisect_range(loader->batch, loader->current, failure,
                             loader->range_count > RANGES_NAMED_MAX, parts);
        while (count-- > 0) {
            push_range(loader, parts[count]);
        }
        next_range(loader);
    } else if (loader->batch->entries[from].fate == ENTRY_ROW &&
               failure->action != PG_ACTION_RETRY) {
        log_warn(loader->batch->entries[from].stream->name, "record rejected: %s, SQLSTATE %s",
                 failure->message, failure->sqlstate);
        batch_reject(loader->batch, &loader->batch->entries[from], failure->sqlstate,
                     failure->message);
        run_range(loader);
    } else {
        finish(loader, failure);
    }
}

static bool is_missing_partition(const struct pg_failure *failure)
{
    return strcmp(failure->sqlstate, "23514") == 0 && failure->constraint[0] == '\0';
}

/* May pass by itself: is it, all the same, to be found out which record it comes from? */
static bool is_worn_out(struct loader *loader, const struct pg_failure *failure)
{
    bool same = strcmp(failure->sqlstate, loader->last_state) == 0;

    loader->apart = loader->apart || (same && loader->given_up + 1 >= SAME_STATE_LIMIT);
    return loader->apart;
}

static void on_failure(struct loader *loader, const struct pg_failure *failure)
{
    loader->stats.failures[failure->action]++;
    bool may_pass = failure->action == PG_ACTION_RETRY || failure->action == PG_ACTION_DOUBT;

    if (failure->connection_lost || failure->action == PG_ACTION_PERSON) {
        finish(loader, failure);
    } else if (failure->action == PG_ACTION_DUPLICATE && !loader->batch->careful) {
        loader->stats.counters.duplicates++;
        loader->careful_until = monotonic_seconds() + CAREFUL_SECONDS;
        loader->batch->careful = true;
        run_range(loader);
    } else if (is_missing_partition(failure) && ++loader->days_forgotten < SAME_STATE_LIMIT) {
        loader_forget_session(loader);
        run_range(loader);
    } else if (!may_pass || is_worn_out(loader, failure)) {
        log_warn("batch", "%s, SQLSTATE %s: taken apart, %zu entries", failure->message,
                 failure->sqlstate, loader->current.to - loader->current.from);
        take_apart(loader, failure);
    } else {
        finish(loader, failure);
    }
}

static void on_loaded(void *owner, const struct pg_failure *failure)
{
    struct loader *loader = owner;

    if (failure != NULL) {
        on_failure(loader, failure);
        return;
    }
    load_stats_committed(&loader->stats, loader->batch, loader->current.from, loader->current.to,
                         pg_link_times(loader->link));
    next_range(loader);
}

static void load_range(struct loader *loader)
{
    struct transaction *t = &loader->transaction;
    bool staging = loader->batch->careful || loader->batch->rejected > 0;

    sql_text_clear(&t->sql);
    t->chunk_count = t->copy_count = 0;
    sql_text_add(&t->sql,
                 "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; %s",
                 staging ? "SELECT blotter_internal.begin_staging(); " : "");
    add_copies_of_rows(loader);
    add_copy_of_rejects(loader);
    if (staging) {
        sql_text_add(&t->sql, "SELECT blotter_internal.load_staged('%s'); ",
                     loader->options.drainer);
    }
    add_expired(loader);
    add_progress(loader);
    if (loader->options.keep_orders) {
        add_merge_of_orders(loader);
    }
    sql_text_add(&t->sql,
                 loader->options.dry_run ? "SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK" : "COMMIT");
    for (size_t i = 0; i < t->copy_count; i++) {
        t->copies[i].chunks = t->chunks + t->copy_first[i];
    }
    pg_link_run(loader->link, &(struct pg_command){.sql = t->sql.text,
                                                   .copies = t->copies,
                                                   .copy_count = t->copy_count,
                                                   .on_done = on_loaded,
                                                   .owner = loader});
}

/* --- days
 * ----------------------------------------------------------------------------------------------------------------
 */

static void on_days(void *owner, const PGresult *result)
{
    struct loader *loader = owner;

    days_learn(&loader->days, result);
}

static void on_days_made(void *owner, const struct pg_failure *failure)
{
    struct loader *loader = owner;

    if (failure != NULL) {
        finish(loader, failure);
    } else {
        run_range(loader);
    }
}

/* False: all days of the range are known. */
static bool make_days(struct loader *loader)
{
    struct sql_text *sql = &loader->transaction.sql;

    if (!days_ask(&loader->days, loader->batch, loader->current.from, loader->current.to,
                  time(NULL), sql)) {
        return false;
    }
    pg_link_run(loader->link, &(struct pg_command){.sql = sql->text,
                                                   .on_rows = on_days,
                                                   .on_done = on_days_made,
                                                   .owner = loader});
    return true;
}

static void run_range(struct loader *loader)
{
    if (!make_days(loader)) {
        days_expire(&loader->days, loader->batch, loader->current.from, loader->current.to);
        load_range(loader);
    }
}

static void next_range(struct loader *loader)
{
    if (loader->range_count == 0) {
        finish(loader, NULL);
        return;
    }
    loader->current = loader->ranges[--loader->range_count];
    loader->days_forgotten = 0;
    run_range(loader);
}

/* --- the interface
 * -------------------------------------------------------------------------------------------------------
 */

struct loader *loader_create(struct pg_link *link, const struct loader_options *options)
{
    struct loader *loader = calloc(1, sizeof *loader);

    if (loader == NULL) {
        abort();
    }
    loader->link = link;
    loader->options = *options;
    loader->fold = order_changes_create(options->venues_by_symbol, options->terminal_statuses);
    return loader;
}

void loader_destroy(struct loader *loader)
{
    if (loader == NULL) {
        return;
    }
    order_changes_destroy(loader->fold);
    sql_text_release(&loader->transaction.sql);
    free(loader->transaction.chunks);
    copy_buffer_release(&loader->transaction.rejects);
    copy_buffer_release(&loader->transaction.orders);
    free(loader->progress);
    free(loader);
}

void loader_load(struct loader *loader, struct batch *batch, loader_done *on_done, void *owner)
{
    assert(loader->batch == NULL);
    batch_enter(batch, BATCH_LOADING);
    loader->batch = batch;
    loader->on_done = on_done;
    loader->owner = owner;
    loader->apart = false;
    push_range(loader, (struct batch_range){0, batch->count});
    next_range(loader);
}

void loader_forget_session(struct loader *loader)
{
    days_forget(&loader->days);
}

bool loader_is_careful(const struct loader *loader)
{
    return monotonic_seconds() < loader->careful_until;
}

const struct load_stats *loader_stats(const struct loader *loader)
{
    return &loader->stats;
}
