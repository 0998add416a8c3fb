/* test_journal_host.c: what the machine may do to a journal: clocks that jump, system calls that
 * are interrupted, files that other users have put there. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "tests/unit/journals.h"

/* --- the clock --- */

static int64_t wall_shift_ns, all_shift_ns;

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    int64_t ns = out->tv_sec * INT64_C(1000000000) + out->tv_nsec + all_shift_ns +
                 (clock == CLOCK_REALTIME ? wall_shift_ns : 0);
    out->tv_sec = ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
    return result;
}

static const int64_t second = INT64_C(1000000000);

/* Appends a record after so many seconds. Returns how far its time is from the right one, in
 * seconds. */
static int64_t append_after(struct journal *journal, int64_t seconds)
{
    all_shift_ns += seconds * second;
    int64_t seq = add(journal, 1);
    assert_true(seq > 0);
    int64_t recorded = journal_slot_at(journal, journal->base + (uint64_t)seq)->recorded_at_ns;
    int64_t shift = wall_shift_ns;
    struct timespec now;
    wall_shift_ns = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    wall_shift_ns = shift;
    int64_t off = recorded - (now.tv_sec * second + now.tv_nsec);
    return (off + (off >= 0 ? second : -second) / 2) / second;
}

static int begin_clock(void **state)
{
    wall_shift_ns = all_shift_ns = 0;
    return make_folder(state);
}

static void a_clock_that_is_wrong_for_seconds_is_not_believed(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    assert_int_equal(append_after(journal, 2), 0);
    wall_shift_ns = 30 * 3600 * second;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(append_after(journal, 2), 0);
    }
    assert_int_equal(journal_clock_jump(&journal->clock) / second, 30 * 3600);
    wall_shift_ns = 0;
    assert_int_equal(append_after(journal, 2), 0);
    assert_int_equal(journal_clock_jump(&journal->clock), 0);
    assert_int_equal(append_after(journal, 120), 0);
    die(journal);
}

static void a_clock_that_stays_ahead_is_believed_after_a_minute(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    wall_shift_ns = 2 * 3600 * second;
    assert_int_equal(append_after(journal, 2), 0);
    assert_int_equal(append_after(journal, 50), 0);
    assert_int_equal(append_after(journal, 20), 2 * 3600);
    assert_int_equal(journal_clock_jump(&journal->clock), 0);
    die(journal);
}

static void a_small_step_ahead_is_believed_and_one_back_never_taken(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    wall_shift_ns = 1800 * second;
    assert_int_equal(append_after(journal, 2), 1800);
    wall_shift_ns = -7200 * second;
    assert_int_equal(append_after(journal, 2), 1800);
    assert_int_equal(append_after(journal, 200), 1800);
    die(journal);
}

static void closed_for_a_dead_producer_is_not_older_than_its_last_record(void **state)
{
    (void)state;
    struct journal *journal = open_at(path);
    wall_shift_ns = 1800 * second;
    assert_int_equal(append_after(journal, 2), 1800);
    die(journal);
    wall_shift_ns = 0; /* the adopting process knows the right time */
    journal = open_at(path);
    const struct journal_slot *closed = journal_slot_at(journal, 3);
    assert_int_equal(closed->flags, SLOT_IS_CLOSED);
    assert_true(closed->recorded_at_ns >= journal_slot_at(journal, 2)->recorded_at_ns);
    die(journal);
}

/* --- interrupted calls --- */

static int interruptions;

__attribute__((visibility("default"))) int posix_fallocate(int fd, off_t offset, off_t length)
{
    if (interruptions > 0) {
        interruptions--;
        return EINTR;
    }
    return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

static void an_interrupted_reservation_is_repeated(void **state)
{
    (void)state;
    interruptions = 5;
    die(open_at(path));
    assert_int_equal(interruptions, 0);
}

/* --- files of others --- */

static void assert_left_alone(int expected)
{
    static unsigned char before[FILE_BYTES], after[FILE_BYTES];
    size_t size, left;
    struct journal *journal;
    read_file(path, before, &size);
    assert_int_equal(journal_open(&journal, path, &both, error), expected);
    assert_int_equal(journal_open(&journal, path, &(struct journal_options){.send = true}, error),
                     expected);
    assert_int_equal(journal_probe(path, error), expected);
    read_file(path, after, &left);
    assert_int_equal(left, size);
    assert_memory_equal(after, before, size);
}

static void a_file_that_is_not_ours_is_left_alone(void **state)
{
    (void)state;
    char other[JOURNAL_PATH_BYTES + 8];
    struct journal *journal = open_at(path);
    add(journal, 1);
    die(journal);
    assert_int_equal(chmod(path, 0666), 0);
    assert_left_alone(BLOTTER_NOT_OURS);
    assert_int_equal(chmod(path, 0620), 0);
    assert_left_alone(BLOTTER_NOT_OURS);
    assert_int_equal(chmod(path, 0644), 0);
    snprintf(other, sizeof other, "%s.link", path);
    assert_int_equal(link(path, other), 0);
    assert_left_alone(BLOTTER_NOT_OURS);
    assert_int_equal(unlink(other), 0);
    if (chown(path, 54321, (gid_t)-1) == 0) { /* root's strategy, another user's journal */
        assert_left_alone(BLOTTER_NOT_OURS);
        assert_int_equal(chown(path, geteuid(), (gid_t)-1), 0);
    }
    die(open_at(path));
}

static void in_a_folder_the_next_name_is_taken(void **state)
{
    (void)state;
    struct journal *journal;
    char planted[4][JOURNAL_PATH_BYTES];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(journal_open_in_folder(&journal, folder, &both, error), 0);
        snprintf(planted[i], sizeof planted[i], "%.255s", journal->path);
        die(journal);
        for (int before = 0; before < i; before++) {
            assert_string_not_equal(planted[i], planted[before]);
        }
        if (i == 0) {
            assert_int_equal(chmod(planted[i], 0666), 0);
            continue;
        }
        assert_int_equal(unlink(planted[i]), 0);
        assert_int_equal(i == 1   ? symlink("/nowhere", planted[i])
                         : i == 2 ? mkfifo(planted[i], 0600)
                                  : mkdir(planted[i], 0700),
                         0);
    }
    assert_int_equal(journal_open_in_folder(&journal, folder, &both, error), 0);
    die(journal);
    assert_int_equal(rmdir(planted[3]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_clock, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clock_that_is_wrong_for_seconds_is_not_believed),
        TEST(a_clock_that_stays_ahead_is_believed_after_a_minute),
        TEST(a_small_step_ahead_is_believed_and_one_back_never_taken),
        TEST(closed_for_a_dead_producer_is_not_older_than_its_last_record),
        TEST(an_interrupted_reservation_is_repeated),
        TEST(a_file_that_is_not_ours_is_left_alone),
        TEST(in_a_folder_the_next_name_is_taken),
    };
    return cmocka_run_group_tests_name("journal and host", tests, NULL, NULL);
}
