/* session.h: what a session that loads begins with, and what it is told then. */
#ifndef BLOTTER_DRAINER_SESSION_H
#define BLOTTER_DRAINER_SESSION_H

#include <libpq-fe.h>

#include "drainer/order_fold.h"

struct settings;

/* How the database wants orders to be folded. */
struct session {
    struct text_set venues_by_symbol, terminal_statuses;
};

/* The statements to prepare a session with, and then `more`; malloc()ed. */
char *session_sql(const struct settings *, const char *more);

/* Takes the rows that one of them returned. */
void session_take(struct session *, const PGresult *);

void session_release(struct session *); /* empty, it may take rows again */

#endif
