/* reject_line.c: see reject_line.h. */
#include "drainer/mirror/reject_line.h"

#include <stdio.h>
#include <string.h>

#include "drainer/mirror/base64.h"
#include "drainer/mirror/ilp.h"
#include "drainer/mirror/questdb_tables.h"
#include "drainer/redis/streams.h"

#define LAST_MS UINT64_C(253370764800000) /* in the year 9999, the last that QuestDB takes */

/* Cuts what is not UTF-8 off the end: it may have been cut within a character, or be anything. */
static size_t clean_length(const char *text, size_t length)
{
    while (length > 0 && text_check(text, length) != RECORD_FAULT_NONE) {
        length--;
    }
    return length;
}

static void put_sha256(struct copy_buffer *out, const struct batch *batch,
                       const struct entry *entry)
{
    char text[2 * SHA256_BYTES + 1];

    for (size_t i = 0; i < SHA256_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", batch->raw.bytes[entry->sha256_offset + i]);
    }
    ilp_put_text(out, "raw_sha256", text, 2 * SHA256_BYTES);
}

static void put_values(struct copy_buffer *out, const struct batch *batch,
                       const struct entry *entry)
{
    const char *kind = (const char *)batch->raw.bytes + entry->kind_offset;
    const char *reason = batch_reason(batch, entry);
    char id[STREAM_ENTRY_ID_BYTES];

    stream_entry_id_format(id, entry->id);
    ilp_put_text(out, "entry_id", id, strlen(id));
    ilp_put_text(out, "kind", kind, clean_length(kind, entry->kind_length));
    if (entry->producer_id != 0 && entry->seq != 0) {
        ilp_put_integer(out, "producer_id", entry->producer_id);
        ilp_put_integer(out, "seq", entry->seq);
    }
    ilp_put_text(out, "reason", reason, clean_length(reason, strlen(reason)));
    ilp_put_integer(out, "raw_length",
                    entry->long_bytes > 0 ? (int64_t)entry->long_bytes : entry->raw_length);
    if (entry->long_bytes > 0) {
        put_sha256(out, batch, entry);
    }
    copy_put_raw(out, ",raw=\"", 6);
    char *at = (char *)copy_buffer_reserve(out, BASE64_BYTES(entry->raw_length));
    out->length += base64_encode(at, batch->raw.bytes + entry->raw_offset, entry->raw_length);
}

void reject_line_put(struct copy_buffer *out, const struct batch *batch, const struct entry *entry)
{
    const struct stream *stream = entry->stream;
    uint64_t ms = entry->id.ms < LAST_MS ? entry->id.ms : LAST_MS;
    char end[32];

    copy_put_raw(out, QUESTDB_REJECTS, strlen(QUESTDB_REJECTS));
    ilp_put_symbol(out, "stream", stream->name, strlen(stream->name));
    ilp_put_symbol(out, "exchange", stream->exchange, strlen(stream->exchange));
    if (stream->lane[0] != '\0') {
        ilp_put_symbol(out, "lane", stream->lane, strlen(stream->lane));
    }
    ilp_put_symbol(out, "state", "open", 4);
    size_t values = out->length;
    put_values(out, batch, entry);
    out->bytes[values] = ' '; /* the first value's comma */
    int length = snprintf(end, sizeof end, "\" %llu000\n", (unsigned long long)ms);
    copy_put_raw(out, end, (size_t)length);
}
