/* order_fold.c: see order_fold.h. An open-addressing hash table from the order's key to the fields that count so far. */
#include "drainer/order_fold.h"

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
    struct copy_field fields[ORDER_FIELDS]; /* the identity's are those of the key only */
};

struct order_fold {
    const struct text_set *venues_by_symbol, *terminal_statuses;
    struct folded_order *orders;
    size_t count, capacity;
    uint32_t *slots;   /* index + 1 into orders; 0: free */
    size_t slot_count; /* a power of two, at least twice `capacity` */
    bool late;
};

/* --- sets ---------------------------------------------------------------------------------------------------------------- */

void text_set_add(struct text_set *set, const char *text, size_t length)
{
    set->texts = realloc(set->texts, (set->count + 1) * sizeof *set->texts);
    if (set->texts == NULL || (set->texts[set->count] = strndup(text, length)) == NULL) {
        abort();
    }
    set->count++;
}

bool text_set_has(const struct text_set *set, const unsigned char *text, size_t length)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strlen(set->texts[i]) == length && strncasecmp(set->texts[i], (const char *)text, length) == 0) {
            return true;
        }
    }
    return false;
}

void text_set_release(struct text_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->texts[i]);
    }
    free(set->texts);
    *set = (struct text_set){0};
}

/* --- the table ----------------------------------------------------------------------------------------------------------- */

struct order_fold *order_fold_create(const struct text_set *venues_by_symbol, const struct text_set *terminal_statuses)
{
    struct order_fold *fold = calloc(1, sizeof *fold);

    if (fold == NULL) {
        abort();
    }
    fold->venues_by_symbol = venues_by_symbol;
    fold->terminal_statuses = terminal_statuses;
    return fold;
}

void order_fold_destroy(struct order_fold *fold)
{
    if (fold != NULL) {
        free(fold->orders);
        free(fold->slots);
        free(fold);
    }
}

void order_fold_clear(struct order_fold *fold, bool late)
{
    fold->count = 0;
    fold->late = late;
    if (fold->slots != NULL) {
        memset(fold->slots, 0, fold->slot_count * sizeof *fold->slots);
    }
}

size_t order_fold_count(const struct order_fold *fold)
{
    return fold->count;
}

static void grow(struct order_fold *fold)
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

/* --- keys ---------------------------------------------------------------------------------------------------------------- */

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
    return a->length == b->length && (a->length <= 0 || memcmp(a->bytes, b->bytes, (size_t)a->length) == 0);
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

static bool numbered_by_symbol(const struct order_fold *fold, const struct copy_field *fields)
{
    return text_set_has(fold->venues_by_symbol, fields[IDENTITY_exchange].bytes, (size_t)fields[IDENTITY_exchange].length);
}

/* Which id the order goes by: the venue's, or ours while that is unknown. NULL: neither, it is not kept in `orders`. */
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

static bool same_key(const struct copy_field *a, const struct copy_field *b, bool by_symbol)
{
    return same(&a[IDENTITY_exchange], &b[IDENTITY_exchange]) && same_or_empty(&a[ORDER_account], &b[ORDER_account]) &&
           is_id(&a[ORDER_order_id]) == is_id(&b[ORDER_order_id]) && same(key_id(a), key_id(b)) &&
           (!by_symbol || same_or_empty(&a[ORDER_symbol], &b[ORDER_symbol]));
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

/* --- folding ------------------------------------------------------------------------------------------------------------- */

static bool ends_order(const struct order_fold *fold, const struct copy_field *status)
{
    return given(status) && text_set_has(fold->terminal_statuses, status->bytes, (size_t)status->length);
}

/* Takes over what a newer event gives. */
static void apply(const struct order_fold *fold, struct folded_order *order, const struct copy_field *fields)
{
    for (int i = ORDER_BEFORE_FIRST + 1; i < ORDER_FIELDS; i++) {
        if (!given(&fields[i]) || (i == ORDER_status && order->ended)) {
            continue;
        }
        if (i == ORDER_filled_quantity && given(&order->fields[i]) && copy_numeric_compare(&fields[i], &order->fields[i]) < 0) {
            continue;
        }
        order->fields[i] = fields[i];
    }
    order->ended = order->ended || ends_order(fold, &fields[ORDER_status]);
}

/* Two ids of the client for one order, or events out of order: the stored events decide, not this fold. */
static bool needs_rebuild(const struct folded_order *order, const struct copy_field *fields, const struct event_time *time)
{
    return compare_times(time, &order->last) < 0 ||
           (is_id(&fields[ORDER_client_order_id]) && is_id(&order->fields[ORDER_client_order_id]) &&
            !same(&fields[ORDER_client_order_id], &order->fields[ORDER_client_order_id]));
}

static struct folded_order *find_or_add(struct order_fold *fold, const struct copy_field *fields, const struct event_time *time)
{
    bool by_symbol = numbered_by_symbol(fold, fields);
    uint64_t h = key_hash(fields, by_symbol);
    struct folded_order *order;
    size_t slot;

    if (fold->count == fold->capacity) {
        grow(fold);
    }
    for (slot = h & (fold->slot_count - 1); fold->slots[slot] != 0; slot = (slot + 1) & (fold->slot_count - 1)) {
        order = &fold->orders[fold->slots[slot] - 1];
        if (order->hash == h && same_key(order->fields, fields, by_symbol)) {
            return order;
        }
    }
    order = &fold->orders[fold->count++];
    fold->slots[slot] = (uint32_t)fold->count;
    order->hash = h;
    order->late = fold->late;
    order->ended = ends_order(fold, &fields[ORDER_status]);
    order->first = order->last = *time;
    memcpy(order->fields, fields, sizeof order->fields);
    return order;
}

void order_fold_add(struct order_fold *fold, const unsigned char *row)
{
    struct copy_field fields[ORDER_FIELDS];
    struct event_time time;
    struct folded_order *order;

    copy_split_row(row, fields, ORDER_FIELDS);
    if (key_id(fields) == NULL) {
        return;
    }
    time.recorded_at = copy_field_int64(&fields[IDENTITY_recorded_at]);
    time.seq = copy_field_int64(&fields[IDENTITY_seq]);
    time.producer_id = copy_field_int64(&fields[IDENTITY_producer_id]);
    order = find_or_add(fold, fields, &time);
    if (compare_times(&time, &order->last) == 0) {
        return; /* the one that was just added, or the same event twice */
    }
    order->late = order->late || needs_rebuild(order, fields, &time);
    if (compare_times(&time, &order->last) > 0) {
        order->last = time;
    } else if (compare_times(&time, &order->first) < 0) {
        order->first = time;
    }
    apply(fold, order, fields);
}

/* --- writing ------------------------------------------------------------------------------------------------------------- */

const char *order_fold_columns(void)
{
#define X(name, kind, meaning) ", " #name
    return "exchange, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, producer_id, late" BLOTTER_ORDER_FIELDS(
        X);
#undef X
}

static void put_field(struct copy_buffer *out, const struct copy_field *field)
{
    if (given(field)) {
        copy_put_bytes(out, field->bytes, (size_t)field->length);
    } else {
        copy_put_null(out);
    }
}

static void put_time(struct copy_buffer *out, const struct event_time *time)
{
    copy_put_int64(out, time->recorded_at);
    copy_put_int64(out, time->seq);
    copy_put_int64(out, time->producer_id);
}

void order_fold_put(const struct order_fold *fold, struct copy_buffer *out)
{
    for (size_t n = 0; n < fold->count; n++) {
        const struct folded_order *order = &fold->orders[n];

        copy_put_row_head(out, 8 + ORDER_FIELDS - RECORD_IDENTITY_FIELDS);
        put_field(out, &order->fields[IDENTITY_exchange]);
        put_time(out, &order->first);
        put_time(out, &order->last);
        copy_put_bool(out, order->late);
        for (int i = ORDER_BEFORE_FIRST + 1; i < ORDER_FIELDS; i++) {
            put_field(out, &order->fields[i]);
        }
    }
}
