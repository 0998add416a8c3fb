/* entry_reader.h: takes the entries out of Redis' answers while hiredis reads them, instead of out
 * of a tree of objects.
 *
 * hiredis builds an answer by functions that can be exchanged. Those made here build what it always
 * builds, but where an answer holds stream entries they hand over each as soon as its last byte has
 * come, and leave the list empty in the tree. So an entry costs no allocation, an answer of any
 * number of entries takes no memory, and between two pieces of an answer the event loop has its
 * turn. Ten allocations an entry were a quarter of the drainer's time.
 *
 * What Redis sends is not trusted: an entry of another shape than [id, [field, value, …]] is left
 * out, as is [id, nil], an entry deleted since it was delivered; a value that is no string is an
 * empty one. Of an entry longer than a record may be, in one value or in many, only the beginning,
 * the length and a SHA-256 are kept. An answer that is otherwise too large ends the connection. One
 * thread. */
#ifndef BLOTTER_DRAINER_REDIS_ENTRY_READER_H
#define BLOTTER_DRAINER_REDIS_ENTRY_READER_H

#include <stddef.h>

#include "drainer/batch.h"

struct redisReplyObjectFunctions;
struct entry_reader;

/* The place of the entries in an answer. */
enum entry_place {
    ENTRIES_NOWHERE,
    ENTRIES_ALONE,         /* XRANGE: [entry, …] */
    ENTRIES_BEHIND_CURSOR, /* XAUTOCLAIM: [cursor, [entry, …], …] */
    ENTRIES_BY_STREAM,     /* XREADGROUP: [[name, [entry, …]], …] */
    ENTRIES_REFUSED,       /* no command waits for the answer: it ends the connection */
};

struct entry_reader_options {
    enum entry_place (*on_answer)(void *owner); /* an answer begins: what is it to? */
    void (*on_stream)(void *owner, const char *name,
                      size_t name_length); /* BY_STREAM: whose entries follow; "": no name */
    /* The whole of an entry has come; its bytes are there during the call. The answer may still end
     * in the middle. */
    void (*on_entry)(void *owner, struct stream_entry_id, const struct raw_field *,
                     size_t field_count);
    /* The same of an entry that is longer than a record may be. */
    void (*on_long_entry)(void *owner, struct stream_entry_id, const struct long_entry *);
    void *owner;
};

struct entry_reader *entry_reader_create(const struct entry_reader_options *);
void entry_reader_destroy(
    struct entry_reader *); /* takes NULL; after every reader that has its functions */

/* Forgets, on a new connection, the answer that was being read: it never ends. */
void entry_reader_reset(struct entry_reader *);

/* For the link: its on_piece. A value longer than a record comes in pieces before hiredis has it.
 */
enum { ENTRY_READER_VALUE_BYTES = LIMIT_RECORD_BYTES };
void entry_reader_on_piece(void *entry_reader, uint64_t total, const char *bytes, size_t length);

/* Returns the fn of hiredis' reader, whose privdata is the entry reader. */
struct redisReplyObjectFunctions *entry_reader_functions(struct entry_reader *);

#endif
