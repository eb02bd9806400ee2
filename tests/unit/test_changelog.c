/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps and positions as bytes. That any bytes are judged is tests/fuzz/fuzz_changelog.c's. */
#include "engine/changelog.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct stamp_offset offsets[] = {{"lines", 0, 42}, {"lines", 1, 17}};
static const struct stamp stamp = {.application = "app",
                                   .transactional_id = "app/a/0",
                                   .incarnation = "0123456789abcde",
                                   .sequence = 7,
                                   .stream_time = 1234,
                                   .record_count = 3,
                                   .checksum = 99,
                                   .offsets = offsets,
                                   .offset_count = 2};

static enum status decode(struct bytes bytes, struct stamp *found, struct arena *arena)
{
    struct error error = {0};
    enum status status = stamp_decode(bytes, arena, found, &error);
    cr_assert(status == STATUS_OK || error.code == ERROR_CORRUPT);
    return status;
}

Test(changelog, a_stamp_comes_back_as_it_was)
{
    struct buffer buffer = {0};
    struct stamp found;
    struct arena arena;
    arena_init(&arena, 0);
    stamp_encode(&buffer, &stamp);
    cr_assert_eq(decode((struct bytes){buffer.data, buffer.size}, &found, &arena), STATUS_OK);
    cr_assert_str_eq(found.application, "app");
    cr_assert_str_eq(found.transactional_id, "app/a/0");
    cr_assert_eq(found.sequence, 7);
    cr_assert_eq(found.offset_count, 2);
    cr_assert_eq(found.offsets[1].offset, 17);
    arena_finish(&arena);
    buffer_finish(&buffer);
}

Test(changelog, a_stamp_with_a_byte_less_or_more_or_a_nul_in_a_text_is_refused)
{
    struct buffer buffer = {0};
    struct stamp found;
    struct arena arena;
    arena_init(&arena, 0);
    stamp_encode(&buffer, &stamp);
    size_t size = buffer.size;
    *buffer_extend(&buffer, 1) = 0;
    cr_expect_eq(decode((struct bytes){buffer.data, size + 1}, &found, &arena), STATUS_FATAL);
    for (size_t cut = 0; cut < size; cut++) {
        cr_expect_eq(decode((struct bytes){buffer.data, cut}, &found, &arena), STATUS_FATAL);
    }
    uint8_t *text = memmem(buffer.data, size, "app/a/0", 7);
    text[3] = 0;
    cr_expect_eq(decode((struct bytes){buffer.data, size}, &found, &arena), STATUS_FATAL);
    arena_finish(&arena);
    buffer_finish(&buffer);
}
