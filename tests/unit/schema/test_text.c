/* text_check: UTF-8 without NUL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "schema/record.h"
#include "schema/text.h"
#include "tests/unit/random_input.h"

/* Checks the bytes at every distance from an eight-byte step, in memory that ends where they do. */
static void assert_check(const char *bytes, size_t length, enum record_fault expected)
{
    for (size_t before = 0; before < 17; before++) {
        for (size_t behind = 0; behind < 17; behind++) {
            size_t size = before + length + behind;
            char *text = malloc(size + (size == 0));
            memset(text, 'a', size);
            memcpy(text + before, bytes, length);
            assert_int_equal(text_check(text, size), expected);
            free(text);
        }
    }
}

static void ascii_is_text(void **state)
{
    (void)state;
    assert_check("", 0, RECORD_FAULT_NONE);
    for (int c = 1; c < 128; c++) {
        assert_check((char[]){(char)c}, 1, RECORD_FAULT_NONE);
    }
}

static void a_nul_anywhere_is_a_fault(void **state)
{
    (void)state;
    assert_check("", 1, RECORD_FAULT_HAS_NUL);
    assert_check("\0\x01", 2, RECORD_FAULT_HAS_NUL);
    assert_check("\xc3\xa4\0", 3, RECORD_FAULT_HAS_NUL);
}

static void sequences_at_the_edges_of_their_ranges_are_text(void **state)
{
    static const char *const texts[] = {
        "\xc2\x80",         "\xdf\xbf",         "\xe0\xa0\x80",        "\xec\xbf\xbf",
        "\xed\x9f\xbf",     "\xee\x80\x80",     "\xef\xbf\xbf",        "\xf0\x90\x80\x80",
        "\xf3\xbf\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xe2\x82\xac\xc3\xa4"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_check(texts[i], strlen(texts[i]), RECORD_FAULT_NONE);
    }
}

static void overlong_forms_surrogates_and_fragments_are_not_utf8(void **state)
{
    static const char *const texts[] = {"\x80",
                                        "\xbf",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x9f\xbf",
                                        "\xe0\x80\x80",
                                        "\xed\xa0\x80",
                                        "\xed\xbf\xbf",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff",
                                        "\xfe",
                                        "\xc3",
                                        "\xe2\x82",
                                        "\xf0\x9f\x98",
                                        "\xc3\xc3\xa4",
                                        "\xe2\x28\xa1",
                                        "\xe2\x82\x28",
                                        "\xf0\x28\x8c\xbc",
                                        "\xf0\x90\x28\xbc",
                                        "\xf0\x90\x8c\x28",
                                        "\xf8\x88\x80\x80\x80",
                                        "\xe2\x82\xc0",
                                        "\xf0\x9f\x98\xc0"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_check(texts[i], strlen(texts[i]), RECORD_FAULT_NOT_UTF8);
    }
}

static unsigned put_code_point(char *out, uint32_t c)
{
    if (c < 0x80) {
        return out[0] = (char)c, 1;
    }
    if (c < 0x800) {
        return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    }
    if (c < 0x10000) {
        return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)),
               out[2] = (char)(0x80 | (c & 63)), 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void every_code_point_but_nul_and_surrogates_is_text(void **state)
{
    char bytes[4];

    (void)state;
    for (uint32_t c = 1; c < 0x120000; c++) {
        bool valid = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
        unsigned length = put_code_point(bytes, c);
        assert_int_equal(text_check(bytes, length),
                         valid ? RECORD_FAULT_NONE : RECORD_FAULT_NOT_UTF8);
        assert_int_equal(text_sequence((unsigned char *)bytes, (unsigned char *)bytes + length),
                         valid ? length : 0);
    }
}

static void the_fast_path_agrees_with_one_sequence_at_a_time(void **state)
{
    unsigned char bytes[40];

    (void)state;
    for (int i = 0; i < 300000; i++) {
        unsigned length = random_below(sizeof bytes), odd = random_below(3);
        for (unsigned j = 0; j < length; j++) {
            bytes[j] = (unsigned char)(' ' + random_below(90));
        }
        while (length > 0 && odd-- > 0) {
            bytes[random_below(length)] = (unsigned char)random_below(256);
        }
        enum record_fault expected = RECORD_FAULT_NONE;
        for (unsigned at = 0; at < length && !expected;) {
            unsigned sequence = text_sequence(bytes + at, bytes + length);
            expected = bytes[at] == 0  ? RECORD_FAULT_HAS_NUL
                       : sequence == 0 ? RECORD_FAULT_NOT_UTF8
                                       : RECORD_FAULT_NONE;
            at += sequence;
        }
        assert_int_equal(text_check((char *)bytes, length), expected);
    }
}

static void texts_that_differ_in_one_byte_are_not_the_same(void **state)
{
    char a[40], b[40];

    (void)state;
    for (size_t length = 0; length <= sizeof a; length++) {
        memset(a, 'x', sizeof a);
        memset(b, 'x', sizeof b);
        memset(b + length, 'y', sizeof b - length); /* what lies behind does not count */
        assert_true(text_same(a, b, length));
        for (size_t at = 0; at < length; at++) {
            b[at] = 'z';
            assert_false(text_same(a, b, length));
            b[at] = 'x';
        }
    }
}

static void assert_cleaned(const char *text, const char *cleaned)
{
    char copy[64];

    strcpy(copy, text);
    text_clean(copy);
    assert_string_equal(copy, cleaned);
}

static void what_a_server_says_is_made_one_line_that_may_be_printed(void **state)
{
    (void)state;
    assert_cleaned("", "");
    assert_cleaned("no such user \xe2\x82\xac", "no such user \xe2\x82\xac");
    assert_cleaned("a\r\nb\tc", "a  b c");
    assert_cleaned("\x1b[2J\xc2\x9b\x7f\xffx", "?[2J???"
                                               "?x");
    assert_cleaned("cut \xe2\x82", "cut ");
    assert_cleaned("cut \xf0\x9f\x92", "cut ");
    assert_cleaned("\xe2(", "?(");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascii_is_text),
        cmocka_unit_test(a_nul_anywhere_is_a_fault),
        cmocka_unit_test(sequences_at_the_edges_of_their_ranges_are_text),
        cmocka_unit_test(overlong_forms_surrogates_and_fragments_are_not_utf8),
        cmocka_unit_test(every_code_point_but_nul_and_surrogates_is_text),
        cmocka_unit_test(the_fast_path_agrees_with_one_sequence_at_a_time),
        cmocka_unit_test(texts_that_differ_in_one_byte_are_not_the_same),
        cmocka_unit_test(what_a_server_says_is_made_one_line_that_may_be_printed),
    };
    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
