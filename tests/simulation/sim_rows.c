/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_rows.h"

#include <stdlib.h>
#include <string.h>

struct bytes sim_bytes_copy(struct bytes source)
{
    struct bytes copy = {NULL, source.size};
    if (source.data != NULL) {
        copy.data = memory_copy(source.data, source.size == 0 ? 1 : source.size);
    }
    return copy;
}

void sim_bytes_free(struct bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

size_t sim_table_at(const struct sim_rows *table, struct bytes key)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(table->entries[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool sim_table_has(const struct sim_rows *table, size_t at, struct bytes key)
{
    return at < table->count && bytes_compare(table->entries[at].key, key) == 0;
}

struct sim_entry sim_entry_make(struct bytes key, struct bytes value)
{
    uint8_t *memory = memory_allocate(key.size + value.size + 1);
    memcpy(memory, key.data, key.size);
    if (value.size > 0) {
        memcpy(memory + key.size, value.data, value.size);
    }
    return (struct sim_entry){{memory, key.size}, {memory + key.size, value.size}};
}

void sim_table_insert(struct sim_rows *table, size_t at, struct sim_entry entry)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 16 : table->capacity * 2;
        table->entries = memory_resize(table->entries, table->capacity * sizeof *table->entries);
    }
    memmove(&table->entries[at + 1], &table->entries[at],
            (table->count - at) * sizeof *table->entries);
    table->entries[at] = entry;
    table->count++;
}

void sim_table_take(struct sim_rows *table, size_t at)
{
    memmove(&table->entries[at], &table->entries[at + 1],
            (table->count - at - 1) * sizeof *table->entries);
    table->count--;
}

void sim_rows_free(struct sim_rows *table)
{
    for (size_t i = 0; i < table->count; i++) {
        sim_bytes_free(table->entries[i].key);
    }
    free(table->entries);
    table->entries = NULL;
    table->count = table->capacity = 0;
}

enum status sim_table_get(const struct sim_rows *table, struct bytes key, struct bytes *value)
{
    size_t at = sim_table_at(table, key);
    if (!sim_table_has(table, at, key)) {
        return STATUS_NOT_FOUND;
    }
    *value = table->entries[at].value;
    return STATUS_OK;
}

struct bytes sim_bytes_after(struct bytes prefix)
{
    uint8_t *end = memory_copy(prefix.data, prefix.size == 0 ? 1 : prefix.size);
    size_t size = prefix.size;
    while (size > 0 && end[size - 1] == 0xff) {
        size--;
    }
    if (size == 0) {
        free(end);
        return (struct bytes){NULL, 0};
    }
    end[size - 1]++;
    return (struct bytes){end, size};
}
