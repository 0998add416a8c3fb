/* submit.c: the public functions that record: blotter_order and its like, bindings, groups.
 *
 * Every record is encoded on the caller's stack, by what fits a slot: 4, 16 or 64 KiB. What a
 * submit calls is marked hot, so that it lies on one page: a strategy that trades now and then
 * finds all of it cold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/producer.h"
#include "producer/sender.h"
#include "schema/decimal.h"
#include "schema/record.h"

enum {
    BODY_BYTES_SMALL = 4096,
    BODY_BYTES_MIDDLE = 16384,
    SUBMITS_PER_SAMPLE = 64, /* a power of two; of so many one is timed */
};

/* initial-exec: no call to find it. Written only for records that are not valid. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct record_problem last_problem;
static _Thread_local __attribute__((tls_model("initial-exec"))) size_t last_entry; /* 0: no group */
static _Thread_local char problem_text[320];
static _Thread_local const char *last_refusal = ""; /* of blotter_bind, where no field is wrong */

/* The sizes of a record that did not fit. */
struct sizes {
    size_t record, largest;    /* bytes, of its texts; record: 0: not known */
    const char *largest_field; /* static */
    uint32_t capacity;         /* of a slot */
};
static _Thread_local struct sizes last_sizes;

/* --- problems --- */

static int answer_problem(const struct record_problem *problem)
{
    last_problem = *problem;
    last_entry = 0;
    last_sizes.record = 0;
    return problem->fault == RECORD_FAULT_TOO_LONG && problem->field == NULL ? BLOTTER_TOO_LONG
                                                                             : BLOTTER_INVALID;
}

static __attribute__((noinline, cold)) int submit_refuse(blotter_producer *producer,
                                                         const struct record_problem *problem)
{
    if (journal_state(&producer->journal) == BLOTTER_CLOSED) { /* a slot of no bytes is too small */
        return BLOTTER_CLOSED;
    }
    atomic_fetch_add_explicit(&producer->invalid, 1, memory_order_relaxed); /* a counter */
    return answer_problem(problem);
}

/* Measures what did not fit, so that blotter_problem can name it. */
static void measure(const struct record_source *what, uint32_t capacity)
{
    const struct record_schema *schema = &record_schemas[what->kind];
    struct sizes sizes = {.capacity = capacity, .largest_field = ""};
    sizes.record = what->bound != NULL ? what->bound->length : 0;
    for (unsigned i = RECORD_IDENTITY_FIELDS; what->record != NULL && i < schema->field_count;
         i++) {
        const struct record_field *field = &schema->fields[i];
        const char *text = NULL;
        if (field->kind != FIELD_TIME && field->kind != FIELD_INT && field->kind != FIELD_BOOL) {
            memcpy(&text, (const char *)what->record + field->offset, sizeof text);
        }
        size_t length = text != NULL ? strlen(text) : 0;
        sizes.record += length > 0 ? length + field->name_length + 4 : 0;
        if (length > sizes.largest) {
            sizes.largest = length;
            sizes.largest_field = field->name;
        }
    }
    last_sizes = sizes;
}

/* Does what submit_refuse does, for a record. */
static __attribute__((noinline, cold)) int
submit_refuse_record(blotter_producer *producer, const struct record_source *what,
                     const struct record_problem *problem)
{
    int status = submit_refuse(producer, problem);
    if (status == BLOTTER_TOO_LONG) {
        measure(what, producer->journal.body_capacity);
    }
    return status;
}

/* Counts a good record's values that are in `extra`, and has blotter_problem name them. */
static __attribute__((noinline, cold)) void note_misplaced(blotter_producer *producer,
                                                           const struct record_problem *problem)
{
    last_problem = *problem;
    last_entry = 0;
    atomic_fetch_add_explicit(&producer->misplaced, problem->misplaced,
                              memory_order_relaxed); /* a counter */
}

BLOTTER_PUBLIC const char *blotter_problem(void)
{
    const struct record_problem *problem = &last_problem;
    char entry[40] = "";
    if (problem->fault == RECORD_FAULT_NONE) {
        return last_refusal;
    }
    if (last_entry > 0) {
        snprintf(entry, sizeof entry, "entry %zu: ", last_entry - 1);
    }
    int length = snprintf(problem_text, sizeof problem_text, "%s%s: %s", entry,
                          problem->field != NULL ? problem->field : "the record",
                          record_fault_text(problem->fault));
    if (problem->field == NULL && last_sizes.record > 0) {
        char most[80] = ""; /* not known of what is bound */
        if (last_sizes.largest > 0) {
            snprintf(most, sizeof most, "most of them in %s (%zu), ", last_sizes.largest_field,
                     last_sizes.largest);
        }
        snprintf(problem_text + length, sizeof problem_text - (size_t)length,
                 ": about %zu bytes, %sand a slot of this journal takes %u", last_sizes.record,
                 most, last_sizes.capacity);
    }
    return problem_text;
}

/* --- one record --- */

static __attribute__((noinline)) void wake_sender(blotter_producer *producer)
{
    int cancel_state;
    if (producer_enter(producer, &cancel_state)) {
        sender_wake(producer->sender);
        producer_leave(producer, cancel_state);
    }
}

static inline __attribute__((always_inline)) int64_t submit_body(blotter_producer *producer,
                                                                 enum record_kind kind,
                                                                 const unsigned char *body,
                                                                 uint32_t length, unsigned fields)
{
    int64_t seq = journal_append(&producer->journal, kind, body, length, fields);
    if (__builtin_expect(producer->wake && seq > 0, 0)) {
        wake_sender(producer);
    }
    return seq;
}

static inline __attribute__((always_inline)) int64_t
submit_into(blotter_producer *producer, const struct record_source *what, unsigned char *body)
{
    struct journal *journal = &producer->journal;
    struct record_problem problem;
    unsigned fields;
    int length = record_encode_source(what, body, journal->body_capacity, &fields, &problem);
    if (__builtin_expect(length < 0, 0)) {
        return submit_refuse_record(producer, what, &problem);
    }
    if (__builtin_expect(problem.misplaced > 0, 0)) {
        note_misplaced(producer, &problem);
    }
    return submit_body(producer, what->kind, body, (uint32_t)length, fields);
}

static __attribute__((noinline)) int64_t submit_large(blotter_producer *producer,
                                                      const struct record_source *what)
{
    unsigned char body[LIMIT_RECORD_BYTES];
    return submit_into(producer, what, body);
}

static __attribute__((noinline)) int64_t submit_middle(blotter_producer *producer,
                                                       const struct record_source *what)
{
    unsigned char body[BODY_BYTES_MIDDLE];
    return submit_into(producer, what, body);
}

static inline __attribute__((always_inline)) int64_t submit_small(blotter_producer *producer,
                                                                  const struct record_source *what)
{
    unsigned char body[BODY_BYTES_SMALL];
    return submit_into(producer, what, body);
}

static inline __attribute__((always_inline)) int64_t
submit_untimed(blotter_producer *producer, const struct record_source *what)
{
    uint32_t capacity = producer->journal.body_capacity;
    const struct record_bound *bound = what->bound;
    if (what->record == NULL && bound->length <= capacity &&
        record_missing(what->kind, bound->present) == 0) { /* else the encoder says what is wrong */
        return submit_body(producer, what->kind, bound->bytes, bound->length, bound->pairs);
    }
    if (__builtin_expect(capacity > BODY_BYTES_SMALL, 0)) {
        return capacity > BODY_BYTES_MIDDLE ? submit_large(producer, what)
                                            : submit_middle(producer, what);
    }
    return submit_small(producer, what);
}

static __attribute__((noinline)) int64_t submit_timed(blotter_producer *producer,
                                                      const struct record_source *what)
{
    int cancel_state;
    int64_t begin_ns = clock_monotonic_ns();
    int64_t seq = submit_untimed(producer, what);
    int64_t took_ns = clock_monotonic_ns() - begin_ns;
    if (seq > 0 && producer_enter(producer, &cancel_state)) {
        histogram_add(&producer->submit_ns, took_ns);
        producer_leave(producer, cancel_state);
    }
    return seq;
}

/* Says whether the next record is one that is timed. */
static inline bool is_sample(const struct journal_header *header)
{
    /* relaxed: it only counts */
    return atomic_load_explicit(&header->next.value, memory_order_relaxed) % SUBMITS_PER_SAMPLE ==
           0;
}

static inline __attribute__((always_inline)) int64_t submit_record(blotter_producer *producer,
                                                                   enum record_kind kind,
                                                                   const void *record,
                                                                   const struct record_bound *bound)
{
    struct record_source what = {kind, record, bound};
    int state = journal_state(&producer->journal);
    if (__builtin_expect(state != BLOTTER_OK, 0)) {
        return state;
    }
    const struct journal_header *header = journal_header_late(&producer->journal);
    if (__builtin_expect(header == NULL || is_sample(header), 0)) {
        return submit_timed(producer, &what);
    }
    return submit_untimed(producer, &what);
}

__attribute__((hot)) BLOTTER_PUBLIC int64_t blotter_order(blotter_producer *producer,
                                                          const struct blotter_order *order)
{
    return submit_record(producer, RECORD_ORDER, order, NULL);
}

BLOTTER_PUBLIC int64_t blotter_trade(blotter_producer *producer, const struct blotter_trade *trade)
{
    return submit_record(producer, RECORD_TRADE, trade, NULL);
}

BLOTTER_PUBLIC int64_t blotter_cash(blotter_producer *producer, const struct blotter_cash *cash)
{
    return submit_record(producer, RECORD_CASH, cash, NULL);
}

BLOTTER_PUBLIC int64_t blotter_balance(blotter_producer *producer,
                                       const struct blotter_balance *balance)
{
    return submit_record(producer, RECORD_BALANCE, balance, NULL);
}

BLOTTER_PUBLIC int64_t blotter_position(blotter_producer *producer,
                                        const struct blotter_position *position)
{
    return submit_record(producer, RECORD_POSITION, position, NULL);
}

BLOTTER_PUBLIC int64_t blotter_instrument(blotter_producer *producer,
                                          const struct blotter_instrument *instrument)
{
    return submit_record(producer, RECORD_INSTRUMENT, instrument, NULL);
}

BLOTTER_PUBLIC int64_t blotter_reject(blotter_producer *producer,
                                      const struct blotter_reject *reject)
{
    return submit_record(producer, RECORD_REJECT, reject, NULL);
}

BLOTTER_PUBLIC void blotter_prepare(blotter_producer *producer)
{
    if (journal_state(&producer->journal) == BLOTTER_OK) {
        journal_fetch_next(&producer->journal);
    }
}

/* --- bindings --- */

static bool is_kind_public(int kind)
{
    return kind >= 0 && kind != RECORD_SESSION && record_kind_known((unsigned)kind);
}

BLOTTER_PUBLIC blotter_binding *blotter_bind(blotter_producer *producer, enum blotter_kind kind,
                                             const void *constants)
{
    bool known = is_kind_public((int)kind);
    struct record_problem problem = {known ? RECORD_FAULT_NONE : RECORD_FAULT_UNKNOWN_KIND, NULL,
                                     0};
    size_t capacity = producer->journal.body_capacity;
    blotter_binding *binding = known ? malloc(sizeof *binding + capacity) : NULL;
    bool closed = journal_state(&producer->journal) == BLOTTER_CLOSED;
    last_refusal = closed ? blotter_status_text(BLOTTER_CLOSED) : "";
    if (closed || binding == NULL ||
        record_bind((enum record_kind)kind, constants, (unsigned char *)(binding + 1), capacity,
                    &binding->bound, &problem) != 0) {
        answer_problem(&problem);
        free(binding);
        return NULL;
    }
    blotter_binding *fitting = realloc(binding, sizeof *binding + binding->bound.length);
    if (fitting != NULL) {
        binding = fitting;
    }
    binding->bound.bytes = (unsigned char *)(binding + 1);
    return binding;
}

BLOTTER_PUBLIC void blotter_unbind(blotter_binding *binding)
{
    free(binding);
}

__attribute__((hot)) BLOTTER_PUBLIC int64_t blotter_submit_bound(blotter_producer *producer,
                                                                 const blotter_binding *binding,
                                                                 const void *record)
{
    return submit_record(producer, binding->bound.kind, record, &binding->bound);
}

/* --- groups --- */

struct group {
    const struct blotter_entry *entries;
    size_t count;
};

static struct record_source submission_of(const struct blotter_entry *entry)
{
    return (struct record_source){(enum record_kind)entry->kind, entry->record,
                                  entry->bound != NULL ? &entry->bound->bound : NULL};
}

/* Encodes every entry once, to find out whether all of them can be recorded. */
static int check_group(blotter_producer *producer, const struct group *group, unsigned char *body)
{
    struct record_problem problem;
    unsigned fields;
    for (size_t i = 0; i < group->count; i++) {
        struct record_source what = submission_of(&group->entries[i]);
        int length = -1;
        problem = (struct record_problem){RECORD_FAULT_UNKNOWN_KIND, NULL, 0};
        if (is_kind_public((int)what.kind) &&
            (what.bound == NULL || what.bound->kind == what.kind)) {
            length = record_encode_source(&what, body, producer->journal.body_capacity, &fields,
                                          &problem);
        }
        if (length < 0) {
            int status = submit_refuse_record(producer, &what, &problem);
            last_entry = i + 1;
            return status;
        }
        if (problem.misplaced > 0) {
            note_misplaced(producer, &problem);
            last_entry = i + 1;
        }
    }
    return 0;
}

/* Encodes again, from the last to the first: the stack has room for one. */
static int64_t append_group(blotter_producer *producer, const struct group *group,
                            unsigned char *body)
{
    struct journal *journal = &producer->journal;
    struct journal_claim claim;
    int refused = journal_claim(journal, (unsigned)group->count, &claim);
    if (refused != 0) {
        return refused;
    }
    for (size_t i = group->count; i-- > 0;) {
        struct record_source what = submission_of(&group->entries[i]);
        struct record_problem problem;
        unsigned fields;
        int length = record_encode_source(&what, body, journal->body_capacity, &fields, &problem);
        if (length < 0) { /* another thread has changed it meanwhile */
            journal_fill_void(journal, &claim, (unsigned)i);
        } else {
            journal_fill(journal, &claim, (unsigned)i, what.kind, body, (uint32_t)length, fields);
        }
    }
    if (producer->wake) {
        wake_sender(producer);
    }
    return (int64_t)(claim.position - journal->base);
}

static inline __attribute__((always_inline)) int64_t
submit_group_into(blotter_producer *producer, const struct group *group, unsigned char *body)
{
    int status = check_group(producer, group, body);
    return status != 0 ? status : append_group(producer, group, body);
}

static __attribute__((noinline)) int64_t submit_group_large(blotter_producer *producer,
                                                            const struct group *group)
{
    unsigned char body[LIMIT_RECORD_BYTES];
    return submit_group_into(producer, group, body);
}

static __attribute__((noinline)) int64_t submit_group_small(blotter_producer *producer,
                                                            const struct group *group)
{
    unsigned char body[BODY_BYTES_SMALL];
    return submit_group_into(producer, group, body);
}

BLOTTER_PUBLIC int64_t blotter_submit(blotter_producer *producer,
                                      const struct blotter_entry *entries, size_t count)
{
    struct group group = {entries, count};
    int state = journal_state(&producer->journal);
    if (state != BLOTTER_OK) {
        return state;
    }
    if (count == 0 || count > producer->journal.slots / 2) {
        struct record_problem problem = {RECORD_FAULT_TOO_LONG, NULL, 0};
        return submit_refuse(producer, &problem);
    }
    return producer->journal.body_capacity > BODY_BYTES_SMALL
               ? submit_group_large(producer, &group)
               : submit_group_small(producer, &group);
}

/* --- decimals --- */

_Static_assert(BLOTTER_DECIMAL_BYTES >= LIMIT_DECIMAL_BYTES &&
                   LIMIT_DECIMAL_BYTES > LIMIT_DECIMAL_DIGITS + 2,
               "and a NUL");

BLOTTER_PUBLIC int blotter_decimal(double value, char out[BLOTTER_DECIMAL_BYTES])
{
    int length = decimal_from_double(value, out);
    out[length < 0 ? 0 : length] = '\0';
    return length < 0 ? BLOTTER_INVALID : length;
}

_Static_assert((int)BLOTTER_DOUBLE_BYTES == (int)RECORD_DOUBLE_BYTES, "one size");

BLOTTER_PUBLIC const char *blotter_double(double value, char out[BLOTTER_DOUBLE_BYTES])
{
    return record_double(value, out);
}
