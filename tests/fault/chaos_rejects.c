/* chaos_rejects.c: see chaos_rejects.h. */
#include "tests/fault/chaos_rejects.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "tests/fixture/story.h"

struct reject {
    int64_t producer_id, seq;
    const void *raw;
    size_t length;
};

/* Only the time is known from nowhere else. */
static int64_t recorded_at_of(const struct reject *reject)
{
    static char bytes[RECORD_SCRATCH_BYTES];
    struct record_scratch scratch = {.bytes = bytes, .capacity = sizeof bytes};
    struct record_problem problem;
    struct record record;

    if (record_decode(RECORD_ORDER, NULL, reject->raw, reject->length, &scratch, &record,
                      &problem) != 0) {
        return 0;
    }
    return record.values[IDENTITY_recorded_at].integer;
}

static bool is_record(const struct proof *proof, const struct proof_record *record,
                      const struct reject *reject)
{
    const struct record_identity identity = {reject->producer_id, reject->seq,
                                             recorded_at_of(reject), proof->exchange};
    struct sample_order sample;
    unsigned char expected[4096];

    if (record->producer_id != reject->producer_id) {
        return false;
    }
    proof_make_order(&sample, record->submitter, record->index, proof->time_ns);
    return sample_order_encode(&sample, &identity, expected, sizeof expected) == reject->length &&
           memcmp(expected, reject->raw, reject->length) == 0;
}

static bool is_unsure(struct proof *proof, const struct reject *reject)
{
    for (size_t i = 0; i < proof->unsure_count; i++) {
        if (reject->seq > proof->unsure[i].seq && is_record(proof, &proof->unsure[i], reject)) {
            proof->unsure[i].producer_id = 0; /* once */
            proof->unsure_stored++;
            return true;
        }
    }
    return false;
}

/* True when it is as it should be. *at: the record that is to be seen next. */
static bool compare(struct proof *proof, size_t *at, const struct reject *reject)
{
    if (*at < proof->count && proof->records[*at].seq == reject->seq &&
        is_record(proof, &proof->records[*at], reject)) {
        ++*at;
        return true;
    }
    return is_unsure(proof, reject);
}

static PGresult *rejects_of(PGconn *server, const char *exchange)
{
    const char *sql = fixture_format(
        "SELECT int8send(producer_id), int8send(seq), raw FROM blotter.rejects "
        "WHERE exchange = '%s' AND kind = 'order' AND producer_id > 0 AND producer_id <> %d "
        "AND reason LIKE '%s' ORDER BY producer_id, seq",
        exchange, CHAOS_OF_NONSENSE, CHAOS_REJECTED_FOR);
    PGresult *result = PQexecParams(server, sql, 0, NULL, NULL, NULL, NULL, 1);

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fixture_fail("rejects: %s", PQerrorMessage(server));
    }
    return result;
}

static int64_t int_of(const PGresult *result, int row, int column)
{
    uint64_t value;

    memcpy(&value, PQgetvalue(result, row, column), sizeof value);
    return (int64_t)be64toh(value);
}

const char *chaos_wrong_rejects(struct proof *proof)
{
    PGconn *server = fixture_postgres_connect(story_postgres);
    PGresult *result = rejects_of(server, proof->exchange);
    const char *wrong = "";
    size_t at = 0;

    proof_sort(proof);
    for (int row = 0; *wrong == '\0' && row < PQntuples(result); row++) {
        struct reject reject = {int_of(result, row, 0), int_of(result, row, 1),
                                PQgetvalue(result, row, 2), (size_t)PQgetlength(result, row, 2)};

        if (!compare(proof, &at, &reject)) {
            wrong = fixture_format("reject %d, seq %" PRId64 " of %" PRId64
                                   ", is not the next of %zu, which is seq %" PRId64,
                                   row + 1, reject.seq, reject.producer_id, proof->count,
                                   at < proof->count ? proof->records[at].seq : 0);
        }
    }
    if (*wrong == '\0' && at != proof->count) {
        wrong =
            fixture_format("%zu were accepted, and the first %zu are rejects", proof->count, at);
    }
    PQclear(result);
    PQfinish(server);
    return wrong;
}
