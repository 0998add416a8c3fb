/* fuzz_entries.c: from whatever Redis may answer to rows for PostgreSQL: the answer in pieces
 * through hiredis and entry_reader.h, its entries into a batch, its orders into their changes, and
 * what is no record into a reject, as PostgreSQL gets it and as people see it.
 *
 * The first byte says what the answer is to, the second in which pieces it comes. Values longer
 * than a record are put together by redis_reader.c, which has a socket; here they come whole. */
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/batch.h"
#include "drainer/order_changes.h"
#include "drainer/record_json.h"
#include "drainer/redis/entry_reader.h"
#include "schema/clock.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct batch batch;
static enum entry_place place;
static char stream[STREAM_NAME_BYTES];

static enum entry_place on_answer(void *owner)
{
    (void)owner;
    return place;
}

static void on_stream(void *owner, const char *name, size_t length)
{
    (void)owner;
    snprintf(stream, sizeof stream, "%.*s", (int)length, name);
}

static void on_entry(void *owner, struct stream_entry_id id, const struct raw_field *fields,
                     size_t field_count)
{
    (void)owner;
    for (size_t i = 0; i < field_count; i++) {
        CHECK(fields[i].bytes != NULL && fields[i].length <= LIMIT_RECORD_BYTES);
    }
    batch_add(&batch, NULL, "okx", "blotter:okx", id, fields, field_count, 1, clock_wall_ns());
}

static void on_long_entry(void *owner, struct stream_entry_id id, const struct long_entry *entry)
{
    (void)owner;
    CHECK(entry->raw_length <= LIMIT_RECORD_BYTES && entry->raw_length <= entry->length);
    batch_add_long(&batch, NULL, id, entry, 1);
}

static void check_batch(void)
{
    struct copy_buffer out = {0};

    for (size_t i = 0; i < batch.count; i++) {
        struct entry *entry = &batch.entries[i];
        if (entry->fate == ENTRY_ROW && i % 2 == 1) {
            batch_reject(&batch, entry, "23514", "a constraint");
        }
        if (entry->fate == ENTRY_REJECTED) {
            batch_put_reject(&batch, entry, "blotter:okx", "okx", "d1", &out);
            free(record_json_of_entry(batch.raw.bytes + entry->raw_offset, entry->raw_length));
        }
    }
    order_changes_put(batch.changes, &batch.rows[RECORD_ORDER], true, &out);
    copy_buffer_release(&out);
}

static void read_answer(redisReader *reader, const char *bytes, size_t size, size_t piece)
{
    void *reply = NULL;

    for (size_t at = 0; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        if (redisReaderFeed(reader, bytes + at, length) != REDIS_OK ||
            redisReaderGetReply(reader, &reply) != REDIS_OK) {
            return;
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct text_set none;
    static struct entry_reader *entries;
    redisReader *reader = redisReaderCreate();

    if (entries == NULL) {
        batch.changes = order_changes_create(&none, &none);
        entries =
            entry_reader_create(&(struct entry_reader_options){.on_answer = on_answer,
                                                               .on_stream = on_stream,
                                                               .on_entry = on_entry,
                                                               .on_long_entry = on_long_entry});
    }
    reader->fn = entry_reader_functions(entries);
    reader->privdata = entries;
    entry_reader_reset(entries);
    batch_clear(&batch);
    if (size > 2) {
        place = (enum entry_place)(data[0] % (ENTRIES_REFUSED + 1));
        read_answer(reader, (const char *)data + 2, size - 2, 1 + (size_t)data[1]);
        check_batch();
    }
    redisReaderFree(reader);
    return 0;
}
