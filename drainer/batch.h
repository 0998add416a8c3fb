/* batch.h: entries of streams, gathered to be loaded in one transaction: decoded, checked and
 * encoded as COPY rows.
 *
 * An entry becomes a row of its table, or a reject with the reason; its raw bytes are kept for the
 * case that only PostgreSQL finds the fault. Memory is bounded by the limits given; nothing points
 * into Redis' replies afterwards. One thread. */
#ifndef BLOTTER_DRAINER_BATCH_H
#define BLOTTER_DRAINER_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drainer/copy.h"
#include "schema/record.h"
#include "schema/sha256.h"
#include "schema/stream.h"

struct order_changes;
struct stream;

/*    GATHERING ──► LOADING ──► COMMITTED ──┐
 *        ▲            │                    │ acknowledged
 *        │            └──────► FAILED ─────┤ forgotten: its entries are pending, and read again
 *        └─────────────────────────────────┘
 *
 * A batch that is gathering is forgotten as well: when the Redis it was read from has gone, or
 * PostgreSQL. */
/* clang-format off */
#define BATCH_STATES(X) \
    X(GATHERING, "gathering") \
    X(LOADING, "being loaded") \
    X(COMMITTED, "committed, and not acknowledged yet") \
    X(FAILED, "given up")
/* clang-format on */
#define X(name, text) BATCH_##name,
enum batch_state { BATCH_STATES(X) };
#undef X

enum entry_fate {
    ENTRY_ROW,      /* goes into its table */
    ENTRY_REJECTED, /* goes into blotter.rejects */
    ENTRY_EXPIRED,  /* recorded on a day before the first one kept: settled, not stored */
};

struct entry {
    struct stream *stream;
    struct stream_entry_id id;
    int64_t producer_id, seq; /* 0 where the entry has no readable identity */
    int64_t recorded_at_us;   /* since 1970 */
    enum record_kind kind;    /* RECORD_KINDS: unknown */
    enum entry_fate fate;
    uint32_t row_offset, row_length;   /* in rows[kind] */
    uint32_t book_offset, book_length; /* in book_rows; of length 0: it says nothing to the books */
    uint32_t raw_offset, raw_length;   /* in raw */
    uint32_t reason_offset;            /* in raw, NUL-terminated; of a reject */
    uint16_t deliveries;               /* 0: unknown, at least one */
    uint32_t connection; /* stream->connection as it was read: else its id may be another's */
    bool reloaded; /* read again from the stream's kept tail: not pending, so not acknowledged */
    unsigned misplaced; /* values that went to `extra`, as their field could not take them */
    bool is_void;       /* a session record that says: this seq was claimed, but never a record */
    bool counted; /* in progress, by an earlier transaction, although a trigger has dropped it */
    bool loaded;  /* committed, in whatever form: it may be acknowledged */
    bool minimal; /* a reject that is stored without being counted in progress */
    uint32_t kind_offset, kind_length; /* in raw: the entry's field name */
    uint32_t sha256_offset;            /* in raw; of an entry that was too long */
    uint64_t long_bytes;               /* its whole length; 0: it was not, raw is all of it */
    char sqlstate[6];                  /* of a reject that PostgreSQL found, else "" */
};

struct batch {
    enum batch_state state;
    struct entry *entries;
    size_t count, capacity;
    struct copy_buffer rows[RECORD_KINDS];
    struct copy_buffer book_rows; /* what they say to the books: rows of book_queue */
    struct copy_buffer raw;
    struct order_changes
        *changes; /* of its orders, as they came; borrowed; NULL: orders are not kept */
    /* Writes a row in another form than COPY's; NULL: COPY's. */
    void (*put_row)(const void *row_form, struct copy_buffer *, const struct record *);
    const void *row_form;
    bool refused; /* a row is gone or was turned into a reject, so `changes` say more than them */
    bool careful; /* may hold what is stored already: through staging */
    int64_t gathered_at_us; /* CLOCK_MONOTONIC of its first entry */
    size_t rejected, expired;
};

void batch_release(struct batch *);
void batch_clear(struct batch *); /* keeps the memory; it gathers again */

/* Changes a batch's state: nothing else does, but for batch_clear. */
void batch_enter(struct batch *, enum batch_state);
size_t batch_bytes(const struct batch *);

/* An entry as Redis has it: field names and values in turn; a good one has one field, whose name is
 * the record's kind. */
struct raw_field {
    const char *bytes;
    size_t length;
};

/* An entry that is longer than any record may be; only its beginning was kept. */
struct long_entry {
    const char *kind; /* the name of its first field, cut */
    size_t kind_length;
    const char *raw; /* its first bytes, in the form that a reject keeps */
    size_t raw_length;
    uint64_t length; /* of the whole, in that form */
    unsigned char sha256[SHA256_BYTES];
};

/* Adds an entry; never fails on its content. now_ns: the wall clock, to tell a time in the future.
 */
void batch_add(struct batch *, struct stream *, const char *exchange, const char *stream_name,
               struct stream_entry_id id, const struct raw_field *fields, size_t field_count,
               uint16_t deliveries, int64_t now_ns);

/* Adds a reject for an entry that is too long. */
void batch_add_long(struct batch *, struct stream *, struct stream_entry_id id,
                    const struct long_entry *, uint16_t deliveries);

/* Adds a record of the drainer's own, which is valid. */
void batch_add_record(struct batch *, struct stream *, const struct record *);

/* Removes what it has of a stream, which is read again. */
void batch_drop(struct batch *, const struct stream *);

/* Turns a row, or an expired record, into a reject: PostgreSQL refused it. */
void batch_reject(struct batch *, struct entry *, const char *sqlstate, const char *reason);

const char *batch_reason(const struct batch *, const struct entry *);

/* Writes the row of blotter.rejects (columns BATCH_REJECT_COLUMNS) of a rejected entry. */
#define BATCH_REJECT_COLUMNS                                                                  \
    "stream, entry_id, exchange, lane, kind, producer_id, seq, recorded_at, delivery_count, " \
    "reason, sqlstate, raw, raw_length, raw_sha256, drainer"
void batch_put_reject(const struct batch *, const struct entry *, const char *stream_name,
                      const char *exchange, const char *drainer, struct copy_buffer *);

#endif
