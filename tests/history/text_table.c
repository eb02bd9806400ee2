/* SPDX-License-Identifier: Apache-2.0 */
#include "text_table.h"

#include "base/hash.h"
#include "base/status.h"

#include <stdlib.h>

void text_table_init(struct text_table *table)
{
    *table = (struct text_table){.count = TEXT_FIRST, .capacity = 1024, .slot_count = 4096};
    arena_init(&table->arena, 0);
    table->items = memory_allocate(table->capacity * sizeof *table->items);
    table->slots = memory_allocate(table->slot_count * sizeof *table->slots);
}

void text_table_finish(struct text_table *table)
{
    arena_finish(&table->arena);
    free(table->items);
    free(table->slots);
}

/* Where the text is, or the free slot where it belongs. */
static size_t text_slot(const struct text_table *table, struct bytes text)
{
    size_t at = hash_table(text.data, text.size) & (table->slot_count - 1);
    while (table->slots[at] != 0 && !bytes_equal(table->items[table->slots[at]], text)) {
        at = (at + 1) & (table->slot_count - 1);
    }
    return at;
}

static void grow_texts(struct text_table *table)
{
    if (table->count == table->capacity) {
        table->capacity *= 2;
        table->items = memory_resize(table->items, table->capacity * sizeof *table->items);
    }
    if (table->count * 2 < table->slot_count) {
        return;
    }
    free(table->slots);
    table->slot_count *= 2;
    table->slots = memory_allocate(table->slot_count * sizeof *table->slots);
    for (size_t i = TEXT_FIRST; i < table->count; i++) {
        table->slots[text_slot(table, table->items[i])] = (uint32_t)i;
    }
}

uint32_t text_put(struct text_table *table, struct bytes text)
{
    if (text.data == NULL) {
        return TEXT_NULL;
    }
    size_t at = text_slot(table, text);
    if (table->slots[at] != 0) {
        return table->slots[at];
    }
    ensure(table->count < UINT32_MAX);
    grow_texts(table);
    at = text_slot(table, text);
    table->slots[at] = (uint32_t)table->count;
    table->items[table->count] =
        (struct bytes){arena_copy(&table->arena, text.data, text.size), text.size};
    return (uint32_t)table->count++;
}

uint32_t text_find(const struct text_table *table, struct bytes text)
{
    return table->slots[text_slot(table, text)];
}

struct bytes text_get(const struct text_table *table, uint32_t number)
{
    ensure(number < table->count);
    return table->items[number];
}

/* ---- Pair map ---- */

static struct pair_slot *pair_slot(const struct pair_map *map, uint64_t pair)
{
    size_t at = (size_t)((pair * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (map->slot_count - 1);
    while (map->slots[at].pair != 0 && map->slots[at].pair != pair) {
        at = (at + 1) & (map->slot_count - 1);
    }
    return &map->slots[at];
}

static uint64_t pair_of(uint32_t first, uint32_t second)
{
    return ((uint64_t)first << 32 | second) + 1;
}

static void grow_pairs(struct pair_map *map)
{
    struct pair_map old = *map;
    map->slot_count = old.slot_count == 0 ? 64 : old.slot_count * 2;
    map->slots = memory_allocate(map->slot_count * sizeof *map->slots);
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i].pair != 0) {
            *pair_slot(map, old.slots[i].pair) = old.slots[i];
        }
    }
    free(old.slots);
}

size_t *pair_map_at(struct pair_map *map, uint32_t first, uint32_t second, size_t initial)
{
    if (map->count * 2 >= map->slot_count) {
        grow_pairs(map);
    }
    struct pair_slot *slot = pair_slot(map, pair_of(first, second));
    if (slot->pair == 0) {
        *slot = (struct pair_slot){pair_of(first, second), initial};
        map->count++;
    }
    return &slot->value;
}

const size_t *pair_map_find(const struct pair_map *map, uint32_t first, uint32_t second)
{
    if (map->slot_count == 0) {
        return NULL;
    }
    const struct pair_slot *slot = pair_slot(map, pair_of(first, second));
    return slot->pair == 0 ? NULL : &slot->value;
}

void pair_map_finish(struct pair_map *map)
{
    free(map->slots);
    *map = (struct pair_map){0};
}
