/* sqlstate.h: what the drainer does about an error of PostgreSQL: one table from SQLSTATE to
 * action. */
#ifndef BLOTTER_DRAINER_POSTGRES_SQLSTATE_H
#define BLOTTER_DRAINER_POSTGRES_SQLSTATE_H

#include <stdbool.h>

/* clang-format off */
#define PG_ACTIONS(X) \
    X(RETRY, "passes by itself: forget the batch, wait, read it again") \
    X(DOUBT, "as RETRY, but a record that keeps failing alone is rejected: a trigger's doing") \
    X(DUPLICATE, "a row is there already: load through staging") \
    X(NO_DAY, "a row's day has no partition: make the day, load again") \
    X(ROWS, "load_staged() names rows that it refuses: reject exactly these") \
    X(DATA, "one record is at fault: bisect the batch and reject it") \
    X(PERSON, "needs a person: stop loading, log it, try again slowly; nothing is acknowledged")

/* The one list: the loader, the blocking commands, and, through the view that `blotter migrate`
 * makes of it, the functions in SQL. The longest prefix wins; a state that is not listed is DATA.
 * The classes are those of PostgreSQL's appendix A. */
#define SQLSTATE_ACTIONS(X) \
    X("08", RETRY, "connection exception") \
    X("08P01", DATA, "protocol violation: so COPY BINARY reports a malformed field")  \
    X("0A", PERSON, "feature not supported: such as row-level security on a table") \
    X("23505", DUPLICATE, "on the primary key of an event table; any other is DATA") \
    X("23514", NO_DAY, "without a constraint: no partition for the row; else DATA") \
    X("25006", RETRY, "read-only: a standby, until it is promoted or another host is found") \
    X("25P03", RETRY, "idle-in-transaction timeout") \
    X("25P04", RETRY, "transaction timeout") \
    X("28", PERSON, "password or pg_hba.conf") \
    X("3D", PERSON, "no such database") \
    X("3F", PERSON, "no such schema") \
    X("40", DOUBT, "transaction rolled back") \
    X("40001", RETRY, "serialization") \
    X("40P01", RETRY, "deadlock") \
    X("42", PERSON, "no such table or column, no rights") \
    X("42P10", DATA, "a mistake of a trigger or rule about the row") \
    X("53", RETRY, "out of disk, memory, connections, locks") \
    X("54", DATA, "a limit of the program: the record's, unless a good record meets it too") \
    X("55", DOUBT, "object in use or not ready: also met by a trigger each time") \
    X("55P03", RETRY, "lock timeout") \
    X("57", RETRY, "shutdown, cancelled, crash") \
    X("58", RETRY, "the system under the server: I/O error") \
    X("BL001", ROWS, "raised by load_staged()") \
    X("XX", RETRY, "the server's own mistake: a damaged index, for example")

/* Hints of a state: to the loader, whether it is about the values of a row; to the operator
 * of a blocking command, what to do. The longest prefix wins here, too. */
#define SQLSTATE_HINTS(X) \
    X("22", VALUES, "") \
    X("23", VALUES, "") \
    X("54", LIMIT, "") \
    X("08", UNREACHABLE, "") \
    X("08P01", NONE, "") \
    X("57", UNREACHABLE, "") \
    X("3F000", MIGRATE, "; `blotter migrate` makes what is missing") \
    X("42P01", MIGRATE, "; `blotter migrate` makes what is missing") \
    X("42883", MIGRATE, "; `blotter migrate` makes what is missing") \
    X("42501", RIGHTS, \
      "; looking takes the role blotter_reader, loading, replay and discard blotter_drainer, " \
      "migrate the owner of the schema")
/* clang-format on */
#define X(name, text) PG_ACTION_##name,
enum pg_action { PG_ACTIONS(X) PG_ACTIONS_COUNT };
#undef X

enum sqlstate_hint {
    SQLSTATE_NONE,
    SQLSTATE_VALUES, /* about the values of a row */
    SQLSTATE_LIMIT,  /* a limit of the server's, which any row may meet */
    SQLSTATE_UNREACHABLE,
    SQLSTATE_MIGRATE,
    SQLSTATE_RIGHTS
};

/* Finds what an operator is to do about the state; text (may be NULL) gets it, or "". */
enum sqlstate_hint sqlstate_hint(const char *sqlstate, const char **text);

/* Tells whether a function in a procedural language, such as a user's trigger, raised the error,
 * rather than the server. source_file: where PostgreSQL's source reports it
 * (PG_DIAG_SOURCE_FILE); may be NULL. */
bool sqlstate_is_raised(const char *source_file);

/* Finds what to do. sqlstate: five characters, or "" or NULL where there is none (the connection
 * was lost). constraint: the violated constraint's name or "". raised: such an error carries a
 * state that the function's author chose, so it proves neither that the error passes nor that it
 * needs a person. */
enum pg_action sqlstate_action(const char *sqlstate, const char *table, const char *constraint,
                               bool raised);

#endif
