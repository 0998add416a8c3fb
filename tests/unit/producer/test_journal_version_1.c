/* test_journal_version_1.c: a journal that a process of version 1 left is read without loss.
 *
 * tests/fixture/journal_version_1.bin was written by libblotter of version 1: `opened`, then 40
 * records, each fourth a trade, then kill -9. Nothing of it was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/journal.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"
#include "schema/record.h"

enum { RECORDS = 40, BODY_BYTES = 192 };

static char path[64];

static void copy_fixture(void)
{
    char bytes[65536];
    FILE *from = fopen("tests/fixture/journal_version_1.bin", "rb");
    snprintf(path, sizeof path, "/dev/shm/test_journal_version_1.%d", (int)getpid());
    FILE *to = fopen(path, "wb");
    assert_non_null(from);
    assert_non_null(to);
    size_t length = fread(bytes, 1, sizeof bytes, from);
    assert_int_equal(fwrite(bytes, 1, length, to), length);
    fclose(from);
    int closed = fclose(to); /* apart, as cppcheck 2.17 sees a macro use it twice */
    assert_int_equal(closed, 0);
}

/* Record number `number` as it was given to version 1, encoded anew. Returns its length. */
static int encode_expected(int number, unsigned char *body, unsigned *fields)
{
    struct record_problem problem;
    char id[16];
    snprintf(id, sizeof id, "%d", number);
    if (number % 4 == 0) {
        struct blotter_trade trade = {
            .trade_id = id, .symbol = "BTC/USDT", .price = "67123.10", .quantity = "0.005"};
        return record_encode(RECORD_TRADE, &trade, body, BODY_BYTES, fields, &problem);
    }
    struct blotter_order order = {.order_id = id,
                                  .symbol = "BTC/USDT",
                                  .side = "buy",
                                  .price = "67123.10",
                                  .quantity = "0.01500000"};
    return record_encode(RECORD_ORDER, &order, body, BODY_BYTES, fields, &problem);
}

static void assert_record(const struct journal_slot *slot, int number, int64_t producer_id)
{
    unsigned char body[BODY_BYTES];
    unsigned fields;
    int length = encode_expected(number, body, &fields);
    assert_true(length > 0);
    assert_int_equal(slot->producer_id, producer_id);
    assert_int_equal(slot->seq, number + 1);
    assert_int_equal(slot->kind, number % 4 == 0 ? RECORD_TRADE : RECORD_ORDER);
    assert_int_equal(slot->fields, fields);
    assert_int_equal(slot->length, length);
    assert_memory_equal(slot->body, body, (size_t)length);
}

static void every_record_is_read_and_the_file_stays_one_of_version_1(void **state)
{
    (void)state;
    struct journal *journal;
    const struct journal_slot *slot;
    char error[JOURNAL_ERROR_BYTES];
    struct journal_options options = {.send = true}; /* as `blotter ship` does */
    copy_fixture();
    if (journal_open(&journal, path, &options, error) != 0) {
        fail_msg("%s", error);
    }
    assert_int_equal(journal->version, 1);
    assert_true(journal_adopt(journal));
    assert_int_equal(journal->found.leftovers, 1 + RECORDS);
    assert_int_equal(journal->found.damaged + journal->found.voided, 0);
    assert_int_equal(journal_read(journal, 1, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->kind, RECORD_SESSION);
    int64_t producer_id = slot->producer_id;
    for (int number = 1; number <= RECORDS; number++) {
        assert_int_equal(journal_read(journal, (uint64_t)number + 1, &slot), JOURNAL_RECORD);
        assert_record(slot, number, producer_id);
    }
    journal_release(journal);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_read_and_the_file_stays_one_of_version_1),
    };
    return cmocka_run_group_tests_name("journal of version 1", tests, NULL, NULL);
}
