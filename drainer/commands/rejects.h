/* rejects.h: selects the records in blotter.rejects that a command is about. */
#ifndef BLOTTER_DRAINER_COMMANDS_REJECTS_H
#define BLOTTER_DRAINER_COMMANDS_REJECTS_H

#include <stddef.h>

#include "drainer/commands/since.h"

struct pg;

enum { REJECTS_PARAMETERS = 4 };

/* The numbers on the command line, and the settings reason, stream and since: parameters $1 to $4.
 */
struct rejects_selection {
    const char *values[REJECTS_PARAMETERS]; /* NULL: any */
    char *ids;                              /* as an array of PostgreSQL; values[0] */
    size_t id_count;
    char since[SINCE_BYTES]; /* values[3] */
};

/* Loads the selected rejects again, for `rejects replay`. Returns the exit code. */
int rejects_replay(struct pg *, const struct rejects_selection *);

#endif
