/* test_batch.c: entries of a stream as rows and rejects. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/batch.h"
#include "drainer/order_changes.h"
#include "tests/unit/pack.h"
#include "tests/unit/random_input.h"

#define NOW INT64_C(1767225600000000000) /* 2026-01-01 */
#define DAY INT64_C(86400000000000)

static struct batch batch;

static int batch_end(void **state)
{
    (void)state;
    batch_release(&batch);
    return 0;
}

static const struct entry *add_raw(const char *stream, struct stream_entry_id id, const char *kind,
                                   const void *bytes, size_t length)
{
    const struct raw_field fields[] = {{kind, strlen(kind)}, {bytes, length}};

    batch_add(&batch, NULL, "binance", stream, id, fields, 2, 3, NOW);
    return &batch.entries[batch.count - 1];
}

static const struct entry *add(const char *kind, const struct pack *pack)
{
    return add_raw("blotter:binance", (struct stream_entry_id){NOW / 1000000, 0}, kind, pack->bytes,
                   pack->length);
}

static void begin_order(struct pack *pack, unsigned more, int64_t producer_id, int64_t seq,
                        int64_t recorded_at)
{
    pack_begin(pack, 4 + more);
    pack_integer_pair(pack, "producer_id", producer_id);
    pack_integer_pair(pack, "seq", seq);
    pack_integer_pair(pack, "recorded_at", recorded_at);
    pack_pair(pack, "order_id", "17");
}

static void assert_rejected(const struct entry *entry, const char *reason)
{
    assert_int_equal(entry->fate, ENTRY_REJECTED);
    assert_string_equal(batch_reason(&batch, entry), reason);
    assert_string_equal(entry->sqlstate, "");
}

/* --- rows --- */

static void record_becomes_a_row_that_can_be_found_again(void **state)
{
    struct pack pack;
    struct copy_field fields[ORDER_FIELDS];
    const struct entry *entry;

    (void)state;
    for (int64_t seq = 1; seq <= 3; seq++) {
        begin_order(&pack, 0, 7, seq, NOW);
        add("order", &pack);
    }
    entry = &batch.entries[1];
    assert_int_equal(entry->fate, ENTRY_ROW);
    assert_int_equal(entry->kind, RECORD_ORDER);
    assert_int_equal(entry->producer_id, 7);
    assert_int_equal(entry->seq, 2);
    assert_true(entry->recorded_at_us == NOW / 1000);
    assert_int_equal(entry->row_offset, batch.entries[0].row_length);
    copy_split_row(batch.rows[RECORD_ORDER].bytes + entry->row_offset, fields, ORDER_FIELDS);
    assert_int_equal(copy_field_int64(&fields[IDENTITY_seq]), 2);
    assert_memory_equal(fields[IDENTITY_exchange].bytes, "binance",
                        7); /* that of the stream, as the record has none */
    assert_memory_equal(batch.raw.bytes + entry->raw_offset, pack.bytes, 3);
    assert_int_equal(entry->raw_length, pack.length);
    assert_int_equal(batch.rejected, 0);
}

static void the_lane_is_that_of_the_stream_whatever_the_record_says(void **state)
{
    static const char *const streams[] = {"blotter:binance", "blotter:binance:b"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct copy_field fields[ORDER_FIELDS];
        struct pack pack;

        pack_begin(&pack, 2);
        pack_pair(&pack, "order_id", "17");
        pack_pair(&pack, "lane", "forged");
        const struct entry *entry = add_raw(streams[i], (struct stream_entry_id){NOW / 1000000, 0},
                                            "order", pack.bytes, pack.length);
        assert_int_equal(entry->fate, ENTRY_ROW);
        copy_split_row(batch.rows[RECORD_ORDER].bytes + entry->row_offset, fields, ORDER_FIELDS);
        assert_int_equal(fields[IDENTITY_lane].length, i == 0 ? -1 : 1);
        assert_true(i == 0 || fields[IDENTITY_lane].bytes[0] == 'b');
    }
}

static void wrong_values_are_counted_and_the_record_is_a_row(void **state)
{
    struct pack pack;

    (void)state;
    pack_begin(&pack, 3);
    pack_pair(&pack, "order_id", "17");
    pack_pair(&pack, "price", "cheap");
    pack_pair(&pack, "post_only", "yes");
    const struct entry *entry = add("order", &pack);
    assert_int_equal(entry->fate, ENTRY_ROW);
    assert_int_equal(entry->misplaced, 2);
}

static void a_strategys_own_reject_is_one_with_its_reason(void **state)
{
    struct pack pack;

    (void)state;
    pack_begin(&pack, 5);
    pack_integer_pair(&pack, "producer_id", 7);
    pack_integer_pair(&pack, "seq", 5);
    pack_integer_pair(&pack, "recorded_at", NOW);
    pack_pair(&pack, "about", "order");
    pack_pair(&pack, "reason", "no id");
    const struct entry *entry = add("reject", &pack);
    assert_rejected(entry, "order: no id");
    assert_int_equal(entry->producer_id, 7);
    assert_int_equal(entry->seq, 5);
    assert_int_equal(entry->kind, RECORD_KINDS);
    pack_begin(&pack, 0);
    entry = add("reject", &pack);
    assert_rejected(entry, "reason: required and missing");
    assert_int_equal(entry->kind, RECORD_KINDS);
}

static void void_of_a_session_is_marked(void **state)
{
    static const char *const events[] = {"void", "opened"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pack pack;

        begin_order(&pack, 0, 7, 1, NOW);
        pack_begin(&pack, 4);
        pack_integer_pair(&pack, "producer_id", 7);
        pack_integer_pair(&pack, "seq", 5);
        pack_integer_pair(&pack, "recorded_at", NOW);
        pack_pair(&pack, "event", events[i]);
        assert_int_equal(add("session", &pack)->is_void, i == 0);
    }
}

static void cleared_batch_keeps_its_memory_and_nothing_else(void **state)
{
    struct text_set none = {0};
    struct pack pack;

    (void)state;
    batch.changes = order_changes_create(&none, &none);
    begin_order(&pack, 0, 7, 1, NOW);
    add("order", &pack);
    add("nothing", &pack);
    batch.careful = true;
    assert_true(batch_bytes(&batch) > pack.length);
    assert_int_equal(order_changes_count(batch.changes), 1);
    batch_reject(&batch, &batch.entries[0], "23514", "refused");
    assert_true(batch.refused);
    batch_clear(&batch);
    assert_int_equal(order_changes_count(batch.changes), 0);
    assert_false(batch.refused);
    order_changes_destroy(batch.changes);
    batch.changes = NULL;
    assert_int_equal(batch.count, 0);
    assert_int_equal(batch_bytes(&batch), 0);
    assert_int_equal(batch.rejected, 0);
    assert_false(batch.careful);
    assert_true(batch.capacity > 0);
}

/* --- rejects --- */

static void record_of_another_exchange_is_rejected_and_its_producer_known(void **state)
{
    struct pack pack;
    const struct entry *entry;

    (void)state;
    begin_order(&pack, 1, 7, 4, NOW);
    pack_pair(&pack, "exchange", "binanc");
    entry = add("order", &pack);
    assert_rejected(entry, "exchange: is not that of the stream");
    assert_int_equal(entry->producer_id, 7);
    assert_int_equal(entry->seq, 4);
    begin_order(&pack, 1, 7, 5, NOW);
    pack_pair(&pack, "exchange", "binance");
    assert_int_equal(add("order", &pack)->fate, ENTRY_ROW);
}

static void time_beyond_a_day_ahead_is_rejected(void **state)
{
    struct pack pack;

    (void)state;
    begin_order(&pack, 0, 7, 1, NOW + DAY);
    assert_int_equal(add("order", &pack)->fate, ENTRY_ROW);
    begin_order(&pack, 0, 7, 2, NOW + DAY + 1);
    assert_rejected(
        add("order", &pack),
        "recorded_at: 1767312000000000001 ns is out of range (from 2015-01-01 to a day ahead of "
        "the drainer's clock)");
    begin_order(&pack, 0, 7, 3, INT64_MAX);
    assert_int_equal(add("order", &pack)->fate, ENTRY_REJECTED);
    begin_order(&pack, 0, 7, 4, LIMIT_RECORDED_AT_MIN_NS);
    assert_int_equal(add("order", &pack)->fate, ENTRY_ROW);
    begin_order(&pack, 0, 7, 5, LIMIT_RECORDED_AT_MIN_NS - 1);
    assert_int_equal(add("order", &pack)->fate, ENTRY_REJECTED);
    assert_int_equal(batch.entries[4].producer_id, 7); /* a broken clock's producer is told too */
    assert_int_equal(batch.entries[4].seq, 5);
}

static void entry_without_fields_or_with_several_is_rejected_with_all_its_bytes(void **state)
{
    static const struct raw_field fields[] = {{"order", 5}, {"\x80", 1}, {"x\0y", 3}, {"", 0}};
    struct stream_entry_id id = {1, 2};
    const struct entry *entry;

    (void)state;
    batch_add(&batch, NULL, "binance", "blotter:binance", id, fields, 0, 1, NOW);
    assert_rejected(&batch.entries[0], "the entry has 0 fields, not one");
    assert_int_equal(batch.entries[0].raw_length, 0);
    assert_int_equal(batch.entries[0].kind, RECORD_KINDS);
    batch_add(&batch, NULL, "binance", "blotter:binance", id, fields, 4, 1, NOW);
    entry = &batch.entries[1];
    assert_rejected(entry, "the entry has 2 fields, not one");
    assert_int_equal(entry->raw_length, 33);
    assert_memory_equal(batch.raw.bytes + entry->raw_offset,
                        "$5\r\norder\r\n$1\r\n\x80\r\n$3\r\nx\0y\r\n$0\r\n\r\n", 33);
}

static void unknown_kind_is_rejected_and_kept_as_far_as_it_is_short(void **state)
{
    static char name[1000];
    const struct entry *entry;

    (void)state;
    memset(name, 'k', sizeof name - 1);
    entry = add_raw("blotter:binance", (struct stream_entry_id){1, 1}, name, "", 0);
    assert_rejected(entry, "the entry's field is not the name of a kind: order, trade, session, "
                           "cash, balance, position, instrument");
    assert_int_equal(entry->kind, RECORD_KINDS);
    assert_int_equal(entry->kind_length, 256);
    assert_int_equal(
        add_raw("blotter:binance", (struct stream_entry_id){1, 1}, "Order", "\x80", 1)->fate,
        ENTRY_REJECTED);
}

static void truncated_record_still_says_who_wrote_it(void **state)
{
    struct pack pack;
    size_t identified = 0;

    (void)state;
    begin_order(&pack, 1, 7, 9, NOW);
    pack_pair(&pack, "symbol", "BTC/USDT");
    for (size_t length = 0; length < pack.length; length++) {
        const struct entry *entry =
            add_raw("blotter:binance", (struct stream_entry_id){NOW / 1000000, 0}, "order",
                    pack.bytes, length);

        assert_int_equal(entry->fate, ENTRY_REJECTED);
        assert_true((entry->producer_id == 7 && entry->seq == 9) ||
                    (entry->producer_id == 0 && entry->seq == 0));
        identified += entry->producer_id == 7;
    }
    assert_true(identified > 40); /* once the two numbers are read */
}

static void identity_with_a_value_at_fault_is_none(void **state)
{
    struct pack pack;
    const struct entry *entry;

    (void)state;
    pack_begin(&pack, 4);
    pack_integer_pair(&pack, "recorded_at", NOW);
    pack_integer_pair(&pack, "producer_id", 7);
    pack_pair(&pack, "seq",
              "12"); /* text: what stood before it in the decoder must not be taken for its value */
    pack_pair(&pack, "order_id", "17");
    entry = add("order", &pack);
    assert_int_equal(entry->fate, ENTRY_REJECTED);
    assert_int_equal(entry->producer_id, 0);
    assert_int_equal(entry->seq, 0);

    begin_order(&pack, 1, 7, 1, NOW);
    pack_integer_pair(&pack, "seq", 2);
    entry = add("order", &pack);
    assert_int_equal(entry->fate, ENTRY_REJECTED); /* given twice: which of the two? */
    assert_int_equal(entry->seq, 0);

    pack_begin(&pack, 3);
    pack_integer_pair(&pack, "producer_id", 7);
    pack_integer_pair(&pack, "seq", 3);
    pack_pair(&pack, "order_id", "17");
    entry = add("order", &pack);
    assert_rejected(entry, "recorded_at: required and missing");
    assert_int_equal(entry->producer_id, 7);
    assert_int_equal(entry->seq, 3);
    assert_int_equal(entry->recorded_at_us, 0);
}

static void fault_found_by_postgres_makes_a_reject_of_a_row(void **state)
{
    struct pack pack;

    (void)state;
    begin_order(&pack, 0, 7, 1, NOW);
    add("order", &pack);
    begin_order(&pack, 0, 7, 2, NOW);
    add("order", &pack);
    batch_reject(&batch, &batch.entries[0], "23514", "violates a constraint");
    assert_int_equal(batch.entries[0].fate, ENTRY_REJECTED);
    assert_string_equal(batch.entries[0].sqlstate, "23514");
    assert_string_equal(batch_reason(&batch, &batch.entries[0]), "violates a constraint");
    assert_int_equal(batch.entries[1].fate, ENTRY_ROW);
    assert_int_equal(batch.rejected, 1);
}

/* --- rows of blotter.rejects --- */

enum {
    R_STREAM,
    R_ENTRY_ID,
    R_EXCHANGE,
    R_LANE,
    R_KIND,
    R_PRODUCER_ID,
    R_SEQ,
    R_RECORDED_AT,
    R_DELIVERIES,
    R_REASON
};
enum { R_SQLSTATE = R_REASON + 1, R_RAW, R_RAW_LENGTH, R_RAW_SHA256, R_DRAINER, R_COLUMNS };

static struct copy_buffer reject_row;

static const struct copy_field *reject_of(const struct entry *entry)
{
    static struct copy_field fields[R_COLUMNS];

    reject_row.length = 0;
    batch_put_reject(&batch, entry, "blotter:binance", "binance", "me", &reject_row);
    copy_split_row(reject_row.bytes, fields, R_COLUMNS);
    assert_ptr_equal(fields[R_DRAINER].bytes + 2, reject_row.bytes + reject_row.length);
    return fields;
}

static void assert_text(const struct copy_field *field, const char *expected)
{
    assert_int_equal(field->length, strlen(expected));
    assert_memory_equal(field->bytes, expected, strlen(expected));
}

static void reject_says_what_is_known_of_its_record(void **state)
{
    struct pack pack;
    const struct copy_field *fields;

    (void)state;
    begin_order(&pack, 1, 7, 4, NOW);
    pack_pair(&pack, "exchange", "okx");
    fields = reject_of(add("order", &pack));
    assert_text(&fields[R_STREAM], "blotter:binance");
    assert_text(&fields[R_ENTRY_ID], "1767225600000-0");
    assert_text(&fields[R_EXCHANGE], "binance");
    assert_int_equal(fields[R_LANE].length, -1);
    assert_text(&fields[R_KIND], "order");
    assert_int_equal(copy_field_int64(&fields[R_PRODUCER_ID]), 7);
    assert_int_equal(copy_field_int64(&fields[R_SEQ]), 4);
    assert_true(copy_field_int64(&fields[R_RECORDED_AT]) == copy_timestamp(NOW));
    assert_int_equal(fields[R_DELIVERIES].bytes[3], 3);
    assert_text(&fields[R_REASON], "exchange: is not that of the stream");
    assert_int_equal(fields[R_SQLSTATE].length, -1);
    assert_int_equal(fields[R_RAW].length, pack.length);
    assert_memory_equal(fields[R_RAW].bytes, pack.bytes, pack.length);
    assert_text(&fields[R_DRAINER], "me");
    copy_buffer_release(&reject_row);
}

static void reject_without_identity_has_its_entry_id_alone(void **state)
{
    const struct copy_field *fields;
    struct stream_entry_id id = {UINT64_MAX, UINT64_MAX};

    (void)state;
    fields = reject_of(add_raw("blotter:binance", id, "order", "\xc1", 1));
    assert_int_equal(fields[R_PRODUCER_ID].length, -1);
    assert_int_equal(fields[R_SEQ].length, -1);
    assert_int_equal(fields[R_RECORDED_AT].length, -1);
    assert_text(&fields[R_ENTRY_ID], "18446744073709551615-18446744073709551615");
    copy_buffer_release(&reject_row);
}

/* --- identities of entries that carry none --- */

static void foreign_order(struct pack *pack, const char *order_id)
{
    pack_begin(pack, 1);
    pack_pair(pack, "order_id", order_id);
}

static void entry_that_is_too_long_says_its_length_and_digest(void **state)
{
    struct long_entry from = {
        .kind = "order", .kind_length = 5, .raw = "abc", .raw_length = 3, .length = 1000000};
    const struct copy_field *fields;

    (void)state;
    memset(from.sha256, 0xab, sizeof from.sha256);
    batch_add_long(&batch, NULL, (struct stream_entry_id){5, 6}, &from, 2);
    fields = reject_of(&batch.entries[0]);
    assert_text(&fields[R_KIND], "order");
    assert_text(&fields[R_RAW], "abc");
    assert_text(&fields[R_REASON], "the entry has 1000000 bytes, a record at most 65536");
    assert_int_equal(fields[R_RAW_LENGTH].length, 8);
    assert_memory_equal(fields[R_RAW_LENGTH].bytes, "\0\0\0\0\0\x0f\x42\x40", 8);
    assert_int_equal(fields[R_RAW_SHA256].length, SHA256_BYTES);
    assert_memory_equal(fields[R_RAW_SHA256].bytes, from.sha256, SHA256_BYTES);
}

static void foreign_entry_gets_the_same_identity_every_time(void **state)
{
    struct pack pack;
    struct stream_entry_id id = {1767225600123, 5};
    const struct entry *first, *again;

    (void)state;
    foreign_order(&pack, "17");
    add_raw("blotter:binance", id, "order", pack.bytes, pack.length);
    add_raw("blotter:binance", id, "order", pack.bytes, pack.length);
    first = &batch.entries[0];
    again = &batch.entries[1];
    assert_int_equal(first->fate, ENTRY_ROW);
    assert_true(first->producer_id < 0);
    assert_int_equal(first->seq, 5);
    assert_true(first->recorded_at_us == INT64_C(1767225600123000));
    assert_true(first->producer_id == again->producer_id);
    /* Fixed: a record that is stored must be met again, whichever version reads its entry. */
    assert_true(first->producer_id == INT64_C(-2441786257003457567));
}

static void other_bytes_stream_or_id_are_another_identity(void **state)
{
    struct pack pack, other;
    struct stream_entry_id id = {1767225600123, 5};

    (void)state;
    foreign_order(&pack, "17");
    foreign_order(&other, "18");
    add_raw("blotter:binance", id, "order", pack.bytes, pack.length);
    add_raw("blotter:binance", id, "order", other.bytes, other.length);
    add_raw("blotter:binance:a", id, "order", pack.bytes, pack.length);
    add_raw("blotter:binance", (struct stream_entry_id){1767225600123, 6}, "order", pack.bytes,
            pack.length);
    add_raw("blotter:binance", (struct stream_entry_id){1767225600124, 5}, "order", pack.bytes,
            pack.length);
    for (size_t i = 0; i < batch.count; i++) {
        assert_int_equal(batch.entries[i].fate, ENTRY_ROW);
        for (size_t k = 0; k < i; k++) {
            assert_true(batch.entries[i].producer_id != batch.entries[k].producer_id);
        }
    }
}

static void foreign_entry_with_an_absurd_id_is_rejected(void **state)
{
    static const struct stream_entry_id ids[] = {
        {0, 1},
        {1, 0},
        {UINT64_MAX, UINT64_MAX},
        {INT64_MAX, 0},
        {UINT64_C(9223372036855), 0},
        {4102444800000, 0},
        {(UINT64_C(1) << 58) + 1767225600123, 0} /* times a million, in 64 bits: today */};
    struct pack pack;

    (void)state;
    foreign_order(&pack, "17");
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const struct entry *entry =
            add_raw("blotter:binance", ids[i], "order", pack.bytes, pack.length);

        assert_int_equal(entry->fate, ENTRY_REJECTED);
        assert_true(entry->producer_id < 0);
        assert_true(entry->seq >= 0 && entry->seq < RECORD_SEQ_MAX);
        reject_of(entry);
    }
    copy_buffer_release(&reject_row);
}

/* --- anything --- */

static void no_bytes_make_it_fail(void **state)
{
    (void)state;
    random_begin();
    for (int round = 0; round < 50000; round++) {
        static const char *const kinds[] = {"order", "trade", "session", "reject"};
        struct pack pack;

        begin_order(&pack, 2, (int64_t)random_next(), (int64_t)random_next(), NOW);
        pack_pair(&pack, "price", "1.5");
        pack_pair(&pack, "unknown", "x");
        for (unsigned flips = random_below(4); flips > 0; flips--) {
            pack.bytes[random_below((unsigned)pack.length)] ^=
                (unsigned char)(1 << random_below(8));
        }
        pack.length -= random_below(4) == 0 ? random_below((unsigned)pack.length) : 0;
        const struct entry *entry =
            add_raw("blotter:binance", (struct stream_entry_id){random_next(), random_next()},
                    kinds[random_below(4)], pack.bytes, pack.length);
        assert_int_equal(entry->raw_length, pack.length);
        if (entry->fate == ENTRY_REJECTED) {
            reject_of(entry);
        } else {
            assert_true(entry->row_length > 0);
        }
        if (batch.count == 1000) {
            batch_clear(&batch);
        }
    }
    copy_buffer_release(&reject_row);
}

#define TEST(name) cmocka_unit_test_teardown(name, batch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(record_becomes_a_row_that_can_be_found_again),
        TEST(the_lane_is_that_of_the_stream_whatever_the_record_says),
        TEST(wrong_values_are_counted_and_the_record_is_a_row),
        TEST(a_strategys_own_reject_is_one_with_its_reason),
        TEST(void_of_a_session_is_marked),
        TEST(cleared_batch_keeps_its_memory_and_nothing_else),
        TEST(record_of_another_exchange_is_rejected_and_its_producer_known),
        TEST(time_beyond_a_day_ahead_is_rejected),
        TEST(entry_without_fields_or_with_several_is_rejected_with_all_its_bytes),
        TEST(unknown_kind_is_rejected_and_kept_as_far_as_it_is_short),
        TEST(truncated_record_still_says_who_wrote_it),
        TEST(identity_with_a_value_at_fault_is_none),
        TEST(fault_found_by_postgres_makes_a_reject_of_a_row),
        TEST(reject_says_what_is_known_of_its_record),
        TEST(reject_without_identity_has_its_entry_id_alone),
        TEST(entry_that_is_too_long_says_its_length_and_digest),
        TEST(foreign_entry_gets_the_same_identity_every_time),
        TEST(other_bytes_stream_or_id_are_another_identity),
        TEST(foreign_entry_with_an_absurd_id_is_rejected),
        TEST(no_bytes_make_it_fail),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
