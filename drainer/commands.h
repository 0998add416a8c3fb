/* commands.h: the program's commands. Each takes the settings, prints on stderr why it fails, and
 * returns an exit code. */
#ifndef BLOTTER_DRAINER_COMMANDS_H
#define BLOTTER_DRAINER_COMMANDS_H

#include <stdbool.h>

#include "drainer/command_list.h"

struct settings;

enum exit_code {
    EXIT_CODE_DONE = 0,
    EXIT_CODE_NO = 1,    /* done, and the answer is no: a record is missing, refused, unfinished */
    EXIT_CODE_USAGE = 2, /* the command line, a setting or the database's state does not allow it */
    EXIT_CODE_UNREACHABLE = 3, /* a server could not be reached, or refused the login */
};

/* Runs the command that the settings were read for. */
int command_run(const struct settings *);

/* Prints on stderr why a command ends, in one line that begins with its name, and returns the code.
 * It may quote servers and files: text_clean() makes that harmless. */
int command_fail(const struct settings *, enum exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes the name of this process in a consumer group: the setting consumer, else HOST-PID. False:
 * it is too long, which has been printed; cut, it might be another's. */
enum { CONSUMER_BYTES = 128 };
bool command_consumer(const struct settings *, char out[CONSUMER_BYTES]);

#define X(id, name, arguments, fewest, most, text) int command_##name(const struct settings *);
COMMANDS(X)
#undef X

#endif
