/* value.c: see value.h. */
#include "value.h"

#include <blotter.h>
#include <datetime.h>
#include <math.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/iso_time.h"
#include "schema/limits.h"
#include "schema/text.h"

enum {
    LONGEST_TEXT = 65536, /* characters; the library's limits are lower, and it names them */
    NS_PER_MS = 1000000,
};
static const int64_t ns_per_s = 1000000000;

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

/* --- text --- */

/* Writes the UTF-8 bytes of a str into `out`, which has room for four times its length; returns how
 * many, or -1: it has a surrogate. */
static Py_ssize_t copy_utf8(PyObject *text, char *out)
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
        at = text_put_utf8(at, c);
    }
    return at - out;
}

/* Copies the text: where Python code may run, the str may be gone before the record is made.
 * PyUnicode_AsUTF8 would leave a copy with the str, which outlives the call. */
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
    Py_ssize_t bytes = copy_utf8(value, copy);
    if (bytes < 0) {
        return value_fail(context, PyExc_ValueError, "not valid UTF-8: it has a surrogate");
    }
    if (memchr(copy, '\0', (size_t)bytes) != NULL) {
        return value_fail(context, PyExc_ValueError,
                          "has a NUL character, which PostgreSQL cannot store");
    }
    copy[bytes] = '\0';
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
    if (memchr(*out, '\0', (size_t)PyUnicode_GET_LENGTH(value)) != NULL) {
        return value_fail(context, PyExc_ValueError,
                          "has a NUL character, which PostgreSQL cannot store");
    }
    return TAKEN;
}

/* Says whether it is an int, or stands for one, as numpy's integers do. A bool does not. */
static bool is_integer(PyObject *value)
{
    return PyIndex_Check(value) && !PyBool_Check(value);
}

#define EXACT_BELOW 9007199254740992.0 /* whole numbers that a double holds, all of them */

/* Takes a str, or an id that is a number. A subclass of str, such as an enum, counts as the str
 * that it is; its own __str__ is not called. */
enum outcome value_text(struct value_context *context, PyObject *value, const char **out)
{
    if (PyUnicode_Check(value)) {
        return str_text(context, value, out);
    }
    bool whole = PyFloat_CheckExact(value) && fabs(PyFloat_AS_DOUBLE(value)) < EXACT_BELOW &&
                 floor(PyFloat_AS_DOUBLE(value)) == PyFloat_AS_DOUBLE(value);
    if (whole || is_integer(value)) { /* exchanges have ids that are numbers */
        return value_digits(context, value, out);
    }
    return value_fail(context, PyExc_TypeError, "str or int is wanted");
}

/* --- decimals --- */

static const char *not_a_number = "not a finite decimal number of at most 128 digits";
static const char *not_numeric = "str, int, float or Decimal is wanted";

static enum outcome float_digits(struct value_context *context, PyObject *value, const char **out)
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

/* Copies what Python writes for a number that is too large for C, or for a Decimal. */
static enum outcome written_digits(struct value_context *context, PyObject *text, const char **out)
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

static enum outcome int_digits(struct value_context *context, PyObject *value, const char **out)
{
    int overflow;
    int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return written_digits(context, PyLong_Type.tp_repr(value), out);
    }
    char *text = arena_take(&context->arena, DECIMAL_INTEGER_BYTES + 1);
    if (text == NULL) {
        return fail_raised(context);
    }
    text[decimal_from_int64(number, text)] = '\0';
    *out = text;
    return TAKEN;
}

static bool is_decimal(const struct value_context *context, PyObject *value)
{
    return PyType_IsSubtype(Py_TYPE(value), (PyTypeObject *)context->decimal_type);
}

/* Takes a number of another library, such as numpy's: an integer by __index__, another one by the
 * text that it is shown as, which of a float of four bytes is shorter than the double's. Fails for
 * an array, which is shown as no number. */
static enum outcome foreign_digits(struct value_context *context, PyObject *value, const char **out)
{
    char canonical[LIMIT_DECIMAL_BYTES];
    PyObject *text = PyIndex_Check(value) ? PyNumber_ToBase(value, 10) : NULL;
    if (text == NULL) {
        PyErr_Clear();
        text = PyObject_Str(value);
    }
    if (text == NULL && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return fail_raised(context);
    }
    PyErr_Clear();
    enum outcome outcome = text != NULL ? other_text(context, text, out) : FAILED;
    Py_XDECREF(text);
    return outcome == TAKEN && decimal_canonical(*out, strlen(*out), canonical) >= 0
               ? TAKEN
               : value_fail(context, PyExc_TypeError, not_numeric);
}

static enum outcome odd_digits(struct value_context *context, PyObject *value, const char **out)
{
    if (PyFloat_Check(value)) {
        return float_digits(context, value, out);
    }
    if (PyLong_Check(value) && !PyBool_Check(value)) {
        return int_digits(context, value, out);
    }
    if (!value_is_number(context, value)) {
        return value_fail(context, PyExc_TypeError, not_numeric);
    }
    if (context->plain_only) {
        return AGAIN;
    }
    return is_decimal(context, value)
               ? written_digits(context, ((PyTypeObject *)context->decimal_type)->tp_str(value),
                                out)
               : foreign_digits(context, value, out);
}

enum outcome value_digits(struct value_context *context, PyObject *value, const char **out)
{
    if (PyUnicode_Check(value)) {
        return str_text(context, value, out); /* the library checks the digits */
    }
    if (PyFloat_CheckExact(value)) {
        return float_digits(context, value, out);
    }
    if (PyLong_CheckExact(value)) {
        return int_digits(context, value, out);
    }
    return odd_digits(context, value, out);
}

enum outcome value_decimal(struct value_context *context, PyObject *value, const char **out)
{
    *out = PyFloat_CheckExact(value) ? value_double(context, value) : NULL;
    return *out != NULL ? TAKEN : value_digits(context, value, out);
}

bool value_is_number(const struct value_context *context, PyObject *value)
{
    return PyFloat_Check(value) || is_integer(value) || is_decimal(context, value) ||
           (Py_TYPE(value)->tp_as_number != NULL &&
            Py_TYPE(value)->tp_as_number->nb_float != NULL && !PyBool_Check(value));
}

bool value_is_absent(PyObject *value)
{
    return PyDict_Check(value)      ? PyDict_GET_SIZE(value) == 0
           : PyList_Check(value)    ? PyList_GET_SIZE(value) == 0
           : PyTuple_Check(value)   ? PyTuple_GET_SIZE(value) == 0
           : PyUnicode_Check(value) ? PyUnicode_GET_LENGTH(value) == 0
                                    : value == Py_None;
}

enum outcome value_bool(struct value_context *context, PyObject *value, bool *flag)
{
    const char *type = Py_TYPE(value)->tp_name;
    bool foreign = strcmp(type, "numpy.bool_") == 0 || strcmp(type, "numpy.bool") == 0;
    if (!foreign && !PyBool_Check(value)) {
        return value_fail(context, PyExc_TypeError, "bool is wanted");
    }
    *flag = foreign ? PyObject_IsTrue(value) == 1 : value == Py_True;
    return TAKEN;
}

bool value_is_mapping(PyObject *value)
{
    return PyDict_Check(value) || PyObject_HasAttrString(value, "keys");
}

PyObject *value_copy_mapping(PyObject *mapping)
{
    if (PyDict_CheckExact(mapping)) {
        return PyDict_Copy(mapping);
    }
    PyObject *copy = PyDict_New();
    if (copy != NULL && PyDict_Update(copy, mapping) != 0) {
        Py_CLEAR(copy);
    }
    return copy;
}

/* --- times --- */

bool value_is_time(PyObject *value)
{
    return PyDate_Check(value) || PyTime_Check(value); /* a datetime is a date */
}

static bool is_ms(double units)
{
    return units >= (double)CCXT_TIME_MS_MIN && units < (double)CCXT_TIME_MS_MAX;
}

static enum outcome datetime_since(struct value_context *context, PyObject *value, PyObject *offset,
                                   int64_t *ns)
{
    if (!PyDelta_Check(offset)) {
        return value_fail(context, PyExc_ValueError, "a datetime without a time zone");
    }
    int64_t days = iso_time_days(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value),
                                 PyDateTime_GET_DAY(value));
    int64_t seconds = days * 86400 + PyDateTime_DATE_GET_HOUR(value) * 3600 +
                      PyDateTime_DATE_GET_MINUTE(value) * 60 + PyDateTime_DATE_GET_SECOND(value);
    int64_t us = PyDateTime_DATE_GET_MICROSECOND(value) - PyDateTime_DELTA_GET_MICROSECONDS(offset);
    seconds -= PyDateTime_DELTA_GET_DAYS(offset) * 86400 + PyDateTime_DELTA_GET_SECONDS(offset);
    if (__builtin_mul_overflow(seconds, ns_per_s, ns) ||
        __builtin_add_overflow(*ns, us * 1000, ns) || !is_ms((double)(*ns / NS_PER_MS))) {
        return value_fail(context, PyExc_ValueError, "out of range");
    }
    return TAKEN;
}

static enum outcome datetime_time(struct value_context *context, PyObject *value, int64_t *ns)
{
    if (context->plain_only) {
        return AGAIN; /* utcoffset may be Python code */
    }
    PyObject *offset = PyObject_CallMethod(value, "utcoffset", NULL);
    if (offset == NULL) {
        return fail_raised(context);
    }
    enum outcome outcome = datetime_since(context, value, offset, ns);
    Py_DECREF(offset);
    return outcome;
}

/* Accepts a number only in the unit that is wanted and within its bounds: a guess could be wrong.
 */
static bool scale(int64_t units, enum ccxt_how how, int64_t *ns)
{
    if (how != CCXT_TIME_NS && is_ms((double)units)) {
        *ns = units * NS_PER_MS;
        return true;
    }
    *ns = units;
    return how != CCXT_TIME_MS && is_ms((double)(units / NS_PER_MS));
}

bool value_int_time(PyObject *value, enum ccxt_how how, int64_t *ns)
{
    int overflow;
    int64_t units = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0 && scale(units, how, ns);
}

static enum outcome scale_time(struct value_context *context, int64_t units, enum ccxt_how how,
                               int64_t *ns)
{
    return scale(units, how, ns)
               ? TAKEN
               : value_fail(context, PyExc_ValueError,
                            how == CCXT_TIME_MS ? "milliseconds since 1970 are wanted"
                                                : "nanoseconds since 1970 are wanted");
}

static enum outcome int_time(struct value_context *context, PyObject *value, enum ccxt_how how,
                             int64_t *ns)
{
    int overflow;
    if (context->plain_only && !PyLong_Check(value)) {
        return AGAIN; /* its __index__ may be Python code */
    }
    int64_t units = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (units == -1 && PyErr_Occurred() != NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return fail_raised(context);
        }
        PyErr_Clear();
        return value_fail(context, PyExc_TypeError, "int or datetime is wanted");
    }
    if (overflow) {
        return value_fail(context, PyExc_ValueError, "out of range");
    }
    return scale_time(context, units, how, ns);
}

/* Takes milliseconds with a fraction. A double cannot hold today's nanoseconds. */
static enum outcome float_time(struct value_context *context, double units, enum ccxt_how how,
                               int64_t *ns)
{
    int64_t ms, fraction_ns;
    if (how == CCXT_TIME_NS || !is_ms(units) || !ccxt_time_of_double(units, &ms, &fraction_ns)) {
        return value_fail(context, PyExc_TypeError, "int or datetime is wanted");
    }
    *ns = ms * NS_PER_MS + fraction_ns;
    return TAKEN;
}

static enum outcome text_time(struct value_context *context, PyObject *value, enum ccxt_how how,
                              int64_t *ns)
{
    const char *text;
    char *end;
    enum outcome outcome = str_text(context, value, &text);
    if (outcome != TAKEN) {
        return outcome;
    }
    int64_t ms, fraction_ns;
    if (how != CCXT_TIME_NS && ccxt_time_read(text, strlen(text), &ms, &fraction_ns) &&
        is_ms((double)ms)) {
        *ns = ms * NS_PER_MS + fraction_ns;
        return TAKEN;
    }
    errno = 0;
    int64_t units = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        return value_fail(context, PyExc_ValueError, "digits, an int or a datetime are wanted");
    }
    return scale_time(context, units, how, ns);
}

enum outcome value_time(struct value_context *context, PyObject *value, enum ccxt_how how,
                        int64_t *ns)
{
    if (is_integer(value)) {
        return int_time(context, value, how, ns);
    }
    if (PyDateTime_Check(value)) {
        return datetime_time(context, value, ns);
    }
    if (PyFloat_Check(value)) {
        return float_time(context, PyFloat_AS_DOUBLE(value), how, ns);
    }
    if (PyUnicode_Check(value)) {
        return text_time(context, value, how, ns);
    }
    return value_fail(context, PyExc_TypeError, "int or datetime is wanted");
}

bool value_iso_time(PyObject *value, int64_t *ns)
{
    return PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT_ASCII(value) &&
           iso_time_read(PyUnicode_DATA(value), (size_t)PyUnicode_GET_LENGTH(value), ns);
}
