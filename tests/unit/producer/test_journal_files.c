/* test_journal_files.c: what a journal meets in the file system: disks that are full or read-only,
 * folders of others, and things in its place that are no journal. Nothing of it may be changed, and
 * none of it may raise a signal.
 *
 * Each case is a child, so that it may change its user and its mounts. Where the kernel gives us no
 * mounts of our own, which is said then, a full disk is judged by the limit of a file's size alone,
 * and a read-only one by the rights of a folder. */
#include "tests/unit/journals.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { OTHER_USER = 54321 };

/* --- children --- */

/* Runs body in a child; all of its conditions must hold. */
#define HOLDS(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

static void in_a_child(void (*body)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* cmocka's handler would go on with the next test, here too */
        signal(SIGSEGV, SIG_DFL);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool put(const char *file, const char *text)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return done;
}

/* Mounts that nobody else sees; root needs no more, others become root of a namespace of users for
 * it. */
static bool own_mounts(void)
{
    char users[64], groups[64];
    unsigned user = (unsigned)geteuid(), group = (unsigned)getegid();
    if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        return false;
    }
    snprintf(users, sizeof users, "0 %u 1", user);
    snprintf(groups, sizeof groups, "0 %u 1", group);
    if (user != 0 && !(put("/proc/self/uid_map", users) && put("/proc/self/setgroups", "deny") &&
                       put("/proc/self/gid_map", groups))) {
        return false;
    }
    return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_disk(const char *at, const char *size)
{
    bool mounted = own_mounts() && mount("tmpfs", at, "tmpfs", 0, size) == 0;
    if (!mounted) {
        fprintf(stderr, "no mounts of our own: %s\n", strerror(errno));
    }
    return mounted;
}

static int try_open(void)
{
    struct journal *journal;
    int status = journal_open(&journal, path, &both, error);
    if (status == 0) {
        die(journal);
    }
    return status;
}

static off_t size_of(const char *file)
{
    struct stat st;
    return lstat(file, &st) == 0 ? st.st_size : -1;
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit = {bytes, bytes};
    HOLDS(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* --- disks --- */

static void make_on_a_full_disk(void)
{
    if (!mount_disk(folder, "size=20480")) {
        limit_file_size(FILE_BYTES - 1);
    }
    HOLDS(try_open() == BLOTTER_SYSTEM);
    HOLDS(strstr(error, "cannot reserve") && strstr(error, path));
    HOLDS(size_of(path) == -1);
}

static void a_journal_is_not_made_on_a_full_disk(void **state)
{
    (void)state;
    in_a_child(make_on_a_full_disk);
}

/* As cp and tar write it: where the journal has zeros the copy has nothing, and needs room when it
 * is used. */
static void adopt_a_copy_with_holes(void)
{
    unsigned char bytes[FILE_BYTES];
    size_t size;
    struct journal *journal = open_at(path);
    add(journal, 1);
    die(journal);
    read_file(path, bytes, &size);
    if (!mount_disk(folder, "size=20480")) {
        return;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    HOLDS(pwrite(fd, bytes, 2 * JOURNAL_PAGE_BYTES, 0) == 2 * JOURNAL_PAGE_BYTES);
    HOLDS(ftruncate(fd, FILE_BYTES) == 0);
    HOLDS(try_open() == BLOTTER_SYSTEM);
    HOLDS(strstr(error, "cannot reserve") && strstr(error, strerror(ENOSPC)));
    HOLDS(size_of(path) == FILE_BYTES);
    close(fd);
}

static void holes_of_a_copy_need_room(void **state)
{
    (void)state;
    in_a_child(adopt_a_copy_with_holes);
}

static void adopt_what_was_cut_on_a_full_disk(void)
{
    unsigned char bytes[FILE_BYTES], after[FILE_BYTES];
    size_t size;
    struct journal *journal = open_at(path);
    add(journal, 1);
    die(journal);
    HOLDS(truncate(path, 3 * JOURNAL_PAGE_BYTES) == 0);
    read_file(path, bytes, &size);
    if (mount_disk(folder, "size=16384")) {
        write_file(path, bytes, size);
    } else {
        limit_file_size(FILE_BYTES - 1);
    }
    HOLDS(try_open() == BLOTTER_SYSTEM);
    HOLDS(strstr(error, "cannot reserve") != NULL);
    read_file(path, after, &size);
    HOLDS(size == 3 * JOURNAL_PAGE_BYTES && memcmp(bytes, after, size) == 0);
}

static void a_cut_journal_on_a_full_disk_stays_as_it_is(void **state)
{
    (void)state;
    in_a_child(adopt_what_was_cut_on_a_full_disk);
}

static void open_on_a_read_only_disk(void)
{
    struct journal_picture picture;
    if (!mount_disk(folder, "size=1m")) {
        return;
    }
    HOLDS(try_open() == 0);
    HOLDS(mount("none", folder, "none", MS_REMOUNT | MS_RDONLY, NULL) == 0);
    HOLDS(try_open() == BLOTTER_SYSTEM);
    HOLDS(strstr(error, strerror(EROFS)) && strstr(error, path));
    HOLDS(journal_inspect(path, &picture, error) == 0 && picture.slots == SLOTS);
    HOLDS(unlink(path) != 0);
}

static void a_read_only_disk_is_an_error_and_can_be_looked_at(void **state)
{
    (void)state;
    in_a_child(open_on_a_read_only_disk);
}

/* --- folders --- */

/* Root may do anything, so it becomes somebody else. */
static void without_rights(void)
{
    if (geteuid() == 0) {
        HOLDS(seteuid(OTHER_USER) == 0);
    } else {
        HOLDS(chmod(folder, 0500) == 0);
    }
}

static void open_in_a_folder_without_rights(void)
{
    struct journal *journal;
    HOLDS(chmod(folder, 0755) == 0);
    without_rights();
    HOLDS(journal_open_in_folder(&journal, folder, &both, error) == BLOTTER_SYSTEM);
    HOLDS(strstr(error, strerror(EACCES)) && strstr(error, folder));
    HOLDS(size_of(path) == -1);
}

static void a_folder_without_rights_is_an_error(void **state)
{
    (void)state;
    in_a_child(open_in_a_folder_without_rights);
}

static void open_a_journal_of_another_user(void)
{
    unsigned char bytes[FILE_BYTES], after[FILE_BYTES];
    size_t size;
    HOLDS(try_open() == 0);
    read_file(path, bytes, &size);
    HOLDS(chmod(folder, 0755) == 0 && chmod(path, 0400) == 0);
    if (geteuid() == 0) {
        HOLDS(seteuid(OTHER_USER) == 0 && try_open() == BLOTTER_NOT_OURS);
    } else {
        HOLDS(try_open() == BLOTTER_SYSTEM && strstr(error, strerror(EACCES)));
    }
    HOLDS(seteuid(getuid()) == 0);
    read_file(path, after, &size);
    HOLDS(memcmp(bytes, after, size) == 0);
}

static void a_journal_that_may_not_be_written_is_an_error(void **state)
{
    (void)state;
    in_a_child(open_a_journal_of_another_user);
}

/* The default folder, in a /dev/shm of our own. */
static void use_the_default_folder(void)
{
    char found[JOURNAL_PATH_BYTES], expected[64];
    struct stat st;
    if (!mount_disk("/dev/shm", "size=1m")) {
        return;
    }
    snprintf(expected, sizeof expected, "/dev/shm/blotter-%u", (unsigned)geteuid());
    HOLDS(journal_default_folder(found, error) == 0 && strcmp(found, expected) == 0);
    HOLDS(stat(found, &st) == 0 && (st.st_mode & 07777) == 0700);
    HOLDS(chmod(found, 0777) == 0 && journal_default_folder(found, error) == 0);
    HOLDS(stat(found, &st) == 0 && (st.st_mode & 07777) == 0700);
    if (chown(found, OTHER_USER, (gid_t)-1) == 0) { /* only the machine's root can give it away */
        HOLDS(journal_default_folder(found, error) == BLOTTER_SYSTEM);
        HOLDS(strstr(error, expected) && strstr(error, "not a folder of this user"));
    }
    HOLDS(rmdir(expected) == 0 && symlink("/dev/shm", expected) == 0);
    HOLDS(journal_default_folder(found, error) == BLOTTER_SYSTEM &&
          strstr(error, "not a folder of this user"));
    HOLDS(unlink(expected) == 0 && mknod(expected, S_IFREG | 0600, 0) == 0);
    HOLDS(journal_default_folder(found, error) == BLOTTER_SYSTEM &&
          strstr(error, "not a folder of this user"));
}

static void the_default_folder_is_ours_and_closed_to_others(void **state)
{
    (void)state;
    in_a_child(use_the_default_folder);
}

/* --- in the place of a journal --- */

static void refuses_what_is_there(mode_t type)
{
    struct stat st;
    struct journal_picture picture;
    if (type != S_IFLNK) { /* which may be looked at */
        assert_int_not_equal(journal_inspect(path, &picture, error), 0);
    }
    assert_int_equal(try_open(), BLOTTER_NOT_OURS);
    assert_non_null(strstr(error, path));
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & S_IFMT, type);
    assert_true(unlink(path) == 0 || rmdir(path) == 0);
}

static void what_is_no_file_is_refused_and_left_alone(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    refuses_what_is_there(S_IFDIR);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuses_what_is_there(S_IFIFO);
    assert_int_equal(mknod(path, S_IFSOCK | 0600, 0), 0);
    refuses_what_is_there(S_IFSOCK);
    if (geteuid() == 0 && mknod(path, S_IFCHR | 0600, 1 << 8 | 3) == 0) { /* as /dev/null */
        refuses_what_is_there(S_IFCHR);
    }
}

static void a_symbolic_link_is_not_followed(void **state)
{
    (void)state;
    static unsigned char bytes[FILE_BYTES], after[FILE_BYTES];
    char target[JOURNAL_PATH_BYTES + 8];
    size_t size;
    snprintf(target, sizeof target, "%s.target", path);
    assert_int_equal(symlink(target, path), 0);
    refuses_what_is_there(S_IFLNK);
    assert_int_equal(size_of(target), -1);
    die(open_at(target));
    read_file(target, bytes, &size);
    assert_int_equal(symlink(target, path), 0);
    refuses_what_is_there(S_IFLNK);
    read_file(target, after, &size);
    assert_memory_equal(bytes, after, size);
}

static void a_folder_goes_on_to_the_next_name_behind_what_it_cannot_read(void **state)
{
    (void)state;
    static unsigned char bytes[FILE_BYTES], after[FILE_BYTES];
    char damaged[128], newer[128];
    size_t size;
    struct journal *journal;
    snprintf(damaged, sizeof damaged, "%s/okx.0", folder);
    snprintf(newer, sizeof newer, "%s/okx.1", folder);
    memset(bytes, 'x', sizeof bytes);
    write_file(damaged, bytes, sizeof bytes);
    die(open_at(newer));
    read_file(newer, bytes, &size);
    for (size_t at = 0; at < size; at += size - JOURNAL_PAGE_BYTES) {
        ((struct journal_geometry *)(void *)(bytes + at))->version = JOURNAL_VERSION + 1;
    }
    write_file(newer, bytes, size);
    assert_int_equal(journal_open_in_folder(&journal, folder, &both, error), 0);
    assert_non_null(strstr(journal->path, "/okx.2"));
    die(journal);
    read_file(newer, after, &size);
    assert_memory_equal(bytes, after, size);
    assert_int_equal(size_of(damaged), FILE_BYTES);
}

static void what_is_unlinked_while_in_use_goes_on_and_removes_nothing_else(void **state)
{
    (void)state;
    struct journal *first = open_at(path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(add(first, 1), 2);
    struct journal *second = open_at(path);
    assert_int_not_equal(first->producer_id, second->producer_id);
    assert_int_equal(add(first, 2), 3);
    assert_int_equal(add(second, 1), 2);
    assert_int_equal(check_records(first, first->producer_id), 2);
    journal_close_writing(first);
    uint64_t next = journal_next(first);
    journal_cursor_set(&first->header->sent, next);
    journal_cursor_set(&first->header->committed, next);
    journal_cursor_set(&first->header->floor, next);
    journal_release(first);
    assert_int_equal(size_of(path), FILE_BYTES);
    assert_int_equal(add(second, 2), 3);
    die(second);
}

/* Gives a file that many bytes, of which none is on the disk. */
static void make_hollow(off_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    HOLDS(fd >= 0 && ftruncate(fd, bytes) == 0);
    close(fd);
}

static void look_at_a_hollow_file(void)
{
    struct journal_picture picture;

    make_hollow((off_t)1 << 60); /* more than can be read in a lifetime */
    HOLDS(journal_inspect(path, &picture, error) == BLOTTER_CORRUPT);
    HOLDS(strcmp(error, JOURNAL_UNMADE) == 0);
    HOLDS(journal_is_unmade(path));
}

static long memory_kib(void)
{
    struct rusage usage;

    HOLDS(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_maxrss;
}

static void look_at_a_hollow_journal(void)
{
    struct journal_geometry geometry = {.slots = 65536, .slot_bytes = 4096, .exchange = "okx"};
    struct journal_picture picture;
    long before = memory_kib();
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    journal_geometry_seal(&geometry);
    HOLDS(pwrite(fd, &geometry, sizeof geometry, 0) == (ssize_t)sizeof geometry);
    close(fd);
    make_hollow((off_t)journal_bytes(65536, 4096));
    HOLDS(journal_inspect(path, &picture, error) == 0);
    HOLDS(picture.valid == 0 && picture.file_bytes == picture.expected_bytes);
    HOLDS(memory_kib() - before < 64 * 1024);
}

static void what_a_file_claims_to_have_costs_neither_time_nor_memory(void **state)
{
    (void)state;
    in_a_child(look_at_a_hollow_file);
    unlink(path);
    in_a_child(look_at_a_hollow_journal);
}

static void sizes_that_make_no_journal_are_refused(void **state)
{
    static const struct {
        uint32_t slots, slot_bytes;
    } wrong[] = {{SLOTS - 1, SLOT_BYTES},  {SLOTS / 2, SLOT_BYTES}, {SLOTS * 3, SLOT_BYTES},
                 {SLOTS, SLOT_BYTES - 64}, {SLOTS, SLOT_BYTES + 8}, {SLOTS, 65536 + 64}};
    struct journal *journal;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct journal_options options = both;
        options.slots = wrong[i].slots;
        options.slot_bytes = wrong[i].slot_bytes;
        assert_int_equal(journal_open(&journal, path, &options, error), BLOTTER_OPTION);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_journal_is_not_made_on_a_full_disk),
        TEST(holes_of_a_copy_need_room),
        TEST(a_cut_journal_on_a_full_disk_stays_as_it_is),
        TEST(a_read_only_disk_is_an_error_and_can_be_looked_at),
        TEST(a_folder_without_rights_is_an_error),
        TEST(a_journal_that_may_not_be_written_is_an_error),
        TEST(the_default_folder_is_ours_and_closed_to_others),
        TEST(what_is_no_file_is_refused_and_left_alone),
        TEST(a_symbolic_link_is_not_followed),
        TEST(a_folder_goes_on_to_the_next_name_behind_what_it_cannot_read),
        TEST(what_is_unlinked_while_in_use_goes_on_and_removes_nothing_else),
        TEST(what_a_file_claims_to_have_costs_neither_time_nor_memory),
        TEST(sizes_that_make_no_journal_are_refused),
    };
    return cmocka_run_group_tests_name("journals as files", tests, NULL, NULL);
}
