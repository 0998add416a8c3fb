/* follow.c: `blotter follow`: committed records as JSON lines, each once, resumable.
 *
 * PostgreSQL numbers transactions. A record is printed when no transaction with its number or a
 * smaller one is still running (pg_snapshot_xmin), so that nothing can appear behind it later. The
 * records of a window of such transactions come in the order of (transaction, producer, seq), then
 * a line with a token: the history of the database and the first number that is not printed yet.
 * Everything up to a token is complete, so a reader that drops what follows its last token line,
 * and begins there again, has each record once. With --output this program does so itself.
 *
 * A window that a lost connection cuts off is asked for again, and the lines that were printed are
 * skipped: what ended transactions stored does not change. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drainer/log.h"
#include "drainer/postgres/pg_blocking.h"
#include "drainer/postgres/pg_result.h"
#include "schema/clock.h"

enum {
    POLL_MS = 100,  /* between two looks whether anything was loaded */
    LOOK_MS = 1000, /* between two looks for what the counters do not show */
    RECONNECT_MS = 500,
    PATIENCE_MS = 5000, /* of a transaction that holds everything back */
    WINDOW = 1000,      /* transactions at a time */
    HISTORY_BYTES = 64,
};
static const char token_begin[] = "{\"token\": \"";

struct follow {
    const struct settings *settings;
    struct pg pg;
    bool connected;
    FILE *out;
    int error;                   /* errno of the first write that failed; 0: none has */
    char history[HISTORY_BYTES]; /* "": any */
    int64_t after;               /* first transaction that is not printed; -1: not known yet */
    int64_t before;              /* end of the window that is being printed; 0: none is */
    int64_t printed;             /* lines of it */
    int64_t xmin, loads;         /* at the last look */
    int64_t looked_ms, moved_ms; /* monotonic: last window; last change of xmin */
};

static volatile sig_atomic_t stopped;

static void on_follow_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* --- tokens --- */

/* Takes "HISTORY:NUMBER" apart. False: it is no token. */
static bool take_token(struct follow *follow, const char *token)
{
    const char *colon = strchr(token, ':');
    char *end;

    if (colon == NULL || colon == token || (size_t)(colon - token) >= HISTORY_BYTES ||
        colon[1] < '0' || colon[1] > '9') {
        return false;
    }
    errno = 0;
    follow->after = strtoll(colon + 1, &end, 10);
    snprintf(follow->history, sizeof follow->history, "%.*s", (int)(colon - token), token);
    return *end == '\0' && errno == 0;
}

/* Notes why a write has failed. Returns whether all have succeeded so far. */
static bool follow_wrote(struct follow *follow, bool written)
{
    follow->error = written || follow->error != 0 ? follow->error : errno;
    return follow->error == 0;
}

/* Prints where to go on. Lines are on the disk before the token that vouches for them. */
static void print_token(struct follow *follow)
{
    bool on_disk =
        fflush(follow->out) == 0 && (follow->out == stdout || fdatasync(fileno(follow->out)) == 0);

    if (follow_wrote(follow, on_disk)) {
        follow_wrote(follow, fprintf(follow->out, "%s%s:%" PRId64 "\"}\n", token_begin,
                                     follow->history, follow->after) > 0 &&
                                 fflush(follow->out) == 0);
    }
}

/* Finds the last token line of a file; what is behind it is cut off. False: on failure, which has
 * been printed. */
static bool resume_file(struct follow *follow)
{
    char *line = NULL;
    size_t capacity = 0;
    long at = 0, keep = 0;
    ssize_t length;

    while ((length = getline(&line, &capacity, follow->out)) > 0) {
        at += length;
        if (strncmp(line, token_begin, strlen(token_begin)) == 0 && line[length - 1] == '\n') {
            char *token = line + strlen(token_begin);

            token[strcspn(token, "\"")] = '\0';
            keep = take_token(follow, token) ? at : keep;
        }
    }
    free(line);
    if (ferror(follow->out) || ftruncate(fileno(follow->out), keep) != 0 ||
        fseek(follow->out, keep, SEEK_SET) != 0) {
        command_fail(follow->settings, EXIT_CODE_NO, "setting output: %s: %s",
                     follow->settings->output, strerror(errno));
        return false;
    }
    return true;
}

static bool open_output(struct follow *follow)
{
    const char *path = follow->settings->output;

    follow->out = path == NULL ? stdout : fopen(path, "a+e");
    if (follow->out == NULL) {
        command_fail(follow->settings, EXIT_CODE_USAGE, "setting output: cannot open %s: %s", path,
                     strerror(errno));
        return false;
    }
    return path == NULL || (fseek(follow->out, 0, SEEK_SET) == 0 && resume_file(follow));
}

/* --- one look --- */

static int64_t number_at(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

/* Checks that the token's history is this database's: one that lost transactions gives their
 * numbers to others. */
static bool check_history(struct follow *follow, const char *history)
{
    if (follow->history[0] == '\0' || strcmp(follow->history, "none") == 0) {
        snprintf(follow->history, sizeof follow->history, "%s", history);
    }
    if (strcmp(follow->history, history) == 0) {
        return true;
    }
    follow->pg.exit_code = command_fail(
        follow->settings, EXIT_CODE_NO,
        "the database's history is %s, the token's is %s: it was restored, or another server took "
        "over, and may have lost records; see `blotter audit`, then begin with --after beginning "
        "or --after now",
        history, follow->history);
    return false;
}

static void warn_if_held_back(struct follow *follow, bool held)
{
    int64_t held_ms = clock_monotonic_ms() - follow->moved_ms;

    if (held && held_ms > PATIENCE_MS) {
        PGresult *result =
            pg_query(&follow->pg, "SELECT blotter_internal.oldest_transaction()", 0, NULL);

        if (result != NULL) {
            log_warn("follow", "held back for %" PRId64 " s by a transaction that does not end: %s",
                     held_ms / 1000, PQgetvalue(result, 0, 0));
        }
        PQclear(result);
    }
}

static bool find_first(struct follow *follow)
{
    if (strcmp(follow->settings->after, "beginning") != 0) {
        follow->after = follow->xmin;
        print_token(follow);
        return true;
    }
    PGresult *result = pg_query(&follow->pg, "SELECT blotter_internal.first_stored()", 0, NULL);
    follow->after = result == NULL ? -1 : number_at(result, 0);
    PQclear(result);
    return follow->after >= 0;
}

/* Asks how far transactions have ended, and chooses the next window. False: on failure. */
static bool choose_window(struct follow *follow)
{
    PGresult *state =
        pg_query(&follow->pg,
                 "SELECT history, xmin, held, loads FROM blotter_internal.follow_state()", 0, NULL);
    int64_t now = clock_monotonic_ms();

    if (state == NULL) {
        return false;
    }
    int64_t xmin = number_at(state, 1), loads = number_at(state, 3);
    bool held = PQgetvalue(state, 0, 2)[0] == 't',
         fine = check_history(follow, PQgetvalue(state, 0, 0));
    PQclear(state);
    follow->moved_ms = xmin == follow->xmin && follow->moved_ms != 0 ? follow->moved_ms : now;
    follow->xmin = xmin;
    if (!fine || (follow->after < 0 && !find_first(follow))) {
        return false;
    }
    warn_if_held_back(follow, held);
    bool due = loads != follow->loads || now - follow->looked_ms >= LOOK_MS ||
               xmin - follow->after > WINDOW || follow->settings->once;
    if (follow->before == 0 && xmin > follow->after && due) {
        follow->before = xmin < follow->after + WINDOW ? xmin : follow->after + WINDOW;
        follow->loads = loads;
        follow->looked_ms = now;
    }
    return true;
}

/* Prints the rows of one result, but for those of the window that were printed before. */
static void print_rows(struct follow *follow, const PGresult *result, int64_t *seen)
{
    for (int row = 0; row < PQntuples(result); row++) {
        if (++*seen > follow->printed) {
            follow_wrote(follow, fputs(PQgetvalue(result, row, 0), follow->out) != EOF &&
                                     fputc('\n', follow->out) != EOF);
            follow->printed = *seen;
        }
    }
}

/* Prints the window, a row at a time, so that it may be larger than memory. False: on failure. */
static bool print_window(struct follow *follow)
{
    char after[24], before[24];
    const char *const values[] = {after, before, follow->settings->exchange};
    PGconn *connection = follow->pg.connection;
    PGresult *result;
    int64_t seen = 0;
    bool complete = false;

    snprintf(after, sizeof after, "%" PRId64, follow->after);
    snprintf(before, sizeof before, "%" PRId64, follow->before);
    if (PQsendQueryParams(connection,
                          "SELECT * FROM blotter_internal.follow($1::bigint, $2::bigint, $3)", 3,
                          NULL, values, NULL, NULL, 0) != 1 ||
        PQsetSingleRowMode(connection) != 1) {
        pg_fail(&follow->pg, NULL, "cannot ask for records");
        return false;
    }
    while ((result = PQgetResult(connection)) != NULL) {
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
            print_rows(follow, result, &seen);
        } else if (PQresultStatus(result) == PGRES_TUPLES_OK) {
            complete = true;
        } else {
            pg_fail(&follow->pg, result, "cannot read records");
        }
        bool copies = pg_result_begins_copy(result);
        PQclear(result);
        if (copies || follow->error != 0) {
            return false;
        }
    }
    if (!complete) {
        return false;
    }
    follow->after = follow->before;
    if (follow->printed > 0) {
        print_token(follow);
    }
    follow->before = follow->printed = 0;
    return true;
}

/* --- the loop --- */

static void wait_ms(int ms)
{
    usleep((useconds_t)ms * 1000);
}

static bool follow_connect(struct follow *follow)
{
    follow->connected =
        pg_open_session(&follow->pg, follow->settings) &&
        pg_run(&follow->pg, "SET default_transaction_read_only = on; SET jit = off");
    return follow->connected;
}

/* Looks until it is interrupted, --once is done, the reader is gone, or an error that stays. */
static int follow_on(struct follow *follow)
{
    bool was_connected = false;

    while (!stopped && follow->error == 0) {
        bool done = (follow->connected || follow_connect(follow)) && choose_window(follow);

        was_connected = was_connected || follow->connected;
        if (done && follow->before > 0) {
            done = print_window(follow);
        } else if (done && follow->settings->once && follow->after >= follow->xmin) {
            print_token(follow);
            return EXIT_CODE_DONE;
        } else if (done) {
            wait_ms(POLL_MS);
        }
        if (!done && follow->error == 0) {
            int code = follow->pg.exit_code;

            pg_close(&follow->pg);
            follow->connected = false;
            if (code != EXIT_CODE_UNREACHABLE || !was_connected) {
                return code;
            }
            wait_ms(RECONNECT_MS);
        }
    }
    return EXIT_CODE_DONE;
}

int command_follow(const struct settings *settings)
{
    struct follow follow = {.settings = settings, .after = -1};
    struct sigaction action = {.sa_handler = on_follow_signal};
    bool word = strcmp(settings->after, "now") == 0 || strcmp(settings->after, "beginning") == 0;

    if (!word && !take_token(&follow, settings->after)) {
        return command_fail(settings, EXIT_CODE_USAGE,
                            "setting after: \"%.96s\" is not now, beginning, or a token that "
                            "follow has printed",
                            settings->after);
    }
    if (!open_output(&follow)) {
        return EXIT_CODE_USAGE;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int code = follow_on(&follow);
    if (follow.connected) {
        pg_close(&follow.pg);
    }
    if (follow.out != stdout && !follow_wrote(&follow, fclose(follow.out) == 0)) {
        code = command_fail(settings, EXIT_CODE_NO, "setting output: cannot write %s: %s",
                            settings->output, strerror(follow.error));
    }
    return code; /* main reports what stdout did not take */
}
