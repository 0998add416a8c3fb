/* pg_pooler.h: refuses a connection pooler that gives each transaction another session. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_POOLER_H
#define BLOTTER_DRAINER_POSTGRES_PG_POOLER_H

#include <stdbool.h>

#include "drainer/postgres/pg_blocking.h"

/* Looks for a pooler in transaction or statement mode between here and PostgreSQL, with a second
 * connection if there is a pooler at all. False: there is one; the error has been printed, and
 * exit_code is set. */
bool pg_refuse_pooler(struct pg *);

#endif
