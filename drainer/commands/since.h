/* since.h: times that an operator gives: 2h (two hours ago), 2026-05-01, 2026-05-01T12:00:00Z. */
#ifndef BLOTTER_DRAINER_COMMANDS_SINCE_H
#define BLOTTER_DRAINER_COMMANDS_SINCE_H

#include <stdbool.h>

struct settings;

enum { SINCE_BYTES = 32 };

/* Writes the time as PostgreSQL reads it; "" for text NULL. False: it is no time, and a message
 * that names the setting has been printed. */
bool since_parse(const struct settings *, const char *setting, const char *text,
                 char out[SINCE_BYTES]);

#endif
