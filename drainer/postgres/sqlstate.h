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
