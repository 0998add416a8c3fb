/* JSON: what json_read_object lets through, and what msgpack values are written as. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "schema/json_read.h"
#include "schema/json_write.h"
#include "tests/unit/random_input.h"

/* Checks in memory that ends where the text does. */
static enum record_fault check(const char *text, size_t length)
{
    char *exact = malloc(length + (length == 0));
    memcpy(exact, text, length);
    enum record_fault fault = json_read_object(exact, length);
    free(exact);
    return fault;
}

static void assert_faults(const char *const *texts, size_t count, enum record_fault expected)
{
    for (size_t i = 0; i < count; i++) {
        enum record_fault fault = check(texts[i], strlen(texts[i]));
        if (fault != expected) {
            fail_msg("%s: %s", texts[i], record_fault_text(fault));
        }
    }
}

#define ASSERT_FAULTS(expected, ...)                                                   \
    do {                                                                               \
        static const char *const texts[] = {__VA_ARGS__};                              \
        assert_faults(texts, sizeof texts / sizeof texts[0], RECORD_FAULT_##expected); \
    } while (0)

static void objects_are_json(void **state)
{
    (void)state;
    ASSERT_FAULTS(
        NONE, "{}", " \t\r\n{ } \n", "{\"a\":1}", "{\"\":\"\"}",
        "{\"a\":[1,2,{\"b\":null}],\"c\":true,\"d\":false}", "{ \"a\" : [ ] , \"b\" : { } }",
        "{\"a\":1,\"a\":2}", "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDe00\"}",
        "{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\x7f\"}", "{\"a\":[0,-0,0.0,1e5,1E+5,1e-05,-1.5e00,10]}");
}

static void other_texts_are_not(void **state)
{
    (void)state;
    ASSERT_FAULTS(NOT_JSON, "", " ", "{", "}", "[]", "1", "null", "\"a\"", "{}{}", "{} x", "x{}",
                  "{a:1}", "{'a':1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\" 1}",
                  "{\"a\":1 \"b\":2}", "{1:2}", "{\"a\":[1,]}", "{\"a\":[1 2]}", "{\"a\":[}",
                  "{\"a\":{]}", "{\"a\":[}}", "{\"a\":tru}", "{\"a\":True}", "{\"a\":nul",
                  "{\"a\":falsey}", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":\v1}",
                  "{\"a\":\"\n\"}", "{\"a\":\"\x1f\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}",
                  "{\"a\":\"\\u12g4\"}", "{\"a\":\"abc", "{\"a\":\"abc\\", "{\"a\":\"\\u", "{\"a",
                  "{\"a\":1", "{\"a\":\"\\\"}", "/**/{}", "{\"a\":1}\x01");
}

static void numbers_have_the_grammar_of_json(void **state)
{
    (void)state;
    ASSERT_FAULTS(NOT_JSON, "{\"a\":01}", "{\"a\":-}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":5.}",
                  "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":0x1}", "{\"a\":--1}", "{\"a\":-01}",
                  "{\"a\":1.e5}", "{\"a\":1-}", "{\"a\":1e5.5}", "{\"a\":1e+-5}");
}

static void numbers_beyond_numeric_are_out_of_range(void **state)
{
    (void)state;
    ASSERT_FAULTS(NONE, "{\"a\":1e131071}", "{\"a\":1e-16383}", "{\"a\":1.5e-16382}",
                  "{\"a\":0e131071}");
    ASSERT_FAULTS(OUT_OF_RANGE, "{\"a\":1e131072}", "{\"a\":10e131071}", "{\"a\":1e-16384}",
                  "{\"a\":1.5e-16383}", "{\"a\":1e999999999999999999999999}",
                  "{\"a\":1e-99999999999999999999999}", "{\"a\":1e2147483648}",
                  "{\"a\":1e18446744073709551616}");
}

static void nul_is_refused_escaped_or_not(void **state)
{
    (void)state;
    ASSERT_FAULTS(HAS_NUL, "{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}");
    assert_int_equal(check("{\"a\":\"\0\"}", 9), RECORD_FAULT_HAS_NUL);
    assert_int_equal(check("{\"a\":\"\\\0\"}", 10), RECORD_FAULT_NOT_JSON);
    assert_int_equal(check("{\"a\":1}\0", 8), RECORD_FAULT_NOT_JSON);
}

static void surrogates_come_in_pairs(void **state)
{
    (void)state;
    ASSERT_FAULTS(NOT_JSON, "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}",
                  "{\"a\":\"\\ud800\\ud800\"}", "{\"a\":\"\\ud800x\"}", "{\"a\":\"\\ud83d\\n\"}",
                  "{\"a\":\"\\ud83d\\u0041\"}", "{\"a\":\"\\udfff\"}",
                  "{\"a\":\"\\udbff\\ue000\"}");
    ASSERT_FAULTS(NONE, "{\"a\":\"\\ud7ff\\ue000\\udbff\\udfff\\ud800\\udc00\"}");
}

static void invalid_utf8_is_refused_in_keys_and_values(void **state)
{
    (void)state;
    ASSERT_FAULTS(NOT_UTF8, "{\"a\":\"\xff\"}", "{\"\xc0\x80\":1}", "{\"a\":\"\xed\xa0\x80\"}",
                  "{\"a\":\"\xc3\"}");
}

static size_t nested(char *out, unsigned depth, char open, char close)
{
    size_t n = 0;

    out[n++] = '{';
    for (unsigned i = 1; i < depth; i++) {
        memcpy(out + n, "\"a\":", 4);
        n += i == 1 || open == '{' ? 4 : 0;
        out[n++] = open;
    }
    for (unsigned i = 1; i < depth; i++) {
        out[n++] = close;
    }
    out[n++] = '}';
    return n;
}

static void nesting_is_allowed_to_the_limit(void **state)
{
    char text[20000];

    (void)state;
    assert_int_equal(check(text, nested(text, LIMIT_NESTING, '[', ']')), RECORD_FAULT_NONE);
    assert_int_equal(check(text, nested(text, LIMIT_NESTING, '{', '}')), RECORD_FAULT_NONE);
    assert_int_equal(check(text, nested(text, LIMIT_NESTING + 1, '[', ']')), RECORD_FAULT_TOO_DEEP);
    assert_int_equal(check(text, nested(text, LIMIT_NESTING + 1, '{', '}')), RECORD_FAULT_TOO_DEEP);
    assert_int_equal(check(text, nested(text, 2000, '[', ']')), RECORD_FAULT_TOO_DEEP);
}

static void length_is_allowed_to_the_limit(void **state)
{
    char *text = malloc(LIMIT_EXTRA_BYTES + 1);

    (void)state;
    memset(text, ' ', LIMIT_EXTRA_BYTES + 1);
    memcpy(text, "{}", 2);
    assert_int_equal(check(text, LIMIT_EXTRA_BYTES), RECORD_FAULT_NONE);
    assert_int_equal(check(text, LIMIT_EXTRA_BYTES + 1), RECORD_FAULT_TOO_LONG);
    free(text);
}

static void no_part_of_an_object_is_one(void **state)
{
    static const char text[] =
        "{\"a\":[1.5e3,\"\\ud83d\\ude00\xe2\x82\xac\",{\"b\":null}],\"c\":true,\"d\":-0.5}";
    (void)state;
    for (size_t length = 0; length < sizeof text - 1; length++) {
        assert_int_not_equal(check(text, length), RECORD_FAULT_NONE);
    }
    assert_int_equal(check(text, sizeof text - 1), RECORD_FAULT_NONE);
}

static void the_inside_of_an_object_is_what_its_braces_hold(void **state)
{
    static const char *const pairs[][2] = {{"{}", ""},
                                           {" { } ", ""},
                                           {"{\"a\":1}", "\"a\":1"},
                                           {"\t{ \"a\":{\"b\":\"}\"} }\n", "\"a\":{\"b\":\"}\"}"}};
    size_t length;

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const char *inside = json_read_inside(pairs[i][0], strlen(pairs[i][0]), &length);
        assert_int_equal(length, strlen(pairs[i][1]));
        assert_memory_equal(inside, pairs[i][1], length);
    }
}

/* As where a strategy writes to what has been read already. */
static void what_is_no_object_any_more_has_nothing_inside(void **state)
{
    static const char around[] = "}ab{";
    size_t length = 1;

    (void)state;
    assert_ptr_equal(json_read_inside(around + 1, 2, &length), around + 3);
    assert_int_equal(length, 0);
    json_read_inside(around, sizeof around - 1, &length);
    assert_int_equal(length, 0);
}

/* --- writing --- */

static msgpack_sbuffer packed;
static msgpack_packer packer;

static int begin_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
    return 0;
}

static int end_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_destroy(&packed);
    return 0;
}

/* Writes what has been packed, and forgets it. */
static struct json_writer write_packed(char *out, size_t capacity, unsigned depth)
{
    struct unpack_reader reader = {(unsigned char *)packed.data,
                                   (unsigned char *)packed.data + packed.size};
    struct json_writer writer = {.at = out, .end = out + capacity};
    struct unpack_value value;

    assert_int_equal(unpack_next(&reader, &value), RECORD_FAULT_NONE);
    assert_int_equal(json_write_value(&writer, &reader, &value, depth), RECORD_FAULT_NONE);
    assert_ptr_equal(reader.at, reader.end);
    if (!writer.full) {
        *writer.at = '\0';
    }
    msgpack_sbuffer_clear(&packed);
    return writer;
}

static void assert_written(const char *expected)
{
    char out[1024];
    struct json_writer writer = write_packed(out, sizeof out - 1, 1);
    assert_false(writer.full);
    assert_int_equal(writer.changed, 0);
    assert_string_equal(out, expected);
}

/* Something that JSON cannot say, written as a string. */
static void assert_changed(const char *expected)
{
    char out[1024];
    assert_int_equal(write_packed(out, sizeof out - 1, 1).changed, 1);
    assert_string_equal(out, expected);
}

static void pack_text(const char *text)
{
    msgpack_pack_str_with_body(&packer, text, strlen(text));
}

static void scalars_are_written_as_themselves(void **state)
{
    (void)state;
    msgpack_pack_nil(&packer), assert_written("null");
    msgpack_pack_true(&packer), assert_written("true");
    msgpack_pack_false(&packer), assert_written("false");
    msgpack_pack_int64(&packer, INT64_MIN), assert_written("-9223372036854775808");
    msgpack_pack_int64(&packer, -1), assert_written("-1");
    msgpack_pack_int64(&packer, -129), assert_written("-129");
    msgpack_pack_int64(&packer, -40000), assert_written("-40000");
    msgpack_pack_int64(&packer, -3000000000), assert_written("-3000000000");
    msgpack_pack_uint64(&packer, UINT64_MAX), assert_written("18446744073709551615");
    msgpack_pack_uint64(&packer, 200), assert_written("200");
    msgpack_pack_uint64(&packer, 60000), assert_written("60000");
    msgpack_pack_uint64(&packer, 4000000000), assert_written("4000000000");
    msgpack_pack_double(&packer, 0.1), assert_written("0.1");
    msgpack_pack_float(&packer, 0.1f), assert_written("0.1");
    msgpack_pack_double(&packer, -0.0), assert_written("0");
    msgpack_pack_double(&packer, 1.5e300), assert_written("15e299");
    msgpack_pack_double(&packer, 5e-324), assert_written("5e-324");
}

static void numbers_that_json_lacks_are_strings(void **state)
{
    (void)state;
    msgpack_pack_double(&packer, (double)NAN), assert_changed("\"NaN\"");
    msgpack_pack_double(&packer, (double)INFINITY), assert_changed("\"Infinity\"");
    msgpack_pack_float(&packer, -INFINITY), assert_changed("\"-Infinity\"");
    msgpack_pack_map(&packer, 1), msgpack_pack_double(&packer, (double)NAN),
        msgpack_pack_nil(&packer), assert_changed("{\"NaN\":null}");
}

static void strings_are_escaped_and_checked(void **state)
{
    (void)state;
    pack_text(""), assert_written("\"\"");
    pack_text("a\"b\\c/\n\x1f\x7f\xe2\x82\xac"),
        assert_written("\"a\\\"b\\\\c/\\u000a\\u001f\x7f\xe2\x82\xac\"");
    pack_text("\xff"), assert_changed("\"\\\\xff\"");
    msgpack_pack_str_with_body(&packer, "a\0b", 3), assert_changed("\"\\\\x610062\"");
}

static void bytes_are_written_as_hex(void **state)
{
    (void)state;
    msgpack_pack_bin_with_body(&packer, "\x00\xff\x1a", 3), assert_written("\"\\\\x00ff1a\"");
    msgpack_pack_bin_with_body(&packer, "", 0), assert_written("\"\\\\x\"");
    for (unsigned length = 1; length <= 16; length++) { /* some have forms of their own */
        char expected[64] = "\"ext:5:\\\\x";
        for (unsigned j = 0; j < length; j++) {
            strcat(expected, "ff");
        }
        strcat(expected, "\"");
        msgpack_pack_ext_with_body(
            &packer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", length, 5);
        assert_written(expected);
    }
    msgpack_pack_ext_with_body(&packer, "\x01\x02", 2, 5), assert_written("\"ext:5:\\\\x0102\"");
    msgpack_pack_ext_with_body(&packer, "\x01\x02\x03", 3, -128),
        assert_written("\"ext:-128:\\\\x010203\"");
}

static void timestamps_are_written_as_nanoseconds(void **state)
{
    (void)state;
    msgpack_timestamp time = {.tv_sec = 1700000000, .tv_nsec = 123456789};
    msgpack_pack_timestamp(&packer, &time), assert_written("1700000000123456789");
    time.tv_sec = 1, time.tv_nsec = 0;
    msgpack_pack_timestamp(&packer, &time), assert_written("1000000000");
    time.tv_sec = -1, time.tv_nsec = 1;
    msgpack_pack_timestamp(&packer, &time), assert_written("-999999999");
    time.tv_sec = INT64_MAX, time.tv_nsec = 1;
    msgpack_pack_timestamp(&packer, &time),
        assert_written("\"ext:-1:\\\\x000000017fffffffffffffff\"");
}

static void collections_are_written_with_keys_as_strings(void **state)
{
    (void)state;
    msgpack_pack_array(&packer, 0), assert_written("[]");
    msgpack_pack_map(&packer, 0), assert_written("{}");
    msgpack_pack_array(&packer, 3), msgpack_pack_int(&packer, 1), msgpack_pack_map(&packer, 1),
        pack_text("a"), msgpack_pack_array(&packer, 1), msgpack_pack_nil(&packer), pack_text("b"),
        assert_written("[1,{\"a\":[null]},\"b\"]");
    msgpack_pack_map(&packer, 6), msgpack_pack_int(&packer, 1), pack_text("int"),
        msgpack_pack_nil(&packer), pack_text("nil"), msgpack_pack_true(&packer), pack_text("true"),
        msgpack_pack_double(&packer, 1.5), pack_text("double"),
        msgpack_pack_bin_with_body(&packer, "\x01", 1), pack_text("bin"),
        msgpack_pack_ext_with_body(&packer, "\x01", 1, 7), pack_text("ext");
    assert_written(
        "{\"1\":\"int\",\"null\":\"nil\",\"true\":\"true\",\"1.5\":\"double\",\"\\\\x01\":\"bin\","
        "\"ext:7:\\\\x01\":\"ext\"}");
    msgpack_timestamp time = {.tv_sec = 1, .tv_nsec = 0};
    msgpack_pack_map(&packer, 1), msgpack_pack_timestamp(&packer, &time), msgpack_pack_nil(&packer);
    assert_written("{\"1000000000\":null}");
}

static void collections_as_keys_are_the_bytes_they_came_in(void **state)
{
    (void)state;
    msgpack_pack_map(&packer, 1), msgpack_pack_array(&packer, 0), msgpack_pack_nil(&packer);
    assert_changed("{\"\\\\x90\":null}");
    msgpack_pack_map(&packer, 1), msgpack_pack_map(&packer, 1), msgpack_pack_int(&packer, 1),
        msgpack_pack_array(&packer, 1), msgpack_pack_true(&packer), msgpack_pack_nil(&packer);
    assert_changed("{\"\\\\x810191c3\":null}");
}

static void pack_nested(unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        if (i % 2) {
            msgpack_pack_map(&packer, 1), pack_text("a");
        } else {
            msgpack_pack_array(&packer, 1);
        }
    }
    msgpack_pack_nil(&packer);
}

static void nesting_is_written_to_the_limit(void **state)
{
    char out[1024];

    (void)state;
    pack_nested(LIMIT_NESTING);
    assert_int_equal(write_packed(out, sizeof out - 1, 0).changed, 0);
    pack_nested(LIMIT_NESTING + 1);
    assert_int_equal(write_packed(out, sizeof out - 1, 0).changed, 1);
    assert_non_null(strstr(out, "\"\\\\x91c0\""));
    pack_nested(LIMIT_NESTING);
    assert_int_equal(write_packed(out, sizeof out - 1, 1).changed, 1);
    assert_non_null(strstr(out, "\"\\\\x81a161c0\""));
}

static void nothing_is_written_behind_the_end(void **state)
{
    char *out;

    (void)state;
    for (size_t capacity = 0; capacity < 26; capacity++) {
        out = malloc(capacity + 1);
        out[capacity] = 'x';
        msgpack_pack_map(&packer, 1), pack_text("key"), msgpack_pack_array(&packer, 2),
            pack_text("a\"b"), msgpack_pack_bin_with_body(&packer, "\x01\x02", 2);
        assert_true(write_packed(out, capacity, 1).full);
        assert_int_equal(out[capacity], 'x');
        free(out);
    }
    msgpack_pack_map(&packer, 1), pack_text("key"), msgpack_pack_array(&packer, 2),
        pack_text("a\"b"), msgpack_pack_bin_with_body(&packer, "\x01\x02", 2);
    assert_written("{\"key\":[\"a\\\"b\",\"\\\\x0102\"]}");
}

static void pack_random(unsigned depth)
{
    char text[4] = {(char)('0' + random_below(70)), (char)(1 + random_below(127)), '"', '\\'};
    switch (random_below(depth < LIMIT_NESTING ? 10 : 8)) {
    case 0:
        msgpack_pack_nil(&packer);
        break;
    case 1:
        msgpack_pack_int64(&packer, (int64_t)random_next() >> random_below(64));
        break;
    case 2:
        msgpack_pack_uint64(&packer, random_next());
        break;
    case 3:
        msgpack_pack_double(&packer,
                            ldexp((double)random_below(1 << 20), (int)random_below(2000) - 1000));
        break;
    case 4:
        msgpack_pack_float(&packer, (float)random_below(1 << 20) / 7);
        break;
    case 5:
        msgpack_pack_bin_with_body(&packer, text, random_below(4));
        break;
    case 6:
        msgpack_pack_ext_with_body(&packer, text, random_below(4), (int8_t)random_below(256));
        break;
    case 7:
        msgpack_pack_str_with_body(&packer, text, random_below(5));
        break;
    case 8: {
        unsigned count = random_below(5);
        for (msgpack_pack_array(&packer, count); count > 0; count--) {
            pack_random(depth + 1);
        }
        break;
    }
    case 9: {
        unsigned count = random_below(5);
        for (msgpack_pack_map(&packer, count); count > 0; count--) {
            pack_random(LIMIT_NESTING), pack_random(depth + 1);
        }
        break;
    }
    }
}

static void every_written_value_passes_the_check(void **state)
{
    static char out[65536];

    (void)state;
    for (int i = 0; i < 50000; i++) {
        bool comma = false;
        pack_text("k"), pack_random(1);
        struct unpack_reader reader = {(unsigned char *)packed.data,
                                       (unsigned char *)packed.data + packed.size};
        struct json_writer writer = {.at = out, .end = out + sizeof out};
        json_write(&writer, "{", 1);
        assert_int_equal(json_write_members(&writer, &reader, 1, &comma, 1), RECORD_FAULT_NONE);
        json_write(&writer, "}", 1);
        assert_int_equal(json_read_object(out, (size_t)(writer.at - out)), RECORD_FAULT_NONE);
        msgpack_sbuffer_clear(&packed);
    }
}

static void assert_members(const char *text, const char *expected)
{
    struct json_scan scan = json_read_members(text, strlen(text));
    struct json_member member;
    char out[256], string[64], *at = out;

    assert_int_equal(json_read_object(text, strlen(text)), RECORD_FAULT_NONE);
    *at = '\0';
    while (json_read_member(&scan, &member)) {
        size_t length = json_read_string(member.key, string);
        at += sprintf(at, "[%.*s=%.*s]", (int)length, string, (int)member.value.length,
                      member.value.at);
    }
    assert_string_equal(out, expected);
}

static void members_are_read_one_after_the_other(void **state)
{
    (void)state;
    assert_members("{}", "");
    assert_members(" { } ", "");
    assert_members("{\"a\":1}", "[a=1]");
    assert_members(" {\"a\" : 1.10 , \"b,}\":\t{\"c\":[1,\"}\"]},\"\":\"\\\"\", \"d\":null } ",
                   "[a=1.10][b,}={\"c\":[1,\"}\"]}][=\"\\\"\"][d=null]");
}

static void assert_string(const char *quoted, const char *expected)
{
    char out[64];
    size_t length = json_read_string((struct json_slice){quoted, strlen(quoted)}, out);

    assert_int_equal(length, strlen(expected));
    assert_memory_equal(out, expected, length);
}

static void strings_are_read_without_their_escapes(void **state)
{
    (void)state;
    assert_string("\"\"", "");
    assert_string("\"abc\"", "abc");
    assert_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    assert_string("\"\\u0041\\u00e4\\u20AC\\ud83d\\ude00\"",
                  "A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_string("\"\xe2\x82\xac\"", "\xe2\x82\xac");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_json),
        cmocka_unit_test(other_texts_are_not),
        cmocka_unit_test(numbers_have_the_grammar_of_json),
        cmocka_unit_test(numbers_beyond_numeric_are_out_of_range),
        cmocka_unit_test(nul_is_refused_escaped_or_not),
        cmocka_unit_test(surrogates_come_in_pairs),
        cmocka_unit_test(invalid_utf8_is_refused_in_keys_and_values),
        cmocka_unit_test(nesting_is_allowed_to_the_limit),
        cmocka_unit_test(length_is_allowed_to_the_limit),
        cmocka_unit_test(what_is_no_object_any_more_has_nothing_inside),
        cmocka_unit_test(no_part_of_an_object_is_one),
        cmocka_unit_test(the_inside_of_an_object_is_what_its_braces_hold),
        cmocka_unit_test(scalars_are_written_as_themselves),
        cmocka_unit_test(numbers_that_json_lacks_are_strings),
        cmocka_unit_test(strings_are_escaped_and_checked),
        cmocka_unit_test(bytes_are_written_as_hex),
        cmocka_unit_test(timestamps_are_written_as_nanoseconds),
        cmocka_unit_test(collections_are_written_with_keys_as_strings),
        cmocka_unit_test(collections_as_keys_are_the_bytes_they_came_in),
        cmocka_unit_test(nesting_is_written_to_the_limit),
        cmocka_unit_test(nothing_is_written_behind_the_end),
        cmocka_unit_test(every_written_value_passes_the_check),
        cmocka_unit_test(members_are_read_one_after_the_other),
        cmocka_unit_test(strings_are_read_without_their_escapes),
    };
    random_begin();
    return cmocka_run_group_tests(tests, begin_packing, end_packing);
}
