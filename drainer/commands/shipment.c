/* shipment.c: see shipment.h. The sender is libblotter's own, on a journal opened with the sender's
 * role alone. */
#include "drainer/commands/shipment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands/log_event.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/settings_table.h"
#include "producer/journal_lock.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"
#include "producer/sender.h"

enum { SYNC_INTERVAL_MS = 100 };

static void shipment_on_event(void *arg, enum blotter_event event, const char *text)
{
    const struct shipment *shipment = arg;

    log_event(shipment->name, shipment->name, event, text);
}

static bool create_sender(struct shipment *shipment, struct event_base *base,
                          const struct settings *settings, char *error)
{
    struct sender_options options = {
        .base = base,
        .journal = shipment->journal,
        .redis = settings->redis,
        .password = settings->redis_password,
        .sync_interval_ms = strcmp(settings->sync, "interval") == 0 ? SYNC_INTERVAL_MS : 0,
        .on_event = shipment_on_event,
        .on_event_arg = shipment,
        .retarget = settings->retarget};

    (void)sender_create(&shipment->sender, &options, error, JOURNAL_ERROR_BYTES);
    shipment->hurried = shipment->sender != NULL && settings->once;
    if (shipment->hurried) {
        sender_hurry(shipment->sender, true);
    }
    return shipment->sender != NULL;
}

static void say_taken(const struct shipment *shipment)
{
    const struct journal *journal = shipment->journal;
    int64_t pid = journal->header->owner.pid;
    uint64_t records = journal_next(journal) - journal_cursor(&journal->header->floor);

    if (shipment->adopted) {
        log_info(shipment->name,
                 "adopted, as its writer, process %" PRId64 ", has ended: %" PRIu64
                 " records, %" PRIu64 " void",
                 pid, records, journal->found.voided);
    } else {
        log_info(shipment->name,
                 "followed: process %" PRId64 " writes it, %" PRIu64 " records so far", pid,
                 records);
    }
}

int shipment_open(struct shipment **out, const char *path, struct event_base *base,
                  const struct settings *settings, char error[JOURNAL_ERROR_BYTES])
{
    struct shipment *shipment = memory_or_abort(calloc(1, sizeof *shipment));
    int status =
        journal_open(&shipment->journal, path, &(struct journal_options){.send = true}, error);
    if (status != 0) {
        free(shipment);
        return status;
    }
    const char *slash = strrchr(shipment->journal->path, '/');
    shipment->name = slash == NULL ? shipment->journal->path : slash + 1;
    if (!create_sender(shipment, base, settings, error)) {
        shipment_close(shipment);
        return BLOTTER_SYSTEM;
    }
    shipment->adopted = journal_adopt(shipment->journal);
    shipment->first = journal_cursor(&shipment->journal->header->floor);
    shipment->end = journal_next(shipment->journal);
    say_taken(shipment);
    *out = shipment;
    return 0;
}

const char *shipment_left_alone(const struct shipment *shipment)
{
    return sender_left_alone(shipment->sender);
}

bool shipment_is(const struct shipment *shipment, const char *path)
{
    return strcmp(shipment->journal->path, path) == 0 &&
           journal_is_at(shipment->journal->lock_fd, path);
}

void shipment_poll(struct shipment *shipment)
{
    sender_poll(shipment->sender);
}

/* Looks how the journal stands. With CLAIMED the writer's lock is taken, but nobody has begun to
 * write: a process that opens a journal takes a moment for that, or waits for the sender's role,
 * which we have. */
enum shipment_state shipment_look(struct shipment *shipment)
{
    const struct journal *journal = shipment->journal;

    if (!journal_adopt(shipment->journal)) {
        if (shipment->adopted && journal_is_closing(journal)) {
            return SHIPMENT_CLAIMED;
        }
        if (shipment->adopted) {
            shipment->adopted = false;
            say_taken(shipment);
        }
        return SHIPMENT_FOLLOWED;
    }
    if (!shipment->adopted) {
        shipment->adopted = true;
        say_taken(shipment);
    }
    shipment->end = journal_next(journal);
    return journal_cursor(&journal->header->committed) == shipment->end &&
                   journal_cursor(&journal->header->floor) == shipment->end
               ? SHIPMENT_DONE
               : SHIPMENT_ADOPTED;
}

static int64_t positions_from(uint64_t first, uint64_t end)
{
    return end > first ? (int64_t)(end - first) : 0;
}

struct shipment_counts shipment_counts(const struct shipment *shipment,
                                       const struct settings *settings)
{
    const struct journal_header *header = shipment->journal->header;
    uint64_t sent = journal_cursor(&header->sent), committed = journal_cursor(&header->committed);

    return (struct shipment_counts){
        .sent = positions_from(shipment->first, sent),
        .committed = positions_from(shipment->first, committed),
        .left = positions_from(strcmp(settings->until, "committed") == 0 ? committed : sent,
                               shipment->end),
    };
}

const char *shipment_trouble(const struct shipment *shipment)
{
    static struct blotter_stats stats;

    sender_stats(shipment->sender, &stats);
    return stats.last_error[0] == '\0' && !stats.redis_up ? "no answer" : stats.last_error;
}

void shipment_close(struct shipment *shipment)
{
    if (shipment->hurried) {
        sender_hurry(shipment->sender, false);
    }
    sender_destroy(shipment->sender);
    journal_release(shipment->journal);
    free(shipment);
}
