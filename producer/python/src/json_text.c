/* json_text.c: see json_text.h. The module json would make doubles of Decimals, and run Python. */
#include "json_text.h"

#include <blotter.h>
#include <math.h>
#include <string.h>

#include "schema/limits.h"
#include "schema/text.h"

enum {
    LARGEST = 65536, /* bytes of a string, more than the library takes */
    DEEPEST = LIMIT_NESTING - 1,
    SPARE = 16,            /* for punctuation, which is written without asking for room */
    ESCAPED_CHARACTER = 7, /* the longest: a backslash that is escaped, and u0000 */
};

static enum outcome json_text_put_value(struct json *, PyObject *value, int depth);

void json_init(struct json *json, struct value_context *context)
{
    json->context = context;
    json->bytes = json->first;
    json->capacity = sizeof json->first;
    json->used = 0;
    json->prune = json->mark = false;
    json->as_text = 0;
}

void json_release(struct json *json)
{
    if (json->bytes != json->first) {
        PyMem_Free(json->bytes);
    }
}

/* --- bytes --- */

static enum outcome grow(struct json *json, size_t needed)
{
    if (needed > (size_t)4 * LARGEST * ESCAPED_CHARACTER) {
        return value_fail(json->context, PyExc_ValueError, "longer than the limit");
    }
    size_t capacity = needed * 2;
    char *bytes = PyMem_Malloc(capacity);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return value_fail(json->context, NULL, NULL);
    }
    memcpy(bytes, json->bytes, json->used);
    json_release(json);
    json->bytes = bytes;
    json->capacity = capacity;
    return TAKEN;
}

static inline enum outcome json_text_make_room(struct json *json, size_t bytes)
{
    size_t needed = json->used + bytes + SPARE;
    return needed <= json->capacity ? TAKEN : grow(json, needed);
}

/* Writes a byte, within what json_text_make_room has made. */
static inline void put_byte(struct json *json, char byte)
{
    json->bytes[json->used++] = byte;
}

static enum outcome put_bytes(struct json *json, const char *bytes, size_t length)
{
    enum outcome outcome = json_text_make_room(json, length);
    if (outcome == TAKEN) {
        memcpy(json->bytes + json->used, bytes, length);
        json->used += length;
    }
    return outcome;
}

static enum outcome put_literal(struct json *json, const char *text)
{
    return put_bytes(json, text, strlen(text));
}

/* --- strings --- */

static void put_code(struct json *json, Py_UCS4 c)
{
    static const char digits[] = "0123456789abcdef";
    put_byte(json, 'u');
    for (int shift = 12; shift >= 0; shift -= 4) {
        put_byte(json, digits[c >> shift & 15]);
    }
}

/* Writes a character, within the room that was made. jsonb takes neither NUL nor half of a
 * surrogate pair: of these the escape is written as text. */
static void put_character(struct json *json, Py_UCS4 c)
{
    if (c == '\0' || Py_UNICODE_IS_SURROGATE(c)) {
        put_byte(json, '\\');
        put_byte(json, '\\');
        put_code(json, c);
    } else if (c == '"' || c == '\\') {
        put_byte(json, '\\');
        put_byte(json, (char)c);
    } else if (c < 0x20) {
        put_byte(json, '\\');
        put_code(json, c);
    } else {
        json->used = (size_t)(text_put_utf8(json->bytes + json->used, c) - json->bytes);
    }
}

/* Says whether PostgreSQL cannot store the text as it is. */
static bool is_unfit(PyObject *text, Py_ssize_t length)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (PyUnicode_IS_ASCII(text)) {
        return memchr(data, '\0', (size_t)length) != NULL;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (c == '\0' || Py_UNICODE_IS_SURROGATE(c)) {
            return true;
        }
    }
    return false;
}

/* Writes the first character as an escape, which marks the string. Returns how many it has written.
 */
static Py_ssize_t put_mark(struct json *json, PyObject *text, Py_ssize_t length)
{
    Py_UCS4 c = length > 0 ? PyUnicode_READ_CHAR(text, 0) : ' ';
    bool escaped = c == '\0' || Py_UNICODE_IS_SURROGATE(c);
    if (length == 0 || (c < 0x20 && !escaped) || c > 0xffff) {
        return 0; /* JSON has no other way to write it, or none so short */
    }
    put_byte(json, '\\');
    put_code(json, escaped ? '\\' : c);
    if (escaped) {
        put_code(json, c);
    }
    return 1;
}

static void put_characters(struct json *json, PyObject *text, Py_ssize_t first, Py_ssize_t length)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t i = first; i < length; i++) {
        put_character(json, PyUnicode_READ(kind, data, i));
    }
}

/* Writes a text. shown: it is what Python shows of a value that is no text. */
static enum outcome put_text(struct json *json, PyObject *text, bool shown)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (length > LARGEST) {
        return value_fail(json->context, PyExc_ValueError, "longer than the limit");
    }
    enum outcome outcome = json_text_make_room(json, ESCAPED_CHARACTER * (size_t)length);
    if (outcome == TAKEN) {
        bool mark = json->mark && (shown || is_unfit(text, length));
        put_byte(json, '"');
        put_characters(json, text, mark ? put_mark(json, text, length) : 0, length);
        put_byte(json, '"');
    }
    return outcome;
}

static enum outcome json_text_put_string(struct json *json, PyObject *text)
{
    return put_text(json, text, false);
}

/* Writes what Python shows of a value that JSON has no form for. */
static enum outcome put_shown(struct json *json, PyObject *value)
{
    if (json->context->plain_only) {
        return AGAIN;
    }
    PyObject *text = PyFloat_Check(value) ? PyFloat_Type.tp_repr(value) : PyObject_Repr(value);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return value_fail(json->context, NULL, NULL);
        }
        PyErr_Clear();
        text = PyUnicode_FromString("(a value that cannot be shown)");
    }
    enum outcome outcome =
        text != NULL ? put_text(json, text, true) : value_fail(json->context, NULL, NULL);
    Py_XDECREF(text);
    json->as_text++;
    return outcome;
}

/* --- numbers, times --- */

/* Writes a float so large or small that it has an exponent. */
static enum outcome put_extreme(struct json *json, PyObject *value)
{
    PyObject *text = PyFloat_Type.tp_repr(value);
    if (text == NULL) {
        return value_fail(json->context, NULL, NULL);
    }
    enum outcome outcome =
        put_bytes(json, PyUnicode_DATA(text), (size_t)PyUnicode_GET_LENGTH(text));
    Py_DECREF(text);
    return outcome;
}

static enum outcome json_text_put_number(struct json *json, PyObject *value)
{
    const char *digits;
    enum outcome outcome = value_digits(json->context, value, &digits);
    if (outcome == FAILED && json->context->problem_type != NULL) {
        bool finite = PyFloat_Check(value) && isfinite(PyFloat_AS_DOUBLE(value));
        return finite ? put_extreme(json, value) : put_shown(json, value);
    }
    if (outcome != TAKEN) {
        return outcome;
    }
    if (strpbrk(digits, "NnIi") != NULL) { /* Decimal('NaN'), Decimal('-Infinity') */
        return put_shown(json, value);
    }
    return put_literal(json, digits);
}

static enum outcome json_text_put_time(struct json *json, PyObject *value)
{
    if (json->context->plain_only) {
        return AGAIN;
    }
    PyObject *text = PyObject_CallMethod(value, "isoformat", NULL);
    if (text == NULL || !PyUnicode_Check(text)) {
        Py_XDECREF(text);
        return value_fail(json->context, PyErr_Occurred() ? NULL : PyExc_TypeError,
                          "isoformat() gives no str");
    }
    enum outcome outcome = json_text_put_string(json, text);
    Py_DECREF(text);
    return outcome;
}

/* --- maps, lists --- */

static enum outcome json_text_put_key(struct json *json, PyObject *key)
{
    return PyUnicode_Check(key) ? json_text_put_string(json, key) : put_shown(json, key);
}

static enum outcome put_member(struct json *json, PyObject *key, PyObject *value, int depth)
{
    enum outcome outcome = json_text_put_key(json, key);
    if (outcome != TAKEN) {
        return outcome;
    }
    put_byte(json, ':');
    return json_text_put_value(json, value, depth);
}

static bool is_pruned(const struct json *json, PyObject *key, PyObject *value)
{
    return json->prune &&
           (value == Py_None ||
            (PyUnicode_Check(key) && PyUnicode_CompareWithASCIIString(key, "info") == 0));
}

/* Puts a comma, but not behind an opening brace or bracket. */
static void separate(struct json *json, size_t begin)
{
    if (json->used > begin) {
        put_byte(json, ',');
    }
}

/* Writes the members of a dict without braces. Python code that runs meanwhile may remove them
 * from the dict, so they are held. */
static enum outcome put_members(struct json *json, PyObject *dict, size_t begin, int depth)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    enum outcome outcome = TAKEN;
    while (outcome == TAKEN && PyDict_Next(dict, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        outcome = json_text_make_room(json, 0);
        if (outcome == TAKEN && !is_pruned(json, key, value)) {
            separate(json, begin);
            outcome = put_member(json, key, value, depth);
        }
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return outcome;
}

static enum outcome put_mapping(struct json *json, PyObject *mapping, size_t begin, int depth)
{
    if (PyDict_CheckExact(mapping)) {
        return put_members(json, mapping, begin, depth);
    }
    if (json->context->plain_only) {
        return AGAIN;
    }
    PyObject *dict = value_copy_mapping(mapping);
    enum outcome outcome =
        dict ? put_members(json, dict, begin, depth) : value_fail(json->context, NULL, NULL);
    Py_XDECREF(dict);
    return outcome;
}

static enum outcome put_object(struct json *json, PyObject *mapping, int depth)
{
    put_byte(json, '{');
    enum outcome outcome = put_mapping(json, mapping, json->used, depth);
    if (outcome == TAKEN) {
        outcome = json_text_make_room(json, 0);
    }
    if (outcome == TAKEN) {
        put_byte(json, '}');
    }
    return outcome;
}

static enum outcome put_elements(struct json *json, PyObject *list, int depth)
{
    enum outcome outcome = TAKEN;
    size_t begin = json->used;
    for (Py_ssize_t i = 0; outcome == TAKEN && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *element = PySequence_Fast_GET_ITEM(list, i);
        Py_INCREF(element);
        outcome = json_text_make_room(json, 0);
        if (outcome == TAKEN) {
            separate(json, begin);
            outcome = json_text_put_value(json, element, depth);
        }
        Py_DECREF(element);
    }
    return outcome;
}

static enum outcome put_list(struct json *json, PyObject *list, int depth)
{
    put_byte(json, '[');
    enum outcome outcome = put_elements(json, list, depth);
    if (outcome == TAKEN) {
        outcome = json_text_make_room(json, 0);
    }
    if (outcome == TAKEN) {
        put_byte(json, ']');
    }
    return outcome;
}

static enum outcome put_nested(struct json *json, PyObject *value, int depth)
{
    if (depth > DEEPEST) {
        return put_shown(json, value);
    }
    if (PyDict_Check(value)) {
        return put_object(json, value, depth);
    }
    if (PyList_Check(value) || PyTuple_Check(value)) {
        return put_list(json, value, depth);
    }
    if (json->context->plain_only) {
        return AGAIN;
    }
    return value_is_mapping(value) ? put_object(json, value, depth) : put_shown(json, value);
}

static enum outcome put_other_value(struct json *json, PyObject *value, int depth)
{
    if (value_is_number(json->context, value)) {
        return json_text_put_number(json, value);
    }
    if (value_is_time(value)) {
        return json_text_put_time(json, value);
    }
    return put_nested(json, value, depth + 1);
}

static enum outcome json_text_put_value(struct json *json, PyObject *value, int depth)
{
    enum outcome outcome = json_text_make_room(json, 0);
    if (outcome != TAKEN) {
        return outcome;
    }
    if (PyUnicode_Check(value)) {
        return json_text_put_string(json, value);
    }
    if (value == Py_None) {
        return put_literal(json, "null");
    }
    if (PyBool_Check(value)) {
        return put_literal(json, value == Py_True ? "true" : "false");
    }
    return put_other_value(json, value, depth);
}

/* --- the object --- */

static enum outcome begin_member(struct json *json)
{
    enum outcome outcome = json_text_make_room(json, 0);
    if (outcome == TAKEN) {
        put_byte(json, json->used == 0 ? '{' : ',');
    }
    return outcome;
}

/* Says whether it ends with a container in which nothing is left. */
static bool ends_empty(const struct json *json)
{
    const char *end = json->bytes + json->used;
    return (end[-1] == '}' && end[-2] == '{') || (end[-1] == ']' && end[-2] == '[');
}

enum outcome json_add(struct json *json, PyObject *key, PyObject *value)
{
    size_t before = json->used;
    enum outcome outcome = begin_member(json);
    if (outcome == TAKEN) {
        outcome = put_member(json, key, value, 1);
    }
    if (outcome != TAKEN || (json->prune && ends_empty(json))) {
        json->used = before;
    }
    return outcome;
}

static bool json_text_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Adds what is between the braces. The library checks that it is JSON. */
static enum outcome add_text(struct json *json, PyObject *object)
{
    const char *text, *end;
    enum outcome outcome = value_text(json->context, object, &text);
    if (outcome != TAKEN) {
        return outcome;
    }
    for (end = text + strlen(text); end > text && json_text_is_blank(end[-1]);) {
        end--;
    }
    while (json_text_is_blank(*text)) {
        text++;
    }
    if (*text != '{' || end - text < 2 || end[-1] != '}') {
        return value_fail(json->context, PyExc_ValueError, "not a JSON object");
    }
    for (text++, end--; text < end && json_text_is_blank(*text);) {
        text++;
    }
    if (text == end) {
        return TAKEN;
    }
    outcome = begin_member(json);
    return outcome == TAKEN ? put_bytes(json, text, (size_t)(end - text)) : outcome;
}

static enum outcome add_mapping(struct json *json, PyObject *mapping)
{
    size_t before = json->used;
    enum outcome outcome = begin_member(json);
    if (outcome == TAKEN) {
        outcome = put_mapping(json, mapping, before + 1, 2); /* as if it were a member */
    }
    if (outcome != TAKEN || json->used == before + 1) {
        json->used = before; /* the mapping is empty, or nothing is added */
    }
    return outcome;
}

enum outcome json_add_all(struct json *json, PyObject *object)
{
    if (PyUnicode_Check(object)) {
        return add_text(json, object);
    }
    if (PyDict_CheckExact(object)) {
        return add_mapping(json, object);
    }
    if (json->context->plain_only) {
        return AGAIN;
    }
    if (value_is_mapping(object)) {
        return add_mapping(json, object);
    }
    return value_fail(json->context, PyExc_TypeError,
                      "a mapping, or the str of a JSON object, is wanted");
}

const char *json_end(struct json *json)
{
    if (json->used == 0) {
        return NULL;
    }
    memcpy(json->bytes + json->used, "}", 2); /* within SPARE */
    return json->bytes;
}
