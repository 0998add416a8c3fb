/* settings.h: reads the settings of a command.
 *
 * A flag goes before the environment, which goes before the file. A secret has no flag, and neither
 * a secret nor a place (a URL or connection string, which may hold one) is ever printed. A place
 * that holds a password is refused on the command line, where every user of the machine can read
 * it. */
#ifndef BLOTTER_DRAINER_SETTINGS_H
#define BLOTTER_DRAINER_SETTINGS_H

#include "drainer/settings_table.h"

enum { SETTINGS_ERROR_BYTES = 1024 };

/* Reads the settings of a command from flags (argv begins behind the command's name; arguments are
 * moved to its front), the environment, the file and the defaults. Returns 0; or -1 with one line
 * in error: which setting, where it came from, its value unless that may be secret, and what is
 * allowed. Release them in both cases. */
int settings_load(struct settings *, enum command_id, int argc, char **argv,
                  char error[SETTINGS_ERROR_BYTES]);
void settings_release(struct settings *);

/* Calls `found` for each variable BLOTTER_* of the environment that is no setting, with the name
 * that was probably meant (as in the environment) or NULL. */
void settings_find_misspelt(void (*found)(void *arg, const char *name, const char *meant),
                            void *arg);

#endif
