/* journal.h: the file in which accepted records wait until PostgreSQL has them. Its bytes:
 * journal_format.h. How records get in: journal.c. What is believed of a dead owner:
 * journal_recover.c.
 *
 * Roles: the writer appends, and owns `next`; the sender reads in order, and alone moves `sent`,
 * `committed` and `floor`. One process may have both roles. Each role is a lock on the file, so
 * writer and sender may also be two processes.
 *
 * Cursors name the first position that is not yet ...: `sent` is the first unsent one. */
#ifndef BLOTTER_PRODUCER_JOURNAL_H
#define BLOTTER_PRODUCER_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/journal_handle.h"

/* --- appending --- */

/* Positions that were claimed together: `count` from `position` on. Each must be filled. */
struct journal_claim {
    uint64_t position;
    unsigned count;
    int64_t recorded_at_ns;
};

/* Claims `count` positions. Any thread. Never blocks. Returns 0, or FULL (counted), CLOSED. */
int journal_claim(struct journal *, unsigned count, struct journal_claim *);

/* Fills the claim's position number `index`, from the last to the first: the sender, which reads in
 * order, so sees the first only when all are there. */
void journal_fill(struct journal *, const struct journal_claim *, unsigned index,
                  enum record_kind kind, const unsigned char *body, uint32_t length,
                  unsigned fields);

/* Fills a position whose record could not be encoded after all. */
void journal_fill_void(struct journal *, const struct journal_claim *, unsigned index);

/* Claims one position and fills it. Returns the record's seq, or FULL (counted), CLOSED. */
int64_t journal_append(struct journal *, enum record_kind, const unsigned char *body,
                       uint32_t length, unsigned fields);

/* Appends a session record of the writer, if it has appended anything yet. event: "heartbeat";
 * last_seq is its own seq; extra: a JSON object or NULL, left out where it does not fit. Returns
 * its seq; 0: not appended; or FULL, CLOSED. */
int64_t journal_append_session(struct journal *, const char *event, const char *extra);

/* Appends `closed` and lets nothing more in, in one step; without room only the latter, and
 * `closed` when it is called again and there is room. Threads: one. Returns whether `closed` was
 * appended now. */
bool journal_close_writing(struct journal *);

/* Releases everything; the file is removed if everything in it is committed and nobody else uses
 * it. Threads that still call journal_append or journal_claim get CLOSED. In a forked child only
 * forgets. */
void journal_release(struct journal *);

/* Has the processor fetch the memory that the next record goes into: most of its slot, which was
 * last touched a lap ago. Any thread; the handle is neither closed nor forked, or about to be. */
void journal_fetch_next(const struct journal *);

/* --- reading, by the sender --- */

enum journal_read { JOURNAL_NOTHING_YET, JOURNAL_RECORD, JOURNAL_LEFT_OUT, JOURNAL_DAMAGED };

/* Finds out what is at a position >= floor. The slot stays as it is until `floor` has passed it. */
enum journal_read journal_read(const struct journal *, uint64_t position,
                               const struct journal_slot **);

static inline struct journal_slot *journal_slot_at(const struct journal *journal, uint64_t position)
{
    return (struct journal_slot *)(journal->slot_area +
                                   (size_t)(position & (journal->slots - 1)) * journal->slot_bytes);
}

/* Reads where the next record goes. acquire: what was stored before the cursor moved is seen with
 * it. */
static inline uint64_t journal_next(const struct journal *journal)
{
    return atomic_load_explicit(&journal->header->next.value, memory_order_acquire) & NEXT_POSITION;
}

/* Says whether it takes no more records, as after its writer's end, until another opens it. */
static inline bool journal_is_closing(const struct journal *journal)
{
    uint64_t next = atomic_load_explicit(&journal->header->next.value, memory_order_acquire);
    return next == 0 || (next & NEXT_CLOSED) != 0;
}

static inline uint64_t journal_cursor(const struct journal_cursor *cursor)
{
    return atomic_load_explicit(&cursor->value, memory_order_acquire);
}

/* Moves a cursor. The sender only. release: a submitter that sees `floor` move may overwrite what
 * the sender has read before. */
static inline void journal_cursor_set(struct journal_cursor *cursor, uint64_t position)
{
    atomic_store_explicit(&cursor->value, position, memory_order_release);
    atomic_store_explicit(&cursor->check, ~position, memory_order_release);
}

/* Calls msync for all of it. Blocks for the disk. Returns 0, or -1 with errno. */
int journal_sync(struct journal *);

/* --- owners --- */

/* The producer that a position belonged to. */
struct journal_identity {
    int64_t producer_id; /* 0: not known */
    uint64_t base;
};

/* Says whether the file was copied from the one that its owner had open. That one may still be in
 * use, so nothing is written in its name. */
bool journal_is_copy(const struct journal *);

/* Returns the last record's identity, also if it lies below floor: its slot is still there. */
struct journal_identity journal_last_identity(const struct journal *, uint64_t next, bool *closed);

/* Says whether its last writer has written `closed`, or nothing at all. */
bool journal_is_closed(const struct journal *);

/* --- used by recovery --- */

/* Fills a claimed slot and publishes it. */
void journal_publish(struct journal *, uint64_t position, const struct journal_slot *head,
                     const unsigned char *body, uint64_t body_checksum);

/* Encodes a session record for a claimed slot and publishes it; head says all but kind, fields and
 * length. */
void journal_publish_session(struct journal *, uint64_t position, struct journal_slot *head,
                             const struct blotter_session *);

#endif
