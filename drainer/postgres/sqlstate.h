/* sqlstate.h: what the drainer does about an error of PostgreSQL: one table from SQLSTATE to
 * action. */
#ifndef BLOTTER_DRAINER_POSTGRES_SQLSTATE_H
#define BLOTTER_DRAINER_POSTGRES_SQLSTATE_H

#include <stdbool.h>

/* clang-format off */
#define PG_ACTIONS(X) \
    X(RETRY, "passes by itself: forget what is in hand, wait, read it again") \
    X(DOUBT, "passes by itself, or is a trigger's doing: as RETRY, but a record that keeps failing alone is rejected") \
    X(DUPLICATE, "a row is there already: load through staging") \
    X(DATA, "one record is at fault: take the batch apart and reject it") \
    X(PERSON, "needs a person: stop loading, say so, try again slowly; nothing is acknowledged")
/* clang-format on */
#define X(name, text) PG_ACTION_##name,
enum pg_action { PG_ACTIONS(X) PG_ACTIONS_COUNT };
#undef X

/* What to do about an SQLSTATE that begins so; the longest that fits counts, and what is not listed is
 * DATA. The classes are those of PostgreSQL's appendix A. `blotter migrate` makes a view of this
 * list for SQL. */
/* clang-format off */
#define SQLSTATE_ACTIONS(X) \
    X("08P01", DATA, "protocol violation: how COPY BINARY reports a malformed field, not a lost connection") \
    X("08", RETRY, "connection exception") \
    X("25006", RETRY, "read-only: a standby, until it is promoted or another host is found") \
    X("25P03", RETRY, "idle-in-transaction timeout") \
    X("28", PERSON, "password or pg_hba.conf") \
    X("3D", PERSON, "no such database") \
    X("3F", PERSON, "no such schema") \
    X("40", DOUBT, "transaction rolled back") \
    X("40001", RETRY, "serialization") \
    X("40P01", RETRY, "deadlock") \
    X("42", PERSON, "no such table or column, no rights") \
    X("42P10", DATA, "a trigger's or rule's own mistake about the row") \
    X("53", RETRY, "out of disk, memory, connections") \
    X("55", DOUBT, "object not ready for it, or in use: also what a trigger's own statement is told, each time") \
    X("55P03", RETRY, "lock timeout") \
    X("57", RETRY, "shutdown, cancelled, crash") \
    X("58", RETRY, "the system under the server: I/O error")
/* clang-format on */

/* Was the error raised by a function in a procedural language, such as a user's trigger, rather
 * than met by the server? source_file: where in PostgreSQL's source it was reported
 * (PG_DIAG_SOURCE_FILE); may be NULL. */
bool sqlstate_is_raised(const char *source_file);

/* sqlstate: five characters, or "" or NULL where there is none (the connection was lost). A state
 * that is not listed is DATA. constraint: the violated constraint's name or ""; 23505 is DUPLICATE
 * only on a primary key of the event tables. raised: such an error says what a function's author
 * chose it to say, so neither that it passes nor that it needs a person. */
enum pg_action sqlstate_action(const char *sqlstate, const char *table, const char *constraint,
                               bool raised);

#endif
