/* journal_command.c: `blotter journal PATH`: prints what a journal holds, and with --records each
 * of its records as a line of JSON. It locks nothing and
 * changes nothing, so the numbers of a journal in use need not be of the same moment. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drainer/commands.h"
#include "drainer/commands/report.h"
#include "drainer/memory.h"
#include "drainer/record_json.h"
#include "drainer/settings_table.h"
#include "drainer/terminal.h"
#include "producer/blotter.h"
#include "producer/journal.h"
#include "producer/journal_recover.h"
#include "schema/iso_time.h"

static const char *owner_of(const struct journal_picture *picture)
{
    return !picture->owner_valid ? "damaged" : picture->closed ? "closed" : "open, or died";
}

/* clang-format off */
#define NUMBERS(X) \
    X(version, NUMBER) \
    X(slots, NUMBER) \
    X(slot_bytes, NUMBER) \
    X(file_bytes, NUMBER) \
    X(expected_bytes, NUMBER) \
    X(producer_id, ID) \
    X(pid, NUMBER) \
    X(opened_ns, NUMBER) \
    X(base, NUMBER) \
    X(next, NUMBER) \
    X(sent, NUMBER) \
    X(committed, NUMBER) \
    X(floor, NUMBER) \
    X(valid, NUMBER) \
    X(unsent, NUMBER) \
    X(unconfirmed, NUMBER) \
    X(unpublished, NUMBER) \
    X(damaged, NUMBER)
/* clang-format on */

static void journal_print_json(const char *path, const struct journal_picture *picture)
{
    const char *const texts[] = {path, picture->exchange, picture->lane, picture->host,
                                 owner_of(picture)};
    static const char *const names[] = {"path", "exchange", "lane", "host", "owner"};
    struct report *report = report_create();

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        report_column(report, names[i], REPORT_TEXT);
    }
#define X(name, type) report_column(report, #name, REPORT_##type);
    NUMBERS(X)
#undef X
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        report_cell(report, texts[i]);
    }
#define X(name, type) report_number(report, (int64_t)picture->name);
    NUMBERS(X)
#undef X
    report_print_json(report_json_row(report, 0));
    report_destroy(report);
}

static void print_time(const char *name, int64_t ns)
{
    char text[ISO_TIME_BYTES];

    iso_time_write(ns / 1000000000, text);
    printf("%-14s %s\n", name, text);
}

static void journal_print_text(const char *path, const struct journal_picture *picture)
{
    printf("%-14s %s\n", "journal", path);
    printf("%-14s %s%s%s\n", "exchange", picture->exchange,
           picture->lane[0] == '\0' ? "" : ", lane ", picture->lane);
    printf("%-14s %" PRIu32 " of %" PRIu32 " bytes, format %" PRIu32 "\n", "slots", picture->slots,
           picture->slot_bytes, picture->version);
    if (picture->file_bytes != picture->expected_bytes) {
        printf("%-14s %" PRIu64 " bytes, but %" PRIu64 " are expected\n", "file",
               picture->file_bytes, picture->expected_bytes);
    }
    printf("%-14s %" PRId64 ", pid %" PRId64 " on ", "producer", picture->producer_id,
           picture->pid);
    terminal_print(stdout, picture->host);
    printf(": %s\n", owner_of(picture));
    print_time("opened", picture->opened_ns);
    printf("%-14s next %" PRIu64 ", sent %" PRIu64 ", committed %" PRIu64 ", floor %" PRIu64
           "; seq = position - %" PRIu64 "\n",
           "positions", picture->next, picture->sent, picture->committed, picture->floor,
           picture->base);
    printf("%-14s %" PRIu64 " not yet sent, %" PRIu64
           " sent and not confirmed to be in PostgreSQL\n",
           "records", picture->unsent, picture->unconfirmed);
    if (picture->unpublished + picture->damaged > 0) {
        printf("%-14s %" PRIu64 " slots claimed but not filled, %" PRIu64 " damaged\n", "",
               picture->unpublished, picture->damaged);
    }
}

/* Makes JSON of the body, a map without its head. NULL: it cannot be read. The caller frees it. */
static char *json_of_body(const struct journal_slot *slot)
{
    enum { MAP16 = 0xde, MAP16_BYTES = 3 };
    unsigned char *map = memory_or_abort(malloc(MAP16_BYTES + slot->length));
    map[0] = MAP16;
    map[1] = (unsigned char)(slot->fields >> 8);
    map[2] = (unsigned char)slot->fields;
    memcpy(map + MAP16_BYTES, slot->body, slot->length);
    char *json = record_json_of_msgpack(map, MAP16_BYTES + slot->length);
    free(map);
    return json;
}

/* Prints a record, as a journal_inspector. The body's own keys stand in `record`, as its writer
 * gave them. */
static void journal_print_record(void *arg, uint64_t position, const struct journal_slot *slot,
                                 const char *state)
{
    (void)arg;
    const char *kind =
        record_kind_known(slot->kind) ? record_schemas[slot->kind].name : "damaged, left out";
    char *record = json_of_body(slot);
    printf("{\"position\":%" PRIu64 ",\"state\":\"%s\",\"kind\":\"%s\",\"producer_id\":%" PRId64
           ",\"seq\":%" PRId64 ",\"recorded_at\":%" PRId64 ",\"bytes\":%" PRIu32 ",\"record\":",
           position, state, kind, slot->producer_id, slot->seq, slot->recorded_at_ns, slot->length);
    if (record != NULL && isatty(STDOUT_FILENO) == 1) {
        terminal_print(stdout, record); /* some control characters are no escapes in JSON */
    } else {
        fputs(record != NULL ? record : "null", stdout);
    }
    printf("}\n");
    free(record);
}

int command_journal(const struct settings *settings)
{
    struct journal_picture picture;
    char error[JOURNAL_ERROR_BYTES] = "";
    const char *path = settings->arguments[0];
    int status = journal_inspect_records(path, settings->records ? journal_print_record : NULL,
                                         NULL, &picture, error);

    if (status != BLOTTER_OK) {
        bool system = status == BLOTTER_SYSTEM; /* its error names the path */
        return command_fail(settings, system ? EXIT_CODE_USAGE : EXIT_CODE_NO, "%s%s%s",
                            system ? "" : path, system ? "" : ": ",
                            error[0] == '\0' ? blotter_status_text(status) : error);
    }
    if (settings->records) {
        /* the records are all of the output */
    } else if (settings->json) {
        journal_print_json(path, &picture);
    } else {
        journal_print_text(path, &picture);
    }
    return picture.damaged > 0 || !picture.owner_valid ? EXIT_CODE_NO : EXIT_CODE_DONE;
}
