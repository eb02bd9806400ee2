/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

Test(arena, memory_is_aligned_and_does_not_overlap)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    uint8_t *before = NULL;
    for (size_t size = 0; size < 300; size++) {
        uint8_t *memory = arena_take(&arena, size);
        cr_assert_eq((uintptr_t)memory % alignof(max_align_t), 0);
        cr_assert_neq(memory, before, "size 0 gives an own pointer too");
        memset(memory, (int)size, size);
        before = memory;
    }
    arena_finish(&arena);
}

Test(arena, what_was_taken_stays_until_the_reset)
{
    struct arena arena;
    arena_init(&arena, 0);
    char *first = arena_copy(&arena, "first", 6);
    char *blocks[20];
    for (int i = 0; i < 20; i++) {
        blocks[i] = arena_take(&arena, 50000); /* a block holds one of these */
        memset(blocks[i], i, 50000);
    }
    cr_expect_str_eq(first, "first");
    for (int i = 0; i < 20; i++) {
        cr_expect_eq(blocks[i][0], i);
        cr_expect_eq(blocks[i][49999], i);
    }
    cr_expect_geq(arena.total, 20 * 50000);
    arena_reset(&arena);
    cr_expect_eq(arena.total, 0);
    arena_finish(&arena);
}

Test(arena, a_reset_reuses_what_it_keeps)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    void *first = arena_take(&arena, 100);
    arena_reset(&arena);
    cr_expect_eq(arena_take(&arena, 100), first);
    arena_finish(&arena);
    arena_init(&arena, 0);
    (void)arena_take(&arena, 100);
    arena_reset(&arena);
    cr_expect_null(arena.first, "nothing is kept");
    arena_finish(&arena);
}

Test(arena, one_huge_record_does_not_stay)
{
    struct arena arena;
    arena_init(&arena, 256 * 1024);
    (void)arena_take(&arena, 100);
    char *huge = arena_take(&arena, 32 << 20);
    huge[0] = huge[(32 << 20) - 1] = 1;
    arena_reset(&arena);
    cr_expect_not_null(arena.first, "the small block is kept");
    /* A second large one after the reset is fine too, before and behind kept blocks. */
    char *again = arena_take(&arena, 1 << 20);
    again[(1 << 20) - 1] = 1;
    char *small = arena_take(&arena, 10);
    small[9] = 1;
    cr_expect_eq(again[(1 << 20) - 1], 1);
    arena_finish(&arena);
}

Test(arena, a_finished_one_may_be_used_again)
{
    struct arena arena;
    arena_init(&arena, 0);
    arena_finish(&arena);
    char *text = arena_copy(&arena, "x", 2);
    cr_expect_str_eq(text, "x");
    arena_finish(&arena);
}
