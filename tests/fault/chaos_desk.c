/* chaos_desk.c: see chaos_desk.h. */
#include "tests/fault/chaos_desk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/fixture.h"

enum {
    SLOTS = 65536,   /* half of it is more than a minute's */
    LOOK_EVERY = 64, /* submits, before it is looked how full the journal is */
    CLOSE_MS = 1000,
    COMMIT_MS = 120000,
    CLOCK_AHEAD_S = 172800,
    TICK_NS = 2000000,
};

const char *const chaos_exchanges[CHAOS_EXCHANGES] = {"binance", "bybit", "coinbase", "kraken",
                                                      "okx"};

/* A line of the file: a record that was accepted, or what seq then says; index: of the first record
 * that comes behind. */
enum { OPENED = 0, HAS_NO_ROOM = -1 };
struct note {
    int64_t producer_id, seq;
    uint64_t index;
};

/* The number of orders that have to be submitted by now: so many a second since the beginning,
 * even if nobody was alive. */
struct pace {
    int64_t began_ms, duration_ms, per_second;
};

struct place {
    blotter_producer *producer;
    struct blotter_stats stats;
    unsigned submitter;
    int notes; /* the file */
    uint64_t index;
    unsigned submits;
    bool no_room;
};

static time_t clock_ahead_s;
static volatile sig_atomic_t told; /* to end, by that signal */

static void on_signal(int number)
{
    told = number;
}

/* Instead of the C library's: what the producer's library takes for the time. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, clock, now);

    if (clock == CLOCK_REALTIME) {
        now->tv_sec += clock_ahead_s;
    }
    return status;
}

unsigned chaos_desk_exchange(unsigned desk, unsigned producer)
{
    return (desk + producer) % CHAOS_EXCHANGES;
}

static void note_path(char *path, size_t size, const char *folder, unsigned submitter)
{
    snprintf(path, size, "%s/accepted-%u", folder, submitter);
}

static int fail(const struct place *place, const char *what)
{
    fprintf(stderr,
            "submitter %u: %s; %" PRId64 " accepted, %" PRId64 " sent, %" PRId64
            " committed, %" PRId64 " let go; %s\n",
            place->submitter, what, place->stats.accepted, place->stats.sent,
            place->stats.committed, place->stats.evicted, place->stats.last_error);
    return 1;
}

/* --- the process --- */

/* OPENED, HAS_NO_ROOM, or a record. */
static int note(struct place *place, int64_t seq)
{
    struct note line = {place->stats.producer_id, seq, place->index};

    return write(place->notes, &line, sizeof line) == sizeof line ? 0 : fail(place, "cannot write");
}

/* An index that was perhaps submitted by one that was killed is not used again. */
static uint64_t first_index(int file)
{
    struct note last;
    off_t size = lseek(file, 0, SEEK_END);

    if (size < (off_t)sizeof last ||
        pread(file, &last, sizeof last, size - (off_t)sizeof last) != sizeof last) {
        return 0;
    }
    return last.index + (last.seq > 0 ? 2 : 1);
}

/* A desk with a wrong clock may not take over a good desk's journal. */
static const char *lane_of(unsigned desk, unsigned producer)
{
    return desk >= CHAOS_GOOD_DESKS ? "clock" : (desk + producer) % 3 == 2 ? "fills" : NULL;
}

static int open_place(struct place *place, const char *folder, unsigned desk, unsigned producer)
{
    const struct blotter_options options = {
        .exchange = chaos_exchanges[chaos_desk_exchange(desk, producer)],
        .lane = lane_of(desk, producer),
        .journal = getenv("BLOTTER_JOURNAL"),
        .slots = SLOTS,
        .sender = producer == 0 ? BLOTTER_SENDER_THREAD : BLOTTER_SENDER_NONE};
    char path[4096];

    place->submitter = desk * CHAOS_DESK_PRODUCERS + producer;
    note_path(path, sizeof path, folder, place->submitter);
    place->notes = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (place->notes < 0 || blotter_open(&place->producer, &options) != BLOTTER_OK) {
        return fail(place, place->notes < 0 ? "cannot open its notes" : blotter_open_error());
    }
    place->index = first_index(place->notes);
    blotter_stats(place->producer, &place->stats);
    return note(place, OPENED);
}

/* Records that are sent without being committed are never let go: nothing is submitted while the
 * journal is half full. */
static bool has_room(struct place *place)
{
    if (place->no_room || place->submits++ % LOOK_EVERY == 0) {
        blotter_stats(place->producer, &place->stats);
    }
    return place->stats.held <= place->stats.slots / 2;
}

static int submit(struct place *place, int64_t time_ns)
{
    struct sample_order sample;
    int64_t seq;

    proof_make_order(&sample, place->submitter, place->index, time_ns);
    seq = blotter_order(place->producer, &sample.order);
    if (seq < 0) {
        return fail(place, blotter_status_text((int)seq));
    }
    if (note(place, seq) != 0) {
        return 1;
    }
    place->index++;
    return 0;
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* By now, of one producer of the desk. */
static uint64_t due(const struct pace *pace)
{
    int64_t elapsed_ms = fixture_now_ms() - pace->began_ms;

    elapsed_ms = elapsed_ms < pace->duration_ms ? elapsed_ms : pace->duration_ms;
    return (uint64_t)(elapsed_ms * pace->per_second / CHAOS_DESK_PRODUCERS / 1000);
}

/* Up to what is due, where there is room. */
static int submit_due(struct place *place, const struct pace *pace, int64_t time_ns)
{
    while (place->index < due(pace) && told != SIGTERM) {
        if (!has_room(place)) {
            bool noted = place->no_room;

            place->no_room = true;
            return noted ? 0 : note(place, HAS_NO_ROOM);
        }
        place->no_room = false;
        if (submit(place, time_ns) != 0) {
            return 1;
        }
    }
    return 0;
}

static bool all_is_submitted(const struct place places[CHAOS_DESK_PRODUCERS],
                             const struct pace *pace)
{
    bool all = true;

    for (unsigned i = 0; i < CHAOS_DESK_PRODUCERS; i++) {
        all = all && places[i].index >= due(pace);
    }
    return all;
}

static int submit_all(struct place places[CHAOS_DESK_PRODUCERS], int64_t time_ns,
                      const struct pace *pace)
{
    int failed = 0;

    while (!failed && told != SIGTERM && (told != SIGINT || !all_is_submitted(places, pace))) {
        for (unsigned i = 0; i < CHAOS_DESK_PRODUCERS && !failed; i++) {
            failed = submit_due(&places[i], pace, time_ns);
        }
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
    return failed;
}

/* Nobody here can wait for the shipper; the journal shows how far it is. */
static bool is_committed(struct place *place)
{
    blotter_stats(place->producer, &place->stats);
    return place->stats.committed == place->stats.accepted;
}

static bool wait_until_committed(struct place *place)
{
    int64_t deadline = now_ns() + COMMIT_MS * INT64_C(1000000);

    int status = blotter_flush(place->producer, BLOTTER_COMMITTED, COMMIT_MS);

    if (status != BLOTTER_NO_SENDER) {
        return status == BLOTTER_OK;
    }
    while (!is_committed(place) && now_ns() < deadline) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return is_committed(place);
}

static int close_place(struct place *place)
{
    int failed = told == SIGINT && !wait_until_committed(place);

    blotter_stats(place->producer, &place->stats);
    if (failed) {
        fail(place, "not everything was committed");
    } else if (place->stats.evicted > 0) {
        failed = fail(place, "sent records were let go");
    }
    blotter_close(place->producer, told == SIGINT ? COMMIT_MS : CLOSE_MS);
    return failed;
}

int chaos_desk_main(int argc, char **argv)
{
    struct place places[CHAOS_DESK_PRODUCERS] = {{0}};
    int failed = argc != 8;
    struct pace pace = {0};

    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    puts(CHAOS_DESK_LISTENS);
    fflush(stdout);
    clock_ahead_s = atoi(argv[2]) >= CHAOS_GOOD_DESKS ? CLOCK_AHEAD_S : 0;
    for (unsigned i = 0; i < CHAOS_DESK_PRODUCERS && !failed; i++) {
        failed = open_place(&places[i], argv[3], (unsigned)atoi(argv[2]), i);
    }
    if (!failed) {
        pace = (struct pace){atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
        failed = submit_all(places, atoll(argv[4]), &pace);
    }
    for (unsigned i = 0; i < CHAOS_DESK_PRODUCERS && !failed; i++) {
        failed = close_place(&places[i]);
    }
    return failed;
}

/* --- what they said --- */

/* Reads the records behind a process' last note: its producer would have noted them next. */
static void collect_unsure(const struct note *last, unsigned submitter, struct proof *proof)
{
    proof->unsure[proof->unsure_count++] = (struct proof_record){
        last->producer_id, last->seq, last->index + (last->seq > 0), submitter};
}

/* One producer's file. What follows the last record of each open is unsure. Returns how often it
 * had no room. */
static unsigned collect_file(FILE *file, size_t lines, unsigned submitter, struct proof *proof)
{
    struct note line, last = {0};
    unsigned without_room = 0;

    for (size_t i = 0; i < lines && fread(&line, sizeof line, 1, file) == 1; i++) {
        if (line.seq > 0) {
            proof->records[proof->count++] =
                (struct proof_record){line.producer_id, line.seq, line.index, submitter};
        } else if (line.seq == HAS_NO_ROOM) {
            without_room++;
        } else if (i > 0) {
            collect_unsure(&last, submitter, proof);
        }
        last = line;
    }
    if (last.producer_id != 0) {
        collect_unsure(&last, submitter, proof);
    }
    return without_room;
}

unsigned chaos_desk_collect(const char *folder, unsigned first_desk, unsigned desks,
                            unsigned exchange, struct proof *proof)
{
    unsigned without_room = 0;

    for (unsigned i = 0; i < desks * CHAOS_DESK_PRODUCERS; i++) {
        unsigned submitter = first_desk * CHAOS_DESK_PRODUCERS + i;
        char path[4096];
        FILE *file;

        if (chaos_desk_exchange(submitter / CHAOS_DESK_PRODUCERS,
                                submitter % CHAOS_DESK_PRODUCERS) != exchange) {
            continue;
        }
        note_path(path, sizeof path, folder, submitter);
        file = fopen(path, "re");
        if (file == NULL) {
            fixture_fail("desk %u has noted nothing", submitter / CHAOS_DESK_PRODUCERS);
        }
        fseek(file, 0, SEEK_END);
        size_t more = (size_t)ftell(file) / sizeof(struct note);
        rewind(file);
        proof->records =
            realloc(proof->records, (proof->count + more + 1) * sizeof *proof->records);
        proof->unsure =
            realloc(proof->unsure, (proof->unsure_count + more + 1) * sizeof *proof->unsure);
        if (proof->records == NULL || proof->unsure == NULL) {
            abort();
        }
        without_room += collect_file(file, more, submitter, proof); /* it may be growing */
        fclose(file);
    }
    proof->exchange = chaos_exchanges[exchange];
    return without_room;
}
