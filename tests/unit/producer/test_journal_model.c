/* test_journal_model.c: every interleaving of two submitters and a sender on a ring of two slots.
 *
 * It is the journal's own code that runs, built here so that it gives way before every access to
 * what is shared, and between the halves of what it copies. At each such point every actor may be
 * the next; which one is tried in turn, from the beginning each time, until there is none left that
 * was not tried. A state that was met before is not gone through again: it is the shared memory,
 * and what each actor has seen since the top of its loop. The memory is one that all see in the
 * same order; weaker orders are the business of ThreadSanitizer (test_journal_threads).
 *
 * The sender reads, believes what it has read to be sent, frees what is sent, goes back to what is
 * not sent, and to what is not freed: in any order. Whatever it reads must be a record, whole, and
 * the same as when it read it before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

static void give_way(const volatile void *place);
static void observe(uint64_t value);
static void changed(const volatile void *place);
static void *copy(void *to, const void *from, size_t size);
static int no_time(clockid_t clock, struct timespec *time);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_or_explicit
#define atomic_load_explicit(place, order)          \
    __extension__({                                 \
        give_way(place);                            \
        __typeof__(*(place) + 0) value_ = *(place); \
        observe((uint64_t)value_);                  \
        value_;                                     \
    })
#define atomic_store_explicit(place, value, order) \
    __extension__({                                \
        give_way(place);                           \
        *(place) = (value);                        \
        changed(place);                            \
    })
#define atomic_compare_exchange_strong_explicit(place, expected, value, succeeded, failed) \
    __extension__({                                                                        \
        give_way(place);                                                                   \
        bool same_ = *(place) == *(expected);                                              \
        if (same_) {                                                                       \
            *(place) = (value);                                                            \
            changed(place);                                                                \
        } else {                                                                           \
            *(expected) = *(place);                                                        \
        }                                                                                  \
        observe((uint64_t) * (expected) << 1 | same_);                                     \
        same_;                                                                             \
    })
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit
#define atomic_fetch_add_explicit(place, more, order) (give_way(place), *(place) += (more))
#define atomic_fetch_or_explicit(place, more, order) (give_way(place), *(place) |= (more))
#define memcpy copy
#define clock_gettime no_time
#include "producer/journal.c"
#undef memcpy
#undef clock_gettime

enum {
    SLOTS = 2,
    SLOT_BYTES = 128,
    BODY_BYTES = 16,
    SUBMITTERS = 2,
    RECORDS_EACH = 2,
    RECORDS = 3
};
enum {
    SENDER = SUBMITTERS,
    ACTORS,
    STACK_BYTES = 64 * 1024,
    DEPTH_MAX = 4096,
    VISITED_BITS = 23,
    GO_BACKS = 2
};

/* --- what is shared --- */

static struct shared {
    struct journal_header header;
    _Alignas(64) unsigned char slots[SLOTS][SLOT_BYTES];
} shared;
static struct journal journal;

/* The state of a record, as the test sees it. */
static struct outcome {
    int64_t returned[SUBMITTERS][RECORDS_EACH];
    unsigned char read[RECORDS + 2]; /* the tag of the record at that position; 0: not yet read */
    uint64_t next_send;
    unsigned go_backs;
} outcome;

/* The ring is full after two, and begins anew with the third. */
static int records_of(int submitter)
{
    return submitter == 0 ? 2 : 1;
}

static unsigned char tag_of(int submitter, int number)
{
    return (unsigned char)(1 + submitter * RECORDS_EACH + number);
}

/* --- actors --- */

static struct actor {
    ucontext_t context;
    bool ended, asleep;
    uint64_t seen;    /* a hash of all that it has observed since the top of its loop */
    unsigned changes; /* how often the memory had changed then */
    int at;           /* which turn of its loop */
} actors[ACTORS];
static _Alignas(64) char stacks[ACTORS][STACK_BYTES];
static ucontext_t scheduler;
static struct actor *running;
static unsigned changes;

static uint64_t mixed(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static bool is_shared(const volatile void *place)
{
    const volatile char *at = place;
    return at >= (const char *)&shared && at < (const char *)(&shared + 1);
}

static void pause_actor(void)
{
    swapcontext(&running->context, &scheduler);
}

static void observe(uint64_t value)
{
    if (running != NULL) {
        running->seen = mixed(running->seen, value);
    }
}

/* `check`, which is for recovery, is looked at by nobody here. */
static bool is_looked_at(const volatile void *place)
{
    const struct journal_header *header = &shared.header;
    return is_shared(place) && place != &header->sent.check && place != &header->floor.check;
}

static void give_way(const volatile void *place)
{
    if (running == NULL || !is_looked_at(place)) {
        return;
    }
    observe(1); /* one step further */
    pause_actor();
}

static void changed(const volatile void *place)
{
    changes += is_shared(place);
}

static void *copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size / 2);
    give_way(is_shared(to) ? to : from);
    return memcpy((char *)to + size / 2, (const char *)from + size / 2, size - size / 2);
}

static int no_time(clockid_t clock, struct timespec *time)
{
    (void)clock;
    *time = (struct timespec){.tv_sec = 1};
    return 0;
}

/* The top of an actor's loop: what it has seen before has no influence any more. */
static void begin_turn(int at)
{
    running->seen = 0;
    running->at = at;
    running->changes = changes;
}

/* Until somebody has changed something that it has not seen. */
static void sleep_until_changed(void)
{
    running->asleep = true;
    pause_actor();
}

static int choose(int count);

static void submit_all(int submitter)
{
    unsigned char body[BODY_BYTES];
    for (int i = 0; i < records_of(submitter); i++) {
        memset(body, tag_of(submitter, i), sizeof body);
        for (;;) {
            begin_turn(i);
            outcome.returned[submitter][i] =
                journal_append(&journal, RECORD_ORDER, body, sizeof body, 1);
            if (outcome.returned[submitter][i] != BLOTTER_FULL) {
                break;
            }
            sleep_until_changed();
        }
    }
}

static void read_next(bool nothing_else_to_do)
{
    const struct journal_slot *slot;
    unsigned char body[BODY_BYTES];
    uint64_t position = outcome.next_send;
    enum journal_read read = journal_read(&journal, position, &slot);
    if (read == JOURNAL_NOTHING_YET) {
        if (nothing_else_to_do) {
            sleep_until_changed();
        }
        return;
    }
    assert_int_equal(read, JOURNAL_RECORD);
    copy(body, slot->body, sizeof body);
    give_way(slot);
    assert_int_equal(slot->seq, position);
    assert_int_equal(slot->length, BODY_BYTES);
    for (unsigned i = 0; i < BODY_BYTES; i++) {
        assert_int_equal(body[i], body[0]);
    }
    if (outcome.read[position]) {
        assert_int_equal(body[0], outcome.read[position]);
    }
    outcome.read[position] = body[0];
    outcome.next_send = position + 1;
}

static void go_back_to(uint64_t position)
{
    outcome.go_backs++;
    journal_cursor_set(&journal.header->sent, position);
    outcome.next_send = position;
}

enum { READ, SENT_ONE, SENT_ALL, FREE_ONE, FREE_ALL, TO_SENT, TO_FLOOR };

static void send_all(int unused)
{
    (void)unused;
    struct journal_header *header = journal.header;
    for (;;) {
        uint64_t floor = header->floor.value, sent = header->sent.value,
                 next_send = outcome.next_send;
        int can[8], count = 0;
        begin_turn(0);
        if (floor == RECORDS + 1) {
            return;
        }
        if (next_send <= RECORDS) {
            can[count++] = READ;
        }
        if (sent < next_send) {
            can[count++] = SENT_ONE, can[count++] = SENT_ALL;
        }
        if (floor < sent) {
            can[count++] = FREE_ONE, can[count++] = FREE_ALL;
        }
        if (outcome.go_backs < GO_BACKS && floor < next_send) {
            can[count++] = TO_SENT, can[count++] = TO_FLOOR;
        }
        switch (can[choose(count)]) {
        case READ:
            read_next(count == 1);
            break;
        case SENT_ONE:
            journal_cursor_set(&header->sent, sent + 1);
            break;
        case SENT_ALL:
            journal_cursor_set(&header->sent, next_send);
            break;
        case FREE_ONE:
            journal_cursor_set(&header->floor, floor + 1);
            break;
        case FREE_ALL:
            journal_cursor_set(&header->floor, sent);
            break;
        case TO_SENT:
            go_back_to(sent);
            break;
        case TO_FLOOR:
            go_back_to(floor);
            break;
        }
    }
}

static void act(int who)
{
    (who == SENDER ? send_all : submit_all)(who);
    actors[who].ended = true;
    pause_actor();
}

/* --- all that can happen --- */

static struct {
    int taken, of;
} path[DEPTH_MAX];
static int depth, replayed; /* of the path: where we are, and up to where it is given */
static uint64_t *visited;
static unsigned long runs, states;

static int choose(int count)
{
    assert_true(depth < DEPTH_MAX);
    if (depth >= replayed) {
        path[depth].taken = 0;
        path[depth].of = count;
    }
    int taken = path[depth++].taken;
    observe((uint64_t)taken + 1);
    return taken;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint64_t *words = bytes;
    for (size_t i = 0; i < size / sizeof *words; i++) {
        hash = mixed(hash, words[i]);
    }
    return hash;
}

static uint64_t state(void)
{
    uint64_t hash = hash_bytes(1, &shared.header.next, 4 * sizeof(struct journal_cursor));
    hash = hash_bytes(hash, shared.slots, sizeof shared.slots);
    hash = hash_bytes(hash, &outcome, sizeof outcome);
    for (int i = 0; i < ACTORS; i++) {
        const struct actor *actor = &actors[i];
        hash = mixed(hash, actor->seen);
        hash = mixed(hash, (uint64_t)actor->at << 3 | (uint64_t)actor->ended << 2 |
                               (uint64_t)actor->asleep << 1 | (actor->changes == changes));
    }
    return hash ? hash : 1;
}

static bool was_visited(uint64_t hash)
{
    size_t mask = ((size_t)1 << VISITED_BITS) - 1, at = hash & mask;
    for (; visited[at]; at = (at + 1) & mask) {
        if (visited[at] == hash) {
            return true;
        }
    }
    assert_true(++states < mask / 2);
    visited[at] = hash;
    return false;
}

static void start_all(void)
{
    memset(&shared, 0, sizeof shared);
    memset(&outcome, 0, sizeof outcome);
    memset(&journal, 0, sizeof journal);
    journal.header = &shared.header;
    journal.slot_area = shared.slots[0];
    journal.slots = SLOTS;
    journal.slot_bytes = SLOT_BYTES;
    journal.body_capacity = BODY_BYTES;
    journal.producer_id = 7;
    shared.header.next.value = shared.header.sent.value = shared.header.committed.value =
        shared.header.floor.value = 1;
    outcome.next_send = 1;
    changes = 0;
    depth = 0;
    for (int i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){0};
        getcontext(&actors[i].context);
        actors[i].context.uc_stack.ss_sp = stacks[i];
        actors[i].context.uc_stack.ss_size = STACK_BYTES;
        makecontext(&actors[i].context, (void (*)(void))act, 1, i);
    }
}

static bool can_run(struct actor *actor)
{
    if (actor->asleep && actor->changes != changes) {
        actor->asleep = false;
    }
    return !actor->ended && !actor->asleep;
}

/* Lets one of those run that can; false: nobody can, or from here on all was tried before. */
static bool step(void)
{
    int ready[ACTORS], count = 0;
    for (int i = 0; i < ACTORS; i++) {
        if (can_run(&actors[i])) {
            ready[count++] = i;
        }
    }
    if (count == 0 || (depth >= replayed && was_visited(state()))) {
        return false;
    }
    running = NULL;
    running = &actors[ready[choose(count)]];
    swapcontext(&scheduler, &running->context);
    running = NULL;
    return true;
}

static void check_end(void)
{
    for (int i = 0; i < ACTORS; i++) {
        if (!actors[i].ended && can_run(&actors[i])) {
            return; /* was gone through before */
        }
    }
    for (int i = 0; i < ACTORS; i++) {
        assert_true(actors[i].ended);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        for (int number = 0; number < records_of(i); number++) {
            assert_in_range(outcome.returned[i][number], 1, RECORDS);
            assert_int_equal(outcome.read[outcome.returned[i][number]], tag_of(i, number));
        }
    }
}

static bool next_path(void)
{
    while (depth > 0 && path[depth - 1].taken + 1 == path[depth - 1].of) {
        depth--;
    }
    if (depth == 0) {
        return false;
    }
    path[depth - 1].taken++;
    replayed = depth;
    return true;
}

static void whatever_the_order_nothing_unsent_is_overwritten(void **unused)
{
    (void)unused;
    unsigned long ends = 0;
    visited = calloc((size_t)1 << VISITED_BITS, sizeof *visited);
    assert_non_null(visited);
    replayed = 0;
    do {
        start_all();
        while (step())
            ;
        check_end();
        ends += actors[SENDER].ended;
        runs++;
    } while (next_path());
    print_message("%lu states, %lu runs, %lu to the end\n", states, runs, ends);
    assert_true(ends > 0);
    free(visited);
}

/* A thread was stopped between its look at `next`, when the journal was not opened yet, and that at
 * `floor`: others have opened it, recorded, and freed what they recorded. */
static void an_old_look_at_an_unopened_journal_says_look_again_and_not_full(void **unused)
{
    (void)unused;
    const uint64_t unopened = 1 | NEXT_OPENING;
    start_all();
    shared.header.next.value = shared.header.sent.value = shared.header.floor.value = RECORDS + 1;
    assert_int_equal(claim_flagged(&journal, journal.header, unopened, 1), 0);
    assert_int_equal(journal.full, 0);
    shared.header.next.value = unopened;
    shared.header.sent.value = shared.header.floor.value = 1;
    assert_int_equal(claim_flagged(&journal, journal.header, unopened, SLOTS), BLOTTER_FULL);
    assert_int_equal(journal.full, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_look_at_an_unopened_journal_says_look_again_and_not_full),
        cmocka_unit_test(whatever_the_order_nothing_unsent_is_overwritten),
    };
    return cmocka_run_group_tests_name("every interleaving", tests, NULL, NULL);
}
