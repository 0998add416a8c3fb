/* fuzz_decimal.c: decimals and JSON from any text, and decimals from any double.
 *
 * What is canonical must stay as it is, have the value that strtod reads, and encode the same
 * whichever way the encoder takes; the shortest digits of a double must read back as that double.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/json_read.h"
#include "schema/record.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_canonical(const char *canonical, int length, const char *text)
{
    char *again = malloc(LIMIT_DECIMAL_BYTES);
    unsigned char *numeric = malloc(DECIMAL_NUMERIC_BYTES_MAX);
    char terminated[LIMIT_DECIMAL_BYTES + 1];

    memcpy(terminated, canonical, (size_t)length);
    terminated[length] = '\0';
    CHECK(decimal_is_canonical(canonical, (size_t)length));
    CHECK(strtod(terminated, NULL) == strtod(text, NULL));
    CHECK(decimal_canonical(canonical, (size_t)length, again) == length);
    CHECK(memcmp(canonical, again, (size_t)length) == 0);
    CHECK(decimal_to_numeric(canonical, (size_t)length, numeric) <= DECIMAL_NUMERIC_BYTES_MAX);
    free(numeric);
    free(again);
}

/* The encoder has a fast path of its own. */
static void check_encoded(const char *text, const char *canonical, int length)
{
    const struct blotter_order order = {.order_id = "", .price = text};
    static const unsigned char before[] = "\xa8order_id\xa0\xa5price";
    unsigned char out[sizeof before + 8 + 2 * LIMIT_DECIMAL_BYTES];
    struct record_problem problem;
    unsigned fields;
    int encoded = record_encode(RECORD_ORDER, &order, out, sizeof out, &fields, &problem);

    CHECK(encoded > 0);
    if (text[0] == RECORD_DOUBLE_MARK) {
        return; /* a double, or nothing */
    }
    CHECK((problem.misplaced == 1) == (length < 0));
    if (length < 0) {
        return;
    }
    size_t head = sizeof before - 1 + (length <= 31 ? 1 : 2);
    CHECK((size_t)encoded == head + (size_t)length);
    CHECK(memcmp(out, before, sizeof before - 1) == 0);
    CHECK(memcmp(out + head, canonical, (size_t)length) == 0);
}

static void check_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *canonical = malloc(LIMIT_DECIMAL_BYTES);

    memcpy(text, data, size);
    text[size] = '\0';
    int length = decimal_canonical(text, size, canonical);
    if (length < 0) {
        CHECK(!decimal_is_canonical(text, size));
    } else {
        check_canonical(canonical, length, text);
    }
    if (strlen(text) == size) {
        check_encoded(text, canonical, length);
    }
    (void)json_read_object(text, size);
    free(canonical);
    free(text);
}

static void check_double(const uint8_t *data)
{
    char *out = malloc(LIMIT_DECIMAL_BYTES), terminated[LIMIT_DECIMAL_BYTES + 1],
         *digits = malloc(DECIMAL_FLOAT_BYTES);
    double value;

    memcpy(&value, data, sizeof value);
    int length = decimal_from_double(value, out);
    CHECK(isfinite(value) || length < 0);
    if (length > 0) {
        memcpy(terminated, out, (size_t)length);
        terminated[length] = '\0';
        CHECK(strtod(terminated, NULL) == value);
        CHECK(decimal_is_canonical(out, (size_t)length));
    }
    if (isfinite(value)) {
        CHECK(decimal_float_digits(value, false, digits) < DECIMAL_FLOAT_BYTES);
        CHECK(strtod(digits, NULL) == value);
    }
    free(digits);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_text(data, size);
    if (size >= sizeof(double)) {
        check_double(data);
    }
    return 0;
}
