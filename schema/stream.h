/* stream.h: the names under which records travel through Redis.
 *
 * blotter:<exchange>            the stream of an exchange
 * blotter:<exchange>:<lane>     a lane of it
 * blotter-ack:{<stream>}:<producer_id>   confirmations: what is committed; kept for an hour
 * blotter-ack:{<stream>}        the names of these keys, the oldest first, so that they stay few
 * blotter-id:{<stream>}         a random id, made once: streams of one name in two Redis differ
 * blotter-load:{<stream>}       which PostgreSQL it was loaded into, how far, by which drainer
 * blotter-mirror:{<stream>}     which mirror reads it for QuestDB
 *
 * All keys of a stream are in its cluster slot; only the stream itself matches STREAM_PATTERN. */
#ifndef BLOTTER_SCHEMA_STREAM_H
#define BLOTTER_SCHEMA_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/limits.h"

#define STREAM_PREFIX "blotter:"
#define STREAM_PATTERN "blotter:*"
#define STREAM_GROUP "drainers"
#define STREAM_MIRROR_GROUP "mirrors"
#define STREAM_NAME_BYTES (sizeof STREAM_PREFIX + 2 * LIMIT_EXCHANGE_BYTES + 1) /* with the NUL */
/* with the NUL */
#define STREAM_ACK_NAME_BYTES (sizeof "blotter-ack:{}:" + STREAM_NAME_BYTES + 20)
#define STREAM_ACK_FIELD "settled" /* its value: ranges of seq, "1-50,53,60-70" */

enum {
    STREAM_KEY_BYTES = STREAM_NAME_BYTES + 24, /* the names of blotter-id and blotter-load */
    STREAM_ID_DIGITS = 32,                     /* of a stream's random id, hexadecimal */
    STREAM_ENTRY_ID_BYTES = 48,                /* "ms-seq", with the NUL */
};

struct stream_entry_id {
    uint64_t ms, seq;
};

/* Says whether it is a valid exchange or lane name: [a-z0-9._-]{1,32}. */
bool stream_name_part_valid(const char *text, size_t length);

/* Writes the stream's name; lane may be NULL or "". */
void stream_name(char out[STREAM_NAME_BYTES], const char *exchange, const char *lane);
void stream_ack_name(char out[STREAM_ACK_NAME_BYTES], const char *stream, int64_t producer_id);
void stream_id_name(char out[STREAM_KEY_BYTES], const char *stream);
void stream_load_name(char out[STREAM_KEY_BYTES], const char *stream);
void stream_mirror_name(char out[STREAM_KEY_BYTES], const char *stream);

/* Draws a stream's random id. False, and "": there are no random bytes. */
bool stream_id_draw(char out[STREAM_ID_DIGITS + 1]);
bool stream_id_valid(const char *text, size_t length);

/* Returns the lane in the name of a stream of that exchange; "" if it has none. */
const char *stream_lane(const char *name, const char *exchange);

/* Splits a stream's name into exchange and lane ("" if none). False: not one of ours. */
bool stream_parse(const char *name, size_t length, char exchange[LIMIT_EXCHANGE_BYTES + 1],
                  char lane[LIMIT_EXCHANGE_BYTES + 1]);

/* Parses "ms-seq". False: it is not that, or a number is larger than 64 bits. */
bool stream_entry_id_parse(const char *text, size_t length, struct stream_entry_id *);
void stream_entry_id_format(char out[STREAM_ENTRY_ID_BYTES], struct stream_entry_id);
/* Returns the id behind that one; 0-0: it is the greatest. */
struct stream_entry_id stream_entry_id_next(struct stream_entry_id);
/* Returns a number below, at or above 0, as a is before, the same as, or behind b. */
int stream_entry_id_compare(struct stream_entry_id a, struct stream_entry_id b);

#endif
