/* commands.c: runs the commands, and holds the two that need no module of their own. */
#include "drainer/commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drainer/settings_help.h"
#include "drainer/settings_table.h"
#include "producer/blotter.h"
#include "schema/text.h"

int command_run(const struct settings *settings)
{
    static int (*const runs[])(const struct settings *) = {
#define X(id, name, arguments, fewest, most, text) command_##name,
        COMMANDS(X)
#undef X
    };

    return runs[settings->command](settings);
}

int command_fail(const struct settings *settings, enum exit_code code, const char *format, ...)
{
    va_list arguments;
    char *why = NULL;

    va_start(arguments, format);
    if (vasprintf(&why, format, arguments) < 0) {
        abort();
    }
    va_end(arguments);
    text_clean(why);
    fprintf(stderr, "blotter %s: %s\n", commands[settings->command].name, why);
    free(why);
    return code;
}

bool command_consumer(const struct settings *settings, char out[CONSUMER_BYTES])
{
    const char *consumer = settings->consumer == NULL ? "" : settings->consumer;
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    snprintf(out, CONSUMER_BYTES, "%s-%ld", host, (long)getpid());
    if (strlen(consumer) >= CONSUMER_BYTES) {
        command_fail(settings, EXIT_CODE_USAGE, "setting consumer: longer than %d bytes",
                     CONSUMER_BYTES - 1);
        return false;
    }
    if (consumer[0] != '\0') {
        strcpy(out, consumer);
    }
    return true;
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
