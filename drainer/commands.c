/* commands.c: the table of commands, and the two that need no module of their own. */
#include "drainer/commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "drainer/settings.h"
#include "producer/blotter.h"

/* clang-format off */
const struct command commands[COMMAND_COUNT] = {
#define X(id, name_, arguments_, fewest, most, text_) \
    {.name = #name_,                                  \
     .arguments = arguments_,                         \
     .fewest_arguments = fewest,                      \
     .most_arguments = most,                          \
     .text = text_,                                   \
     .run = command_##name_},
    COMMANDS(X)
#undef X
};
/* clang-format on */

int command_of(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int command_fail(const struct settings *settings, enum exit_code code, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "blotter %s: ", commands[settings->command].name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code;
}

int command_help(const struct settings *settings)
{
    if (settings->sample_config) {
        settings_print_sample(stdout);
    } else if (settings->argument_count == 0) {
        settings_print_commands(stdout);
    } else {
        int about = command_of(settings->arguments[0]);

        if (about < 0) {
            return command_fail(settings, EXIT_CODE_USAGE,
                                "there is no command \"%.64s\"; `blotter help` lists them",
                                settings->arguments[0]);
        }
        settings_print_help(stdout, (enum command_id)about);
    }
    return EXIT_CODE_DONE;
}

int command_version(const struct settings *settings)
{
    (void)settings;
    printf("blotter %s\n", BLOTTER_VERSION);
    return EXIT_CODE_DONE;
}
