/* test_producer_close.c: threads that submit while another closes: each is answered CLOSED in the
 * end, and whatever number one of them was given before is in the journal. Threads that come late,
 * when others are open already. Run under ThreadSanitizer too. */
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

/* --- late calls --- */

enum { LATE_ROUNDS = 300 };

/* A producer, and what happened to it. */
struct round {
    blotter_producer *producer;
    _Atomic int accepted, closers;
};
static struct round rounds[LATE_ROUNDS];
static _Atomic int round_now;
static _Atomic int unexpected; /* answers that a late call must not get */

static struct blotter_order order_of_round(int number, char id[32])
{
    snprintf(id, 32, "round %d", number);
    return (struct blotter_order){.order_id = id, .price = "10.100"};
}

static void submit_in_round(struct round *round, int number)
{
    char id[32];
    const struct blotter_order order = order_of_round(number, id);
    int64_t answer = blotter_order(round->producer, &order);
    if (answer > 0) {
        atomic_fetch_add(&round->accepted, 1);
    } else if (answer != BLOTTER_CLOSED && answer != BLOTTER_FULL) {
        atomic_fetch_add(&unexpected, 1);
    }
}

static void ask_in_round(struct round *round)
{
    static _Thread_local struct blotter_stats stats;
    int status = blotter_stats(round->producer, &stats);
    if (status != BLOTTER_OK && status != BLOTTER_CLOSED) {
        atomic_fetch_add(&unexpected, 1);
    }
}

/* Each thread submits a few, closes, and goes on with the handle until there is another one. */
static void *come_late(void *arg)
{
    int thread = (int)((struct submitter *)arg - submitters);
    for (int number = 0; number < LATE_ROUNDS; number = atomic_load(&round_now)) {
        struct round *round = &rounds[number];
        for (int i = 0; i < thread * 4; i++) {
            submit_in_round(round, number);
        }
        ask_in_round(round);
        int64_t closed = blotter_close(round->producer, 0);
        if (closed != BLOTTER_CLOSED) {
            atomic_fetch_add(&round->closers, closed >= 0 ? 1 : LATE_ROUNDS);
        }
        submit_in_round(round, number);
        sched_yield();
    }
    return NULL;
}

static void round_path(char out[96], int number)
{
    snprintf(out, 96, "%s/%d", folder, number);
}

static void open_round(int number)
{
    char at[96];
    round_path(at, number);
    struct blotter_options options = {.exchange = "okx",
                                      .journal = at,
                                      .slots = SLOTS,
                                      .slot_bytes = SLOT_BYTES,
                                      .sender = BLOTTER_SENDER_NONE};
    if (blotter_open(&rounds[number].producer, &options) != 0) {
        fail_msg("%s", blotter_open_error());
    }
}

/* Checks that what was accepted is in this round's journal, and nothing else. */
static void check_round(int number)
{
    char at[96], id[32];
    unsigned char body[256];
    unsigned fields;
    struct record_problem problem;
    int found = 0;
    round_path(at, number);
    if (access(at, F_OK) != 0) { /* nobody recorded anything */
        assert_int_equal(rounds[number].accepted, 0);
        return;
    }
    struct journal *journal = open_at(at);
    const struct blotter_order order = order_of_round(number, id);
    int length = record_encode(RECORD_ORDER, &order, body, sizeof body, &fields, &problem);
    uint64_t next = journal_next(journal);
    for (uint64_t position = journal_cursor(&journal->header->floor); position < next; position++) {
        const struct journal_slot *slot;
        assert_int_equal(journal_read(journal, position, &slot), JOURNAL_RECORD);
        if (slot->kind == RECORD_ORDER) {
            found++;
            assert_int_equal(slot->length, length);
            assert_memory_equal(slot->body, body, (size_t)length);
        }
    }
    assert_int_equal(found, rounds[number].accepted);
    die(journal);
    unlink(at);
}

static void late_calls_are_answered_closed(void **state)
{
    (void)state;
    alarm(120); /* where a late close reaches another producer nobody closes that */
    open_round(0);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&submitters[i].thread, NULL, come_late, &submitters[i]);
    }
    for (int number = 0; number < LATE_ROUNDS; number++) {
        while (atomic_load(&rounds[number].closers) == 0) {
            sched_yield();
        }
        if (number + 1 < LATE_ROUNDS) {
            open_round(number + 1);
        }
        atomic_store(&round_now, number + 1);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(submitters[i].thread, NULL);
    }
    alarm(0);
    assert_int_equal(unexpected, 0);
    for (int number = 0; number < LATE_ROUNDS; number++) {
        assert_int_equal(rounds[number].closers, 1);
        check_round(number);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_accepted_is_in_the_journal),
        TEST(also_with_a_sender_that_finds_no_redis),
        TEST(also_where_each_submit_wakes_the_sender),
        TEST(late_calls_are_answered_closed),
    };
    return cmocka_run_group_tests_name("closing under load", tests, NULL, NULL);
}
