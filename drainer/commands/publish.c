/* publish.c: `blotter publish`: JSON lines on stdin, through libblotter, to Redis.
 *
 * It begins only when Redis is there, so that a wrong URL or password is an error at once; from
 * then on Redis may come and go. A full journal makes it wait: unlike a strategy it has the time. A
 * line that is no record is reported and skipped. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drainer/commands.h"
#include "drainer/commands/line_input.h"
#include "drainer/commands/log_event.h"
#include "drainer/memory.h"
#include "drainer/settings_table.h"
#include "producer/blotter.h"
#include "producer/redis_error.h"
#include "producer/redis_url.h"
#include "schema/clock.h"
#include "schema/json_lines.h"

enum {
    STEP_MS = 100,          /* between two looks at how far it is */
    PROGRESS_MS = 10000,    /* between two lines that say so */
    PROGRESS_TTY_MS = 2000, /* the same, where somebody is watching */
    CLOSE_MS = 5000,
    LINES_BETWEEN_LOOKS = 1024,
};

/* Seqs of our records without a gap: the library's own session records are in the same sequence. */
struct run {
    int64_t first;
    int64_t count;
};

struct publish {
    const struct settings *settings;
    blotter_producer *producer;
    struct json_lines records;     /* of one line of input */
    struct blotter_entry *entries; /* of the same */
    size_t entry_capacity;
    char *plain; /* the line without NaN */
    size_t plain_capacity;
    struct line_input input;
    struct run *runs;
    size_t run_count, run_capacity;
    int64_t accepted, rejected, misplaced;
    int64_t started_ms, told_ms,
        moved_ms;           /* begun; last progress line; something was last sent or committed */
    int64_t moved_to;       /* sent + committed then */
    struct redis_url redis; /* for messages */
    atomic_bool begun;      /* Redis was there: from now on its absence is an event, not an error */
};

static volatile sig_atomic_t stopped;

static void publish_on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* Lets SIGINT and SIGTERM in only while `waiting` is the mask: in ppoll, and in pause_ms. */
static void catch_signals(sigset_t *waiting)
{
    struct sigaction action = {.sa_handler = publish_on_signal};
    sigset_t caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigprocmask(SIG_BLOCK, &caught, waiting);
    sigdelset(waiting, SIGINT);
    sigdelset(waiting, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* --- how far --- */

static void count_accepted(struct publish *publish, int64_t seq)
{
    struct run *last = publish->run_count == 0 ? NULL : &publish->runs[publish->run_count - 1];

    publish->accepted++;
    if (last != NULL && seq == last->first + last->count) {
        last->count++;
        return;
    }
    publish->runs = array_grow_or_abort(publish->runs, &publish->run_capacity,
                                        publish->run_count + 1, sizeof *publish->runs);
    publish->runs[publish->run_count++] = (struct run){seq, 1};
}

/* Counts those of our records that have a seq up to that. */
static int64_t count_up_to(const struct publish *publish, int64_t seq)
{
    int64_t count = 0;

    for (size_t i = 0; i < publish->run_count && publish->runs[i].first <= seq; i++) {
        const struct run *run = &publish->runs[i];
        int64_t within = seq - run->first + 1;

        count += within < run->count ? within : run->count;
    }
    return count;
}

static struct blotter_stats publish_look(struct publish *publish)
{
    struct blotter_stats stats = {0};

    blotter_stats(publish->producer, &stats);
    if (stats.sent + stats.committed != publish->moved_to) {
        publish->moved_to = stats.sent + stats.committed;
        publish->moved_ms = clock_monotonic_ms();
    }
    return stats;
}

/* Looks how far it is, and now and then says so. False: nothing has moved for longer than
 * `timeout`. */
static bool publish_is_moving(struct publish *publish)
{
    struct blotter_stats stats = publish_look(publish);
    int64_t now = clock_monotonic_ms(), timeout = publish->settings->timeout;

    if (now - publish->told_ms >= (isatty(STDERR_FILENO) ? PROGRESS_TTY_MS : PROGRESS_MS)) {
        publish->told_ms = now;
        fprintf(stderr,
                "%" PRId64 " accepted, %" PRId64 " sent, %" PRId64 " committed, %" PRId64
                " of %" PRId64 " slots taken%s%s\n",
                publish->accepted, count_up_to(publish, stats.sent),
                count_up_to(publish, stats.committed), stats.held, stats.slots,
                stats.last_error[0] == '\0' ? "" : "; Redis: ", stats.last_error);
    }
    return timeout == 0 || now - publish->moved_ms < timeout;
}

/* --- waiting --- */

/* Sleeps for a while; a signal ends it. */
static void pause_ms(const struct publish *publish, long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    pselect(0, NULL, NULL, NULL, &time, publish->input.waiting_mask);
}

/* Returns EXIT_CODE_DONE once Redis is there. */
static int wait_for_redis(struct publish *publish)
{
    int64_t deadline = clock_monotonic_ms() + publish->settings->connect_timeout;
    struct blotter_stats stats;

    while (!(stats = publish_look(publish)).redis_up && !stopped) {
        const char *of_setting = redis_error_of_setting(stats.last_error);

        if (of_setting != NULL || clock_monotonic_ms() >= deadline) {
            return command_fail(
                publish->settings, of_setting != NULL ? EXIT_CODE_USAGE : EXIT_CODE_UNREACHABLE,
                "setting redis: %s: %s; nothing was read from stdin", publish->redis.place,
                of_setting != NULL            ? of_setting
                : stats.last_error[0] == '\0' ? "no answer"
                                              : stats.last_error);
        }
        pause_ms(publish, 5);
    }
    return EXIT_CODE_DONE;
}

/* Waits until everything in the journal is sent, or committed. False: it was interrupted, or timed
 * out. */
static bool wait_until_done(struct publish *publish)
{
    bool committed = strcmp(publish->settings->until, "committed") == 0;

    publish->moved_ms = clock_monotonic_ms();
    while (!stopped && publish_is_moving(publish)) {
        if (blotter_flush(publish->producer, committed ? BLOTTER_COMMITTED : BLOTTER_SENT,
                          STEP_MS) == BLOTTER_OK) {
            return true;
        }
        pause_ms(publish, 0); /* lets signals in */
    }
    return false;
}

/* Says what is missing, and returns the exit code: if Redis has everything, it is reached. */
static int say_unfinished(struct publish *publish)
{
    struct blotter_stats stats = publish_look(publish);
    bool reached = stats.redis_up && stats.last_error[0] == '\0' &&
                   count_up_to(publish, stats.sent) == publish->accepted;
    char why[512];

    if (reached) {
        snprintf(why, sizeof why, "Redis has it all; is a drainer running?");
    } else {
        snprintf(why, sizeof why, "setting redis: %.128s: %s", publish->redis.place,
                 stats.last_error[0] == '\0' ? "no answer" : stats.last_error);
    }
    return command_fail(
        publish->settings, reached ? EXIT_CODE_NO : EXIT_CODE_UNREACHABLE,
        "%s before everything was %s: %s; what is missing stays in the journal %s, and the next "
        "publish sends it",
        stopped ? "interrupted"
                : "given up, as nothing moved for the time given by the setting timeout,",
        publish->settings->until, why, stats.journal);
}

/* --- lines --- */

static void publish_reject(struct publish *publish, const char *problem)
{
    publish->rejected++;
    fprintf(stderr, "line %" PRIu64 ": %s\n", publish->input.number, problem);
}

static void reject_overlong(struct publish *publish, const char *text, size_t length)
{
    char key[JSON_LINE_KEY_BYTES], problem[160];

    json_line_key_at(text, length, length, key);
    snprintf(problem, sizeof problem, "%s%sthe line is longer than %d bytes", key,
             key[0] == '\0' ? "" : ": ", LINE_INPUT_BYTES_MAX);
    publish_reject(publish, problem);
}

_Static_assert((int)BLOTTER_KIND_TRADE == (int)RECORD_TRADE &&
                   (int)BLOTTER_KIND_CASH == (int)RECORD_CASH &&
                   (int)BLOTTER_KIND_BALANCE == (int)RECORD_BALANCE &&
                   (int)BLOTTER_KIND_POSITION == (int)RECORD_POSITION &&
                   (int)BLOTTER_KIND_INSTRUMENT == (int)RECORD_INSTRUMENT,
               "the library's kinds are ours");

/* Records what a line of input has become, all of it or nothing. */
static int64_t publish_submit(struct publish *publish)
{
    publish->entries = array_grow_or_abort(publish->entries, &publish->entry_capacity,
                                           publish->records.count, sizeof *publish->entries);
    for (size_t i = 0; i < publish->records.count; i++) {
        const struct json_line *line = &publish->records.lines[i];
        /* all structs begin where the union does */
        publish->entries[i] =
            (struct blotter_entry){.kind = (int)line->kind, .record = &line->order};
    }
    return blotter_submit(publish->producer, publish->entries, publish->records.count);
}

/* Records a line of input. False: it could not be done in time, or was interrupted. */
static bool record_line(struct publish *publish)
{
    int64_t seq;
    char problem[256];

    publish->moved_ms = clock_monotonic_ms();
    while ((seq = publish_submit(publish)) == BLOTTER_FULL) {
        if (stopped || !publish_is_moving(publish)) {
            return false;
        }
        pause_ms(publish, 1);
    }
    if (seq > 0) {
        for (size_t i = 0; i < publish->records.count; i++) {
            count_accepted(publish, seq + (int64_t)i);
        }
    } else if (seq == BLOTTER_INVALID) {
        publish_reject(publish, blotter_problem());
    } else if (seq == BLOTTER_TOO_LONG) {
        if (publish->records.count > (size_t)publish_look(publish).slots / 2) {
            snprintf(problem, sizeof problem,
                     "its %zu records do not fit half of the journal: give more slots",
                     publish->records.count);
        } else {
            snprintf(problem, sizeof problem,
                     "the record does not fit a slot of the journal: give a larger slot_bytes");
        }
        publish_reject(publish, problem);
    } else {
        publish_reject(publish, blotter_status_text((int)seq));
        return false;
    }
    return true;
}

static bool publish_is_empty(const char *text, size_t length)
{
    size_t blanks = 0;

    while (blanks < length && strchr(" \t\r", text[blanks]) != NULL && text[blanks] != '\0') {
        blanks++;
    }
    return blanks == length;
}

/* Returns the length of a word that Python's json writes for what is no number, or 0. */
static size_t no_number_at(const char *at, const char *end)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(end - at) >= length && memcmp(at, words[i], length) == 0) {
            return length;
        }
    }
    return 0;
}

/* Copies a line with null in the place of each such word. Returns how many there are. */
static unsigned leave_out_no_numbers(struct publish *publish, const char *text, size_t length,
                                     size_t *made, size_t *first)
{
    const char *at = text, *end = text + length;
    unsigned count = 0;
    bool inside = false; /* a string */

    publish->plain =
        array_grow_or_abort(publish->plain, &publish->plain_capacity, 2 * length + 8, 1);
    char *out = publish->plain;
    while (at < end) {
        size_t word = inside ? 0 : no_number_at(at, end);
        if (word > 0) {
            *first = count++ == 0 ? (size_t)(at - text) : *first;
            out = mempcpy(out, "null", 4);
            at += word;
            continue;
        }
        inside ^= *at == '"';
        if (inside && *at == '\\' && at + 1 < end) {
            *out++ = *at++;
        }
        *out++ = *at++;
    }
    *made = (size_t)(out - publish->plain);
    return count;
}

/* Reads a line again, if it is no JSON for such words. Returns -1: it is no record all the same. */
static int parse_without_no_numbers(struct publish *publish, const struct json_source *source,
                                    const char *text, size_t length)
{
    struct json_lines *records = &publish->records;
    char problem[sizeof records->problem], key[JSON_LINE_KEY_BYTES];
    size_t made, first = 0;
    unsigned count = leave_out_no_numbers(publish, text, length, &made, &first);

    if (count == 0) {
        return -1;
    }
    memcpy(problem, records->problem, sizeof problem);
    json_lines_clear(records);
    if (json_lines_add(records, source, publish->plain, made) != 0) {
        if (strstr(records->problem, "not JSON") != NULL) { /* then the line as it came */
            memcpy(records->problem, problem, sizeof problem);
        }
        return -1;
    }
    json_line_key_at(text, length, first, key);
    fprintf(stderr, "line %" PRIu64 ": %s%sNaN or Infinity, which is no number: left out\n",
            publish->input.number, key, key[0] == '\0' ? "" : ": ");
    publish->misplaced += count;
    return 0;
}

/* Reads the records of a line of input. False: it has none, which has been said. */
static bool publish_parse(struct publish *publish, const char *text, size_t length)
{
    const struct json_source source = {
        .exchange = publish->settings->exchange, .kind = -1, .snapshot = clock_wall_ns()};
    struct json_lines *records = &publish->records;

    json_lines_clear(records);
    if (json_lines_add(records, &source, text, length) != 0 &&
        parse_without_no_numbers(publish, &source, text, length) != 0) {
        publish_reject(publish, records->problem);
        return false;
    }
    for (size_t i = 0; i < records->count; i++) {
        const struct json_line *line = &records->lines[i];
        if (line->misplaced > 0) {
            fprintf(stderr, "line %" PRIu64 ": %s%s%skept in extra\n", publish->input.number,
                    line->nested ? "trades: " : "", line->problem,
                    line->problem[0] == '\0' ? "" : ": ");
            publish->misplaced += line->misplaced;
        }
    }
    return records->count > 0;
}

/* Returns an exit code: whether all lines were taken, whatever became of them. */
static int publish_take_lines(struct publish *publish)
{
    const char *text;
    size_t length;
    enum line_result result;

    while (!stopped && (result = line_input_next(&publish->input, &text, &length)) != LINE_END) {
        if (result == LINE_FAILED) {
            return command_fail(publish->settings, EXIT_CODE_NO, "cannot read stdin: %s",
                                strerror(errno));
        }
        if (result == LINE_TOO_LONG) {
            reject_overlong(publish, text, length);
        } else if (result == LINE_TEXT && !publish_is_empty(text, length) &&
                   publish_parse(publish, text, length) && !record_line(publish)) {
            return command_fail(publish->settings, EXIT_CODE_NO,
                                "stopped at line %" PRIu64 ", which was not recorded",
                                publish->input.number);
        }
        if (publish->input.number % LINES_BETWEEN_LOOKS == 0) {
            publish_is_moving(publish);
        }
    }
    return EXIT_CODE_DONE;
}

/* --- the producer --- */

static void publish_on_event(void *arg, enum blotter_event event, const char *text)
{
    const struct publish *publish = arg;

    if (atomic_load_explicit(&publish->begun, memory_order_relaxed)) {
        log_event("redis", "journal", event, text);
    }
}

static bool publish_open_producer(struct publish *publish)
{
    const struct settings *settings = publish->settings;
    struct blotter_options options = {
        .exchange = settings->exchange,
        .lane = settings->lane,
        .redis = settings->redis,
        .redis_password = settings->redis_password,
        .journal = settings->journal,
        .slots = (uint32_t)settings->slots,
        .slot_bytes = (uint32_t)settings->slot_bytes,
        .sync = strcmp(settings->sync, "interval") == 0 ? BLOTTER_SYNC_INTERVAL : BLOTTER_SYNC_NONE,
        .on_event = publish_on_event,
        .on_event_arg = publish};
    char error[512];

    if (settings->exchange == NULL) {
        command_fail(settings, EXIT_CODE_USAGE,
                     "setting exchange: required, as in --exchange binance");
        return false;
    }
    if (redis_url_parse(&publish->redis, settings->redis, error, sizeof error) != 0) {
        command_fail(settings, EXIT_CODE_USAGE, "setting redis: %s", error);
        return false;
    }
    int status = blotter_open(&publish->producer, &options);
    if (status != BLOTTER_OK) {
        command_fail(settings, EXIT_CODE_USAGE, "setting %s%s",
                     status == BLOTTER_OPTION ? "" : "journal: ", blotter_open_error());
        return false;
    }
    return true;
}

/* Prints the answer on stdout. */
static void publish_print_answer(struct publish *publish)
{
    struct blotter_stats stats = publish_look(publish);

    printf("{\"accepted\": %" PRId64 ", \"sent\": %" PRId64 ", \"committed\": %" PRId64
           ", \"rejected\": %" PRId64 ", \"misplaced\": %" PRId64 ", \"seconds\": %.3f}\n",
           publish->accepted, count_up_to(publish, stats.sent),
           count_up_to(publish, stats.committed), publish->rejected, publish->misplaced,
           (double)(clock_monotonic_ms() - publish->started_ms) / 1000);
}

static int publish_run(struct publish *publish)
{
    int code = wait_for_redis(publish);
    if (code != EXIT_CODE_DONE) {
        return code;
    }
    atomic_store_explicit(&publish->begun, true, memory_order_relaxed);
    publish->started_ms = publish->told_ms = publish->moved_ms = clock_monotonic_ms();
    code = publish_take_lines(publish);
    if (!wait_until_done(publish)) {
        code = say_unfinished(publish);
    }
    publish_print_answer(publish);
    return code == EXIT_CODE_DONE && publish->rejected > 0 ? EXIT_CODE_NO : code;
}

int command_publish(const struct settings *settings)
{
    struct publish publish = {.settings = settings};
    sigset_t waiting;
    int code = EXIT_CODE_USAGE;

    catch_signals(
        &waiting); /* before the library starts its thread, which inherits that they are blocked */
    line_input_open(&publish.input, STDIN_FILENO, &waiting);
    if (publish_open_producer(&publish)) {
        code = publish_run(&publish);
        blotter_close(publish.producer, code >= EXIT_CODE_USAGE || stopped ? 0 : CLOSE_MS);
    }
    line_input_close(&publish.input);
    json_lines_release(&publish.records);
    free(publish.entries);
    free(publish.plain);
    free(publish.runs);
    return code;
}
