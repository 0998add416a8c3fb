/* order_changes.c: see order_changes.h. An open-addressing hash table from the order's key to the
 * fields that count so far. A field is kept as the offset of its column (length, bytes) in the
 * rows: fields that came in one event still lie side by side, and are written as one piece. */
#include "drainer/order_changes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drainer/memory.h"
#include "schema/hash.h"
#include "schema/record.h"

struct event_time {
    int64_t recorded_at, seq, producer_id;
};

struct changed_order {
    uint64_t hash;
    bool ended;      /* it has ended, by a status or with nothing remaining */
    bool has_status; /* by a status, which stays */
    bool late;
    struct event_time first, last;
    uint32_t first_filled;          /* column of the first filled_quantity given; 0: none */
    uint32_t columns[ORDER_FIELDS]; /* the identity's are those of the key only */
};

struct order_changes {
    const struct text_set *venues_by_symbol, *terminal_statuses;
    struct changed_order *orders;
    size_t count, capacity;
    uint32_t *slots;   /* index + 1 into orders; 0: free */
    size_t slot_count; /* a power of two, at least twice `capacity` */
};

/* --- sets --- */

/* Returns the place of the first text of at least that length. */
static size_t order_first_of_length(const struct text_set *set, size_t length)
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
    size_t at = order_first_of_length(set, length);
    char *copy = memory_or_abort(strndup(text, length));

    set->texts =
        array_grow_or_abort(set->texts, &set->capacity, set->count + 1, sizeof *set->texts);
    memmove(set->texts + at + 1, set->texts + at, (set->count - at) * sizeof *set->texts);
    set->texts[at] = (struct text){copy, length};
    set->count++;
}

/* Ignores the case of ASCII letters. */
static bool text_set_has(const struct text_set *set, const unsigned char *text, size_t length)
{
    for (size_t i = order_first_of_length(set, length);
         i < set->count && set->texts[i].length == length; i++) {
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

/* --- the table --- */

struct order_changes *order_changes_create(const struct text_set *venues_by_symbol,
                                           const struct text_set *terminal_statuses)
{
    struct order_changes *changes = memory_or_abort(calloc(1, sizeof *changes));

    changes->venues_by_symbol = venues_by_symbol;
    changes->terminal_statuses = terminal_statuses;
    return changes;
}

void order_changes_destroy(struct order_changes *changes)
{
    if (changes != NULL) {
        free(changes->orders);
        free(changes->slots);
        free(changes);
    }
}

void order_changes_clear(struct order_changes *changes)
{
    changes->count = 0;
    if (changes->slots != NULL) {
        memset(changes->slots, 0, changes->slot_count * sizeof *changes->slots);
    }
}

size_t order_changes_count(const struct order_changes *changes)
{
    return changes->count;
}

static void order_grow(struct order_changes *changes)
{
    changes->orders = array_grow_or_abort(changes->orders, &changes->capacity, changes->count + 1,
                                          sizeof *changes->orders);
    changes->slot_count = changes->capacity * 2;
    free(changes->slots);
    changes->slots = memory_or_abort(calloc(changes->slot_count, sizeof *changes->slots));
    for (size_t i = 0; i < changes->count; i++) {
        size_t slot = changes->orders[i].hash & (changes->slot_count - 1);

        while (changes->slots[slot] != 0) {
            slot = (slot + 1) & (changes->slot_count - 1);
        }
        changes->slots[slot] = (uint32_t)i + 1;
    }
}

/* --- keys --- */

static bool given(const struct copy_field *field)
{
    return field->length >= 0;
}

/* Says whether it is an id: some venues write 0 where there is none. */
static bool order_is_id(const struct copy_field *field)
{
    return field->length > 0 && !(field->length == 1 && field->bytes[0] == '0');
}

static bool same(const struct copy_field *a, const struct copy_field *b)
{
    return a->length == b->length &&
           (a->length <= 0 || memcmp(a->bytes, b->bytes, (size_t)a->length) == 0);
}

/* Compares by the rule that an absent account and an empty one are the same key. */
static bool same_or_empty(const struct copy_field *a, const struct copy_field *b)
{
    return (a->length <= 0 && b->length <= 0) || same(a, b);
}

static uint64_t order_mix(uint64_t h, const struct copy_field *field)
{
    return hash64_add(h, field->bytes, field->length > 0 ? (size_t)field->length : 0);
}

static bool order_numbered_by_symbol(const struct order_changes *changes,
                                     const struct copy_field *fields)
{
    return text_set_has(changes->venues_by_symbol, fields[IDENTITY_exchange].bytes,
                        (size_t)fields[IDENTITY_exchange].length);
}

/* Returns the id that the order goes by: the venue's, or ours while that is unknown. NULL: neither,
 * it is not kept in `orders`. */
static const struct copy_field *key_id(const struct copy_field *fields)
{
    return order_is_id(&fields[ORDER_order_id])          ? &fields[ORDER_order_id]
           : order_is_id(&fields[ORDER_client_order_id]) ? &fields[ORDER_client_order_id]
                                                         : NULL;
}

static uint64_t key_hash(const struct copy_field *fields, bool by_symbol)
{
    uint64_t h = order_mix(0, &fields[IDENTITY_exchange]);

    h = order_mix(order_mix(h, &fields[ORDER_account]), key_id(fields));
    if (by_symbol) {
        h = order_mix(h, &fields[ORDER_symbol]);
    }
    return h;
}

static bool order_has_key(const struct copy_buffer *rows, const struct changed_order *order,
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
           order_is_id(&key[ORDER_order_id]) == order_is_id(&fields[ORDER_order_id]) &&
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

/* --- what an event says --- */

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

static struct copy_field order_field_of(const struct copy_buffer *rows,
                                        const struct changed_order *order, int i)
{
    return copy_field_at(rows->bytes + order->columns[i]);
}

static bool is_terminal(const struct order_changes *changes, const struct copy_field *status)
{
    return given(status) &&
           text_set_has(changes->terminal_statuses, status->bytes, (size_t)status->length);
}

/* Says whether an event without a status says that its order has ended, as nothing remains. */
static bool has_nothing_remaining(const struct event *event)
{
    const struct copy_field *remaining = &event->fields[ORDER_remaining_quantity];

    return !given(&event->fields[ORDER_status]) && given(remaining) &&
           copy_numeric_is_zero(remaining);
}

/* Says whether the field describes the fill up to filled_quantity: then that of a smaller one is
 * out of date. */
static bool follows_filled_quantity(int field)
{
    return field == ORDER_filled_quantity || field == ORDER_remaining_quantity ||
           field == ORDER_average_price || field == ORDER_cost;
}

/* Says whether less is filled than an event before has said already. */
static bool is_out_of_date(const struct copy_buffer *rows, const struct changed_order *order,
                           const struct event *event)
{
    struct copy_field before = order_field_of(rows, order, ORDER_filled_quantity);
    const struct copy_field *filled = &event->fields[ORDER_filled_quantity];

    return given(filled) && given(&before) && copy_numeric_compare(filled, &before) < 0;
}

static void note_state(const struct order_changes *changes, struct changed_order *order,
                       const struct event *event)
{
    order->has_status = order->has_status || is_terminal(changes, &event->fields[ORDER_status]);
    order->ended = order->ended || order->has_status || has_nothing_remaining(event);
    if (order->first_filled == 0 && given(&event->fields[ORDER_filled_quantity])) {
        order->first_filled = event->columns[ORDER_filled_quantity];
    }
}

/* Takes over what a newer event gives. */
static void order_apply(const struct order_changes *changes, const struct copy_buffer *rows,
                        struct changed_order *order, const struct event *event)
{
    bool out_of_date = is_out_of_date(rows, order, event);

    for (int i = ORDER_BEFORE_FIRST + 1; i < ORDER_FIELDS; i++) {
        if (given(&event->fields[i]) && !(i == ORDER_status && order->has_status) &&
            !(out_of_date && follows_filled_quantity(i))) {
            order->columns[i] = event->columns[i];
        }
    }
    note_state(changes, order, event);
}

/* Says whether the stored events decide, not this summary of them: an order has two ids of the
 * client, or events are out of order. */
static bool needs_rebuild(const struct copy_buffer *rows, const struct changed_order *order,
                          const struct event *event)
{
    const struct copy_field *id = &event->fields[ORDER_client_order_id];
    struct copy_field before = order_field_of(rows, order, ORDER_client_order_id);

    return compare_times(&event->time, &order->last) < 0 ||
           (order_is_id(id) && order_is_id(&before) && !same(id, &before));
}

static struct changed_order *add_order(struct order_changes *changes, size_t slot, uint64_t h,
                                       const struct event *event)
{
    struct changed_order *order = &changes->orders[changes->count++];

    changes->slots[slot] = (uint32_t)changes->count;
    *order = (struct changed_order){.hash = h, .first = event->time, .last = event->time};
    memcpy(order->columns, event->columns, sizeof order->columns);
    note_state(changes, order, event);
    return order;
}

static struct changed_order *find_or_add(struct order_changes *changes,
                                         const struct copy_buffer *rows, const struct event *event)
{
    bool by_symbol = order_numbered_by_symbol(changes, event->fields);
    uint64_t h = key_hash(event->fields, by_symbol);
    size_t slot;

    if (changes->count == changes->capacity) {
        order_grow(changes);
    }
    for (slot = h & (changes->slot_count - 1); changes->slots[slot] != 0;
         slot = (slot + 1) & (changes->slot_count - 1)) {
        struct changed_order *order = &changes->orders[changes->slots[slot] - 1];

        if (order->hash == h && order_has_key(rows, order, event->fields, by_symbol)) {
            return order;
        }
    }
    return add_order(changes, slot, h, event);
}

void order_changes_add_row(struct order_changes *changes, const struct copy_buffer *rows,
                           size_t offset)
{
    struct copy_field fields[ORDER_FIELDS];
    uint32_t columns[ORDER_FIELDS];

    copy_split_row(rows->bytes + offset, fields, ORDER_FIELDS);
    for (int i = 0; i < ORDER_FIELDS; i++) {
        columns[i] = (uint32_t)(fields[i].bytes - 4 - rows->bytes);
    }
    order_changes_add(changes, rows, columns);
}

void order_changes_add(struct order_changes *changes, const struct copy_buffer *rows,
                       const uint32_t *columns)
{
    struct event event;
    struct changed_order *order;

    read_event(&event, rows, columns);
    if (key_id(event.fields) == NULL) {
        return;
    }
    event.time.recorded_at = copy_field_int64(&event.fields[IDENTITY_recorded_at]);
    event.time.seq = copy_field_int64(&event.fields[IDENTITY_seq]);
    event.time.producer_id = copy_field_int64(&event.fields[IDENTITY_producer_id]);
    order = find_or_add(changes, rows, &event);
    if (compare_times(&event.time, &order->last) == 0) {
        return; /* the one that was just added, or the same event twice */
    }
    order->late = order->late || needs_rebuild(rows, order, &event);
    if (compare_times(&event.time, &order->last) > 0) {
        order->last = event.time;
    } else if (compare_times(&event.time, &order->first) < 0) {
        order->first = event.time;
    }
    order_apply(changes, rows, order, &event);
}

/* --- writing --- */

const char *order_changes_columns(void)
{
#define X(name, kind, meaning) ", " #name
    return "exchange, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, "
           "producer_id, late, ended, first_filled_quantity" BLOTTER_ORDER_FIELDS(X);
#undef X
}

static size_t column_length(const struct copy_buffer *rows, uint32_t column)
{
    struct copy_field field = copy_field_at(rows->bytes + column);

    return 4 + (given(&field) ? (size_t)field.length : 0);
}

/* Writes the columns, those that lie side by side as one. */
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

static void order_put_time(struct copy_buffer *out, const struct event_time *time)
{
    copy_put_int64(out, time->recorded_at);
    copy_put_int64(out, time->seq);
    copy_put_int64(out, time->producer_id);
}

void order_changes_put(const struct order_changes *changes, const struct copy_buffer *rows,
                       bool late, struct copy_buffer *out)
{
    for (size_t n = 0; n < changes->count; n++) {
        const struct changed_order *order = &changes->orders[n];

        copy_put_row_head(out, 10 + ORDER_FIELDS - RECORD_IDENTITY_FIELDS);
        put_columns(out, rows, &order->columns[IDENTITY_exchange], 1);
        order_put_time(out, &order->first);
        order_put_time(out, &order->last);
        copy_put_bool(out, late || order->late);
        copy_put_bool(out, order->ended);
        if (order->first_filled == 0) {
            copy_put_null(out);
        } else {
            put_columns(out, rows, &order->first_filled, 1);
        }
        put_columns(out, rows, order->columns + RECORD_IDENTITY_FIELDS,
                    ORDER_FIELDS - RECORD_IDENTITY_FIELDS);
    }
}
