/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/changelog.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum {
    STAMP_FORMAT = 1,
    POSITION_FORMAT = 1,
    CHANGES_ARENA_KEEP = 1 << 20,
    CHANGES_SLOTS_MIN = 64
};

_Static_assert(CHANGELOG_STAMPS <= UINT16_MAX + 1, "a stamp's key holds its number");

static const char stamp_prefix[] = ".stamp"; /* its NUL belongs to the key */

/* ---- Changes ---- */

void changes_init(struct changes *changes)
{
    *changes = (struct changes){0};
    arena_init(&changes->arena, CHANGES_ARENA_KEEP);
}

void changes_finish(struct changes *changes)
{
    ensure(changes->count <= changes->capacity);
    free(changes->items);
    free(changes->slots);
    arena_finish(&changes->arena);
    *changes = (struct changes){0};
}

void changes_reset(struct changes *changes)
{
    ensure(changes->count <= changes->capacity && (changes->count == 0 || changes->slots != NULL));
    if (changes->count > 0) {
        memset(changes->slots, 0, changes->slot_count * sizeof *changes->slots);
    }
    changes->count = 0;
    arena_reset(&changes->arena);
}

static void changes_grow(struct changes *changes)
{
    ensure(changes->count == changes->capacity);
    ensure((changes->slot_count & (changes->slot_count - 1)) == 0);
    size_t slot_count = changes->slot_count == 0 ? CHANGES_SLOTS_MIN : changes->slot_count * 2;
    free(changes->slots);
    changes->slots = memory_allocate(slot_count * sizeof *changes->slots);
    changes->slot_count = slot_count;
    for (size_t i = 0; i < changes->count; i++) {
        size_t slot = changes->items[i].hash & (slot_count - 1);
        while (changes->slots[slot] != 0) {
            slot = (slot + 1) & (slot_count - 1);
        }
        changes->slots[slot] = (uint32_t)i + 1;
    }
    changes->capacity = slot_count / 2;
    changes->items = memory_resize(changes->items, changes->capacity * sizeof *changes->items);
}

size_t changes_at(struct changes *changes, uint32_t table, struct bytes key)
{
    ensure(key.data != NULL && key.size > 0);
    if (changes->count == changes->capacity) {
        changes_grow(changes);
    }
    uint64_t hash = hash_table(key.data, key.size) ^ table;
    size_t slot = hash & (changes->slot_count - 1);
    for (; changes->slots[slot] != 0; slot = (slot + 1) & (changes->slot_count - 1)) {
        size_t index = changes->slots[slot] - 1;
        const struct change *found = &changes->items[index];
        if (found->hash == hash && found->table == table && bytes_equal(found->key, key)) {
            return index;
        }
    }
    ensure(changes->count < UINT32_MAX);
    changes->items[changes->count] = (struct change){
        .key = {arena_copy(&changes->arena, key.data, key.size), key.size},
        .hash = hash,
        .table = table,
    };
    changes->slots[slot] = (uint32_t)changes->count + 1;
    return changes->count++;
}

void changes_set(struct changes *changes, size_t index, struct bytes value, bool dirty)
{
    ensure(value.data != NULL || value.size == 0);
    ensure(index < changes->count);
    struct change *change = &changes->items[index];
    change->dirty = dirty;
    if (value.data == NULL) {
        change->value = (struct bytes){0};
        return;
    }
    void *memory = (void *)(uintptr_t)change->value.data;
    if (memory == NULL || change->capacity < value.size) {
        change->capacity = value.size;
        memory = arena_take(&changes->arena, value.size);
    }
    if (value.size > 0) {
        memmove(memory, value.data, value.size);
    }
    change->value = (struct bytes){memory, value.size};
}

void changelog_key(struct buffer *buffer, const char *table, struct bytes key)
{
    ensure(table[0] != 0 && key.size > 0);
    buffer_append(buffer, table, strlen(table) + 1);
    buffer_append(buffer, key.data, key.size);
}

bool changelog_split(struct bytes record_key, const char **table, struct bytes *key)
{
    ensure(record_key.size == 0 || record_key.data != NULL);
    const char *end = record_key.size == 0 ? NULL : memchr(record_key.data, 0, record_key.size);
    if (end == NULL) {
        return false;
    }
    *table = record_key.data;
    size_t used = (size_t)(end - *table) + 1;
    *key = (struct bytes){end + 1, record_key.size - used};
    return true;
}

uint32_t changelog_checksum(uint32_t checksum, struct bytes key, struct bytes value)
{
    ensure(key.data != NULL && key.size <= UINT32_MAX && value.size < UINT32_MAX);
    uint8_t sizes[8];
    put_u32(sizes, (uint32_t)key.size);
    put_u32(sizes + 4, value.data == NULL ? UINT32_MAX : (uint32_t)value.size);
    checksum = hash_crc32c(checksum, sizes, sizeof sizes);
    checksum = hash_crc32c(checksum, key.data, key.size);
    return value.size == 0 ? checksum : hash_crc32c(checksum, value.data, value.size);
}

/* ---- Stamp ---- */

void stamp_key(struct buffer *buffer, uint64_t sequence)
{
    ensure(sequence > 0);
    buffer_append(buffer, stamp_prefix, sizeof stamp_prefix);
    put_u16(buffer_extend(buffer, 2), (uint16_t)(sequence % CHANGELOG_STAMPS));
}

bool stamp_is_key(struct bytes record_key)
{
    ensure(record_key.size == 0 || record_key.data != NULL);
    return record_key.size == sizeof stamp_prefix + 2 &&
           memcmp(record_key.data, stamp_prefix, sizeof stamp_prefix) == 0;
}

static void encode_text(struct buffer *buffer, const char *text)
{
    size_t size = strlen(text);
    ensure(size <= UINT16_MAX);
    put_u16(buffer_extend(buffer, 2), (uint16_t)size);
    buffer_append(buffer, text, size);
}

void stamp_encode(struct buffer *buffer, const struct stamp *stamp)
{
    ensure(stamp->offset_count > 0 && stamp->offsets != NULL);
    ensure(stamp->sequence > 0);
    *buffer_extend(buffer, 1) = STAMP_FORMAT;
    buffer_append(buffer, stamp->incarnation, sizeof stamp->incarnation);
    put_u64(buffer_extend(buffer, 8), stamp->sequence);
    put_u64(buffer_extend(buffer, 8), (uint64_t)stamp->stream_time);
    put_u32(buffer_extend(buffer, 4), stamp->record_count);
    put_u32(buffer_extend(buffer, 4), stamp->checksum);
    encode_text(buffer, stamp->application);
    encode_text(buffer, stamp->transactional_id);
    put_u32(buffer_extend(buffer, 4), stamp->offset_count);
    for (uint32_t i = 0; i < stamp->offset_count; i++) {
        encode_text(buffer, stamp->offsets[i].topic);
        put_u32(buffer_extend(buffer, 4), (uint32_t)stamp->offsets[i].partition);
        put_u64(buffer_extend(buffer, 8), (uint64_t)stamp->offsets[i].offset);
    }
}

/* A cursor over encoded bytes; `bad` once something did not fit, and then everything reads as 0. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *read_raw(struct reader *reader, size_t size)
{
    static const uint8_t zeros[16];
    ensure(size <= sizeof zeros || !reader->bad);
    if (reader->left < size) {
        reader->bad = true;
        reader->left = 0;
        return zeros;
    }
    const uint8_t *at = reader->at;
    reader->at += size;
    reader->left -= size;
    return at;
}

static const char *read_text(struct reader *reader, struct arena *arena)
{
    ensure(arena != NULL);
    size_t size = get_u16(read_raw(reader, 2));
    if (reader->bad || reader->left < size) {
        reader->bad = true;
        return "";
    }
    char *text = arena_take(arena, size + 1);
    memcpy(text, read_raw(reader, size), size);
    text[size] = 0;
    reader->bad = memchr(text, 0, size) != NULL; /* none is ever written */
    return text;
}

enum status stamp_decode(struct bytes value, struct arena *arena, struct stamp *stamp,
                         struct error *error)
{
    ensure(arena != NULL && stamp != NULL);
    struct reader reader = {value.data, value.data == NULL ? 0 : value.size, false};
    uint8_t format = *read_raw(&reader, 1);
    if (!reader.bad && format != STAMP_FORMAT) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "a stamp of format %u: this version reads format %d only", format,
                         STAMP_FORMAT);
    }
    *stamp = (struct stamp){0};
    memcpy(stamp->incarnation, read_raw(&reader, 16), 16);
    stamp->sequence = get_u64(read_raw(&reader, 8));
    stamp->stream_time = (int64_t)get_u64(read_raw(&reader, 8));
    stamp->record_count = get_u32(read_raw(&reader, 4));
    stamp->checksum = get_u32(read_raw(&reader, 4));
    stamp->application = read_text(&reader, arena);
    stamp->transactional_id = read_text(&reader, arena);
    stamp->offset_count = get_u32(read_raw(&reader, 4));
    if (reader.bad || stamp->offset_count > reader.left / 14) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "a malformed stamp of %zu bytes",
                         value.size);
    }
    struct stamp_offset *offsets = arena_take(arena, stamp->offset_count * sizeof *offsets);
    for (uint32_t i = 0; i < stamp->offset_count; i++) {
        offsets[i].topic = read_text(&reader, arena);
        offsets[i].partition = (int32_t)get_u32(read_raw(&reader, 4));
        offsets[i].offset = (int64_t)get_u64(read_raw(&reader, 8));
    }
    stamp->offsets = offsets;
    if (reader.bad || reader.left != 0 || stamp->sequence == 0) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "a malformed stamp of %zu bytes",
                         value.size);
    }
    return STATUS_OK;
}

/* ---- Position ---- */

void position_encode(struct buffer *buffer, const struct position *position)
{
    ensure((position->stamp.data == NULL) == (position->stamp.size == 0));
    ensure(position->next >= 0);
    *buffer_extend(buffer, 1) = POSITION_FORMAT;
    put_u64(buffer_extend(buffer, 8), (uint64_t)position->next);
    put_u64(buffer_extend(buffer, 8), (uint64_t)position->head_ms);
    buffer_append(buffer, position->stamp.data, position->stamp.size);
}

enum status position_decode(struct bytes value, struct position *position, struct error *error)
{
    ensure(value.data != NULL && position != NULL);
    struct reader reader = {value.data, value.size, false};
    uint8_t format = *read_raw(&reader, 1);
    position->next = (int64_t)get_u64(read_raw(&reader, 8));
    position->head_ms = (int64_t)get_u64(read_raw(&reader, 8));
    position->stamp = (struct bytes){reader.left == 0 ? NULL : reader.at, reader.left};
    if (reader.bad || format != POSITION_FORMAT || position->next < 0) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "the store's position is malformed or of an unknown format (%u)", format);
    }
    return STATUS_OK;
}
