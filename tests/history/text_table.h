/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text table: every key, value and name of a history once, as a number, so that equal texts are
 * equal numbers. Pair map: two numbers to one. Both only grow; no memory = abort.
 */
#ifndef LEAT_HISTORY_TEXT_TABLE_H
#define LEAT_HISTORY_TEXT_TABLE_H

#include "base/arena.h"
#include "base/bytes.h"

enum { TEXT_NONE, TEXT_NULL, TEXT_FIRST }; /* absent; null; the first real one */

struct text_table {
    struct arena arena;
    struct bytes *items; /* by number */
    size_t count, capacity;
    uint32_t *slots; /* open addressing; 0 = free */
    size_t slot_count;
};

void text_table_init(struct text_table *table);
void text_table_finish(struct text_table *table);
/** The number of a text; TEXT_NULL for the null view. */
uint32_t text_put(struct text_table *table, struct bytes text);
/** The same without adding it: TEXT_NONE if it is not there. */
uint32_t text_find(const struct text_table *table, struct bytes text);
/** Valid as long as the table; null for TEXT_NULL and TEXT_NONE. */
struct bytes text_get(const struct text_table *table, uint32_t number);

struct pair_slot {
    uint64_t pair; /* + 1; 0 = free */
    size_t value;
};

struct pair_map {
    struct pair_slot *slots;
    size_t slot_count, count;
};

/** Where the value of a pair is; a new pair has `initial`. Valid until the next call. */
size_t *pair_map_at(struct pair_map *map, uint32_t first, uint32_t second, size_t initial);
/** NULL if the pair is not there. */
const size_t *pair_map_find(const struct pair_map *map, uint32_t first, uint32_t second);
void pair_map_finish(struct pair_map *map);

#endif
