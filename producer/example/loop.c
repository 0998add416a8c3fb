/* loop.c: a strategy with an event loop of its own, no thread besides: the sender runs in the same
 * loop (BLOTTER_SENDER_LOOP).
 *
 * Every 10 ms it places an order; after ORDERS of them it stops placing, and ends when PostgreSQL
 * has them all, which an eventfd tells the loop (blotter_notify). A strategy would not wait for
 * that; it is shown because it is the only other call that a loop needs.
 *
 *   BLOTTER_REDIS=unix:///run/redis/redis.sock loop
 *   cc loop.c $(pkg-config --cflags --libs blotter libevent_core) */
#include <blotter.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    ORDERS = 50,
    ORDER_INTERVAL_US = 10000,
    PATIENCE_S = 30,
};

struct strategy {
    struct event_base *base;
    blotter_producer *producer;
    struct event *timer, *committed;
    int placed, committed_fd;
    int64_t last_seq;
};

/* Prints a change of the connection. The loop calls it once per change. */
static void on_event(void *arg, enum blotter_event event, const char *text)
{
    (void)arg;
    fprintf(stderr, "event %d: %s\n", (int)event, text);
}

static void on_committed(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct strategy *strategy = arg;
    if (what & EV_TIMEOUT) {
        fprintf(stderr, "PostgreSQL does not have them after %d s: they stay in the journal\n",
                PATIENCE_S);
    }
    event_base_loopbreak(strategy->base);
}

static void await_committed(struct strategy *strategy)
{
    event_add(strategy->committed, &(struct timeval){.tv_sec = PATIENCE_S});
    blotter_notify(strategy->producer, strategy->committed_fd, BLOTTER_COMMITTED,
                   strategy->last_seq);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct strategy *strategy = arg;
    char id[24];
    snprintf(id, sizeof id, "%d", ++strategy->placed);
    struct blotter_order order = {.order_id = id,
                                  .symbol = "BTC/USDT",
                                  .side = "buy",
                                  .status = "open",
                                  .price = "64250.10",
                                  .quantity = "0.0300"};
    int64_t seq = blotter_order(strategy->producer,
                                &order); /* never waits, also while the sender's loop is this one */
    if (seq < 0) {
        fprintf(stderr, "order %s: %s\n", id, blotter_status_text((int)seq));
    } else {
        strategy->last_seq = seq;
    }
    if (strategy->placed < ORDERS) {
        event_add(strategy->timer, &(struct timeval){.tv_usec = ORDER_INTERVAL_US});
    } else {
        await_committed(strategy);
    }
}

static int trade(struct strategy *strategy)
{
    struct blotter_options options = {.exchange = "okx",
                                      .sender = BLOTTER_SENDER_LOOP,
                                      .event_base = strategy->base,
                                      .on_event = on_event};
    if (blotter_open(&strategy->producer, &options) != BLOTTER_OK) {
        fprintf(stderr, "%s\n", blotter_open_error());
        return 1;
    }
    strategy->committed_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    strategy->committed =
        event_new(strategy->base, strategy->committed_fd, EV_READ, on_committed, strategy);
    strategy->timer = evtimer_new(strategy->base, on_timer, strategy);
    event_add(strategy->timer, &(struct timeval){.tv_usec = ORDER_INTERVAL_US});
    event_base_dispatch(strategy->base);

    bool stored =
        blotter_wait(strategy->producer, strategy->last_seq, BLOTTER_COMMITTED, 0) == BLOTTER_OK;
    int64_t unsent = blotter_close(strategy->producer, 1000); /* runs the loop until all is sent */
    event_free(strategy->timer);
    event_free(strategy->committed);
    close(strategy->committed_fd);
    printf("%d orders, the last has seq %" PRId64 "; stored: %s; not sent: %" PRId64 "\n",
           strategy->placed, strategy->last_seq, stored ? "yes" : "no", unsent);
    return stored && unsent == 0 ? 0 : 1;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* hiredis writes to sockets that may be closed */
    struct strategy strategy = {.base = event_base_new()};
    int status = strategy.base != NULL ? trade(&strategy) : 1;
    if (strategy.base != NULL) {
        event_base_free(strategy.base);
    }
    return status;
}
