/* test_chaos.c: everything is broken at random, and at the end every record that was accepted is
 * stored, once.
 *
 * Five desks submit orders on five exchanges, a sixth, whose clock is wrong, a tenth as many
 * that have to be rejected; a shipper sends for some of them, three drainers load; each part is
 * killed, stopped, cut off or emptied again and again, by a schedule that is drawn from a seed.
 * Then all is healed, and what the desks accepted is compared with what is stored, row by row.
 *
 *   CHAOS_SECONDS   how long things are broken (12)
 *   CHAOS_SEED      the schedule to repeat; if not given, one that nobody has seen. It is printed
 *   CHAOS_RATE      orders a second, all desks together (3000) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fault/chaos_desk.h"
#include "tests/fault/chaos_parts.h"
#include "tests/fault/chaos_rejects.h"

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);

    return given != NULL && *given != '\0' ? strtoull(given, NULL, 0) : otherwise;
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* --- breaking --- */

static void run(struct chaos *chaos, const struct chaos_schedule *schedule)
{
    size_t next = 0;
    char text[160];

    while (next < schedule->count || fixture_now_ms() < chaos->began_ms + chaos->duration_ms) {
        if (next < schedule->count &&
            fixture_now_ms() - chaos->began_ms >= schedule->steps[next].at_ms) {
            chaos_step_text(&schedule->steps[next], text, sizeof text);
            printf("%s\n", text);
            fflush(stdout);
            chaos_parts_do(chaos, &schedule->steps[next++]);
        } else {
            fixture_sleep_ms(5);
        }
        chaos_parts_tend(chaos);
    }
}

/* --- the end --- */

static void stop_drainers(struct chaos *chaos)
{
    for (unsigned i = 0; i < CHAOS_DRAINER_COUNT; i++) {
        chaos->drainers[i].wanted = false;
        int status = fixture_program_stop(chaos->drainers[i].program, SIGTERM, STORY_TIMEOUT_MS);

        if (status != 0) {
            fixture_fail("drainer %u ended with status %d:\n%s", i, status,
                         fixture_program_stderr(chaos->drainers[i].program));
        }
    }
    assert_int_equal(story_pending(), 0);
}

/* --- the proof --- */

/* Counts the records that the good desks have accepted so far, and those that they may have
 * accepted. */
static struct load {
    size_t accepted, unsure;
    unsigned without_room;
} load_of(const struct chaos *chaos)
{
    struct load load = {0};

    for (unsigned exchange = 0; exchange < CHAOS_EXCHANGES; exchange++) {
        struct proof proof = {0};

        load.without_room +=
            chaos_desk_collect(chaos->folder, 0, CHAOS_GOOD_DESKS, exchange, &proof);
        load.accepted += proof.count;
        load.unsure += proof.unsure_count;
        free(proof.records);
        free(proof.unsure);
    }
    return load;
}

/* Asserts that every order that was due was submitted: faults made it late at most. */
static void prove_load(const struct chaos *chaos, const struct load *in_time)
{
    struct load load = load_of(chaos);
    double seconds = (double)chaos->duration_ms / 1000,
           due = seconds * chaos->per_second * CHAOS_GOOD_DESKS;

    printf("%zu records accepted, %.0f a second of %.0f due; %.0f of them within the schedule; %u "
           "times a journal was too full\n",
           load.accepted, (double)load.accepted / seconds, due / seconds,
           (double)in_time->accepted / seconds, load.without_room);
    assert_true((double)(load.accepted + load.unsure) >= due);
}

static void prove_kills(const struct chaos *chaos)
{
    static const char *const names[] = {
#define X(id, name, count, pause_ms) name,
        CHAOS_PARTS(X)
#undef X
    };

    for (int part = 0; part < CHAOS_PART_COUNT; part++) {
        const struct chaos_kills *kills = &chaos->kills[part];

        if (kills->tried > 0) {
            printf("%s: killed %d of %d times\n", names[part], kills->seen, kills->tried);
        }
        assert_true(2 * kills->seen >= kills->tried); /* others had just ended by themselves */
    }
}

static void prove_rows(const struct chaos *chaos)
{
    for (unsigned exchange = 0; exchange < CHAOS_EXCHANGES; exchange++) {
        struct proof proof = {.time_ns = chaos->time_ns};

        chaos_desk_collect(chaos->folder, 0, CHAOS_GOOD_DESKS, exchange, &proof);
        const char *wrong = proof_wrong_rows(&proof);

        printf("%-8s %zu accepted and stored; of %zu that a killed desk could not tell of, %zu\n",
               proof.exchange, proof.count, proof.unsure_count, proof.unsure_stored);
        free(proof.records);
        free(proof.unsure);
        if (*wrong != '\0') {
            fixture_fail("%s: %s", proof.exchange, wrong);
        }
    }
}

static void prove_rejects(const struct chaos *chaos)
{
    for (unsigned exchange = 0; exchange < CHAOS_EXCHANGES; exchange++) {
        struct proof proof = {.time_ns = chaos->time_ns};

        chaos_desk_collect(chaos->folder, CHAOS_GOOD_DESKS, CHAOS_CLOCK_DESKS, exchange, &proof);
        const char *wrong = chaos_wrong_rejects(&proof);

        if (proof.count > 0) {
            printf("%-8s %zu accepted and rejected; of %zu that a killed desk could not tell of, "
                   "%zu\n",
                   proof.exchange, proof.count, proof.unsure_count, proof.unsure_stored);
        }
        free(proof.records);
        free(proof.unsure);
        if (*wrong != '\0') {
            fixture_fail("%s: %s", proof.exchange, wrong);
        }
    }
}

/* With a wrong clock the record that closes a producer is rejected, too, so these producers stay
 * open. */
static void prove_audited(void)
{
    static const char *const views[] = {"blotter.audit", "blotter_internal.audit_quick"};
    const char *audit = story_audit(0);

    story_run(0, "audit", "--quick");
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (story_int(
                "SELECT count(*) FROM %s WHERE state <> 'complete' AND producer_id <> %d "
                "AND "
                "NOT (state = 'open' AND producer_id IN (SELECT producer_id FROM blotter.rejects))",
                views[i], CHAOS_OF_NONSENSE) != 0) {
            fixture_fail("%s is not complete:\n%s", views[i], audit);
        }
    }
    assert_int_equal(
        story_int(
            "SELECT count(*) FROM blotter.rejects WHERE producer_id > 0 AND producer_id <> %d AND "
            "reason NOT LIKE '%s'",
            CHAOS_OF_NONSENSE, CHAOS_REJECTED_FOR),
        0);
}

/* The state of the orders is what it would be, had their events come in order. */
static void prove_orders(void)
{
    assert_int_equal(story_int("SELECT count(*) FROM blotter_internal.order_errors"), 0);
    story_sql("CREATE TABLE merged AS SELECT * FROM blotter.orders");
    story_sql("SELECT blotter_internal.rebuild_orders()");
    assert_string_equal(story_table("SELECT exchange, order_key, status FROM (TABLE merged EXCEPT "
                                    "TABLE blotter.orders) AS m "
                                    "ORDER BY recorded_at LIMIT 5"),
                        "");
    assert_string_equal(story_table("SELECT exchange, order_key, status FROM (TABLE blotter.orders "
                                    "EXCEPT TABLE merged) AS m "
                                    "ORDER BY recorded_at LIMIT 5"),
                        "");
}

/* --- tests --- */

static void whatever_breaks_every_accepted_record_is_stored_once(void **state)
{
    uint64_t seed = number_of("CHAOS_SEED", (uint64_t)now_ns() % 1000000000);
    struct chaos chaos = {.folder = fixture_folder(),
                          .time_ns = now_ns(),
                          .duration_ms = (int64_t)number_of("CHAOS_SECONDS", 12) * 1000,
                          .per_second = (int)number_of("CHAOS_RATE", 3000) / CHAOS_GOOD_DESKS};
    struct chaos_schedule schedule;

    (void)state;
    printf("CHAOS_SEED=%" PRIu64 " CHAOS_SECONDS=%" PRId64 "\n", seed, chaos.duration_ms / 1000);
    if (seed % 2 == 1) {
        fixture_redis_run(story_redis, "CONFIG SET appendonly yes");
        fixture_redis_run(story_redis, "CONFIG REWRITE");
    }
    chaos_schedule_draw(&schedule, seed, chaos.duration_ms, CHAOS_EXCHANGES);
    chaos_parts_start(&chaos);
    run(&chaos, &schedule);
    int64_t healed_ms = fixture_now_ms();
    struct load in_time = load_of(&chaos);
    chaos_parts_finish(&chaos);
    story_await_drained();
    int64_t drained_ms = fixture_now_ms();
    stop_drainers(&chaos);
    prove_kills(&chaos);
    prove_load(&chaos, &in_time);
    prove_rows(&chaos);
    prove_rejects(&chaos);
    chaos_takeover_prove(&chaos.takeover);
    prove_audited();
    prove_orders();
    printf("%zu steps in %.1f s; %d programs started again as they could not reach a server; all "
           "was committed %.1f s after the "
           "last was healed\n",
           schedule.count, (double)(healed_ms - chaos.began_ms) / 1000, chaos.restarts,
           (double)(drained_ms - healed_ms) / 1000);
    chaos_schedule_release(&schedule);
}

static bool schedules_are_equal(const struct chaos_schedule *a, const struct chaos_schedule *b)
{
    char one[160], other[160];

    for (size_t i = 0; i < a->count && i < b->count; i++) {
        chaos_step_text(&a->steps[i], one, sizeof one);
        chaos_step_text(&b->steps[i], other, sizeof other);
        if (strcmp(one, other) != 0 || a->steps[i].of != b->steps[i].of) {
            return false;
        }
    }
    return a->count == b->count;
}

static void the_same_seed_is_the_same_schedule(void **state)
{
    struct chaos_schedule one, same, other;
    int healed = 0;

    (void)state;
    chaos_schedule_draw(&one, 7, 60000, CHAOS_EXCHANGES);
    chaos_schedule_draw(&same, 7, 60000, CHAOS_EXCHANGES);
    chaos_schedule_draw(&other, 8, 60000, CHAOS_EXCHANGES);
    assert_true(schedules_are_equal(&one, &same));
    assert_false(schedules_are_equal(&one, &other));
    for (size_t i = 0; i < one.count; i++) {
        assert_true(one.steps[i].at_ms <= 60000);
        assert_true(i == 0 || one.steps[i - 1].at_ms <= one.steps[i].at_ms);
        healed += one.steps[i].hold_ms == 0 ? 0 : one.steps[i].heals ? -1 : 1;
    }
    assert_int_equal(healed, 0);
    chaos_schedule_release(&one);
    chaos_schedule_release(&same);
    chaos_schedule_release(&other);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_is_the_same_schedule),
        cmocka_unit_test_setup_teardown(whatever_breaks_every_accepted_record_is_stored_once,
                                        story_begin, story_end),
    };

    if (argc > 1 && strcmp(argv[1], "desk") == 0) {
        return chaos_desk_main(argc, argv);
    }
    return cmocka_run_group_tests_name("chaos", tests, NULL, NULL);
}
