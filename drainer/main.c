/* main.c: the program `blotter`: finds the command, reads its settings, runs it. */
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/commands.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/settings.h"
#include "drainer/settings_help.h"

static int unknown_command(const char *name)
{
    fprintf(stderr, "blotter: there is no command \"%.64s\"; `blotter help` lists them\n", name);
    return EXIT_CODE_USAGE;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static void log_misspelt(void *arg, const char *name, const char *meant)
{
    (void)arg;
    if (meant != NULL) {
        log_warn("settings", "the environment has %s, which is no setting; did you mean %s?", name,
                 meant);
    }
}

/* Logs what is doubtful about the settings. */
static void log_warnings(const struct settings *settings)
{
    char *lines = memory_copy(settings->warnings), *rest = NULL;

    for (char *line = lines == NULL ? NULL : strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        log_warn("settings", "%s", line);
    }
    free(lines);
    settings_find_misspelt(log_misspelt, NULL);
}

static void log_of_libevent(int severity, const char *text)
{
    log_line(severity == EVENT_LOG_ERR    ? LOG_ERROR
             : severity == EVENT_LOG_WARN ? LOG_WARN
                                          : LOG_DEBUG,
             "libevent", "%s", text);
}

static int main_run(enum command_id command, int argc, char **argv)
{
    struct settings settings = {.config = NULL};
    char error[SETTINGS_ERROR_BYTES];
    int code = EXIT_CODE_USAGE;

    if (settings_load(&settings, command, argc, argv, error) != 0) {
        fprintf(stderr, "blotter %s: %s\n", commands[command].name, error);
    } else {
        log_open((enum log_level)log_level_of(settings.log_level));
        log_set_format(strcmp(settings.log_format, "json") == 0 ? LOG_JSON : LOG_LOGFMT);
        event_set_log_callback(log_of_libevent);
        log_warnings(&settings);
        code = command_run(&settings);
        log_flush();
    }
    settings_release(&settings);
    return code;
}

/* Fails where the output could not be written, since the reader has no answer then. */
static int main_finish(int code)
{
    bool flushed = fflush(stdout) == 0;

    if (!flushed || ferror(stdout)) {
        /* why an earlier write failed is not known any more */
        fprintf(stderr, "blotter: cannot write to stdout%s%s\n", flushed ? "" : ": ",
                flushed ? "" : strerror(errno));
        return code == EXIT_CODE_DONE ? EXIT_CODE_NO : code;
    }
    return code;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        settings_print_commands(stderr);
        return EXIT_CODE_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        settings_print_commands(stdout);
        return main_finish(EXIT_CODE_DONE);
    }
    int command = command_of(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (command < 0) {
        return unknown_command(argv[1]);
    }
    if (asks_for_help(argc - 2, argv + 2)) {
        settings_print_help(stdout, (enum command_id)command);
        return main_finish(EXIT_CODE_DONE);
    }
    return main_finish(main_run((enum command_id)command, argc - 2, argv + 2));
}
