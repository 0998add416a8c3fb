/* questdb_tables.h: makes QuestDB's tables fit for our records: creates those that are missing,
 * adds columns that a newer schema has, and refuses tables that would store a record twice.
 *
 * To be run before anything is written, and again after the server was away: it may be another one,
 * or have been restored. One thread. */
#ifndef BLOTTER_DRAINER_MIRROR_QUESTDB_TABLES_H
#define BLOTTER_DRAINER_MIRROR_QUESTDB_TABLES_H

#include "drainer/mirror/ilp.h"
#include "drainer/mirror/questdb_link.h"

#define QUESTDB_REJECTS "rejects" /* the table of rejected records */

struct questdb_tables;

/* Prepares to make the tables. form: is filled, and then says how the tables take decimals. */
struct questdb_tables *questdb_tables_create(struct questdb_link *, struct ilp_form *form);
void questdb_tables_destroy(struct questdb_tables *); /* takes NULL */

/* Calls done once; its answer is DONE, or says what is in the way. */
void questdb_tables_prepare(struct questdb_tables *, questdb_reply *done, void *owner);

#endif
