/* test_postgres_full.c: the disk that the tables are on is full. The drainer says so, rejects
 * nothing, and goes on when there is room again.
 *
 * The disk is a small tmpfs, mounted in a namespace of the test's own: root's right, or that of
 * whoever may make a namespace of users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fixture/drainers.h"

enum { BALLAST_STEP = (64 * 1024) };

/* Before anything is started: what is mounted is seen by us and our children, and gone with us. */
static void enter_own_namespace(void)
{
    uid_t user = getuid();
    gid_t group = getgid();
    if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) {
        fixture_fail("unshare: %s (a disk is to be mounted)", strerror(errno));
    }
    if (user != 0) {
        fixture_write_file("/proc/self/setgroups", "deny");
        fixture_write_file("/proc/self/uid_map", fixture_format("%u %u 1", user, user));
        fixture_write_file("/proc/self/gid_map", fixture_format("%u %u 1", group, group));
    }
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0) {
        fixture_fail("mount: %s", strerror(errno));
    }
}

/* A tablespace on a disk of a few MiB, for the tables of each day, which are not made yet. */
static const char *mount_small_disk(void)
{
    const char *disk = fixture_format("%s/disk", fixture_folder()),
               *place = fixture_format("%s/tablespace", disk);
    if (mkdir(disk, 0755) != 0 || mount("tmpfs", disk, "tmpfs", 0, "size=16m,mode=755") != 0) {
        fixture_fail("cannot mount a disk on %s: %s", disk, strerror(errno));
    }
    fixture_server_folder(place);
    story_sql("CREATE TABLESPACE small LOCATION '%s'", place);
    story_sql("ALTER DATABASE blotter SET default_tablespace = small");
    return disk;
}

/* Fills it, but for what pages that are there already have free. */
static void fill(const char *disk)
{
    static const char zeros[BALLAST_STEP];
    int file = open(fixture_format("%s/ballast", disk), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(file, zeros, sizeof zeros) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(file);
}

static void a_full_disk_is_waited_for(void **state)
{
    (void)state;
    const char *disk = mount_small_disk();
    struct load *load = load_start(&(struct load_options){.producers = 2, .per_second = 500});
    struct fixture_program *drainer = story_drainer("d1");
    drainer_await_loaded("d1", 100);
    fill(disk);
    drainer_await_says(drainer, "SQLSTATE 53100: nothing is acknowledged");
    drainer_await_says(drainer, "SQLSTATE 53100: taken apart");
    struct drainer_calm since = drainer_calm(drainer);
    fixture_sleep_ms(2000); /* what it does meanwhile is what is tested */
    drainer_was_calm(drainer, since);
    assert_true(story_pending() > 0);
    assert_int_equal(unlink(fixture_format("%s/ballast", disk)), 0);
    drainers_await_more(100);
    load_finish(load);
    drainer_stop(drainer);
    assert_null(strstr(fixture_program_stderr(drainer), "record rejected"));
}

static int end(void **state)
{
    load_end(state);
    return umount2(fixture_format("%s/disk", fixture_folder()), MNT_DETACH);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, story_begin, end),
    };
    enter_own_namespace();
    return cmocka_run_group_tests_name("postgres_full", tests, NULL, NULL);
}
