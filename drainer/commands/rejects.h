/* rejects.h: which of the records in blotter.rejects a command is about. */
#ifndef BLOTTER_DRAINER_COMMANDS_REJECTS_H
#define BLOTTER_DRAINER_COMMANDS_REJECTS_H

#include <stdbool.h>
#include <stddef.h>

struct pg;

enum { REJECTS_PARAMETERS = 4 };

/* The numbers on the command line, and the settings reason, stream and since. */
struct rejects_selection {
    const char *values[REJECTS_PARAMETERS]; /* NULL: any */
    char *ids;                              /* as an array of PostgreSQL; values[0] */
    size_t id_count;
};

/* True for those selected; $1 to $4 are the values. */
#define REJECTS_SELECTED                                                                        \
    "($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR strpos(reason, $2) > 0) " \
    "AND "                                                                                      \
    "($3::text IS NULL OR stream = $3) AND ($4::timestamptz IS NULL OR rejected_at >= $4)"

/* `rejects replay`: loads them again. Returns the exit code. */
int rejects_replay(struct pg *, const struct rejects_selection *);

#endif
