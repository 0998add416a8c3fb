/* pg_link.h: one reconnecting async connection to PostgreSQL on an event base. It runs one command
 * at a time; a command is a string of statements, among which COPY … FROM STDIN take their data
 * from the command's own list.
 *
 * One thread: the one that runs the base. Blocks: for the look-up of a host's name when connecting
 * (give hostaddr, or an address, to avoid it); else never. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_LINK_H
#define BLOTTER_DRAINER_POSTGRES_PG_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drainer/postgres/pg_failure.h"

struct event_base;

/* clang-format off */
#define PG_LINK_STATES(X) \
    X(IDLE, "not started") \
    X(WAITING, "waiting before the next attempt to connect") \
    X(CONNECTING, "connecting") \
    X(PREPARING, "preparing the session") \
    X(READY, "ready") \
    X(RUNNING, "running a command") \
    X(ROLLING_BACK, "rolling back after an error")
/* clang-format on */
#define X(name, text) PG_LINK_##name,
enum pg_link_state { PG_LINK_STATES(X) };
#undef X

struct pg_chunk {
    const void *bytes;
    size_t length;
};

/* The data of one COPY: chunks in order, borrowed until the command is done. */
struct pg_copy {
    const struct pg_chunk *chunks;
    size_t count;
};

struct pg_command {
    const char *sql; /* borrowed until on_done */
    const struct pg_copy *copies;
    size_t copy_count;
    void (*on_rows)(void *owner,
                    const PGresult *); /* once for each statement that returns rows; may be NULL */
    void (*on_done)(void *owner,
                    const struct pg_failure
                        *); /* once; NULL: all statements are done. May run the next command */
    void *owner;
};

struct pg_link_options {
    struct event_base *base;
    const char *conninfo;
    const char *application_name;
    const char *prepare_sql; /* run first on every connection; its rows go to on_prepared_rows */
    void (*on_prepared_rows)(void *owner, int statement, const PGresult *);
    void (*on_change)(
        void *owner, bool ready,
        const struct pg_failure *why); /* ready: prepared; else lost, or could not connect */
    void *owner;
    unsigned connect_timeout_ms;
    unsigned
        command_timeout_ms; /* a command that takes longer: the connection is given up (in doubt) */
};

struct pg_link;

struct pg_link *pg_link_create(const struct pg_link_options *);
void pg_link_destroy(struct pg_link *); /* takes NULL; not from a callback; a running command's
                                           on_done is not called */
void pg_link_start(struct pg_link *);

/* Runs a command. The link must be ready: asserted. */
void pg_link_run(struct pg_link *, const struct pg_command *);

enum pg_link_state pg_link_state(const struct pg_link *);
bool pg_link_ready(const struct pg_link *);

/* When the command that ran last, or runs, began and when its last COPY had been given all its
 * rows; CLOCK_MONOTONIC. */
struct pg_link_times {
    int64_t began_us, copied_us;
};
struct pg_link_times pg_link_times(const struct pg_link *);

#endif
