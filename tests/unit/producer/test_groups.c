/* test_groups.c: bindings, and records that go in together or not at all. */
#include "tests/unit/journals.h"

static blotter_producer *open_producer(uint32_t slots)
{
    blotter_producer *producer;
    struct blotter_options options = {.exchange = "okx",
                                      .journal = path,
                                      .slots = slots,
                                      .slot_bytes = 512,
                                      .sender = BLOTTER_SENDER_NONE};
    if (blotter_open(&producer, &options) != 0) {
        fail_msg("%s", blotter_open_error());
    }
    return producer;
}

static int64_t accepted(blotter_producer *producer)
{
    struct blotter_stats stats;
    assert_int_equal(blotter_stats(producer, &stats), BLOTTER_OK);
    return stats.accepted;
}

static const struct blotter_order order = {.order_id = "1", .price = "10.1"};
static const struct blotter_trade trade = {.symbol = "BTC/USDT", .price = "10.1", .quantity = "2"};

static void a_group_has_dense_seqs_and_needs_room_for_all(void **state)
{
    (void)state;
    blotter_producer *producer = open_producer(64);
    const struct blotter_entry entries[] = {{BLOTTER_KIND_ORDER, &order, NULL},
                                            {BLOTTER_KIND_TRADE, &trade, NULL},
                                            {BLOTTER_KIND_TRADE, &trade, NULL}};
    assert_int_equal(blotter_submit(producer, entries, 3), 2); /* `opened` is 1 */
    assert_int_equal(blotter_order(producer, &order), 5);
    while (accepted(producer) < 62) {
        assert_true(blotter_order(producer, &order) > 0);
    }
    assert_int_equal(blotter_submit(producer, entries, 3), BLOTTER_FULL);
    assert_int_equal(accepted(producer), 62);
    assert_int_equal(blotter_submit(producer, entries, 2), 63);
    assert_int_equal(blotter_submit(producer, entries, 1), BLOTTER_FULL);
    blotter_close(producer, 0);
}

static void one_entry_that_is_not_valid_keeps_all_out_and_is_named(void **state)
{
    (void)state;
    blotter_producer *producer = open_producer(64);
    const struct blotter_trade bad = {.symbol = "BTC/USDT", .price = "1"};
    const struct blotter_entry entries[] = {{BLOTTER_KIND_ORDER, &order, NULL},
                                            {BLOTTER_KIND_TRADE, &bad, NULL}};
    assert_int_equal(blotter_submit(producer, entries, 2), BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "entry 1: quantity"));
    const struct blotter_entry unknown = {2, &order, NULL}; /* a session is the library's own */
    assert_int_equal(blotter_submit(producer, &unknown, 1), BLOTTER_INVALID);
    assert_int_equal(blotter_submit(producer, entries, 0), BLOTTER_TOO_LONG);
    assert_int_equal(blotter_submit(producer, entries, 33), BLOTTER_TOO_LONG);
    assert_int_equal(accepted(producer), 0);
    blotter_close(producer, 0);
}

/* --- bindings --- */

/* Checks that every field of the first body is in the second, and the other way round. The order is
 * free. */
static void assert_same_record(const struct journal_slot *one, const struct journal_slot *other)
{
    static char scratch_bytes[2][RECORD_SCRATCH_BYTES];
    struct record records[2];
    const struct journal_slot *slots[] = {one, other};
    for (int i = 0; i < 2; i++) {
        unsigned char whole[RECORD_HEAD_BYTES_MAX + 512];
        struct record_identity identity = {1, 1, INT64_C(1600000000000000000), "okx"};
        struct record_scratch scratch = {scratch_bytes[i], sizeof scratch_bytes[i], 0};
        struct record_problem problem;
        size_t head = record_encode_head(&identity, slots[i]->fields, whole);
        memcpy(whole + head, slots[i]->body, slots[i]->length);
        assert_int_equal(record_decode((enum record_kind)slots[i]->kind, NULL, whole,
                                       head + slots[i]->length, &scratch, &records[i], &problem),
                         0);
        for (unsigned field = 0; field < record_schemas[one->kind].field_count; field++) {
            /* the buffer goes away */
            struct record_value *value = &records[i].values[field];
            value->bytes = value->present && value->bytes != NULL
                               ? strndup(value->bytes, value->length)
                               : NULL;
        }
    }
    for (unsigned field = 0; field < record_schemas[one->kind].field_count; field++) {
        struct record_value *a = &records[0].values[field], *b = &records[1].values[field];
        assert_int_equal(a->present, b->present);
        if (a->present && a->bytes != NULL) {
            assert_string_equal(a->bytes, b->bytes);
        }
        free((void *)(uintptr_t)a->bytes);
        free((void *)(uintptr_t)b->bytes);
    }
}

static void a_bound_record_is_the_same_as_one_with_all_its_members(void **state)
{
    (void)state;
    blotter_producer *producer = open_producer(64);
    const struct blotter_order constants = {
        .account = "main", .strategy = "mm", .symbol = "BTC/USDT", .side = "buy"};
    struct blotter_order whole = constants;
    whole.order_id = "42";
    whole.price = "10.100";
    whole.post_only = BLOTTER_TRUE;
    const struct blotter_order varying = {
        .order_id = "42", .price = "10.100", .post_only = BLOTTER_TRUE};
    blotter_binding *binding = blotter_bind(producer, BLOTTER_KIND_ORDER, &constants);
    assert_non_null(binding);
    assert_int_equal(blotter_order(producer, &whole), 2);
    assert_int_equal(blotter_submit_bound(producer, binding, &varying), 3);
    const struct blotter_entry entry = {BLOTTER_KIND_ORDER, &varying, binding};
    assert_int_equal(blotter_submit(producer, &entry, 1), 4);
    blotter_binding *all = blotter_bind(producer, BLOTTER_KIND_ORDER, &whole);
    assert_int_equal(blotter_submit_bound(producer, all, NULL), 5);
    assert_int_equal(blotter_submit_bound(producer, binding, NULL), BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "order_id: required and missing"));
    const struct blotter_entry other_kind = {BLOTTER_KIND_TRADE, &trade, binding};
    assert_int_equal(blotter_submit(producer, &other_kind, 1), BLOTTER_INVALID);
    const struct blotter_order twice = {.order_id = "42", .symbol = "ETH/USDT"};
    assert_int_equal(blotter_submit_bound(producer, binding, &twice), BLOTTER_INVALID);
    assert_non_null(strstr(blotter_problem(), "symbol: given twice"));
    assert_int_equal(blotter_submit_bound(producer, binding, &(struct blotter_order){0}),
                     BLOTTER_INVALID); /* no order's id */
    blotter_close(producer, 0);
    blotter_unbind(binding);
    blotter_unbind(all);
    struct journal *journal = open_at(path);
    for (uint64_t at = 3; at <= 5; at++) {
        assert_same_record(journal_slot_at(journal, 2), journal_slot_at(journal, at));
    }
    die(journal);
}

static void a_wrong_constant_is_told_when_it_is_bound(void **state)
{
    (void)state;
    blotter_producer *producer = open_producer(64);
    assert_null(
        blotter_bind(producer, BLOTTER_KIND_ORDER, &(struct blotter_order){.symbol = "\xff"}));
    assert_non_null(strstr(blotter_problem(), "symbol"));
    assert_null(blotter_bind(producer, (enum blotter_kind)2, &order));
    assert_null(blotter_bind(producer, (enum blotter_kind)99, &order));
    blotter_unbind(NULL);
    blotter_close(producer, 0);
}

/* --- a death in the middle --- */

static void append_group_in_part(struct journal *journal, unsigned published)
{
    static const unsigned char body[40];
    struct journal_claim claim;
    assert_int_equal(journal_claim(journal, 4, &claim), 0);
    for (unsigned index = 4; index-- > 4 - published;) {
        journal_fill(journal, &claim, index, RECORD_ORDER, body, sizeof body, 3);
    }
}

static unsigned count_kind(const struct journal *journal, enum record_kind kind)
{
    unsigned found = 0;
    uint64_t next = journal_next(journal);
    for (uint64_t at = journal_cursor(&journal->header->floor); at < next; at++) {
        const struct journal_slot *slot;
        assert_int_equal(journal_read(journal, at, &slot), JOURNAL_RECORD);
        found += slot->kind == kind;
    }
    return found;
}

static void a_group_that_was_cut_by_a_death_becomes_void_as_a_whole(void **state)
{
    (void)state;
    for (unsigned published = 0; published <= 4; published++) {
        struct journal *journal = open_at(path);
        add(journal, 1);
        append_group_in_part(journal, published);
        add(journal, 6);
        die(journal);
        for (int again = 0; again < 2; again++) { /* also where the recovery itself was cut */
            journal = open_at(path);
            assert_int_equal(count_kind(journal, RECORD_ORDER), published == 4 ? 6 : 2);
            if (again == 0) {
                assert_int_equal(journal->found.voided, published == 4 ? 0 : 4);
            }
            die(journal);
        }
        unlink(path);
    }
}

/* The sender reads in order, so it never sees a part of a group. */
static void a_group_is_seen_as_a_whole(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    const struct journal_slot *slot;
    add(journal, 1);
    append_group_in_part(journal, 3);
    assert_int_equal(journal_read(journal, 3, &slot), JOURNAL_NOTHING_YET);
    assert_int_equal(journal_read(journal, 4, &slot), JOURNAL_RECORD);
    die(journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_group_has_dense_seqs_and_needs_room_for_all),
        TEST(one_entry_that_is_not_valid_keeps_all_out_and_is_named),
        TEST(a_bound_record_is_the_same_as_one_with_all_its_members),
        TEST(a_wrong_constant_is_told_when_it_is_bound),
        TEST(a_group_that_was_cut_by_a_death_becomes_void_as_a_whole),
        TEST(a_group_is_seen_as_a_whole),
    };
    return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
