/* fuzz_json.c: schema/json_lines.h, which takes text that anybody may have written.
 *
 * It hands on records as the library's own callers do: each can be encoded, with nothing more in
 * `extra` than it has put there, or is refused for its length or for what is missing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_lines.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const struct json_line *line, const struct json_source *source)
{
    static unsigned char body[LIMIT_RECORD_BYTES];
    struct record_problem problem;
    unsigned fields;

    CHECK(line->kind < RECORD_KINDS && line->kind != RECORD_SESSION);
    if (record_encode(line->kind, &line->order, body, sizeof body, &fields, &problem) >= 0) {
        CHECK(problem.misplaced == 0);
    } else {
        CHECK(problem.fault == RECORD_FAULT_TOO_LONG ||
              (problem.fault == RECORD_FAULT_MISSING && source->lenient));
    }
}

/* The first byte says where the rest comes from. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const exchanges[] = {"binance", "okx", "bybit", "deribit"};
    struct json_lines lines = {0};
    unsigned choice = size > 0 ? data[0] : 0;
    struct json_source source = {
        .exchange = exchanges[choice & 3],
        .account = (choice & 4) != 0 ? "spot" : NULL,
        .kind = (choice & 8) != 0 ? (int)RECORD_CASH : -1,
        .keep_info = (choice & 16) != 0,
        .lenient = (choice & 32) != 0,
        .recognised = (choice & 64) != 0,
        .snapshot = LIMIT_TIME_MIN_NS,
    };
    size_t length = size > 0 ? size - 1 : 0;
    char *text = malloc(length + (length == 0)); /* ends where the bytes do */

    memcpy(text, size > 0 ? (const char *)data + 1 : "", length);
    if (json_lines_add(&lines, &source, text, length) == 0) {
        for (size_t i = 0; i < lines.count; i++) {
            check_line(&lines.lines[i], &source);
        }
    } else {
        CHECK(lines.problem[0] != '\0');
    }
    json_lines_release(&lines);
    free(text);
    return 0;
}
