/* mirror_writer.c: see mirror_writer.h.
 *
 *     PREPARING ──tables are fit──► READY ──write──► WRITING ──committed──► READY
 *         ▲                                            │
 *         └──────────── RESTING ◄──────────────────────┘ an error; the batch is kept
 *
 * A server's error may name a line and yet be its own trouble (class 5xx). Where the same line is
 * named three times in a row, the batch is tried without its record: if that is committed, it was
 * the record's fault. */
#include "drainer/mirror/mirror_writer.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/backoff.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/mirror/questdb_tables.h"
#include "drainer/mirror/reject_line.h"
#include "producer/timer.h"

enum {
    REST_MIN_MS = 100,
    REST_MAX_MS = 2000,
    REST_PERSON_MS = 5000,
    SAME_LINE_TIMES = 3,    /* before its record is suspected */
    FAILURES_TOLERATED = 2, /* in a row, before it is a trouble */
};

enum writer_state { WRITER_PREPARING, WRITER_READY, WRITER_WRITING, WRITER_RESTING };

struct mirror_writer {
    struct mirror_writer_options options;
    struct questdb_tables *tables;
    struct ilp_form form;
    enum writer_state state;
    bool prepared;              /* since the last error */
    struct batch *batch;        /* not committed yet; NULL: none */
    struct copy_buffer rejects; /* lines of its rejects */
    struct event *timer;
    unsigned rest_ms, failures;
    struct entry *suspect; /* left out of what is sent; NULL: none is */
    struct entry *named;   /* at fault the last time */
    unsigned named_times;
    struct mirror_counters counters;
    char trouble[600];
    enum questdb_action action;
};

static void send_batch(struct mirror_writer *writer);

/* --- resting --- */

static void rest(struct mirror_writer *writer, const struct questdb_answer *answer)
{
    unsigned ms = backoff_next_ms(&writer->rest_ms, REST_MIN_MS, REST_MAX_MS);
    bool person = answer->action != QUESTDB_RETRY;

    writer->state = WRITER_RESTING;
    writer->prepared = false;
    writer->failures++;
    writer->counters.retries++;
    writer->action = answer->action;
    snprintf(writer->trouble, sizeof writer->trouble, "%s", answer->message);
    log_warn("questdb", "%s: nothing is acknowledged, it is tried again%s", answer->message,
             person ? "; this needs a person" : "");
    if (person || writer->failures > FAILURES_TOLERATED) {
        streams_trouble(writer->options.streams, NULL, TROUBLE_LOADING,
                        "QuestDB at %s stores nothing: %s%s",
                        questdb_link_place(writer->options.link), answer->message,
                        person ? "; this needs a person" : "");
    }
    timer_start(writer->timer, person ? REST_PERSON_MS : backoff_spread_ms(ms));
}

static void mirror_writer_recover(struct mirror_writer *writer)
{
    writer->rest_ms = writer->failures = 0;
    writer->trouble[0] = '\0';
    streams_trouble_over(writer->options.streams, NULL, TROUBLE_LOADING);
}

/* --- the tables --- */

static void on_prepared(void *owner, const struct questdb_answer *answer)
{
    struct mirror_writer *writer = owner;

    if (answer->action != QUESTDB_DONE) {
        rest(writer, answer);
        return;
    }
    writer->prepared = true;
    writer->state = WRITER_READY;
    if (writer->batch != NULL) {
        send_batch(writer);
    } else {
        mirror_writer_recover(writer);
        writer->options.on_ready(writer->options.owner);
    }
}

static void prepare(struct mirror_writer *writer)
{
    writer->state = WRITER_PREPARING;
    questdb_tables_prepare(writer->tables, on_prepared, writer);
}

static void mirror_writer_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    prepare(arg);
}

/* --- the lines of a batch --- */

static bool is_sent(const struct mirror_writer *writer, const struct entry *entry)
{
    return entry->fate == ENTRY_ROW && entry != writer->suspect;
}

/* Adds the rows of one kind, in runs that lie together. */
static void put_kind_rows(const struct mirror_writer *writer, enum record_kind kind,
                          struct evbuffer *body)
{
    const struct batch *batch = writer->batch;
    uint32_t from = 0, to = 0;

    for (size_t i = 0; i < batch->count; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->kind != kind || !is_sent(writer, entry)) {
            continue;
        }
        if (entry->row_offset != to) {
            evbuffer_add_reference(body, batch->rows[kind].bytes + from, to - from, NULL, NULL);
            from = entry->row_offset;
        }
        to = entry->row_offset + entry->row_length;
    }
    if (to > from) {
        evbuffer_add_reference(body, batch->rows[kind].bytes + from, to - from, NULL, NULL);
    }
}

/* Finds the entry whose row is that line of what was sent. NULL: it is a line of the rejects. */
static struct entry *entry_of_line(const struct mirror_writer *writer, size_t line)
{
    struct batch *batch = writer->batch;

    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        for (size_t i = 0; i < batch->count; i++) {
            struct entry *entry = &batch->entries[i];

            if ((int)entry->kind == kind && is_sent(writer, entry) && --line == 0) {
                return entry;
            }
        }
    }
    return NULL;
}

static void put_rejects(struct mirror_writer *writer, struct evbuffer *body)
{
    const struct batch *batch = writer->batch;

    writer->rejects.length = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->entries[i].fate == ENTRY_REJECTED) {
            reject_line_put(&writer->rejects, batch, &batch->entries[i]);
        }
    }
    evbuffer_add_reference(body, writer->rejects.bytes, writer->rejects.length, NULL, NULL);
}

/* --- writing --- */

static void commit(struct mirror_writer *writer)
{
    struct batch *batch = writer->batch;

    for (size_t i = 0; i < batch->count; i++) {
        struct entry *entry = &batch->entries[i];

        if (entry->fate == ENTRY_ROW) {
            entry->stream->rows[entry->kind]++;
        } else {
            entry->stream->rejected++;
        }
    }
    writer->counters.rows += batch->count - batch->rejected;
    writer->counters.rejected += batch->rejected;
    writer->counters.requests++;
    writer->batch = NULL;
    writer->named = NULL;
    writer->state = WRITER_READY;
    mirror_writer_recover(writer);
    batch_enter(batch, BATCH_COMMITTED);
    writer->options.on_stored(writer->options.owner, batch);
    writer->options.on_ready(writer->options.owner);
}

/* Makes a reject of a record and sends the batch again, at once. */
static void reject(struct mirror_writer *writer, struct entry *entry, const char *why)
{
    char reason[600];

    snprintf(reason, sizeof reason, "QuestDB refuses it: %s", why);
    log_warn(entry->stream->name, "rejected a record: %s", reason);
    batch_reject(writer->batch, entry, "", reason);
    send_batch(writer);
}

/* Says whether the server names the same line as before, often enough to try without its record. */
static bool suspects(struct mirror_writer *writer, const struct questdb_answer *answer)
{
    struct entry *entry = answer->line == 0 ? NULL : entry_of_line(writer, answer->line);

    writer->named_times = entry != NULL && entry == writer->named ? writer->named_times + 1 : 1;
    writer->named = entry;
    return entry != NULL && writer->named_times >= SAME_LINE_TIMES;
}

static void mirror_writer_on_written(void *owner, const struct questdb_answer *answer)
{
    struct mirror_writer *writer = owner;
    struct entry *suspect = writer->suspect;
    struct entry *at_fault =
        answer->action == QUESTDB_RECORD ? entry_of_line(writer, answer->line) : NULL;

    writer->suspect = NULL;
    if (answer->action == QUESTDB_DONE && suspect != NULL) {
        reject(writer, suspect, writer->trouble); /* the rest is stored, and comes again with it */
    } else if (answer->action == QUESTDB_DONE) {
        commit(writer);
    } else if (at_fault != NULL) {
        reject(writer, at_fault, answer->message);
    } else if (suspect == NULL && suspects(writer, answer)) {
        snprintf(writer->trouble, sizeof writer->trouble, "%s", answer->message);
        writer->suspect = writer->named;
        writer->named_times = 0;
        send_batch(writer);
    } else {
        rest(writer, answer);
    }
}

static void send_batch(struct mirror_writer *writer)
{
    struct evbuffer *body = memory_or_abort(evbuffer_new());

    writer->state = WRITER_WRITING;
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        put_kind_rows(writer, (enum record_kind)kind, body);
    }
    put_rejects(writer, body);
    questdb_write(writer->options.link, body, mirror_writer_on_written, writer);
    evbuffer_free(body);
}

void mirror_writer_write(struct mirror_writer *writer, struct batch *batch)
{
    assert(mirror_writer_ready(writer));
    batch_enter(batch, BATCH_LOADING);
    writer->batch = batch;
    send_batch(writer);
}

/* --- the interface --- */

void mirror_writer_adopt(struct mirror_writer *writer, struct batch *batch)
{
    batch->put_row = ilp_put_record;
    batch->row_form = &writer->form;
}

bool mirror_writer_ready(const struct mirror_writer *writer)
{
    return writer->state == WRITER_READY && writer->batch == NULL;
}

bool mirror_writer_up(const struct mirror_writer *writer)
{
    return writer->prepared;
}

const struct mirror_counters *mirror_writer_counters(const struct mirror_writer *writer)
{
    return &writer->counters;
}

const char *mirror_writer_trouble(const struct mirror_writer *writer, enum questdb_action *action)
{
    *action = writer->action;
    return writer->trouble;
}

void mirror_writer_start(struct mirror_writer *writer)
{
    prepare(writer);
}

struct mirror_writer *mirror_writer_create(const struct mirror_writer_options *options)
{
    struct mirror_writer *writer = memory_or_abort(calloc(1, sizeof *writer));

    writer->options = *options;
    writer->tables = questdb_tables_create(options->link, &writer->form);
    writer->timer = evtimer_new(options->base, mirror_writer_on_timer, writer);
    return writer;
}

void mirror_writer_destroy(struct mirror_writer *writer)
{
    if (writer != NULL) {
        event_free(writer->timer);
        questdb_tables_destroy(writer->tables);
        copy_buffer_release(&writer->rejects);
        free(writer);
    }
}
