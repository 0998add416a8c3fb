/* bench_instructions.c: how many instructions a submit takes, counted by callgrind: the figure is
 * the same on every machine of one architecture, however busy it is.
 *
 * With an argument it is what callgrind runs: that way of submitting, a number of times. Only what
 * happens inside of the submitting function is counted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/figure.h"
#include "tests/fixture/fixture.h"
#include "tests/fixture/sample_orders.h"

enum {
    SUBMITS = 6400, /* a multiple of how often one is timed */
    TIMEOUT_MS = 120000,
};
#define TIME_NS INT64_C(1763900000000000000)

/* --- under callgrind --- */

/* An order of 22 fields: a fill's, and two more. */
static void make_order(struct sample_order *sample, uint64_t index)
{
    sample_order_make_fill(sample, index, TIME_NS + (int64_t)index * 1000003);
    sample->order.market_type = "swap";
    sample->order.cost = "1234.56789";
}

static int submit(bool bound)
{
    char folder[] = "/dev/shm/blotter-bench-XXXXXX";
    struct blotter_options options = {.exchange = "bench",
                                      .redis = "unix:///nowhere",
                                      .journal = mkdtemp(folder),
                                      .sender = BLOTTER_SENDER_NONE,
                                      .slots = 16384};
    struct sample_order sample;
    struct blotter_order constants;
    blotter_producer *producer;
    blotter_binding *binding;
    struct blotter_stats stats;

    make_order(&sample, 0);
    constants = (struct blotter_order){.account = sample.order.account,
                                       .strategy = sample.order.strategy,
                                       .symbol = sample.order.symbol,
                                       .type = sample.order.type,
                                       .time_in_force = sample.order.time_in_force};
    if (options.journal == NULL || blotter_open(&producer, &options) != 0) {
        fixture_fail("blotter_open: %s", blotter_open_error());
    }
    binding = blotter_bind(producer, BLOTTER_KIND_ORDER, &constants);
    for (uint64_t i = 0; i < SUBMITS; i++) {
        int64_t seq;

        make_order(&sample, i);
        if (bound) {
            sample.order.account = sample.order.strategy = sample.order.symbol = NULL;
            sample.order.type = sample.order.time_in_force = NULL;
            seq = blotter_submit_bound(producer, binding, &sample.order);
        } else {
            seq = blotter_order(producer, &sample.order);
        }
        if (seq < 0) {
            fixture_fail("not submitted: %s", blotter_problem());
        }
    }
    blotter_unbind(binding);
    blotter_stats(producer, &stats);
    blotter_close(producer, 0);
    unlink(stats.journal);
    rmdir(folder);
    return 0;
}

/* --- callgrind --- */

/* The sum of all instructions, out of the file that callgrind has written. */
static int64_t read_total(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[4096];
    int64_t total = -1;

    while (file != NULL && total < 0 && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "totals: %" SCNd64, &total) != 1 &&
            sscanf(line, "summary: %" SCNd64, &total) != 1) {
            total = -1;
        }
    }
    if (total < 0) {
        fixture_fail("%s says nothing that is understood", path);
    }
    fclose(file);
    return total;
}

static void count(const char *self, const char *way, const char *function, double most)
{
    const char *path = fixture_format("%s/%s.callgrind", fixture_folder(), way);
    const char *const argv[] = {"valgrind",
                                "--tool=callgrind",
                                "--quiet",
                                fixture_format("--callgrind-out-file=%s", path),
                                fixture_format("--toggle-collect=%s", function),
                                self,
                                way,
                                NULL};
    struct fixture_program *program;

    if (fixture_run(argv, NULL, TIMEOUT_MS, &program) != 0) {
        fixture_fail("callgrind failed:\n%s", fixture_program_stderr(program));
    }
    figure_add(&(struct figure){.name = fixture_format("instructions.%s", way),
                                .value = (double)read_total(path) / SUBMITS,
                                .unit = "instr",
                                .target_is = FIGURE_AT_MOST,
                                .target = most});
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return submit(strcmp(argv[1], "bound") == 0);
    }
    figure_heading("instructions: a submit of an order of 22 fields, by callgrind; mean of %d",
                   SUBMITS);
    figure_note("bound: account, strategy, symbol, type and time_in_force are bound");
    if (system("valgrind --version >/dev/null 2>&1") != 0) {
        figure_note("left out: valgrind is not installed");
        return 0;
    }
    count(argv[0], "submit", "blotter_order", 1500);
    count(argv[0], "bound", "blotter_submit_bound", 900);
    return 0;
}
