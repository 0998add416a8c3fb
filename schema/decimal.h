/* decimal.h: exact decimals: text as an exchange sends it, canonical text, PostgreSQL's binary numeric. No doubles, no rounding.
 *
 * Canonical text: -?digits[.digits], at least one digit before the point, no other leading zeros, trailing zeros kept, no
 * exponent, no negative zero. It is what PostgreSQL prints for the same numeric. */
#ifndef BLOTTER_SCHEMA_DECIMAL_H
#define BLOTTER_SCHEMA_DECIMAL_H

#include <stddef.h>

#include "schema/limits.h"

#define DECIMAL_NUMERIC_BYTES_MAX (8 + 2 * (LIMIT_DECIMAL_DIGITS / 4 + 2))

/* Writes the canonical text of `text` (sign, leading zeros, `.5`, `5.`, exponents as in 1E-8 allowed) to `out`
 * [LIMIT_DECIMAL_BYTES]. Returns its length, or -1: not a finite decimal number, or more than LIMIT_DECIMAL_DIGITS digits.
 * `out` may not overlap `text`. */
int decimal_canonical(const char *text, size_t length, char *out);

/* Writes the shortest canonical text that reads back as the same double to `out` [LIMIT_DECIMAL_BYTES].
 * Returns its length, or -1: NaN, infinite, or too many digits. */
int decimal_from_double(double value, char *out);

/* Writes PostgreSQL's binary numeric (as in COPY BINARY, scale kept: 10.100 stays 10.100) of canonical text to `out`
 * [DECIMAL_NUMERIC_BYTES_MAX] and returns its length in bytes. Never fails on canonical text. */
size_t decimal_to_numeric(const char *canonical, size_t length, unsigned char *out);

/* Compares two canonical decimals by value (10.0 equals 10): <0, 0, >0. */
int decimal_compare(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
