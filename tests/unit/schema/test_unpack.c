/* msgpack by two hands: what msgpack-c packs, our reader reads, and where either refuses bytes, so
 * does the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <msgpack.h>
#include <string.h>

#include "tests/unit/msgpack_compare.h"
#include "tests/unit/random_input.h"

static msgpack_sbuffer packed;
static msgpack_packer pack;

static int begin_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pack, &packed, msgpack_sbuffer_write);
    return 0;
}

static int end_packing(void **state)
{
    (void)state;
    msgpack_sbuffer_destroy(&packed);
    return 0;
}

static void assert_same_and_clear(void)
{
    assert_true(msgpack_readers_agree((unsigned char *)packed.data, packed.size));
    msgpack_sbuffer_clear(&packed);
}

static void integers_of_every_size_are_read(void **state)
{
    (void)state;
    for (int shift = 0; shift < 64; shift++) {
        for (int64_t near = -2; near <= 2; near++) {
            msgpack_pack_uint64(&pack, (UINT64_C(1) << shift) + (uint64_t)near);
            assert_same_and_clear();
            msgpack_pack_int64(&pack, (int64_t) - ((UINT64_C(1) << shift) + (uint64_t)near));
            assert_same_and_clear();
        }
    }
}

static void strings_bytes_and_extensions_of_every_length_are_read(void **state)
{
    static char bytes[70000];
    static const size_t lengths[] = {0,   1,   2,    3,     4,     5,     7,     8,    9,
                                     15,  16,  17,   31,    32,    33,    127,   128,  255,
                                     256, 257, 1000, 32767, 32768, 65535, 65536, 70000};

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        msgpack_pack_str_with_body(&pack, bytes, lengths[i]);
        assert_same_and_clear();
        msgpack_pack_bin_with_body(&pack, bytes, lengths[i]);
        assert_same_and_clear();
        msgpack_pack_ext_with_body(&pack, bytes, lengths[i], (int8_t)(i * 7));
        assert_same_and_clear();
    }
}

static void pack_any(unsigned depth)
{
    static const char text[] = "some text to take from";
    unsigned count = random_below(depth < 6 ? 5 : 1);

    switch (random_below(11)) {
    case 0:
        msgpack_pack_nil(&pack);
        break;
    case 1:
        msgpack_pack_true(&pack);
        break;
    case 2:
        msgpack_pack_false(&pack);
        break;
    case 3:
        msgpack_pack_int64(&pack, (int64_t)random_next() >> random_below(64));
        break;
    case 4:
        msgpack_pack_uint64(&pack, random_next() >> random_below(64));
        break;
    case 5:
        msgpack_pack_double(&pack, (double)random_next() / 3);
        break;
    case 6:
        msgpack_pack_float(&pack, (float)random_next() / 3);
        break;
    case 7:
        msgpack_pack_str_with_body(&pack, text, random_below(sizeof text));
        break;
    case 8:
        msgpack_pack_ext_with_body(&pack, text, random_below(18), (int8_t)random_below(256));
        break;
    case 9:
        for (msgpack_pack_array(&pack, count); count > 0; count--) {
            pack_any(depth + 1);
        }
        break;
    case 10:
        for (msgpack_pack_map(&pack, count); count > 0; count--) {
            pack_any(depth + 1);
            pack_any(depth + 1);
        }
        break;
    }
}

static void any_value_is_read_and_skipped_as_a_whole(void **state)
{
    (void)state;
    for (int i = 0; i < 50000; i++) {
        pack_any(0);
        struct unpack_reader reader = {(unsigned char *)packed.data,
                                       (unsigned char *)packed.data + packed.size};
        struct unpack_value value;
        assert_int_equal(unpack_next(&reader, &value), RECORD_FAULT_NONE);
        assert_int_equal(unpack_skip(&reader, &value), RECORD_FAULT_NONE);
        assert_ptr_equal(reader.at, reader.end);
        assert_same_and_clear();
    }
}

static void damaged_values_are_refused_by_both_or_by_none(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        pack_any(0);
        size_t size = 1 + random_below((unsigned)packed.size);
        for (unsigned changes = random_below(4); changes > 0; changes--) {
            packed.data[random_below((unsigned)size)] = (char)random_next();
        }
        assert_true(msgpack_readers_agree((unsigned char *)packed.data, size));
        msgpack_sbuffer_clear(&packed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_size_are_read),
        cmocka_unit_test(strings_bytes_and_extensions_of_every_length_are_read),
        cmocka_unit_test(any_value_is_read_and_skipped_as_a_whole),
        cmocka_unit_test(damaged_values_are_refused_by_both_or_by_none),
    };
    random_begin();
    return cmocka_run_group_tests(tests, begin_packing, end_packing);
}
