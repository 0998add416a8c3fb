/* test_sha256.c: SHA-256 against the published vectors, in one piece and in many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "schema/sha256.h"
#include "tests/unit/random_input.h"

static void assert_digest(const unsigned char digest[SHA256_BYTES], const char *expected)
{
    char text[2 * SHA256_BYTES + 1];

    for (int i = 0; i < SHA256_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    assert_string_equal(text, expected);
}

static void assert_digest_of(const char *bytes, size_t length, const char *expected)
{
    unsigned char digest[SHA256_BYTES];
    struct sha256 hash;

    sha256_begin(&hash);
    sha256_add(&hash, bytes, length);
    sha256_end(&hash, digest);
    assert_digest(digest, expected);
}

static void digests_are_those_of_the_standard(void **state)
{
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

    (void)state;
    assert_digest_of("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest_of("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_digest_of(two_blocks, 56,
                     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void million_bytes_in_random_pieces_are_the_same_bytes(void **state)
{
    static char bytes[1000000];
    unsigned char digest[SHA256_BYTES];
    struct sha256 hash;

    (void)state;
    random_begin();
    memset(bytes, 'a', sizeof bytes);
    sha256_begin(&hash);
    for (size_t at = 0, part; at < sizeof bytes; at += part) {
        part = random_below(200);
        part = part < sizeof bytes - at ? part : sizeof bytes - at;
        sha256_add(&hash, bytes + at, part);
    }
    sha256_end(&hash, digest);
    assert_digest(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_the_standard),
        cmocka_unit_test(million_bytes_in_random_pieces_are_the_same_bytes),
    };
    return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
