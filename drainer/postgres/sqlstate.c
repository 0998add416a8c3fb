/* sqlstate.c: see sqlstate.h. */
#include "drainer/postgres/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "schema/record.h"

enum { DAY_BYTES = 8 }; /* 20260101 */

struct sqlstate_row {
    const char *prefix;
    int meaning; /* enum pg_action or sqlstate_hint */
    const char *text;
};

static const struct sqlstate_row actions[] = {
#define X(prefix, action, why) {prefix, PG_ACTION_##action, why},
    SQLSTATE_ACTIONS(X)
#undef X
};

static const struct sqlstate_row hints[] = {
#define X(prefix, hint, text) {prefix, SQLSTATE_##hint, text},
    SQLSTATE_HINTS(X)
#undef X
};

/* Recognises that table, or one of its days: order_events_20260101. */
static bool is_table_or_day(const char *name, const char *table)
{
    size_t length = strlen(table);

    if (strncmp(name, table, length) != 0) {
        return false;
    }
    name += length;
    return *name == '\0' || (name[0] == '_' && strspn(name + 1, "0123456789") == DAY_BYTES &&
                             name[1 + DAY_BYTES] == '\0');
}

/* Recognises the keys of partitions, which are named after them: order_events_20260101_pkey. A
 * user's own table, which a trigger of theirs writes to, may have a name that begins like ours. */
static bool is_event_key(const char *table, const char *constraint)
{
    size_t length = strlen(constraint);

    if (length < 5 || strcmp(constraint + length - 5, "_pkey") != 0) {
        return false;
    }
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        if (is_table_or_day(table, record_schemas[kind].table)) {
            return true;
        }
    }
    return false;
}

bool sqlstate_is_raised(const char *source_file)
{
    static const char *const files[] = {"pl_exec.c", "plpy_elog.c", "plperl.c", "pltcl.c"};

    for (size_t i = 0; source_file != NULL && i < sizeof files / sizeof files[0]; i++) {
        if (strcmp(source_file, files[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Finds the row with the longest prefix of the state. NULL: none. */
static const struct sqlstate_row *find_longest(const struct sqlstate_row *rows, size_t count,
                                               const char *sqlstate)
{
    const struct sqlstate_row *found = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(rows[i].prefix);

        if (length > longest && strncmp(sqlstate, rows[i].prefix, length) == 0) {
            longest = length;
            found = &rows[i];
        }
    }
    return found;
}

enum pg_action sqlstate_action(const char *sqlstate, const char *table, const char *constraint,
                               bool raised)
{
    if (sqlstate == NULL || sqlstate[0] == '\0') {
        return PG_ACTION_RETRY;
    }
    const struct sqlstate_row *row =
        find_longest(actions, sizeof actions / sizeof actions[0], sqlstate);
    enum pg_action action = row == NULL ? PG_ACTION_DATA : (enum pg_action)row->meaning;
    switch (action) {
    case PG_ACTION_DUPLICATE:
        return is_event_key(table, constraint) ? action : PG_ACTION_DATA;
    case PG_ACTION_NO_DAY:
        return constraint == NULL || constraint[0] == '\0' ? action : PG_ACTION_DATA;
    case PG_ACTION_ROWS:
    case PG_ACTION_DATA:
        return action;
    default:
        return raised ? PG_ACTION_DOUBT : action;
    }
}

enum sqlstate_hint sqlstate_hint(const char *sqlstate, const char **text)
{
    const struct sqlstate_row *row =
        sqlstate == NULL ? NULL : find_longest(hints, sizeof hints / sizeof hints[0], sqlstate);

    if (text != NULL) {
        *text = row == NULL ? "" : row->text;
    }
    return row == NULL ? SQLSTATE_NONE : (enum sqlstate_hint)row->meaning;
}
