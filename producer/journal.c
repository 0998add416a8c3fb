/* journal.c: how records get into a journal, and out of it.
 *
 * Submit      1 encodes the body on its stack and sums it up;
 *             2 claims position n: reads `next`, `floor` (room: next - floor < slots, nothing else)
 *               and the clock, and moves `next` from n to n + 1 by compare-and-swap. The clock is
 *               read between, so recorded_at never goes back in seq order: the thread that claims
 *               n + 1 reads the clock after the thread that claimed n;
 *             3 fills slot n modulo slots and stores `published` = n with release. The value is the
 *               position, not a flag: the last lap's slot must not look published.
 *             Two flags share the word with `next`: CLOSED lets no thread claim any more, in the
 *             same compare-and-swap that would have claimed; OPENING makes the first claim that of
 *             the `opened` record. A `next` of 0 means closed, too (journal_handle.h).
 * Groups      Records that belong together are claimed in one step, and published from the last to
 *             the first. All but the first carry CONTINUES, so that recovery voids what a process
 *             that died in between has left of them.
 * Sender      reads slots from `floor` on that are published, and alone moves the other cursors.
 *             `floor` only grows, never beyond `sent`, and nothing below it is ever read: so a
 *             submitter that sees room overwrites nothing wanted. */
#include "producer/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_checksum.h"
#include "producer/journal_lock.h"
#include "producer/journal_map.h"

enum {
    RELEASE_WAIT_US = 100,
    RELEASE_WAITS = 10000,
    CACHE_LINE_BYTES = 64,
    FETCHED_BYTES = 10 * CACHE_LINE_BYTES, /* most records are not longer */
};

/* --- claiming and publishing --- */

static inline void journal_store_slot(uint32_t version, struct journal_slot *slot,
                                      uint64_t position, const struct journal_slot *head,
                                      const unsigned char *body, uint64_t body_checksum)
{
    uint64_t shape = journal_slot_shape(head);
    slot->producer_id = head->producer_id;
    slot->seq = head->seq;
    slot->recorded_at_ns = head->recorded_at_ns;
    memcpy((char *)slot + offsetof(struct journal_slot, kind), &shape, sizeof shape);
    /* relaxed: the sender writes them only after it has seen `published` */
    atomic_store_explicit(&slot->entry_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->entry_seq, 0, memory_order_relaxed);
    slot->checksum = journal_slot_checksum(version, head, position, body_checksum);
    memcpy(slot->body, body, head->length);
    /* release: a reader of `published` = position reads everything above */
    atomic_store_explicit(&slot->published, position, memory_order_release);
}

void journal_publish(struct journal *journal, uint64_t position, const struct journal_slot *head,
                     const unsigned char *body, uint64_t body_checksum)
{
    journal_store_slot(journal->version, journal_slot_at(journal, position), position, head, body,
                       body_checksum);
}

static inline bool has_room(const struct journal *journal, const struct journal_header *header,
                            uint64_t next, uint64_t count)
{
    /* acquire: pairs with the sender's release of `floor`; it is done reading what we are about to
     * overwrite */
    uint64_t floor = atomic_load_explicit(&header->floor.value, memory_order_acquire);
    return next + count - floor <= journal->slots;
}

/* Answers that there was no room behind `next` as it was read. Returns FULL; or 0, to look again:
 * it was closed since, or others have claimed, so that floor may even be beyond it. */
static __attribute__((noinline, cold)) int
answer_no_room(struct journal *journal, const struct journal_header *header, uint64_t next)
{
    if (atomic_load_explicit(&header->next.value, memory_order_acquire) != next) {
        return 0;
    }
    atomic_fetch_add_explicit(&journal->full, 1, memory_order_relaxed); /* a counter */
    return BLOTTER_FULL;
}

/* Encodes a session record that surely fits: what is too long for the slot is left out. Returns the
 * body's length. */
enum { JOURNAL_SESSION_BYTES = 1024 };
static uint32_t journal_encode_session(const struct journal *journal,
                                       const struct blotter_session *wanted, unsigned char *body,
                                       unsigned *fields)
{
    struct blotter_session session = *wanted;
    const char **dispensable[] = {&session.extra, &session.journal, &session.host, &session.version,
                                  NULL};
    size_t capacity = journal->body_capacity < JOURNAL_SESSION_BYTES ? journal->body_capacity
                                                                     : JOURNAL_SESSION_BYTES;
    struct record_problem problem;
    for (int i = 0;; i++) {
        int length = record_encode(RECORD_SESSION, &session, body, capacity, fields, &problem);
        if (length >= 0) {
            return (uint32_t)length;
        }
        assert(dispensable[i] != NULL); /* event and numbers fit the smallest slot */
        *dispensable[i] = NULL;
    }
}

void journal_publish_session(struct journal *journal, uint64_t position, struct journal_slot *head,
                             const struct blotter_session *session)
{
    unsigned char body[JOURNAL_SESSION_BYTES];
    unsigned fields;
    head->kind = RECORD_SESSION;
    head->length = journal_encode_session(journal, session, body, &fields);
    head->fields = (uint16_t)fields;
    journal_publish(journal, position, head, body,
                    journal_checksum(journal->version, body, head->length));
}

/* Claims `next`, leaving `after` there, and writes the session record. False: another thread was
 * quicker. */
static bool claim_for_session(struct journal *journal, struct journal_header *header, uint64_t next,
                              uint64_t after, struct blotter_session *session, uint8_t flags)
{
    uint64_t position = next & NEXT_POSITION;
    int64_t now = journal_clock_now(&journal->clock);
    /* as in journal_claim */
    if (!atomic_compare_exchange_strong_explicit(&header->next.value, &next, after,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        return false;
    }
    journal_publish_session(journal, position,
                            &(struct journal_slot){.producer_id = journal->producer_id,
                                                   .seq = (int64_t)(position - journal->base),
                                                   .recorded_at_ns = now,
                                                   .flags = flags},
                            session);
    return true;
}

static void write_opened(struct journal *journal, struct journal_header *header, uint64_t next)
{
    char host[sizeof header->owner.host];
    memcpy(host, header->owner.host, sizeof host);
    host[sizeof host - 1] = '\0';
    struct blotter_session session = {
        .event = "opened",
        .follows = journal->follows.producer_id,
        .confirmed_seq = journal->follows.confirmed_seq,
        .last_seq = journal->follows.last_seq,
        .journal = journal->path,
        .host = host[0] != '\0' ? host : NULL,
        .pid = journal->pid,
        .version = BLOTTER_VERSION,
    };
    claim_for_session(journal, header, next, (next & NEXT_POSITION) + 1, &session, 0);
}

static bool is_flagged(uint64_t next)
{
    return next - 1 >= NEXT_POSITION;
}

/* Decides where `next` is 0 or has a flag. Returns 0: look at it again; or the answer. */
static __attribute__((noinline)) int
claim_flagged(struct journal *journal, struct journal_header *header, uint64_t next, unsigned count)
{
    if (next == 0 || (next & NEXT_CLOSED) != 0) {
        return BLOTTER_CLOSED;
    }
    if (!has_room(journal, header, next & NEXT_POSITION, count + 1)) {
        return answer_no_room(journal, header, next);
    }
    write_opened(journal, header, next);
    return 0;
}

/* Claims positions. Until then the journal may be released at any moment, and all that is read of
 * the handle be zeroes; then the claim fails, as `next` said closed before. From the claim to
 * publication it is not released. */
static inline int journal_take_positions(struct journal *journal, unsigned count,
                                         struct journal_claim *out)
{
    struct journal_header *header = journal_header_late(journal);
    if (__builtin_expect(header == NULL, 0)) {
        return BLOTTER_CLOSED;
    }
    _Atomic uint64_t *word = &header->next.value;
    /* acquire: the clock is read, and the slot written, after the threads that claimed before us
     * did */
    uint64_t next = atomic_load_explicit(word, memory_order_acquire);
    for (;;) {
        if (__builtin_expect(is_flagged(next), 0)) {
            int refused = claim_flagged(journal, header, next, count);
            if (refused != 0) {
                return refused;
            }
            next = atomic_load_explicit(word, memory_order_acquire);
            continue;
        }
        if (__builtin_expect(!has_room(journal, header, next, count), 0)) {
            int refused = answer_no_room(journal, header, next);
            if (refused != 0) {
                return refused;
            }
            next = atomic_load_explicit(word, memory_order_acquire);
            continue;
        }
        int64_t now = journal_clock_now(&journal->clock);
        /* release: our reading of the clock is before the claim for each thread that sees it;
         * acquire as above, for the next turn */
        if (__builtin_expect(atomic_compare_exchange_weak_explicit(word, &next, next + count,
                                                                   memory_order_acq_rel,
                                                                   memory_order_acquire),
                             1)) {
            *out = (struct journal_claim){next, count, now};
            return 0;
        }
    }
}

/* Fills a claimed slot in a file of the present version: the fast way. */
static inline void journal_fill_slot(struct journal *journal, uint64_t position,
                                     const struct journal_slot *head, const unsigned char *body,
                                     uint64_t body_checksum)
{
    journal_store_slot(JOURNAL_VERSION, journal_slot_at(journal, position), position, head, body,
                       body_checksum);
}

int journal_claim(struct journal *journal, unsigned count, struct journal_claim *out)
{
    return journal_take_positions(journal, count, out);
}

void journal_fill(struct journal *journal, const struct journal_claim *claimed, unsigned index,
                  enum record_kind kind, const unsigned char *body, uint32_t length,
                  unsigned fields)
{
    uint64_t position = claimed->position + index;
    struct journal_slot head = {.producer_id = journal->producer_id,
                                .seq = (int64_t)(position - journal->base),
                                .recorded_at_ns = claimed->recorded_at_ns,
                                .kind = (uint8_t)kind,
                                .flags = index > 0 ? SLOT_CONTINUES : 0,
                                .fields = (uint16_t)fields,
                                .length = length};
    journal_fill_slot(journal, position, &head, body,
                      journal_checksum(JOURNAL_VERSION, body, length));
}

void journal_fill_void(struct journal *journal, const struct journal_claim *claimed, unsigned index)
{
    unsigned char body[JOURNAL_SESSION_BYTES];
    unsigned fields;
    struct blotter_session session = {
        .event = "void", .last_seq = (int64_t)(claimed->position + index - journal->base)};
    uint32_t length = journal_encode_session(journal, &session, body, &fields);
    journal_fill(journal, claimed, index, RECORD_SESSION, body, length, fields);
}

__attribute__((hot)) int64_t journal_append(struct journal *journal, enum record_kind kind,
                                            const unsigned char *body, uint32_t length,
                                            unsigned fields)
{
    uint64_t body_checksum = journal_checksum(JOURNAL_VERSION, body, length);
    struct journal_claim claimed;
    int refused = journal_take_positions(journal, 1, &claimed);
    if (__builtin_expect(refused != 0, 0)) {
        return refused;
    }
    struct journal_slot head = {.producer_id = journal->producer_id,
                                .seq = (int64_t)(claimed.position - journal->base),
                                .recorded_at_ns = claimed.recorded_at_ns,
                                .kind = (uint8_t)kind,
                                .fields = (uint16_t)fields,
                                .length = length};
    journal_fill_slot(journal, claimed.position, &head, body, body_checksum);
    return head.seq;
}

void journal_fetch_next(const struct journal *journal)
{
    const struct journal_header *header = journal_header_late(journal);
    if (header == NULL) {
        return;
    }
    uint64_t next = atomic_load_explicit(&header->next.value, memory_order_relaxed); /* a guess */
    const char *slot = (const char *)journal_slot_at(journal, next & NEXT_POSITION);
#pragma GCC unroll 16
    for (size_t i = 0; i < FETCHED_BYTES; i += CACHE_LINE_BYTES) {
        __builtin_prefetch(slot + i, 1);
    }
}

/* Returns how many of the writer's records the drainer has confirmed, from the first on. */
static int64_t confirmed_seq(const struct journal *journal)
{
    uint64_t committed = journal_cursor(&journal->header->committed);
    return committed > journal->base ? (int64_t)(committed - 1 - journal->base) : 0;
}

int64_t journal_append_session(struct journal *journal, const char *event, const char *extra)
{
    for (;;) {
        uint64_t next = atomic_load_explicit(&journal->header->next.value,
                                             memory_order_acquire); /* as in journal_claim */
        if (is_flagged(next)) {
            return next == 0 || (next & NEXT_CLOSED) != 0 ? BLOTTER_CLOSED : 0;
        }
        if (!has_room(journal, journal->header, next, 1)) {
            return BLOTTER_FULL; /* not counted: the caller tries again later */
        }
        struct blotter_session session = {
            .event = event,
            .extra = extra,
            .last_seq = (int64_t)(next - journal->base),
            .confirmed_seq = confirmed_seq(journal),
        };
        if (claim_for_session(journal, journal->header, next, next + 1, &session, 0)) {
            return session.last_seq;
        }
    }
}

/* Says whether this producer has appended nothing, or `closed` is there, or there is no room for
 * it: then the process that adopts the journal writes it. */
static bool cannot_write_closed(const struct journal *journal, uint64_t next)
{
    return (next & NEXT_OPENING) != 0 ||
           !has_room(journal, journal->header, next & NEXT_POSITION, 1) ||
           ((next & NEXT_CLOSED) != 0 && journal_is_closed(journal));
}

bool journal_close_writing(struct journal *journal)
{
    for (;;) {
        uint64_t next = atomic_load_explicit(&journal->header->next.value,
                                             memory_order_acquire); /* as in journal_claim */
        uint64_t position = next & NEXT_POSITION;
        if (cannot_write_closed(journal, next)) {
            atomic_fetch_or_explicit(&journal->header->next.value, NEXT_CLOSED,
                                     memory_order_acq_rel);
            return false;
        }
        struct blotter_session session = {
            .event = "closed",
            .last_seq = (int64_t)(position - journal->base),
            .confirmed_seq = confirmed_seq(journal),
        };
        if (claim_for_session(journal, journal->header, next, (position + 1) | NEXT_CLOSED,
                              &session, SLOT_IS_CLOSED)) {
            return true;
        }
    }
}

/* --- reading --- */

enum journal_read journal_read(const struct journal *journal, uint64_t position,
                               const struct journal_slot **out)
{
    const struct journal_slot *slot = journal_slot_at(journal, position);
    /* acquire: pairs with the release in publish */
    if (atomic_load_explicit(&slot->published, memory_order_acquire) != position) {
        return JOURNAL_NOTHING_YET;
    }
    *out = slot;
    if (!journal_slot_holds(journal->version, journal->slot_bytes, slot, position)) {
        return JOURNAL_DAMAGED;
    }
    return slot->kind == SLOT_LEFT_OUT ? JOURNAL_LEFT_OUT : JOURNAL_RECORD;
}

int journal_sync(struct journal *journal)
{
    if (msync(journal->slot_area, journal->map_bytes - JOURNAL_PAGE_BYTES, MS_SYNC) != 0) {
        return -1;
    }
    return msync(journal->header, JOURNAL_PAGE_BYTES, MS_SYNC);
}

/* --- owners --- */

bool journal_is_copy(const struct journal *journal)
{
    const struct journal_owner *owner = &journal->header->owner;
    return journal_owner_valid(owner, journal->version) &&
           owner->inode != journal_inode(journal->lock_fd);
}

struct journal_identity journal_last_identity(const struct journal *journal, uint64_t next,
                                              bool *closed)
{
    const struct journal_owner *owner = &journal->header->owner;
    struct journal_identity last = {0, 0};
    *closed = false;
    if (next > 1) {
        const struct journal_slot *slot = journal_slot_at(journal, next - 1);
        if (journal_slot_holds(journal->version, journal->slot_bytes, slot, next - 1) &&
            slot->kind != SLOT_LEFT_OUT) {
            last = (struct journal_identity){slot->producer_id, next - 1 - (uint64_t)slot->seq};
            *closed = (slot->flags & SLOT_IS_CLOSED) != 0;
        }
    }
    if (journal_owner_valid(owner, journal->version) && owner->base + 1 < next && !*closed) {
        last = (struct journal_identity){owner->producer_id, owner->base};
    }
    return last;
}

bool journal_is_closed(const struct journal *journal)
{
    bool closed;
    uint64_t next = atomic_load_explicit(&journal->header->next.value, memory_order_acquire);
    struct journal_identity last = journal_last_identity(journal, next & NEXT_POSITION, &closed);
    return (closed || last.producer_id == 0 || journal_is_copy(journal)) &&
           (next & NEXT_CLOSED) != 0;
}

/* --- release --- */

/* Waits until every claimed position is published, and says whether it is. A thread that claimed
 * one writes it within nanoseconds, unless it was stopped. */
static bool wait_for_submitters(const struct journal *journal)
{
    uint64_t next = journal_next(journal), position = journal_cursor(&journal->header->floor);
    for (int waits = 0; position < next;) {
        /* acquire: its writing is over before the slots are unmapped */
        const struct journal_slot *slot = journal_slot_at(journal, position);
        if (atomic_load_explicit(&slot->published, memory_order_acquire) == position) {
            position++;
        } else {
            if (++waits > RELEASE_WAITS) {
                return false;
            }
            usleep(RELEASE_WAIT_US);
        }
    }
    return true;
}

/* Looks only once no other process can write or send, or begin to. */
static void remove_if_done(struct journal *journal)
{
    struct journal_header *header = journal->header;
    if (journal_lock(journal->lock_fd, JOURNAL_LOCK_WRITER) != 0 ||
        journal_lock(journal->lock_fd, JOURNAL_LOCK_SENDER) != 0) {
        return;
    }
    uint64_t next = journal_next(journal);
    if (journal_cursor(&header->committed) == next && journal_cursor(&header->floor) == next &&
        journal_is_closed(journal) && journal_is_at(journal->lock_fd, journal->path)) {
        unlink(journal->path);
    }
}

void journal_release(struct journal *journal)
{
    if (journal_forked(journal)) { /* the mapping and the lock have not come with the fork */
        journal_end_handle(journal);
        return;
    }
    if (journal->writer && !wait_for_submitters(journal)) {
        /* A thread is stopped between claim and publication. What it will write must find its slot,
         * and no process may adopt the journal before: all of it stays until the process ends. */
        return;
    }
    remove_if_done(journal);
    journal_unmap(journal);
}
