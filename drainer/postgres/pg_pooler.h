/* pg_pooler.h: refuses a connection pooler that gives each transaction another session. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_POOLER_H
#define BLOTTER_DRAINER_POSTGRES_PG_POOLER_H

#include <stdbool.h>

#include "drainer/postgres/pg_blocking.h"

/* Tells whether a pooler in transaction or statement mode is between here and PostgreSQL. Opens a
 * second connection, if there is a pooler at all. */
bool pg_is_pooled_by_transaction(struct pg *);

/* False: there is one; the error has been printed, and exit_code is set. */
bool pg_refuse_pooler(struct pg *);

#endif
