/* pg_session.h: the statements that a loading session begins with, and what it learns from them. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_SESSION_H
#define BLOTTER_DRAINER_POSTGRES_PG_SESSION_H

#include <libpq-fe.h>

#include "drainer/order_changes.h"

struct settings;

/* The database's own lists by which orders are merged. */
struct pg_session {
    struct text_set venues_by_symbol, terminal_statuses;
};

/* Makes the statements to prepare a session with, one that loads and one that books; malloc()ed. */
char *pg_session_sql(const struct settings *);
char *pg_session_books_sql(const struct settings *);

/* Takes the rows that one of them returned. */
void pg_session_take(struct pg_session *, const PGresult *);

void pg_session_release(struct pg_session *); /* empty, it may take rows again */

#endif
