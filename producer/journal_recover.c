/* journal_recover.c: what an owner that is gone has left behind, by the rules at the top of
 * journal.c. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_file.h"

/* No position is larger, in the lifetime of any file: what claims to be is damaged. */
#define POSITION_MAX (NEXT_POSITION / 2)

enum slot_state { SLOT_VALID, SLOT_UNPUBLISHED, SLOT_DAMAGED };

/* Whose a position was. */
struct identity {
    int64_t producer_id; /* 0: not known */
    uint64_t base;
};

/* Works on a bare mapping too, which inspection has. */
struct span {
    const struct journal *journal;
    uint64_t intact_bytes;
    uint64_t next, floor;
    bool same_boot, copied;
};

/* Was the file copied from the one that its owner had open? That one may still be in use, so
 * nothing is said in its name. */
static bool is_copy(const struct journal *journal)
{
    const struct journal_owner *owner = &journal->header->owner;
    return journal_owner_valid(owner) && owner->inode != journal_inode(journal->lock_fd);
}

static bool is_intact(const struct span *span, uint64_t position)
{
    const struct journal *journal = span->journal;
    uint64_t end =
        JOURNAL_PAGE_BYTES + ((position & (journal->slots - 1)) + 1) * journal->slot_bytes;
    return end <= span->intact_bytes;
}

/* Rules 1, 3, 4, 5. */
static enum slot_state slot_state(const struct span *span, uint64_t position)
{
    const struct journal *journal = span->journal;
    if (!is_intact(span, position)) {
        return SLOT_DAMAGED;
    }
    const struct journal_slot *slot = journal_slot_at(journal, position);
    if (journal_slot_holds(journal, slot, position)) {
        return SLOT_VALID;
    }
    uint64_t published = atomic_load_explicit(&slot->published, memory_order_acquire);
    bool last_lap =
        published == 0 || (position > journal->slots && published == position - journal->slots);
    return last_lap && span->same_boot ? SLOT_UNPUBLISHED : SLOT_DAMAGED;
}

/* The largest position that any slot holds; 0 if none does. */
static uint64_t largest_held(const struct journal *journal, uint64_t intact_bytes)
{
    struct span all = {.journal = journal, .intact_bytes = intact_bytes};
    uint64_t largest = 0;
    for (uint64_t i = 0; i < journal->slots && is_intact(&all, i); i++) {
        const struct journal_slot *slot = journal_slot_at(journal, i);
        uint64_t published = atomic_load_explicit(&slot->published, memory_order_acquire);
        if (published > largest && published <= POSITION_MAX &&
            (published & (journal->slots - 1)) == i &&
            journal_slot_holds(journal, slot, published)) {
            largest = published;
        }
    }
    return largest;
}

/* The smaller of a cursor and its complement, or `otherwise` if that is no position within [low,
 * high]. */
static uint64_t hint(const struct journal_cursor *cursor, uint64_t low, uint64_t high,
                     uint64_t otherwise)
{
    uint64_t value = atomic_load_explicit(&cursor->value, memory_order_acquire);
    uint64_t check = ~atomic_load_explicit(&cursor->check, memory_order_acquire);
    uint64_t smaller = value < check ? value : check;
    return smaller >= low && smaller <= high ? smaller : otherwise;
}

/* Rule 2. */
static void decide_span(struct span *span)
{
    const struct journal *journal = span->journal;
    const struct journal_header *header = journal->header;
    uint64_t after_held = largest_held(journal, span->intact_bytes) + 1, slots = journal->slots;
    uint64_t next = journal_next(journal);
    uint64_t floor = hint(&header->floor, 1, POSITION_MAX, 0);
    if (next < after_held || next > POSITION_MAX ||
        (floor && (next < floor || next - floor > slots))) {
        next = after_held;
    }
    if (floor == 0 && next - 1 > slots + after_held) {
        next = after_held; /* neither is to be believed */
    }
    if (floor == 0 || floor > next || next - floor > slots) {
        floor = next > slots ? next - slots : 1;
    }
    span->next = next;
    span->floor = floor;
}

static struct identity identity_of(const struct journal_slot *slot, uint64_t position)
{
    return (struct identity){slot->producer_id, position - (uint64_t)slot->seq};
}

/* Voids belong to the last owner, as those of earlier ones were made records when they were
 * adopted. Where the owner's part is damaged, the record before tells. */
static struct identity identity_of_lost(const struct span *span, uint64_t position,
                                        struct identity before)
{
    const struct journal_owner *owner = &span->journal->header->owner;
    if (journal_owner_valid(owner) && position > owner->base) {
        return (struct identity){owner->producer_id, owner->base};
    }
    return before;
}

static void leave_out(struct journal *journal, uint64_t position)
{
    struct journal_slot head = {
        .kind = SLOT_LEFT_OUT}; /* the damaged body stays, for who wants to look at it */
    static const unsigned char nothing[1];
    journal_publish(journal, position, &head, nothing, journal_body_checksum(nothing, 0));
}

static void make_void(struct journal *journal, uint64_t position, struct identity who,
                      int64_t recorded_at_ns)
{
    unsigned char body[JOURNAL_SESSION_BYTES];
    unsigned fields;
    struct blotter_session session = {.event = "void", .last_seq = (int64_t)(position - who.base)};
    uint32_t length = journal_encode_session(journal, &session, body, &fields);
    struct journal_slot head = {.producer_id = who.producer_id,
                                .seq = session.last_seq,
                                .recorded_at_ns = recorded_at_ns,
                                .kind = SLOT_SESSION,
                                .fields = (uint16_t)fields,
                                .length = length};
    journal_publish(journal, position, &head, body, journal_body_checksum(body, length));
}

static void settle_slots(struct journal *journal, const struct span *span)
{
    struct identity before = {0, 0};
    int64_t recorded_at_ns = 0;
    for (uint64_t position = span->floor; position < span->next; position++) {
        struct journal_slot *slot = journal_slot_at(journal, position);
        enum slot_state state = slot_state(span, position);
        struct identity who = identity_of_lost(span, position, before);
        if (state == SLOT_VALID) {
            atomic_store_explicit(&slot->published, position,
                                  memory_order_release); /* as in journal_publish */
            if (slot->kind != SLOT_LEFT_OUT) {
                before = identity_of(slot, position);
                recorded_at_ns = slot->recorded_at_ns;
                journal->found.leftovers++;
            }
        } else if (state == SLOT_UNPUBLISHED && span->copied) {
            leave_out(journal, position);
        } else if (state == SLOT_UNPUBLISHED && who.producer_id && position > who.base) {
            make_void(journal, position, who,
                      recorded_at_ns ? recorded_at_ns : journal_now_ns(journal));
            journal->found.voided++;
        } else {
            leave_out(journal, position);
            journal->found.damaged++;
        }
    }
}

/* The last record's identity, also if it lies below floor: its slot is still there. */
static struct identity last_identity(const struct journal *journal, uint64_t next, bool *closed)
{
    const struct journal_owner *owner = &journal->header->owner;
    struct identity last = {0, 0};
    *closed = false;
    if (next > 1) {
        const struct journal_slot *slot = journal_slot_at(journal, next - 1);
        if (journal_slot_holds(journal, slot, next - 1) && slot->kind != SLOT_LEFT_OUT) {
            last = identity_of(slot, next - 1);
            *closed = (slot->flags & SLOT_IS_CLOSED) != 0;
        }
    }
    if (journal_owner_valid(owner) && owner->base + 1 < next && !*closed) {
        last = (struct identity){owner->producer_id, owner->base};
    }
    return last;
}

bool journal_is_closed(const struct journal *journal)
{
    bool closed;
    uint64_t next = atomic_load_explicit(&journal->header->next.value, memory_order_acquire);
    struct identity last = last_identity(journal, next & NEXT_POSITION, &closed);
    return (closed || last.producer_id == 0 || is_copy(journal)) && (next & NEXT_CLOSED);
}

/* In one go with the decision about `next`: `closed` of the dead owner, if it has left none and
 * there is room. */
static uint64_t close_for_the_dead(struct journal *journal, uint64_t next, uint64_t floor)
{
    bool closed;
    struct identity last = last_identity(journal, next, &closed);
    uint64_t committed = journal_cursor(&journal->header->committed);
    journal->follows.producer_id = last.producer_id;
    journal->follows.last_seq = last.producer_id ? (int64_t)(next - 1 - last.base) : 0;
    journal->follows.confirmed_seq =
        last.producer_id && committed > last.base ? (int64_t)(committed - 1 - last.base) : 0;
    if (last.producer_id == 0 || closed || is_copy(journal) || next - floor >= journal->slots) {
        return next;
    }
    unsigned char body[JOURNAL_SESSION_BYTES];
    unsigned fields;
    struct blotter_session session = {.event = "closed",
                                      .last_seq = ++journal->follows.last_seq,
                                      .confirmed_seq = journal->follows.confirmed_seq,
                                      .extra = "{\"by\":\"who adopted the journal\"}"};
    uint32_t length = journal_encode_session(journal, &session, body, &fields);
    struct journal_slot head = {.producer_id = last.producer_id,
                                .seq = session.last_seq,
                                .recorded_at_ns = journal_now_ns(journal),
                                .kind = SLOT_SESSION,
                                .flags = SLOT_IS_CLOSED,
                                .fields = (uint16_t)fields,
                                .length = length};
    const struct journal_slot *before = journal_slot_at(journal, next - 1);
    if (journal_slot_holds(journal, before, next - 1) &&
        before->recorded_at_ns > head.recorded_at_ns) {
        head.recorded_at_ns = before->recorded_at_ns;
    }
    journal_publish(journal, next, &head, body, journal_body_checksum(body, length));
    return next + 1;
}

static void set_cursors(struct journal_header *header, const struct span *span)
{
    journal_cursor_set(&header->committed, hint(&header->committed, 1, span->next, span->floor));
    journal_cursor_set(&header->sent, hint(&header->sent, span->floor, span->next, span->floor));
    journal_cursor_set(&header->floor, span->floor);
}

static void set_closed(struct journal *journal, uint64_t next)
{
    /* release: what was repaired is there for who appends and who sends */
    atomic_store_explicit(&journal->header->next.value, next | NEXT_CLOSED, memory_order_release);
}

/* The slot in which a file was cut off may seem whole to who opens it next, if its record was
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

void journal_recover(struct journal *journal, bool no_sender)
{
    char boot[40];
    journal_boot_id(boot);
    struct journal_header *header = journal->header;
    struct span span = {.journal = journal, .intact_bytes = journal->intact_bytes};
    span.same_boot =
        !journal_owner_valid(&header->owner) || memcmp(header->owner.boot, boot, sizeof boot) == 0;
    span.copied = is_copy(journal);
    memset(&journal->found, 0, sizeof journal->found);
    decide_span(&span);
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

/* While the writer lives the value itself is what it goes by: to take the smaller one of value and
 * complement could lead below what it has overwritten by now. */
static void mend(struct journal_cursor *cursor, uint64_t low, uint64_t high)
{
    uint64_t value = journal_cursor(cursor);
    if (value < low || value > high) {
        journal_cursor_set(cursor, hint(cursor, low, high, low));
    }
}

bool journal_mend_cursors(struct journal *journal)
{
    struct journal_header *header = journal->header;
    uint64_t next = atomic_load_explicit(&header->next.value, memory_order_acquire);
    if (next == 0 || (next & NEXT_CLOSED)) {
        return false;
    }
    next &= NEXT_POSITION;
    mend(&header->floor, next > journal->slots ? next - journal->slots : 1, next);
    uint64_t floor = journal_cursor(&header->floor);
    mend(&header->sent, floor, next);
    mend(&header->committed, 1, next);
    return true;
}

/* --- inspection
 * -----------------------------------------------------------------------------------------------------------
 */

static void count_slots(const struct span *span, struct journal_picture *picture)
{
    for (uint64_t position = span->floor; position < span->next; position++) {
        switch (slot_state(span, position)) {
        case SLOT_VALID:
            picture->valid++;
            if (position >= picture->sent) {
                picture->unsent++;
            } else if (position >= picture->committed) {
                picture->unconfirmed++;
            }
            break;
        case SLOT_UNPUBLISHED:
            picture->unpublished++;
            break;
        case SLOT_DAMAGED:
            picture->damaged++;
            break;
        }
    }
}

static void fill_picture(const struct journal *journal, uint64_t size,
                         struct journal_picture *picture)
{
    const struct journal_header *header = journal->header;
    struct span span = {.journal = journal, .intact_bytes = size, .same_boot = true};
    decide_span(&span);
    picture->closed =
        (atomic_load_explicit(&header->next.value, memory_order_acquire) & NEXT_CLOSED) != 0;
    picture->next = span.next;
    picture->floor = span.floor;
    picture->sent = hint(&header->sent, span.floor, span.next, span.floor);
    picture->committed = hint(&header->committed, 1, span.next, span.floor);
    picture->owner_valid = journal_owner_valid(&header->owner);
    if (picture->owner_valid) {
        picture->producer_id = header->owner.producer_id;
        picture->base = header->owner.base;
        picture->pid = header->owner.pid;
        picture->opened_ns = header->owner.opened_ns;
        memcpy(picture->host, header->owner.host, sizeof picture->host);
    }
    count_slots(&span, picture);
}

/* The file may be shorter than its geometry says: memory in its full size, with what there is of
 * it. */
static int map_copy(int fd, uint64_t size, size_t bytes, void **out)
{
    unsigned char *map =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return -1;
    }
    for (uint64_t at = 0; at < size && at < bytes;) {
        ssize_t got = pread(fd, map + at, (size_t)(bytes - at), (off_t)at);
        if (got <= 0) {
            break;
        }
        at += (uint64_t)got;
    }
    *out = map;
    return 0;
}

static int inspect_open(int fd, const char *path, struct journal_picture *picture, char *error)
{
    struct stat st;
    struct journal_geometry geometry;
    struct journal journal = {.lock_fd = -1};
    void *map;
    if (fstat(fd, &st) != 0) {
        snprintf(error, JOURNAL_ERROR_BYTES, "%.255s: %s", path, strerror(errno));
        return BLOTTER_SYSTEM;
    }
    int status = journal_read_geometry(fd, (uint64_t)st.st_size, &geometry, error);
    if (status != 0) {
        return status;
    }
    picture->file_bytes = (uint64_t)st.st_size;
    picture->expected_bytes = journal_bytes(geometry.slots, geometry.slot_bytes);
    if (map_copy(fd, picture->file_bytes, picture->expected_bytes, &map) != 0) {
        snprintf(error, JOURNAL_ERROR_BYTES, "%.255s: out of memory", path);
        return BLOTTER_SYSTEM;
    }
    journal.header = map;
    journal.slot_area = (unsigned char *)map + JOURNAL_PAGE_BYTES;
    journal.slots = picture->slots = geometry.slots;
    journal.slot_bytes = picture->slot_bytes = geometry.slot_bytes;
    picture->version = geometry.version;
    memcpy(picture->exchange, geometry.exchange, sizeof picture->exchange);
    memcpy(picture->lane, geometry.lane, sizeof picture->lane);
    fill_picture(&journal, picture->file_bytes, picture);
    munmap(map, picture->expected_bytes);
    return 0;
}

int journal_inspect(const char *path, struct journal_picture *picture,
                    char error[JOURNAL_ERROR_BYTES])
{
    memset(picture, 0, sizeof *picture);
    *error = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC |
                            O_NONBLOCK); /* a FIFO may be there, which nobody writes to */
    if (fd < 0) {
        snprintf(error, JOURNAL_ERROR_BYTES, "%.255s: %s", path, strerror(errno));
        return BLOTTER_SYSTEM;
    }
    int status = inspect_open(fd, path, picture, error);
    close(fd);
    return status;
}
