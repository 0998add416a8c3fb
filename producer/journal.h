/* journal.h: the file in which accepted records wait until PostgreSQL has them. Format and
 * recovery: journal.c.
 *
 * Roles: the writer appends, and owns `next`; the sender reads in order, and alone moves `sent`,
 * `committed` and `floor`. One process may be both. Each role is a lock on the file, so writer and
 * sender may also be two processes.
 *
 * A position is where a record is: 1, 2, 3 ... for ever, across owners; its slot is position modulo
 * slots. A seq is its number within its producer. Cursors name the first position that is not yet
 * ...: `sent` is the first unsent one. */
#ifndef BLOTTER_PRODUCER_JOURNAL_H
#define BLOTTER_PRODUCER_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "schema/limits.h"
#include "schema/record.h"

/* The format of new files, and the oldest one that is still read. A file keeps the version it was
 * made with. */
#ifndef JOURNAL_VERSION
#define JOURNAL_VERSION 1
#endif
enum {
    JOURNAL_VERSION_OLDEST = 1,
    JOURNAL_PAGE_BYTES = 4096,
    JOURNAL_SLOT_HEAD_BYTES = 64,
    JOURNAL_SLOTS_MIN = 64,
    JOURNAL_SLOTS_MAX = 16777216,
    JOURNAL_SLOTS_DEFAULT = 32768,
    JOURNAL_SLOT_BYTES_MIN = 256,
    JOURNAL_SLOT_BYTES_MAX = 65536,
    JOURNAL_SLOT_BYTES_DEFAULT = 1024,
    JOURNAL_PATH_BYTES = 256,
    JOURNAL_ERROR_BYTES = 512,
};

/* --- the file
 * -------------------------------------------------------------------------------------------------------------
 */

/* Never changes; in the first page and again in the last. */
struct journal_geometry {
    char magic[8];
    uint32_t version;
    uint32_t slot_bytes;
    uint32_t slots;
    uint32_t zero;
    char exchange[40];
    char lane[40];
    int64_t created_ns;
    uint64_t checksum;
};

/* Who wrote last: rewritten at every open. */
struct journal_owner {
    int64_t producer_id;
    uint64_t base; /* seq = position - base */
    int64_t pid;
    int64_t opened_ns;
    uint64_t inode; /* of this file: a copy of it has another one */
    char host[64];
    char boot[40]; /* the kernel's boot id: after another boot an empty slot may be a lost one */
    uint64_t checksum;
};

/* 128 bytes: two cache lines, as processors fetch them in pairs. */
struct journal_cursor {
    _Atomic uint64_t value;
    _Atomic uint64_t check; /* ~value; written second. Not kept for `next`. */
    uint8_t pad[112];
};

struct journal_header {
    union {
        struct journal_geometry geometry;
        uint8_t geometry_bytes[256];
    };
    union {
        struct journal_owner owner;
        uint8_t owner_bytes[256];
    };
    struct journal_cursor next; /* with the two flags below */
    struct journal_cursor sent;
    struct journal_cursor committed;
    struct journal_cursor floor;
};
_Static_assert(sizeof(struct journal_header) == 1024, "the header's layout is the file's format");
_Static_assert(sizeof(struct journal_cursor) == 128, "a cursor has its own cache lines");

#define NEXT_CLOSED (UINT64_C(1) << 63)  /* nothing is claimed any more */
#define NEXT_OPENING (UINT64_C(1) << 62) /* the first claim must be the `opened` record */
#define NEXT_POSITION (NEXT_OPENING - 1)

enum slot_kind {
    SLOT_ORDER = RECORD_ORDER,
    SLOT_TRADE = RECORD_TRADE,
    SLOT_SESSION = RECORD_SESSION,
    SLOT_LEFT_OUT = 255, /* was damaged: there is nothing to send */
};
enum slot_flag { SLOT_IS_CLOSED = 1 /* the `closed` record */ };

struct journal_slot {
    _Atomic uint64_t published; /* = the position, once the rest is there */
    int64_t producer_id;
    int64_t seq;
    int64_t recorded_at_ns;
    uint8_t kind;
    uint8_t flags;
    uint16_t fields;
    uint32_t length; /* of the body */
    uint64_t checksum;
    uint64_t zero[2];
    unsigned char body[];
};
_Static_assert(sizeof(struct journal_slot) == JOURNAL_SLOT_HEAD_BYTES,
               "the slot head's layout is the file's format");

uint64_t journal_body_checksum(const unsigned char *body, uint32_t length);
uint64_t journal_slot_checksum(const struct journal_slot *, uint64_t position,
                               uint64_t body_checksum);
void journal_geometry_seal(struct journal_geometry *);
bool journal_geometry_valid(const struct journal_geometry *);
void journal_owner_seal(struct journal_owner *);
bool journal_owner_valid(const struct journal_owner *);

/* --- a journal that is open
 * -----------------------------------------------------------------------------------------------
 */

struct journal_options {
    const char *exchange;       /* may be NULL for a sender: whatever the file says */
    const char *lane;           /* NULL or "": none */
    uint32_t slots, slot_bytes; /* for a new file; an old one keeps its own */
    bool write, send;           /* the roles to take */
    bool create;                /* make the file if there is none */
    bool patient; /* a writer that wants this file and no other: waits for a shipper to let go of it
                   */
};

/* What opening found in a file of a former owner. */
struct journal_found {
    uint64_t leftovers; /* records kept, valid */
    uint64_t voided;    /* claimed, never accepted: made `void` records */
    uint64_t damaged;   /* lost: a gap that the audit will name */
};

struct journal {
    /* read by every submit, written only while opening */
    struct journal_header *header;
    unsigned char *slot_area;
    const volatile uint32_t *alive; /* 0 in a forked child */
    uint32_t slots, slot_bytes, body_capacity;
    int64_t producer_id;
    uint64_t base;
    /* written about once a second */
    _Alignas(128) _Atomic int64_t clock_offset_ns; /* wall clock minus monotonic; only grows */
    _Atomic int64_t clock_checked_ns;              /* monotonic: when it was last measured */
    _Atomic uint64_t full;                         /* appends that found no room */
    /* cold */
    _Alignas(128) size_t map_bytes;
    int lock_fd;
    uint64_t intact_bytes; /* of the file, as recovery has to see it: it may have been cut short */
    uint64_t adopted;      /* journal_adopt: `next` as it left it; 0: it has adopted nothing */
    bool writer, sender;
    struct journal *next_open; /* list for the fork handler */
    char path[JOURNAL_PATH_BYTES];
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1];
    char host[64];
    struct journal_found found;
    struct {
        int64_t producer_id, last_seq, confirmed_seq; /* 0: none */
    } follows;
};

/* Opens, or makes, the file at path, takes the roles, and as a writer (or as a sender whose writer
 * is dead) recovers what is in it. Returns 0 or a blotter_status (BUSY, CORRUPT, FORMAT, SYSTEM,
 * OPTION), with a text in error. BUSY for a sender also while its writer is opening it. */
int journal_open(struct journal **, const char *path, const struct journal_options *,
                 char error[JOURNAL_ERROR_BYTES]);

/* The same for the first <exchange>[:<lane>].<n> of a folder that is not in use, damaged or of an
 * unknown format. */
int journal_open_in_folder(struct journal **, const char *folder, const struct journal_options *,
                           char error[JOURNAL_ERROR_BYTES]);

/* Is it a folder, or by a slash at its end meant to be one? */
bool journal_is_folder(const char *path);

/* Would journal_open find a journal there that lacks a sender? Locks and changes nothing. OK; BUSY:
 * it has one, or its writer is still making it; or CORRUPT, FORMAT, SYSTEM with a text. */
int journal_probe(const char *path, char error[JOURNAL_ERROR_BYTES]);

/* Makes the default folder, /dev/shm/blotter-<uid>, if need be, and refuses one that belongs to
 * somebody else. */
int journal_default_folder(char out[JOURNAL_PATH_BYTES], char error[JOURNAL_ERROR_BYTES]);

/* Is it the handle of a parent process? No system call. */
static inline bool journal_forked(const struct journal *journal)
{
    return *journal->alive == 0;
}

/* Appends a record whose body was encoded. Threads: any. Never blocks. Returns its seq, or FULL
 * (counted), CLOSED. */
int64_t journal_append(struct journal *, enum record_kind, const unsigned char *body,
                       uint32_t length, unsigned fields);

/* Appends a session record of the writer. event: "heartbeat"; last_seq is its own seq. Returns its
 * seq, or FULL, CLOSED. */
int64_t journal_append_session(struct journal *, const char *event);

/* Appends `closed` and lets nothing more in, in one step; without room only the latter, and
 * `closed` when it is called again and there is room. Threads: one. Returns whether `closed` was
 * appended now. */
bool journal_close_writing(struct journal *);

/* Releases everything; the file is removed if everything in it is committed and nobody else uses
 * it. The handle itself, and a page in place of the header, stay for threads that still call
 * journal_append: they get CLOSED. In a forked child only forgets. */
void journal_release(struct journal *);

/* --- reading, by the sender
 * -----------------------------------------------------------------------------------------------
 */

enum journal_read { JOURNAL_NOTHING_YET, JOURNAL_RECORD, JOURNAL_LEFT_OUT, JOURNAL_DAMAGED };

/* What is at a position >= floor. The slot stays as it is until `floor` has passed it. */
enum journal_read journal_read(const struct journal *, uint64_t position,
                               const struct journal_slot **);

static inline struct journal_slot *journal_slot_at(const struct journal *journal, uint64_t position)
{
    return (struct journal_slot *)(journal->slot_area +
                                   (size_t)(position & (journal->slots - 1)) * journal->slot_bytes);
}

/* Copies the head, reading it once: the memory may be that of another process, and be changed by
 * one that runs wild. */
static inline void journal_slot_head(const struct journal_slot *slot, struct journal_slot *head)
{
    memcpy(head, slot, sizeof *head);
    __asm__ volatile("" : "+m"(*head)); /* not read again instead */
}

/* acquire: what was stored before the cursor moved is seen with it */
static inline uint64_t journal_next(const struct journal *journal)
{
    return atomic_load_explicit(&journal->header->next.value, memory_order_acquire) & NEXT_POSITION;
}

/* Does it take no more records? As after its writer's end, until another opens it. */
static inline bool journal_is_closing(const struct journal *journal)
{
    return (atomic_load_explicit(&journal->header->next.value, memory_order_acquire) &
            NEXT_CLOSED) != 0;
}

static inline uint64_t journal_cursor(const struct journal_cursor *cursor)
{
    return atomic_load_explicit(&cursor->value, memory_order_acquire);
}

/* The sender only. release: a submitter that sees `floor` move may overwrite what the sender has
 * read before. */
static inline void journal_cursor_set(struct journal_cursor *cursor, uint64_t position)
{
    atomic_store_explicit(&cursor->value, position, memory_order_release);
    atomic_store_explicit(&cursor->check, ~position, memory_order_release);
}

/* msync of all of it. Blocks for the disk. */
int journal_sync(struct journal *);

/* Sender: is the writer dead? Then what it could not write is written (`void`; `closed`, once there
 * is room for it), and the writer's lock given back. Call it now and then. Returns whether the
 * journal has no living writer now. */
bool journal_adopt(struct journal *);

/* Sender of a living writer: are the cursors such as a sender can have left? Mends those that are
 * not. False: the writer is still opening the journal. */
bool journal_mend_cursors(struct journal *);

/* --- recovery and inspection (journal_recover.c) --- */

struct journal_picture {
    uint32_t version, slots, slot_bytes;
    char exchange[40], lane[40], host[64];
    int64_t producer_id, pid, opened_ns;
    bool owner_valid, closed;
    uint64_t base, next, sent, committed, floor;
    uint64_t valid, unpublished, damaged; /* of the positions from floor to next */
    uint64_t unsent, unconfirmed; /* valid ones: not yet sent; sent, without the drainer's word */
    uint64_t file_bytes, expected_bytes;
};

/* Looks at a journal without locking or changing it; of one in use it is a picture that was never
 * quite true. Returns 0, or SYSTEM, CORRUPT, FORMAT with a text. */
int journal_inspect(const char *path, struct journal_picture *, char error[JOURNAL_ERROR_BYTES]);

int64_t journal_now_ns(struct journal *);

#endif
