/* test_settings.c: where settings come from, what is refused, and what is never printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drainer/settings.h"
#include "drainer/settings_help.h"

static struct settings settings;
static char error[SETTINGS_ERROR_BYTES];
static char path[64];

static int end(void **state)
{
    (void)state;
    settings_release(&settings);
    for (size_t i = 0; i < setting_count; i++) {
        char name[128] = "BLOTTER_";

        for (size_t j = 0; setting_table[i].name[j] != '\0'; j++) {
            char c = setting_table[i].name[j];

            name[8 + j] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
            name[9 + j] = '\0';
        }
        unsetenv(name);
    }
    if (path[0] != '\0') {
        unlink(path);
    }
    path[0] = '\0';
    return 0;
}

/* The words are separated by blanks. */
static int load(enum command_id command, const char *words)
{
    static char copy[1024];
    static char *argv[32];
    int argc = 0;

    settings_release(&settings);
    error[0] = '\0';
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return settings_load(&settings, command, argc, argv, error);
}

static void file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/blotter-settings-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    setenv("BLOTTER_CONFIG", path, 1);
}

static void assert_refused(enum command_id command, const char *words, const char *message)
{
    assert_int_equal(load(command, words), -1);
    if (strstr(error, message) == NULL) {
        fail_msg("\"%s\" is not in: %s", message, error);
    }
}

static void defaults_are_allowed_and_read(void **state)
{
    (void)state;
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_int_equal(settings.batch_rows, 10000);
    assert_int_equal(settings.batch_bytes, 4 << 20);
    assert_int_equal(settings.claim_idle, 60000);
    assert_true(settings.orders);
    assert_false(settings.once);
    assert_string_equal(settings.redis, "redis://127.0.0.1:6379");
    assert_null(settings.redis_password);
}

static void flag_goes_before_environment_before_file_before_default(void **state)
{
    (void)state;
    file("# a comment\n  batch_rows = 5 \nbatch-bytes=64KiB\n\nlock_timeout = 300ms\n");
    setenv("BLOTTER_BATCH_ROWS", "6", 1);
    setenv("BLOTTER_BATCH_BYTES", "128KiB", 1);
    assert_int_equal(load(COMMAND_DRAIN, "--batch-rows 7"), 0);
    assert_int_equal(settings.batch_rows, 7);
    assert_int_equal(settings.batch_bytes, 128 << 10);
    assert_int_equal(settings.lock_timeout, 300);
    assert_int_equal(settings.keep_entries, 10000);
    setenv("BLOTTER_BATCH_ROWS", "", 1); /* as a unit file leaves it */
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_int_equal(settings.batch_rows, 5);
}

static void flags_come_in_several_forms(void **state)
{
    (void)state;
    assert_int_equal(load(COMMAND_DRAIN, "--batch_rows=3 --once --no-orders --claim-idle 2m"), 0);
    assert_int_equal(settings.batch_rows, 3);
    assert_int_equal(settings.claim_idle, 120000);
    assert_true(settings.once);
    assert_false(settings.orders);
    assert_int_equal(load(COMMAND_DRAIN, "--once=no --orders=yes"), 0);
    assert_false(settings.once);
    assert_true(settings.orders);
}

static void arguments_are_what_is_no_flag(void **state)
{
    (void)state;
    assert_int_equal(load(COMMAND_REJECTS, "list --json 17"), 0);
    assert_int_equal(settings.argument_count, 2);
    assert_string_equal(settings.arguments[0], "list");
    assert_string_equal(settings.arguments[1], "17");
    assert_int_equal(load(COMMAND_JOURNAL, "-- --odd-name"), 0);
    assert_string_equal(settings.arguments[0], "--odd-name");
    assert_refused(COMMAND_JOURNAL, "", "too few arguments; usage: blotter journal PATH");
    assert_refused(COMMAND_DRAIN, "now", "too many arguments; usage: blotter drain");
}

static void value_out_of_range_is_named_with_its_origin(void **state)
{
    (void)state;
    assert_refused(COMMAND_DRAIN, "--batch-rows 0",
                   "setting batch_rows (from the command line): \"0\" is not allowed: expected");
    setenv("BLOTTER_TRIM_INTERVAL", "soon", 1);
    assert_refused(COMMAND_DRAIN, "",
                   "setting trim_interval (from BLOTTER_TRIM_INTERVAL): \"soon\" is not allowed");
    unsetenv("BLOTTER_TRIM_INTERVAL");
    file("\n\nuntil = later\n");
    assert_refused(COMMAND_DRAIN, "",
                   ":3): \"later\" is not allowed: expected one of sent|committed");
}

static void number_needs_its_unit(void **state)
{
    static const char *const wrong[] = {
        "--claim-idle 60",
        "--claim-idle -5s",
        "--claim-idle 5.5s",
        "--claim-idle 5 s",
        "--claim-idle=",
        "--batch-bytes 4MB",
        "--batch-rows 99999999999999999999",
        "--batch-rows 100001",
        "--batch-bytes 1GiB",
        "--batch-bytes 9999999999GiB",
        "--batch-bytes 17592186044417MiB", /* 2^64 bytes and 1 MiB */
        "--batch-rows 10k"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(load(COMMAND_DRAIN, wrong[i]), -1);
    }
    assert_int_equal(load(COMMAND_PUBLISH, "--timeout 0"), 0);
}

static void each_unit_is_worth_what_it_says(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } durations[] = {
        {"5000ms", 5000}, {"5s", 5000}, {"5m", 300000}, {"5h", 18000000}, {"5d", 432000000}};
    static const struct {
        const char *text;
        int64_t value;
    } sizes[] = {{"65537", 65537}, {"65537B", 65537}, {"65KiB", 65 << 10}, {"65MiB", 65 << 20}};
    char words[64];

    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        snprintf(words, sizeof words, "--max-behind %s", durations[i].text);
        assert_int_equal(load(COMMAND_DRAIN, words), 0);
        assert_int_equal(settings.max_behind, durations[i].value);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        snprintf(words, sizeof words, "--batch-bytes %s", sizes[i].text);
        assert_int_equal(load(COMMAND_DRAIN, words), 0);
        assert_int_equal(settings.batch_bytes, sizes[i].value);
    }
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    assert_refused(COMMAND_DRAIN, "--bach-rows 3",
                   "unknown flag --bach-rows; did you mean --batch-rows?");
    assert_refused(COMMAND_DRAIN, "--xyzzy", "unknown flag --xyzzy; `blotter help drain`");
    assert_refused(COMMAND_DRAIN, "-x", "unknown flag");
    assert_refused(COMMAND_DRAIN, "--exchange binance",
                   "has no flag --exchange; it belongs to: publish");
    assert_refused(COMMAND_DRAIN, "--no-batch-rows", "unknown flag");
    assert_refused(COMMAND_DRAIN, "--batch-rows", "--batch-rows: it needs a value");
    assert_refused(COMMAND_DRAIN, "--consumer --once", "--consumer: it needs a value");
    file("batch_rows = 5\nbach_rows = 5\n");
    assert_refused(COMMAND_DRAIN, "", ":2: there is no setting bach_rows");
    unlink(path);
    file("config = another\n");
    assert_refused(COMMAND_DRAIN, "", ":1: there is no setting config");
}

static void file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    assert_refused(COMMAND_DRAIN, "--config /nowhere/blotter.conf",
                   "setting config: cannot read /nowhere/blotter.conf: No such");
    assert_refused(COMMAND_DRAIN, "--redis-password-file /nowhere",
                   "setting redis_password_file: cannot read /nowhere: No such");
}

static void flag_of_the_file_goes_before_its_environment(void **state)
{
    (void)state;
    file("batch_rows = 5\n");
    setenv("BLOTTER_CONFIG", "/nowhere", 1);
    char words[128];
    snprintf(words, sizeof words, "--config %s", path);
    assert_int_equal(load(COMMAND_DRAIN, words), 0);
    assert_int_equal(settings.batch_rows, 5);
}

static void secret_comes_from_environment_or_file_and_never_from_a_flag(void **state)
{
    (void)state;
    assert_refused(COMMAND_DRAIN, "--redis-password hunter2",
                   "every user of the machine can read the command line");
    assert_null(strstr(error, "hunter2"));
    file("hunter3\n");
    unsetenv("BLOTTER_CONFIG");
    setenv("BLOTTER_REDIS_PASSWORD_FILE", path, 1);
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_string_equal(settings.redis_password, "hunter3");
    setenv("BLOTTER_REDIS_PASSWORD", "hunter4", 1);
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_string_equal(settings.redis_password, "hunter4");
}

static void what_may_be_secret_is_not_repeated(void **state)
{
    static const char *const files[] = {"redis://:hunter2@h\n", "postgres://u:hunter2@h?a=b\n",
                                        "hunter2@x = 1\n"};

    (void)state;
    assert_refused(COMMAND_DRAIN, "--redis-pasword=hunter2", "unknown flag --redis-pasword;");
    assert_null(strstr(error, "hunter2"));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        file(files[i]);
        assert_refused(COMMAND_DRAIN, "", ":1: ");
        assert_null(strstr(error, "hunter2"));
        unlink(path);
    }
}

/* A URL or connection string with a password is as readable in argv as the password alone. */
static void place_with_a_password_is_refused_on_the_command_line(void **state)
{
    static const char *const wrong[] = {"--redis redis://blotter:hunter2@h",
                                        "--redis=rediss://:hunter2@h:6379/3",
                                        "--redis unix:///s?password=hunter2",
                                        "--postgres password=hunter2",
                                        "--postgres=postgres://u:hunter2@h/db",
                                        "--postgres host=h;password=hunter2",
                                        "--postgres postgres://h/db?password=hunter2",
                                        "--redis redis://:a/hunter2@h",
                                        "--redis redis://:a?hunter2@h",
                                        "--postgres postgresql://u:a?hunter2@h/db"};
    static const char *const right[] = {"--redis redis://blotter@h/1", "--redis redis://:@h",
                                        "--postgres passfile=/p",
                                        "--postgres postgres://u@h:5432/a:b@c"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_refused(COMMAND_DRAIN, wrong[i], "every user of the machine can read");
        assert_null(strstr(error, "hunter2"));
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_int_equal(load(COMMAND_DRAIN, right[i]), 0);
    }
    setenv("BLOTTER_REDIS", "redis://blotter:hunter2@h", 1);
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_string_equal(settings.redis, "redis://blotter:hunter2@h");
}

static void line_that_does_not_fit_is_refused_and_not_printed(void **state)
{
    static char text[8192];

    (void)state;
    snprintf(text, sizeof text, "redis_password = hunter2");
    memset(text + strlen(text), 'x', 5000);
    file(text);
    assert_refused(COMMAND_DRAIN, "", ":1: the line is longer than");
    assert_null(strstr(error, "hunter2"));
    assert_null(strstr(error, "xxx"));
    setenv("BLOTTER_REDIS_PASSWORD_FILE", path, 1);
    unsetenv("BLOTTER_CONFIG");
    assert_refused(COMMAND_DRAIN, "", "the first line is too long");
    assert_null(settings.redis_password);
}

static void password_that_others_can_read_is_warned_of(void **state)
{
    (void)state;
    file("redis_password = hunter2\n");
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_null(settings.warnings); /* mkstemp: 0600 */
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_non_null(strstr(settings.warnings, "setting config: other users can read"));
    setenv("BLOTTER_REDIS_PASSWORD_FILE", path, 1);
    unsetenv("BLOTTER_CONFIG");
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_non_null(strstr(settings.warnings, "setting redis_password_file: other users"));
    unlink(path);
    file("batch_rows = 5\n");
    unsetenv("BLOTTER_REDIS_PASSWORD_FILE");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_null(settings.warnings); /* it holds no password */
}

static void quotes_around_a_value_are_named(void **state)
{
    (void)state;
    file("max_behind = \"30s\"\n");
    assert_refused(COMMAND_DRAIN, "", "; values take no quotes");
}

static void collect_misspelt(void *arg, const char *name, const char *meant)
{
    snprintf((char *)arg + strlen(arg), 512 - strlen(arg), "%s>%s ", name,
             meant == NULL ? "-" : meant);
}

static void misspelt_variable_is_found(void **state)
{
    char found[512] = "";

    (void)state;
    setenv("BLOTTER_BATCH_ROW", "5", 1);
    setenv("BLOTTER_XYZZY_FROBNICATE", "5", 1);
    setenv("BLOTTER_BATCH_ROWS", "5", 1);
    settings_find_misspelt(collect_misspelt, found);
    unsetenv("BLOTTER_BATCH_ROW");
    unsetenv("BLOTTER_XYZZY_FROBNICATE");
    assert_non_null(strstr(found, "BLOTTER_BATCH_ROW>BLOTTER_BATCH_ROWS "));
    assert_non_null(strstr(found, "BLOTTER_XYZZY_FROBNICATE>- "));
    assert_null(strstr(found, "BLOTTER_BATCH_ROWS>"));
}

static char *printed(void (*print)(FILE *))
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    print(out);
    fclose(out);
    return text;
}

static void print_every_help(FILE *out)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        settings_print_help(out, (enum command_id)i);
    }
}

static void help_names_every_setting_and_prints_no_value_of_this_run(void **state)
{
    char *text = printed(print_every_help);

    (void)state;
    for (size_t i = 0; i < setting_count; i++) {
        char flag[128];

        snprintf(flag, sizeof flag, "%s", setting_table[i].name);
        for (char *at = flag; *at != '\0'; at++) {
            *at = *at == '_' ? '-' : *at;
        }
        assert_true(setting_table[i].type == SETTING_SECRET || strstr(text, flag) != NULL);
    }
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 120);
    }
    free(text);
}

/* Uncommented, the sample is a file that sets everything to its default. */
static void sample_file_can_be_read(void **state)
{
    char *text = printed(settings_print_sample), *uncommented = calloc(1, strlen(text) + 1);

    (void)state;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        bool setting =
            line[0] == '#' && line[1] != ' ' && line[1] != '\0' && strlen(strchr(line, '=')) > 2;

        if (setting) {
            strcat(strcat(uncommented, line + 1), "\n");
        }
    }
    file(uncommented);
    free(text);
    free(uncommented);
    assert_int_equal(load(COMMAND_DRAIN, ""), 0);
    assert_int_equal(settings.batch_rows, 10000);
}

/* The committed file; where it lies is said by the Makefile, which runs tests from the top. */
static void committed_sample_file_is_up_to_date(void **state)
{
    char *text = printed(settings_print_sample);
    static char committed[65536];
    FILE *in = fopen("deploy/blotter.conf.sample", "r");

    (void)state;
    if (in == NULL) {
        fail_msg("deploy/blotter.conf.sample cannot be read from here");
    }
    committed[fread(committed, 1, sizeof committed - 1, in)] = '\0';
    fclose(in);
    if (strcmp(committed, text) != 0) {
        fail_msg("deploy/blotter.conf.sample is out of date: build/blotter help --sample-config > "
                 "deploy/blotter.conf.sample");
    }
    free(text);
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_allowed_and_read),
        TEST(flag_goes_before_environment_before_file_before_default),
        TEST(flags_come_in_several_forms),
        TEST(arguments_are_what_is_no_flag),
        TEST(value_out_of_range_is_named_with_its_origin),
        TEST(number_needs_its_unit),
        TEST(each_unit_is_worth_what_it_says),
        TEST(unknown_names_are_refused),
        TEST(file_that_cannot_be_read_is_named),
        TEST(flag_of_the_file_goes_before_its_environment),
        TEST(secret_comes_from_environment_or_file_and_never_from_a_flag),
        TEST(what_may_be_secret_is_not_repeated),
        TEST(place_with_a_password_is_refused_on_the_command_line),
        TEST(line_that_does_not_fit_is_refused_and_not_printed),
        TEST(password_that_others_can_read_is_warned_of),
        TEST(quotes_around_a_value_are_named),
        TEST(misspelt_variable_is_found),
        TEST(help_names_every_setting_and_prints_no_value_of_this_run),
        TEST(sample_file_can_be_read),
        TEST(committed_sample_file_is_up_to_date),
    };
    end(NULL);
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
