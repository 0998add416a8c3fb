/* migrations.h: schema/sql/NNN_name.sql, embedded in the program by embed.sh, in the order of their
 * numbers. */
#ifndef BLOTTER_DRAINER_COMMANDS_MIGRATIONS_H
#define BLOTTER_DRAINER_COMMANDS_MIGRATIONS_H

#include <stddef.h>

struct migration {
    int version;      /* NNN */
    const char *name; /* of the file */
    const char *sql;
};
extern const struct migration migrations[];
extern const size_t migration_count;

#endif
