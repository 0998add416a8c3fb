/* sqlstate.c: see sqlstate.h. */
#include "drainer/postgres/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "schema/record.h"

enum { DAY_BYTES = 8 }; /* 20260101 */

static const struct {
    const char *prefix;
    enum pg_action action;
} actions[] = {
#define X(prefix, action, why) {prefix, PG_ACTION_##action},
    SQLSTATE_ACTIONS(X)
#undef X
};

static const struct {
    const char *prefix;
    enum sqlstate_hint hint;
    const char *text;
} hints[] = {
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

/* Returns the length of the prefix if the state begins with it, else 0. */
static size_t match_length(const char *sqlstate, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(sqlstate, prefix, length) == 0 ? length : 0;
}

static enum pg_action listed_action(const char *sqlstate)
{
    enum pg_action action = PG_ACTION_DATA;
    size_t longest = 0;

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        size_t length = match_length(sqlstate, actions[i].prefix);

        if (length > longest) {
            longest = length;
            action = actions[i].action;
        }
    }
    return action;
}

enum pg_action sqlstate_action(const char *sqlstate, const char *table, const char *constraint,
                               bool raised)
{
    if (sqlstate == NULL || sqlstate[0] == '\0') {
        return PG_ACTION_RETRY;
    }
    enum pg_action action = listed_action(sqlstate);
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
    enum sqlstate_hint hint = SQLSTATE_NONE;
    size_t longest = 0;

    if (text != NULL) {
        *text = "";
    }
    for (size_t i = 0; sqlstate != NULL && i < sizeof hints / sizeof hints[0]; i++) {
        size_t length = match_length(sqlstate, hints[i].prefix);

        if (length > longest) {
            longest = length;
            hint = hints[i].hint;
            if (text != NULL) {
                *text = hints[i].text;
            }
        }
    }
    return hint;
}
