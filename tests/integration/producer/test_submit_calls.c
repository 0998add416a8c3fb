/* test_submit_calls.c: submitting makes no system call and allocates nothing, whatever it answers
 * and whatever has died.
 *
 * A child opens a producer; each case is a thread of its own there, so that what a thread's first
 * submit would have to set up is seen too. Its system calls are counted by the test, which traces
 * it; its allocations by an allocator that stands in front of libc's, or where a sanitizer has its
 * own, by the sanitizer. That both do count is the first case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/fixture.h"
#include "tests/fixture/servers.h"
#include "tests/fixture/traced.h"

enum { ROUNDS = 500, CASES_MAX = 24, SLOTS = 4096 };

/* --- counting --- */

/* The answer and the cost of one case. The child shares it. */
struct cost {
    char name[64];
    int64_t expected;    /* 1: accepted */
    unsigned unexpected; /* answers that were other */
    unsigned submits, calls, allocations;
    long call; /* the last one made */
    unsigned calls_allowed;
};

static struct {
    volatile bool counting;
    volatile unsigned count; /* cases begun */
    struct cost cases[CASES_MAX];
} * seen;

static _Thread_local __attribute__((tls_model("initial-exec"))) bool counting;
static _Thread_local __attribute__((tls_model("initial-exec"))) unsigned allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *memory, size_t size)
{
    (void)memory, (void)size;
    allocations += counting;
}

static void on_free(const volatile void *memory)
{
    (void)memory;
    allocations += counting;
}

static void count_allocations(void)
{
    if (__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) == 0) {
        abort();
    }
}

#else

#define ALLOCATOR __attribute__((visibility("default")))
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

ALLOCATOR void *malloc(size_t size)
{
    allocations += counting;
    return __libc_malloc(size);
}

ALLOCATOR void *calloc(size_t count, size_t size)
{
    allocations += counting;
    return __libc_calloc(count, size);
}

ALLOCATOR void *realloc(void *memory, size_t size)
{
    allocations += counting;
    return __libc_realloc(memory, size);
}

ALLOCATOR void *aligned_alloc(size_t alignment, size_t size)
{
    allocations += counting;
    return __libc_memalign(alignment, size);
}

ALLOCATOR void free(void *memory)
{
    allocations += counting;
    __libc_free(memory);
}

static void count_allocations(void) {}

#endif

/* --- what is called --- */

/* The library as it is linked, or as it is loaded. */
static struct library {
    int (*open)(blotter_producer **, const struct blotter_options *);
    int64_t (*order)(blotter_producer *, const struct blotter_order *);
    int64_t (*trade)(blotter_producer *, const struct blotter_trade *);
    int (*stats)(blotter_producer *, struct blotter_stats *);
    int64_t (*close)(blotter_producer *, int);
} library = {blotter_open, blotter_order, blotter_trade, blotter_stats, blotter_close};

static struct fixture_redis *redis;
static char long_text[1000];

static const struct blotter_order good_order = {.exchange_time = INT64_C(1700000000123456789),
                                                .symbol = "BTC/USDT",
                                                .order_id = "4611686",
                                                .client_order_id = "mm-17",
                                                .side = "buy",
                                                .type = "limit",
                                                .status = "open",
                                                .price = "67123.10",
                                                .trigger_price = "-1.5E-3",
                                                .quantity = "0.250",
                                                .post_only = BLOTTER_TRUE,
                                                .reason = "\xc3\xa4 letter beyond ASCII",
                                                .extra = "{\"a\": [1, 2.50, {\"b\": null}]}"};
static const struct blotter_trade good_trade = {
    .symbol = "BTC/USDT", .price = "67123.10", .quantity = "1E-8"};
static const struct blotter_order bad_order = {.symbol = "BTC/USDT", .price = "1"};
static const struct blotter_trade bad_trade = {.symbol = "BTC/USDT", .price = "1"};
static const struct blotter_order long_order = {.order_id = "1", .strategy = long_text};
static const struct blotter_trade long_trade = {.symbol = long_text, .price = "1", .quantity = "1"};

/* --- the child --- */

struct job {
    blotter_producer *producer;
    const struct blotter_order *order; /* NULL: a call and an allocation are made instead */
    const struct blotter_trade *trade;
    unsigned rounds;
    struct cost *cost;
};

static int64_t submit(const struct job *job, unsigned number)
{
    if (job->order == NULL) {
        void *volatile memory = malloc(100);
        free(memory);
        return syscall(SYS_getppid) > 0;
    }
    if (number & 1) {
        return library.trade(job->producer, job->trade);
    }
    return library.order(job->producer, job->order);
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    traced_begin();
    allocations = 0;
    for (unsigned i = 0; i < job->rounds; i++) {
        seen->counting = counting = true;
        int64_t answer = submit(job, i);
        seen->counting = counting = false;
        job->cost->unexpected += (answer > 0 ? 1 : answer) != job->cost->expected;
        job->cost->submits++;
    }
    job->cost->allocations = allocations;
    return NULL;
}

/* A thread that submits `rounds` times, and expects each time to be answered so. */
static struct cost *run(const char *name, blotter_producer *producer, int64_t expected,
                        const struct blotter_order *order, const struct blotter_trade *trade,
                        unsigned rounds)
{
    pthread_t thread;
    struct job job = {producer, order, trade, rounds, &seen->cases[seen->count]};
    snprintf(job.cost->name, sizeof job.cost->name, "%s", name);
    job.cost->expected = expected;
    seen->count++;
    if (pthread_create(&thread, NULL, run_job, &job) != 0 || pthread_join(thread, NULL) != 0) {
        _exit(90);
    }
    return job.cost;
}

static blotter_producer *open_with(struct blotter_options options, const char *journal)
{
    blotter_producer *producer;
    options.exchange = "kraken";
    options.redis = fixture_redis_url(redis);
    options.journal = fixture_format("%s/%s", fixture_folder(), journal);
    options.slots = options.slots ? options.slots : SLOTS;
    if (library.open(&producer, &options) != 0) {
        _exit(91);
    }
    return producer;
}

static bool redis_is(blotter_producer *producer, int64_t up)
{
    struct blotter_stats stats;
    int64_t until = fixture_now_ms() + 20000;
    while (fixture_now_ms() < until) {
        if (library.stats(producer, &stats) == 0 && stats.redis_up == up) {
            return true;
        }
        fixture_sleep_ms(5);
    }
    return false;
}

static void lose_redis(blotter_producer *producer)
{
    if (!redis_is(producer, 1) || kill(fixture_redis_pid(redis), SIGKILL) != 0 ||
        !redis_is(producer, 0)) {
        _exit(92);
    }
}

/* The sender makes room by letting go what it has sent, until there is no more of that. */
static void fill(blotter_producer *producer)
{
    while (library.order(producer, &good_order) > 0) {
        while (library.order(producer, &good_order) > 0)
            ;
        fixture_sleep_ms(300);
    }
}

static void every_answer(void *arg)
{
    (void)arg;
    run("a system call and an allocation", NULL, 1, NULL, NULL, ROUNDS);
    blotter_producer *producer = open_with((struct blotter_options){0}, "j");
    run("the first of a producer", producer, 1, &good_order, &good_trade, 2);
    run("accepted", producer, 1, &good_order, &good_trade, ROUNDS);
    fixture_sleep_ms(1100); /* the clock is compared with the wall's once a second */
    run("accepted a second later", producer, 1, &good_order, &good_trade, ROUNDS);
    run("not valid", producer, BLOTTER_INVALID, &bad_order, &bad_trade, ROUNDS);
    run("too long", producer, BLOTTER_TOO_LONG, &long_order, &long_trade, ROUNDS);
    lose_redis(producer);
    run("accepted while Redis is down", producer, 1, &good_order, &good_trade, ROUNDS);
    fill(producer);
    run("full", producer, BLOTTER_FULL, &good_order, &good_trade, ROUNDS);
    library.close(producer, 0);
    run("closed", producer, BLOTTER_CLOSED, &good_order, &good_trade, ROUNDS);
}

static void other_producers(void *arg)
{
    run("of the parent", arg, BLOTTER_FORKED, &good_order, &good_trade, ROUNDS);
    blotter_producer *none =
        open_with((struct blotter_options){.sender = BLOTTER_SENDER_NONE}, "none");
    run("without a sender", none, 1, &good_order, &good_trade, ROUNDS);
    blotter_producer *large =
        open_with((struct blotter_options){.slot_bytes = 65536, .slots = 1024}, "large");
    run("large slots", large, 1, &good_order, &good_trade, ROUNDS);
    blotter_producer *waking = open_with((struct blotter_options){.wake = 1}, "waking");
    run("waking the sender", waking, 1, &good_order, &good_trade, ROUNDS)->calls_allowed = ROUNDS;
    library.close(none, 0);
    library.close(large, 0);
    library.close(waking, 0);
}

/* --- the tests --- */

static int start(void **state)
{
    (void)state;
    redis = fixture_redis_start(NULL);
    seen = traced_shared(sizeof *seen);
    memset(long_text, 'x', sizeof long_text - 1);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_cleanup();
    return 0;
}

static void count_calls(void (*body)(void *arg), void *arg)
{
    enum traced_stop stop;
    traced_start(body, arg);
    do {
        struct cost *cost = &seen->cases[seen->count - 1];
        stop = traced_go(TRACED_TO_SYSTEM_CALL);
        long call = stop == TRACED_AT_SYSTEM_CALL && seen->counting ? traced_system_call() : -1;
        if (call >= 0) {
            cost->calls++;
            cost->call = call;
        }
    } while (stop != TRACED_ENDED);
}

static void check_case(const struct cost *cost)
{
    print_message("%-32s %4u submits %4u system calls %4u allocations\n", cost->name, cost->submits,
                  cost->calls, cost->allocations);
    assert_int_equal(cost->unexpected, 0);
    assert_int_equal(cost->allocations, 0);
    if (cost->calls > 0) {
        assert_int_equal(cost->call, SYS_write); /* the eventfd */
    }
    assert_in_range(cost->calls, 0, cost->calls_allowed);
}

static void no_answer_costs_a_system_call_or_an_allocation(void **state)
{
    (void)state;
    count_calls(every_answer, NULL);
    assert_int_equal(seen->count, 9);
    assert_true(seen->cases[0].calls >= ROUNDS); /* a thread's first allocation makes some too */
    assert_int_equal(seen->cases[0].allocations, 2 * ROUNDS);
    for (unsigned i = 1; i < seen->count; i++) {
        check_case(&seen->cases[i]);
    }
}

static void nor_does_a_library_that_was_loaded(void **state)
{
    (void)state;
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    assert_true(length > 0);
    path[length] = 0;
    strcpy(strstr(path, "/tests/integration/"), "/libblotter.so");
    struct library linked = library;
    void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        fail_msg("%s", dlerror());
    }
    *(void **)&library.open = dlsym(handle, "blotter_open");
    *(void **)&library.order = dlsym(handle, "blotter_order");
    *(void **)&library.trade = dlsym(handle, "blotter_trade");
    *(void **)&library.stats = dlsym(handle, "blotter_stats");
    *(void **)&library.close = dlsym(handle, "blotter_close");
    assert_ptr_not_equal(library.order, linked.order);
    no_answer_costs_a_system_call_or_an_allocation(state);
    library = linked;
}

static void only_waking_the_sender_is_a_call(void **state)
{
    (void)state;
    blotter_producer *ours =
        open_with((struct blotter_options){.sender = BLOTTER_SENDER_NONE}, "parent");
    count_calls(other_producers, ours);
    assert_int_equal(seen->count, 4);
    for (unsigned i = 0; i < seen->count; i++) {
        check_case(&seen->cases[i]);
    }
    library.close(ours, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_answer_costs_a_system_call_or_an_allocation),
        TEST(nor_does_a_library_that_was_loaded),
        TEST(only_waking_the_sender_is_a_call),
    };
    count_allocations();
    return cmocka_run_group_tests_name("what submitting costs", tests, NULL, NULL);
}
