/* pg_failure.h: an error of PostgreSQL, read from libpq's result or message, and the action that it
 * asks for. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_FAILURE_H
#define BLOTTER_DRAINER_POSTGRES_PG_FAILURE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "drainer/postgres/sqlstate.h"

/* action RETRY with sqlstate "": the connection was lost, and whether the command was done is in
 * doubt. */
struct pg_failure {
    enum pg_action action;
    bool connection_lost;
    bool raised;          /* by a function, such as a user's trigger */
    bool lock_table_full; /* of 53200: the server's shared table of locks, rather than memory */
    char sqlstate[6];
    char message[512];
    char table[64];
    char constraint[64];
    char copy_table[64];    /* the COPY that met it; "": not known */
    unsigned long copy_row; /* of that COPY, from 1; 0: not known */
};

/* Reads an error that the server has answered a statement with. */
void pg_failure_of_result(struct pg_failure *, const PGresult *);

/* Makes a failure of a lost connection. */
void pg_failure_of_connection(struct pg_failure *, const char *message);

/* Reads libpq's verbose message of a refused connection: libpq's interface has no SQLSTATE of it,
 * and where the password is missing, libpq did not even ask the server. */
void pg_failure_of_refusal(struct pg_failure *, const char *message);

/* Tells whether the values of a row are at fault beyond doubt: the error names the row or a
 * constraint, is of a class that is about data, or a function has raised it. */
bool pg_failure_is_about_values(const struct pg_failure *);

/* Copies the first line, cut between characters: it may be stored as the reason of a reject, and
 * half a character is not valid UTF-8. */
void pg_first_line(char *out, size_t size, const char *text);

#endif
