/* pg_blocking.h: PostgreSQL for the commands that ask something and end: blocking, one connection.
 * `drain` has pg_link.
 *
 * Every failure is said once, here, in one line on stderr that names the setting and holds no
 * secret. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_BLOCKING_H
#define BLOTTER_DRAINER_POSTGRES_PG_BLOCKING_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "drainer/commands.h"
#include "drainer/postgres/pg_pooler.h"
#include "drainer/settings_table.h"

struct pg {
    const struct settings *settings;
    PGconn *connection;
    enum pg_pooling pooling;
    int exit_code; /* of the last failure */
    unsigned notices;
};

/* Connects: client encoding UTF8, time zone UTC, application_name "blotter <command>"; refuses a
 * database that is not UTF8, and a pooler by transaction, before anything is set that the pooler's
 * other clients would find; `check` names it. False: the error has been printed, exit_code is set.
 * Close it in both cases. */
bool pg_open(struct pg *, const struct settings *);

/* Does the same, and pg_check_schema(). */
bool pg_open_session(struct pg *, const struct settings *);
void pg_close(struct pg *);

/* Checks that the schema is there, and not older than this program. */
bool pg_check_schema(struct pg *);

/* Returns the newest migration applied; 0: there is no schema; -1: it failed, which has been
 * printed. */
int pg_schema_version(struct pg *);

/* Tells whether a database of version 0 has the tables of version 1, which it noted elsewhere. */
bool pg_holds_version_1(struct pg *);

/* Returns the newest migration that this program has; it runs on this version and newer. */
int pg_schema_needed(void);

/* Runs one statement with text parameters, or several without. NULL: said, exit_code is set. The
 * caller clears the result. */
PGresult *pg_query(struct pg *, const char *sql, int parameters, const char *const *values);

/* Does the same, for what returns nothing. */
bool pg_run(struct pg *, const char *sql);

/* Prints what the server or the connection said about `doing`, and sets exit_code: every failure
 * comes here. result may be NULL. Returns the exit code. */
int pg_fail(struct pg *, const PGresult *result, const char *doing);

/* Writes a message of libpq as one line, without what follows the first line of a server's error.
 */
void pg_one_line(const char *message, char *out, size_t size);

#endif
