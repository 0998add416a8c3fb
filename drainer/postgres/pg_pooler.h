/* pg_pooler.h: recognises a connection pooler, and whether it gives each transaction another
 * session. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_POOLER_H
#define BLOTTER_DRAINER_POSTGRES_PG_POOLER_H

#include <libpq-fe.h>

#include "drainer/commands.h"
#include "drainer/settings_table.h"

enum pg_pooling {
    PG_POOLING_NONE, /* no pooler is between */
    PG_POOLING_BY_SESSION,
    PG_POOLING_BY_TRANSACTION, /* or by statement */
    PG_POOLING_UNKNOWN,        /* there is one, and it gives a second session no backend */
};

/* Looks for a pooler between here and PostgreSQL, with a second connection if there is one. Blocks
 * for a few seconds at most; without a pooler for one answer. Warns where it is not known. */
enum pg_pooling pg_pooling_of(PGconn *, const struct settings *);

/* Prints that a pooler by transaction is refused, and returns the exit code. */
int pg_pooler_fail(const struct settings *);

#endif
