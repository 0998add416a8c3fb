/* test_producer_close.c: threads that submit while another closes: each is answered CLOSED in the
 * end, and whatever number one of them was given before is in the journal. Run under
 * ThreadSanitizer too. */
#include "tests/unit/journals.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

enum { THREADS = 4, ANSWERS_MAX = 35000, ROUNDS = 60, RING_SLOTS = 32768 };

static blotter_producer *producer;

static struct submitter {
    pthread_t thread;
    int count;
    int64_t answers[ANSWERS_MAX];
} submitters[THREADS];

static struct blotter_order order_of(int submitter, int number, char id[32])
{
    snprintf(id, 32, "%d of %d", number, submitter);
    return (struct blotter_order){.order_id = id, .price = "10.100"};
}

static void *submit_until_closed(void *arg)
{
    struct submitter *submitter = arg;
    char id[32];
    while (submitter->count < ANSWERS_MAX) {
        struct blotter_order order = order_of((int)(submitter - submitters), submitter->count, id);
        int64_t answer = blotter_order(producer, &order);
        submitter->answers[submitter->count] = answer;
        if (answer == BLOTTER_FULL) {
            sched_yield();
        } else {
            submitter->count++;
        }
        if (answer < 0 && answer != BLOTTER_FULL) {
            break;
        }
    }
    return NULL;
}

/* Calls the functions that are allowed at any time. */
static void *ask_until_closed(void *arg)
{
    struct blotter_stats stats;
    (void)arg;
    while (blotter_stats(producer, &stats) == BLOTTER_OK &&
           blotter_flush(producer, BLOTTER_SENT, 0) != BLOTTER_CLOSED) {
        sched_yield();
    }
    return NULL;
}

static void check_answer(const struct journal *journal, int submitter, int number)
{
    unsigned char body[256];
    char id[32];
    unsigned fields;
    struct record_problem problem;
    struct blotter_order order = order_of(submitter, number, id);
    int length = record_encode(RECORD_ORDER, &order, body, sizeof body, &fields, &problem);
    const struct journal_slot *slot;
    int64_t seq = submitters[submitter].answers[number];
    assert_int_equal(journal_read(journal, (uint64_t)seq, &slot),
                     JOURNAL_RECORD); /* a new file: seq is the position */
    assert_int_equal(slot->seq, seq);
    assert_int_equal(slot->length, length);
    assert_memory_equal(slot->body, body, (size_t)length);
}

static int check_submitter(const struct journal *journal, int which)
{
    const struct submitter *submitter = &submitters[which];
    int accepted = submitter->count - 1;
    assert_true(submitter->count > 0 && submitter->count < ANSWERS_MAX);
    assert_int_equal(submitter->answers[accepted], BLOTTER_CLOSED);
    for (int i = 0; i < accepted; i++) {
        check_answer(journal, which, i);
    }
    return accepted;
}

/* Returns how many were accepted. */
static int close_under_load(enum blotter_sender sender, int wake, int after_us)
{
    struct blotter_options options = {.exchange = "okx",
                                      .journal = path,
                                      .redis = "unix:///nowhere/redis.sock",
                                      .slots = RING_SLOTS,
                                      .slot_bytes = SLOT_BYTES,
                                      .sender = sender,
                                      .wake = wake};
    pthread_t asker;
    int accepted = 0;
    assert_int_equal(blotter_open(&producer, &options), 0);
    for (int i = 0; i < THREADS; i++) {
        submitters[i].count = 0;
        pthread_create(&submitters[i].thread, NULL, submit_until_closed, &submitters[i]);
    }
    pthread_create(&asker, NULL, ask_until_closed, NULL);
    usleep((useconds_t)after_us);
    int64_t unsent = blotter_close(producer, 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(submitters[i].thread, NULL);
    }
    pthread_join(asker, NULL);
    struct journal *journal = open_at(path);
    for (int i = 0; i < THREADS; i++) {
        accepted += check_submitter(journal, i);
    }
    bool has_closed = accepted + 1 < RING_SLOTS;
    if (accepted > 0 || unsent != 0) { /* else nobody came to write `opened` */
        assert_int_equal(unsent, 1 + accepted + has_closed);
    }
    die(journal);
    unlink(path);
    return accepted;
}

static void close_repeatedly(enum blotter_sender sender, int wake)
{
    int accepted = 0;
    for (int round = 0; round < ROUNDS; round++) {
        accepted += close_under_load(sender, wake, round % 15 * 50);
    }
    print_message("%d accepted\n", accepted);
    assert_true(accepted > 0);
}

static void what_was_accepted_is_in_the_journal(void **state)
{
    (void)state;
    close_repeatedly(BLOTTER_SENDER_NONE, 0);
}

static void also_with_a_sender_that_finds_no_redis(void **state)
{
    (void)state;
    close_repeatedly(BLOTTER_SENDER_THREAD, 0);
}

static void also_where_each_submit_wakes_the_sender(void **state)
{
    (void)state;
    close_repeatedly(BLOTTER_SENDER_THREAD, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_accepted_is_in_the_journal),
        TEST(also_with_a_sender_that_finds_no_redis),
        TEST(also_where_each_submit_wakes_the_sender),
    };
    return cmocka_run_group_tests_name("closing under load", tests, NULL, NULL);
}
