/* journal_span.c: see journal_span.h. The rules are those at the top of journal_recover.c. */
#include "producer/journal_span.h"

/* No position is larger in the lifetime of any file: a cursor that is, is damaged. */
static const uint64_t POSITION_MAX = NEXT_POSITION / 2;

static bool slot_holds(const struct journal *journal, const struct journal_slot *slot,
                       uint64_t position)
{
    return journal_slot_holds(journal->version, journal->slot_bytes, slot, position);
}

static bool is_intact(const struct journal_span *span, uint64_t position)
{
    const struct journal *journal = span->journal;
    uint64_t end =
        JOURNAL_PAGE_BYTES + ((position & (journal->slots - 1)) + 1) * journal->slot_bytes;
    return end <= span->intact_bytes;
}

/* Applies rules 1, 3, 4 and 5. */
enum journal_slot_state journal_slot_state(const struct journal_span *span, uint64_t position)
{
    const struct journal *journal = span->journal;
    if (!is_intact(span, position)) {
        return SLOT_DAMAGED;
    }
    const struct journal_slot *slot = journal_slot_at(journal, position);
    if (slot_holds(journal, slot, position)) {
        return SLOT_VALID;
    }
    uint64_t published = atomic_load_explicit(&slot->published, memory_order_acquire);
    bool last_lap =
        published == 0 || (position > journal->slots && published == position - journal->slots);
    return last_lap && span->same_boot ? SLOT_UNPUBLISHED : SLOT_DAMAGED;
}

/* Returns the largest position that any slot holds; 0 if none does. */
static uint64_t largest_held(const struct journal *journal, uint64_t intact_bytes)
{
    struct journal_span all = {.journal = journal, .intact_bytes = intact_bytes};
    uint64_t largest = 0;
    for (uint64_t i = 0; i < journal->slots && is_intact(&all, i); i++) {
        const struct journal_slot *slot = journal_slot_at(journal, i);
        uint64_t published = atomic_load_explicit(&slot->published, memory_order_acquire);
        if (published > largest && published <= POSITION_MAX &&
            (published & (journal->slots - 1)) == i && slot_holds(journal, slot, published)) {
            largest = published;
        }
    }
    return largest;
}

uint64_t journal_hint(const struct journal_cursor *cursor, uint64_t low, uint64_t high,
                      uint64_t otherwise)
{
    uint64_t value = atomic_load_explicit(&cursor->value, memory_order_acquire);
    uint64_t check = ~atomic_load_explicit(&cursor->check, memory_order_acquire);
    uint64_t smaller = value < check ? value : check;
    return smaller >= low && smaller <= high ? smaller : otherwise;
}

/* Applies rule 2. */
void journal_decide_span(struct journal_span *span)
{
    const struct journal *journal = span->journal;
    const struct journal_header *header = journal->header;
    uint64_t after_held = largest_held(journal, span->intact_bytes) + 1, slots = journal->slots;
    uint64_t next = journal_next(journal);
    uint64_t floor = journal_hint(&header->floor, 1, POSITION_MAX, 0);
    if (next < after_held || next > POSITION_MAX ||
        (floor != 0 && (next < floor || next - floor > slots))) {
        next = after_held;
    }
    if (floor == 0 && next - 1 > slots + after_held) {
        next = after_held; /* neither is to be believed */
    }
    if (floor == 0 || floor > next || next - floor > slots) {
        floor = next > slots ? next - slots : 1;
    }
    span->next = next;
    span->floor = floor;
}
