/* load_transaction.c: see load_transaction.h. */
#include "drainer/postgres/load_transaction.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/book_rows.h"
#include "drainer/memory.h"
#include "drainer/postgres/sql_text.h"
#include "drainer/redis/streams.h"

#define COLUMN(name, kind, meaning) ", " #name
static const char identity_columns[] = "producer_id, seq, recorded_at, exchange, lane";
/* clang-format off */
static const char *const record_columns[RECORD_KINDS] = {
#define X(kind, name, sql_schema, table, fields) [RECORD_##kind] = fields(COLUMN),
    BLOTTER_RECORD_KINDS(X)
#undef X
};
/* clang-format on */

enum { COPIES_MAX = RECORD_KINDS + 3 }; /* for the books, rejects and orders */

/* The transaction adds this to the table progress. */
struct producer_progress {
    int64_t producer_id, stored, last_seq, voided;
    const struct stream *stream;
};

/* A stream that the transaction loads, and its newest entry in it. */
struct stream_load {
    struct stream *stream;
    struct stream_entry_id last;
};

struct load_transaction {
    struct load_transaction_options options;
    struct order_changes *changes; /* of a part of a batch */
    const struct batch *batch;
    struct batch_range range;
    struct sql_text sql;
    struct pg_chunk *chunks;
    size_t chunk_count, chunk_capacity;
    size_t copy_first[COPIES_MAX]; /* index of each COPY's first chunk */
    const char *copy_tables[COPIES_MAX];
    struct pg_copy copies[COPIES_MAX];
    size_t copy_count;
    size_t queued; /* rows for the books */
    bool calls;    /* the statement that ends the transaction has begun */
    struct copy_buffer rejects, orders;
    struct producer_progress *progress;
    size_t progress_count, progress_capacity;
    struct stream_load *streams;
    size_t stream_count, stream_capacity;
};

static void load_chunk_add(struct load_transaction *t, const void *bytes, size_t length)
{
    t->chunks =
        array_grow_or_abort(t->chunks, &t->chunk_capacity, t->chunk_count + 1, sizeof *t->chunks);
    t->chunks[t->chunk_count++] = (struct pg_chunk){bytes, length};
}

/* Adds a function to the one statement that ends the transaction: a statement of its own for each
 * would take longer than some of them do. None depends on another. */
static void load_add_call(struct load_transaction *t, const char *function)
{
    sql_text_add(&t->sql, "%s blotter_internal.%s(", t->calls ? "," : "SELECT", function);
    t->calls = true;
}

static void load_copy_begin(struct load_transaction *t)
{
    t->copy_first[t->copy_count] = t->chunk_count;
    t->copies[t->copy_count] = (struct pg_copy){0};
    t->copy_tables[t->copy_count] = NULL;
    load_chunk_add(t, copy_head, sizeof copy_head);
}

static void load_copy_end(struct load_transaction *t)
{
    load_chunk_add(t, copy_tail, sizeof copy_tail);
    t->copies[t->copy_count].count = t->chunk_count - t->copy_first[t->copy_count];
    t->copy_count++;
}

static bool load_is_row(const struct entry *entry, enum record_kind kind)
{
    return entry->fate == ENTRY_ROW && entry->kind == kind;
}

/* Rows in a buffer as few chunks: those that lie side by side are one. */
struct load_run {
    const struct copy_buffer *buffer;
    size_t start, end, rows;
};

static void load_run_flush(struct load_transaction *t, const struct load_run *run)
{
    if (run->rows > 0) {
        load_chunk_add(t, run->buffer->bytes + run->start, run->end - run->start);
    }
}

static void load_run_add(struct load_transaction *t, struct load_run *run, size_t offset,
                         size_t length)
{
    if (run->rows == 0 || offset != run->end) {
        load_run_flush(t, run);
        run->start = offset;
    }
    run->end = offset + length;
    run->rows++;
}

/* Returns how many rows there were. */
static size_t load_add_rows(struct load_transaction *t, enum record_kind kind)
{
    struct load_run run = {.buffer = &t->batch->rows[kind]};

    for (size_t i = t->range.from; i < t->range.to; i++) {
        const struct entry *entry = &t->batch->entries[i];

        if (load_is_row(entry, kind)) {
            load_run_add(t, &run, entry->row_offset, entry->row_length);
        }
    }
    load_run_flush(t, &run);
    return run.rows;
}

static void load_add_copies_of_rows(struct load_transaction *t)
{
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        size_t chunks = t->chunk_count;

        load_copy_begin(t);
        size_t rows = load_add_rows(t, (enum record_kind)kind);
        if (rows == 0) {
            t->chunk_count = chunks;
            continue;
        }
        if (t->batch->careful) {
            sql_text_add(&t->sql, "COPY pg_temp." SPLIT_STAGED "%s", record_schemas[kind].table);
        } else {
            t->copies[t->copy_count].rows = rows;
            t->copy_tables[t->copy_count] = record_schemas[kind].table;
            sql_text_add(&t->sql, "COPY %s.%s", record_schemas[kind].sql_schema,
                         record_schemas[kind].table);
        }
        load_copy_end(t);
        sql_text_add(&t->sql, " (%s%s) FROM STDIN BINARY; ", identity_columns,
                     record_columns[kind]);
    }
}

/* Queues for the books what the rows say, in their own commit. Rows that go through staging are
 * queued by SQL, which knows the new ones. */
static void load_add_copy_of_book_rows(struct load_transaction *t)
{
    struct load_run run = {.buffer = &t->batch->book_rows};
    size_t chunks = t->chunk_count;

    load_copy_begin(t);
    for (size_t i = t->range.from; i < t->range.to && !t->batch->careful; i++) {
        const struct entry *entry = &t->batch->entries[i];

        if (entry->fate == ENTRY_ROW && entry->book_length > 0) {
            load_run_add(t, &run, entry->book_offset, entry->book_length);
        }
    }
    load_run_flush(t, &run);
    t->queued = run.rows;
    if (run.rows == 0) {
        t->chunk_count = chunks;
        return;
    }
    load_copy_end(t);
    sql_text_add(&t->sql, "COPY blotter_internal.book_queue (%s) FROM STDIN BINARY; ",
                 book_rows_columns());
}

static void load_add_copy_of_rejects(struct load_transaction *t)
{
    bool any = false;

    t->rejects.length = 0;
    for (size_t i = t->range.from; i < t->range.to; i++) {
        const struct entry *entry = &t->batch->entries[i];

        if (entry->fate == ENTRY_REJECTED && !t->options.replays) {
            batch_put_reject(t->batch, entry, entry->stream->name, entry->stream->exchange,
                             t->options.drainer, &t->rejects);
            any = true;
        }
    }
    if (any) {
        load_copy_begin(t);
        load_chunk_add(t, t->rejects.bytes, t->rejects.length);
        load_copy_end(t);
        sql_text_add(&t->sql, "COPY pg_temp.staged_rejects (%s) FROM STDIN BINARY; ",
                     BATCH_REJECT_COLUMNS);
    }
}

/* Merges what the range's rows say of orders; nearly always that was done while they were gathered.
 */
static const struct order_changes *load_changes_of_range(struct load_transaction *t)
{
    const struct batch *batch = t->batch;
    bool whole = t->range.from == 0 && t->range.to == batch->count;

    if (whole && batch->changes != NULL && batch->expired == 0 && !batch->refused) {
        return batch->changes;
    }
    order_changes_clear(t->changes);
    for (size_t i = t->range.from; i < t->range.to; i++) {
        if (load_is_row(&batch->entries[i], RECORD_ORDER)) {
            order_changes_add_row(t->changes, &batch->rows[RECORD_ORDER],
                                  batch->entries[i].row_offset);
        }
    }
    return t->changes;
}

/* Returns whether there are any. */
static bool load_add_copy_of_orders(struct load_transaction *t)
{
    const struct order_changes *changes = load_changes_of_range(t);

    if (order_changes_count(changes) == 0) {
        return false;
    }
    t->orders.length = 0;
    order_changes_put(changes, &t->batch->rows[RECORD_ORDER], t->batch->careful, &t->orders);
    load_copy_begin(t);
    load_chunk_add(t, t->orders.bytes, t->orders.length);
    load_copy_end(t);
    sql_text_add(&t->sql, "COPY pg_temp.staged_orders (%s) FROM STDIN BINARY; ",
                 order_changes_columns());
    return true;
}

/* --- progress --- */

static struct producer_progress *load_progress_of(struct load_transaction *t,
                                                  const struct entry *entry)
{
    for (size_t i = t->progress_count; i-- > 0;) {
        if (t->progress[i].producer_id == entry->producer_id &&
            t->progress[i].stream == entry->stream) {
            return &t->progress[i];
        }
    }
    t->progress = array_grow_or_abort(t->progress, &t->progress_capacity, t->progress_count + 1,
                                      sizeof *t->progress);
    t->progress[t->progress_count] =
        (struct producer_progress){.producer_id = entry->producer_id, .stream = entry->stream};
    return &t->progress[t->progress_count++];
}

/* Counts rows that are copied straight into their tables. Those that go through staging, rejects
 * and expired records are counted in SQL, which knows the new ones. But a row that an earlier
 * transaction has counted, and a trigger had dropped, is taken back here. */
static void load_count_progress(struct load_transaction *t)
{
    t->progress_count = 0;
    for (size_t i = t->range.from; i < t->range.to; i++) {
        const struct entry *entry = &t->batch->entries[i];
        bool is_new = !t->batch->careful && entry->fate == ENTRY_ROW;
        bool is_taken_back = entry->counted && entry->fate == ENTRY_REJECTED;

        if (entry->producer_id <= 0 || (!is_new && !is_taken_back)) {
            continue;
        }
        struct producer_progress *progress = load_progress_of(t, entry);
        progress->stored += is_new ? 1 : -1;
        progress->voided += is_new && entry->is_void;
        progress->last_seq = entry->seq > progress->last_seq ? entry->seq : progress->last_seq;
    }
}

/* Writes a member of every element as an array. */
static void load_add_array(struct load_transaction *t, size_t member_offset)
{
    struct sql_text *sql = &t->sql;

    sql_text_add(sql, ", '{");
    for (size_t i = 0; i < t->progress_count; i++) {
        int64_t value;

        memcpy(&value, (const char *)&t->progress[i] + member_offset, sizeof value);
        sql_text_add(sql, "%s%" PRId64, i == 0 ? "" : ",", value);
    }
    sql_text_add(sql, "}'");
}

/* Writes the exchange and the lane of every element as arrays: names of streams need no escapes. */
static void load_add_streams(struct load_transaction *t)
{
    struct sql_text *sql = &t->sql;

    sql_text_add(sql, ", '{");
    for (size_t i = 0; i < t->progress_count; i++) {
        sql_text_add(sql, "%s\"%s\"", i == 0 ? "" : ",", t->progress[i].stream->exchange);
    }
    sql_text_add(sql, "}', '{");
    for (size_t i = 0; i < t->progress_count; i++) {
        sql_text_add(sql, "%s\"%s\"", i == 0 ? "" : ",", t->progress[i].stream->lane);
    }
    sql_text_add(sql, "}'");
}

static void load_add_progress(struct load_transaction *t)
{
    load_count_progress(t);
    if (t->progress_count == 0) {
        return;
    }
    load_add_call(t, "add_progress");
    sql_text_add(&t->sql, "'%s'", t->options.drainer);
    load_add_array(t, offsetof(struct producer_progress, producer_id));
    load_add_streams(t);
    load_add_array(t, offsetof(struct producer_progress, stored));
    sql_text_add(&t->sql, ", NULL, NULL"); /* rejected, expired */
    load_add_array(t, offsetof(struct producer_progress, last_seq));
    load_add_array(t, offsetof(struct producer_progress, voided));
    sql_text_add(&t->sql, ")");
}

enum expired_part { EXPIRED_PRODUCER, EXPIRED_EXCHANGE, EXPIRED_LANE, EXPIRED_SEQ };

static void load_add_expired_part(struct load_transaction *t, enum expired_part part)
{
    struct sql_text *sql = &t->sql;
    bool any = false;

    sql_text_add(sql, ", '{");
    for (size_t i = t->range.from; i < t->range.to; i++) {
        const struct entry *entry = &t->batch->entries[i];

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
static void load_add_expired(struct load_transaction *t)
{
    if (t->batch->expired > 0) {
        load_add_call(t, "add_expired");
        sql_text_add(&t->sql, "'%s'", t->options.drainer);
        for (int part = EXPIRED_PRODUCER; part <= EXPIRED_SEQ; part++) {
            load_add_expired_part(t, (enum expired_part)part);
        }
        sql_text_add(&t->sql, ")");
    }
}

/* --- how far streams are loaded --- */

static void load_note_stream(struct load_transaction *t, const struct entry *entry)
{
    /* Entries of a stream lie side by side as a rule. */
    for (size_t i = t->stream_count; i-- > 0;) {
        struct stream_load *load = &t->streams[i];

        if (load->stream == entry->stream) {
            if (stream_entry_id_compare(entry->id, load->last) > 0) {
                load->last = entry->id;
            }
            return;
        }
    }
    t->streams = array_grow_or_abort(t->streams, &t->stream_capacity, t->stream_count + 1,
                                     sizeof *t->streams);
    struct stream_entry_id before = entry->stream->loaded_id;
    t->streams[t->stream_count++] = (struct stream_load){
        entry->stream, stream_entry_id_compare(entry->id, before) > 0 ? entry->id : before};
}

/* Raises the counter of each stream. It makes every transaction write, so that its COMMIT waits for
 * the synchronous standby also when all of its rows were there already. */
static void load_add_counters(struct load_transaction *t)
{
    t->stream_count = 0;
    for (size_t i = t->range.from; i < t->range.to && !t->options.replays; i++) {
        load_note_stream(t, &t->batch->entries[i]);
    }
    if (t->stream_count == 0) {
        return;
    }
    load_add_call(t, "raise_loaded");
    sql_text_add(&t->sql, "'{");
    for (size_t i = 0; i < t->stream_count; i++) {
        sql_text_add(&t->sql, "%s\"%s\"", i == 0 ? "" : ",", t->streams[i].stream->name);
    }
    sql_text_add(&t->sql, "}', '{");
    for (size_t i = 0; i < t->stream_count; i++) {
        sql_text_add(&t->sql, "%s%" PRIu64 "-%" PRIu64, i == 0 ? "" : ",", t->streams[i].last.ms,
                     t->streams[i].last.seq);
    }
    sql_text_add(&t->sql, "}')");
}

/* --- the interface --- */

struct load_transaction *load_transaction_create(const struct load_transaction_options *options)
{
    struct load_transaction *t = memory_or_abort(calloc(1, sizeof *t));

    t->options = *options;
    t->changes = order_changes_create(options->venues_by_symbol, options->terminal_statuses);
    return t;
}

void load_transaction_destroy(struct load_transaction *t)
{
    if (t == NULL) {
        return;
    }
    order_changes_destroy(t->changes);
    sql_text_release(&t->sql);
    free(t->chunks);
    copy_buffer_release(&t->rejects);
    copy_buffer_release(&t->orders);
    free(t->progress);
    free(t->streams);
    free(t);
}

/* Loads the rows through staging. A minimal reject goes past load_staged(), which counts it in
 * progress, too. */
static void load_add_staged(struct load_transaction *t)
{
    bool minimal = t->range.to - t->range.from == 1 && t->batch->entries[t->range.from].minimal;

    if (minimal) {
        sql_text_add(&t->sql, "SELECT blotter_internal.store_rejects_uncounted(); ");
    } else {
        sql_text_add(&t->sql, "SELECT blotter_internal.load_staged('%s'); ", t->options.drainer);
    }
}

void load_transaction_build(struct load_transaction *t, const struct batch *batch,
                            struct batch_range range, unsigned lock_ms, enum load_end end)
{
    bool staging = batch->careful || batch->rejected > 0, orders;

    t->batch = batch;
    t->range = range;
    sql_text_clear(&t->sql);
    t->chunk_count = t->copy_count = 0;
    sql_text_add(&t->sql,
                 "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; ");
    if (lock_ms > 0) {
        sql_text_add(&t->sql, "SET LOCAL lock_timeout = '%ums'; ", lock_ms);
    }
    sql_text_add(&t->sql, "%s", staging ? "SELECT blotter_internal.begin_staging(); " : "");
    load_add_copies_of_rows(t);
    load_add_copy_of_book_rows(t);
    load_add_copy_of_rejects(t);
    if (staging) {
        load_add_staged(t);
    }
    orders = t->options.keep_orders && load_add_copy_of_orders(t);
    t->calls = false;
    load_add_expired(t);
    load_add_progress(t);
    if (orders) {
        load_add_call(t, "merge_orders");
        sql_text_add(&t->sql, ")");
    }
    load_add_counters(t);
    sql_text_add(&t->sql, "%s%s", t->calls ? "; " : "",
                 end == LOAD_COMMIT ? "COMMIT" : "SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK");
    for (size_t i = 0; i < t->copy_count; i++) {
        t->copies[i].chunks = t->chunks + t->copy_first[i];
    }
}

struct pg_command load_transaction_command(struct load_transaction *t)
{
    return (struct pg_command){
        .sql = t->sql.text, .copies = t->copies, .copy_count = t->copy_count};
}

const char *load_transaction_short_table(const struct load_transaction *t, size_t *sent,
                                         size_t *stored)
{
    for (size_t i = 0; i < t->copy_count; i++) {
        if (t->copy_tables[i] != NULL && t->copies[i].stored < t->copies[i].rows) {
            *sent = t->copies[i].rows;
            *stored = t->copies[i].stored;
            return t->copy_tables[i];
        }
    }
    return NULL;
}

size_t load_transaction_queued(const struct load_transaction *t)
{
    return t->queued;
}

void load_transaction_committed(struct load_transaction *t)
{
    for (size_t i = 0; i < t->stream_count; i++) {
        t->streams[i].stream->loaded_n++;
        t->streams[i].stream->loaded_id = t->streams[i].last;
    }
}
