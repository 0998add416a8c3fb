/* chaos_desk.c: see chaos_desk.h. */
#include "tests/fault/chaos_desk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/fixture.h"

#define SLOTS 16384
#define LOOK_EVERY 64 /* submits, before it is looked how full the journal is */
#define CLOSE_MS 1000
#define COMMIT_MS 120000
#define CATCH_UP_NS 1000000000

const char *const chaos_exchanges[CHAOS_EXCHANGES] = {"binance", "bybit", "coinbase", "kraken", "okx"};

/* A line of the file: a producer that was opened (seq 0), whose first record has that index; or a record that was accepted. */
struct note {
    int64_t producer_id, seq;
    uint64_t index;
};

struct place {
    blotter_producer *producer;
    struct blotter_stats stats;
    unsigned submitter;
    int notes; /* the file */
    uint64_t index;
    unsigned submits;
    int64_t full;
};

static volatile sig_atomic_t told; /* to end, by that signal */

static void on_signal(int number)
{
    told = number;
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
    fprintf(stderr, "submitter %u: %s; %" PRId64 " accepted, %" PRId64 " sent, %" PRId64 " committed, %" PRId64 " let go; %s\n",
            place->submitter, what, place->stats.accepted, place->stats.sent, place->stats.committed, place->stats.let_go,
            place->stats.last_error);
    return 1;
}

/* --- the process ----------------------------------------------------------------------------------------------------------- */

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

    if (size < (off_t)sizeof last || pread(file, &last, sizeof last, size - (off_t)sizeof last) != sizeof last) {
        return 0;
    }
    return last.index + (last.seq == 0 ? 1 : 2);
}

static int open_place(struct place *place, const char *folder, unsigned desk, unsigned producer)
{
    const struct blotter_options options = {.exchange = chaos_exchanges[chaos_desk_exchange(desk, producer)],
                                            .lane = (desk + producer) % 3 == 2 ? "fills" : NULL,
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
    return note(place, 0);
}

/* Records that are sent without being committed are never let go: nothing is submitted while the journal is half full. */
static bool has_room(struct place *place)
{
    if (place->submits++ % LOOK_EVERY == 0) {
        blotter_stats(place->producer, &place->stats);
    }
    if (place->stats.held > place->stats.slots / 2) {
        place->submits = 0;
        place->full++;
        return false;
    }
    return true;
}

static int submit(struct place *place, int64_t time_ns)
{
    struct sample_order sample;
    int64_t seq;

    if (!has_room(place)) {
        return 0;
    }
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

static int submit_all(struct place places[CHAOS_DESK_PRODUCERS], int64_t time_ns, int per_second)
{
    int64_t due = now_ns();
    int failed = 0;

    for (unsigned turn = 0; !told && !failed; turn++) {
        int64_t now = now_ns();

        failed = submit(&places[turn % CHAOS_DESK_PRODUCERS], time_ns);
        due += INT64_C(1000000000) / per_second;
        due = due < now - CATCH_UP_NS ? now - CATCH_UP_NS : due; /* it was stopped */
        if (due > now) {
            nanosleep(&(struct timespec){(due - now) / 1000000000, (due - now) % 1000000000}, NULL);
        }
    }
    return failed;
}

/* Where the shipper sends nobody here can wait; the journal says how far it is. */
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
    } else if (place->stats.let_go > 0) {
        failed = fail(place, "sent records were let go");
    }
    blotter_close(place->producer, told == SIGINT ? COMMIT_MS : CLOSE_MS);
    if (place->full > 0) {
        printf("submitter %u: %" PRId64 " times without room\n", place->submitter, place->full);
    }
    return failed;
}

int chaos_desk_main(int argc, char **argv)
{
    struct place places[CHAOS_DESK_PRODUCERS] = {{0}};
    int failed = argc != 6;

    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    puts(CHAOS_DESK_LISTENS);
    fflush(stdout);
    for (unsigned i = 0; i < CHAOS_DESK_PRODUCERS && !failed; i++) {
        failed = open_place(&places[i], argv[3], (unsigned)atoi(argv[2]), i);
    }
    failed = failed || submit_all(places, strtoll(argv[4], NULL, 10), atoi(argv[5]));
    for (unsigned i = 0; i < CHAOS_DESK_PRODUCERS && !failed; i++) {
        failed = close_place(&places[i]);
    }
    return failed;
}

/* --- what they said -------------------------------------------------------------------------------------------------------- */

/* One producer's file. What follows the last record of each open is unsure. */
static void collect_file(FILE *file, unsigned submitter, struct proof *proof)
{
    struct note line, last = {0};
    bool any = false;

    while (fread(&line, sizeof line, 1, file) == 1) {
        struct proof_record record = {line.producer_id, line.seq, line.index, submitter};

        if (line.seq > 0) {
            proof->records[proof->count++] = record;
        } else if (any) {
            proof->unsure[proof->unsure_count++] =
                (struct proof_record){last.producer_id, last.seq, last.index + (last.seq > 0), submitter};
        }
        last = line;
        any = true;
    }
    if (any) {
        proof->unsure[proof->unsure_count++] =
            (struct proof_record){last.producer_id, last.seq, last.index + (last.seq > 0), submitter};
    }
}

void chaos_desk_collect(const char *folder, unsigned desks, unsigned exchange, struct proof *proof)
{
    for (unsigned submitter = 0; submitter < desks * CHAOS_DESK_PRODUCERS; submitter++) {
        char path[4096];
        FILE *file;

        if (chaos_desk_exchange(submitter / CHAOS_DESK_PRODUCERS, submitter % CHAOS_DESK_PRODUCERS) != exchange) {
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
        proof->records = realloc(proof->records, (proof->count + more + 1) * sizeof *proof->records);
        proof->unsure = realloc(proof->unsure, (proof->unsure_count + more + 1) * sizeof *proof->unsure);
        if (proof->records == NULL || proof->unsure == NULL) {
            abort();
        }
        collect_file(file, submitter, proof);
        fclose(file);
    }
    proof->exchange = chaos_exchanges[exchange];
}
