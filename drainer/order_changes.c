/* order_changes.c: see order_changes.h. An open-addressing hash table from the order's key to the
 * fields that count so far. A field is kept as the offset of its column (length, bytes) in the
 * rows: fields that came in one event still lie side by side, and are written as one piece. */
#include "drainer/order_changes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "schema/record.h"

struct event_time {
    int64_t recorded_at, seq, producer_id;
};

struct folded_order {
    uint64_t hash;
    bool ended, late;
    struct event_time first, last;
    uint32_t columns[ORDER_FIELDS]; /* the identity's are those of the key only */
};

struct order_changes {
    const struct text_set *venues_by_symbol, *terminal_statuses;
    struct folded_order *orders;
    size_t count, capacity;
    uint32_t *slots;   /* index + 1 into orders; 0: free */
    size_t slot_count; /* a power of two, at least twice `capacity` */
};

/* --- sets
 * ----------------------------------------------------------------------------------------------------------------
 */

/* Where texts of at least that length begin. */
static size_t first_of_length(const struct text_set *set, size_t length)
{
    size_t from = 0, to = set->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (set->texts[middle].length < length) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

void text_set_add(struct text_set *set, const char *text, size_t length)
{
    size_t at = first_of_length(set, length);
    char *copy = strndup(text, length);

    set->texts = realloc(set->texts, (set->count + 1) * sizeof *set->texts);
    if (set->texts == NULL || copy == NULL) {
        abort();
    }
    memmove(set->texts + at + 1, set->texts + at, (set->count - at) * sizeof *set->texts);
    set->texts[at] = (struct text){copy, length};
    set->count++;
}

bool text_set_has(const struct text_set *set, const unsigned char *text, size_t length)
{
    for (size_t i = first_of_length(set, length); i < set->count && set->texts[i].length == length;
         i++) {
        if (strncasecmp(set->texts[i].bytes, (const char *)text, length) == 0) {
            return true;
        }
    }
    return false;
}

void text_set_release(struct text_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->texts[i].bytes);
    }
    free(set->texts);
    *set = (struct text_set){0};
}

/* --- the table
 * -----------------------------------------------------------------------------------------------------------
 */

struct order_changes *order_changes_create(const struct text_set *venues_by_symbol,
                                           const struct text_set *terminal_statuses)
{
    struct order_changes *fold = calloc(1, sizeof *fold);

    if (fold == NULL) {
        abort();
    }
    fold->venues_by_symbol = venues_by_symbol;
    fold->terminal_statuses = terminal_statuses;
    return fold;
}

void order_changes_destroy(struct order_changes *fold)
{
    if (fold != NULL) {
        free(fold->orders);
        free(fold->slots);
        free(fold);
    }
}

void order_changes_clear(struct order_changes *fold)
{
    fold->count = 0;
    if (fold->slots != NULL) {
        memset(fold->slots, 0, fold->slot_count * sizeof *fold->slots);
    }
}

size_t order_changes_count(const struct order_changes *fold)
{
    return fold->count;
}

static void grow(struct order_changes *fold)
{
    fold->capacity = fold->capacity == 0 ? 256 : fold->capacity * 2;
    fold->slot_count = fold->capacity * 2;
    fold->orders = realloc(fold->orders, fold->capacity * sizeof *fold->orders);
    free(fold->slots);
    fold->slots = calloc(fold->slot_count, sizeof *fold->slots);
    if (fold->orders == NULL || fold->slots == NULL) {
        abort();
    }
    for (size_t i = 0; i < fold->count; i++) {
        size_t slot = fold->orders[i].hash & (fold->slot_count - 1);

        while (fold->slots[slot] != 0) {
            slot = (slot + 1) & (fold->slot_count - 1);
        }
        fold->slots[slot] = (uint32_t)i + 1;
    }
}

/* --- keys
 * ----------------------------------------------------------------------------------------------------------------
 */

static bool given(const struct copy_field *field)
{
    return field->length >= 0;
}

static bool is_id(const struct copy_field *field)
{
    return field->length > 0;
}

static bool same(const struct copy_field *a, const struct copy_field *b)
{
    return a->length == b->length &&
           (a->length <= 0 || memcmp(a->bytes, b->bytes, (size_t)a->length) == 0);
}

/* An absent account and an empty one are the same key. */
static bool same_or_empty(const struct copy_field *a, const struct copy_field *b)
{
    return (a->length <= 0 && b->length <= 0) || same(a, b);
}

static uint64_t mix(uint64_t h, const struct copy_field *field)
{
    for (int32_t i = 0; i < field->length; i++) {
        h = (h ^ field->bytes[i]) * UINT64_C(0x100000001b3);
    }
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

static bool numbered_by_symbol(const struct order_changes *fold, const struct copy_field *fields)
{
    return text_set_has(fold->venues_by_symbol, fields[IDENTITY_exchange].bytes,
                        (size_t)fields[IDENTITY_exchange].length);
}

/* Which id the order goes by: the venue's, or ours while that is unknown. NULL: neither, it is not
 * kept in `orders`. */
static const struct copy_field *key_id(const struct copy_field *fields)
{
    return is_id(&fields[ORDER_order_id])          ? &fields[ORDER_order_id]
           : is_id(&fields[ORDER_client_order_id]) ? &fields[ORDER_client_order_id]
                                                   : NULL;
}

static uint64_t key_hash(const struct copy_field *fields, bool by_symbol)
{
    uint64_t h = mix(UINT64_C(0xcbf29ce484222325), &fields[IDENTITY_exchange]);

    h = mix(mix(h, &fields[ORDER_account]), key_id(fields));
    if (by_symbol) {
        h = mix(h, &fields[ORDER_symbol]);
    }
    return h ^ (h >> 29);
}

static bool has_key(const struct copy_buffer *rows, const struct folded_order *order,
                    const struct copy_field *fields, bool by_symbol)
{
    static const int parts[] = {IDENTITY_exchange, ORDER_account, ORDER_order_id,
                                ORDER_client_order_id, ORDER_symbol};
    struct copy_field key[ORDER_FIELDS];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        key[parts[i]] = copy_field_at(rows->bytes + order->columns[parts[i]]);
    }
    return same(&key[IDENTITY_exchange], &fields[IDENTITY_exchange]) &&
           same_or_empty(&key[ORDER_account], &fields[ORDER_account]) &&
           is_id(&key[ORDER_order_id]) == is_id(&fields[ORDER_order_id]) &&
           same(key_id(key), key_id(fields)) &&
           (!by_symbol || same_or_empty(&key[ORDER_symbol], &fields[ORDER_symbol]));
}

static int compare_times(const struct event_time *a, const struct event_time *b)
{
    if (a->recorded_at != b->recorded_at) {
        return a->recorded_at < b->recorded_at ? -1 : 1;
    }
    if (a->seq != b->seq) {
        return a->seq < b->seq ? -1 : 1;
    }
    return a->producer_id < b->producer_id ? -1 : a->producer_id > b->producer_id;
}

/* --- folding
 * -------------------------------------------------------------------------------------------------------------
 */

/* A row being added: its columns, and where they are. */
struct event {
    struct copy_field fields[ORDER_FIELDS];
    const uint32_t *columns;
    struct event_time time;
};

static void read_event(struct event *event, const struct copy_buffer *rows, const uint32_t *columns)
{
    event->columns = columns;
    for (int i = 0; i < ORDER_FIELDS; i++) {
        event->fields[i] = copy_field_at(rows->bytes + columns[i]);
    }
}

static struct copy_field field_of(const struct copy_buffer *rows, const struct folded_order *order,
                                  int i)
{
    return copy_field_at(rows->bytes + order->columns[i]);
}

static bool ends_order(const struct order_changes *fold, const struct copy_field *status)
{
    return given(status) &&
           text_set_has(fold->terminal_statuses, status->bytes, (size_t)status->length);
}

/* The result is that of the largest filled_quantity. */
static bool falls(const struct copy_buffer *rows, const struct folded_order *order,
                  const struct copy_field *filled_quantity)
{
    struct copy_field before = field_of(rows, order, ORDER_filled_quantity);

    return given(&before) && copy_numeric_compare(filled_quantity, &before) < 0;
}

/* Takes over what a newer event gives. */
static void apply(const struct order_changes *fold, const struct copy_buffer *rows,
                  struct folded_order *order, const struct event *event)
{
    for (int i = ORDER_BEFORE_FIRST + 1; i < ORDER_FIELDS; i++) {
        if (given(&event->fields[i]) && !(i == ORDER_status && order->ended) &&
            !(i == ORDER_filled_quantity && falls(rows, order, &event->fields[i]))) {
            order->columns[i] = event->columns[i];
        }
    }
    order->ended = order->ended || ends_order(fold, &event->fields[ORDER_status]);
}

/* Two ids of the client for one order, or events out of order: the stored events decide, not this
 * fold. */
static bool needs_rebuild(const struct copy_buffer *rows, const struct folded_order *order,
                          const struct event *event)
{
    const struct copy_field *id = &event->fields[ORDER_client_order_id];
    struct copy_field before = field_of(rows, order, ORDER_client_order_id);

    return compare_times(&event->time, &order->last) < 0 ||
           (is_id(id) && is_id(&before) && !same(id, &before));
}

static struct folded_order *add_order(struct order_changes *fold, size_t slot, uint64_t h,
                                      const struct event *event)
{
    struct folded_order *order = &fold->orders[fold->count++];

    fold->slots[slot] = (uint32_t)fold->count;
    order->hash = h;
    order->late = false;
    order->ended = ends_order(fold, &event->fields[ORDER_status]);
    order->first = order->last = event->time;
    memcpy(order->columns, event->columns, sizeof order->columns);
    return order;
}

static struct folded_order *find_or_add(struct order_changes *fold, const struct copy_buffer *rows,
                                        const struct event *event)
{
    bool by_symbol = numbered_by_symbol(fold, event->fields);
    uint64_t h = key_hash(event->fields, by_symbol);
    size_t slot;

    if (fold->count == fold->capacity) {
        grow(fold);
    }
    for (slot = h & (fold->slot_count - 1); fold->slots[slot] != 0;
         slot = (slot + 1) & (fold->slot_count - 1)) {
        struct folded_order *order = &fold->orders[fold->slots[slot] - 1];

        if (order->hash == h && has_key(rows, order, event->fields, by_symbol)) {
            return order;
        }
    }
    return add_order(fold, slot, h, event);
}

void order_changes_add_row(struct order_changes *fold, const struct copy_buffer *rows,
                           size_t offset)
{
    struct copy_field fields[ORDER_FIELDS];
    uint32_t columns[ORDER_FIELDS];

    copy_split_row(rows->bytes + offset, fields, ORDER_FIELDS);
    for (int i = 0; i < ORDER_FIELDS; i++) {
        columns[i] = (uint32_t)(fields[i].bytes - 4 - rows->bytes);
    }
    order_changes_add(fold, rows, columns);
}

void order_changes_add(struct order_changes *fold, const struct copy_buffer *rows,
                       const uint32_t *columns)
{
    struct event event;
    struct folded_order *order;

    read_event(&event, rows, columns);
    if (key_id(event.fields) == NULL) {
        return;
    }
    event.time.recorded_at = copy_field_int64(&event.fields[IDENTITY_recorded_at]);
    event.time.seq = copy_field_int64(&event.fields[IDENTITY_seq]);
    event.time.producer_id = copy_field_int64(&event.fields[IDENTITY_producer_id]);
    order = find_or_add(fold, rows, &event);
    if (compare_times(&event.time, &order->last) == 0) {
        return; /* the one that was just added, or the same event twice */
    }
    order->late = order->late || needs_rebuild(rows, order, &event);
    if (compare_times(&event.time, &order->last) > 0) {
        order->last = event.time;
    } else if (compare_times(&event.time, &order->first) < 0) {
        order->first = event.time;
    }
    apply(fold, rows, order, &event);
}

/* --- writing
 * -------------------------------------------------------------------------------------------------------------
 */

const char *order_changes_columns(void)
{
#define X(name, kind, meaning) ", " #name
    return "exchange, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, "
           "producer_id, late" BLOTTER_ORDER_FIELDS(X);
#undef X
}

static size_t column_length(const struct copy_buffer *rows, uint32_t column)
{
    struct copy_field field = copy_field_at(rows->bytes + column);

    return 4 + (given(&field) ? (size_t)field.length : 0);
}

/* Columns that lie side by side are written as one. */
static void put_columns(struct copy_buffer *out, const struct copy_buffer *rows,
                        const uint32_t *columns, int count)
{
    for (int i = 0; i < count;) {
        size_t length = column_length(rows, columns[i]);
        uint32_t begin = columns[i++];

        for (; i < count && columns[i] == begin + length; i++) {
            length += column_length(rows, columns[i]);
        }
        copy_put_raw(out, rows->bytes + begin, length);
    }
}

static void put_time(struct copy_buffer *out, const struct event_time *time)
{
    copy_put_int64(out, time->recorded_at);
    copy_put_int64(out, time->seq);
    copy_put_int64(out, time->producer_id);
}

void order_changes_put(const struct order_changes *fold, const struct copy_buffer *rows, bool late,
                       struct copy_buffer *out)
{
    for (size_t n = 0; n < fold->count; n++) {
        const struct folded_order *order = &fold->orders[n];

        copy_put_row_head(out, 8 + ORDER_FIELDS - RECORD_IDENTITY_FIELDS);
        put_columns(out, rows, &order->columns[IDENTITY_exchange], 1);
        put_time(out, &order->first);
        put_time(out, &order->last);
        copy_put_bool(out, late || order->late);
        put_columns(out, rows, order->columns + RECORD_IDENTITY_FIELDS,
                    ORDER_FIELDS - RECORD_IDENTITY_FIELDS);
    }
}
