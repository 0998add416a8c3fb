/* test_line_input.c: lines from a pipe, in whatever pieces they come, and however long they are. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "drainer/commands/line_input.h"

static struct line_input input;
static const char *text;
static size_t length;

/* A file in memory that holds these bytes. */
static void open_bytes(const void *bytes, size_t count)
{
    int fd = memfd_create("lines", 0);

    assert_int_equal(write(fd, bytes, count), count);
    lseek(fd, 0, SEEK_SET);
    line_input_open(&input, fd, NULL);
}

static int close_bytes(void **state)
{
    (void)state;
    line_input_close(&input);
    close(input.fd);
    return 0;
}

static void assert_line(const char *expected)
{
    assert_int_equal(line_input_next(&input, &text, &length), LINE_TEXT);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text, expected, length);
}

static void assert_end(void)
{
    assert_int_equal(line_input_next(&input, &text, &length), LINE_END);
}

static void lines_come_without_their_newlines(void **state)
{
    (void)state;
    open_bytes("a\n\nbc\n", 6);
    assert_line("a");
    assert_line("");
    assert_line("bc");
    assert_int_equal(input.number, 3);
    assert_end();
    assert_end();
}

static void last_line_needs_no_newline(void **state)
{
    (void)state;
    open_bytes("a\nb", 3);
    assert_line("a");
    assert_line("b");
    assert_end();
}

static void nothing_is_no_line(void **state)
{
    (void)state;
    open_bytes("", 0);
    assert_end();
    assert_int_equal(input.number, 0);
}

static void overlong_line_is_given_once_and_skipped(void **state)
{
    size_t size = 10 * (size_t)LINE_INPUT_BYTES_MAX;
    char *bytes = malloc(size + 16);

    (void)state;
    memcpy(bytes, "first\n", 6);
    memset(bytes + 6, 'x', size);
    memcpy(bytes + 6 + size, "\nnext\nend", 9);
    open_bytes(bytes, size + 15);
    free(bytes);
    assert_line("first");
    assert_int_equal(line_input_next(&input, &text, &length), LINE_TOO_LONG);
    assert_true(length > LINE_INPUT_BYTES_MAX);
    assert_int_equal(input.number, 2);
    assert_line("next");
    assert_int_equal(input.number, 3);
    assert_line("end");
    assert_end();
}

/* The rest of the overlong line and what follows are in the buffer together: nothing more must be
 * read to get at it. */
static void line_behind_an_overlong_one_is_not_waited_for(void **state)
{
    char *bytes = malloc(LINE_INPUT_BYTES_MAX + 16);
    int pipes[2];

    (void)state;
    memset(bytes, 'x', LINE_INPUT_BYTES_MAX + 1);
    open_bytes(bytes, LINE_INPUT_BYTES_MAX + 1);
    free(bytes);
    assert_int_equal(line_input_next(&input, &text, &length), LINE_TOO_LONG);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], "x\na\nb\n", 6), 6);
    dup2(pipes[0], input.fd);
    assert_line("a"); /* would block for ever */
    assert_line("b");
    close(pipes[0]);
    close(pipes[1]);
    assert_end();
}

static void longest_line_is_whole(void **state)
{
    char *bytes = malloc(LINE_INPUT_BYTES_MAX + 2);

    (void)state;
    memset(bytes, 'x', LINE_INPUT_BYTES_MAX);
    memcpy(bytes + LINE_INPUT_BYTES_MAX, "\ny", 2);
    open_bytes(bytes, LINE_INPUT_BYTES_MAX + 2);
    free(bytes);
    assert_int_equal(line_input_next(&input, &text, &length), LINE_TEXT);
    assert_int_equal(length, LINE_INPUT_BYTES_MAX);
    assert_line("y");
    assert_end();
}

static void on_signal(int number)
{
    (void)number;
}

/* A line that comes byte by byte would otherwise cost its length for each of them. What is in the
 * buffer is changed behind the reader's back, and it does not notice. */
static void what_was_looked_at_is_not_looked_at_again(void **state)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t caught, waiting;
    int pipes[2];

    (void)state;
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&caught);
    sigaddset(&caught, SIGUSR1);
    sigprocmask(SIG_BLOCK, &caught, &waiting);
    assert_int_equal(pipe(pipes), 0);
    line_input_open(&input, pipes[0], &waiting);
    assert_int_equal(write(pipes[1], "abc", 3), 3);
    raise(SIGUSR1); /* let in once there is nothing more to read */
    assert_int_equal(line_input_next(&input, &text, &length), LINE_INTERRUPTED);
    input.buffer[1] = '\n';
    assert_int_equal(write(pipes[1], "d\ne\n", 4), 4);
    assert_line("a\ncd");
    assert_line("e");
    close(pipes[1]);
    assert_end();
    sigprocmask(SIG_UNBLOCK, &caught, NULL);
}

static void unreadable_input_is_a_failure(void **state)
{
    (void)state;
    int folder = open("/", O_RDONLY);
    line_input_open(&input, folder, NULL);
    assert_int_equal(line_input_next(&input, &text, &length), LINE_FAILED);
}

#define TEST(name) cmocka_unit_test_teardown(name, close_bytes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_come_without_their_newlines),
        TEST(last_line_needs_no_newline),
        TEST(nothing_is_no_line),
        TEST(overlong_line_is_given_once_and_skipped),
        TEST(line_behind_an_overlong_one_is_not_waited_for),
        TEST(longest_line_is_whole),
        TEST(what_was_looked_at_is_not_looked_at_again),
        TEST(unreadable_input_is_a_failure),
    };
    return cmocka_run_group_tests_name("line_input", tests, NULL, NULL);
}
