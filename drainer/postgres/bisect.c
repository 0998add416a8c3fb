/* bisect.c: see bisect.h. */
#include "drainer/postgres/bisect.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "drainer/redis/streams.h"

/* Finds the entry that the failed COPY was at; the range's end: not known. */
static size_t entry_at_fault(const struct batch *batch, struct batch_range range,
                             const struct pg_failure *failure)
{
    const char *table = failure->copy_table;
    unsigned long row = 0;
    size_t i;

    table += strncmp(table, SPLIT_STAGED, strlen(SPLIT_STAGED)) == 0 ? strlen(SPLIT_STAGED) : 0;
    for (i = range.from; i < range.to; i++) {
        const struct entry *entry = &batch->entries[i];

        row += entry->fate == ENTRY_ROW && strcmp(record_schemas[entry->kind].table, table) == 0;
        if (row > 0 && row == failure->copy_row) {
            break;
        }
    }
    return i;
}

size_t bisect_range(const struct batch *batch, struct batch_range range,
                    const struct pg_failure *failure, bool halve,
                    struct batch_range parts[BISECT_PARTS_MAX])
{
    size_t at = halve ? range.to : entry_at_fault(batch, range, failure), next = at + 1, count = 0;

    if (at == range.to) {
        at = next = range.from + (range.to - range.from) / 2;
    }
    if (range.from < at) {
        parts[count++] = (struct batch_range){range.from, at};
    }
    if (at < next) {
        parts[count++] = (struct batch_range){at, next};
    }
    if (next < range.to) {
        parts[count++] = (struct batch_range){next, range.to};
    }
    return count;
}

/* Moves the entries of an exchange to `out`. Returns how many. */
static size_t take_exchange(struct entry *entries, size_t count, const char *exchange,
                            struct entry *out)
{
    size_t taken = 0;

    for (size_t i = 0; i < count; i++) {
        if (entries[i].stream != NULL && strcmp(entries[i].stream->exchange, exchange) == 0) {
            out[taken++] = entries[i];
            entries[i].stream = NULL;
        }
    }
    return taken;
}

void bisect_sort_exchanges(struct batch *batch, struct batch_range range)
{
    struct entry *entries = batch->entries + range.from;
    size_t count = range.to - range.from, sorted_count = 0;
    struct entry *sorted = memory_or_abort(calloc(count, sizeof *sorted));

    for (unsigned times = 0, next; sorted_count < count; times = next) {
        next = UINT_MAX;
        for (size_t i = 0; i < count; i++) {
            const struct stream *stream = entries[i].stream;

            if (stream != NULL && stream->held_times <= times) {
                sorted_count +=
                    take_exchange(entries, count, stream->exchange, sorted + sorted_count);
            } else if (stream != NULL && stream->held_times < next) {
                next = stream->held_times;
            }
        }
    }
    memcpy(entries, sorted, count * sizeof *sorted);
    free(sorted);
}

size_t bisect_exchange_end(const struct batch *batch, struct batch_range range)
{
    const char *exchange = batch->entries[range.from].stream->exchange;
    size_t at = range.from + 1;

    while (at < range.to && strcmp(batch->entries[at].stream->exchange, exchange) == 0) {
        at++;
    }
    return at;
}
