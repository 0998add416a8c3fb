/* good_record.c: see good_record.h. The record has what its kind requires, and nothing else. */
#include "drainer/postgres/good_record.h"

#include <string.h>

#include "drainer/redis/streams.h"

enum { NS_PER_US = 1000 };

#define GOOD_TEXT "blotter"
static struct stream good_stream = {.name = "blotter:blotter", .exchange = GOOD_TEXT};

static struct record_value good_text(const char *text)
{
    return (struct record_value){.bytes = text, .length = (uint32_t)strlen(text), .present = true};
}

static struct record_value good_integer(int64_t integer)
{
    return (struct record_value){.integer = integer, .present = true};
}

static struct record_value good_value(enum field_kind kind, int64_t time_ns)
{
    switch (kind) {
    case FIELD_TEXT:
        return good_text(GOOD_TEXT);
    case FIELD_DECIMAL:
        return good_text("1");
    case FIELD_TIME:
        return good_integer(time_ns);
    case FIELD_INT:
    case FIELD_BOOL:
        return good_integer(1);
    default:
        return good_text("{}");
    }
}

static void good_record_make(struct record *record, enum record_kind kind, int64_t time_ns)
{
    const struct record_schema *schema = &record_schemas[kind];
    uint64_t present = 0;

    *record = (struct record){.kind = kind};
    record->values[IDENTITY_producer_id] = good_integer(1);
    record->values[IDENTITY_seq] = good_integer(1);
    record->values[IDENTITY_recorded_at] = good_integer(time_ns);
    record->values[IDENTITY_exchange] = good_text(GOOD_TEXT);
    for (uint64_t missing; (missing = record_missing(kind, present)) != 0;) {
        unsigned at = (unsigned)__builtin_ctzll(missing); /* one of them is enough */

        record->values[at] = good_value(schema->fields[at].kind, time_ns);
        present |= UINT64_C(1) << at;
    }
}

void good_record_fill(struct batch *good, const struct batch *batch, struct batch_range range)
{
    bool done[RECORD_KINDS] = {false};
    struct record record;

    batch_clear(good);
    good->careful = batch->careful;
    for (size_t i = range.from; i < range.to; i++) {
        const struct entry *entry = &batch->entries[i];

        if (entry->fate == ENTRY_ROW && !done[entry->kind]) {
            done[entry->kind] = true;
            good_record_make(&record, entry->kind, entry->recorded_at_us * NS_PER_US);
            batch_add_record(good, &good_stream, &record);
        }
    }
}
