/* ship.c: `blotter ship`: sends what is in journals that no process sends for, be it the strategy's
 * choice (sender = none) or its death.
 *
 * The folder is looked at twice a second, and not watched: that a process has died, or gives up its
 * sender, is seen in a lock, which tells nobody. What is found is taken, with the lock that makes
 * us its only sender, and polled by one timer for all. */
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drainer/commands.h"
#include "drainer/commands/ship_metrics.h"
#include "drainer/commands/shipment.h"
#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/redis/redis_blocking.h"
#include "drainer/settings_table.h"
#include "producer/blotter.h"
#include "producer/journal_open.h"
#include "producer/timer.h"
#include "schema/clock.h"

enum {
    LOOK_MS = 500,
    LOOK_ONCE_MS = 20, /* with --once somebody waits for us */
    SUMMARY_MS = 60000,
};

/* A file that is no journal, or none that we can read: it is named once. */
struct unfit {
    struct unfit *next;
    unsigned looks; /* in a row; at the first one it may be in the making */
    bool seen;      /* at this look */
    bool unmade;    /* it will be a journal, and holds nothing yet */
    char path[JOURNAL_PATH_BYTES];
};

struct ship {
    const struct settings *settings;
    char place[JOURNAL_PATH_BYTES]; /* the folder, or the journal */
    bool is_folder;
    char redis_place[REDIS_URL_PART_BYTES + 32];
    struct event_base *base;
    struct event *poll, *look, *summary, *sigterm, *sigint;
    struct shipment *shipments;
    struct unfit *unfit;
    int64_t taken;               /* journals */
    struct shipment_counts past; /* of those that are closed, of which nothing is left */
    int64_t started_ms, moved_ms, moved_to;
    int exit_code;
    struct ship_metrics *metrics; /* NULL: not asked for */
};

static void ship_stop(struct ship *ship, int exit_code)
{
    ship->exit_code = exit_code;
    event_base_loopbreak(ship->base);
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

/* --- what cannot be read --- */

static struct unfit *find_unfit(struct ship *ship, const char *path)
{
    for (struct unfit *each = ship->unfit; each != NULL; each = each->next) {
        if (strcmp(each->path, path) == 0) {
            return each;
        }
    }
    struct unfit *made = memory_or_abort(calloc(1, sizeof *made));
    snprintf(made->path, sizeof made->path, "%s", path);
    made->next = ship->unfit;
    ship->unfit = made;
    return made;
}

static void note_unfit(struct ship *ship, const char *path, const char *why)
{
    struct unfit *unfit = find_unfit(ship, path);

    unfit->seen = true;
    unfit->looks++;
    if (unfit->looks != (ship->settings->once ? 1 : 2)) {
        return;
    }
    unfit->unmade = journal_is_unmade(path);
    if (unfit->unmade) {
        log_info(name_of(path), "left alone: " JOURNAL_UNMADE);
    } else {
        log_warn(name_of(path), "left alone: %s", why);
    }
}

/* Says whether there are files in which records may be, and which we cannot read. */
static bool has_unfit(const struct ship *ship)
{
    const struct unfit *each = ship->unfit;

    while (each != NULL && each->unmade) {
        each = each->next;
    }
    return each != NULL;
}

/* Forgets the files that this look did not see: they are gone, or have become journals. */
static void forget_unfit(struct ship *ship)
{
    for (struct unfit **each = &ship->unfit; *each != NULL;) {
        struct unfit *unfit = *each;

        if (unfit->seen) {
            unfit->seen = false;
            each = &unfit->next;
        } else {
            *each = unfit->next;
            free(unfit);
        }
    }
}

/* --- journals --- */

static bool has(const struct ship *ship, const char *path)
{
    for (const struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        if (shipment_is(each, path)) {
            return true;
        }
    }
    return false;
}

static int ship_take(struct ship *ship, const char *path, char *error)
{
    struct shipment *shipment;
    int status = journal_probe(path, error);

    if (status == BLOTTER_OK) {
        status = shipment_open(&shipment, path, ship->base, ship->settings, error);
    }
    if (status != BLOTTER_OK) {
        return status;
    }
    shipment->next = ship->shipments;
    ship->shipments = shipment;
    ship->taken++;
    return BLOTTER_OK;
}

static void ship_look_at(struct ship *ship, const char *path)
{
    char error[JOURNAL_ERROR_BYTES];
    int status = has(ship, path) ? BLOTTER_OK : ship_take(ship, path, error);

    if (status != BLOTTER_OK && status != BLOTTER_BUSY && access(path, F_OK) == 0) {
        note_unfit(ship, path, error);
    }
}

static void look_in_folder(struct ship *ship)
{
    char path[JOURNAL_PATH_BYTES];
    DIR *folder = opendir(ship->place);

    if (folder == NULL) {
        log_warn("ship", "%s: %s", ship->place, strerror(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        int length = snprintf(path, sizeof path, "%s/%s", ship->place, entry->d_name);

        if (entry->d_name[0] != '.' && length < (int)sizeof path) {
            ship_look_at(ship, path);
        }
    }
    closedir(folder);
}

static void close_shipment(struct ship *ship, struct shipment **at)
{
    struct shipment *shipment = *at;
    struct shipment_counts counts = shipment_counts(shipment, ship->settings);

    ship->past.sent += counts.sent;
    ship->past.committed += counts.committed;
    *at = shipment->next;
    shipment_close(shipment);
}

static void look_at_shipments(struct ship *ship)
{
    for (struct shipment **each = &ship->shipments; *each != NULL;) {
        enum shipment_state state = shipment_look(*each);

        if (state == SHIPMENT_DONE || state == SHIPMENT_CLAIMED) {
            log_info((*each)->name, "%s",
                     state == SHIPMENT_DONE ? "everything is committed, the journal is removed"
                                            : "given back to its new owner, which sends by itself");
            close_shipment(ship, each);
        } else {
            each = &(*each)->next;
        }
    }
}

/* Starts the timer where a journal has to be polled, else stops it. */
static void set_polling(struct ship *ship)
{
    if (ship->shipments == NULL) {
        evtimer_del(ship->poll);
    } else if (!evtimer_pending(ship->poll, NULL)) {
        timer_start(ship->poll, ship->settings->poll_interval);
    }
}

/* --- how far --- */

static struct shipment_counts ship_count(const struct ship *ship)
{
    struct shipment_counts sum = ship->past;

    for (const struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        struct shipment_counts counts = shipment_counts(each, ship->settings);

        sum.sent += counts.sent;
        sum.committed += counts.committed;
        sum.left += counts.left;
    }
    return sum;
}

/* Says why records wait for Redis, by the first of the journals in which they do; NULL: in none. */
static const char *trouble(const struct ship *ship)
{
    for (const struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        const char *why = shipment_trouble(each);

        if (why[0] != '\0') {
            return why;
        }
    }
    return NULL;
}

static void give_up(struct ship *ship, const char *how)
{
    const char *what = trouble(ship);
    char why[512];

    if (what == NULL) {
        snprintf(why, sizeof why, "Redis has them; is a drainer running?");
    } else {
        snprintf(why, sizeof why, "setting redis: %.128s: %s", ship->redis_place, what);
    }
    ship_stop(ship,
              command_fail(ship->settings, what == NULL ? EXIT_CODE_NO : EXIT_CODE_UNREACHABLE,
                           "%s with %" PRId64 " records not %s; they stay in their journals: %s",
                           how, ship_count(ship).left, ship->settings->until, why));
}

static bool is_moving(struct ship *ship)
{
    struct shipment_counts counts = ship_count(ship);
    int64_t now = clock_monotonic_ms(), timeout = ship->settings->timeout;

    if (counts.sent + counts.committed != ship->moved_to) {
        ship->moved_to = counts.sent + counts.committed;
        ship->moved_ms = now;
    }
    return timeout == 0 || now - ship->moved_ms < timeout;
}

/* Counts the journals that are left alone, as their records are for another Redis. */
static int64_t count_left_alone(const struct ship *ship)
{
    int64_t ship_count = 0;

    for (const struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        ship_count += shipment_left_alone(each) != NULL;
    }
    return ship_count;
}

/* Counts the records that --once waits for: those of journals that are left alone are not among
 * them. */
static int64_t left_to_send(const struct ship *ship)
{
    int64_t left = 0;

    for (const struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        if (shipment_left_alone(each) == NULL) {
            left += shipment_counts(each, ship->settings).left;
        }
    }
    return left;
}

/* Ends a run with --once where nothing is left to send. */
static void check_end(struct ship *ship)
{
    if (left_to_send(ship) == 0) {
        bool all = !has_unfit(ship) && count_left_alone(ship) == 0;

        ship_stop(ship, all ? EXIT_CODE_DONE : EXIT_CODE_NO);
    } else if (!is_moving(ship)) {
        give_up(ship, "given up, as nothing moved for the time given by the setting timeout,");
    }
}

static void say_left(const struct ship *ship, const char *what)
{
    struct shipment_counts counts = ship_count(ship);
    int64_t journals = 0, unsent = 0;

    for (const struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        const struct journal_header *header = each->journal->header;

        journals++;
        unsent += (int64_t)(journal_next(each->journal) - journal_cursor(&header->sent));
    }
    log_info("ship",
             "%sjournals=%" PRId64 " left_alone=%" PRId64 " unsent=%" PRId64 " sent=%" PRId64
             " committed=%" PRId64,
             what, journals, count_left_alone(ship), unsent, counts.sent, counts.committed);
}

/* --- events --- */

static void ship_on_poll(evutil_socket_t fd, short what, void *arg)
{
    struct ship *ship = arg;

    (void)fd, (void)what;
    for (struct shipment *each = ship->shipments; each != NULL; each = each->next) {
        shipment_poll(each);
    }
}

static void ship_on_look(evutil_socket_t fd, short what, void *arg)
{
    struct ship *ship = arg;

    (void)fd, (void)what;
    look_at_shipments(ship);
    if (ship->settings->once) {
        check_end(ship);
        return;
    }
    if (ship->is_folder) {
        look_in_folder(ship);
    } else {
        ship_look_at(ship, ship->place);
    }
    forget_unfit(ship);
    set_polling(ship);
}

static void ship_on_summary(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    say_left(arg, "");
}

static void ship_on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct ship *ship = arg;

    (void)fd, (void)what;
    if (ship->settings->once) {
        give_up(ship, "interrupted");
    } else {
        ship_stop(ship, count_left_alone(ship) == 0 ? EXIT_CODE_DONE : EXIT_CODE_NO);
    }
}

/* --- start and end --- */

static bool find_place(struct ship *ship)
{
    const struct settings *settings = ship->settings;
    char error[JOURNAL_ERROR_BYTES], parent[JOURNAL_PATH_BYTES];

    if (settings->journal != NULL && strlen(settings->journal) >= sizeof ship->place) {
        command_fail(settings, EXIT_CODE_USAGE, "setting journal: the path is longer than %d bytes",
                     JOURNAL_PATH_BYTES - 1);
        return false;
    }
    if (settings->journal == NULL && journal_default_folder(ship->place, error) != 0) {
        command_fail(settings, EXIT_CODE_USAGE, "setting journal: %s", error);
        return false;
    }
    if (settings->journal != NULL) {
        snprintf(ship->place, sizeof ship->place, "%s", settings->journal);
    }
    ship->is_folder = journal_is_folder(ship->place);
    for (size_t end = strlen(ship->place); end > 1 && ship->place[end - 1] == '/'; end--) {
        ship->place[end - 1] = '\0';
    }
    snprintf(parent, sizeof parent, "%s", ship->place);
    const char *needed = ship->settings->once || ship->is_folder ? ship->place : dirname(parent);
    if (access(needed, F_OK) != 0) {
        command_fail(settings, EXIT_CODE_USAGE, "setting journal: %s: %s", needed, strerror(errno));
        return false;
    }
    return true;
}

/* Connects once, so that a wrong URL or password is an error at once; from then on Redis may come
 * and go. */
static int check_redis(struct ship *ship)
{
    struct redis redis;
    int code = redis_open(&redis, ship->settings) ? EXIT_CODE_DONE : redis.exit_code;

    snprintf(ship->redis_place, sizeof ship->redis_place, "%s", redis.url.place);
    redis_close(&redis);
    return code;
}

static void ship_create_events(struct ship *ship)
{
    struct event_config *config = event_config_new();

    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK |
                                      EVENT_BASE_FLAG_PRECISE_TIMER); /* polls are 1 ms apart */
    ship->base = event_base_new_with_config(config);
    event_config_free(config);
    ship->poll = event_new(ship->base, -1, EV_PERSIST, ship_on_poll, ship);
    ship->look = event_new(ship->base, -1, EV_PERSIST, ship_on_look, ship);
    ship->summary = event_new(ship->base, -1, EV_PERSIST, ship_on_summary, ship);
    ship->sigterm = evsignal_new(ship->base, SIGTERM, ship_on_signal, ship);
    ship->sigint = evsignal_new(ship->base, SIGINT, ship_on_signal, ship);
    timer_start(ship->look, ship->settings->once ? LOOK_ONCE_MS : LOOK_MS);
    if (!ship->settings->once) {
        timer_start(ship->summary, SUMMARY_MS);
    }
    evsignal_add(ship->sigterm, NULL);
    evsignal_add(ship->sigint, NULL);
}

static void ship_release(struct ship *ship)
{
    struct event *events[] = {ship->poll, ship->look, ship->summary, ship->sigterm, ship->sigint};

    ship_metrics_close(ship->metrics);
    while (ship->shipments != NULL) {
        close_shipment(ship, &ship->shipments);
    }
    forget_unfit(ship); /* lowers `seen` of all of them */
    forget_unfit(ship);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        event_free(events[i]);
    }
    event_base_free(ship->base);
}

/* Returns an exit code. */
static int ship_listen(struct ship *ship)
{
    char error[256];

    if (ship->settings->metrics == NULL) {
        return EXIT_CODE_DONE;
    }
    ship->metrics = ship_metrics_open(ship->base, ship->settings->metrics,
                                      &(struct ship_facts){.shipments = &ship->shipments,
                                                           .past = &ship->past,
                                                           .taken = &ship->taken,
                                                           .settings = ship->settings},
                                      error, sizeof error);
    return ship->metrics == NULL
               ? command_fail(ship->settings, EXIT_CODE_USAGE, "setting metrics: %s", error)
               : EXIT_CODE_DONE;
}

/* Begins with what is there now: with --once that is all there is to do. Returns an exit code. */
static int begin_once(struct ship *ship)
{
    char error[JOURNAL_ERROR_BYTES];
    int status = BLOTTER_OK;

    if (ship->is_folder) {
        look_in_folder(ship);
    } else {
        status = ship_take(ship, ship->place, error);
    }
    if (status == BLOTTER_CORRUPT && journal_is_unmade(ship->place)) {
        note_unfit(ship, ship->place, error);
    } else if (status != BLOTTER_OK) {
        return command_fail(ship->settings, EXIT_CODE_NO, "setting journal: %s: %s", ship->place,
                            status == BLOTTER_BUSY ? "the process that writes it sends by itself"
                                                   : error);
    }
    set_polling(ship);
    return EXIT_CODE_DONE;
}

static void print_answer(const struct ship *ship, const struct shipment_counts *counts)
{
    printf("{\"journals\": %" PRId64 ", \"sent\": %" PRId64 ", \"committed\": %" PRId64
           ", \"left\": %" PRId64 ", \"seconds\": %.3f}\n",
           ship->taken, counts->sent, counts->committed, counts->left,
           (double)(clock_monotonic_ms() - ship->started_ms) / 1000);
}

int command_ship(const struct settings *settings)
{
    struct ship ship = {
        .settings = settings, .started_ms = clock_monotonic_ms(), .moved_ms = clock_monotonic_ms()};
    int code = find_place(&ship) ? check_redis(&ship) : EXIT_CODE_USAGE;

    if (code != EXIT_CODE_DONE) {
        return code;
    }
    ship_create_events(&ship);
    ship.exit_code = ship_listen(&ship);
    if (ship.exit_code != EXIT_CODE_DONE) {
        ship_release(&ship);
        return ship.exit_code;
    }
    if (settings->once) {
        ship.exit_code = begin_once(&ship);
    } else {
        log_info("ship", "looks for journals: %s", ship.place);
        ship_on_look(-1, 0, &ship);
    }
    if (ship.exit_code == EXIT_CODE_DONE) {
        event_base_dispatch(ship.base);
    }
    struct shipment_counts counts = ship_count(&ship);
    if (!settings->once) {
        say_left(&ship, "stopped: ");
    }
    ship_release(&ship);
    if (settings->once) {
        print_answer(&ship, &counts);
    }
    return ship.exit_code;
}
