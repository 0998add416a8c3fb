/* test_log.c: the log's lines, as they arrive on stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "drainer/log.h"

static FILE *captured;
static int real_stderr;
static char text[65536];

static int capture_begin(void **state)
{
    (void)state;
    captured = tmpfile();
    real_stderr = dup(STDERR_FILENO);
    return captured == NULL || dup2(fileno(captured), STDERR_FILENO) < 0 ? -1 : 0;
}

static int capture_end(void **state)
{
    (void)state;
    log_flush();
    log_open(LOG_INFO);
    log_set_format(LOG_LOGFMT);
    log_set_window_ms(10000);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    fclose(captured);
    return 0;
}

static const char *written(void)
{
    rewind(captured);
    size_t length = fread(text, 1, sizeof text - 1, captured);
    text[length] = '\0';
    return text;
}

static unsigned lines(void)
{
    unsigned count = 0;

    for (const char *at = written(); (at = strchr(at, '\n')) != NULL; at++) {
        count++;
    }
    return count;
}

static void line_has_time_level_object_and_message(void **state)
{
    (void)state;
    log_info("blotter:binance", "took %d entries", 3);
    assert_non_null(
        strstr(written(), "Z level=info object=blotter:binance msg=\"took 3 entries\"\n"));
    assert_memory_equal(text, "ts=2", 4);
}

static void quotes_and_newlines_stay_inside_their_line(void **state)
{
    (void)state;
    log_error("a b", "say \"no\"\nlevel=info \x01\\");
    assert_non_null(
        strstr(written(), "object=\"a b\" msg=\"say \\\"no\\\"\\nlevel=info \\x01\\\\\"\n"));
    assert_int_equal(lines(), 1);
}

/* ESC, the two forms of U+009B (CSI), and a byte that is not UTF-8; an e with an accent stays. */
static const char hostile[] = "a\x1b[2J b\xc2\x9b"
                              "c \x9b d\xff \xc3\xa9";

static void control_characters_are_escaped(void **state)
{
    (void)state;
    log_warn("redis", "%s", hostile);
    assert_non_null(strstr(written(), "a\\x1b[2J b\\xc2\\x9bc \\x9b d\\xff \xc3\xa9\"\n"));
    log_warn(hostile, "object");
    assert_null(strchr(written(), '\x1b'));
    assert_null(strstr(written(), "\x9b"));
}

static void line_of_json_can_be_parsed(void **state)
{
    json_error_t error;

    (void)state;
    log_set_format(LOG_JSON);
    log_warn("blotter:okx", "%s \"quoted\" \\ \n", hostile);
    json_t *line = json_loads(written(), JSON_REJECT_DUPLICATES, &error);
    if (line == NULL) {
        fail_msg("%s: %s", error.text, written());
    }
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(line, "object")), "blotter:okx");
    assert_memory_equal(json_string_value(json_object_get(line, "msg")), "a\x1b[2J", 5);
    assert_null(strchr(text, '\x1b'));
    json_decref(line);
}

static void overlong_line_of_json_is_cut_and_can_be_parsed(void **state)
{
    static char controls[5000];

    (void)state;
    log_set_format(LOG_JSON);
    memset(controls, 1, sizeof controls - 1);
    log_info("x", "%s", controls);
    json_t *line = json_loads(written(), 0, NULL);
    assert_non_null(line);
    json_decref(line);
}

static void line_below_the_level_is_dropped(void **state)
{
    (void)state;
    log_open(LOG_WARN);
    log_info("x", "not this");
    log_warn("x", "this");
    assert_int_equal(lines(), 1);
}

static void repeats_are_held_back_and_counted(void **state)
{
    (void)state;
    for (int i = 1; i <= 1000; i++) {
        log_warn("redis", "attempt %d failed", i);
    }
    log_warn("postgres", "attempt 1 failed");
    assert_int_equal(lines(), 2);
    log_flush();
    assert_int_equal(lines(), 3);
    assert_non_null(strstr(written(), "object=redis repeated=999 msg=\"attempt 1000 failed\"\n"));
}

static void repeats_are_written_when_the_window_is_over(void **state)
{
    (void)state;
    log_set_window_ms(20);
    log_warn("redis", "gone");
    log_warn("redis", "gone");
    usleep(30000);
    log_info("drain", "something else");
    assert_non_null(strstr(written(), "repeated=1 msg=\"gone\"\n"));
    assert_int_equal(lines(), 3);
}

static void more_lines_than_are_remembered_are_all_written(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        log_info("x", "line %c%c", 'a' + i / 26, 'a' + i % 26);
    }
    assert_int_equal(lines(), 100);
}

static void overlong_line_is_cut(void **state)
{
    static char quotes[5000];

    (void)state;
    memset(quotes, '"', sizeof quotes - 1);
    log_info("x", "%s", quotes);
    assert_int_equal(lines(), 1);
    assert_true(strlen(written()) < 2048);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, capture_begin, capture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_has_time_level_object_and_message),
        TEST(quotes_and_newlines_stay_inside_their_line),
        TEST(control_characters_are_escaped),
        TEST(line_of_json_can_be_parsed),
        TEST(overlong_line_of_json_is_cut_and_can_be_parsed),
        TEST(line_below_the_level_is_dropped),
        TEST(repeats_are_held_back_and_counted),
        TEST(repeats_are_written_when_the_window_is_over),
        TEST(more_lines_than_are_remembered_are_all_written),
        TEST(overlong_line_is_cut),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
