/* redis_reader.h: stands between the socket and hiredis: its events on our loop, and the checks
 * that hiredis lacks. What Redis sends is not trusted:
 *
 *   - an answer that no command waits for, which hiredis answers with abort(), ends the connection;
 *   - so does one with more elements or bytes than any command of ours is answered with;
 *   - a string that is longer than `string_bytes` is never gathered in memory: its bytes are handed
 *     on as they arrive, and hiredis gets its first string_bytes + 1.
 *
 * One thread, that of the loop. */
#ifndef BLOTTER_PRODUCER_REDIS_READER_H
#define BLOTTER_PRODUCER_REDIS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct redisAsyncContext;
struct redisReader;
struct redisReplyObjectFunctions;
struct redis_reader;

/* Gets the bytes of a string that is too long, in pieces; total is its whole length. */
typedef void redis_reader_piece(void *owner, uint64_t total, const char *bytes, size_t length);

struct redis_reader_options {
    size_t string_bytes;          /* longest string that is kept whole; 0: 1 MiB */
    redis_reader_piece *on_piece; /* NULL: a longer string ends the connection */
    void *piece_owner;
    bool (*is_awaited)(void *owner);                  /* does a command wait for an answer? */
    void (*on_fault)(void *owner, const char *fault); /* the connection is about to end, why */
    void *owner;
};

/* Attaches a new connection to the loop. The reader is freed with the connection; NULL: out of
 * memory. */
struct redis_reader *redis_reader_attach(struct redisAsyncContext *, struct event_base *,
                                         const struct redis_reader_options *);

/* Returns when bytes came last, CLOCK_MONOTONIC; 0: never. A long answer is one that is still
 * alive. */
int64_t redis_reader_heard_ms(const struct redis_reader *);

/* Returns hiredis' own reply functions with the first two checks; privdata is the reader. */
const struct redisReplyObjectFunctions *redis_reader_functions(void);

/* Does the same for connections that block, which have no reader of ours: an array that claims more
 * elements than any answer has is refused before there is memory for it. */
void redis_reader_bound(struct redisReader *);

#endif
