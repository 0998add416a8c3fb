/* batch.c: see batch.h.
 *
 * The identity of an entry that carries none: producer_id is negative and made of a hash over the
 * stream's name, the entry's id and its bytes, seq of the id's second half, recorded_at of its
 * first. So the same bytes under the same id are the same record, however often they are read;
 * other bytes, or the same under another id, are another. */
#include "drainer/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/book_rows.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/order_changes.h"
#include "schema/clock.h"
#include "schema/hash.h"
#include "schema/stream.h"

enum {
    KIND_BYTES_KEPT = 256, /* of a field name that is no kind, in a reject */
    NS_PER_US = 1000,
    NS_PER_MS = 1000000,
};

#define X(kind, name, sql_schema, table, fields) ", " #name
static const char kind_names[] = BLOTTER_RECORD_KINDS(X); /* each behind a comma */
#undef X

void batch_release(struct batch *batch)
{
    free(batch->entries);
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        copy_buffer_release(&batch->rows[kind]);
    }
    copy_buffer_release(&batch->book_rows);
    copy_buffer_release(&batch->raw);
    *batch = (struct batch){0};
}

void batch_enter(struct batch *batch, enum batch_state state)
{
    static const char *const texts[] = {
#define X(name, text) text,
        BATCH_STATES(X)
#undef X
    };

    assert(state == BATCH_LOADING ? batch->state == BATCH_GATHERING && batch->count > 0
                                  : batch->state == BATCH_LOADING && state != BATCH_GATHERING);
    log_debug("batch", "%zu entries: %s -> %s", batch->count, texts[batch->state], texts[state]);
    batch->state = state;
}

void batch_clear(struct batch *batch)
{
    assert(batch->state != BATCH_LOADING); /* the loader's */
    batch->state = BATCH_GATHERING;
    batch->count = batch->rejected = batch->expired = 0;
    batch->careful = batch->refused = false;
    if (batch->changes != NULL) {
        order_changes_clear(batch->changes);
    }
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        batch->rows[kind].length = 0;
    }
    batch->book_rows.length = 0;
    batch->raw.length = 0;
}

void batch_drop(struct batch *batch, const struct stream *stream)
{
    size_t kept = 0;

    for (size_t i = 0; i < batch->count; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->stream == stream) {
            batch->rejected -= entry->fate == ENTRY_REJECTED;
            batch->expired -= entry->fate == ENTRY_EXPIRED;
            batch->refused = true;
        } else {
            batch->entries[kept++] = *entry;
        }
    }
    batch->count = kept;
}

size_t batch_bytes(const struct batch *batch)
{
    size_t bytes = batch->raw.length + batch->book_rows.length;

    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        bytes += batch->rows[kind].length;
    }
    return bytes;
}

static void raw_append(struct batch *batch, const void *bytes, size_t length)
{
    if (length > 0) { /* memcpy wants pointers even for nothing, and there may be none */
        copy_put_raw(&batch->raw, bytes, length);
    }
}

static struct entry *new_entry(struct batch *batch)
{
    batch->entries = array_grow_or_abort(batch->entries, &batch->capacity, batch->count + 1,
                                         sizeof *batch->entries);
    if (batch->count == 0) {
        batch->gathered_at_us = clock_monotonic_us();
    }
    return memset(&batch->entries[batch->count++], 0, sizeof(struct entry));
}

static void set_reason(struct batch *batch, struct entry *entry, const char *reason)
{
    entry->fate = ENTRY_REJECTED;
    entry->reason_offset = (uint32_t)batch->raw.length;
    raw_append(batch, reason, strlen(reason) + 1);
    batch->rejected++;
}

void batch_reject(struct batch *batch, struct entry *entry, const char *sqlstate,
                  const char *reason)
{
    batch->refused = true;
    batch->expired -= entry->fate == ENTRY_EXPIRED;
    snprintf(entry->sqlstate, sizeof entry->sqlstate, "%s", sqlstate);
    set_reason(batch, entry, reason);
}

const char *batch_reason(const struct batch *batch, const struct entry *entry)
{
    return (const char *)batch->raw.bytes + entry->reason_offset;
}

static void put_integer(struct record_value *value, int64_t integer)
{
    *value = (struct record_value){.present = true, .integer = integer};
}

static void identify_foreign(struct record *record, const char *stream_name,
                             struct stream_entry_id id, const char *raw, size_t length)
{
    uint64_t hash = hash64(stream_name, strlen(stream_name));

    hash = hash64_add(hash, &id, sizeof id);
    hash = hash64_add(hash, raw, length);
    put_integer(&record->values[IDENTITY_producer_id], -(int64_t)(hash >> 2) - 1);
    put_integer(&record->values[IDENTITY_seq], (int64_t)(id.seq % RECORD_SEQ_MAX));
    put_integer(&record->values[IDENTITY_recorded_at],
                id.ms > INT64_MAX / NS_PER_MS ? INT64_MAX : (int64_t)id.ms * NS_PER_MS);
}

static struct record_value text_value(const char *text)
{
    return (struct record_value){
        .bytes = text, .length = (uint32_t)strlen(text), .present = *text != '\0'};
}

/* Checks what needs to know the stream and the time, and fills in the exchange where it is missing.
 * Returns the problem, perhaps in `text`; NULL: none. */
static const char *batch_check_identity(struct record *record, const char *exchange, int64_t now_ns,
                                        char *text, size_t size)
{
    struct record_value *value = &record->values[IDENTITY_exchange];
    int64_t recorded_at = record->values[IDENTITY_recorded_at].integer;

    if (!value->present) {
        *value = text_value(exchange);
    } else if (value->length != strlen(exchange) ||
               memcmp(value->bytes, exchange, value->length) != 0) {
        return "exchange: is not that of the stream";
    }
    if (recorded_at < LIMIT_RECORDED_AT_MIN_NS || recorded_at > now_ns + LIMIT_FUTURE_NS) {
        snprintf(text, size,
                 "recorded_at: %" PRId64
                 " ns is out of range (from 2015-01-01 to a day ahead of the drainer's clock)",
                 recorded_at);
        return text;
    }
    return NULL;
}

/* Takes producer and seq from a record that could not be decoded to its end, if they could be: then
 * it is confirmed, and the audit counts it. They must be certain: a false confirmation would free
 * the slot of a record that is stored nowhere. */
static void note_identity(struct entry *entry, const struct record *record)
{
    if (!record->values[IDENTITY_producer_id].present || !record->values[IDENTITY_seq].present) {
        return;
    }
    entry->producer_id = record->values[IDENTITY_producer_id].integer;
    entry->seq = record->values[IDENTITY_seq].integer;
    entry->recorded_at_us = record->values[IDENTITY_recorded_at].integer / NS_PER_US;
}

/* Removes the value of the field that is at fault, whatever the decoder left there. */
static void forget_field_at_fault(struct record *record, const struct record_problem *problem)
{
    for (int i = IDENTITY_producer_id; i <= IDENTITY_recorded_at; i++) {
        if (problem->field != NULL &&
            strcmp(problem->field, record_schemas[record->kind].fields[i].name) == 0) {
            record->values[i] = (struct record_value){0};
        }
    }
}

/* Makes a reject of a strategy's own one: its reason is why it is one here. */
static const char *reason_of_reject(struct record *record, char *text, size_t size)
{
    const struct record_value *about = &record->values[REJECT_about];
    const struct record_value *reason = &record->values[REJECT_reason];

    snprintf(text, size, "%.*s%s%.*s", (int)about->length, about->present ? about->bytes : "",
             about->present ? ": " : "", (int)reason->length, reason->bytes);
    record->kind = RECORD_KINDS;
    return text;
}

static const char *batch_decode(struct record *record, const char *exchange,
                                const struct raw_field *fields, size_t field_count, char *text,
                                size_t size, unsigned *misplaced)
{
    static char scratch_bytes[RECORD_SCRATCH_BYTES]; /* the drainer has one thread */
    struct record_scratch scratch = {.bytes = scratch_bytes, .capacity = sizeof scratch_bytes};
    struct record_problem problem;
    int kind;

    record->kind = RECORD_KINDS;
    memset(record->values, 0,
           RECORD_IDENTITY_FIELDS * sizeof record->values[0]); /* what note_identity() looks at */
    if (field_count != 2) {
        snprintf(text, size, "the entry has %zu fields, not one", field_count / 2);
        return text;
    }
    kind = record_kind_of(fields[0].bytes, fields[0].length);
    if (kind < 0) {
        snprintf(text, size, "the entry's field is not the name of a kind: %s", kind_names + 2);
        return text;
    }
    record->kind = (enum record_kind)kind;
    if (record_decode(record->kind, exchange, fields[1].bytes, fields[1].length, &scratch, record,
                      &problem) != 0) {
        snprintf(text, size, "%s%s%s", problem.field == NULL ? "" : problem.field,
                 problem.field == NULL ? "" : ": ", record_fault_text(problem.fault));
        forget_field_at_fault(record, &problem);
        record->kind = kind < RECORD_KINDS ? record->kind : RECORD_KINDS;
        return text;
    }
    *misplaced = problem.misplaced;
    return kind == RECORD_REJECT ? reason_of_reject(record, text, size) : NULL;
}

/* Keeps an entry with no field, or several, for a reject: all of it, each part behind its length,
 * as Redis' protocol writes it. */
static void batch_append_entry(struct batch *batch, const struct raw_field *fields,
                               size_t field_count)
{
    char head[32];

    if (field_count == 2) {
        raw_append(batch, fields[1].bytes, fields[1].length);
        return;
    }
    for (size_t i = 0; i < field_count; i++) {
        raw_append(batch, head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", fields[i].length));
        raw_append(batch, fields[i].bytes, fields[i].length);
        raw_append(batch, "\r\n", 2);
    }
}

static void add_row(struct batch *batch, struct entry *entry, const struct record *record)
{
    struct copy_buffer *rows = &batch->rows[record->kind];
    uint32_t columns[RECORD_FIELDS_MAX];

    entry->is_void = record->kind == RECORD_SESSION && record->values[SESSION_event].length == 4 &&
                     memcmp(record->values[SESSION_event].bytes, "void", 4) == 0;
    entry->row_offset = (uint32_t)rows->length;
    if (batch->put_row != NULL) {
        batch->put_row(batch->row_form, rows, record);
        entry->row_length = (uint32_t)rows->length - entry->row_offset;
        return;
    }
    copy_put_record(rows, record, columns);
    entry->row_length = (uint32_t)rows->length - entry->row_offset;
    entry->book_offset = (uint32_t)batch->book_rows.length;
    book_rows_put(record, rows, columns, &batch->book_rows);
    entry->book_length = (uint32_t)batch->book_rows.length - entry->book_offset;
    if (record->kind == RECORD_ORDER && batch->changes != NULL) {
        order_changes_add(batch->changes, rows, columns);
    }
}

static void keep_kind(struct batch *batch, struct entry *entry, const char *name, size_t length)
{
    entry->kind_offset = (uint32_t)batch->raw.length;
    entry->kind_length = (uint32_t)(length < KIND_BYTES_KEPT ? length : KIND_BYTES_KEPT);
    raw_append(batch, name, entry->kind_length);
}

void batch_add_long(struct batch *batch, struct stream *stream, struct stream_entry_id id,
                    const struct long_entry *from, uint16_t deliveries)
{
    struct entry *entry = new_entry(batch);
    char reason[128];

    assert(batch->state == BATCH_GATHERING);
    *entry = (struct entry){.stream = stream,
                            .id = id,
                            .deliveries = deliveries,
                            .kind = RECORD_KINDS,
                            .long_bytes = from->length};
    entry->raw_offset = (uint32_t)batch->raw.length;
    entry->raw_length = (uint32_t)from->raw_length;
    raw_append(batch, from->raw, from->raw_length);
    entry->sha256_offset = (uint32_t)batch->raw.length;
    raw_append(batch, from->sha256, sizeof from->sha256);
    keep_kind(batch, entry, from->kind, from->kind_length);
    snprintf(reason, sizeof reason, "the entry has %" PRIu64 " bytes, a record at most %d",
             from->length, LIMIT_RECORD_BYTES);
    set_reason(batch, entry, reason);
}

void batch_add(struct batch *batch, struct stream *stream, const char *exchange,
               const char *stream_name, struct stream_entry_id id, const struct raw_field *fields,
               size_t field_count, uint16_t deliveries, int64_t now_ns)
{
    struct entry *entry = new_entry(batch);
    struct record record;
    char text[256];
    const char *reason;

    assert(batch->state == BATCH_GATHERING);
    *entry = (struct entry){.stream = stream, .id = id, .deliveries = deliveries};
    entry->raw_offset = (uint32_t)batch->raw.length;
    batch_append_entry(batch, fields, field_count);
    entry->raw_length = (uint32_t)batch->raw.length - entry->raw_offset;
    keep_kind(batch, entry, field_count == 0 ? "" : fields[0].bytes,
              field_count == 0 ? 0 : fields[0].length);

    reason =
        batch_decode(&record, exchange, fields, field_count, text, sizeof text, &entry->misplaced);
    entry->kind = record.kind;
    if (reason == NULL) {
        if (!record.values[IDENTITY_producer_id].present) {
            identify_foreign(&record, stream_name, id, fields[1].bytes, fields[1].length);
        }
        record.values[IDENTITY_lane] = text_value(stream_lane(stream_name, exchange));
        reason = batch_check_identity(&record, exchange, now_ns, text, sizeof text);
    }
    note_identity(entry, &record);
    if (reason != NULL) {
        set_reason(batch, entry, reason);
    } else {
        add_row(batch, entry, &record);
    }
}

void batch_add_record(struct batch *batch, struct stream *stream, const struct record *record)
{
    struct entry *entry = new_entry(batch);

    *entry = (struct entry){.stream = stream, .kind = record->kind};
    note_identity(entry, record);
    add_row(batch, entry, record);
}

static void put_int64_or_null(struct copy_buffer *out, int64_t value)
{
    if (value == 0) {
        copy_put_null(out);
    } else {
        copy_put_int64(out, value);
    }
}

void batch_put_reject(const struct batch *batch, const struct entry *entry, const char *stream_name,
                      const char *exchange, const char *drainer, struct copy_buffer *out)
{
    const char *lane = stream_lane(stream_name, exchange);
    char id[48];

    snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, entry->id.ms, entry->id.seq);
    copy_put_row_head(out, 15);
    copy_put_text(out, stream_name);
    copy_put_text(out, id);
    copy_put_text(out, exchange);
    copy_put_text(out, lane[0] == '\0' ? NULL : lane);
    copy_put_bytes(out, batch->raw.bytes + entry->kind_offset, entry->kind_length);
    put_int64_or_null(out, entry->producer_id);
    put_int64_or_null(out, entry->seq);
    if (entry->recorded_at_us == 0) {
        copy_put_null(out);
    } else {
        copy_put_int64(out, copy_timestamp(entry->recorded_at_us * NS_PER_US));
    }
    copy_put_int32(out, entry->deliveries);
    copy_put_text(out, batch_reason(batch, entry));
    copy_put_text(out, entry->sqlstate[0] == '\0' ? NULL : entry->sqlstate);
    copy_put_bytes(out, batch->raw.bytes + entry->raw_offset, entry->raw_length);
    if (entry->long_bytes == 0) { /* staging computes both from raw */
        copy_put_null(out);
        copy_put_null(out);
    } else {
        copy_put_int64(out, (int64_t)entry->long_bytes);
        copy_put_bytes(out, batch->raw.bytes + entry->sha256_offset, SHA256_BYTES);
    }
    copy_put_text(out, drainer);
}
