/* value.c: see value.h. */
#include "value.h"

#include <blotter.h>
#include <datetime.h>
#include <math.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)
enum {
    INTEGER_BYTES = 24,
    LONGEST_TEXT = 65536, /* characters: the library's limits are lower, and it names them */
};

/* Of these years, as seconds: a time that lies within them in a larger unit than is wanted is in
 * that unit. */
#define YEAR_2014_S INT64_C(1388534400)
#define YEAR_2100_S INT64_C(4102444800)

int value_import(void)
{
    PyDateTime_IMPORT;
    return PyDateTimeAPI != NULL ? 0 : -1;
}

enum outcome value_fail(struct value_context *context, PyObject *type, const char *problem)
{
    context->problem_type = type;
    context->problem = problem;
    return FAILED;
}

static enum outcome fail_raised(struct value_context *context)
{
    return value_fail(context, NULL, NULL);
}

/* --- text
 * ------------------------------------------------------------------------------------------------------------------
 */

static char *put_utf8(char *at, Py_UCS4 c)
{
    if (c < 0x80) {
        *at++ = (char)c;
    } else if (c < 0x800) {
        *at++ = (char)(0xc0 | c >> 6);
        *at++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *at++ = (char)(0xe0 | c >> 12);
        *at++ = (char)(0x80 | (c >> 6 & 0x3f));
        *at++ = (char)(0x80 | (c & 0x3f));
    } else {
        *at++ = (char)(0xf0 | c >> 18);
        *at++ = (char)(0x80 | (c >> 12 & 0x3f));
        *at++ = (char)(0x80 | (c >> 6 & 0x3f));
        *at++ = (char)(0x80 | (c & 0x3f));
    }
    return at;
}

Py_ssize_t value_utf8(PyObject *text, char *out)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    char *at = out;
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (Py_UNICODE_IS_SURROGATE(c)) {
            return -1;
        }
        at = put_utf8(at, c);
    }
    return at - out;
}

/* A copy: where Python code may run, the str may be gone before the record is made. And
 * PyUnicode_AsUTF8 would leave one with the str, which outlives the call. */
static enum outcome other_text(struct value_context *context, PyObject *value, const char **out)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(value);
    if (length > LONGEST_TEXT) {
        return value_fail(context, PyExc_ValueError, "longer than the limit");
    }
    char *copy = arena_take(&context->arena, 4 * length + 1);
    if (copy == NULL) {
        return fail_raised(context);
    }
    Py_ssize_t bytes = value_utf8(value, copy);
    if (bytes < 0) {
        return value_fail(context, PyExc_ValueError, "not valid UTF-8: it has a surrogate");
    }
    if (memchr(copy, 0, (size_t)bytes)) {
        return value_fail(context, PyExc_ValueError,
                          "has a NUL character, which PostgreSQL cannot store");
    }
    copy[bytes] = 0;
    arena_give_back(&context->arena, 4 * length - (size_t)bytes);
    *out = copy;
    return TAKEN;
}

static inline enum outcome str_text(struct value_context *context, PyObject *value,
                                    const char **out)
{
    if (!PyUnicode_IS_COMPACT_ASCII(value) || !context->plain_only) {
        return other_text(context, value, out);
    }
    *out = PyUnicode_DATA(value);
    if (memchr(*out, 0, (size_t)PyUnicode_GET_LENGTH(value))) {
        return value_fail(context, PyExc_ValueError,
                          "has a NUL character, which PostgreSQL cannot store");
    }
    return TAKEN;
}

/* Subclasses of str, such as enums, count as the str that they are; their own __str__ is not asked.
 */
enum outcome value_text(struct value_context *context, PyObject *value, const char **out)
{
    if (PyUnicode_Check(value)) {
        return str_text(context, value, out);
    }
    if (PyLong_Check(value) && !PyBool_Check(value)) {
        return value_decimal(context, value, out);
    }
    return value_fail(context, PyExc_TypeError, "str or int is wanted");
}

/* --- decimals
 * --------------------------------------------------------------------------------------------------------------
 */

static const char *not_a_number = "not a finite decimal number of at most 128 digits";

static enum outcome float_decimal(struct value_context *context, PyObject *value, const char **out)
{
    char *text = arena_take(&context->arena, BLOTTER_DECIMAL_BYTES);
    if (text == NULL) {
        return fail_raised(context);
    }
    int length = blotter_decimal(PyFloat_AS_DOUBLE(value), text);
    if (length < 0) {
        return value_fail(context, PyExc_ValueError, not_a_number);
    }
    arena_give_back(&context->arena, (size_t)(BLOTTER_DECIMAL_BYTES - 1 - length));
    *out = text;
    return TAKEN;
}

static const char *put_digits(int64_t value, char out[INTEGER_BYTES])
{
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    char *at = out + INTEGER_BYTES - 1;
    *at = 0;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        *--at = '-';
    }
    return at;
}

/* What Python writes, copied: a number too large for us, or a Decimal. */
static enum outcome written_decimal(struct value_context *context, PyObject *text, const char **out)
{
    if (text == NULL) { /* an int of thousands of digits */
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return fail_raised(context);
        }
        PyErr_Clear();
        return value_fail(context, PyExc_ValueError, not_a_number);
    }
    enum outcome outcome = other_text(context, text, out);
    Py_DECREF(text);
    return outcome;
}

static enum outcome int_decimal(struct value_context *context, PyObject *value, const char **out)
{
    int overflow;
    int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return written_decimal(context, PyLong_Type.tp_repr(value), out);
    }
    char *text = arena_take(&context->arena, INTEGER_BYTES);
    if (text == NULL) {
        return fail_raised(context);
    }
    *out = put_digits(number, text);
    return TAKEN;
}

static bool is_decimal(const struct value_context *context, PyObject *value)
{
    return PyType_IsSubtype(Py_TYPE(value), (PyTypeObject *)context->decimal_type);
}

static enum outcome odd_decimal(struct value_context *context, PyObject *value, const char **out)
{
    if (PyFloat_Check(value)) {
        return float_decimal(context, value, out);
    }
    if (PyLong_Check(value) && !PyBool_Check(value)) {
        return int_decimal(context, value, out);
    }
    if (!is_decimal(context, value)) {
        return value_fail(context, PyExc_TypeError, "str, int, float or Decimal is wanted");
    }
    return context->plain_only
               ? AGAIN
               : written_decimal(context, ((PyTypeObject *)context->decimal_type)->tp_str(value),
                                 out);
}

enum outcome value_decimal(struct value_context *context, PyObject *value, const char **out)
{
    if (PyUnicode_Check(value)) {
        return str_text(context, value, out); /* the library looks at the digits */
    }
    if (PyFloat_CheckExact(value)) {
        return float_decimal(context, value, out);
    }
    if (PyLong_CheckExact(value)) {
        return int_decimal(context, value, out);
    }
    return odd_decimal(context, value, out);
}

bool value_is_number(const struct value_context *context, PyObject *value)
{
    return PyFloat_Check(value) || (PyLong_Check(value) && !PyBool_Check(value)) ||
           is_decimal(context, value);
}

bool value_is_mapping(PyObject *value)
{
    return PyDict_Check(value) || PyObject_HasAttrString(value, "keys");
}

/* --- times
 * -----------------------------------------------------------------------------------------------------------------
 */

bool value_is_time(PyObject *value)
{
    return PyDate_Check(value) || PyTime_Check(value); /* a datetime is a date */
}

/* Days from 1970 of a date in the Gregorian calendar: years begin in March, so that the leap day is
 * the last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400,
            of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static enum outcome datetime_since(struct value_context *context, PyObject *value, PyObject *offset,
                                   int64_t *ns)
{
    if (!PyDelta_Check(offset)) {
        return value_fail(context, PyExc_ValueError, "a datetime without a time zone");
    }
    int64_t days =
        days_of(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value));
    int64_t seconds = days * 86400 + PyDateTime_DATE_GET_HOUR(value) * 3600 +
                      PyDateTime_DATE_GET_MINUTE(value) * 60 + PyDateTime_DATE_GET_SECOND(value);
    int64_t us = PyDateTime_DATE_GET_MICROSECOND(value) - PyDateTime_DELTA_GET_MICROSECONDS(offset);
    seconds -= PyDateTime_DELTA_GET_DAYS(offset) * 86400 + PyDateTime_DELTA_GET_SECONDS(offset);
    if (__builtin_mul_overflow(seconds, NS_PER_S, ns) ||
        __builtin_add_overflow(*ns, us * 1000, ns)) {
        return value_fail(context, PyExc_ValueError, "out of range");
    }
    return TAKEN;
}

static enum outcome datetime_time(struct value_context *context, PyObject *value, int64_t *ns)
{
    if (context->plain_only) {
        return AGAIN; /* utcoffset may be anybody's */
    }
    PyObject *offset = PyObject_CallMethod(value, "utcoffset", NULL);
    if (offset == NULL) {
        return fail_raised(context);
    }
    enum outcome outcome = datetime_since(context, value, offset, ns);
    Py_DECREF(offset);
    return outcome;
}

/* Seconds, milli- or microseconds given where ns_per_unit says that they are smaller: the commonest
 * mistake with times. */
static bool is_of_larger_unit(int64_t units, int64_t ns_per_unit)
{
    for (int64_t per_second = 1; per_second < NS_PER_S / ns_per_unit; per_second *= 1000) {
        if (units >= YEAR_2014_S * per_second && units < YEAR_2100_S * per_second) {
            return true;
        }
    }
    return false;
}

static enum outcome scale_time(struct value_context *context, int64_t units, int64_t ns_per_unit,
                               int64_t *ns)
{
    if (__builtin_mul_overflow(units, ns_per_unit, ns)) {
        return value_fail(context, PyExc_ValueError, "out of range");
    }
    if (is_of_larger_unit(units, ns_per_unit)) {
        return value_fail(context, PyExc_ValueError,
                          ns_per_unit == 1 ? "nanoseconds since 1970 are wanted"
                                           : "milliseconds since 1970 are wanted");
    }
    return TAKEN;
}

static enum outcome int_time(struct value_context *context, PyObject *value, int64_t ns_per_unit,
                             int64_t *ns)
{
    int overflow;
    int64_t units = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return value_fail(context, PyExc_ValueError, "out of range");
    }
    return scale_time(context, units, ns_per_unit, ns);
}

/* Milliseconds with a fraction. As nanoseconds a double would not hold today's. */
static enum outcome float_time(struct value_context *context, double units, int64_t ns_per_unit,
                               int64_t *ns)
{
    double whole = floor(units);
    if (ns_per_unit == 1 || !isfinite(units) || fabs(whole) > 1e15) {
        return value_fail(context, PyExc_TypeError, "int or datetime is wanted");
    }
    enum outcome outcome = scale_time(context, (int64_t)whole, ns_per_unit, ns);
    *ns += outcome == TAKEN ? llround((units - whole) * (double)ns_per_unit) : 0;
    return outcome;
}

static enum outcome text_time(struct value_context *context, PyObject *value, int64_t ns_per_unit,
                              int64_t *ns)
{
    const char *text;
    char *end;
    enum outcome outcome = str_text(context, value, &text);
    if (outcome != TAKEN) {
        return outcome;
    }
    errno = 0;
    int64_t units = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != 0) {
        return value_fail(context, PyExc_ValueError, "digits are wanted, int or datetime");
    }
    return scale_time(context, units, ns_per_unit, ns);
}

enum outcome value_time(struct value_context *context, PyObject *value, int64_t ns_per_unit,
                        int64_t *ns)
{
    if (PyLong_Check(value) && !PyBool_Check(value)) {
        return int_time(context, value, ns_per_unit, ns);
    }
    if (PyDateTime_Check(value)) {
        return datetime_time(context, value, ns);
    }
    if (PyFloat_Check(value)) {
        return float_time(context, PyFloat_AS_DOUBLE(value), ns_per_unit, ns);
    }
    if (PyUnicode_Check(value)) {
        return text_time(context, value, ns_per_unit, ns);
    }
    return value_fail(context, PyExc_TypeError, "int or datetime is wanted");
}
