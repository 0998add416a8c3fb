/* pg_connect.h: makes a connection to PostgreSQL, and waits for it. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_CONNECT_H
#define BLOTTER_DRAINER_POSTGRES_PG_CONNECT_H

#include <libpq-fe.h>

#include "drainer/settings_table.h"

/* Connects in connect_timeout for each host: client encoding UTF8, application_name "blotter
 * <command>". PQfinish() it, whatever its status. */
PGconn *pg_connect(const struct settings *);

#endif
