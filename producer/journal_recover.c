/* journal_recover.c: what is believed of a journal whose owner is gone.
 *
 * Cursors are hints, slots carry the truth; in doubt more is sent, as duplicates are dropped by
 * identity.
 *
 *   1 A slot holds position p if its checksum, which covers p, matches, and its kind is known.
 *
 *   2 next is at least one more than the largest position held; a `next` that leaves more than
 *     `slots` from floor is not believed. floor, sent and committed are kept with their complement:
 *     of two that differ the smaller one counts.
 *
 *   3 A position from floor to next whose slot does not hold it, and whose `published` is 0 or of
 *     the last lap, was claimed by a thread that died before submit returned: it becomes a `void`
 *     record with that very seq, and so do the records behind it that belong to the same group. Not
 *     after another boot of the machine, where it may as well be a page that never reached the
 *     disk. Nor in a copy of the file: its owner may live, with the original, and accept a record
 *     of that number. There the position is left out, and no `closed` is written for the owner.
 *
 *   4 Any other such position is damaged: left out, which leaves a gap in seq that the audit names.
 *
 *   5 Slots beyond the end of a file that was cut short are damaged. A file whose geometry is lost
 *     in both places, or which ends before the first slot, is left as it is (CORRUPT); so is one of
 *     a version that is not known (FORMAT).
 *
 *   6 Order of writing at adoption: voids, `closed` of the dead owner, cursors, new owner. Wherever
 *     this is interrupted the next process finds either the old owner's journal, somewhat repaired,
 *     or the new one's. */
#include "producer/journal_recover.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_checksum.h"
#include "producer/journal_lock.h"
#include "producer/journal_span.h"

/* Voids belong to the last owner, as those of earlier ones were made records when they were
 * adopted. Where the owner's part is damaged, the record before tells. */
static struct journal_identity identity_of_lost(const struct journal_span *span, uint64_t position,
                                                struct journal_identity before)
{
    const struct journal_owner *owner = &span->journal->header->owner;
    if (journal_owner_valid(owner, span->journal->version) && position > owner->base) {
        return (struct journal_identity){owner->producer_id, owner->base};
    }
    return before;
}

static void leave_out(struct journal *journal, uint64_t position)
{
    /* the damaged body stays, for a person to look at */
    struct journal_slot head = {.kind = SLOT_LEFT_OUT};
    static const unsigned char nothing[1];
    journal_publish(journal, position, &head, nothing,
                    journal_checksum(journal->version, nothing, 0));
}

static void make_void(struct journal *journal, uint64_t position, struct journal_identity who,
                      int64_t recorded_at_ns)
{
    struct blotter_session session = {.event = "void", .last_seq = (int64_t)(position - who.base)};
    journal_publish_session(journal, position,
                            &(struct journal_slot){.producer_id = who.producer_id,
                                                   .seq = session.last_seq,
                                                   .recorded_at_ns = recorded_at_ns,
                                                   .flags = SLOT_IS_VOID},
                            &session);
}

/* Rules 3 and 4, for one position after the other. */
struct settling {
    struct journal_identity before; /* of the last record that was valid */
    int64_t recorded_at_ns;         /* of that record */
    bool cut;                       /* the position before was not published */
};

static void keep_slot(struct journal *journal, uint64_t position, struct journal_slot *slot,
                      struct settling *settling)
{
    /* release: as in journal.c */
    atomic_store_explicit(&slot->published, position, memory_order_release);
    settling->cut = (slot->flags & SLOT_IS_VOID) != 0;
    if (slot->kind != SLOT_LEFT_OUT) {
        settling->before =
            (struct journal_identity){slot->producer_id, position - (uint64_t)slot->seq};
        settling->recorded_at_ns = slot->recorded_at_ns;
        journal->found.leftovers++;
    }
}

static void settle_unpublished(struct journal *journal, const struct journal_span *span,
                               uint64_t position, struct settling *settling)
{
    struct journal_identity who = identity_of_lost(span, position, settling->before);
    settling->cut = true;
    if (span->copied) {
        leave_out(journal, position);
    } else if (who.producer_id != 0 && position > who.base) {
        make_void(journal, position, who,
                  settling->recorded_at_ns != 0 ? settling->recorded_at_ns
                                                : journal_clock_now(&journal->clock));
        journal->found.voided++;
    } else {
        leave_out(journal, position);
        journal->found.damaged++;
    }
}

static void settle_slots(struct journal *journal, const struct journal_span *span)
{
    struct settling settling = {0};
    for (uint64_t position = span->floor; position < span->next; position++) {
        struct journal_slot *slot = journal_slot_at(journal, position);
        enum journal_slot_state state = journal_slot_state(span, position);
        if (state == SLOT_VALID && (!settling.cut || (slot->flags & SLOT_CONTINUES) == 0)) {
            keep_slot(journal, position, slot, &settling);
        } else if (state != SLOT_DAMAGED) {
            settle_unpublished(journal, span, position, &settling);
        } else {
            leave_out(journal, position);
            journal->found.damaged++;
            settling.cut = false;
        }
    }
}

/* Writes `closed` of the dead owner, if it has left none and there is room: in one go with the
 * decision about `next`, which it returns. */
static uint64_t close_for_the_dead(struct journal *journal, uint64_t next, uint64_t floor)
{
    bool closed;
    struct journal_identity last = journal_last_identity(journal, next, &closed);
    uint64_t committed = journal_cursor(&journal->header->committed);
    journal->follows.producer_id = last.producer_id;
    journal->follows.last_seq = last.producer_id != 0 ? (int64_t)(next - 1 - last.base) : 0;
    journal->follows.confirmed_seq =
        last.producer_id != 0 && committed > last.base ? (int64_t)(committed - 1 - last.base) : 0;
    if (last.producer_id == 0 || closed || journal_is_copy(journal) ||
        next - floor >= journal->slots) {
        return next;
    }
    struct blotter_session session = {.event = "closed",
                                      .last_seq = ++journal->follows.last_seq,
                                      .confirmed_seq = journal->follows.confirmed_seq,
                                      .extra = "{\"by\":\"the process that adopted the journal\"}"};
    struct journal_slot head = {.producer_id = last.producer_id,
                                .seq = session.last_seq,
                                .recorded_at_ns = journal_clock_now(&journal->clock),
                                .flags = SLOT_IS_CLOSED};
    const struct journal_slot *before = journal_slot_at(journal, next - 1);
    if (journal_slot_holds(journal->version, journal->slot_bytes, before, next - 1) &&
        before->recorded_at_ns > head.recorded_at_ns) {
        head.recorded_at_ns = before->recorded_at_ns;
    }
    journal_publish_session(journal, next, &head, &session);
    return next + 1;
}

static void set_cursors(struct journal_header *header, const struct journal_span *span)
{
    journal_cursor_set(&header->committed,
                       journal_hint(&header->committed, 1, span->next, span->floor));
    journal_cursor_set(&header->sent,
                       journal_hint(&header->sent, span->floor, span->next, span->floor));
    journal_cursor_set(&header->floor, span->floor);
}

static void set_closed(struct journal *journal, uint64_t next)
{
    /* release: a writer and a sender that see it see what was repaired, too */
    atomic_store_explicit(&journal->header->next.value, next | NEXT_CLOSED, memory_order_release);
}

/* Wipes the slot in which a file was cut off: it may seem whole at the next open, if its record was
 * short. */
static void wipe_cut_slot(const struct journal *journal)
{
    uint64_t slots_end = journal->map_bytes - JOURNAL_PAGE_BYTES;
    if (journal->intact_bytes >= slots_end) {
        return;
    }
    uint64_t index = (journal->intact_bytes - JOURNAL_PAGE_BYTES) / journal->slot_bytes;
    memset(journal_slot_at(journal, index), 0, JOURNAL_SLOT_HEAD_BYTES);
}

void journal_boot_id(char out[40])
{
    memset(out, 0, 40);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (read(fd, out, 36) != 36) {
        memset(out, 0, 40);
    }
    close(fd);
}

/* Says whether the machine was not started again since the owner opened the journal. Where the
 * kernel did not say then, or does not now (no /proc), only a file that cannot outlive a boot
 * tells. */
static bool is_same_boot(const struct journal *journal)
{
    const struct journal_owner *owner = &journal->header->owner;
    char boot[40];
    journal_boot_id(boot);
    if (!journal_owner_valid(owner, journal->version)) {
        return true;
    }
    bool known = boot[0] != '\0' && owner->boot[0] != '\0';
    return known ? memcmp(owner->boot, boot, sizeof boot) == 0 : journal->in_memory;
}

void journal_recover(struct journal *journal, bool no_sender)
{
    struct journal_header *header = journal->header;
    struct journal_span span = {.journal = journal, .intact_bytes = journal->intact_bytes};
    span.same_boot = is_same_boot(journal);
    span.copied = journal_is_copy(journal);
    memset(&journal->found, 0, sizeof journal->found);
    journal_decide_span(&span);
    wipe_cut_slot(journal);
    settle_slots(journal, &span);
    journal->intact_bytes = journal->map_bytes; /* what was cut off is settled */
    if (no_sender) {
        set_cursors(header, &span);
    }
    set_closed(journal, close_for_the_dead(journal, span.next, span.floor));
}

/* --- a sender's view of its writer --- */

bool journal_adopt(struct journal *journal)
{
    assert(journal->sender && !journal->writer);
    if (journal_lock(journal->lock_fd, JOURNAL_LOCK_WRITER) != 0) {
        return false;
    }
    _Atomic uint64_t *next = &journal->header->next.value;
    if (journal->adopted == 0 ||
        atomic_load_explicit(next, memory_order_acquire) != journal->adopted) {
        journal_recover(journal, true);
    } else if (!journal_is_closed(journal)) { /* there was no room for it */
        set_closed(journal, close_for_the_dead(journal, journal_next(journal),
                                               journal_cursor(&journal->header->floor)));
    }
    journal->adopted = atomic_load_explicit(next, memory_order_acquire);
    journal_unlock(journal->lock_fd, JOURNAL_LOCK_WRITER);
    return true;
}

/* Mends a cursor. While the writer lives it goes by the value itself: to take the smaller one of
 * value and complement could lead below what it has overwritten by now. */
static void mend(struct journal_cursor *cursor, uint64_t low, uint64_t high)
{
    uint64_t value = journal_cursor(cursor);
    if (value < low || value > high) {
        journal_cursor_set(cursor, journal_hint(cursor, low, high, low));
    }
}

bool journal_mend_cursors(struct journal *journal)
{
    struct journal_header *header = journal->header;
    uint64_t next = atomic_load_explicit(&header->next.value, memory_order_acquire);
    if (next == 0 || (next & NEXT_CLOSED) != 0) {
        return false;
    }
    next &= NEXT_POSITION;
    mend(&header->floor, next > journal->slots ? next - journal->slots : 1, next);
    uint64_t floor = journal_cursor(&header->floor);
    mend(&header->sent, floor, next);
    mend(&header->committed, 1, next);
    return true;
}
