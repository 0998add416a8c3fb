/* test_journal_crash.c: a process may die at any instruction.
 *
 * A child opens a journal, submits and closes, one instruction at a time. After every instruction
 * that has changed the journal, or after which a submit has returned, a copy of it is recovered as
 * the next process would, and read as its sender would: what had been accepted is there once and
 * whole, nothing half-written is, and no seq is missing. Then the same once more, with another
 * thread of the dead process having submitted in just that moment. */
#include "tests/unit/journals.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "tests/fixture/traced.h"

enum {
    SUBMITS_MAX = 96,
    OTHER_THREAD = SUBMITS_MAX - 1,
    BYTES_MAX = 2 * JOURNAL_PAGE_BYTES + SLOTS * 1024
};

/* The process that wrote into the journal, and the answers to its submits. The child shares its
 * own. */
struct owner {
    int64_t producer_id;
    uint64_t base;
    volatile bool opened;
    volatile int count; /* submits that have returned */
    volatile int64_t returned[SUBMITS_MAX];
};

struct story {
    uint32_t slot_bytes;
    bool large;       /* records that fill their slots */
    int former;       /* records of an owner that died before */
    int former_held;  /* how many of its places are still taken; 0: all */
    bool unpublished; /* the sixth of those was claimed only */
    int before;       /* submits before the first step */
    int held;         /* places that are taken then; 0: all */
    int submits;      /* of these every instruction */
    bool opens;       /* of blotter_open too */
    bool closes;      /* of blotter_close too */
    bool frees; /* instead of submits: every instruction of a sender that frees places of a full
                   ring */
};

static struct story story;
static struct owner *former, *child;
static char copy_path[JOURNAL_PATH_BYTES + 8];
static unsigned instructions, moments, voids,
    kept; /* kept: records that were there before submit had returned */

/* --- records that are told by their number --- */

static struct {
    char id[16], reason[1024];
    struct blotter_order order;
    struct blotter_trade trade;
} records[SUBMITS_MAX];

static enum record_kind kind_of(int number)
{
    return number & 1 ? RECORD_TRADE : RECORD_ORDER;
}

static bool is_refused(int number)
{
    return number % 10 == 4;
}

static int encode(int number, unsigned char *body, unsigned *fields)
{
    struct record_problem problem;
    size_t capacity = story.slot_bytes - JOURNAL_SLOT_HEAD_BYTES;
    if (kind_of(number) == RECORD_TRADE) {
        return record_encode(RECORD_TRADE, &records[number].trade, body, capacity, fields,
                             &problem);
    }
    return record_encode(RECORD_ORDER, &records[number].order, body, capacity, fields, &problem);
}

static void make_records(void)
{
    unsigned char body[1024];
    unsigned fields;
    for (int i = 0; i < SUBMITS_MAX; i++) {
        snprintf(records[i].id, sizeof records[i].id, "record %03d", i);
        records[i].trade = (struct blotter_trade){
            .trade_id = records[i].id, .symbol = "ETH/USDT", .price = "1E-8", .quantity = "12"};
        records[i].order = (struct blotter_order){.order_id = is_refused(i) ? NULL : records[i].id,
                                                  .price = "67123.10"};
        memset(records[i].reason, 'a' + i % 26, sizeof records[i].reason);
        size_t length = story.large ? sizeof records[i].reason - 1 : 10;
        records[i].order.reason = records[i].reason;
        do {
            records[i].reason[length--] = 0;
        } while (!is_refused(i) && encode(i, body, &fields) < 0);
    }
}

/* --- the dead journal is recovered --- */

/* Returns which submit was answered with that seq; -1: none. */
static int number_of(const struct owner *owner, int64_t seq)
{
    for (int i = 0; i < SUBMITS_MAX; i++) {
        if (owner->returned[i] == seq) {
            return i;
        }
    }
    return -1;
}

static void check_body(const struct journal_slot *slot, int number)
{
    unsigned char body[1024];
    unsigned fields;
    int length = encode(number, body, &fields);
    assert_int_equal(slot->kind, kind_of(number));
    assert_int_equal(slot->length, length);
    assert_int_equal(slot->fields, fields);
    assert_memory_equal(slot->body, body, (size_t)length);
}

static void check_session(const struct journal *journal, const struct journal_slot *slot)
{
    static char scratch_bytes[RECORD_SCRATCH_BYTES];
    struct record_scratch scratch = {scratch_bytes, sizeof scratch_bytes, 0};
    struct record_identity identity = {slot->producer_id, slot->seq, slot->recorded_at_ns,
                                       journal->exchange};
    struct record record;
    struct record_problem problem;
    unsigned char wire[RECORD_HEAD_BYTES_MAX + 1024];
    size_t length = record_encode_head(&identity, slot->fields, wire);
    memcpy(wire + length, slot->body, slot->length);
    assert_int_equal(record_decode(RECORD_SESSION, NULL, wire, length + slot->length, &scratch,
                                   &record, &problem),
                     0);
    const struct record_value *event = &record.values[SESSION_event];
    voids += event->length == 4 && memcmp(event->bytes, "void", 4) == 0;
    assert_int_equal(event->length == 6 && memcmp(event->bytes, "closed", 6) == 0,
                     (slot->flags & SLOT_IS_CLOSED) != 0);
}

struct reading {
    const struct journal_slot *before;
    int found[2]; /* records of the former owner, and of the child */
};

static void check_slot(const struct journal *journal, uint64_t position,
                       const struct journal_slot *slot, struct reading *reading)
{
    struct owner *owners[] = {former, child};
    for (int i = 0; i < 2; i++) {
        if (slot->producer_id != owners[i]->producer_id) {
            continue;
        }
        assert_int_equal(slot->seq, position - owners[i]->base);
        int number = number_of(owners[i], slot->seq);
        if (slot->kind == RECORD_SESSION) {
            assert_int_equal(number, -1);
            check_session(journal, slot);
            return;
        }
        kept += number < 0;
        check_body(slot, number < 0 ? owners[i]->count : number);
        reading->found[i] += number >= 0;
        return;
    }
    assert_int_equal(slot->producer_id, journal->producer_id);
    assert_int_equal(slot->kind, RECORD_SESSION);
    check_session(journal, slot);
}

/* Dense within a producer, and one producer's `closed` before the next one's `opened`, if there was
 * room for it. */
static void check_order(const struct journal_slot *before, const struct journal_slot *slot)
{
    if (slot->producer_id == before->producer_id) {
        assert_int_equal(slot->seq, before->seq + 1);
        assert_true(slot->recorded_at_ns >= before->recorded_at_ns);
    } else {
        assert_int_equal(slot->seq, 1);
        assert_true((before->flags & SLOT_IS_CLOSED) || story.former == SLOTS - 1);
    }
}

static int accepted_from(const struct owner *owner, uint64_t floor)
{
    int accepted = 0;
    for (int i = 0; i < SUBMITS_MAX; i++) {
        accepted += owner->returned[i] > 0 && owner->base + (uint64_t)owner->returned[i] >= floor;
    }
    return accepted;
}

static void check_journal(const struct journal *journal)
{
    struct reading reading = {0};
    uint64_t floor = journal_cursor(&journal->header->floor), next = journal_next(journal);
    assert_in_range(next - floor, 0, SLOTS);
    assert_int_equal(journal->found.damaged, 0);
    for (uint64_t position = floor; position < next; position++) {
        const struct journal_slot *slot = NULL;
        assert_int_equal(journal_read(journal, position, &slot), JOURNAL_RECORD);
        check_slot(journal, position, slot, &reading);
        if (reading.before != NULL) {
            check_order(reading.before, slot);
        }
        reading.before = slot;
    }
    assert_int_equal(reading.found[0], accepted_from(former, floor));
    assert_int_equal(reading.found[1], accepted_from(child, floor));
}

static void recover_copy(void)
{
    struct journal *journal = open_at(copy_path);
    check_journal(journal);
    die(journal);
}

/* Another thread of the child's process, which has its handle; a second later, as the clock of a
 * handle of our own may be some nanoseconds behind. */
static void submit_as_another_thread(const struct journal_owner *owner)
{
    unsigned char body[1024];
    unsigned fields;
    int fd = open(copy_path, O_RDWR), length = encode(OTHER_THREAD, body, &fields);
    size_t bytes = journal_bytes(SLOTS, story.slot_bytes);
    unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    struct journal *other = calloc(1, sizeof *other);
    *other = (struct journal){.header = (struct journal_header *)map,
                              .slot_area = map + JOURNAL_PAGE_BYTES,
                              .slots = SLOTS,
                              .slot_bytes = story.slot_bytes,
                              .body_capacity = story.slot_bytes - JOURNAL_SLOT_HEAD_BYTES,
                              .producer_id = owner->producer_id,
                              .base = owner->base,
                              .version = JOURNAL_VERSION};
    journal_clock_init(&other->clock);
    atomic_fetch_add(&other->clock.offset_ns, INT64_C(1000000000));
    child->returned[OTHER_THREAD] =
        journal_append(other, kind_of(OTHER_THREAD), body, (uint32_t)length, fields);
    free(other);
    munmap(map, bytes);
    close(fd);
}

/* --- the child, and what is seen of it --- */

static void submit(blotter_producer *producer)
{
    int number = child->count;
    child->returned[number] = kind_of(number) == RECORD_TRADE
                                  ? blotter_trade(producer, &records[number].trade)
                                  : blotter_order(producer, &records[number].order);
    child->count = number + 1;
}

/* The same without a producer: an owner that is also its sender, or one that is to die. */
static void append_many(struct journal *journal, struct owner *owner, int count)
{
    unsigned char body[1024];
    unsigned fields;
    for (int number = 0, done = 0; done < count; number++) {
        if (is_refused(number)) {
            continue;
        }
        if (story.unpublished && done == 5) {
            atomic_fetch_add(&journal->header->next.value, 1);
        } else {
            int length = encode(number, body, &fields);
            owner->returned[number] =
                journal_append(journal, kind_of(number), body, (uint32_t)length, fields);
        }
        done++;
    }
}

static void sender(const char *at)
{
    struct journal *journal;
    struct journal_options options = both;
    options.slot_bytes = story.slot_bytes;
    if (journal_open(&journal, at, &options, error) != 0) {
        _exit(1);
    }
    append_many(journal, child, SLOTS - 1);
    child->opened = true;
    traced_begin();
    struct journal_header *header = journal->header;
    for (uint64_t position = 2; position < 10; position += 3) {
        journal_cursor_set(&header->sent, position + 2);
        journal_cursor_set(&header->committed, position);
        journal_cursor_set(&header->floor, position);
    }
}

static void strategy(void *arg)
{
    if (story.frees) {
        sender(arg);
        return;
    }
    blotter_producer *producer;
    struct blotter_options options = {.exchange = "okx",
                                      .journal = arg,
                                      .slots = SLOTS,
                                      .slot_bytes = story.slot_bytes,
                                      .sender = BLOTTER_SENDER_NONE};
    if (story.opens) {
        traced_begin();
    }
    if (blotter_open(&producer, &options) != 0) {
        _exit(1);
    }
    child->opened = true;
    for (int i = 0; i < story.before; i++) {
        submit(producer);
    }
    if (!story.opens) {
        traced_begin();
    }
    for (int i = 0; i < story.submits; i++) {
        submit(producer);
    }
    if (story.closes) {
        blotter_close(producer, 0);
    }
}

/* The journal as it is, in a mapping of our own once it has its size. */
static struct {
    int fd;
    size_t bytes; /* when it is whole */
    struct journal_header *map;
} live = {.fd = -1};

static struct {
    unsigned char bytes[BYTES_MAX];
    size_t size;
    int count;
    bool opened;
} moment;

static size_t look(void)
{
    struct stat st;
    if (live.fd < 0) {
        live.fd = open(path, O_RDWR);
    }
    if (live.map != NULL) {
        return live.bytes;
    }
    if (live.fd < 0 || fstat(live.fd, &st) != 0 || (size_t)st.st_size < live.bytes) {
        return 0;
    }
    live.map = mmap(NULL, live.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, live.fd, 0);
    assert_ptr_not_equal(live.map, MAP_FAILED);
    return live.bytes;
}

static void look_away(void)
{
    if (live.map != NULL) {
        munmap(live.map, live.bytes);
    }
    if (live.fd >= 0) {
        close(live.fd);
    }
    live.map = NULL;
    live.fd = -1;
}

/* Says whether this is another moment than the last one that was looked at. */
static bool has_changed(void)
{
    size_t size = look();
    bool same = size == moment.size && child->count == moment.count &&
                child->opened == moment.opened &&
                (size == 0 || memcmp(live.map, moment.bytes, size) == 0);
    if (same) {
        return false;
    }
    moment.size = size;
    moment.count = child->count;
    moment.opened = child->opened;
    if (size) {
        memcpy(moment.bytes, live.map, size);
    }
    return true;
}

/* A dead process leaves its file itself, and not a copy of it. */
static void write_remains(struct journal_owner *owner)
{
    struct stat st;
    write_file(copy_path, moment.bytes, moment.size);
    if (!journal_owner_valid(owner, JOURNAL_VERSION)) {
        return;
    }
    struct journal_owner seen = *owner;
    assert_int_equal(stat(copy_path, &st), 0);
    owner->inode = st.st_ino;
    journal_owner_seal(owner, JOURNAL_VERSION);
    write_file(copy_path, moment.bytes, moment.size);
    *owner = seen;
}

static void die_in_this_moment(void)
{
    struct journal_owner *owner = &((struct journal_header *)moment.bytes)->owner;
    if (journal_owner_valid(owner, JOURNAL_VERSION) && owner->producer_id != former->producer_id) {
        child->producer_id = owner->producer_id;
        child->base = owner->base;
    }
    moments++;
    write_remains(owner);
    recover_copy();
    if (!moment.opened) {
        return;
    }
    write_remains(owner);
    submit_as_another_thread(owner);
    recover_copy();
    child->returned[OTHER_THREAD] = 0;
}

/* As the sender does. */
static void leave_held(struct journal_header *header, int held)
{
    uint64_t floor = (atomic_load(&header->next.value) & NEXT_POSITION) - (uint64_t)held;
    if (held == 0) {
        return;
    }
    journal_cursor_set(&header->sent, floor);
    journal_cursor_set(&header->committed, floor);
    journal_cursor_set(&header->floor, floor);
}

static void live_and_die_before(void)
{
    struct journal *journal;
    struct journal_options options = both;
    options.slot_bytes = story.slot_bytes;
    if (journal_open(&journal, path, &options, error) != 0) {
        fail_msg("%s", error);
    }
    former->producer_id = journal->producer_id;
    append_many(journal, former, story.former);
    leave_held(journal->header, story.former_held);
    die(journal);
}

static void die_at_every_instruction(struct story told)
{
    story = told;
    make_records();
    live.bytes = journal_bytes(SLOTS, story.slot_bytes);
    if (story.former) {
        live_and_die_before();
    }
    traced_start(strategy, path);
    if (story.held && look()) {
        leave_held(live.map, story.held);
    }
    enum traced_stop stop;
    do {
        stop = traced_go(TRACED_ONE_INSTRUCTION);
        instructions++;
        if (has_changed()) {
            die_in_this_moment();
        }
    } while (stop != TRACED_ENDED);
    assert_int_equal(child->count, story.before + story.submits);
}

/* --- tests --- */

static void the_first_open_and_the_first_records(void **state)
{
    (void)state;
    die_at_every_instruction(
        (struct story){.slot_bytes = 256, .opens = true, .submits = 3, .closes = true});
    assert_true(voids > 0 && kept > 0);
}

static void records_that_fill_their_slots(void **state)
{
    (void)state;
    die_at_every_instruction((struct story){
        .slot_bytes = 256, .large = true, .before = 3, .submits = 6, .closes = true});
    assert_true(voids > 0 && kept > 0);
}

static void records_that_fill_slots_of_1024_bytes(void **state)
{
    (void)state;
    die_at_every_instruction((struct story){
        .slot_bytes = 1024, .large = true, .before = 3, .submits = 6, .closes = true});
    assert_true(voids > 0 && kept > 0);
}

static void the_ring_begins_anew(void **state)
{
    (void)state;
    die_at_every_instruction(
        (struct story){.slot_bytes = 512, .before = 63, .held = 20, .submits = 10, .closes = true});
    assert_true(voids > 0 && kept > 0);
}

static void slots_of_an_earlier_lap_and_owner(void **state)
{
    (void)state;
    die_at_every_instruction((struct story){.slot_bytes = 256,
                                            .large = true,
                                            .former = 60,
                                            .former_held = 5,
                                            .before = 30,
                                            .held = 10,
                                            .submits = 6,
                                            .closes = true});
    assert_true(voids > 0 && kept > 0);
}

static void the_ring_becomes_full(void **state)
{
    (void)state;
    die_at_every_instruction(
        (struct story){.slot_bytes = 256, .before = 67, .submits = 5, .closes = true});
    assert_true(child->returned[67] > 0 && child->returned[71] == BLOTTER_FULL);
}

static void an_adopted_journal_that_is_full_has_room_again(void **state)
{
    (void)state;
    die_at_every_instruction((struct story){
        .slot_bytes = 256, .former = SLOTS - 1, .held = SLOTS - 5, .submits = 3, .closes = true});
    assert_true(child->returned[0] == 2 && voids > 0 && kept > 0);
}

static void a_dead_owner_is_followed(void **state)
{
    (void)state;
    die_at_every_instruction((struct story){.slot_bytes = 256,
                                            .former = 20,
                                            .unpublished = true,
                                            .opens = true,
                                            .submits = 1,
                                            .closes = true});
    assert_true(voids > moments);
}

static void a_dead_owner_of_a_ring_with_room_for_one_is_followed(void **state)
{
    (void)state;
    die_at_every_instruction(
        (struct story){.slot_bytes = 256, .former = SLOTS - 2, .unpublished = true, .opens = true});
    assert_true(voids > moments);
}

static void the_sender_frees_places_while_others_submit(void **state)
{
    (void)state;
    die_at_every_instruction((struct story){.slot_bytes = 256, .frees = true});
    assert_true(moments > 10);
}

static int begin(void **state)
{
    former = traced_shared(sizeof *former);
    child = traced_shared(sizeof *child);
    instructions = moments = voids = kept = 0;
    moment.size = 0;
    moment.count = -1;
    if (make_folder(state) != 0) {
        return -1;
    }
    snprintf(copy_path, sizeof copy_path, "%s.copy", path);
    return 0;
}

static int end(void **state)
{
    print_message("%u instructions, %u moments\n", instructions, moments);
    look_away();
    munmap(former, sizeof *former);
    munmap(child, sizeof *child);
    return remove_folder(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_open_and_the_first_records),
        TEST(records_that_fill_their_slots),
        TEST(records_that_fill_slots_of_1024_bytes),
        TEST(the_ring_begins_anew),
        TEST(slots_of_an_earlier_lap_and_owner),
        TEST(the_ring_becomes_full),
        TEST(an_adopted_journal_that_is_full_has_room_again),
        TEST(a_dead_owner_is_followed),
        TEST(a_dead_owner_of_a_ring_with_room_for_one_is_followed),
        TEST(the_sender_frees_places_while_others_submit),
    };
    return cmocka_run_group_tests_name("a crash at any instruction", tests, NULL, NULL);
}
