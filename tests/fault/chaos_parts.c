/* chaos_parts.c: see chaos_parts.h. */
#include "tests/fault/chaos_parts.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/fault/chaos_desk.h"
#include "tests/fixture/bad_entries.h"

enum {
    DELAY_MS = 100,
    END_MS = 30000,    /* for what has been told to end */
    COMMIT_MS = 60000, /* without a commit, while desks have not everything committed */
    RESTART_MS = 200,
};

typedef void act(struct chaos *, const struct chaos_step *);

/* --- starting and ending --- */

static void start_drainer(struct chaos *chaos, unsigned which)
{
    const char *const environment[] = {
        fixture_format("BLOTTER_REDIS=%s", fixture_proxy_address(chaos->redis_lines[which])),
        fixture_format("BLOTTER_POSTGRES=%s", fixture_proxy_address(chaos->postgres_lines[which])),
        NULL};

    chaos->drainers[which].program =
        story_start_program(STORY_ARGV("drain", "--consumer", fixture_format("d%u", which),
                                       "--claim-idle", "4s", "--postgres-timeout", "5s"),
                            &(struct fixture_program_options){.environment = environment});
    chaos->drainers[which].wanted = true;
}

static void start_desk(struct chaos *chaos, unsigned which)
{
    const struct fixture_proxy *line = chaos->desk_lines[which % CHAOS_DESK_LINE_COUNT];
    const char *const environment[] = {
        fixture_format("BLOTTER_REDIS=%s", fixture_proxy_address(line)), NULL};
    const char *const argv[] = {
        program_invocation_name, /* not /proc/self/exe, which is valgrind where that runs us */
        "desk",
        fixture_format("%u", which),
        chaos->folder,
        fixture_format("%" PRId64, chaos->time_ns),
        fixture_format("%" PRId64, chaos->began_ms),
        fixture_format("%" PRId64, chaos->duration_ms),
        fixture_format("%d", which < CHAOS_GOOD_DESKS ? chaos->per_second : chaos->per_second / 2),
        NULL};

    chaos->desks[which].program =
        story_start_program(argv, &(struct fixture_program_options){.environment = environment});
    chaos->desks[which].wanted = true;
}

static void start_shipper(struct chaos *chaos)
{
    const char *const environment[] = {
        fixture_format("BLOTTER_REDIS=%s", fixture_proxy_address(chaos->desk_lines[0])), NULL};

    chaos->shipper.program =
        story_start_program(STORY_ARGV("ship", "--until", "committed"),
                            &(struct fixture_program_options){.environment = environment});
    chaos->shipper.wanted = true;
}

void chaos_parts_start(struct chaos *chaos)
{
    chaos->began_ms = fixture_now_ms();
    for (unsigned i = 0; i < CHAOS_DESK_LINE_COUNT; i++) {
        chaos->desk_lines[i] = fixture_proxy_redis(story_redis, false);
    }
    for (unsigned i = 0; i < CHAOS_DRAINER_COUNT; i++) {
        chaos->redis_lines[i] = fixture_proxy_redis(story_redis, false);
        chaos->postgres_lines[i] = fixture_proxy_postgres(story_postgres, false);
        start_drainer(chaos, i);
    }
    start_shipper(chaos);
    for (unsigned i = 0; i < CHAOS_DESK_COUNT; i++) {
        start_desk(chaos, i);
    }
}

/* It ended by itself, or because it was told to: with one of these? A sanitizer's finding is never
 * right. */
static void check_end(struct chaos_worker *worker, const char *name, unsigned which,
                      const int *allowed)
{
    int status = fixture_program_wait(worker->program, END_MS);
    const char *said = fixture_program_stderr(worker->program);
    bool right = strstr(said, "Sanitizer") == NULL && strstr(said, "runtime error") == NULL;

    for (; *allowed >= 0 && *allowed != status; allowed++) {
    }
    if (!right || *allowed < 0) {
        size_t length = strlen(said);

        fixture_fail("%s %u ended with status %d; it said:\n%s%s", name, which, status,
                     length > 8000 ? "...\n" : "", length > 8000 ? said + length - 8000 : said);
    }
}

/* True when it is time to start it again. */
static bool has_to_start(struct chaos *chaos, struct chaos_worker *worker, const char *name,
                         unsigned which)
{
    if (!worker->wanted || fixture_program_running(worker->program)) {
        worker->start_at_ms = 0;
    } else if (worker->start_at_ms == 0) {
        check_end(worker, name, which, (const int[]){3, -1});
        chaos->restarts++;
        worker->start_at_ms = fixture_now_ms() + RESTART_MS;
    } else {
        return fixture_now_ms() >= worker->start_at_ms;
    }
    return false;
}

void chaos_parts_tend(struct chaos *chaos)
{
    chaos_takeover_tend(&chaos->takeover);
    for (unsigned i = 0; i < CHAOS_DRAINER_COUNT; i++) {
        if (has_to_start(chaos, &chaos->drainers[i], "drainer", i)) {
            start_drainer(chaos, i);
        }
    }
    for (unsigned i = 0; i < CHAOS_DESK_COUNT; i++) {
        if (chaos->desks[i].wanted && !fixture_program_running(chaos->desks[i].program)) {
            check_end(&chaos->desks[i], "desk", i, (const int[]){-1});
        }
    }
    if (has_to_start(chaos, &chaos->shipper, "shipper", 0)) {
        start_shipper(chaos);
    }
}

static bool desks_have_ended(void *arg)
{
    struct chaos *chaos = arg;
    bool all = true;

    chaos_parts_tend(chaos);
    for (unsigned i = 0; i < CHAOS_DESK_COUNT; i++) {
        all = !fixture_program_running(chaos->desks[i].program) && all;
    }
    return all;
}

static bool no_journal_is_left(void *arg)
{
    DIR *folder = opendir(story_journals());
    bool none = true;

    chaos_parts_tend(arg);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        none = none && entry->d_name[0] == '.';
    }
    closedir(folder);
    return none;
}

/* Waits as long as entries are committed, however slow the machine is. */
static void await_desks(struct chaos *chaos)
{
    for (int64_t before = -1, now; !fixture_wait_until(desks_have_ended, chaos, COMMIT_MS);
         before = now) {
        now = story_int("SELECT coalesce(sum(n), 0)::bigint FROM blotter_internal.loaded");
        if (now == before) {
            fixture_fail("the desks do not end, and nothing was committed for %d ms", COMMIT_MS);
        }
    }
}

void chaos_parts_finish(struct chaos *chaos)
{
    for (unsigned i = 0; i < CHAOS_DESK_COUNT; i++) {
        if (!fixture_program_says(chaos->desks[i].program, CHAOS_DESK_LISTENS, END_MS)) {
            fixture_fail("desk %u does not begin", i);
        }
    }
    for (unsigned i = 0; i < CHAOS_DESK_COUNT; i++) {
        chaos->desks[i].wanted = false;
        fixture_program_signal(chaos->desks[i].program, SIGINT);
    }
    await_desks(chaos);
    for (unsigned i = 0; i < CHAOS_DESK_COUNT; i++) {
        check_end(&chaos->desks[i], "desk", i, (const int[]){0, -1});
    }
    if (!fixture_wait_until(no_journal_is_left, chaos, END_MS)) {
        fixture_fail("journals are left; the shipper said:\n%s",
                     fixture_program_stderr(chaos->shipper.program));
    }
    chaos->shipper.wanted = false;
    fixture_program_signal(chaos->shipper.program, SIGTERM);
    check_end(&chaos->shipper, "shipper", 0, (const int[]){0, -1});
}

/* A kill: was it one? The program may just have ended by itself. */
static void saw(struct chaos *chaos, const struct chaos_step *step, bool killed)
{
    chaos->kills[step->part].tried++;
    chaos->kills[step->part].seen += killed;
}

/* --- Redis --- */

static void redis_kill(struct chaos *chaos, const struct chaos_step *step)
{
    pid_t pid = fixture_redis_pid(story_redis);

    fixture_redis_kill9(story_redis);
    saw(chaos, step, kill(pid, 0) != 0);
}

static void redis_stop(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_redis_stop(story_redis, SIGTERM);
}

static void redis_start(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_redis_start_again(story_redis);
}

static void redis_pause(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_redis_pause(story_redis);
}

static void redis_resume(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_redis_resume(story_redis);
}

/* Runs a command as a person with redis-cli would; a missing stream or group is no mistake. */
static void redis_type(const char *script, const struct chaos_step *step)
{
    redisContext *redis = fixture_redis_connect(story_redis);

    freeReplyObject(redisCommand(redis, "EVAL %s 1 blotter:%s", script, chaos_exchanges[step->of]));
    redisFree(redis);
}

#define REDIS_TYPED(name, script)                                        \
    static void name(struct chaos *chaos, const struct chaos_step *step) \
    {                                                                    \
        (void)chaos;                                                     \
        redis_type(script, step);                                        \
    }
REDIS_TYPED(redis_flush, "redis.call('FLUSHALL')")
REDIS_TYPED(redis_delete, "redis.call('DEL', KEYS[1])")
REDIS_TYPED(redis_trim, "redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)")
REDIS_TYPED(redis_group, "redis.call('XGROUP', 'DESTROY', KEYS[1], 'drainers')")
REDIS_TYPED(redis_setid, "redis.call('XGROUP', 'SETID', KEYS[1], 'drainers', '$')")
REDIS_TYPED(
    redis_ack,
    "for _, entry in ipairs(redis.call('XPENDING', KEYS[1], 'drainers', '-', '+', 100000)) do "
    "redis.call('XACK', KEYS[1], 'drainers', entry[1]) end")
REDIS_TYPED(redis_consumer,
            "for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], 'drainers')) do "
            "redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'drainers', consumer[2]) end")

static void redis_save(struct chaos *chaos, const struct chaos_step *step)
{
    redisContext *redis = fixture_redis_connect(story_redis);

    (void)chaos, (void)step;
    freeReplyObject(redisCommand(redis, "BGSAVE"));
    redisFree(redis);
}

static void redis_full(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos;
    fixture_redis_run(story_redis, "CONFIG SET maxmemory %d", step->heals ? 0 : 1);
}

static void redis_refuses(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos;
    fixture_redis_run(story_redis, "CONFIG SET min-replicas-to-write %d", step->heals ? 0 : 1);
}

/* Always into one stream: a producer id in two of them is forged, as the audit says. */
static void redis_nonsense(struct chaos *chaos, const struct chaos_step *step)
{
    size_t count;
    const struct bad_entry *bad = bad_entries(&count);
    redisContext *redis = fixture_redis_connect(story_redis);

    (void)chaos, (void)step;
    for (size_t i = 0; i < count; i++) {
        freeReplyObject(redisCommand(redis, "XADD blotter:%s * %s %b", chaos_exchanges[0],
                                     bad[i].field, bad[i].bytes, bad[i].length));
    }
    redisFree(redis);
}

static void redis_clients(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_redis_run(story_redis, "CLIENT KILL TYPE normal SKIPME yes");
}

/* --- PostgreSQL --- */

static void postgres_kill(struct chaos *chaos, const struct chaos_step *step)
{
    pid_t pid = fixture_postgres_pid(story_postgres);

    fixture_postgres_kill9(story_postgres);
    saw(chaos, step, kill(pid, 0) != 0);
}

static void postgres_stop(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos;
    fixture_postgres_stop(story_postgres,
                          step->verb == CHAOS_POSTGRES_FAST ? FIXTURE_FAST : FIXTURE_IMMEDIATE);
}

static void postgres_start(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_postgres_start_again(story_postgres);
}

static void postgres_pause(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_postgres_pause(story_postgres);
}

static void postgres_resume(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos, (void)step;
    fixture_postgres_resume(story_postgres);
}

static void postgres_signal(struct chaos *chaos, const struct chaos_step *step)
{
    (void)chaos;
    story_sql("SELECT %s(pid) FROM pg_stat_activity WHERE application_name LIKE 'blotter drain%%'",
              step->verb == CHAOS_POSTGRES_CANCEL ? "pg_cancel_backend" : "pg_terminate_backend");
}

/* For sessions that begin from now on: all drainers'. */
static void postgres_read_only(struct chaos *chaos, const struct chaos_step *step)
{
    story_sql("ALTER SYSTEM %s", step->heals ? "RESET default_transaction_read_only"
                                             : "SET default_transaction_read_only = on");
    story_sql("SELECT pg_reload_conf()");
    postgres_signal(chaos, step);
}

/* A drainer that was stopped in a transaction may hold the table for longer than it is worth
 * waiting. */
static void postgres_lock(struct chaos *chaos, const struct chaos_step *step)
{
    (void)step;
    chaos->locker = fixture_postgres_connect(story_postgres);
    PQclear(PQexec(chaos->locker, "SET lock_timeout = '500ms'; BEGIN; LOCK TABLE "
                                  "blotter.order_events IN ACCESS EXCLUSIVE MODE"));
}

static void postgres_unlock(struct chaos *chaos, const struct chaos_step *step)
{
    (void)step;
    PQfinish(chaos->locker);
    chaos->locker = NULL;
}

/* --- both --- */

static void takeover_begin(struct chaos *chaos, const struct chaos_step *step)
{
    (void)step;
    chaos_takeover_begin(&chaos->takeover);
}

static void takeover_end(struct chaos *chaos, const struct chaos_step *step)
{
    (void)step;
    chaos_takeover_end(&chaos->takeover);
}

/* --- processes --- */

static struct chaos_worker *worker_of(struct chaos *chaos, const struct chaos_step *step)
{
    return step->part == CHAOS_DESK      ? &chaos->desks[step->which]
           : step->part == CHAOS_SHIPPER ? &chaos->shipper
                                         : &chaos->drainers[step->which];
}

static void worker_kill(struct chaos *chaos, const struct chaos_step *step)
{
    struct chaos_worker *worker = worker_of(chaos, step);

    worker->wanted = false;
    saw(chaos, step, fixture_program_stop(worker->program, SIGKILL, END_MS) == 128 + SIGKILL);
}

static void worker_term(struct chaos *chaos, const struct chaos_step *step)
{
    struct chaos_worker *worker = worker_of(chaos, step);

    worker->wanted = false;
    fixture_program_signal(worker->program, SIGTERM);
}

static void worker_pause(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_program_signal(worker_of(chaos, step)->program, SIGSTOP);
}

static void worker_resume(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_program_signal(worker_of(chaos, step)->program, SIGCONT);
}

/* 1: what was in hand could not be loaded in time, as PostgreSQL is away; 143: it had not begun to
 * listen for signals. */
static void drainer_start(struct chaos *chaos, const struct chaos_step *step)
{
    if (step->verb == CHAOS_DRAINER_TERM) {
        check_end(&chaos->drainers[step->which], "drainer", step->which,
                  (const int[]){0, 1, 3, 143, -1});
    }
    start_drainer(chaos, step->which);
}

static void desk_start(struct chaos *chaos, const struct chaos_step *step)
{
    if (step->verb == CHAOS_DESK_TERM) {
        check_end(&chaos->desks[step->which], "desk", step->which, (const int[]){0, 143, -1});
    }
    start_desk(chaos, step->which);
}

static void shipper_start(struct chaos *chaos, const struct chaos_step *step)
{
    if (step->verb == CHAOS_SHIPPER_TERM) {
        check_end(&chaos->shipper, "shipper", 0, (const int[]){0, 3, 143, -1});
    }
    start_shipper(chaos);
}

/* --- lines --- */

static struct fixture_proxy *line_of(struct chaos *chaos, const struct chaos_step *step)
{
    return step->part == CHAOS_DESK_LINE    ? chaos->desk_lines[step->which]
           : step->part == CHAOS_REDIS_LINE ? chaos->redis_lines[step->which]
                                            : chaos->postgres_lines[step->which];
}

static void line_cut(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_cut(line_of(chaos, step));
}

static void line_cut_ack(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_cut_at(line_of(chaos, step), FIXTURE_TO_SERVER, "XACK", FIXTURE_CUT_BEFORE);
}

static void line_cut_commit(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_cut_at(line_of(chaos, step), FIXTURE_TO_SERVER, "COMMIT", FIXTURE_CUT_AFTER);
}

static void line_cut_committed(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_cut_at(line_of(chaos, step), FIXTURE_TO_CLIENT, "COMMIT", FIXTURE_CUT_BEFORE);
}

static void line_close(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_close(line_of(chaos, step));
}

static void line_open(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_open(line_of(chaos, step));
}

static void line_stall(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_stall(line_of(chaos, step), step->heals ? 0 : FIXTURE_BOTH);
}

static void line_swallow(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_swallow(line_of(chaos, step), step->heals ? 0 : FIXTURE_BOTH);
}

static void line_delay(struct chaos *chaos, const struct chaos_step *step)
{
    fixture_proxy_delay(line_of(chaos, step), FIXTURE_BOTH, step->heals ? 0 : DELAY_MS);
}

/* --- all of it --- */

static const struct {
    act *breaks, *heals;
} acts[] = {
    [CHAOS_SERVERS_TAKEOVER] = {takeover_begin, takeover_end},
    [CHAOS_REDIS_KILL] = {redis_kill, redis_start},
    [CHAOS_REDIS_RESTART] = {redis_stop, redis_start},
    [CHAOS_REDIS_PAUSE] = {redis_pause, redis_resume},
    [CHAOS_REDIS_SAVE] = {redis_save, NULL},
    [CHAOS_REDIS_FLUSH] = {redis_flush, NULL},
    [CHAOS_REDIS_DELETE] = {redis_delete, NULL},
    [CHAOS_REDIS_TRIM] = {redis_trim, NULL},
    [CHAOS_REDIS_ACK] = {redis_ack, NULL},
    [CHAOS_REDIS_GROUP] = {redis_group, NULL},
    [CHAOS_REDIS_SETID] = {redis_setid, NULL},
    [CHAOS_REDIS_CONSUMER] = {redis_consumer, NULL},
    [CHAOS_REDIS_FULL] = {redis_full, redis_full},
    [CHAOS_REDIS_REFUSES] = {redis_refuses, redis_refuses},
    [CHAOS_REDIS_NONSENSE] = {redis_nonsense, NULL},
    [CHAOS_REDIS_CLIENTS] = {redis_clients, NULL},
    [CHAOS_POSTGRES_KILL] = {postgres_kill, postgres_start},
    [CHAOS_POSTGRES_IMMEDIATE] = {postgres_stop, postgres_start},
    [CHAOS_POSTGRES_FAST] = {postgres_stop, postgres_start},
    [CHAOS_POSTGRES_PAUSE] = {postgres_pause, postgres_resume},
    [CHAOS_POSTGRES_TERMINATE] = {postgres_signal, NULL},
    [CHAOS_POSTGRES_CANCEL] = {postgres_signal, NULL},
    [CHAOS_POSTGRES_READ_ONLY] = {postgres_read_only, postgres_read_only},
    [CHAOS_POSTGRES_LOCK] = {postgres_lock, postgres_unlock},
    [CHAOS_DRAINER_KILL] = {worker_kill, drainer_start},
    [CHAOS_DRAINER_TERM] = {worker_term, drainer_start},
    [CHAOS_DRAINER_PAUSE] = {worker_pause, worker_resume},
    [CHAOS_DESK_KILL] = {worker_kill, desk_start},
    [CHAOS_DESK_TERM] = {worker_term, desk_start},
    [CHAOS_DESK_PAUSE] = {worker_pause, worker_resume},
    [CHAOS_SHIPPER_KILL] = {worker_kill, shipper_start},
    [CHAOS_SHIPPER_TERM] = {worker_term, shipper_start},
    [CHAOS_SHIPPER_PAUSE] = {worker_pause, worker_resume},
    [CHAOS_DESK_LINE_CUT] = {line_cut, NULL},
    [CHAOS_DESK_LINE_CLOSE] = {line_close, line_open},
    [CHAOS_DESK_LINE_STALL] = {line_stall, line_stall},
    [CHAOS_DESK_LINE_SWALLOW] = {line_swallow, line_swallow},
    [CHAOS_DESK_LINE_DELAY] = {line_delay, line_delay},
    [CHAOS_REDIS_LINE_CUT] = {line_cut, NULL},
    [CHAOS_REDIS_LINE_CUT_ACK] = {line_cut_ack, NULL},
    [CHAOS_REDIS_LINE_CLOSE] = {line_close, line_open},
    [CHAOS_REDIS_LINE_STALL] = {line_stall, line_stall},
    [CHAOS_REDIS_LINE_SWALLOW] = {line_swallow, line_swallow},
    [CHAOS_REDIS_LINE_DELAY] = {line_delay, line_delay},
    [CHAOS_POSTGRES_LINE_CUT] = {line_cut, NULL},
    [CHAOS_POSTGRES_LINE_CUT_COMMIT] = {line_cut_commit, NULL},
    [CHAOS_POSTGRES_LINE_CUT_COMMITTED] = {line_cut_committed, NULL},
    [CHAOS_POSTGRES_LINE_CLOSE] = {line_close, line_open},
    [CHAOS_POSTGRES_LINE_STALL] = {line_stall, line_stall},
    [CHAOS_POSTGRES_LINE_SWALLOW] = {line_swallow, line_swallow},
    [CHAOS_POSTGRES_LINE_DELAY] = {line_delay, line_delay},
};
_Static_assert(CHAOS_DESK_COUNT == CHAOS_GOOD_DESKS + CHAOS_CLOCK_DESKS, "all desks are broken");
_Static_assert(sizeof acts / sizeof *acts == CHAOS_VERB_COUNT, "each verb is done by something");

void chaos_parts_do(struct chaos *chaos, const struct chaos_step *step)
{
    (step->heals ? acts[step->verb].heals : acts[step->verb].breaks)(chaos, step);
}
