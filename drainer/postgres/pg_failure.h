/* pg_failure.h: what went wrong with PostgreSQL, read from what libpq has of it, and what is to be
 * done about it. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_FAILURE_H
#define BLOTTER_DRAINER_POSTGRES_PG_FAILURE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "drainer/postgres/sqlstate.h"

/* What went wrong. action RETRY with sqlstate "": the connection was lost, and whether the command
 * was done is in doubt. */
struct pg_failure {
    enum pg_action action;
    bool connection_lost;
    char sqlstate[6];
    char message[512];
    char table[64];
    char constraint[64];
    char copy_table[64]; /* the COPY that met it, and at which of its rows, from 1; "": not known */
    unsigned long copy_row;
};

/* Of an error that the server has answered a statement with. */
void pg_failure_of_result(struct pg_failure *, const PGresult *);

/* Of a connection that was lost, in these words. */
void pg_failure_of_connection(struct pg_failure *, const char *message);

/* Of a connection that was refused, in libpq's words, verbose: libpq's interface has no SQLSTATE of
 * it, only text; and where the password is missing, libpq did not even ask the server. */
void pg_failure_of_refusal(struct pg_failure *, const char *message);

/* The first line, cut between characters: it may be stored as the reason of a reject, and half a
 * character is not valid UTF-8. */
void pg_first_line(char *out, size_t size, const char *text);

#endif
