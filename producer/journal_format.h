/* journal_format.h: the bytes of a journal's file: layout, checksums, and which bytes to believe.
 *
 * Bytes (little endian; the file of one machine)
 *
 *     0      geometry: magic, version, sizes, exchange, lane, checksum. Never changes.
 *     256    owner: producer_id, base, pid, inode, host, boot id, checksum. Rewritten at every open
 *     512    cursors next, sent, committed, floor: 128 bytes each, a value and its complement
 *     1024   target: the Redis that the records are for. Written by the sender.
 *     4096   slots: 64 bytes of head, then the body as record_encode made it
 *     4096 + slots * slot_bytes    geometry again: one damaged copy does not cost the journal
 *
 * Versions. A file keeps the version that it was made with. 1: checksums by a hash of its own, no
 * target, no entry ids. 2: checksums are CRC-32C (journal_checksum.h).
 *
 * Positions. A position is where a record is: 1, 2, 3 ... for ever, across owners; its slot is
 * position modulo slots. A seq is a record's number within its producer. */
#ifndef BLOTTER_PRODUCER_JOURNAL_FORMAT_H
#define BLOTTER_PRODUCER_JOURNAL_FORMAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/journal_checksum.h"
#include "schema/limits.h"
#include "schema/record.h"

/* The version of new files. */
#ifndef JOURNAL_VERSION
#define JOURNAL_VERSION 2
#endif

enum {
    JOURNAL_VERSION_OLDEST = 1, /* the oldest that is still read */
    JOURNAL_PAGE_BYTES = 4096,
    JOURNAL_SLOT_HEAD_BYTES = 64,
    JOURNAL_SLOTS_MIN = 64,
    JOURNAL_SLOTS_MAX = 16777216,
    JOURNAL_SLOTS_DEFAULT = 32768,
    JOURNAL_SLOT_BYTES_MIN = 256,
    JOURNAL_SLOT_BYTES_MAX = 65536,
    JOURNAL_SLOT_BYTES_DEFAULT = 1024,
    JOURNAL_URL_BYTES = 1024,
    JOURNAL_STREAM_ID_BYTES = 40,
    JOURNAL_ERROR_BYTES = 512,
};

/* In the first page and again in the last. */
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

/* The last writer. */
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

/* The Redis that the records are for. Zeroes: not known yet. */
struct journal_target {
    char url[JOURNAL_URL_BYTES];             /* without credentials */
    char stream_id[JOURNAL_STREAM_ID_BYTES]; /* the stream's random id; "": not known */
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
    struct journal_cursor next; /* with the two flags below; 0: closed */
    struct journal_cursor sent;
    struct journal_cursor committed;
    struct journal_cursor floor;
    union {
        struct journal_target target;
        uint8_t target_bytes[2048];
    };
};
_Static_assert(offsetof(struct journal_header, next) == 512, "the layout is the file's format");
_Static_assert(offsetof(struct journal_header, target) == 1024, "the layout is the file's format");
_Static_assert(sizeof(struct journal_header) <= JOURNAL_PAGE_BYTES, "the header is one page");
_Static_assert(sizeof(struct journal_cursor) == 128, "a cursor has its own cache lines");

#define NEXT_CLOSED (UINT64_C(1) << 63)  /* nothing is claimed any more */
#define NEXT_OPENING (UINT64_C(1) << 62) /* the first claim must be the `opened` record */
#define NEXT_POSITION (NEXT_OPENING - 1)

enum { SLOT_LEFT_OUT = 255 }; /* a slot's kind: it was damaged, there is nothing to send */

enum slot_flag {
    SLOT_IS_CLOSED = 1, /* the `closed` record */
    SLOT_CONTINUES = 2, /* belongs to the record before: is kept with it or not at all */
    SLOT_IS_VOID = 4,   /* stands for a record that was claimed and never published */
};

struct journal_slot {
    _Atomic uint64_t published; /* = the position, once the rest is there */
    int64_t producer_id;
    int64_t seq;
    int64_t recorded_at_ns;
    uint8_t kind; /* enum record_kind, or SLOT_LEFT_OUT */
    uint8_t flags;
    uint16_t fields;
    uint32_t length; /* of the body */
    uint64_t checksum;
    /* The entry that Redis answered with, a hint outside of the checksum; 0-0: none. Written by the
     * sender, at positions from `floor` on only. */
    _Atomic uint64_t entry_ms, entry_seq;
    unsigned char body[];
};
_Static_assert(sizeof(struct journal_slot) == JOURNAL_SLOT_HEAD_BYTES,
               "the layout is the file's format");

static inline size_t journal_bytes(uint32_t slots, uint32_t slot_bytes)
{
    return (size_t)slots * slot_bytes + 2 * JOURNAL_PAGE_BYTES;
}

/* Writes the text to error, of JOURNAL_ERROR_BYTES; returns the status. */
int journal_fail(char *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Computes version 1's part of what follows. */
uint64_t journal_slot_checksum_1(const struct journal_slot *head, uint64_t position, uint64_t shape,
                                 uint64_t body_checksum);

/* Returns kind, flags, fields and length as they lie in memory. */
static inline uint64_t journal_slot_shape(const struct journal_slot *head)
{
    return (uint64_t)head->length << 32 | (uint64_t)head->fields << 16 |
           (uint64_t)head->flags << 8 | head->kind;
}
_Static_assert(offsetof(struct journal_slot, checksum) - offsetof(struct journal_slot, kind) ==
                       sizeof(uint64_t) &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the shape is one word");

static inline uint64_t journal_slot_checksum(uint32_t version, const struct journal_slot *head,
                                             uint64_t position, uint64_t body_checksum)
{
    uint64_t shape = journal_slot_shape(head);
    return version == 1
               ? journal_slot_checksum_1(head, position, shape, body_checksum)
               : journal_checksum_of_words(body_checksum, position, (uint64_t)head->producer_id,
                                           (uint64_t)head->seq, (uint64_t)head->recorded_at_ns,
                                           shape);
}

/* Says whether the slot holds this position: its checksum, which covers the position, matches, and
 * its kind is known. */
bool journal_slot_holds(uint32_t version, uint32_t slot_bytes, const struct journal_slot *,
                        uint64_t position);

/* Copies the head, reading it once: the memory may be that of another process, and be changed by
 * one that runs wild. */
void journal_slot_head(const struct journal_slot *, struct journal_slot *head);

bool journal_size_valid(uint32_t slots, uint32_t slot_bytes);

/* Fills in magic, version and checksum. */
void journal_geometry_seal(struct journal_geometry *);
bool journal_geometry_valid(const struct journal_geometry *);

void journal_owner_seal(struct journal_owner *, uint32_t version);
bool journal_owner_valid(const struct journal_owner *, uint32_t version);

void journal_target_set(struct journal_target *, const char *url, const char *stream_id);
/* Reads the target. False: not known. */
bool journal_target_get(const struct journal_target *, struct journal_target *out);

/* Reads the geometry from either place. 0, or CORRUPT or FORMAT with a text. */
int journal_read_geometry(int fd, uint64_t size, struct journal_geometry *, char *error);

/* Returns the first place from `at` on that is in no hole of the file, at most `end`. A file may
 * claim more bytes than any memory or patience has. */
uint64_t journal_skip_hole(int fd, uint64_t at, uint64_t end);

/* Says whether nothing was recorded in the file yet: it is empty, or its maker died in the middle.
 */
bool journal_is_unfinished(int fd, uint64_t size);

#endif
