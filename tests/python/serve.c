/* serve.c: the servers of the fixture for tests that are not written in C: a Redis, and a
 * PostgreSQL with a migrated database.
 *
 * Says on one line of JSON how to reach them, the variables that `blotter` reads, and then does
 * what it is told on stdin, a line each, answered with `ok`: kill redis, start redis, kill
 * postgres, start postgres, start standby (of PostgreSQL; how to reach it is in the folder's file
 * `standby`). When stdin ends, because who started it has, the servers are stopped
 * and their folder is removed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture/fixture.h"
#include "tests/fixture/story.h"

static void kill_redis(void)
{
    fixture_redis_kill9(story_redis);
}

static void start_redis(void)
{
    fixture_redis_start_again(story_redis);
}

static void kill_postgres(void)
{
    fixture_postgres_kill9(story_postgres);
}

static void start_postgres(void)
{
    fixture_postgres_start_again(story_postgres);
}

static void start_standby(void)
{
    const struct fixture_postgres *standby = fixture_postgres_start(
        &(struct fixture_postgres_options){.no_fsync = true, .standby_of = story_postgres});
    fixture_write_file(fixture_format("%s/standby", fixture_folder()),
                       fixture_postgres_conninfo(standby));
}

static const struct {
    const char *line;
    void (*run)(void);
} commands[] = {
    {"kill redis", kill_redis},       {"start redis", start_redis},
    {"kill postgres", kill_postgres}, {"start postgres", start_postgres},
    {"start standby", start_standby},
};

static void obey(const char *line)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].line, line) == 0) {
            commands[i].run();
            puts("ok");
            fflush(stdout);
            return;
        }
    }
    fixture_fail("serve: there is no command '%s'", line);
}

static void say_environment(void)
{
    static const char *const names[] = {"BLOTTER_REDIS", "BLOTTER_POSTGRES", "BLOTTER_JOURNAL",
                                        "BLOTTER_REBALANCE_INTERVAL"};
    printf("{\"folder\": \"%s\", \"program\": \"%s\"", fixture_folder(), fixture_blotter());
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        printf(", \"%s\": \"%s\"", names[i], getenv(names[i]));
    }
    puts("}");
    fflush(stdout);
}

int main(void)
{
    char line[64];
    story_begin(NULL);
    say_environment();
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        obey(line);
    }
    story_end(NULL);
    return 0;
}
