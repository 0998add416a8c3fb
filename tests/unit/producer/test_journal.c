/* test_journal.c: what a journal keeps, and what is believed of a damaged one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/journals.h"

/* --- tests --- */

static void opened_comes_with_the_first_record_and_seqs_are_dense(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    const struct journal_slot *slot;
    assert_int_equal(journal_append_session(journal, "heartbeat", NULL), 0);
    assert_int_equal(journal_read(journal, 1, &slot), JOURNAL_NOTHING_YET);
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(add(journal, i), i + 1);
    }
    assert_int_equal(journal_read(journal, 1, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->kind, RECORD_SESSION);
    assert_int_equal(slot->seq, 1);
    assert_true(journal_append_session(journal, "heartbeat", NULL) == 12);
    assert_int_equal(check_records(journal, journal->producer_id), 10);
    journal_close_writing(journal);
    assert_int_equal(add(journal, 1), BLOTTER_CLOSED);
    journal_release(journal);
}

static void a_full_ring_says_full_and_has_room_when_floor_rises(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    for (unsigned i = 1; i < SLOTS; i++) {
        assert_int_equal(add(journal, i), i + 1);
    }
    assert_int_equal(add(journal, 1), BLOTTER_FULL);
    assert_int_equal(atomic_load(&journal->full), 1);
    journal_cursor_set(&journal->header->sent, 3);
    journal_cursor_set(&journal->header->floor, 3);
    assert_int_equal(add(journal, SLOTS), SLOTS + 1);
    assert_int_equal(add(journal, SLOTS + 1), SLOTS + 2);
    assert_int_equal(add(journal, 1), BLOTTER_FULL);
    journal_close_writing(journal); /* without room for `closed` */
    journal_release(journal);
}

static void what_a_dead_process_left_is_kept_and_closed(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    int64_t first_id = journal->producer_id;
    for (unsigned i = 1; i <= 10; i++) {
        add(journal, i);
    }
    die(journal);
    journal = open_at(path);
    assert_int_not_equal(journal->producer_id, first_id);
    assert_int_equal(check_records(journal, first_id), 10);
    assert_int_equal(journal->follows.producer_id, first_id);
    assert_int_equal(journal->follows.last_seq, 12); /* opened, ten, closed */
    const struct journal_slot *slot;
    assert_int_equal(journal_read(journal, 12, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->flags, SLOT_IS_CLOSED);
    assert_int_equal(slot->seq, 12);
    assert_int_equal(slot->producer_id, first_id);
    assert_int_equal(add(journal, 1), 2);
    assert_int_equal(journal_read(journal, 13, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->seq, 1);
    assert_int_equal(slot->producer_id, journal->producer_id);
    die(journal);
}

static void a_full_journal_is_adopted_and_opened_when_there_is_room(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    int64_t first_id = journal->producer_id;
    for (unsigned i = 1; i < SLOTS; i++) {
        add(journal, i);
    }
    die(journal);
    journal = open_at(path);
    assert_int_equal(check_records(journal, first_id), SLOTS - 1);
    assert_int_equal(add(journal, 1), BLOTTER_FULL);
    assert_int_equal(journal_next(journal), SLOTS + 1);
    journal_cursor_set(&journal->header->sent, 4);
    journal_cursor_set(&journal->header->floor, 4);
    assert_int_equal(add(journal, 1), 2); /* `opened` is seq 1 */
    const struct journal_slot *slot;
    assert_int_equal(journal_read(journal, SLOTS + 1, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->kind, RECORD_SESSION);
    assert_int_equal(slot->seq, 1);
    die(journal);
}

static void a_claim_that_was_never_published_becomes_void(void **state)
{
    (void)state;
    for (int lap = 0; lap < 2; lap++) {
        unlink(path);
        struct journal *journal = open_at(path);
        unsigned before = lap ? SLOTS + 5 : 5;
        for (unsigned i = 1; i <= before; i++) {
            assert_true(add(journal, i) > 0);
            if (lap && i > 10) {
                journal_cursor_set(&journal->header->sent, i - 5);
                journal_cursor_set(&journal->header->committed, i - 5);
                journal_cursor_set(&journal->header->floor, i - 5);
            }
        }
        atomic_fetch_add(&journal->header->next.value, 1); /* claimed; half written: */
        journal_slot_at(journal, before + 2)->seq = 99;
        assert_int_equal(add(journal, before + 2), before + 3);
        int64_t first_id = journal->producer_id;
        die(journal);
        journal = open_at(path);
        assert_int_equal(journal->found.voided, 1);
        assert_int_equal(journal->found.damaged, 0);
        const struct journal_slot *slot;
        assert_int_equal(journal_read(journal, before + 2, &slot), JOURNAL_RECORD);
        assert_int_equal(slot->kind, RECORD_SESSION);
        assert_int_equal(slot->seq, before + 2);
        assert_int_equal(slot->producer_id, first_id);
        check_records(journal, first_id);
        die(journal);
    }
}

static void complete_but_unpublished_records_are_kept(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    int64_t first_id = journal->producer_id;
    for (unsigned i = 1; i <= 5; i++) {
        add(journal, i);
    }
    atomic_store(&journal_slot_at(journal, 6)->published, 0);
    die(journal);
    journal = open_at(path);
    assert_int_equal(check_records(journal, first_id), 5);
    assert_int_equal(journal->found.voided, 0);
    die(journal);
}

/* It was accepted: to call it void would hide that it is lost. */
static void a_damaged_record_is_missing_and_not_void(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    const struct journal_slot *slot;
    for (unsigned i = 1; i <= 5; i++) {
        add(journal, i);
    }
    journal_slot_at(journal, 4)->body[0] ^= 1;
    die(journal);
    journal = open_at(path);
    assert_int_equal(journal->found.damaged, 1);
    assert_int_equal(journal->found.voided, 0);
    assert_int_equal(journal_read(journal, 4, &slot), JOURNAL_LEFT_OUT);
    die(journal);
}

/* After a restart of the machine nobody knows whether a record that was in memory only had been
 * accepted. */
static void what_was_claimed_before_the_machine_went_down_is_missing_and_not_void(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    for (unsigned i = 1; i <= 5; i++) {
        add(journal, i);
    }
    atomic_fetch_add(&journal->header->next.value, 1);
    add(journal, 7);
    snprintf(journal->header->owner.boot, sizeof journal->header->owner.boot, "another");
    journal_owner_seal(&journal->header->owner, journal->version);
    die(journal);
    journal = open_at(path);
    assert_int_equal(journal->found.damaged, 1);
    assert_int_equal(journal->found.voided, 0);
    die(journal);
}

/* A ring in its second lap, partly sent, of a process that died. */
static int64_t make_used(unsigned char *bytes, size_t *size, unsigned *kept)
{
    unlink(path);
    struct journal *journal = open_at(path);
    for (unsigned i = 1; i <= SLOTS + 20; i++) {
        if (i == SLOTS - 4) {
            journal_cursor_set(&journal->header->sent, 60);
            journal_cursor_set(&journal->header->committed, 50);
            journal_cursor_set(&journal->header->floor, 50);
        }
        assert_int_equal(add(journal, i), i + 1);
    }
    *kept = SLOTS + 22 - 50; /* positions 50 .. SLOTS + 21 */
    int64_t id = journal->producer_id;
    die(journal);
    read_file(path, bytes, size);
    return id;
}

static void any_flipped_byte_costs_at_most_one_record(void **state)
{
    (void)state;
    static unsigned char good[FILE_BYTES], bad[FILE_BYTES];
    size_t size;
    unsigned kept;
    int64_t id = make_used(good, &size, &kept);
    for (size_t at = 0; at < size; at++) {
        memcpy(bad, good, size);
        bad[at] ^= (unsigned char)(1 + at % 255);
        write_file(path, bad, size);
        struct journal *journal;
        int status = journal_open(&journal, path, &both, error);
        assert_int_equal(status, 0); /* one byte cannot cost both places of the geometry */
        unsigned found = check_records(journal, id);
        if (found < kept - 1) {
            fail_msg("byte %zu: %u of %u records", at, found, kept);
        }
        if (found < kept && at >= JOURNAL_PAGE_BYTES) {
            assert_int_equal(journal->found.damaged + journal->found.voided, 1);
        }
        if (found < kept && at < JOURNAL_PAGE_BYTES) {
            fail_msg("byte %zu of the header cost a record", at);
        }
        die(journal);
    }
}

static void a_journal_cut_at_any_byte_keeps_what_is_whole_or_is_left_alone(void **state)
{
    (void)state;
    static unsigned char good[FILE_BYTES], after[FILE_BYTES];
    size_t size, left;
    unsigned kept;
    int64_t id = make_used(good, &size, &kept);
    for (size_t cut = 1; cut < size; cut++) {
        write_file(path, good, cut);
        struct journal *journal;
        int status = journal_open(&journal, path, &both, error);
        if (cut < JOURNAL_PAGE_BYTES) {
            assert_int_equal(status, BLOTTER_CORRUPT);
            assert_true(strlen(error) > 0);
            read_file(path, after, &left);
            assert_int_equal(left, cut);
            assert_memory_equal(after, good, cut);
            continue;
        }
        assert_int_equal(status, 0);
        unsigned whole = 0;
        for (uint64_t position = 50; position < SLOTS + 22; position++) {
            whole += JOURNAL_PAGE_BYTES + ((position % SLOTS) + 1) * SLOT_BYTES <= cut;
        }
        assert_int_equal(check_records(journal, id), whole);
        assert_int_equal(journal->found.damaged, kept - whole);
        assert_int_equal(journal->found.voided, 0);
        die(journal);
    }
}

static void another_version_is_left_alone(void **state)
{
    (void)state;
    static unsigned char bytes[FILE_BYTES], after[FILE_BYTES];
    size_t size, left;
    unsigned kept;
    make_used(bytes, &size, &kept);
    struct journal_geometry geometry;
    memcpy(&geometry, bytes, sizeof geometry);
    geometry.version = JOURNAL_VERSION + 1;
    memcpy(bytes, &geometry, sizeof geometry);
    memcpy(bytes + size - JOURNAL_PAGE_BYTES, &geometry, sizeof geometry);
    write_file(path, bytes, size);
    struct journal *journal;
    assert_int_equal(journal_open(&journal, path, &both, error), BLOTTER_FORMAT);
    assert_non_null(strstr(error, "version 3"));
    read_file(path, after, &left);
    assert_int_equal(left, size);
    assert_memory_equal(after, bytes, size);
}

static void what_is_no_journal_is_left_alone(void **state)
{
    (void)state;
    static unsigned char bytes[FILE_BYTES], after[FILE_BYTES];
    size_t left;
    memset(bytes, 'x', sizeof bytes);
    write_file(path, bytes, sizeof bytes);
    struct journal *journal;
    assert_int_equal(journal_open(&journal, path, &both, error), BLOTTER_CORRUPT);
    read_file(path, after, &left);
    assert_memory_equal(after, bytes, sizeof bytes);
}

static void the_second_opener_is_told_busy_and_takes_the_next_name(void **state)
{
    (void)state;
    struct journal *first, *second, *other;
    assert_int_equal(journal_open_in_folder(&first, folder, &both, error), 0);
    assert_int_equal(journal_open(&second, first->path, &both, error), BLOTTER_BUSY);
    assert_int_equal(journal_open_in_folder(&second, folder, &both, error), 0);
    assert_string_not_equal(first->path, second->path);
    assert_non_null(strstr(second->path, "okx.1"));
    struct journal_options lane = both;
    lane.lane = "ticks";
    assert_int_equal(journal_open_in_folder(&other, folder, &lane, error), 0);
    assert_non_null(strstr(other->path, "okx:ticks.0"));
    die(first);
    die(second);
    assert_int_equal(journal_open_in_folder(&first, folder, &both, error), 0);
    assert_non_null(strstr(first->path, "okx.0"));
    snprintf(path, sizeof path, "%.255s", other->path);
    assert_int_equal(journal_open(&second, path, &both, error), BLOTTER_BUSY);
    die(other);
    assert_int_equal(journal_open(&second, path, &both, error), BLOTTER_OPTION);
    die(first);
}

/* Or nobody would send what is in the second, where only one process is ever started again. */
static void a_journal_that_was_left_is_taken_before_a_new_one_is_made(void **state)
{
    (void)state;
    struct journal *first, *second, *adopter;
    assert_int_equal(journal_open_in_folder(&first, folder, &both, error), 0);
    assert_int_equal(journal_open_in_folder(&second, folder, &both, error), 0);
    assert_int_equal(unlink(first->path), 0); /* as one that is closed with everything committed */
    die(first);
    die(second);
    assert_int_equal(journal_open_in_folder(&adopter, folder, &both, error), 0);
    assert_non_null(strstr(adopter->path, "okx.1"));
    assert_int_equal(journal_open_in_folder(&first, folder, &both, error), 0);
    assert_non_null(strstr(first->path, "okx.0"));
    die(adopter);
    die(first);
}

static void a_copy_opened_beside_its_original_is_another_producer(void **state)
{
    (void)state;
    static unsigned char bytes[FILE_BYTES];
    char copy[JOURNAL_PATH_BYTES + 8];
    size_t size;
    snprintf(copy, sizeof copy, "%s.copy", path);
    struct journal *journal = open_at(path);
    int64_t id = journal->producer_id;
    for (unsigned i = 1; i <= 10; i++) {
        add(journal, i);
    }
    read_file(path, bytes, &size);
    write_file(copy, bytes, size);
    struct journal *twin = open_at(copy);
    assert_int_not_equal(twin->producer_id, id);
    assert_int_equal(check_records(twin, id), 10);
    assert_int_equal(add(twin, 1), 2);
    assert_int_equal(add(journal, 11), 12);
    assert_int_equal(check_records(journal, id), 11);
    die(journal);
    die(twin);
}

static void a_copy_does_not_speak_for_the_owner_of_its_original(void **state)
{
    (void)state;
    static unsigned char bytes[FILE_BYTES];
    char copy[JOURNAL_PATH_BYTES + 8];
    size_t size;
    const struct journal_slot *slot;
    snprintf(copy, sizeof copy, "%s.copy", path);
    struct journal *journal = open_at(path);
    int64_t id = journal->producer_id;
    add(journal, 1);
    atomic_fetch_add(&journal->header->next.value, 1); /* seq 3: somebody is about to write it */
    read_file(path, bytes, &size);
    write_file(copy, bytes, size);
    struct journal *twin = open_at(copy);
    assert_int_equal(twin->found.voided + twin->found.damaged, 0);
    assert_int_equal(journal_read(twin, 3, &slot), JOURNAL_LEFT_OUT);
    assert_int_equal(add(twin, 1), 2);
    assert_int_equal(journal_read(twin, 4, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->producer_id, twin->producer_id); /* `opened`, no `closed` before it */
    assert_int_equal(twin->follows.producer_id, id);
    assert_int_equal(twin->follows.last_seq, 3);
    die(twin);
    twin = open_at(copy); /* now it is the twin's own file */
    assert_int_equal(journal_read(twin, 6, &slot), JOURNAL_RECORD);
    assert_int_equal(slot->flags, SLOT_IS_CLOSED);
    die(twin);
    die(journal);
}

static void a_header_older_than_its_slots_loses_nothing(void **state)
{
    (void)state;
    static unsigned char early[FILE_BYTES], late[FILE_BYTES];
    size_t size;
    struct journal *journal = open_at(path);
    int64_t id = journal->producer_id;
    for (unsigned i = 1; i <= 20; i++) {
        add(journal, i);
    }
    read_file(path, early, &size);
    for (unsigned i = 21; i <= 40; i++) {
        add(journal, i);
    }
    die(journal);
    read_file(path, late, &size);
    memcpy(late, early, JOURNAL_PAGE_BYTES); /* as a live copy may be */
    write_file(path, late, size);
    journal = open_at(path);
    assert_int_equal(check_records(journal, id), 40);
    die(journal);
}

static void a_full_disk_is_an_error_and_not_a_signal(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {FILE_BYTES - 1, FILE_BYTES - 1};
        struct journal *journal;
        setrlimit(RLIMIT_FSIZE, &limit);
        int status = journal_open(&journal, path, &both, error);
        _exit(status == BLOTTER_SYSTEM && strstr(error, "cannot reserve") != NULL &&
                      access(path, F_OK) != 0
                  ? 0
                  : 1);
    }
    int result;
    waitpid(child, &result, 0);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

static void a_folder_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    struct journal *journal;
    assert_int_equal(journal_open_in_folder(&journal, "/proc/self", &both, error), BLOTTER_SYSTEM);
    assert_non_null(strstr(error, "/proc/self"));
    assert_int_equal(journal_open_in_folder(&journal, "/nowhere/at/all", &both, error),
                     BLOTTER_SYSTEM);
}

static void a_half_made_file_is_made_again(void **state)
{
    (void)state;
    static unsigned char zero[2 * FILE_BYTES];
    struct stat st;
    const size_t sizes[] = {0, 100, JOURNAL_PAGE_BYTES, FILE_BYTES, sizeof zero};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        write_file(path, zero, sizes[i]);
        struct journal *journal;
        assert_int_equal(journal_open(&journal, path, &both, error), 0);
        die(journal);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, FILE_BYTES);
    }
}

static void a_committed_journal_is_removed_by_its_closer(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    add(journal, 1);
    journal_close_writing(journal);
    uint64_t next = journal_next(journal);
    assert_int_equal(next, 4);
    journal_cursor_set(&journal->header->sent, next);
    journal_cursor_set(&journal->header->committed, next);
    journal_cursor_set(&journal->header->floor, next);
    journal_release(journal);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(add(journal, 1), BLOTTER_CLOSED); /* still safe to call */
}

static void a_journal_with_records_stays_and_is_not_closed_twice(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    int64_t id = journal->producer_id;
    add(journal, 1);
    journal_close_writing(journal);
    journal_release(journal);
    journal = open_at(path);
    assert_int_equal(journal->follows.producer_id, id);
    assert_int_equal(journal->follows.last_seq, 3);
    assert_int_equal(journal->base, 3);
    die(journal);
}

static void recorded_at_never_goes_back(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    for (unsigned i = 1; i < SLOTS; i++) {
        add(journal, i);
        if (i == 20) { /* the wall clock was an hour ahead when it was last looked at */
            atomic_fetch_add(&journal->clock.offset_ns, INT64_C(3600000000000));
            add(journal, ++i); /* has that hour */
            atomic_store(&journal->clock.checked_ns, 0);
        }
    }
    int64_t before = 0;
    for (uint64_t at = 1; at < SLOTS; at++) {
        int64_t now = journal_slot_at(journal, at)->recorded_at_ns;
        assert_true(now >= before);
        before = now;
    }
    die(journal);
}

static void a_child_is_no_owner_and_does_not_keep_the_lock(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    int to_child[2], to_parent[2];
    char byte = 0;
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(to_parent), 0);
    pid_t child = fork();
    if (child == 0) {
        close(to_child[1]);
        bool forked =
            journal_forked(journal); /* and does nothing about it, as who knows nothing of us */
        bool told = write(to_parent[1], &byte, 1) == 1 && read(to_child[0], &byte, 1) == 0;
        journal_release(journal);
        char other[sizeof path + 8];
        snprintf(other, sizeof other, "%s.child", path);
        bool has_its_own =
            journal_open(&journal, other, &both, error) == 0 && !journal_forked(journal);
        _exit(told && forked && has_its_own ? 0 : 1);
    }
    close(to_child[0]);
    assert_int_equal(read(to_parent[0], &byte, 1), 1); /* its fork handlers have run */
    assert_false(journal_forked(journal));
    assert_int_equal(add(journal, 1), 2);
    die(journal); /* while the child lives */
    journal = open_at(path);
    close(to_child[1]);
    int result;
    waitpid(child, &result, 0);
    close(to_parent[0]);
    close(to_parent[1]);
    assert_int_equal(WEXITSTATUS(result), 0);
    die(journal);
}

static void inspection_changes_nothing(void **state)
{
    (void)state;
    static unsigned char before[FILE_BYTES], after[FILE_BYTES];
    size_t size;
    unsigned kept;
    struct journal_picture picture;
    int64_t id = make_used(before, &size, &kept);
    assert_int_equal(journal_inspect(path, &picture, error), 0);
    assert_int_equal(picture.valid, kept);
    assert_int_equal(picture.damaged + picture.unpublished, 0);
    assert_int_equal(picture.producer_id, id);
    assert_int_equal(picture.unsent, SLOTS + 22 - 60);
    assert_int_equal(picture.unconfirmed, 10);
    assert_string_equal(picture.exchange, "okx");
    read_file(path, after, &size);
    assert_memory_equal(before, after, size);
    assert_int_equal(truncate(path, JOURNAL_PAGE_BYTES + 10 * SLOT_BYTES), 0);
    assert_int_equal(journal_inspect(path, &picture, error), 0);
    assert_true(picture.damaged > 0);
    assert_int_equal(journal_inspect("/nowhere", &picture, error), BLOTTER_SYSTEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opened_comes_with_the_first_record_and_seqs_are_dense),
        TEST(a_full_ring_says_full_and_has_room_when_floor_rises),
        TEST(what_a_dead_process_left_is_kept_and_closed),
        TEST(a_full_journal_is_adopted_and_opened_when_there_is_room),
        TEST(a_claim_that_was_never_published_becomes_void),
        TEST(complete_but_unpublished_records_are_kept),
        TEST(a_damaged_record_is_missing_and_not_void),
        TEST(what_was_claimed_before_the_machine_went_down_is_missing_and_not_void),
        TEST(any_flipped_byte_costs_at_most_one_record),
        TEST(a_journal_cut_at_any_byte_keeps_what_is_whole_or_is_left_alone),
        TEST(another_version_is_left_alone),
        TEST(what_is_no_journal_is_left_alone),
        TEST(the_second_opener_is_told_busy_and_takes_the_next_name),
        TEST(a_journal_that_was_left_is_taken_before_a_new_one_is_made),
        TEST(a_copy_opened_beside_its_original_is_another_producer),
        TEST(a_copy_does_not_speak_for_the_owner_of_its_original),
        TEST(a_header_older_than_its_slots_loses_nothing),
        TEST(a_full_disk_is_an_error_and_not_a_signal),
        TEST(a_folder_that_cannot_be_written_is_an_error),
        TEST(a_half_made_file_is_made_again),
        TEST(a_committed_journal_is_removed_by_its_closer),
        TEST(a_journal_with_records_stays_and_is_not_closed_twice),
        TEST(recorded_at_never_goes_back),
        TEST(a_child_is_no_owner_and_does_not_keep_the_lock),
        TEST(inspection_changes_nothing),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
