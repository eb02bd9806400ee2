/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

Test(bytes, null_and_empty_are_two_things_that_compare_alike)
{
    struct bytes null = bytes_of(NULL);
    struct bytes empty = bytes_of("");
    cr_expect_null(null.data);
    cr_expect_not_null(empty.data);
    cr_expect(bytes_equal(null, empty));
    cr_expect_eq(bytes_compare(null, empty), 0);
    cr_expect_lt(bytes_compare(null, bytes_of("a")), 0);
}

Test(bytes, order_is_that_of_unsigned_bytes_and_a_prefix_comes_first)
{
    static const char *const sorted[] = {"", "a", "a\x01", "aa", "ab", "b", "\x7f", "\x80", "\xff"};
    size_t count = sizeof sorted / sizeof *sorted;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = bytes_compare(bytes_of(sorted[i]), bytes_of(sorted[j]));
            cr_expect_eq((order > 0) - (order < 0), (i > j) - (i < j), "%zu %zu", i, j);
            cr_expect_eq(bytes_equal(bytes_of(sorted[i]), bytes_of(sorted[j])), i == j);
        }
    }
}

Test(bytes, big_endian_keeps_the_order_of_numbers)
{
    uint8_t small[8];
    uint8_t large[8];
    put_u64(small, 0x00ffffffffffffff);
    put_u64(large, 0x0100000000000000);
    cr_expect_lt(memcmp(small, large, 8), 0);
    cr_expect_eq(get_u64(large), 0x0100000000000000u);
    put_u32(small, 0xdeadbeef);
    cr_expect_eq(small[0], 0xde);
    cr_expect_eq(small[3], 0xef);
    cr_expect_eq(get_u32(small), 0xdeadbeef);
    put_u16(small, 0xfedc);
    cr_expect_eq(small[0], 0xfe);
    cr_expect_eq(get_u16(small), 0xfedc);
}

Test(bytes, a_buffer_grows_and_keeps_what_it_has)
{
    struct buffer buffer = {0};
    cr_expect_str_eq(buffer_text(&buffer), "", "an unused one is an empty text");
    for (int i = 0; i < 1000; i++) {
        buffer_format(&buffer, "%03d,", i);
    }
    cr_expect_eq(buffer.size, 4000);
    cr_expect(strncmp(buffer_text(&buffer), "000,001,002,", 12) == 0);
    cr_expect_str_eq(buffer_text(&buffer) + 3992, "998,999,");
    cr_expect_eq(buffer.size, 4000, "the NUL does not count");
    buffer_append(&buffer, NULL, 0);
    cr_expect_eq(buffer.size, 4000);
    buffer_append_text(&buffer, "end");
    uint8_t *at = buffer_extend(&buffer, 2);
    at[0] = '!';
    at[1] = '?';
    cr_expect_str_eq(buffer_text(&buffer) + 4000, "end!?");
    buffer_finish(&buffer);
    cr_expect_null(buffer.data);
    cr_expect_eq(buffer.size, 0);
    buffer_finish(&buffer);
}

Test(bytes, memory_is_zeroed_copied_and_never_null)
{
    uint8_t *memory = memory_allocate(100);
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(memory[i], 0);
    }
    memory = memory_resize(memory, 200);
    cr_expect_not_null(memory);
    free(memory);
    void *nothing = memory_allocate(0);
    cr_expect_not_null(nothing);
    free(nothing);
    nothing = memory_copy(NULL, 0);
    cr_expect_not_null(nothing);
    free(nothing);
    char *text = memory_format("%s-%d", "a", 5);
    cr_expect_str_eq(text, "a-5");
    char *copy = memory_text(text);
    cr_expect_str_eq(copy, "a-5");
    cr_expect_null(memory_text(NULL));
    char *bytes = memory_copy(text, 4);
    cr_expect_eq(memcmp(bytes, "a-5", 4), 0);
    free(bytes);
    free(copy);
    free(text);
}

Test(bytes, a_size_beyond_all_memory_aborts, .signal = SIGABRT)
{
    struct buffer buffer = {0};
    (void)buffer_extend(&buffer, SIZE_MAX / 2);
    cr_assert_fail("it went on");
}
