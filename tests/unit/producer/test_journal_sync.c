/* test_journal_sync.c: with sync = interval, what was accepted before the last sync survives the
 * loss of power.
 *
 * What would be on the disk then: msync stands here in front of libc's, so it is known what the
 * file held when the last one that has ended began; that much is on the disk, by what msync
 * promises. Of what was written later each sector may be there or not, and in any order. So a file
 * is made of both, sector by sector as chance has it, as another boot of the machine would find it;
 * and of that everything that submit had returned before that msync must be there, whole, and
 * nothing that is not. */
#include "tests/unit/journals.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/unit/random_input.h"

enum {
    RING_SLOTS = 1024,
    RING_SLOT_BYTES = 1024,
    RING_BYTES = RING_SLOTS * RING_SLOT_BYTES + 2 * JOURNAL_PAGE_BYTES
};
enum {
    SECTOR_BYTES = 512,
    FORMER = 900,
    RECORDS = RING_SLOTS - 100,
    SYNC_INTERVAL_MS = 10,
    TEXT_BYTES = 920
};

/* --- what is on the disk --- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    unsigned char bytes[RING_BYTES];
    _Atomic int64_t accepted; /* the last seq that had been returned when the msync began */
    _Atomic unsigned syncs;
} disk;
static _Atomic int64_t accepted; /* the last seq that was returned */
static int submitted;
static _Atomic bool disk_is_broken;
static _Atomic unsigned told_not_synced, told_synced;
static int
    number_of[2 * RING_SLOTS]; /* which submit was returned that seq; 0: none, it is a heartbeat */

int msync(void *address, size_t length, int flags);

__attribute__((visibility("default"))) int msync(void *address, size_t length, int flags)
{
    static unsigned char bytes[RING_BYTES];
    static int64_t before;
    bool slots = length == RING_BYTES - JOURNAL_PAGE_BYTES;
    if (slots) { /* they come first */
        before = atomic_load(&accepted);
    }
    memcpy(bytes + (slots ? JOURNAL_PAGE_BYTES : 0), address, length);
    bool whole = length == JOURNAL_PAGE_BYTES && (flags & MS_SYNC);
    int result = (int)syscall(SYS_msync, address, length, flags);
    if (disk_is_broken) {
        errno = EIO;
        result = -1;
    }
    pthread_mutex_lock(&mutex);
    if (whole && result == 0) {
        memcpy(disk.bytes, bytes, sizeof bytes);
        disk.accepted = before;
    }
    disk.syncs += whole || result != 0;
    pthread_mutex_unlock(&mutex);
    return result;
}

/* --- records that are told by their number --- */

static struct blotter_order order_of(int number, char text[TEXT_BYTES])
{
    int length = snprintf(text, TEXT_BYTES, "order %d ", number);
    memset(text + length, 'a' + number % 26, (size_t)(TEXT_BYTES - length));
    text[400 + number % 500] = 0; /* most lie in two sectors */
    return (struct blotter_order){.order_id = text, .price = "10.100"};
}

static void check_slot(const struct journal_slot *slot)
{
    unsigned char body[RING_SLOT_BYTES];
    char text[TEXT_BYTES];
    unsigned fields;
    struct record_problem problem;
    assert_true(number_of[slot->seq] > 0);
    struct blotter_order order = order_of(number_of[slot->seq], text);
    int length = record_encode(RECORD_ORDER, &order, body, sizeof body, &fields, &problem);
    assert_int_equal(slot->length, length);
    assert_memory_equal(slot->body, body, (size_t)length);
}

/* --- the loss of power --- */

/* Returns the last seq that must be there. */
static int64_t make_remains(const struct journal_header *now, unsigned char *image)
{
    pthread_mutex_lock(&mutex);
    for (size_t at = 0; at < RING_BYTES; at += SECTOR_BYTES) {
        memcpy(image + at, random_below(2) ? disk.bytes + at : (const unsigned char *)now + at,
               SECTOR_BYTES);
    }
    int64_t safe = disk.accepted;
    pthread_mutex_unlock(&mutex);
    return safe;
}

/* The file is the one it was; the boot is another. */
static void write_remains(const char *to, unsigned char *image)
{
    struct journal_owner *owner = &((struct journal_header *)(void *)image)->owner;
    struct stat st;
    write_file(to, image, RING_BYTES);
    assert_int_equal(stat(to, &st), 0);
    assert_true(journal_owner_valid(owner, JOURNAL_VERSION));
    owner->inode = st.st_ino;
    memset(owner->boot, 'x', 36);
    journal_owner_seal(owner, JOURNAL_VERSION);
    write_file(to, image, RING_BYTES);
}

static void lose_power(const struct journal_header *now, int64_t producer_id)
{
    static unsigned char image[RING_BYTES];
    char remains[JOURNAL_PATH_BYTES + 8];
    snprintf(remains, sizeof remains, "%s.after", path);
    int64_t safe = make_remains(now, image), found = 0, expected = 0;
    for (int64_t seq = 1; seq <= safe; seq++) {
        expected += number_of[seq] > 0;
    }
    write_remains(remains, image);
    struct journal *journal = open_at(remains);
    for (uint64_t position = journal_cursor(&journal->header->floor);
         position < journal_next(journal); position++) {
        const struct journal_slot *slot;
        if (journal_read(journal, position, &slot) != JOURNAL_RECORD ||
            slot->producer_id != producer_id || slot->kind != RECORD_ORDER) {
            continue;
        }
        check_slot(slot);
        found += slot->seq <= safe;
    }
    assert_int_equal(found, expected);
    assert_int_equal(journal->found.voided, 0); /* nobody knows */
    die(journal);
}

/* --- the tests --- */

/* So that the ring begins anew among the records that count. */
static void leave_a_lap(void)
{
    struct journal *journal;
    struct journal_options options = both;
    options.slots = RING_SLOTS;
    options.slot_bytes = RING_SLOT_BYTES;
    if (journal_open(&journal, path, &options, error) != 0) {
        fail_msg("%s", error);
    }
    for (unsigned i = 0; i < FORMER; i++) {
        add(journal, i);
    }
    uint64_t next = journal_next(journal);
    journal_cursor_set(&journal->header->sent, next);
    journal_cursor_set(&journal->header->committed, next);
    journal_cursor_set(&journal->header->floor, next);
    die(journal);
}

static void on_event(void *arg, enum blotter_event event, const char *text)
{
    (void)arg;
    told_not_synced += event == BLOTTER_EVENT_NOT_SYNCED && strstr(text, strerror(EIO)) != NULL &&
                       strstr(text, path) != NULL;
    told_synced += event == BLOTTER_EVENT_SYNCED && strcmp(text, path) == 0;
}

static blotter_producer *begin(enum blotter_sync sync)
{
    blotter_producer *producer;
    leave_a_lap();
    memset(number_of, 0, sizeof number_of);
    submitted = 0;
    disk.syncs = 0;
    disk.accepted = accepted = 0;
    struct blotter_options options = {.exchange = "okx",
                                      .journal = path,
                                      .redis = "unix:///nowhere/redis.sock",
                                      .on_event = on_event,
                                      .sync = sync,
                                      .sync_interval_ms = SYNC_INTERVAL_MS};
    if (blotter_open(&producer, &options) != 0) {
        fail_msg("%s", blotter_open_error());
    }
    return producer;
}

static const struct journal_header *map_journal(void)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    void *map = mmap(NULL, RING_BYTES, PROT_READ, MAP_SHARED, fileno(file), 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    fclose(file);
    return map;
}

static void submit_one(blotter_producer *producer)
{
    char text[TEXT_BYTES];
    struct blotter_order order = order_of(++submitted, text);
    int64_t seq = blotter_order(producer, &order);
    assert_in_range(seq, 1, sizeof number_of / sizeof number_of[0] - 1);
    number_of[seq] = submitted;
    atomic_store(&accepted, seq);
}

static void what_was_accepted_before_the_last_sync_survives(void **state)
{
    (void)state;
    blotter_producer *producer = begin(BLOTTER_SYNC_INTERVAL);
    const struct journal_header *now = map_journal();
    int64_t producer_id = now->owner.producer_id, safe_before = 0;
    unsigned losses = 0, moved = 0;
    for (int i = 0; i < RECORDS; i++) {
        submit_one(producer);
        usleep(500);
        if (disk.accepted == 0 || random_below(8) > 0) {
            continue;
        }
        lose_power(now, producer_id);
        losses++;
        moved += disk.accepted > safe_before;
        safe_before = disk.accepted;
    }
    print_message("%u syncs, power lost %u times\n", disk.syncs, losses);
    assert_true(losses > 20 && moved > 5 && disk.accepted > RING_SLOTS - FORMER);
    munmap((void *)(uintptr_t)now, RING_BYTES);
    blotter_close(producer, 0);
}

static void without_sync_the_kernel_writes_when_it_likes(void **state)
{
    (void)state;
    blotter_producer *producer = begin(BLOTTER_SYNC_NONE);
    for (int i = 0; i < 100; i++) {
        submit_one(producer);
        usleep(1000);
    }
    blotter_close(producer, 0);
    assert_int_equal(disk.syncs, 0);
}

static void await_syncs(unsigned more)
{
    for (unsigned want = disk.syncs + more; disk.syncs < want;) {
        usleep(1000);
    }
}

static void a_disk_that_refuses_is_told_once_and_when_it_is_over(void **state)
{
    (void)state;
    blotter_producer *producer = begin(BLOTTER_SYNC_INTERVAL);
    await_syncs(3);
    assert_int_equal(told_not_synced + told_synced, 0);
    disk_is_broken = true;
    submit_one(producer);
    await_syncs(5);
    assert_int_equal(told_not_synced, 1);
    disk_is_broken = false;
    await_syncs(5);
    assert_int_equal(told_not_synced, 1);
    assert_int_equal(told_synced, 1);
    blotter_close(producer, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    random_begin();
    const struct CMUnitTest tests[] = {
        TEST(what_was_accepted_before_the_last_sync_survives),
        TEST(a_disk_that_refuses_is_told_once_and_when_it_is_over),
        TEST(without_sync_the_kernel_writes_when_it_likes),
    };
    return cmocka_run_group_tests_name("loss of power", tests, NULL, NULL);
}
