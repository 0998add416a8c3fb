/* test_producer_limits.c: the library inside a process that runs out of something, cancels its
 * threads, or closes twice: it answers a status, and harms nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "producer/blotter.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/dev/shm/test_limits.XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static struct blotter_options small_options(void)
{
    return (struct blotter_options){.exchange = "okx",
                                    .journal = folder,
                                    .redis = "unix:///nowhere/redis.sock",
                                    .slots = 64,
                                    .slot_bytes = 256};
}

static blotter_producer *open_with(const struct blotter_options *options)
{
    blotter_producer *producer;
    if (blotter_open(&producer, options) != 0) {
        fail_msg("%s", blotter_open_error());
    }
    return producer;
}

static const struct blotter_order order = {.order_id = "1", .price = "10.1", .quantity = "2"};

/* Runs the body in a child. Returns its wait status. */
static int in_a_child(void (*body)(int), int argument)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on with the next test */
        body(argument);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* --- descriptors --- */

/* Uses them up but for `free`. */
static void leave_descriptors(int free_ones)
{
    static int taken[4096];
    int count = 0;
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){256, 256});
    while ((taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        count++;
    }
    while (free_ones-- > 0) {
        close(taken[--count]);
    }
}

/* Exit status: 0 opened, 1 SYSTEM that tells of descriptors, 2 anything else. */
static void open_with_few(int free_ones)
{
    blotter_producer *producer;
    struct blotter_options options = small_options();
    leave_descriptors(free_ones);
    int status = blotter_open(&producer, &options);
    if (status == 0) {
        if (blotter_order(producer, &order) < 1 || blotter_close(producer, 0) < 0) {
            _exit(2);
        }
        _exit(0);
    }
    bool told = strstr(blotter_open_error(), strerror(EMFILE)) != NULL ||
                strstr(blotter_open_error(), "descriptors") != NULL;
    if (!told) {
        fprintf(stderr, "%d free: %d %s\n", free_ones, status, blotter_open_error());
    }
    _exit(status == BLOTTER_SYSTEM && told ? 1 : 2);
}

static void without_descriptors_open_answers_system(void **state)
{
    (void)state;
    int opened = 0;
    for (int free_ones = 0; free_ones <= 12; free_ones++) {
        int status = in_a_child(open_with_few, free_ones);
        assert_true(WIFEXITED(status));
        assert_in_range(WEXITSTATUS(status), 0, 1);
        opened += WEXITSTATUS(status) == 0;
        assert_true(free_ones > 1 || WEXITSTATUS(status) == 1);
    }
    assert_in_range(opened, 1, 12);
}

static void open_many(int count)
{
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024});
    blotter_producer **producers = calloc((size_t)count, sizeof(*producers));
    struct blotter_options options = small_options();
    for (int i = 0; i < count; i++) {
        if (blotter_open(&producers[i], &options) != 0) {
            fprintf(stderr, "number %d: %s\n", i, blotter_open_error());
            _exit(1);
        }
    }
    for (int i = 0; i < count; i++) {
        if (blotter_order(producers[i], &order) != 2 || blotter_close(producers[i], 0) < 0) {
            _exit(2);
        }
    }
    free(producers);
}

static void two_hundred_producers_fit_1024_descriptors(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(open_many, 200), 0);
}

/* --- mappings and memory --- */

/* Returns a number of /proc/self/status, in KiB. */
static int status_kib(const char *name)
{
    char line[256];
    int value = -1;
    FILE *status = fopen("/proc/self/status", "r");
    assert_non_null(status);
    while (value < 0 && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = atoi(line + strlen(name));
        }
    }
    fclose(status);
    return value;
}

/* Returns by how much memory may grow. Sanitizers and valgrind keep memory of their own for each
 * address. */
static int growth_kib(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return INT32_MAX;
#else
    return getenv("BLOTTER_TEST_SLOWER") != NULL ? INT32_MAX : 512;
#endif
}

static int count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    int lines = 0;
    for (int c; (c = getc(maps)) != EOF;) {
        lines += c == '\n';
    }
    fclose(maps);
    return lines;
}

/* In a child: neither does a process that locks what it maps. */
static void open_and_close_locked(int times)
{
    struct blotter_options options = small_options();
    options.sender = BLOTTER_SENDER_NONE;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        _exit(77);
    }
    int resident = status_kib("VmRSS:");
    for (int i = 0; i < times; i++) {
        blotter_producer *producer;
        if (blotter_open(&producer, &options) != 0 || blotter_close(producer, 0) != 0) {
            fprintf(stderr, "%d: %s\n", i, blotter_open_error());
            _exit(2);
        }
    }
    resident = status_kib("VmRSS:") - resident;
    fprintf(stderr, "grown by %d KiB resident\n", resident);
    _exit(resident > growth_kib());
}

static void what_is_left_is_not_locked(void **state)
{
    (void)state;
    int status = in_a_child(open_and_close_locked, 4000);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip(); /* RLIMIT_MEMLOCK */
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

enum { INHERITED = 20 };
static blotter_producer *inherited[INHERITED];

static void open_and_close(int times)
{
    struct blotter_options options = small_options();
    options.sender = BLOTTER_SENDER_NONE;
    for (int i = 0; i < times; i++) {
        blotter_producer *producer = open_with(&options);
        assert_int_equal(blotter_close(producer, 0), 0);
        assert_int_equal(blotter_order(producer, &order), BLOTTER_CLOSED);
    }
}

/* Every function that takes a handle says that this one is closed. */
static void expect_closed(blotter_producer *producer, const blotter_binding *bound)
{
    struct blotter_stats stats;
    const struct blotter_order wrong = {.order_id = "1", .extra = "{"}, bind_it = {.symbol = "B"};
    const struct blotter_entry entries[2] = {{BLOTTER_KIND_ORDER, &order, NULL},
                                             {BLOTTER_KIND_ORDER, &order, bound}};
    assert_int_equal(blotter_order(producer, &order), BLOTTER_CLOSED);
    assert_int_equal(blotter_order(producer, &wrong), BLOTTER_CLOSED);
    assert_int_equal(blotter_submit_bound(producer, bound, &order), BLOTTER_CLOSED);
    assert_int_equal(blotter_submit(producer, entries, 2), BLOTTER_CLOSED);
    blotter_prepare(producer);
    assert_int_equal(blotter_wait(producer, 1, BLOTTER_SENT, -1), BLOTTER_CLOSED);
    assert_int_equal(blotter_flush(producer, BLOTTER_SENT, -1), BLOTTER_CLOSED);
    assert_int_equal(blotter_notify(producer, 0, BLOTTER_SENT, 1), BLOTTER_CLOSED);
    assert_int_equal(blotter_stats(producer, &stats), BLOTTER_CLOSED);
    assert_int_equal(blotter_close(producer, -1), BLOTTER_CLOSED);
    assert_null(blotter_bind(producer, BLOTTER_KIND_ORDER, &bind_it));
    assert_string_equal(blotter_problem(), blotter_status_text(BLOTTER_CLOSED));
}

/* One stays open, as a strategy has others. */
static void opening_and_closing_leaves_nothing(void **state)
{
    (void)state;
    struct blotter_options options = small_options();
    options.sender = BLOTTER_SENDER_NONE;
    blotter_producer *old = open_with(&options);
    blotter_binding *bound =
        blotter_bind(old, BLOTTER_KIND_ORDER, &(struct blotter_order){.symbol = "BTC"});
    assert_non_null(bound);
    assert_int_equal(blotter_close(old, 0), 0);
    blotter_producer *open = open_with(&options);
    expect_closed(old, bound);
    open_and_close(2000);
    int maps = count_mappings(), resident = status_kib("VmRSS:"), tables = status_kib("VmPTE:");
    open_and_close(100000);
    int maps_grown = count_mappings() - maps, resident_grown = status_kib("VmRSS:") - resident,
        tables_grown = status_kib("VmPTE:") - tables;
    print_message("grown by %d mappings, %d KiB resident, %d KiB of page tables\n", maps_grown,
                  resident_grown, tables_grown);
    assert_true(maps_grown <= growth_kib() / 25);
    assert_true(resident_grown <= growth_kib());
    assert_true(tables_grown <= growth_kib());
    expect_closed(old, bound);
    assert_int_equal(blotter_order(open, &order), 2);
    assert_true(blotter_close(open, 0) > 0);
    blotter_unbind(bound);
}

/* In a child. */
static void close_what_is_inherited(int count)
{
    struct blotter_options options = small_options();
    struct blotter_stats stats;
    options.sender = BLOTTER_SENDER_NONE;
    for (int i = 0; i < count; i++) {
        if (blotter_order(inherited[i], &order) != BLOTTER_FORKED ||
            blotter_close(inherited[i], 0) != BLOTTER_FORKED ||
            blotter_close(inherited[i], 0) != BLOTTER_CLOSED ||
            blotter_order(inherited[i], &order) != BLOTTER_CLOSED ||
            blotter_stats(inherited[i], &stats) != BLOTTER_CLOSED) {
            _exit(1);
        }
    }
    for (int i = 0; i < 3000; i++) {
        blotter_producer *own;
        if (blotter_open(&own, &options) != 0 || (i == 0 && blotter_order(own, &order) != 2) ||
            blotter_close(own, 0) < 0 || blotter_order(own, &order) != BLOTTER_CLOSED) {
            _exit(2);
        }
    }
}

static void a_child_closes_its_parents_handles_for_itself(void **state)
{
    (void)state;
    struct blotter_options options = small_options();
    options.sender = BLOTTER_SENDER_NONE;
    for (int i = 0; i < INHERITED; i++) {
        inherited[i] = open_with(&options);
    }
    assert_int_equal(in_a_child(close_what_is_inherited, INHERITED), 0);
    for (int i = 0; i < INHERITED; i++) {
        assert_int_equal(blotter_order(inherited[i], &order), 2);
        assert_true(blotter_close(inherited[i], 0) > 0);
    }
}

/* In a child. The file stays locked: a late thread may still look at its header. */
static void close_without_memory(int unused)
{
    (void)unused;
    struct blotter_options options = small_options();
    struct blotter_stats before, after;
    struct rlimit limit;
    blotter_producer *next;
    options.sender = BLOTTER_SENDER_NONE;
    blotter_producer *old = open_with(&options);
    if (blotter_order(old, &order) != 2 || blotter_stats(old, &before) != BLOTTER_OK ||
        getrlimit(RLIMIT_DATA, &limit) != 0) {
        _exit(1);
    }
    setrlimit(RLIMIT_DATA, &(struct rlimit){4096, limit.rlim_max});
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
        MAP_FAILED) {
        _exit(77); /* valgrind keeps the limit from the kernel */
    }
    if (blotter_close(old, 0) < 0) {
        _exit(2);
    }
    setrlimit(RLIMIT_DATA, &limit);
    if (blotter_open(&next, &options) != 0 || blotter_stats(next, &after) != BLOTTER_OK ||
        strcmp(before.journal, after.journal) == 0) {
        _exit(3);
    }
    if (blotter_order(old, &order) != BLOTTER_CLOSED || blotter_order(next, &order) != 2 ||
        blotter_close(old, 0) != BLOTTER_CLOSED || blotter_close(next, 0) < 0) {
        _exit(4);
    }
}

static void a_close_that_may_map_nothing_is_a_close(void **state)
{
    (void)state;
    int status = in_a_child(close_without_memory, 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- cancellation --- */

static blotter_producer *cancelled;

static void *wait_for_ever(void *arg)
{
    (void)arg;
    blotter_wait(cancelled, 1000000, BLOTTER_COMMITTED, -1);
    return NULL;
}

static void *submit_for_ever(void *arg)
{
    (void)arg;
    /* not on the stack: AddressSanitizer does not see that a cancelled thread leaves its frames */
    static struct blotter_stats stats;
    for (;;) {
        blotter_order(cancelled, &order);
        blotter_stats(cancelled, &stats);
        pthread_testcancel();
    }
    return NULL;
}

static void cancel_and_close(void *(*body)(void *), int wake)
{
    struct blotter_options options = small_options();
    options.wake = wake;
    for (int round = 0; round < 50; round++) {
        cancelled = open_with(&options);
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, body, NULL);
        usleep((useconds_t)round * 20);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        assert_ptr_equal(result, PTHREAD_CANCELED);
        /* neither a lock nor a count is kept: else these would not return */
        assert_true(blotter_order(cancelled, &order) != BLOTTER_CLOSED);
        assert_int_equal(blotter_wait(cancelled, 1000000, BLOTTER_SENT, 1), BLOTTER_TIMEOUT);
        assert_true(blotter_close(cancelled, 0) >= 0);
    }
}

static void a_thread_that_is_cancelled_in_wait_keeps_nothing(void **state)
{
    (void)state;
    alarm(60); /* without the mend close never returns */
    cancel_and_close(wait_for_ever, 0);
    alarm(0);
}

static void a_thread_that_is_cancelled_while_it_submits_keeps_nothing(void **state)
{
    (void)state;
    alarm(60);
    cancel_and_close(submit_for_ever, 1);
    alarm(0);
}

/* --- closing twice --- */

static void a_second_close_answers_closed(void **state)
{
    (void)state;
    struct blotter_options options = small_options();
    blotter_producer *producer = open_with(&options);
    assert_true(blotter_close(producer, 0) >= 0);
    int others[16];
    for (int i = 0; i < 16; i++) { /* descriptors that the first close has given back */
        others[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    assert_int_equal(blotter_close(producer, 0), BLOTTER_CLOSED);
    assert_int_equal(blotter_close(producer, -1), BLOTTER_CLOSED);
    for (int i = 0; i < 16; i++) {
        uint64_t value;
        assert_true(read(others[i], &value, sizeof value) < 0); /* nothing was written to them */
        close(others[i]);
    }
}

static void *close_it(void *producer)
{
    blotter_close(producer, 0);
    return NULL;
}

/* The caller who is told CLOSED may close its descriptors at once. Of the three that which was
 * asked for last is told first, and telling `full` blocks until it is read. */
static void nothing_is_closed_before_all_are_told(void **state)
{
    (void)state;
    struct blotter_options options = small_options();
    struct blotter_stats stats;
    blotter_producer *producer = open_with(&options);
    int first = eventfd(0, EFD_CLOEXEC), last = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int full = eventfd(0, EFD_CLOEXEC);
    uint64_t value = UINT64_MAX - 1;
    assert_int_equal(write(full, &value, sizeof value), sizeof value);
    assert_int_equal(blotter_notify(producer, last, BLOTTER_COMMITTED, 1), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, full, BLOTTER_COMMITTED, 1), BLOTTER_OK);
    assert_int_equal(blotter_notify(producer, first, BLOTTER_COMMITTED, 1), BLOTTER_OK);
    pthread_t thread;
    pthread_create(&thread, NULL, close_it, producer);
    assert_int_equal(read(first, &value, sizeof value), sizeof value);
    assert_int_equal(blotter_stats(producer, &stats), BLOTTER_OK);
    assert_true(read(last, &value, sizeof value) < 0);
    assert_int_equal(read(full, &value, sizeof value), sizeof value);
    pthread_join(thread, NULL);
    assert_int_equal(blotter_stats(producer, &stats), BLOTTER_CLOSED);
    assert_int_equal(read(last, &value, sizeof value), sizeof value);
    close(first);
    close(last);
    close(full);
}

/* --- stacks --- */

enum { PAINT = 0x5a, BELOW_BYTES = 1 << 20 };

static const struct {
    uint32_t slot_bytes;
    size_t stack_bytes; /* as blotter.h says, beside what the thread itself needs */
} stacks[] = {{1024, 12288}, {4160, 12288}, {16448, 24576}, {65536, 81920}};

/* AddressSanitizer puts gaps between the variables of a frame. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZER_STACK_BYTES = 4096 };
#else
enum { SANITIZER_STACK_BYTES = 0 };
#endif

static void *submit_large_one(void *arg)
{
    static char text[1024];
    memset(text, 'x', sizeof text - 1);
    struct blotter_order large = order;
    large.reason = text;
    blotter_order(arg, &order);
    blotter_order(arg, &large);
    return NULL;
}

/* Returns how much of the stack was used. */
static size_t stack_used(uint32_t slot_bytes)
{
    struct blotter_options options = small_options();
    size_t bytes = BELOW_BYTES;
    options.sender = BLOTTER_SENDER_NONE;
    options.slot_bytes = slot_bytes;
    blotter_producer *producer = open_with(&options);
    unsigned char *stack =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(stack, MAP_FAILED);
    memset(stack, PAINT, bytes);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, bytes);
    assert_int_equal(pthread_create(&thread, &attributes, submit_large_one, producer), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    size_t untouched = 0;
    while (untouched < bytes && stack[untouched] == PAINT) {
        untouched++;
    }
    munmap(stack, bytes);
    blotter_close(producer, 0);
    return bytes - untouched;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static size_t stack_of_a_thread(void)
{
    size_t bytes = BELOW_BYTES, untouched = 0;
    unsigned char *stack =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(stack, PAINT, bytes);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, bytes);
    pthread_create(&thread, &attributes, do_nothing, NULL);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    while (untouched < bytes && stack[untouched] == PAINT) {
        untouched++;
    }
    munmap(stack, bytes);
    return bytes - untouched;
}

static void recording_takes_no_more_stack_than_the_header_says(void **state)
{
    (void)state;
    size_t thread = stack_of_a_thread();
    print_message("a thread itself: %zu bytes of stack\n", thread);
    for (size_t i = 0; i < sizeof stacks / sizeof stacks[0]; i++) {
        size_t used = stack_used(stacks[i].slot_bytes) - thread;
        print_message("slots of %u bytes: %zu bytes of stack\n", stacks[i].slot_bytes, used);
        assert_in_range(used, 1, stacks[i].stack_bytes + SANITIZER_STACK_BYTES);
    }
}

/* A thread whose stack ends at a guard page, with the memory of another behind that. */
static void submit_on_too_small_a_stack(int slot_bytes)
{
    enum { GUARD = 4096, STACK = 65536 };
    struct blotter_options options = small_options();
    options.sender = BLOTTER_SENDER_NONE;
    options.slot_bytes = (uint32_t)slot_bytes;
    blotter_producer *producer = open_with(&options);
    unsigned char *area = mmap(NULL, BELOW_BYTES + GUARD + STACK, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area + BELOW_BYTES, GUARD, PROT_NONE);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, area + BELOW_BYTES + GUARD, STACK);
    pthread_create(&thread, &attributes, submit_large_one, producer);
    pthread_join(thread, NULL);
}

static void too_small_a_stack_is_a_fault_and_no_write_elsewhere(void **state)
{
    (void)state;
    int status = in_a_child(submit_on_too_small_a_stack, 65536);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_int_equal(in_a_child(submit_on_too_small_a_stack, 1024), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_descriptors_open_answers_system),
        TEST(two_hundred_producers_fit_1024_descriptors),
        TEST(opening_and_closing_leaves_nothing),
        TEST(what_is_left_is_not_locked),
        TEST(a_child_closes_its_parents_handles_for_itself),
        TEST(a_close_that_may_map_nothing_is_a_close),
        TEST(a_thread_that_is_cancelled_in_wait_keeps_nothing),
        TEST(a_thread_that_is_cancelled_while_it_submits_keeps_nothing),
        TEST(a_second_close_answers_closed),
        TEST(nothing_is_closed_before_all_are_told),
        TEST(recording_takes_no_more_stack_than_the_header_says),
        TEST(too_small_a_stack_is_a_fault_and_no_write_elsewhere),
    };
    return cmocka_run_group_tests_name("producer limits", tests, NULL, NULL);
}
