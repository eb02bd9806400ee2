/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a changelog and a store's metadata hold: stamps, positions, the keys of changelog records,
 * the changes of a transaction. Any bytes are decoded or refused; what is decoded encodes to the
 * same bytes; a stamp in which bits were flipped is refused or says something else, never the same
 * by another text. The first byte chooses.
 */
#include "engine/changelog.h"

#include "fuzz_input.h"

#include <stdlib.h>

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    bool same = strcmp(a->application, b->application) == 0 &&
                strcmp(a->transactional_id, b->transactional_id) == 0 &&
                memcmp(a->incarnation, b->incarnation, sizeof a->incarnation) == 0 &&
                a->sequence == b->sequence && a->stream_time == b->stream_time &&
                a->record_count == b->record_count && a->checksum == b->checksum &&
                a->offset_count == b->offset_count;
    for (uint32_t i = 0; same && i < a->offset_count; i++) {
        same = strcmp(a->offsets[i].topic, b->offsets[i].topic) == 0 &&
               a->offsets[i].partition == b->offsets[i].partition &&
               a->offsets[i].offset == b->offsets[i].offset;
    }
    return same;
}

static void any_stamp(struct bytes bytes, struct arena *arena)
{
    struct stamp stamp;
    struct error error = {0};
    enum status status = stamp_decode(bytes, arena, &stamp, &error);
    if (status != STATUS_OK) {
        fuzz_check_refusal(status, &error);
        ensure(status == STATUS_FATAL && error.code == ERROR_CORRUPT);
        return;
    }
    ensure(stamp.sequence > 0);
    if (stamp.offset_count == 0) {
        return; /* read, never written */
    }
    struct buffer again = {0};
    stamp_encode(&again, &stamp);
    ensure(bytes_equal(bytes, (struct bytes){again.data, again.size}));
    buffer_finish(&again);
}

static char *word(struct fuzz_input *input)
{
    struct bytes bytes = fuzz_bytes(input, fuzz_byte(input) % 40);
    char *text = memory_allocate(bytes.size + 1);
    for (size_t i = 0; i < bytes.size; i++) {
        char byte = ((const char *)bytes.data)[i];
        text[i] = byte == 0 ? '0' : byte;
    }
    return text;
}

static void check_flips(struct fuzz_input *input, const struct stamp *stamp,
                        const struct buffer *whole, struct arena *arena)
{
    struct stamp other;
    struct error error = {0};
    struct bytes good = {whole->data, whole->size};
    ensure(stamp_decode(good, arena, &other, &error) == STATUS_OK && same_stamp(stamp, &other));
    uint8_t *damaged = fuzz_exact(good);
    bool flipped = false;
    while (input->left > 2) {
        size_t bit = fuzz_number(input, 2) % (good.size * 8);
        damaged[bit / 8] ^= (uint8_t)(1U << bit % 8);
        flipped = true;
    }
    size_t size = fuzz_byte(input) % 4 == 3 ? good.size / 2 : good.size;
    flipped = (flipped && memcmp(damaged, good.data, good.size) != 0) || size != good.size;
    any_stamp((struct bytes){damaged, size}, arena);
    if (stamp_decode((struct bytes){damaged, size}, arena, &other, &error) == STATUS_OK) {
        ensure(same_stamp(stamp, &other) == !flipped);
    }
    free(damaged);
}

static void made_stamp(struct fuzz_input *input, struct arena *arena)
{
    struct stamp stamp = {.application = word(input), .transactional_id = word(input)};
    struct bytes incarnation = fuzz_bytes(input, sizeof stamp.incarnation);
    memcpy(stamp.incarnation, incarnation.data, incarnation.size);
    stamp.sequence = fuzz_number(input, 8) | 1;
    stamp.stream_time = (int64_t)fuzz_number(input, 8);
    stamp.record_count = (uint32_t)fuzz_number(input, 4);
    stamp.checksum = (uint32_t)fuzz_number(input, 4);
    stamp.offset_count = 1 + fuzz_byte(input) % 5;
    struct stamp_offset *offsets = memory_allocate(stamp.offset_count * sizeof *offsets);
    for (uint32_t i = 0; i < stamp.offset_count; i++) {
        offsets[i].topic = word(input);
        offsets[i].partition = (int32_t)fuzz_number(input, 4);
        offsets[i].offset = (int64_t)fuzz_number(input, 8);
    }
    stamp.offsets = offsets;
    struct buffer whole = {0};
    stamp_encode(&whole, &stamp);
    check_flips(input, &stamp, &whole, arena);
    buffer_finish(&whole);
    for (uint32_t i = 0; i < stamp.offset_count; i++) {
        free((void *)(uintptr_t)offsets[i].topic);
    }
    free(offsets);
    free((void *)(uintptr_t)stamp.application);
    free((void *)(uintptr_t)stamp.transactional_id);
}

static void any_position(struct bytes bytes)
{
    struct position position;
    struct error error = {0};
    enum status status = position_decode(bytes, &position, &error);
    if (status != STATUS_OK) {
        fuzz_check_refusal(status, &error);
        ensure(error.code == ERROR_CORRUPT);
        return;
    }
    struct buffer again = {0};
    position_encode(&again, &position);
    ensure(position.next >= 0 && bytes_equal(bytes, (struct bytes){again.data, again.size}));
    buffer_finish(&again);
}

static void any_key(struct bytes bytes)
{
    const char *table = NULL;
    struct bytes key;
    ensure(!stamp_is_key(bytes) || (changelog_split(bytes, &table, &key) && key.size == 2));
    if (!changelog_split(bytes, &table, &key)) {
        ensure(bytes.size == 0 || memchr(bytes.data, 0, bytes.size) == NULL);
        return;
    }
    ensure(strlen(table) + 1 + key.size == bytes.size);
    if (table[0] != 0 && key.size > 0) {
        struct buffer again = {0};
        changelog_key(&again, table, key);
        ensure(bytes_equal(bytes, (struct bytes){again.data, again.size}));
        buffer_finish(&again);
    }
}

/* Against a list that is searched from the begin: the index finds the same entry, and none other
 * has changed. */
static void any_changes(struct fuzz_input *input)
{
    enum { KEYS = 512 };
    struct changes changes;
    struct bytes keys[KEYS];
    struct bytes values[KEYS];
    uint32_t tables[KEYS];
    size_t count = 0;
    changes_init(&changes);
    while (input->left > 0) {
        uint8_t what = fuzz_byte(input);
        uint32_t table = what % 3;
        struct bytes key = fuzz_bytes(input, 1 + (what >> 2) % 3);
        if (key.size == 0 || what == 0xff) {
            changes_reset(&changes);
            count = 0;
            continue;
        }
        size_t index = 0;
        while (index < count && (tables[index] != table || !bytes_equal(keys[index], key))) {
            index++;
        }
        if (index == KEYS) {
            break;
        }
        ensure(changes_at(&changes, table, key) == index);
        keys[index] = key;
        tables[index] = table;
        values[index] = (what & 0x20) != 0 ? (struct bytes){0} : fuzz_bytes(input, what >> 6);
        count += index == count;
        changes_set(&changes, index, values[index], (what & 0x40) != 0);
        ensure(changes.count == count);
    }
    for (size_t i = 0; i < count; i++) {
        const struct change *change = &changes.items[i];
        ensure(change->table == tables[i] && bytes_equal(change->key, keys[i]));
        ensure((change->value.data == NULL) == (values[i].data == NULL));
        ensure(values[i].data == NULL || bytes_equal(change->value, values[i]));
    }
    changes_finish(&changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    uint8_t kind = fuzz_byte(&input) % 5;
    struct bytes rest = {input.at, input.left};
    uint8_t *copy = fuzz_exact(rest);
    struct bytes bytes = {copy, rest.size};
    struct arena arena;
    arena_init(&arena, 0);
    input.at = copy;
    switch (kind) {
    case 0:
        any_stamp(bytes, &arena);
        break;
    case 1:
        made_stamp(&input, &arena);
        break;
    case 2:
        any_position(bytes);
        break;
    case 3:
        any_key(bytes);
        break;
    default:
        any_changes(&input);
        break;
    }
    arena_finish(&arena);
    free(copy);
    return 0;
}
