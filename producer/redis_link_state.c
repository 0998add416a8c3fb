/* redis_link_state.c: the states of a connection (redis_link.c draws them), their timers, and the
 * end of each attempt. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "producer/redis_link_private.h"
#include "producer/timer.h"
#include "schema/clock.h"
#include "schema/text.h"

enum {
    WATCH_MAX_MS = 1000,          /* how often UP looks at what is in flight */
    OTHERS_WATCH_MS = 250,        /* the same where others can be asked for the master */
    OTHERS_BACKOFF_MAX_MS = 1000, /* and they may name one that serves us at any moment */
};

#define BIT(state) (1u << REDIS_LINK_##state)
static const unsigned next_states[] = {
    [REDIS_LINK_IDLE] = BIT(WAITING),
    [REDIS_LINK_WAITING] = BIT(RESOLVING) | BIT(CONNECTING),
    [REDIS_LINK_RESOLVING] = BIT(CONNECTING) | BIT(CLOSING),
    [REDIS_LINK_CONNECTING] = BIT(GREETING) | BIT(CLOSING),
    [REDIS_LINK_GREETING] = BIT(UP) | BIT(CLOSING),
    [REDIS_LINK_UP] = BIT(CLOSING),
    [REDIS_LINK_CLOSING] = BIT(WAITING),
};

const char *redis_link_state_text(enum redis_link_state state)
{
    static const char *const texts[] = {
#define X(name, text) text,
        REDIS_LINK_STATES(X)
#undef X
    };
    return (unsigned)state < sizeof texts / sizeof *texts ? texts[state] : "unknown";
}

bool redis_link_is_open(const struct redis_link *link)
{
    return (next_states[link->state] & BIT(CLOSING)) != 0;
}

static bool has_others(const struct redis_link *link)
{
    return link->url.sentinel || link->stream != NULL;
}

/* Returns the next delay. Half of each is random, so that the clients of a restarted server do not
 * all come at once. */
static unsigned backoff_ms(struct redis_link *link)
{
    if (link->attempts == 0) {
        return 0;
    }
    unsigned shift = link->attempts - 1 < 16 ? link->attempts - 1 : 16;
    uint64_t delay = (uint64_t)link->options.backoff_min_ms << shift;
    if (has_others(link) && delay > OTHERS_BACKOFF_MAX_MS) {
        delay = OTHERS_BACKOFF_MAX_MS;
    }
    if (delay > link->options.backoff_max_ms) {
        delay = link->options.backoff_max_ms;
    }
    return (unsigned)(delay / 2 + (unsigned)rand_r(&link->seed) % (delay / 2 + 1));
}

static unsigned watch_ms(const struct redis_link *link)
{
    unsigned interval = link->options.answer_timeout_ms / 8;
    if (has_others(link) && interval > OTHERS_WATCH_MS) {
        interval = OTHERS_WATCH_MS;
    }
    return interval > WATCH_MAX_MS ? WATCH_MAX_MS : interval ? interval : 1;
}

static unsigned timer_ms(struct redis_link *link, enum redis_link_state state)
{
    switch (state) {
    case REDIS_LINK_WAITING:
        return backoff_ms(link);
    case REDIS_LINK_UP:
        return watch_ms(link);
    case REDIS_LINK_GREETING:
        /* a port without TLS is silent: told before callers that wait for an attempt give up */
        return link->tls != NULL ? link->options.connect_timeout_ms / 2
                                 : link->options.connect_timeout_ms;
    default:
        return link->options.connect_timeout_ms;
    }
}

void redis_link_set_state(struct redis_link *link, enum redis_link_state state)
{
    assert(next_states[link->state] & 1u << state);
    link->state = state;
    link->since_ms = clock_monotonic_coarse_ms();
    event_del(link->timer);
    if (state != REDIS_LINK_CLOSING) {
        timer_start(link->timer, timer_ms(link, state));
    }
}

void redis_link_watch_on(struct redis_link *link)
{
    timer_start(link->timer, watch_ms(link));
}

void redis_link_cancel_lookups(struct redis_link *link)
{
    background_cancel(link->lookup);
    background_cancel(link->question);
    link->lookup = link->question = NULL;
}

void redis_link_lose(struct redis_link *link, const char *why)
{
    if (!redis_link_is_open(link)) {
        return;
    }
    bool lasted = link->state == REDIS_LINK_UP && clock_monotonic_coarse_ms() - link->since_ms >=
                                                      (int64_t)link->options.backoff_max_ms;
    link->attempts = lasted ? 1 : link->attempts + 1;
    link->redirects = lasted ? 0 : link->redirects;
    redis_tls_explain(link->tls, link->state >= REDIS_LINK_GREETING, link->state == REDIS_LINK_UP,
                      why != NULL && *why ? why : "the connection was lost", link->last_error,
                      sizeof link->last_error);
    text_clean(link->last_error);
    if (has_others(link) && link->state != REDIS_LINK_UP) {
        link->first_asked++; /* this one's master does not serve us: the next may know better */
    }
    redis_link_cancel_lookups(link);
    redis_link_set_state(link, REDIS_LINK_CLOSING);
    event_active(link->settle, 0, 0);
}

/* Reads the server's last line: if our write failed first, the reason why it hung up (it has too
 * many clients) still waits in the socket. */
void redis_link_lose_connection(struct redis_link *link, const redisAsyncContext *context)
{
    char said[sizeof link->last_error] = "";
    if (link->tls == NULL) {
        recv(context->c.fd, said, sizeof said - 1, MSG_DONTWAIT);
    }
    said[strcspn(said, "\r\n")] = 0;
    redis_link_lose(link, *said == '-' ? said + 1 : context->errstr);
}
