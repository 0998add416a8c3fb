/* rejects_replay.c: `blotter rejects replay`: decodes the bytes of rejects once more, by today's
 * schema and limits, and loads them as the drainer does: by the same loader, carefully, so that a
 * record is stored once however often it is replayed.
 *
 * What is stored is marked, after the transaction that stored it: a replay that dies in between
 * does it again. What still cannot be stored stays as it is, but for the reason. A dry run rolls
 * every transaction back, so it knows what PostgreSQL says; it may leave an empty day behind. */
#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drainer/batch.h"
#include "drainer/commands/rejects.h"
#include "drainer/commands/report.h"
#include "drainer/memory.h"
#include "drainer/postgres/loading.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/postgres/sql_text.h"
#include "drainer/redis/streams.h"
#include "schema/clock.h"

enum {
    ATTEMPTS = 5, /* of a page: errors that pass, and those that the loader bisects at the third */
    PAUSE_NS = 200000000,
};
static const char drainer_name[] = "replay"; /* in blotter_internal.progress */
static const char not_kept[] = "recorded_at: on a day that is no longer kept";

enum { PAGE_ID, PAGE_STREAM, PAGE_ENTRY_ID, PAGE_KIND, PAGE_RAW };

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
/* A page. Of a record that is too long it reads enough to see that. */
static const char page_sql[] =
    "SELECT id, stream, entry_id, kind, raw FROM blotter_internal.rejects_to_replay("
    "$1::bigint[], $2, $3, $4::timestamptz, $5::bigint, 100, " STRING(LIMIT_RECORD_BYTES) " + 1)";

struct replay {
    struct pg *pg;
    const struct settings *settings;
    struct event_base *base;
    struct loading *loading;
    struct loader *loader;
    struct streams streams;
    struct batch batch; /* its entries are the rows of the page */
    struct raw_field *fields;
    size_t field_capacity;
    bool ready, failed;
    struct pg_failure failure;
    struct report *report;
    int64_t stored, refused, expired;
};

/* --- the loading connection --- */

static void stop_waiting(struct replay *replay, const struct pg_failure *failure)
{
    replay->failed = failure != NULL;
    if (failure != NULL) {
        replay->failure = *failure;
    }
    event_base_loopbreak(replay->base);
}

static void on_replay_change(void *owner, bool ready, const struct pg_failure *why)
{
    struct replay *replay = owner;

    replay->ready = ready;
    stop_waiting(replay, why);
}

static void on_replay_loaded(void *owner, struct batch *batch, const struct pg_failure *failure)
{
    (void)batch;
    stop_waiting(owner, failure);
}

static int report_failure(struct replay *replay)
{
    enum exit_code code = replay->failure.connection_lost              ? EXIT_CODE_UNREACHABLE
                          : replay->failure.action == PG_ACTION_PERSON ? EXIT_CODE_USAGE
                                                                       : EXIT_CODE_NO;

    return command_fail(replay->settings, code, "setting postgres: %s%s%s%s",
                        replay->failure.message, replay->failure.sqlstate[0] ? " (SQLSTATE " : "",
                        replay->failure.sqlstate, replay->failure.sqlstate[0] ? ")" : "");
}

static int connect_loader(struct replay *replay)
{
    replay->base = event_base_new();
    replay->loading =
        loading_create(&(struct loading_options){.base = replay->base,
                                                 .settings = replay->settings,
                                                 .application_name = "blotter rejects replay",
                                                 .drainer = drainer_name,
                                                 .replays = true,
                                                 .dry_run = replay->settings->dry_run,
                                                 .on_change = on_replay_change,
                                                 .owner = replay});
    replay->loader = loading_loader(replay->loading);
    loading_start(replay->loading);
    event_base_dispatch(replay->base);
    return replay->ready ? EXIT_CODE_DONE : report_failure(replay);
}

static void replay_release(struct replay *replay)
{
    loading_destroy(replay->loading);
    if (replay->base != NULL) {
        event_base_free(replay->base);
    }
    streams_release(&replay->streams);
    batch_release(&replay->batch);
    free(replay->fields);
    report_destroy(replay->report);
}

/* --- a page --- */

static void put_field(struct replay *replay, size_t at, const char *bytes, size_t length)
{
    replay->fields = array_grow_or_abort(replay->fields, &replay->field_capacity, at + 1,
                                         sizeof *replay->fields);
    replay->fields[at] = (struct raw_field){bytes, length};
}

/* Splits an entry of several fields, which is kept as Redis' protocol writes them:
 * "$5\r\norder\r\n$1..."; no record begins so. Returns the number of parts; 0: it is a record. */
static size_t split_fields(struct replay *replay, const char *raw, size_t length)
{
    const char *at = raw, *end = raw + length;
    size_t count = 0;

    while (at < end && *at == '$') {
        char *behind;
        unsigned long part = strtoul(at + 1, &behind, 10);

        if (end - behind < 4 || memcmp(behind, "\r\n", 2) != 0 ||
            (unsigned long)(end - behind) - 4 < part) {
            return 0;
        }
        put_field(replay, count++, behind + 2, part);
        at = behind + 2 + part + 2;
    }
    return at == end ? count : 0;
}

/* Adds a reject to the batch. False: its stream is none that a drainer could have read. */
static bool replay_add_row(struct replay *replay, const PGresult *page, int row)
{
    const char *name = PQgetvalue(page, row, PAGE_STREAM);
    struct stream *stream = streams_add(&replay->streams, name, strlen(name));
    struct stream_entry_id id = {0, 0};
    size_t length, kind_length, count;
    char *raw = (char *)PQunescapeBytea((unsigned char *)PQgetvalue(page, row, PAGE_RAW), &length);
    char *kind =
        (char *)PQunescapeBytea((unsigned char *)PQgetvalue(page, row, PAGE_KIND), &kind_length);

    memory_or_abort(raw);
    memory_or_abort(kind);
    count = split_fields(replay, raw, length);
    if (count == 0) {
        put_field(replay, count++, kind, kind_length);
        put_field(replay, count++, raw, length);
    }
    sscanf(PQgetvalue(page, row, PAGE_ENTRY_ID), "%" SCNu64 "-%" SCNu64, &id.ms, &id.seq);
    if (stream != NULL) {
        batch_add(&replay->batch, stream, stream->exchange, stream->name, id, replay->fields, count,
                  0, clock_wall_ns());
    }
    PQfreemem(raw);
    PQfreemem(kind);
    return stream != NULL;
}

static bool add_rows(struct replay *replay, const PGresult *page)
{
    batch_clear(&replay->batch);
    replay->batch.careful = true;
    for (int row = 0; row < PQntuples(page); row++) {
        if (!replay_add_row(replay, page, row)) {
            command_fail(replay->settings, EXIT_CODE_NO,
                         "reject %s: \"%s\" is not the name of a stream",
                         PQgetvalue(page, row, PAGE_ID), PQgetvalue(page, row, PAGE_STREAM));
            return false;
        }
    }
    return true;
}

static int load_page(struct replay *replay, const PGresult *page)
{
    for (int attempt = 1;; attempt++) {
        if (!add_rows(replay, page)) {
            return EXIT_CODE_NO;
        }
        loader_load(replay->loader, &replay->batch, on_replay_loaded, replay);
        event_base_dispatch(replay->base);
        if (!replay->failed) {
            return EXIT_CODE_DONE;
        }
        if (replay->failure.connection_lost || replay->failure.action == PG_ACTION_PERSON ||
            attempt == ATTEMPTS) {
            return report_failure(replay);
        }
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    }
}

/* --- results --- */

static const char *replay_reason(const struct replay *replay, const struct entry *entry)
{
    return entry->fate == ENTRY_ROW       ? NULL
           : entry->fate == ENTRY_EXPIRED ? not_kept
                                          : batch_reason(&replay->batch, entry);
}

static void report_row(struct replay *replay, const PGresult *page, int row)
{
    static const char *const outcomes[] = {
        [ENTRY_ROW] = "stored", [ENTRY_REJECTED] = "refused", [ENTRY_EXPIRED] = "expired"};
    const struct entry *entry = &replay->batch.entries[row];

    report_cell(replay->report, PQgetvalue(page, row, PAGE_ID));
    report_cell(replay->report, PQgetvalue(page, row, PAGE_STREAM));
    report_cell(replay->report, PQgetvalue(page, row, PAGE_ENTRY_ID));
    report_cell(replay->report, outcomes[entry->fate]);
    report_cell(replay->report, replay_reason(replay, entry));
    report_cell(replay->report, entry->sqlstate[0] == '\0' ? NULL : entry->sqlstate);
    replay->stored += entry->fate == ENTRY_ROW;
    replay->refused += entry->fate == ENTRY_REJECTED;
    replay->expired += entry->fate == ENTRY_EXPIRED;
}

static bool mark_refused(struct replay *replay, const char *id, const struct entry *entry)
{
    const char *values[] = {id, replay_reason(replay, entry),
                            entry->sqlstate[0] == '\0' ? NULL : entry->sqlstate};
    PGresult *result =
        pg_query(replay->pg, "SELECT blotter_internal.mark_refused($1::bigint, $2, $3)", 3, values);

    PQclear(result);
    return result != NULL;
}

static bool mark_stored(struct replay *replay, const char *ids)
{
    PGresult *result =
        pg_query(replay->pg, "SELECT blotter_internal.mark_replayed($1::bigint[])", 1, &ids);

    PQclear(result);
    return result != NULL;
}

static bool mark_page(struct replay *replay, const PGresult *page)
{
    struct sql_text ids = {0};
    bool any = false, marked = true;

    sql_text_add(&ids, "{");
    for (int row = 0; row < PQntuples(page) && marked; row++) {
        const char *id = PQgetvalue(page, row, PAGE_ID);

        if (replay->batch.entries[row].fate == ENTRY_ROW) {
            sql_text_add(&ids, "%s%s", any ? "," : "", id);
            any = true;
        } else {
            marked = mark_refused(replay, id, &replay->batch.entries[row]);
        }
    }
    sql_text_add(&ids, "}");
    marked = marked && (!any || mark_stored(replay, ids.text));
    sql_text_release(&ids);
    return marked;
}

static int replay_page(struct replay *replay, const PGresult *page)
{
    int code = load_page(replay, page);

    for (int row = 0; row < PQntuples(page) && code == EXIT_CODE_DONE; row++) {
        report_row(replay, page, row);
    }
    if (code == EXIT_CODE_DONE && !replay->settings->dry_run && !mark_page(replay, page)) {
        code = replay->pg->exit_code;
    }
    return code;
}

static int replay_pages(struct replay *replay, const struct rejects_selection *selection)
{
    const char *values[REJECTS_PARAMETERS + 1];
    char last[24] = "0";
    int code = EXIT_CODE_DONE, rows = 1;

    memcpy(values, selection->values, sizeof selection->values);
    values[REJECTS_PARAMETERS] = last;
    while (code == EXIT_CODE_DONE && rows > 0) {
        PGresult *page = pg_query(replay->pg, page_sql, REJECTS_PARAMETERS + 1, values);

        rows = page == NULL ? 0 : PQntuples(page);
        code = page == NULL ? replay->pg->exit_code
               : rows == 0  ? EXIT_CODE_DONE
                            : replay_page(replay, page);
        if (rows > 0) {
            snprintf(last, sizeof last, "%s", PQgetvalue(page, rows - 1, PAGE_ID));
        }
        PQclear(page);
    }
    return code;
}

/* --- the command --- */

static void begin_report(struct replay *replay)
{
    replay->report = report_create();
    report_column(replay->report, "id", REPORT_NUMBER);
    report_column(replay->report, "stream", REPORT_TEXT);
    report_column(replay->report, "entry_id", REPORT_TEXT);
    report_column(replay->report, "outcome", REPORT_TEXT);
    report_column(replay->report, "reason", REPORT_TEXT);
    report_column(replay->report, "sqlstate", REPORT_TEXT);
}

static void replay_print(const struct replay *replay)
{
    bool dry = replay->settings->dry_run;

    if (replay->settings->json) {
        report_print_json(
            json_pack("{s:b, s:I, s:I, s:I, s:o}", "dry_run", dry, "stored",
                      (json_int_t)replay->stored, "refused", (json_int_t)replay->refused, "expired",
                      (json_int_t)replay->expired, "rejects", report_json(replay->report)));
        return;
    }
    if (report_rows(replay->report) > 0) {
        report_print(replay->report);
        printf("\n");
    }
    printf("%s%lld stored, %lld refused again, %lld of days that are no longer kept\n",
           dry ? "dry run, nothing is changed: " : "", (long long)replay->stored,
           (long long)replay->refused, (long long)replay->expired);
}

static int replay_end(const struct replay *replay, const struct rejects_selection *selection)
{
    size_t found = report_rows(replay->report);

    replay_print(replay);
    if (selection->id_count > found) {
        return command_fail(
            replay->settings, EXIT_CODE_NO,
            "%zu of these rejects do not exist, are not selected, or were replayed before",
            selection->id_count - found);
    }
    return replay->refused + replay->expired > 0 ? EXIT_CODE_NO : EXIT_CODE_DONE;
}

int rejects_replay(struct pg *pg, const struct rejects_selection *selection)
{
    struct replay replay = {.pg = pg, .settings = pg->settings};
    int code = connect_loader(&replay);

    begin_report(&replay);
    if (code == EXIT_CODE_DONE) {
        code = replay_pages(&replay, selection);
    }
    if (code == EXIT_CODE_DONE) {
        code = replay_end(&replay, selection);
    } else if (report_rows(replay.report) > 0) {
        replay_print(&replay); /* what was done before it failed */
    }
    replay_release(&replay);
    return code;
}
