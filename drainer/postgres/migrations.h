/* migrations.h: the files of schema/sql, embedded in the program by embed.sh. */
#ifndef BLOTTER_DRAINER_POSTGRES_MIGRATIONS_H
#define BLOTTER_DRAINER_POSTGRES_MIGRATIONS_H

#include <stddef.h>

struct sql_file {
    int version; /* NNN of NNN_name.sql; 0: it has none */
    const char *name;
    const char *text;
};

/* Files that make tables, in the order of their numbers: each is applied once. */
extern const struct sql_file sql_tables[];
extern const size_t sql_tables_count;

/* Functions, views and rights, in the order in which they need each other: made again whenever the
 * program is newer than the database. The first drops those that are there. */
extern const struct sql_file sql_code[];
extern const size_t sql_code_count;

/* Copies what version 1 stored, which then lies in schema blotter_version_1, and drops that. */
extern const struct sql_file sql_from_version_1;

#endif
