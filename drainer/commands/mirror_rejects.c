/* mirror_rejects.c: `blotter mirror`, and its list, replay and discard: the records that QuestDB or
 * the decoder refused, which are kept in QuestDB's table `rejects`.
 *
 * A replay decodes a reject's bytes once more, by today's schema, writes the record, and marks the
 * reject after that: a replay that dies in between writes it again, into the same row. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/batch.h"
#include "drainer/commands.h"
#include "drainer/commands/report.h"
#include "drainer/memory.h"
#include "drainer/mirror/base64.h"
#include "drainer/mirror/mirror.h"
#include "drainer/mirror/questdb_tables.h"
#include "drainer/redis/streams.h"
#include "drainer/settings_table.h"
#include "drainer/terminal.h"
#include "schema/clock.h"

enum { SQL_BYTES = 1024 };

struct mirror_rejects {
    const struct settings *settings;
    struct event_base *base;
    struct questdb_link *link;
    struct questdb_tables *tables;
    struct ilp_form form;
    struct streams streams;
    struct batch batch;
    enum questdb_action action; /* of the last answer */
    char message[512];
    json_t *json; /* of the last answer; NULL: none */
    int64_t done, refused;
};

/* --- one question after the other --- */

static void on_reject_answer(void *owner, const struct questdb_answer *answer)
{
    struct mirror_rejects *rejects = owner;

    json_decref(rejects->json);
    rejects->json = answer->length > 0 ? json_loadb(answer->body, answer->length, 0, NULL) : NULL;
    rejects->action = answer->action;
    snprintf(rejects->message, sizeof rejects->message, "%s", answer->message);
    event_base_loopbreak(rejects->base);
}

/* Asks, and waits for the answer. False: the statement failed, which has been printed. */
static bool ask_questdb(struct mirror_rejects *rejects, const char *sql)
{
    questdb_exec(rejects->link, sql, on_reject_answer, rejects);
    event_base_dispatch(rejects->base);
    if (rejects->action != QUESTDB_DONE) {
        command_fail(rejects->settings, EXIT_CODE_NO, "setting questdb: %s: %s",
                     questdb_link_place(rejects->link), rejects->message);
    }
    return rejects->action == QUESTDB_DONE;
}

static int connect_questdb(struct mirror_rejects *rejects)
{
    struct questdb_conf conf;
    char error[256];

    if (!mirror_read_conf(rejects->settings, &conf)) {
        return EXIT_CODE_USAGE;
    }
    rejects->base = event_base_new();
    rejects->link = questdb_link_create(rejects->base, &conf, error, sizeof error);
    explicit_bzero(conf.password, sizeof conf.password);
    if (rejects->link == NULL) {
        return command_fail(rejects->settings, EXIT_CODE_USAGE, "setting questdb: %s", error);
    }
    rejects->tables = questdb_tables_create(rejects->link, &rejects->form);
    questdb_tables_prepare(rejects->tables, on_reject_answer, rejects);
    event_base_dispatch(rejects->base);
    if (rejects->action == QUESTDB_DONE) {
        return EXIT_CODE_DONE;
    }
    return command_fail(rejects->settings,
                        rejects->action == QUESTDB_RETRY ? EXIT_CODE_UNREACHABLE : EXIT_CODE_USAGE,
                        "setting questdb: %s: %s", questdb_link_place(rejects->link),
                        rejects->message);
}

static void mirror_rejects_release(struct mirror_rejects *rejects)
{
    questdb_tables_destroy(rejects->tables);
    questdb_link_destroy(rejects->link);
    json_decref(rejects->json);
    streams_release(&rejects->streams);
    batch_release(&rejects->batch);
    if (rejects->base != NULL) {
        event_base_free(rejects->base);
    }
}

/* --- which ones --- */

/* Splits STREAM/ENTRY, as list prints it. False: it is no such id; so it can go into SQL. */
static bool split_id(const char *id, char stream[STREAM_NAME_BYTES],
                     char entry[STREAM_ENTRY_ID_BYTES])
{
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];
    const char *slash = strrchr(id, '/');
    struct stream_entry_id parsed;

    if (slash == NULL || !stream_parse(id, (size_t)(slash - id), exchange, lane) ||
        !stream_entry_id_parse(slash + 1, strlen(slash + 1), &parsed)) {
        return false;
    }
    stream_name(stream, exchange, lane);
    stream_entry_id_format(entry, parsed);
    return true;
}

/* Returns the rejects that are meant: those named, else all that are open. NULL: the exit code is
 * set, the reason printed. The caller's. */
static json_t *choose_rejects(struct mirror_rejects *rejects, enum exit_code *code)
{
    const struct settings *settings = rejects->settings;
    json_t *chosen = json_array();
    char stream[STREAM_NAME_BYTES], entry[STREAM_ENTRY_ID_BYTES];

    for (int i = 1; i < settings->argument_count; i++) {
        if (!split_id(settings->arguments[i], stream, entry)) {
            *code = EXIT_CODE_USAGE;
            command_fail(settings, EXIT_CODE_USAGE,
                         "\"%.100s\" is not the id of a reject, as `blotter mirror list` prints it",
                         settings->arguments[i]);
            json_decref(chosen);
            return NULL;
        }
        json_array_append_new(chosen, json_pack("[s, s]", stream, entry));
    }
    if (settings->argument_count > 1) {
        return chosen;
    }
    json_decref(chosen);
    if (!ask_questdb(rejects, "SELECT stream, entry_id FROM " QUESTDB_REJECTS
                              " WHERE state = 'open' ORDER BY received_at")) {
        return NULL;
    }
    return json_incref(json_object_get(rejects->json, "dataset"));
}

static const char *text_at(json_t *row, size_t column)
{
    return json_string_value(json_array_get(row, column));
}

/* --- list --- */

static int list_rejects(struct mirror_rejects *rejects)
{
    static const char *const columns[] = {"id",  "received_at", "kind",  "producer_id",
                                          "seq", "state",       "reason"};
    struct report *report = report_create();
    char sql[SQL_BYTES];
    size_t i;
    json_t *row;

    snprintf(sql, sizeof sql,
             "SELECT stream || '/' || entry_id, received_at, kind, producer_id::string, "
             "seq::string, state, reason FROM " QUESTDB_REJECTS
             " WHERE state = 'open' ORDER BY received_at DESC LIMIT %" PRId64,
             rejects->settings->limit);
    if (!ask_questdb(rejects, sql)) {
        report_destroy(report);
        return EXIT_CODE_NO;
    }
    for (size_t column = 0; column < sizeof columns / sizeof columns[0]; column++) {
        report_column(report, columns[column], column == 3 ? REPORT_ID : REPORT_TEXT);
    }
    json_array_foreach(json_object_get(rejects->json, "dataset"), i, row)
    {
        for (size_t column = 0; column < sizeof columns / sizeof columns[0]; column++) {
            report_cell(report, text_at(row, column));
        }
    }
    if (rejects->settings->json) {
        report_print_json(report_json(report));
    } else {
        report_print(report);
    }
    report_destroy(report);
    return EXIT_CODE_DONE;
}

/* --- replay and discard --- */

static bool mark_reject(struct mirror_rejects *rejects, const char *stream, const char *entry,
                        const char *state)
{
    char sql[SQL_BYTES];

    snprintf(sql, sizeof sql,
             "UPDATE " QUESTDB_REJECTS " SET state = '%s' WHERE stream = '%s' AND entry_id = '%s'",
             state, stream, entry);
    return ask_questdb(rejects, sql);
}

/* Decodes the reject in the answer. NULL: it is a record now; else why it still is none. */
static const char *decode_reject(struct mirror_rejects *rejects, const char *name,
                                 const char *entry)
{
    json_t *row = json_array_get(json_object_get(rejects->json, "dataset"), 0);
    const char *kind = text_at(row, 0), *raw = text_at(row, 1);
    size_t length = raw == NULL ? 0 : strlen(raw);
    unsigned char *bytes = memory_or_abort(malloc(length + 3));
    struct stream *stream = streams_add(&rejects->streams, name, strlen(name));
    struct stream_entry_id id = {0, 0};

    long got = base64_decode(raw == NULL ? "" : raw, length, bytes);
    bool whole = got >= 0 && got == json_integer_value(json_array_get(row, 2));
    batch_clear(&rejects->batch);
    stream_entry_id_parse(entry, strlen(entry), &id);
    if (whole && kind != NULL && stream != NULL) {
        struct raw_field fields[] = {{kind, strlen(kind)}, {(const char *)bytes, (size_t)got}};

        batch_add(&rejects->batch, stream, stream->exchange, stream->name, id, fields, 2, 0,
                  clock_wall_ns());
    }
    free(bytes);
    if (rejects->batch.count == 0) {
        return row == NULL ? "there is no such reject" : "only its beginning was kept";
    }
    const struct entry *decoded = &rejects->batch.entries[0];
    return decoded->fate == ENTRY_ROW ? NULL : batch_reason(&rejects->batch, decoded);
}

/* Writes the record of the batch. False: on failure; the action says whether the record is at
 * fault. */
static bool write_record(struct mirror_rejects *rejects)
{
    const struct entry *entry = &rejects->batch.entries[0];
    struct evbuffer *body = evbuffer_new();

    evbuffer_add(body, rejects->batch.rows[entry->kind].bytes + entry->row_offset,
                 entry->row_length);
    questdb_write(rejects->link, body, on_reject_answer, rejects);
    event_base_dispatch(rejects->base);
    evbuffer_free(body);
    return rejects->action == QUESTDB_DONE;
}

/* Stores a reject again. False: the server failed, and nothing more is tried. */
static bool replay_one(struct mirror_rejects *rejects, const char *stream, const char *entry)
{
    char sql[SQL_BYTES];

    snprintf(sql, sizeof sql,
             "SELECT kind, raw, raw_length FROM " QUESTDB_REJECTS
             " WHERE stream = '%s' AND entry_id = '%s'",
             stream, entry);
    if (!ask_questdb(rejects, sql)) {
        return false;
    }
    const char *why = decode_reject(rejects, stream, entry);
    if (why == NULL && write_record(rejects)) {
        rejects->done++;
        return mark_reject(rejects, stream, entry, "replayed");
    }
    if (why == NULL && rejects->action != QUESTDB_RECORD) {
        command_fail(rejects->settings, EXIT_CODE_NO, "setting questdb: %s", rejects->message);
        return false;
    }
    rejects->refused++;
    fprintf(stderr, "%s/%s: still refused: ", stream, entry);
    terminal_print(stderr, why == NULL ? rejects->message : why);
    fputc('\n', stderr);
    return true;
}

static int treat_rejects(struct mirror_rejects *rejects, bool replay)
{
    enum exit_code code = EXIT_CODE_NO;
    json_t *chosen = choose_rejects(rejects, &code), *row;
    char stream[STREAM_NAME_BYTES], entry[STREAM_ENTRY_ID_BYTES], id[128];
    bool going = true;
    size_t i;

    if (chosen == NULL) {
        return code;
    }
    json_array_foreach(chosen, i, row)
    {
        snprintf(id, sizeof id, "%s/%s", text_at(row, 0), text_at(row, 1));
        if (!going || !split_id(id, stream, entry)) {
            continue; /* a row that somebody else has written */
        }
        if (replay) {
            going = replay_one(rejects, stream, entry);
        } else {
            going = mark_reject(rejects, stream, entry, "discarded");
            rejects->done += going;
        }
    }
    json_decref(chosen);
    printf("%s: %" PRId64 ", still refused: %" PRId64 "\n", replay ? "stored" : "discarded",
           rejects->done, rejects->refused);
    return going && rejects->refused == 0 ? EXIT_CODE_DONE : EXIT_CODE_NO;
}

int command_mirror(const struct settings *settings)
{
    const char *verb = settings->argument_count == 0 ? "" : settings->arguments[0];
    struct mirror_rejects rejects = {.settings = settings};

    if (settings->argument_count == 0) {
        return mirror_run(settings);
    }
    if (strcmp(verb, "list") != 0 && strcmp(verb, "replay") != 0 && strcmp(verb, "discard") != 0) {
        return command_fail(settings, EXIT_CODE_USAGE,
                            "there is no `mirror %.32s`; there are list, replay and discard", verb);
    }
    rejects.batch.put_row = ilp_put_record;
    rejects.batch.row_form = &rejects.form;
    int code = connect_questdb(&rejects);
    if (code == EXIT_CODE_DONE) {
        code = strcmp(verb, "list") == 0 ? list_rejects(&rejects)
                                         : treat_rejects(&rejects, strcmp(verb, "replay") == 0);
    }
    mirror_rejects_release(&rejects);
    return code;
}
