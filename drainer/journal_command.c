/* journal_command.c: `blotter journal PATH`: what a journal holds. It locks nothing and changes nothing, so of a journal in use
 * it is a picture of moments that never were at once. */
#include <inttypes.h>
#include <jansson.h>
#include <time.h>

#include "drainer/report.h"
#include "drainer/settings.h"
#include "producer/blotter.h"
#include "producer/journal.h"

static const char *owner_of(const struct journal_picture *picture)
{
    return !picture->owner_valid ? "damaged" : picture->closed ? "closed" : "open, or died";
}

static void print_json(const char *path, const struct journal_picture *picture)
{
    report_print_json(
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
                  "s:I}", /* */
                  "path", path, "version", (int)picture->version, "exchange", picture->exchange, "lane", picture->lane, "host",
                  picture->host, "pid", (json_int_t)picture->pid, "producer_id", (json_int_t)picture->producer_id, "owner",
                  owner_of(picture), "opened_ns", (json_int_t)picture->opened_ns, "slots", (int)picture->slots, "slot_bytes",
                  (int)picture->slot_bytes, "next", (json_int_t)picture->next, "sent", (json_int_t)picture->sent, "committed",
                  (json_int_t)picture->committed, "floor", (json_int_t)picture->floor, "valid", (json_int_t)picture->valid,
                  "unpublished", (json_int_t)picture->unpublished, "damaged", (json_int_t)picture->damaged, "unsent",
                  (json_int_t)picture->unsent, "unconfirmed", (json_int_t)picture->unconfirmed, "file_bytes",
                  (json_int_t)picture->file_bytes, "expected_bytes", (json_int_t)picture->expected_bytes),
        stdout);
}

static void print_time(const char *name, int64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm utc;
    char text[64];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    printf("%-14s %s\n", name, text);
}

static void print_text(const char *path, const struct journal_picture *picture)
{
    printf("%-14s %s\n", "journal", path);
    printf("%-14s %s%s%s\n", "exchange", picture->exchange, picture->lane[0] == '\0' ? "" : ", lane ", picture->lane);
    printf("%-14s %" PRIu32 " of %" PRIu32 " bytes, format %" PRIu32 "\n", "slots", picture->slots, picture->slot_bytes,
           picture->version);
    if (picture->file_bytes != picture->expected_bytes) {
        printf("%-14s %" PRIu64 " bytes, but %" PRIu64 " are expected\n", "file", picture->file_bytes, picture->expected_bytes);
    }
    printf("%-14s %" PRId64 ", pid %" PRId64 " on %s: %s\n", "producer", picture->producer_id, picture->pid, picture->host,
           owner_of(picture));
    print_time("opened", picture->opened_ns);
    printf("%-14s next %" PRIu64 ", sent %" PRIu64 ", committed %" PRIu64 ", floor %" PRIu64 "; seq = position - %" PRIu64 "\n",
           "positions", picture->next, picture->sent, picture->committed, picture->floor, picture->base);
    printf("%-14s %" PRIu64 " not yet sent, %" PRIu64 " sent and without word that they are in PostgreSQL\n", "records",
           picture->unsent, picture->unconfirmed);
    if (picture->unpublished + picture->damaged > 0) {
        printf("%-14s %" PRIu64 " places claimed but not filled, %" PRIu64 " damaged\n", "", picture->unpublished,
               picture->damaged);
    }
}

int command_journal(const struct settings *settings)
{
    struct journal_picture picture;
    char error[JOURNAL_ERROR_BYTES] = "";
    const char *path = settings->arguments[0];
    int status = journal_inspect(path, &picture, error);

    if (status != BLOTTER_OK) {
        return command_fail(settings, status == BLOTTER_SYSTEM ? EXIT_CODE_USAGE : EXIT_CODE_NO, "%s: %s", path,
                            error[0] == '\0' ? blotter_status_text(status) : error);
    }
    if (settings->json) {
        print_json(path, &picture);
    } else {
        print_text(path, &picture);
    }
    return picture.damaged > 0 || !picture.owner_valid ? EXIT_CODE_NO : EXIT_CODE_DONE;
}
