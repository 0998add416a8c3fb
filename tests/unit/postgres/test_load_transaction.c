/* test_load_transaction.c: the statements of a loading transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drainer/postgres/load_transaction.h"
#include "drainer/redis/streams.h"
#include "tests/unit/pack.h"

#define NOW INT64_C(1767225600000000000) /* 2026-01-01 */

static struct streams streams;
static struct batch batch;
static const struct text_set none;

static int transaction_end(void **state)
{
    (void)state;
    batch_release(&batch);
    streams_release(&streams);
    return 0;
}

static void add_event(int64_t seq)
{
    struct stream *stream = streams_add(&streams, "blotter:okx", strlen("blotter:okx"));
    struct pack pack;

    pack_begin(&pack, 5);
    pack_integer_pair(&pack, "producer_id", 7);
    pack_integer_pair(&pack, "seq", seq);
    pack_integer_pair(&pack, "recorded_at", NOW + seq);
    pack_pair(&pack, "order_id", "17");
    pack_pair(&pack, "status", "open");

    const struct raw_field fields[] = {{"order", strlen("order")},
                                       {(char *)pack.bytes, pack.length}};
    batch_add(&batch, stream, stream->exchange, stream->name, (struct stream_entry_id){1, 0},
              fields, 2, 1, NOW);
    assert_int_equal(batch.entries[batch.count - 1].fate, ENTRY_ROW);
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what)) {
        count++;
    }
    return count;
}

/* A statement costs PostgreSQL more than some of these functions do. */
static void a_lone_record_is_settled_by_one_statement(void **state)
{
    static const char *const functions[] = {"add_progress", "merge_orders", "raise_loaded"};
    struct load_transaction *transaction =
        load_transaction_create(&(struct load_transaction_options){.drainer = "d",
                                                                   .keep_orders = true,
                                                                   .venues_by_symbol = &none,
                                                                   .terminal_statuses = &none});
    const char *sql;

    (void)state;
    add_event(1);
    load_transaction_build(transaction, &batch, (struct batch_range){0, 1}, 0, LOAD_COMMIT);
    sql = load_transaction_command(transaction).sql;
    assert_int_equal(count_of(sql, "SELECT"), 1);
    assert_int_equal(count_of(sql, "COPY "), 2); /* the event and its order */
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        assert_int_equal(count_of(sql, functions[i]), 1);
    }
    assert_string_equal(sql + strlen(sql) - strlen("; COMMIT"), "; COMMIT");
    load_transaction_destroy(transaction);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_lone_record_is_settled_by_one_statement, transaction_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
