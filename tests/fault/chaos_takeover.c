/* chaos_takeover.c: see chaos_takeover.h. */
#include "tests/fault/chaos_takeover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/fixture/story.h"

#define PATIENCE_MS \
    1500 /* of a state that waits for drainers, which may all be stopped, or cut off */
enum {
    REREAD_MS = 800, /* to connect again, and to read */
    SETTLE_MS = 100, /* from a COMMIT to its XACK */
};

/* All at once: other records under the ids that are pending. It keeps a note of them in Redis. */
static const char swap_script[] =
    "local found, number = {}, tonumber(ARGV[1])\n"
    "for _, name in ipairs(redis.call('KEYS', 'blotter:*')) do\n"
    "  local pending = redis.pcall('XPENDING', name, 'drainers', '-', '+', 1000)\n"
    "  if not pending.err then found[#found + 1] = {name, pending} end\n"
    "end\n"
    "redis.call('FLUSHALL')\n"
    "for _, stream in ipairs(found) do\n"
    "  for _, entry in ipairs(stream[2]) do\n"
    "    number = number + 1\n"
    "    local trade = {symbol = 'BTC/USDT', price = '1.5', quantity = '2', trade_id = "
    "tostring(number)}\n"
    "    redis.call('XADD', stream[1], entry[1], 'trade', cmsgpack.pack(trade))\n"
    "    redis.call('RPUSH', 'takeover', stream[1], entry[1], number)\n"
    "  end\n"
    "end\n"
    "return number - tonumber(ARGV[1])\n";

/* Lists those that were delivered, and are not pending any more. */
static const char acknowledged_script[] =
    "local all, numbers = redis.call('LRANGE', 'takeover', 0, -1), {}\n"
    "local function parts(id) local ms, seq = id:match('(%d+)-(%d+)') return tonumber(ms), "
    "tonumber(seq) end\n"
    "for i = 1, #all, 3 do\n"
    "  local name, ms, seq = all[i], parts(all[i + 1])\n"
    "  local pending = redis.pcall('XPENDING', name, 'drainers', all[i + 1], all[i + 1], 1)\n"
    "  if not pending.err and #pending == 0 then\n"
    "    for _, group in ipairs(redis.call('XINFO', 'GROUPS', name)) do\n"
    "      local last_ms, last_seq = parts(group[8])\n"
    "      if group[2] == 'drainers' and (ms < last_ms or ms == last_ms and seq <= last_seq) then\n"
    "        numbers[#numbers + 1] = all[i + 2]\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return {#numbers, table.concat(numbers, ',')}\n";

static void enter(struct chaos_takeover *takeover, int state)
{
    takeover->state = state;
    takeover->since_ms = fixture_now_ms();
}

static int64_t elapsed_ms(const struct chaos_takeover *takeover)
{
    return fixture_now_ms() - takeover->since_ms;
}

/* Asks for it; behind all who ask for the table now. */
static PGconn *begin_lock(void)
{
    PGconn *lock = fixture_postgres_connect(story_postgres);

    if (PQsendQuery(
            lock,
            "SET lock_timeout = '3s'; BEGIN; LOCK TABLE blotter.order_events, blotter.trades") !=
        1) {
        fixture_fail("lock: %s", PQerrorMessage(lock));
    }
    return lock;
}

static bool is_answered(PGconn *lock)
{
    bool consumed = PQconsumeInput(lock) == 1;

    while (consumed && PQisBusy(lock) == 0) {
        PGresult *result = PQgetResult(lock);

        if (result == NULL) {
            return true;
        }
        PQclear(result);
    }
    return false;
}

static int64_t waiting_for_lock(void)
{
    return story_int("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                     "WHERE NOT granted AND application_name LIKE 'blotter drain%%'");
}

/* At once, too: the connections are gone, as with a server that has died. */
static int64_t swap(int64_t first)
{
    redisContext *redis = fixture_redis_connect(story_redis);
    int64_t count = 0;

    freeReplyObject(redisCommand(redis, "MULTI"));
    freeReplyObject(redisCommand(redis, "EVAL %s 0 %lld", swap_script, (long long)first));
    freeReplyObject(redisCommand(redis, "CLIENT KILL TYPE normal SKIPME yes"));
    redisReply *reply = redisCommand(redis, "EXEC");

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER) {
        fixture_fail("take-over: %s", reply == NULL          ? redis->errstr
                                      : reply->elements == 2 ? reply->element[0]->str
                                                             : reply->str);
    }
    count = reply->element[0]->integer;
    freeReplyObject(reply);
    redisFree(redis);
    return count;
}

static void note_acknowledged(struct chaos_takeover *takeover)
{
    redisContext *redis = fixture_redis_connect(story_redis);
    redisReply *reply = redisCommand(redis, "EVAL %s 0", acknowledged_script);

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        fixture_fail("take-over: %s", reply == NULL ? redis->errstr : reply->str);
    }
    if (reply->element[0]->integer > 0) {
        takeover->expected += reply->element[0]->integer;
        takeover->acknowledged =
            fixture_format("%s%s%s", takeover->acknowledged == NULL ? "" : takeover->acknowledged,
                           takeover->acknowledged == NULL ? "" : ",", reply->element[1]->str);
    }
    freeReplyObject(reply);
    redisFree(redis);
}

static void release(PGconn **lock)
{
    PQfinish(*lock);
    *lock = NULL;
}

void chaos_takeover_begin(struct chaos_takeover *takeover)
{
    takeover->begun++;
    takeover->lock = begin_lock();
    enter(takeover, TAKEOVER_LOCKING);
}

void chaos_takeover_tend(struct chaos_takeover *takeover)
{
    bool patient = elapsed_ms(takeover) < PATIENCE_MS;

    if (takeover->state == TAKEOVER_LOCKING && is_answered(takeover->lock)) {
        enter(takeover, TAKEOVER_FILLING);
    } else if (takeover->state == TAKEOVER_FILLING && (!patient || waiting_for_lock() > 0)) {
        takeover->swapped = swap(takeover->trades);
        takeover->trades += takeover->swapped;
        takeover->next_lock = begin_lock();
        enter(takeover, TAKEOVER_REREADING);
    } else if (takeover->state == TAKEOVER_REREADING && elapsed_ms(takeover) >= REREAD_MS &&
               (!patient || story_pending() >= takeover->swapped)) {
        release(&takeover->lock);
        enter(takeover, TAKEOVER_SETTLING);
    } else if (takeover->state == TAKEOVER_SETTLING && elapsed_ms(takeover) >= SETTLE_MS &&
               is_answered(takeover->next_lock) && (!patient || waiting_for_lock() > 0)) {
        story_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name "
                  "LIKE 'blotter drain%%'");
        release(&takeover->next_lock);
        takeover->whole++;
        enter(takeover, TAKEOVER_OVER);
    }
}

void chaos_takeover_end(struct chaos_takeover *takeover)
{
    release(&takeover->lock);
    release(&takeover->next_lock);
    if (takeover->state >= TAKEOVER_REREADING) {
        note_acknowledged(takeover);
    }
    enter(takeover, TAKEOVER_NONE);
}

void chaos_takeover_prove(const struct chaos_takeover *takeover)
{
    printf("redis: %d take-overs, %d to their end; %" PRId64 " trades under ids of others, %" PRId64
           " acknowledged, %" PRId64 " stored\n",
           takeover->begun, takeover->whole, takeover->trades, takeover->expected,
           story_int("SELECT count(*) FROM blotter.trades"));
    assert_int_equal(story_int("SELECT count(*) - count(DISTINCT trade_id) FROM blotter.trades"),
                     0);
    const char *lost = story_sql("SELECT format('%%s, the first is %%s', count(*), min(number)) "
                                 "FROM unnest('{%s}'::bigint[]) AS number "
                                 "WHERE NOT EXISTS (SELECT FROM blotter.trades WHERE trade_id = "
                                 "number::text) HAVING count(*) > 0",
                                 takeover->acknowledged == NULL ? "" : takeover->acknowledged);

    if (*lost != '\0') {
        fixture_fail("trades that were acknowledged and are not stored: %s", lost);
    }
}
