/* migrated.h: Blotter's schema in a test's PostgreSQL. */
#ifndef BLOTTER_TESTS_MIGRATED_H
#define BLOTTER_TESTS_MIGRATED_H

#include "tests/fixture/servers.h"

static inline void migrate(struct fixture_postgres *server)
{
    const char *const argv[] = {fixture_blotter(), "migrate", "--postgres",
                                fixture_postgres_conninfo(server), NULL};
    struct fixture_program *program;

    if (fixture_run(argv, NULL, 60000, &program) != 0) {
        fixture_fail("blotter migrate failed:\n%s", fixture_program_stderr(program));
    }
}

#endif
