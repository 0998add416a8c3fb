/* test_journal_adopt.c: two processes at one journal: what a sender may take of a file that another
 * process writes or wrote, and what it writes for a writer that has died. Both roles are in this
 * process here: the locks do not know. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "producer/journal_lock.h"
#include "producer/journal_map.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"
#include "producer/xadd.h"
#include "tests/unit/journals.h"

static struct journal *open_writer(void)
{
    struct journal_options options = both;
    struct journal *journal;
    options.send = false;
    if (journal_open(&journal, path, &options, error) != 0) {
        fail_msg("%s", error);
    }
    return journal;
}

static int try_sender(struct journal **journal)
{
    return journal_open(journal, path, &(struct journal_options){.send = true}, error);
}

static struct journal *open_sender(void)
{
    struct journal *journal;
    int status = try_sender(&journal);
    if (status != 0) {
        fail_msg("%s: %s", blotter_status_text(status), error);
    }
    return journal;
}

static void fill(struct journal *journal, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        assert_int_equal(add(journal, i), i + 1);
    }
}

static void set_cursors(struct journal *journal, uint64_t position)
{
    journal_cursor_set(&journal->header->sent, position);
    journal_cursor_set(&journal->header->committed, position);
    journal_cursor_set(&journal->header->floor, position);
}

static const struct journal_slot *slot_at(const struct journal *journal, uint64_t position)
{
    const struct journal_slot *slot;
    assert_int_equal(journal_read(journal, position, &slot), JOURNAL_RECORD);
    return slot;
}

static void a_sender_follows_a_living_writer(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, 3);
    assert_int_equal(journal_probe(path, error), BLOTTER_OK);
    struct journal *sender = open_sender(), *second;
    assert_false(journal_adopt(sender));
    assert_string_equal(sender->exchange, "okx");
    fill(writer, 4, 6);
    assert_int_equal(slot_at(sender, 7)->producer_id, writer->producer_id);
    set_cursors(sender, 5);
    fill(writer, 7, SLOTS + 3); /* the places that the sender has freed */
    assert_int_equal(add(writer, 1), BLOTTER_FULL);
    assert_int_equal(try_sender(&second), BLOTTER_BUSY);
    assert_int_equal(journal_probe(path, error), BLOTTER_BUSY);
    journal_release(sender);
    assert_int_equal(access(path, F_OK), 0);
    sender = open_sender();
    assert_int_equal(journal_cursor(&sender->header->floor), 5);
    journal_release(sender);
    die(writer);
}

static void a_journal_with_a_sender_of_its_own_is_left_alone_until_that_dies(void **state)
{
    (void)state;
    struct journal *owner = open_at(path), *sender;
    fill(owner, 1, 3);
    assert_int_equal(journal_probe(path, error), BLOTTER_BUSY);
    assert_int_equal(try_sender(&sender), BLOTTER_BUSY);
    die(owner);
    assert_int_equal(journal_probe(path, error), BLOTTER_OK);
    journal_release(open_sender());
}

static void what_a_dead_writer_could_not_write_is_written(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    int64_t id = writer->producer_id;
    fill(writer, 1, 3);
    struct journal *sender = open_sender();
    atomic_fetch_add(&writer->header->next.value,
                     1); /* position 5 is claimed, and never published */
    fill(writer, 5, 6);
    assert_false(journal_adopt(sender));
    die(writer);
    assert_true(journal_adopt(sender));
    assert_int_equal(sender->found.voided, 1);
    assert_int_equal(slot_at(sender, 5)->kind, RECORD_SESSION);
    assert_int_equal(slot_at(sender, 5)->seq, 5);
    assert_int_equal(slot_at(sender, 8)->flags, SLOT_IS_CLOSED);
    assert_int_equal(slot_at(sender, 8)->producer_id, id);
    assert_int_equal(journal_next(sender), 9);
    assert_true(journal_adopt(sender)); /* only once */
    assert_int_equal(journal_next(sender), 9);
    journal_release(sender);
}

static void a_claim_below_closed_becomes_void_too(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, 3);
    atomic_fetch_add(&writer->header->next.value,
                     1); /* by a thread that is stopped while another closes */
    journal_close_writing(writer);
    die(writer);
    struct journal *sender = open_sender();
    assert_int_equal(sender->found.voided, 1);
    assert_int_equal(slot_at(sender, 5)->kind, RECORD_SESSION);
    assert_int_equal(slot_at(sender, 6)->flags, SLOT_IS_CLOSED);
    assert_int_equal(journal_next(sender), 7);
    journal_release(sender);
}

static void closed_waits_for_room_and_the_file_for_closed(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, SLOTS - 1);
    die(writer);
    struct journal *sender = open_sender();
    assert_int_equal(journal_next(sender), SLOTS + 1);
    assert_true(journal_adopt(sender));
    assert_int_equal(journal_next(sender), SLOTS + 1);
    set_cursors(sender, SLOTS + 1);
    journal_release(sender);
    assert_int_equal(access(path, F_OK), 0); /* its last word is missing */
    sender = open_sender();
    assert_int_equal(slot_at(sender, SLOTS + 1)->flags, SLOT_IS_CLOSED);
    set_cursors(sender, SLOTS + 2);
    journal_release(sender);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void closed_is_written_by_the_same_sender_once_there_is_room(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, SLOTS - 1);
    die(writer);
    struct journal *sender = open_sender();
    set_cursors(sender, 10);
    assert_true(journal_adopt(sender));
    assert_int_equal(slot_at(sender, SLOTS + 1)->flags, SLOT_IS_CLOSED);
    assert_int_equal(journal_next(sender), SLOTS + 2);
    journal_release(sender);
}

static void a_writer_that_comes_back_goes_on_behind_what_it_left(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, 3);
    struct journal *sender = open_sender();
    die(writer);
    assert_true(journal_adopt(sender));
    writer = open_writer();
    assert_false(journal_adopt(sender));
    assert_int_equal(add(writer, 1), 2);
    assert_int_equal(slot_at(sender, 7)->producer_id,
                     writer->producer_id); /* opened, 3 orders, closed, opened, this */
    die(writer);
    assert_true(journal_adopt(sender));
    assert_int_equal(slot_at(sender, 8)->flags, SLOT_IS_CLOSED);
    journal_release(sender);
}

/* The records that were cut off had been accepted: they are lost, and must not be called void. */
static void what_is_cut_off_is_damaged_and_not_void(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, 20);
    die(writer);
    assert_int_equal(truncate(path, JOURNAL_PAGE_BYTES + 12 * SLOT_BYTES), 0);
    struct journal *sender = open_sender();
    assert_int_equal(sender->found.voided, 0);
    assert_int_equal(sender->found.damaged, 21 - 11);
    assert_int_equal(sender->found.leftovers, 11);
    journal_release(sender);
}

static void a_writer_that_never_recorded_leaves_nothing(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    atomic_store(&writer->header->next.value,
                 1 | NEXT_OPENING); /* as if it had died before it wrote `opened` */
    atomic_store(&journal_slot_at(writer, 1)->published, 0);
    die(writer);
    journal_release(open_sender());
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_journal_in_the_making_is_not_taken(void **state)
{
    (void)state;
    struct journal *writer = open_writer(), *sender;
    uint64_t next = atomic_load(&writer->header->next.value);
    atomic_store(&writer->header->next.value, 0);
    assert_int_equal(try_sender(&sender), BLOTTER_BUSY);
    atomic_store(&writer->header->next.value, next | NEXT_CLOSED);
    assert_int_equal(try_sender(&sender), BLOTTER_BUSY);
    memset(&writer->header->geometry, 0, sizeof writer->header->geometry);
    memset(writer->slot_area + SLOTS * SLOT_BYTES, 0, sizeof(struct journal_geometry));
    assert_int_equal(journal_probe(path, error), BLOTTER_BUSY);
    die(writer);
    assert_int_equal(journal_probe(path, error), BLOTTER_CORRUPT);
}

/* A process that looks for work may have the sender's lock for a moment, before it sees that there
 * is no journal yet. */
static void a_new_journal_has_its_cursors_whoever_looks(void **state)
{
    (void)state;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(journal_lock(fd, JOURNAL_LOCK_SENDER), 0);
    struct journal *writer = open_writer();
    close(fd);
    assert_int_equal(journal_cursor(&writer->header->floor), 1);
    assert_int_equal(journal_cursor(&writer->header->sent), 1);
    die(writer);
}

static void what_is_no_journal_is_not_taken(void **state)
{
    (void)state;
    assert_int_equal(journal_probe(path, error), BLOTTER_SYSTEM);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(journal_probe(path, error), BLOTTER_CORRUPT);
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(journal_probe(path, error), BLOTTER_SYSTEM);
}

/* As `blotter ship` does, that has adopted a journal and sees that somebody has the writer's lock.
 */
static void *evicted_when_a_writer_waits(void *sender)
{
    struct journal *journal = sender;
    for (int i = 0; journal_adopt(journal) && i < 1000; i++) {
        usleep(1000);
    }
    journal_release(journal);
    return NULL;
}

static void a_shipper_lets_go_of_the_file_that_a_writer_waits_for(void **state)
{
    (void)state;
    struct journal *writer = open_at(path);
    fill(writer, 1, 3);
    die(writer);
    struct journal *sender = open_sender();
    pthread_t shipper;
    assert_int_equal(pthread_create(&shipper, NULL, evicted_when_a_writer_waits, sender), 0);
    struct journal_options options = both;
    options.patient = true;
    int status = journal_open(&writer, path, &options, error);
    pthread_join(shipper, NULL);
    assert_int_equal(status, 0);
    assert_int_equal(add(writer, 1), 2);
    die(writer);
}

static void a_file_that_is_in_use_is_busy_also_for_the_patient(void **state)
{
    (void)state;
    struct journal *owner = open_at(path), *second;
    struct journal_options options = both;
    options.patient = true;
    assert_int_equal(journal_open(&second, path, &options, error), BLOTTER_BUSY);
    die(owner);
}

/* A name is part of a key in Redis. */
static void a_journal_of_no_valid_name_is_none(void **state)
{
    (void)state;
    static const char *const names[] = {"",    "OKX",   "okx:ticks",
                                        "a b", "okx\n", "0123456789012345678901234567890123"};
    struct journal *writer = open_writer();
    struct journal_geometry geometry = writer->header->geometry;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct journal_geometry named = geometry;
        snprintf(named.exchange, sizeof named.exchange, "%s", names[i]);
        journal_geometry_seal(&named);
        assert_false(journal_geometry_valid(&named));
        named = geometry;
        snprintf(named.lane, sizeof named.lane, "%s", names[i]);
        journal_geometry_seal(&named);
        assert_int_equal(journal_geometry_valid(&named), i == 0);
    }
    die(writer);
}

/* Another process may change what was looked at a moment ago. */
static void a_record_longer_than_its_slot_is_not_sent(void **state)
{
    (void)state;
    struct xadd xadd;
    size_t length;
    struct journal *writer = open_writer();
    fill(writer, 1, 1);
    assert_true(xadd_init(&xadd, writer, "blotter:okx"));
    assert_non_null(xadd_command(&xadd, journal_slot_at(writer, 2), &length));
    journal_slot_at(writer, 2)->length = SLOT_BYTES - JOURNAL_SLOT_HEAD_BYTES + 1;
    assert_null(xadd_command(&xadd, journal_slot_at(writer, 2), &length));
    journal_slot_at(writer, 2)->length = 1;
    journal_slot_at(writer, 2)->kind = RECORD_KINDS;
    assert_null(xadd_command(&xadd, journal_slot_at(writer, 2), &length));
    xadd_release(&xadd);
    die(writer);
}

/* The complement of a cursor is stored second: a sender that is killed between leaves the value,
 * which its writer has seen. */
static void cursors_of_a_killed_sender_do_not_go_back(void **state)
{
    (void)state;
    struct journal *writer = open_writer();
    fill(writer, 1, 30);
    set_cursors(writer, 20);
    atomic_store(&writer->header->floor.check, ~UINT64_C(3));
    struct journal *sender = open_sender();
    assert_int_equal(journal_cursor(&sender->header->floor), 20);
    journal_release(sender);
    atomic_store(&writer->header->floor.value, 1000);
    atomic_store(&writer->header->sent.value, 0);
    sender = open_sender();
    assert_int_equal(journal_cursor(&sender->header->floor), 3);
    assert_int_equal(journal_cursor(&sender->header->sent), 3);
    journal_release(sender);
    die(writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sender_follows_a_living_writer),
        TEST(a_journal_with_a_sender_of_its_own_is_left_alone_until_that_dies),
        TEST(what_a_dead_writer_could_not_write_is_written),
        TEST(a_claim_below_closed_becomes_void_too),
        TEST(closed_waits_for_room_and_the_file_for_closed),
        TEST(closed_is_written_by_the_same_sender_once_there_is_room),
        TEST(a_writer_that_comes_back_goes_on_behind_what_it_left),
        TEST(what_is_cut_off_is_damaged_and_not_void),
        TEST(a_writer_that_never_recorded_leaves_nothing),
        TEST(a_journal_in_the_making_is_not_taken),
        TEST(a_new_journal_has_its_cursors_whoever_looks),
        TEST(what_is_no_journal_is_not_taken),
        TEST(a_shipper_lets_go_of_the_file_that_a_writer_waits_for),
        TEST(a_file_that_is_in_use_is_busy_also_for_the_patient),
        TEST(a_journal_of_no_valid_name_is_none),
        TEST(a_record_longer_than_its_slot_is_not_sent),
        TEST(cursors_of_a_killed_sender_do_not_go_back),
    };
    return cmocka_run_group_tests_name("journal_adopt", tests, NULL, NULL);
}
