/* pg_failure.c: see pg_failure.h. */
#include "drainer/postgres/pg_failure.h"

#include <stdio.h>
#include <string.h>

void pg_first_line(char *out, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strcspn(text, "\n");

    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    memcpy(out, text == NULL ? "" : text, length);
    out[length] = '\0';
}

void pg_failure_of_connection(struct pg_failure *failure, const char *message)
{
    memset(failure, 0, sizeof *failure);
    failure->connection_lost = true;
    failure->action = PG_ACTION_RETRY;
    pg_first_line(failure->message, sizeof failure->message, message);
}

/* Finds the line "COPY order_events, line 14" of the error's context; with the binary format lines
 * are rows. */
static void pg_failure_find_row(struct pg_failure *failure, const char *context)
{
    for (const char *line = context; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "COPY %63[^ ,], %*[^0-9]%lu", failure->copy_table, &failure->copy_row) ==
            2) {
            return;
        }
    }
    failure->copy_table[0] = '\0';
}

/* Tells "out of shared memory" from "out of memory" by the place in the server's source: they have
 * one SQLSTATE. */
static bool pg_failure_is_of_locks(const struct pg_failure *failure, const PGresult *result)
{
    const char *file = PQresultErrorField(result, PG_DIAG_SOURCE_FILE);

    return strcmp(failure->sqlstate, "53200") == 0 && file != NULL &&
           (strcmp(file, "lock.c") == 0 || strcmp(file, "predicate.c") == 0);
}

void pg_failure_of_result(struct pg_failure *failure, const PGresult *result)
{
    memset(failure, 0, sizeof *failure);
    pg_first_line(failure->sqlstate, sizeof failure->sqlstate,
                  PQresultErrorField(result, PG_DIAG_SQLSTATE));
    pg_first_line(failure->message, sizeof failure->message,
                  PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    pg_first_line(failure->table, sizeof failure->table,
                  PQresultErrorField(result, PG_DIAG_TABLE_NAME));
    pg_first_line(failure->constraint, sizeof failure->constraint,
                  PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME));
    pg_failure_find_row(failure, PQresultErrorField(result, PG_DIAG_CONTEXT));
    if (failure->message[0] == '\0') {
        pg_first_line(failure->message, sizeof failure->message, PQresultErrorMessage(result));
    }
    failure->raised = sqlstate_is_raised(PQresultErrorField(result, PG_DIAG_SOURCE_FILE));
    failure->action =
        sqlstate_action(failure->sqlstate, failure->table, failure->constraint, failure->raised);
    failure->connection_lost = failure->sqlstate[0] == '\0';
    failure->lock_table_full = pg_failure_is_of_locks(failure, result);
}

/* Finds the SQLSTATE in a server's message as libpq writes it when told to be verbose: "FATAL:
 * 28P01: password ...". */
static void pg_failure_find_sqlstate(const char *message, char sqlstate[6])
{
    static const char characters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *at = strstr(message, ":  ");

    if (at != NULL && strspn(at + 3, characters) == 5 && at[8] == ':') {
        memcpy(sqlstate, at + 3, 5);
        sqlstate[5] = '\0';
    }
}

void pg_failure_of_refusal(struct pg_failure *failure, const char *message)
{
    pg_failure_of_connection(failure, message);
    pg_failure_find_sqlstate(failure->message, failure->sqlstate);
    if (sqlstate_action(failure->sqlstate, "", "", false) == PG_ACTION_PERSON ||
        strstr(failure->message, "password") != NULL) {
        failure->action = PG_ACTION_PERSON;
    }
}

bool pg_failure_is_about_values(const struct pg_failure *failure)
{
    enum sqlstate_hint hint = sqlstate_hint(failure->sqlstate, NULL);

    return failure->raised || hint == SQLSTATE_VALUES ||
           (hint != SQLSTATE_LIMIT && (failure->copy_row > 0 || failure->constraint[0] != '\0'));
}
