/* fuzz_decode.c: record_decode, for every kind, on any bytes.
 *
 * The bytes, and a scratch that is too small for most, are allocated to their exact sizes, so that
 * a sanitizer sees every byte read or written too far. Of what was decoded it is checked that
 * values lie in the bytes or the scratch, and that each keeps what record.h promises of it, as the
 * COPY encoder relies on that without a look of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/json_read.h"
#include "schema/record.h"
#include "schema/stream.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(const struct record_value *value, const void *area, size_t size)
{
    return value->bytes >= (const char *)area &&
           value->bytes + value->length <= (const char *)area + size;
}

static void check_numeric(const struct record_value *value)
{
    unsigned char *numeric = malloc(DECIMAL_NUMERIC_BYTES_MAX);

    CHECK(decimal_is_canonical(value->bytes, value->length));
    CHECK(decimal_compare(value->bytes, value->length, value->bytes, value->length) == 0);
    CHECK(decimal_to_numeric(value->bytes, value->length, numeric) <= DECIMAL_NUMERIC_BYTES_MAX);
    free(numeric);
}

static void check_value(enum field_kind kind, const struct record_value *value)
{
    switch (kind) {
    case FIELD_TEXT:
        CHECK(value->length <= LIMIT_TEXT_BYTES);
        CHECK(text_check(value->bytes, value->length) == RECORD_FAULT_NONE);
        break;
    case FIELD_DECIMAL:
        check_numeric(value);
        break;
    case FIELD_AMOUNTS:
        CHECK(json_read_amounts(value->bytes, value->length, NULL) == RECORD_FAULT_NONE);
        break;
    case FIELD_JSON:
        CHECK(json_read_object(value->bytes, value->length) == RECORD_FAULT_NONE);
        break;
    case FIELD_BOOL:
        CHECK(value->integer == 0 || value->integer == 1);
        break;
    case FIELD_TIME:
        CHECK(value->integer >= LIMIT_TIME_MIN_NS);
        break;
    case FIELD_INT:
        CHECK(value->integer >= 0);
        break;
    }
}

static void check_identity(const struct record *record)
{
    const struct record_value *values = record->values;
    bool given = values[IDENTITY_producer_id].present;

    CHECK(values[IDENTITY_seq].present == given && values[IDENTITY_recorded_at].present == given);
    CHECK(!given || (values[IDENTITY_producer_id].integer > 0 && values[IDENTITY_seq].integer > 0 &&
                     values[IDENTITY_recorded_at].integer >= LIMIT_RECORDED_AT_MIN_NS));
    if (values[IDENTITY_exchange].present) {
        CHECK(stream_name_part_valid(values[IDENTITY_exchange].bytes,
                                     values[IDENTITY_exchange].length));
    }
}

/* Says whether it is a word of the decoder's own, as `funding` for what ccxt calls otherwise. */
static bool is_word(const struct record_value *value)
{
    static const char *const words[] = {"funding",   "transfer", "deposit", "withdrawal",
                                        "sell",      "cross",    "long",    "short",
                                        "contracts", "base",     "quote",   "both"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (value->length == strlen(words[i]) &&
            memcmp(value->bytes, words[i], value->length) == 0) {
            return true;
        }
    }
    return false;
}

static void check_record(const struct record *record, const void *bytes, size_t size,
                         const struct record_scratch *scratch)
{
    const struct record_schema *schema = &record_schemas[record->kind];
    uint64_t present = 0;

    for (unsigned i = 0; i < schema->field_count; i++) {
        const struct record_value *value = &record->values[i];
        enum field_kind kind = schema->fields[i].kind;
        if (!value->present) {
            continue;
        }
        present |= UINT64_C(1) << i;
        if (kind != FIELD_TIME && kind != FIELD_INT && kind != FIELD_BOOL) {
            CHECK(inside(value, bytes, size) || inside(value, scratch->bytes, scratch->capacity) ||
                  (kind == FIELD_TEXT && is_word(value)));
        }
        check_value(kind, value);
    }
    CHECK(record_missing(record->kind, present) == 0);
    check_identity(record);
}

static void decode(enum record_kind kind, const void *bytes, size_t size,
                   struct record_scratch scratch)
{
    struct record record;
    struct record_problem problem;

    int result = record_decode(kind, "bybit", bytes, size, &scratch, &record, &problem);
    CHECK(scratch.used <= scratch.capacity);
    CHECK(result == 0 || problem.fault != RECORD_FAULT_NONE);
    CHECK(result != 0 || (problem.misplaced > 0) >= (problem.fault != RECORD_FAULT_NONE));
    if (result == 0) {
        check_record(&record, bytes, size, &scratch);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char enough[RECORD_SCRATCH_BYTES];
    size_t little = size ? data[size - 1] : 0;
    uint8_t *bytes = malloc(size + (size == 0));
    char *small = malloc(little + (little == 0));

    memcpy(bytes, data, size);
    for (unsigned kind = 0; kind < RECORD_WIRE_KINDS; kind++) {
        if (!record_kind_known(kind)) {
            continue;
        }
        decode((enum record_kind)kind, bytes, size,
               (struct record_scratch){enough, sizeof enough, 0});
        decode((enum record_kind)kind, bytes, size, (struct record_scratch){small, little, 0});
    }
    free(small);
    free(bytes);
    return 0;
}
