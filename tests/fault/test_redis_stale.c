/* test_redis_stale.c: Redis comes back without its last words: killed, with what it had not yet
 * written; or failed over to a replica that had missed the end. Several producers keep sending;
 * what is missing there is sent again, as soon as they see it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fixture/load.h"

enum { UNREAD = 300 };

/* --- killed --- */

/* The file that Redis appends to. */
static const char *append_only_file(void)
{
    glob_t found;
    if (glob(fixture_format("%s/appendonlydir/*.incr.aof", fixture_redis_folder(story_redis)), 0,
             NULL, &found) != 0 ||
        found.gl_pathc != 1) {
        fixture_fail("there is not one append-only file");
    }
    const char *path = fixture_format("%s", found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static off_t size_of(const char *path)
{
    struct stat stat_of;
    if (stat(path, &stat_of) != 0) {
        fixture_fail("cannot look at %s", path);
    }
    return stat_of.st_size;
}

struct file_size {
    const char *path;
    off_t bytes;
};

static bool is_larger(void *arg)
{
    const struct file_size *than = arg;
    return size_of(than->path) > than->bytes;
}

/* Under appendfsync everysec the last second is in the kernel at best: it is cut off here as a lost
 * machine would have it, in the middle of a record. */
static void what_a_killed_redis_had_not_written_is_sent_again(void **state)
{
    (void)state;
    story_use_redis(fixture_redis_start(
        &(struct fixture_redis_options){.aof = true, .appendfsync = "everysec"}));
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 3, .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 1000);
    load_leave_unread(load, drainer, UNREAD);
    struct file_size kept = {append_only_file(), size_of(append_only_file()) + 1000};
    load_await_accepted(load, UNREAD);
    load_await_stage(load, BLOTTER_SENT);
    assert_true(fixture_wait_until(is_larger, &kept,
                                   STORY_TIMEOUT_MS)); /* it writes later where the disk is slow */
    fixture_redis_kill9(story_redis);
    assert_int_equal(truncate(kept.path, kept.bytes), 0);
    fixture_redis_start_again(story_redis);
    fixture_program_signal(drainer, SIGCONT);
    load_await_accepted(load, 1000);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    assert_true(load_totals(load).resent >= UNREAD - 10);
    load_finish(load);
}

static void redis_may_be_killed_again_and_again(void **state)
{
    (void)state;
    story_use_redis(fixture_redis_start(
        &(struct fixture_redis_options){.aof = true, .appendfsync = "everysec"}));
    story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 3, .per_second = LOAD_PER_SECOND});
    for (int i = 0; i < 3; i++) {
        load_await_accepted(load, 500);
        fixture_redis_kill9(story_redis);
        load_await_accepted(load, 200);
        fixture_redis_start_again(story_redis);
    }
    load_await_accepted(load, 500);
    load_finish(load);
}

/* --- failed over --- */

static bool is_in_step(void *replica)
{
    const char *info = fixture_redis_run(replica, "INFO replication");
    return strstr(info, "master_link_status:up") != NULL &&
           strstr(info, "master_sync_in_progress:1") == NULL;
}

/* Its clients find the replica at the address of the one that is dead. */
static void take_the_place(struct fixture_redis *replica, struct fixture_redis *dead)
{
    if (rename(fixture_redis_socket(replica), fixture_redis_socket(dead)) != 0) {
        fixture_fail("cannot rename the socket");
    }
}

static bool resend_is_told(void *load)
{
    return load_totals(load).resent >= UNREAD;
}

/* And not after a silence, or because of it. */
static void assert_noticed_at_once(struct load *load)
{
    assert_true(fixture_wait_until(resend_is_told, load, STORY_TIMEOUT_MS));
    for (int i = 0; i < 3; i++) {
        if (load_told(load, i, BLOTTER_EVENT_RESEND) > 0) {
            story_assert_says(load_text(load, i, BLOTTER_EVENT_RESEND),
                              "Redis does not have the newest or the oldest of them");
        }
    }
}

static void what_a_stale_replica_has_missed_is_sent_again(void **state)
{
    (void)state;
    struct fixture_redis *master =
        fixture_redis_start(&(struct fixture_redis_options){.tcp = true});
    struct fixture_redis *replica =
        fixture_redis_start(&(struct fixture_redis_options){.replica_of = master});
    story_use_redis(master);
    struct fixture_program *drainer = story_drainer("d1");
    struct load *load =
        load_start(&(struct load_options){.producers = 3, .per_second = LOAD_PER_SECOND});
    load_await_accepted(load, 1000);
    assert_true(fixture_wait_until(is_in_step, replica, STORY_TIMEOUT_MS));
    load_leave_unread(load, drainer, UNREAD);
    fixture_redis_run(
        replica,
        "REPLICAOF NO ONE"); /* from here on it misses all: sent, delivered, acknowledged, said */
    fixture_program_signal(drainer, SIGCONT);
    load_await_accepted(load, 1000);
    load_leave_unread(load, drainer, UNREAD);
    fixture_redis_kill9(master);
    take_the_place(replica, master);
    assert_noticed_at_once(load);
    fixture_program_signal(drainer, SIGCONT);
    load_await_accepted(load, 1000);
    load_stop(load);
    load_await_stage(load, BLOTTER_COMMITTED);
    load_finish(load);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, load_end)
    const struct CMUnitTest tests[] = {
        TEST(what_a_killed_redis_had_not_written_is_sent_again),
        TEST(redis_may_be_killed_again_and_again),
        TEST(what_a_stale_replica_has_missed_is_sent_again),
    };
    return cmocka_run_group_tests_name("redis_stale", tests, NULL, NULL);
}
