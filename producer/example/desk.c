/* desk.c: a simulated trading desk that records everything it does, to copy from.
 *
 * A hundred strategies trade on five exchanges. Prices walk at random; each strategy opens an
 * order, sees it filled in parts or cancels it, and opens the next. Every exchange has one
 * producer, which all its strategies share, and one thread, which plays the part of the exchange's
 * websocket: what it hears, it records.
 *
 *   desk --redis unix:///run/redis/redis.sock --rate 200 --seconds 30
 *
 * What to look at first: record_order() and record_trade(), then trade_on_exchange(). The rest is
 * the simulation. */
#include <blotter.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)
enum {
    EXCHANGES = 5,
    SYMBOLS = 5,
    QUANTITY_DIGITS = 4,
    FEE_DIGITS = 4, /* fees are in hundredths of a percent */
    PROGRESS_SECONDS = 5,
    FLUSH_MS = 30000,
};

static const char *const exchange_names[EXCHANGES] = {"binance", "bybit", "okx", "kraken",
                                                      "coinbase"};

/* Prices are counted in ticks, so that no price is ever rounded: 6425010 with two digits is
 * 64250.10. */
static const struct symbol {
    const char *name;
    int price_digits;
    int64_t first_price;
} symbols[SYMBOLS] = {
    {"BTC/USDT", 2, 6425010}, {"ETH/USDT", 2, 312055}, {"SOL/USDT", 3, 145230},
    {"XRP/USDT", 4, 5218},    {"DOGE/USDT", 5, 12345},
};

struct order {
    int64_t number; /* 0: there is none */
    int64_t price, quantity, filled;
    int64_t
        cost; /* price times quantity of what is filled: price_digits + QUANTITY_DIGITS digits */
    int buys;
};

struct strategy {
    char name[32];
    const struct symbol *symbol;
    int64_t *price; /* of its symbol on its exchange */
    struct order order;
};

struct exchange {
    const char *name;
    blotter_producer *producer;
    pthread_t thread;
    int64_t prices[SYMBOLS];
    int64_t last_number; /* orders and executions are numbered by the exchange */
    uint64_t random;
    struct strategy *strategies;
    int strategy_count;
    int64_t orders, trades, refused;
    uint32_t *submit_ns; /* how long each submit took */
    size_t submits, submits_max;
};

static struct {
    int strategies, seconds;
    double rate; /* order updates a second, all exchanges together */
    const char *redis, *journal;
} options = {.strategies = 100, .seconds = 30, .rate = 200};

static volatile sig_atomic_t stopping;

/* --- recording --- */

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* Writes a decimal: 6425010 with 2 digits is "64250.10". Not below zero. */
static const char *decimal(char text[32], int64_t units, int digits)
{
    char *at = text + 31;
    *at = 0;
    for (int written = 0; units > 0 || written <= digits; written++) {
        if (written == digits) {
            *--at = '.';
        }
        *--at = (char)('0' + units % 10);
        units /= 10;
    }
    return at;
}

/* Counts a submit. seq is what it returned. A strategy goes on whatever it says: FULL means that
 * PostgreSQL has been away for longer than the journal can hold, which is for somebody to be woken
 * up about, not for the strategy to wait for. */
static void count_submit(struct exchange *exchange, int64_t began, int64_t seq)
{
    int64_t took = now_ns(CLOCK_MONOTONIC) - began;
    if (exchange->submits < exchange->submits_max) {
        exchange->submit_ns[exchange->submits++] =
            (uint32_t)(took < UINT32_MAX ? took : UINT32_MAX);
    }
    if (seq > 0) {
        return;
    }
    if (exchange->refused++ == 0) {
        fprintf(stderr, "%s: %s %s\n", exchange->name, blotter_status_text((int)seq),
                blotter_problem());
    }
}

/* Records what has just happened to the strategy's order. Members that are left out are absent:
 * NULL in PostgreSQL. */
static void record_order(struct exchange *exchange, const struct strategy *strategy,
                         const char *event, const char *status, int64_t last_quantity)
{
    const struct order *order = &strategy->order;
    int price_digits = strategy->symbol->price_digits, cost_digits = price_digits + QUANTITY_DIGITS;
    char order_id[32], client_order_id[64], trade_id[32], price[32], quantity[32], filled[32],
        remaining[32], average[32], last[32], cost[32], fee[32];
    snprintf(order_id, sizeof order_id, "%" PRId64, order->number);
    snprintf(client_order_id, sizeof client_order_id, "%s-%" PRId64, strategy->name, order->number);

    struct blotter_order record = {
        .exchange_time = now_ns(CLOCK_REALTIME),
        .account = "main",
        .strategy = strategy->name,
        .symbol = strategy->symbol->name,
        .market_type = "spot",
        .order_id = order_id,
        .client_order_id = client_order_id,
        .event = event,
        .side = order->buys ? "buy" : "sell",
        .type = "limit",
        .time_in_force = "GTC",
        .status = status,
        .price = decimal(price, order->price, price_digits),
        .quantity = decimal(quantity, order->quantity, QUANTITY_DIGITS),
        .filled_quantity = decimal(filled, order->filled, QUANTITY_DIGITS),
        .remaining_quantity = decimal(remaining, order->quantity - order->filled, QUANTITY_DIGITS),
        .post_only = BLOTTER_TRUE,
    };
    if (order->filled > 0) {
        int64_t one =
            10000; /* of QUANTITY_DIGITS: the average has as many digits more than the price */
        record.average_price = decimal(average, order->cost * one / order->filled, cost_digits);
        record.cost = decimal(cost, order->cost, cost_digits);
    }
    if (last_quantity > 0) {
        snprintf(trade_id, sizeof trade_id, "%" PRId64, ++exchange->last_number);
        record.trade_id = trade_id;
        record.last_price = record.price;
        record.last_quantity = decimal(last, last_quantity, QUANTITY_DIGITS);
        record.fee =
            decimal(fee, order->price * last_quantity * 2, cost_digits + FEE_DIGITS); /* 0.02 % */
        record.fee_currency = "USDT";
        record.liquidity = "maker";
    }

    int64_t began = now_ns(CLOCK_MONOTONIC);
    int64_t seq = blotter_order(exchange->producer, &record);
    count_submit(exchange, began, seq);
    exchange->orders++;
}

/* Records a public trade: somebody else's, so without account and strategy. */
static void record_trade(struct exchange *exchange, const struct symbol *symbol, int64_t ticks,
                         int64_t units, int buys)
{
    char trade_id[32], price[32], quantity[32];
    snprintf(trade_id, sizeof trade_id, "%" PRId64, ++exchange->last_number);
    struct blotter_trade record = {
        .exchange_time = now_ns(CLOCK_REALTIME),
        .symbol = symbol->name,
        .market_type = "spot",
        .trade_id = trade_id,
        .side = buys ? "buy" : "sell",
        .price = decimal(price, ticks, symbol->price_digits),
        .quantity = decimal(quantity, units, QUANTITY_DIGITS),
    };
    int64_t began = now_ns(CLOCK_MONOTONIC);
    int64_t seq = blotter_trade(exchange->producer, &record);
    count_submit(exchange, began, seq);
    exchange->trades++;
}

/* --- the simulation --- */

/* Draws a number from 0 to below - 1. */
static int64_t random_below(struct exchange *exchange, int64_t below)
{
    exchange->random ^= exchange->random << 13;
    exchange->random ^= exchange->random >> 7;
    exchange->random ^= exchange->random << 17;
    return (int64_t)(exchange->random % (uint64_t)below);
}

/* Makes one step of a strategy, which is one update of its order. */
static void step(struct exchange *exchange, struct strategy *strategy)
{
    struct order *order = &strategy->order;
    int64_t chance = random_below(exchange, 100), left = order->quantity - order->filled;

    if (order->number == 0) {
        int buys = chance < 50;
        *order =
            (struct order){.number = ++exchange->last_number,
                           .price = *strategy->price + (buys ? -1 : 1) * random_below(exchange, 5),
                           .quantity = 100 + random_below(exchange, 9900),
                           .buys = buys};
        record_order(exchange, strategy, "new", "open", 0);
    } else if (chance < 15) {
        record_order(exchange, strategy, "cancel", "canceled", 0);
        order->number = 0;
    } else {
        int64_t part = chance < 45 ? left : 1 + random_below(exchange, left);
        order->filled += part;
        order->cost += order->price * part;
        record_order(exchange, strategy, "fill", part == left ? "filled" : "partially_filled",
                     part);
        if (part == left) {
            order->number = 0;
        }
    }
}

static void move_price(struct exchange *exchange, int number)
{
    int64_t *price = &exchange->prices[number];
    *price += random_below(exchange, *price / 2000 * 2 + 3) -
              (*price / 2000 + 1); /* up to 0.05 % either way */
    if (*price < symbols[number].first_price / 2) {
        *price = symbols[number].first_price / 2;
    }
    record_trade(exchange, &symbols[number], *price, 1 + random_below(exchange, 20000),
                 random_below(exchange, 2) == 0);
}

/* Runs the exchange's thread: one update at a time, evenly paced, of strategies taken at random. */
static void *trade_on_exchange(void *arg)
{
    struct exchange *exchange = arg;
    int64_t interval = (int64_t)((double)SECOND_NS * EXCHANGES / options.rate);
    int64_t next = now_ns(CLOCK_MONOTONIC), end = next + options.seconds * SECOND_NS;
    for (; next < end && !stopping; next += interval) {
        struct timespec until = {.tv_sec = next / SECOND_NS, .tv_nsec = next % SECOND_NS};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR && !stopping)
            ;
        if (exchange->strategy_count > 0) {
            step(exchange, &exchange->strategies[random_below(exchange, exchange->strategy_count)]);
        }
        if (random_below(exchange, 2) == 0) {
            move_price(exchange, (int)random_below(exchange, SYMBOLS));
        }
    }
    return NULL;
}

/* --- the desk --- */

static void on_event(void *arg, enum blotter_event event, const char *text)
{
    const struct exchange *exchange = arg;
    if (event != BLOTTER_EVENT_REDIS_UP) {
        fprintf(stderr, "%s: %s\n", exchange->name, text);
    }
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "desk: out of memory\n");
        exit(1);
    }
    return memory;
}

/* Opens the exchange's producer and gives it its share of the strategies. */
static int exchange_open(struct exchange *exchange, int number)
{
    exchange->name = exchange_names[number];
    struct blotter_options producer_options = {
        .exchange = exchange->name,
        .redis = options.redis,
        .journal = options.journal,
        .on_event = on_event,
        .on_event_arg = exchange,
    };
    if (blotter_open(&exchange->producer, &producer_options) != BLOTTER_OK) {
        fprintf(stderr, "desk: %s: %s\n", exchange->name, blotter_open_error());
        return -1;
    }
    exchange->random = (uint64_t)now_ns(CLOCK_REALTIME) | 1;
    exchange->last_number =
        now_ns(CLOCK_REALTIME) / 1000; /* another run's orders are other orders */
    for (int i = 0; i < SYMBOLS; i++) {
        exchange->prices[i] = symbols[i].first_price;
    }
    exchange->strategies = allocate((size_t)options.strategies, sizeof *exchange->strategies);
    for (int i = number; i < options.strategies; i += EXCHANGES) {
        struct strategy *strategy = &exchange->strategies[exchange->strategy_count++];
        int symbol = i / EXCHANGES % SYMBOLS;
        snprintf(strategy->name, sizeof strategy->name, "maker-%03d", i + 1);
        strategy->symbol = &symbols[symbol];
        strategy->price = &exchange->prices[symbol];
    }
    exchange->submits_max = (size_t)(options.rate / EXCHANGES * (options.seconds + 1)) * 2 + 100;
    exchange->submit_ns = allocate(exchange->submits_max, sizeof *exchange->submit_ns);
    return 0;
}

/* Adds up the counters of all producers. */
static struct blotter_stats stats_of_all(struct exchange *exchanges)
{
    struct blotter_stats total = {0}, stats;
    for (int i = 0; i < EXCHANGES; i++) {
        if (blotter_stats(exchanges[i].producer, &stats) == BLOTTER_OK) {
            total.accepted += stats.accepted;
            total.committed += stats.committed;
            total.held += stats.held;
            total.slots += stats.slots;
            total.full += stats.full;
        }
    }
    return total;
}

static void print_progress(struct exchange *exchanges, int seconds)
{
    struct blotter_stats stats = stats_of_all(exchanges);
    fprintf(stderr,
            "%4d s  %8" PRId64 " recorded  %8" PRId64 " in PostgreSQL  %6" PRId64
            " on their way  journals %.2f %% full\n",
            seconds, stats.accepted, stats.committed, stats.accepted - stats.committed,
            100.0 * (double)stats.held / (double)stats.slots);
}

static int left_ms(int64_t deadline)
{
    int64_t left = deadline - now_ns(CLOCK_MONOTONIC) / 1000000;
    return left > 0 ? (int)left : 0;
}

static int compare_ns(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return (first > second) - (first < second);
}

static void print_summary(struct exchange *exchanges, int64_t began, int all_committed)
{
    struct blotter_stats stats = stats_of_all(exchanges);
    int64_t orders = 0, trades = 0;
    size_t count = 0, used = 0;
    for (int i = 0; i < EXCHANGES; i++) {
        count += exchanges[i].submits;
    }
    uint32_t *all = allocate(count, sizeof *all);
    for (int i = 0; i < EXCHANGES; i++) {
        memcpy(all + used, exchanges[i].submit_ns, exchanges[i].submits * sizeof *all);
        used += exchanges[i].submits;
        orders += exchanges[i].orders;
        trades += exchanges[i].trades;
    }
    qsort(all, count, sizeof *all, compare_ns);
    size_t last = count ? count - 1 : 0;
    printf("{\"strategies\": %d, \"exchanges\": %d, \"seconds\": %.1f, \"orders\": %" PRId64
           ", \"trades\": %" PRId64 ", \"accepted\": %" PRId64 ", \"committed\": %" PRId64
           ", \"all_committed\": %s, \"full\": %" PRId64 ", \"submit_ns\": {\"p50\": %" PRIu32
           ", \"p99\": %" PRIu32 ", \"p99.9\": %" PRIu32 ", \"max\": %" PRIu32 "}}\n",
           options.strategies, EXCHANGES, (double)(now_ns(CLOCK_MONOTONIC) - began) / SECOND_NS,
           orders, trades, stats.accepted, stats.committed, all_committed ? "true" : "false",
           stats.full, all[last / 2], all[last * 99 / 100], all[last * 999 / 1000], all[last]);
    free(all);
}

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
}

static void usage(FILE *stream)
{
    fputs("desk: a simulated trading desk that records its orders, and the trades it sees, with "
          "libblotter\n"
          "  --strategies N   how many (100), shared out over five exchanges\n"
          "  --rate N         order updates a second, all together (200)\n"
          "  --seconds N      how long (30)\n"
          "  --redis URL      redis://host:port or unix:///path ($BLOTTER_REDIS, else "
          "redis://127.0.0.1:6379)\n"
          "  --journal DIR    where the journals are (/dev/shm/blotter-<uid>)\n",
          stream);
}

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"strategies", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"redis", required_argument, NULL, 'R'},
        {"journal", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        switch (option) {
        case 's':
            options.strategies = atoi(optarg);
            break;
        case 'r':
            options.rate = atof(optarg);
            break;
        case 't':
            options.seconds = atoi(optarg);
            break;
        case 'R':
            options.redis = optarg;
            break;
        case 'j':
            options.journal = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if (optind < argc || options.strategies < 1 || options.strategies > 10000 ||
        !(options.rate > 0 && options.rate <= 1e6) || options.seconds < 1) {
        fputs("desk: --strategies is 1 .. 10000, --rate above 0 and at most 1000000, --seconds 1 "
              "or more\n",
              stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct exchange exchanges[EXCHANGES];
    parse_options(argc, argv);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    for (int i = 0; i < EXCHANGES; i++) {
        if (exchange_open(&exchanges[i], i) != 0) {
            return 1;
        }
    }

    int64_t began = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < EXCHANGES; i++) {
        if (pthread_create(&exchanges[i].thread, NULL, trade_on_exchange, &exchanges[i]) != 0) {
            fprintf(stderr, "desk: cannot start a thread: %s\n", strerror(errno));
            return 1;
        }
    }
    for (int seconds = 1; seconds <= options.seconds && !stopping; seconds++) {
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        if (seconds % PROGRESS_SECONDS == 0 || seconds == options.seconds) {
            print_progress(exchanges, seconds);
        }
    }
    for (int i = 0; i < EXCHANGES; i++) {
        pthread_join(exchanges[i].thread, NULL);
    }

    /* Everything is in the journals and safe; to be sure that it is in PostgreSQL, ask. */
    int all_committed = 1;
    int64_t deadline = now_ns(CLOCK_MONOTONIC) / 1000000 + (stopping ? 1000 : FLUSH_MS);
    for (int i = 0; i < EXCHANGES; i++) {
        int status = blotter_flush(exchanges[i].producer, BLOTTER_COMMITTED, left_ms(deadline));
        if (status != BLOTTER_OK) {
            fprintf(stderr, "desk: %s: %s\n", exchanges[i].name, blotter_status_text(status));
            all_committed = 0;
        }
    }
    print_summary(exchanges, began, all_committed);
    for (int i = 0; i < EXCHANGES; i++) {
        int64_t unsent = blotter_close(exchanges[i].producer, left_ms(deadline) + 1000);
        if (unsent != 0) {
            fprintf(stderr,
                    "desk: %s: %" PRId64
                    " records stay in the journal and will be sent by the next open\n",
                    exchanges[i].name, unsent);
        }
        free(exchanges[i].strategies);
        free(exchanges[i].submit_ns);
    }
    return all_committed ? 0 : 1;
}
