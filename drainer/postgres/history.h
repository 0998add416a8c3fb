/* history.h: which servers the database has lived on, as the acknowledgement in Redis is fenced by,
 * and the incidents that follow from one that went back. */
#ifndef BLOTTER_DRAINER_POSTGRES_HISTORY_H
#define BLOTTER_DRAINER_POSTGRES_HISTORY_H

#include <libpq-fe.h>

#include "drainer/postgres/sql_text.h"
#include "drainer/redis/streams.h"

/* Tells what server this is, and appends it to the history if it is another than the newest there.
 * The new row is on the synchronous standby before the server is used. */
extern const char history_sql[];

/* Takes the rows that history_sql returns. */
void history_learn(struct stream_history *, const PGresult *);

/* Adds the statements that store the streams' incidents, and frees them once they are stored. */
void history_ask_incidents(const struct streams *, struct sql_text *);
void history_incidents_stored(const struct streams *);

#endif
