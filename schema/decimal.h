/* decimal.h: exact decimals: text as an exchange sends it, canonical text, PostgreSQL's binary
 * numeric. No doubles, no rounding.
 *
 * Canonical text: -?digits[.digits], at least one digit before the point, no other leading zeros,
 * trailing zeros kept, no exponent, no negative zero. It is what PostgreSQL prints for the same
 * numeric. */
#ifndef BLOTTER_SCHEMA_DECIMAL_H
#define BLOTTER_SCHEMA_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/limits.h"

#define DECIMAL_NUMERIC_BYTES_MAX (8 + 2 * (LIMIT_DECIMAL_DIGITS / 4 + 2))

/* Writes the canonical text of `text` (sign, leading zeros, `.5`, `5.`, exponents as in 1E-8
 * allowed) to `out` [LIMIT_DECIMAL_BYTES]. Returns its length, or -1: not a finite decimal number,
 * or more than LIMIT_DECIMAL_DIGITS digits. `out` may not overlap `text`. */
int decimal_canonical(const char *text, size_t length, char *out);

/* Says whether it is canonical already, and within the limits. */
bool decimal_is_canonical(const char *text, size_t length);

/* Writes the shortest canonical text that reads back as the same double to `out`
 * [LIMIT_DECIMAL_BYTES]. Returns its length, or -1: NaN, infinite, or too many digits. */
int decimal_from_double(double value, char *out);

/* Does the same for a float: 0.1f is 0.1. */
int decimal_from_float(float value, char *out);

enum { DECIMAL_FLOAT_BYTES = 32 };
/* Writes the shortest digits of a finite value that is not negative zero, as in 15e-1, to `out`
 * [DECIMAL_FLOAT_BYTES], for numbers too large or too small to be written without exponent. Returns
 * its length. */
int decimal_float_digits(double value, bool is_float, char *out);

enum { DECIMAL_INTEGER_BYTES = 20 };
/* Writes an integer's digits to `out` [DECIMAL_INTEGER_BYTES], without a NUL. Returns their number.
 */
int decimal_from_uint64(uint64_t value, char *out);
int decimal_from_int64(int64_t value, char *out);

/* Writes PostgreSQL's binary numeric (as in COPY BINARY, scale kept: 10.100 stays 10.100) of
 * canonical text to `out` [DECIMAL_NUMERIC_BYTES_MAX] and returns its length in bytes. Never fails
 * on canonical text. */
size_t decimal_to_numeric(const char *canonical, size_t length, unsigned char *out);

/* Writes the sum of two canonical decimals to `out` [LIMIT_DECIMAL_BYTES], with the larger scale of
 * both. Returns its length, or -1: more than LIMIT_DECIMAL_DIGITS digits. */
int decimal_add(const char *a, size_t a_length, const char *b, size_t b_length, char *out);

/* Compares two canonical decimals by value (10.0 equals 10): <0, 0, >0. */
int decimal_compare(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
