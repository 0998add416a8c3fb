/* pg_link.h: one reconnecting async connection to PostgreSQL on an event base. It runs one command
 * at a time; a command is a string of statements, among which COPY … FROM STDIN take their data
 * from the command's own list.
 *
 * A link has at most two sessions in the server: a new one ends its predecessor, which may still
 * wait for a synchronous standby, before it is used, and is given up if that does not succeed.
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
    X(COPYING, "sending the rows of a COPY") \
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
    size_t rows;   /* in the data */
    size_t stored; /* filled in: how many of them the server says it has stored */
};

struct pg_command {
    const char *sql;        /* borrowed until on_done */
    struct pg_copy *copies; /* borrowed until on_done */
    size_t copy_count;
    /* Called for each statement that returns rows; may be NULL. */
    void (*on_rows)(void *owner, const PGresult *);
    /* Called once; NULL: all statements are done. May run the next command. */
    void (*on_done)(void *owner, const struct pg_failure *);
    void *owner;
};

struct pg_link_options {
    struct event_base *base;
    const char *conninfo;
    const char *application_name;
    const char *prepare_sql; /* run first on every connection; its rows go to on_prepared_rows */
    void (*on_prepared_rows)(void *owner, const PGresult *); /* may be NULL */
    /* ready: prepared; else the connection is lost, or could not be made. */
    void (*on_change)(void *owner, bool ready, const struct pg_failure *why);
    void *owner;
    unsigned connect_timeout_ms; /* of all hosts together */
    unsigned command_timeout_ms; /* a command that takes longer is in doubt: the link reconnects */
};

struct pg_link;

struct pg_link *pg_link_create(const struct pg_link_options *);
/* Takes NULL. Not from a callback; the on_done of a running command is not called. */
void pg_link_destroy(struct pg_link *);
void pg_link_start(struct pg_link *);

/* Runs a command. The link must be ready: asserted. */
void pg_link_run(struct pg_link *, const struct pg_command *);

/* Gives the connection up and makes a new one; the link must be ready. */
void pg_link_reconnect(struct pg_link *, const char *why);

enum pg_link_state pg_link_state(const struct pg_link *);
bool pg_link_ready(const struct pg_link *);

/* Returns the server's process that this session began with. Another one that answers later means
 * that a pooler shares sessions between transactions. */
int pg_link_backend(const struct pg_link *);

/* Returns the DETAIL of the error that the last command failed with, or "". Valid until the next
 * command. */
const char *pg_link_error_detail(const struct pg_link *);

/* When the last command began, and when all rows of its last COPY were sent; CLOCK_MONOTONIC. */
struct pg_link_times {
    int64_t began_us, copied_us;
};
struct pg_link_times pg_link_times(const struct pg_link *);

#endif
