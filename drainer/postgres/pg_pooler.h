/* pg_pooler.h: refuses a connection pooler that gives each transaction another session. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_POOLER_H
#define BLOTTER_DRAINER_POSTGRES_PG_POOLER_H

#include <stdbool.h>

#include "drainer/postgres/pg_blocking.h"

/* Looks for a pooler in transaction or statement mode between here and PostgreSQL, with a second
 * connection if there is a pooler at all. False: there is one; the error has been printed, and
 * exit_code is set. */
bool pg_refuse_pooler(struct pg *);

/* Opens a session of PostgreSQL's own in a database that has our schema. False: the error has been
 * printed, exit_code is set. Close it in both cases. */
bool pg_open_session(struct pg *, const struct settings *);

#endif
