/* journal.c: the file in which accepted records wait until PostgreSQL has them.
 *
 * Bytes (little endian, one machine's file)
 *
 *     0                    geometry: magic, version, slot_bytes, slots, exchange, lane, checksum.
 * Never changes. 256                  owner: producer_id, base, pid, inode, host, boot id,
 * checksum. Rewritten at every open. 512                  cursors next, sent, committed, floor: 128
 * bytes each, value and ~value 4096                 slots: 64 bytes of head, then the body as
 * record_encode_* made it 4096 + slots * slot_bytes    geometry again, so that one damaged copy
 * does not cost the journal
 *
 * Submit      1 encodes the body on its stack and sums it up;
 *             2 claims position n: reads `next`, `floor` (room: next - floor < slots, nothing
 * else), the clock, and moves `next` from n to n + 1 by compare-and-swap. The clock is read
 * between, so recorded_at never goes back in seq order: who claims n + 1 has read the clock after
 * who claimed n; 3 fills slot n modulo slots and stores `published` = n with release. Not a flag:
 * the last lap's slot must not look published. Two flags share the word with `next`: CLOSED lets
 * nobody claim any more, in the same compare-and-swap that would have claimed; OPENING makes the
 * first claim be that of the `opened` record. Sender      reads slots from `floor` on that are
 * published, and alone moves the other cursors. `floor` only grows, never beyond `sent`, and
 * nothing below it is ever read: so a submitter that sees room overwrites nothing wanted.
 *
 * What recovery believes (journal_recover.c). Cursors are hints, slots carry the truth; in doubt
 * more is sent, as duplicates are dropped by identity. 1 A slot holds position p if its checksum,
 * which covers p, matches, and its kind is known. 2 next is at least one more than the largest
 * position held; a `next` that leaves more than `slots` from floor is not believed. floor, sent and
 * committed are kept with their complement: of two that differ the smaller one counts. 3 A position
 * from floor to next whose slot does not hold it, and whose `published` is 0 or of the last lap,
 * was claimed by a thread that died before submit returned: it becomes a `void` record with that
 * very seq. Not after another boot of the machine, where it may as well be a page that never
 * reached the disk. Nor in a copy of the file: its owner may live, with the original, and accept a
 * record of that number. There the position is left out, and no `closed` is written for the owner.
 *   4 Any other such position is damaged: left out, which leaves a gap in seq that the audit names.
 *   5 Slots beyond the end of a file that was cut short are damaged. A file whose geometry is lost
 * in both places, or which ends before the first slot, is left as it is (CORRUPT); so is one of a
 * version that is not known (FORMAT). 6 Order of writing at adoption: voids, `closed` of the dead
 * owner, cursors, new owner, `opened`. Wherever this is interrupted the next one finds either the
 * old owner's journal, somewhat repaired, or the new one's.
 *
 * Locks are open-file-description locks on two bytes beyond any file's end. A mapping keeps its
 * description alive, also in a forked child, where the lock would then outlive the parent: so locks
 * are on a descriptor that is never mapped, children close it (pthread_atfork), and the mapping
 * does not go to children (MADV_DONTFORK). A page that children find wiped (MADV_WIPEONFORK) tells
 * them that the handle is not theirs, without a system call. */
#include "producer/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal_file.h"

enum { CLOCK_CHECK_NS = 1000000000, RELEASE_WAIT_US = 100, RELEASE_WAITS = 10000 };

/* --- checksum
 * -------------------------------------------------------------------------------------------------------------
 */

/* Each step maps the lane one to one, for a fixed word, and the word one to one, for a fixed lane:
 * so any one damaged word changes its lane for good, and with it the sum. Four lanes, because a
 * multiplication takes longer than a load. */
static inline uint64_t mix(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return lane << 29 | lane >> 35;
}

static inline uint64_t word_at(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

uint64_t journal_body_checksum(const unsigned char *body, uint32_t length)
{
    uint64_t a = 1, b = 2, c = 3, d = 4;
    const unsigned char *end = body + length;
    for (; end - body >= 32; body += 32) {
        a = mix(a, word_at(body));
        b = mix(b, word_at(body + 8));
        c = mix(c, word_at(body + 16));
        d = mix(d, word_at(body + 24));
    }
    for (; end - body >= 8; body += 8) {
        a = mix(a, word_at(body));
    }
    if (body < end) {
        uint64_t word = 0;
        memcpy(&word, body, (size_t)(end - body));
        b = mix(b, word);
    }
    return mix(mix(mix(a, b), c), d);
}

uint64_t journal_slot_checksum(const struct journal_slot *slot, uint64_t position,
                               uint64_t body_checksum)
{
    uint64_t shape = (uint64_t)slot->length << 32 | (uint64_t)slot->fields << 16 |
                     (uint64_t)slot->flags << 8 | slot->kind;
    uint64_t a = mix(body_checksum, position), b = mix(5, (uint64_t)slot->seq);
    a = mix(a, (uint64_t)slot->producer_id);
    b = mix(b, (uint64_t)slot->recorded_at_ns);
    return mix(mix(a, b), shape);
}

/* --- claiming and publishing --- */

/* Who notices that a second has passed measures how far the wall clock is from the monotonic one.
 * The distance only grows: a wall clock that is set back makes no record older than the one before
 * it. */
static __attribute__((noinline)) void check_clock(struct journal *journal, int64_t monotonic_ns)
{
    int64_t last = atomic_load_explicit(&journal->clock_checked_ns, memory_order_relaxed);
    if (monotonic_ns - last < CLOCK_CHECK_NS ||
        !atomic_compare_exchange_strong_explicit(&journal->clock_checked_ns, &last, monotonic_ns,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        return; /* relaxed: it only chooses who measures */
    }
    struct timespec wall, monotonic;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    int64_t measured =
        (wall.tv_sec - monotonic.tv_sec) * INT64_C(1000000000) + wall.tv_nsec - monotonic.tv_nsec;
    int64_t known = atomic_load_explicit(&journal->clock_offset_ns, memory_order_relaxed);
    while (measured > known &&
           !atomic_compare_exchange_weak_explicit(&journal->clock_offset_ns, &known, measured,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* relaxed: who claims after us has synchronized with our claim through `next`, so it sees at least
 * the offset that we saw. */
int64_t journal_now_ns(struct journal *journal)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* the vDSO's: no system call */
    int64_t monotonic_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    if (monotonic_ns - atomic_load_explicit(&journal->clock_checked_ns, memory_order_relaxed) >=
        CLOCK_CHECK_NS) {
        check_clock(journal, monotonic_ns);
    }
    return monotonic_ns + atomic_load_explicit(&journal->clock_offset_ns, memory_order_relaxed);
}

void journal_publish(struct journal *journal, uint64_t position, const struct journal_slot *head,
                     const unsigned char *body, uint64_t body_checksum)
{
    struct journal_slot *slot = journal_slot_at(journal, position);
    slot->producer_id = head->producer_id;
    slot->seq = head->seq;
    slot->recorded_at_ns = head->recorded_at_ns;
    slot->kind = head->kind;
    slot->flags = head->flags;
    slot->fields = head->fields;
    slot->length = head->length;
    memcpy(slot->body, body, head->length);
    slot->checksum = journal_slot_checksum(head, position, body_checksum);
    /* release: who reads `published` = position reads everything above */
    atomic_store_explicit(&slot->published, position, memory_order_release);
}

static inline bool has_room(const struct journal *journal, uint64_t next)
{
    /* acquire: pairs with the sender's release of `floor`; it is done reading what we are about to
     * overwrite */
    return next - atomic_load_explicit(&journal->header->floor.value, memory_order_acquire) <
           journal->slots;
}

static int64_t answer_full(struct journal *journal)
{
    atomic_fetch_add_explicit(&journal->full, 1, memory_order_relaxed); /* a counter */
    return BLOTTER_FULL;
}

uint32_t journal_encode_session(const struct journal *journal, const struct blotter_session *wanted,
                                unsigned char *body, unsigned *fields)
{
    struct blotter_session session = *wanted;
    const char **dispensable[] = {&session.journal, &session.host, &session.version, NULL};
    size_t capacity = journal->body_capacity < JOURNAL_SESSION_BYTES ? journal->body_capacity
                                                                     : JOURNAL_SESSION_BYTES;
    struct record_problem problem;
    for (int i = 0;; i++) {
        int length = record_encode(RECORD_SESSION, &session, body, capacity, fields, &problem);
        if (length >= 0) {
            return (uint32_t)length;
        }
        assert(dispensable[i]); /* event and numbers fit the smallest slot */
        *dispensable[i] = NULL;
    }
}

static struct blotter_session opened_session(const struct journal *journal)
{
    return (struct blotter_session){
        .event = "opened",
        .follows = journal->follows.producer_id,
        .confirmed_seq = journal->follows.confirmed_seq,
        .last_seq = journal->follows.last_seq,
        .journal = journal->path,
        .host = *journal->host ? journal->host : NULL,
        .pid = getpid(),
        .version = BLOTTER_VERSION,
    };
}

/* Claims `n`, leaving `after` in `next`, and writes the session record there. False: somebody else
 * was quicker. */
static bool claim_for_session(struct journal *journal, uint64_t n, uint64_t after,
                              struct blotter_session *session, uint8_t flags)
{
    unsigned char body[JOURNAL_SESSION_BYTES];
    unsigned fields;
    uint64_t position = n & NEXT_POSITION;
    int64_t seq = (int64_t)(position - journal->base);
    uint32_t length = journal_encode_session(journal, session, body, &fields);
    int64_t now = journal_now_ns(journal);
    /* as in journal_append */
    if (!atomic_compare_exchange_strong_explicit(&journal->header->next.value, &n, after,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        return false;
    }
    struct journal_slot head = {.producer_id = journal->producer_id,
                                .seq = seq,
                                .recorded_at_ns = now,
                                .kind = SLOT_SESSION,
                                .flags = flags,
                                .fields = (uint16_t)fields,
                                .length = length};
    journal_publish(journal, position, &head, body, journal_body_checksum(body, length));
    return true;
}

/* `next` has a flag: 0: look at it again; or the answer. */
static __attribute__((noinline)) int append_flagged(struct journal *journal, uint64_t next)
{
    if (next & NEXT_CLOSED) {
        return BLOTTER_CLOSED;
    }
    if (!has_room(journal, next & NEXT_POSITION)) {
        return (int)answer_full(journal);
    }
    struct blotter_session session = opened_session(journal);
    claim_for_session(journal, next, (next & NEXT_POSITION) + 1, &session, 0);
    return 0;
}

void journal_try_opened(struct journal *journal)
{
    uint64_t next = atomic_load_explicit(&journal->header->next.value,
                                         memory_order_acquire); /* as in journal_append */
    if ((next & NEXT_OPENING) && has_room(journal, next & NEXT_POSITION)) {
        append_flagged(journal, next);
    }
}

int64_t journal_append(struct journal *journal, enum record_kind kind, const unsigned char *body,
                       uint32_t length, unsigned fields)
{
    uint64_t body_checksum = journal_body_checksum(body, length);
    /* acquire: the clock is read, and the slot written, after whoever claimed before us did */
    uint64_t next = atomic_load_explicit(&journal->header->next.value, memory_order_acquire);
    int64_t now;
    for (;;) {
        if (next & ~NEXT_POSITION) {
            int refused = append_flagged(journal, next);
            if (refused) {
                return refused;
            }
            next = atomic_load_explicit(&journal->header->next.value, memory_order_acquire);
            continue;
        }
        if (!has_room(journal, next)) {
            return answer_full(journal);
        }
        now = journal_now_ns(journal);
        /* release: our reading of the clock is before the claim for whoever sees it; acquire as
         * above, for the next turn */
        if (atomic_compare_exchange_weak_explicit(&journal->header->next.value, &next, next + 1,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            break;
        }
    }
    struct journal_slot head = {.producer_id = journal->producer_id,
                                .seq = (int64_t)(next - journal->base),
                                .recorded_at_ns = now,
                                .kind = (uint8_t)kind,
                                .fields = (uint16_t)fields,
                                .length = length};
    journal_publish(journal, next, &head, body, body_checksum);
    return head.seq;
}

int64_t journal_append_session(struct journal *journal, const char *event)
{
    for (;;) {
        uint64_t next = atomic_load_explicit(&journal->header->next.value,
                                             memory_order_acquire); /* as in journal_append */
        if (next & ~NEXT_POSITION) {
            int refused = append_flagged(journal, next);
            if (refused) {
                return refused;
            }
            continue;
        }
        if (!has_room(journal, next)) {
            return BLOTTER_FULL; /* not counted: the caller tries again later */
        }
        uint64_t committed = journal_cursor(&journal->header->committed);
        struct blotter_session session = {
            .event = event,
            .last_seq = (int64_t)(next - journal->base),
            .confirmed_seq =
                committed > journal->base ? (int64_t)(committed - 1 - journal->base) : 0,
        };
        if (claim_for_session(journal, next, next + 1, &session, 0)) {
            return session.last_seq;
        }
    }
}

/* Nothing of this producer is there to be closed, `closed` is there, or there is no room for it:
 * then who adopts the journal writes it. */
static bool cannot_write_closed(const struct journal *journal, uint64_t next)
{
    return (next & NEXT_OPENING) || !has_room(journal, next & NEXT_POSITION) ||
           ((next & NEXT_CLOSED) && journal_is_closed(journal));
}

bool journal_close_writing(struct journal *journal)
{
    for (;;) {
        uint64_t next = atomic_load_explicit(&journal->header->next.value,
                                             memory_order_acquire); /* as in journal_append */
        uint64_t position = next & NEXT_POSITION;
        if (cannot_write_closed(journal, next)) {
            atomic_fetch_or_explicit(&journal->header->next.value, NEXT_CLOSED,
                                     memory_order_acq_rel);
            return false;
        }
        uint64_t committed = journal_cursor(&journal->header->committed);
        struct blotter_session session = {
            .event = "closed",
            .last_seq = (int64_t)(position - journal->base),
            .confirmed_seq =
                committed > journal->base ? (int64_t)(committed - 1 - journal->base) : 0,
        };
        if (claim_for_session(journal, next, (position + 1) | NEXT_CLOSED, &session,
                              SLOT_IS_CLOSED)) {
            return true;
        }
    }
}

/* --- reading
 * --------------------------------------------------------------------------------------------------------------
 */

enum journal_read journal_read(const struct journal *journal, uint64_t position,
                               const struct journal_slot **out)
{
    const struct journal_slot *slot = journal_slot_at(journal, position);
    /* acquire: pairs with the release in journal_publish */
    if (atomic_load_explicit(&slot->published, memory_order_acquire) != position) {
        return JOURNAL_NOTHING_YET;
    }
    *out = slot;
    if (!journal_slot_holds(journal, slot, position)) {
        return JOURNAL_DAMAGED;
    }
    return slot->kind == SLOT_LEFT_OUT ? JOURNAL_LEFT_OUT : JOURNAL_RECORD;
}

bool journal_slot_holds(const struct journal *journal, const struct journal_slot *slot,
                        uint64_t position)
{
    struct journal_slot head;
    journal_slot_head(slot, &head);
    bool kind_known = record_kind_known(head.kind) || head.kind == SLOT_LEFT_OUT;
    return kind_known && head.length <= journal->slot_bytes - JOURNAL_SLOT_HEAD_BYTES &&
           head.checksum == journal_slot_checksum(&head, position,
                                                  journal_body_checksum(slot->body, head.length));
}

int journal_sync(struct journal *journal)
{
    return msync(journal->header, journal->map_bytes, MS_SYNC);
}

/* --- release
 * --------------------------------------------------------------------------------------------------------------
 */

static struct journal *retained; /* released handles of writers, under open_mutex; reachable, so no
                                    leak to a checker */

/* Has every claimed position been published? A thread that claimed one writes it within
 * nanoseconds, unless it was stopped. */
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

/* Looks only once nobody else can write or send, or begin to. */
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

/* A thread may be about to look at `next`, of which CLOSED is set. A page of our own with that flag
 * takes the header's place in one step, so that the file's memory is not kept for such a thread. */
static void put_closed_page(struct journal *journal)
{
    void *page =
        mmap(NULL, JOURNAL_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return; /* the header stays mapped instead */
    }
    struct journal_header *closed = page;
    atomic_store_explicit(&closed->next.value, NEXT_CLOSED, memory_order_relaxed);
    if (mremap(page, JOURNAL_PAGE_BYTES, JOURNAL_PAGE_BYTES, MREMAP_FIXED | MREMAP_MAYMOVE,
               journal->header) == MAP_FAILED) {
        munmap(page, JOURNAL_PAGE_BYTES);
    }
}

void journal_release(struct journal *journal)
{
    if (journal_forked(journal)) {
        journal_forget(journal); /* the mapping and the lock have not come with the fork */
        free(journal);
        return;
    }
    if (journal->writer && !wait_for_submitters(journal)) {
        /* A thread is stopped between claim and publication. What it will write must find its slot,
         * and nobody may adopt the journal before: all of it stays until the process ends. */
        return;
    }
    remove_if_done(journal);
    journal_forget(journal);
    munmap(journal->slot_area, journal->map_bytes - JOURNAL_PAGE_BYTES);
    if (!journal->writer) {
        munmap(journal->header, JOURNAL_PAGE_BYTES);
        free(journal);
        return;
    }
    put_closed_page(journal);
    journal_retain(journal, &retained);
}
