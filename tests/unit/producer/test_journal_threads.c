/* test_journal_threads.c: submitters against a sender that raises floor and goes back: nothing
 * unsent is ever overwritten, no seq is missing, time does not go back. Run under ThreadSanitizer
 * too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "producer/journal.h"
#include "producer/journal_open.h"
#include "producer/journal_recover.h"

enum { THREADS = 4, RECORDS_EACH = 20000, SLOTS = 256, SLOT_BYTES = 256 };

static struct journal *journal;
static _Atomic int running;
static int64_t accepted[THREADS];

struct payload {
    uint32_t thread, number;
    unsigned char rest[64];
};

static void *submit(void *arg)
{
    uint32_t thread = (uint32_t)(uintptr_t)arg;
    struct payload payload = {.thread = thread};
    int64_t last = 0;
    while (payload.number < RECORDS_EACH) {
        memset(payload.rest, (int)(payload.number & 255), sizeof payload.rest);
        int64_t seq =
            journal_append(journal, RECORD_ORDER, (unsigned char *)&payload, sizeof payload, 1);
        if (seq == BLOTTER_FULL) {
            sched_yield();
            continue;
        }
        if (seq <= last) {
            break; /* the count will be short */
        }
        last = seq;
        payload.number++;
    }
    accepted[thread] = payload.number;
    atomic_fetch_sub(&running, 1);
    return NULL;
}

struct reading {
    uint64_t position; /* the next one to read */
    uint64_t furthest; /* the first one that was never read */
    uint32_t next_number[THREADS];
    int64_t recorded_at_ns;
    struct payload first[SLOTS]; /* what was read at each place when it was read first */
};

/* Checks a record that was not read before against all that was. */
static void take(struct reading *reading, const struct journal_slot *slot)
{
    assert_int_equal(slot->seq, reading->position);
    assert_int_equal(slot->producer_id, journal->producer_id);
    assert_true(slot->recorded_at_ns >= reading->recorded_at_ns);
    reading->recorded_at_ns = slot->recorded_at_ns;
    reading->furthest++;
    if (slot->kind != RECORD_ORDER) {
        return;
    }
    struct payload payload;
    memcpy(&payload, slot->body, sizeof payload);
    assert_true(payload.thread < THREADS);
    assert_int_equal(payload.number, reading->next_number[payload.thread]);
    assert_int_equal(payload.rest[13], payload.number & 255);
    reading->next_number[payload.thread]++;
    reading->first[reading->position % SLOTS] = payload;
}

/* One that is read again is what it was. */
static void take_again(const struct reading *reading, const struct journal_slot *slot)
{
    assert_int_equal(slot->seq, reading->position);
    if (slot->kind == RECORD_ORDER) {
        assert_memory_equal(slot->body, &reading->first[reading->position % SLOTS],
                            sizeof(struct payload));
    }
}

static bool read_next(struct reading *reading)
{
    const struct journal_slot *slot;
    enum journal_read read = journal_read(journal, reading->position, &slot);
    if (read == JOURNAL_NOTHING_YET) {
        /* and not one of a later lap in its place */
        assert_true(atomic_load(&journal_slot_at(journal, reading->position)->published) <=
                    reading->position);
        return false;
    }
    assert_int_equal(read, JOURNAL_RECORD);
    if (reading->position < reading->furthest) {
        take_again(reading, slot);
    } else {
        take(reading, slot);
    }
    reading->position++;
    return true;
}

/* When the ring is nearly full the oldest sent ones are let go. */
static void make_room(struct journal_header *header)
{
    uint64_t floor = journal_cursor(&header->floor), held = journal_next(journal) - floor,
             sent = journal_cursor(&header->sent);
    if (held > SLOTS / 8 * 7) {
        uint64_t target = floor + held - SLOTS / 8 * 7;
        journal_cursor_set(&header->floor, target < sent ? target : sent);
    }
}

/* The fake sender: reads ahead, is answered, goes back when the link is lost, and behind what is
 * sent when there is no word of it. */
static void read_all(struct reading *reading)
{
    struct journal_header *header = journal->header;
    for (unsigned turn = 1;; turn++) {
        bool over = atomic_load(&running) == 0;
        if (!read_next(reading)) {
            if (over) {
                break;
            }
            sched_yield();
        }
        if (turn % 61 == 0) {
            journal_cursor_set(&header->sent, reading->position);
        }
        if (turn % 1009 == 0) {
            journal_cursor_set(&header->floor,
                               journal_cursor(&header->sent)); /* the word has come */
        }
        if (turn % 251 == 0) {
            reading->position = journal_cursor(&header->sent);
        }
        if (turn % 509 == 0) {
            reading->position = journal_cursor(&header->floor);
            journal_cursor_set(&header->sent, reading->position);
        }
        make_room(header);
    }
}

static void nothing_unsent_is_overwritten(void **state)
{
    (void)state;
    char path[64], error[JOURNAL_ERROR_BYTES];
    static struct reading reading;
    reading = (struct reading){.position = 1, .furthest = 1};
    pthread_t threads[THREADS];
    snprintf(path, sizeof path, "/tmp/test_journal_threads.%d", (int)getpid());
    struct journal_options options = {.exchange = "okx",
                                      .slots = SLOTS,
                                      .slot_bytes = SLOT_BYTES,
                                      .write = true,
                                      .send = true,
                                      .create = true};
    if (journal_open(&journal, path, &options, error) != 0) {
        fail_msg("%s", error);
    }
    atomic_store(&running, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, submit, (void *)i);
    }
    read_all(&reading);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(accepted[i], RECORDS_EACH);
        assert_int_equal(reading.next_number[i], RECORDS_EACH);
    }
    assert_int_equal(reading.position, 2 + THREADS * RECORDS_EACH); /* `opened` is the first */
    journal_close_writing(journal);
    journal_release(journal);
    unlink(path);
}

static _Atomic int64_t last_seq;

static void *submit_until_closed(void *arg)
{
    (void)arg;
    unsigned char body[64] = {0};
    for (;;) {
        int64_t seq = journal_append(journal, RECORD_TRADE, body, sizeof body, 1);
        if (seq == BLOTTER_CLOSED) {
            return NULL;
        }
        int64_t seen = atomic_load(&last_seq);
        while (seq > seen && !atomic_compare_exchange_weak(&last_seq, &seen, seq))
            ;
    }
}

static void submitting_while_the_journal_is_released_gets_closed(void **state)
{
    (void)state;
    char path[64], error[JOURNAL_ERROR_BYTES];
    snprintf(path, sizeof path, "/tmp/test_journal_threads.%d", (int)getpid());
    struct journal_options options = {.exchange = "okx",
                                      .slots = 65536,
                                      .slot_bytes = SLOT_BYTES,
                                      .write = true,
                                      .send = true,
                                      .create = true};
    for (int round = 0; round < 20; round++) {
        pthread_t threads[THREADS];
        unlink(path);
        atomic_store(&last_seq, 0);
        if (journal_open(&journal, path, &options, error) != 0) {
            fail_msg("%s", error);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, submit_until_closed, NULL);
        }
        while (atomic_load(&last_seq) == 0) { /* without a record the file is removed */
            usleep(100);
        }
        usleep(500);
        journal_close_writing(journal);
        journal_release(journal);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        struct journal_picture picture;
        if (journal_inspect(path, &picture, error) != 0) {
            fail_msg("%s", error);
        }
        assert_int_equal(picture.unpublished + picture.damaged, 0);
        assert_true((int64_t)picture.next > atomic_load(&last_seq));
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_unsent_is_overwritten),
        cmocka_unit_test(submitting_while_the_journal_is_released_gets_closed),
    };
    return cmocka_run_group_tests_name("journal threads", tests, NULL, NULL);
}
