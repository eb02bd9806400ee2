/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of one table of a simulated store: a sorted array of keys with their values. */
#ifndef LEAT_SIMULATION_SIM_ROWS_H
#define LEAT_SIMULATION_SIM_ROWS_H

#include "base/bytes.h"
#include "base/status.h"

struct sim_entry {
    struct bytes key, value; /* one allocation, at key.data */
};

struct sim_rows {
    char *name;
    struct sim_entry *entries; /* by key */
    size_t count, capacity;
};

/** Owned copy; null stays null. */
struct bytes sim_bytes_copy(struct bytes source);
void sim_bytes_free(struct bytes bytes);
/** The smallest key above everything with that prefix, owned; null = there is none. */
struct bytes sim_bytes_after(struct bytes prefix);
/** Index of the first key that is not below `key`. */
size_t sim_table_at(const struct sim_rows *table, struct bytes key);
bool sim_table_has(const struct sim_rows *table, size_t at, struct bytes key);
enum status sim_table_get(const struct sim_rows *table, struct bytes key, struct bytes *value);
struct sim_entry sim_entry_make(struct bytes key, struct bytes value);
void sim_table_insert(struct sim_rows *table, size_t at, struct sim_entry entry);
/** Frees the entries. */
void sim_rows_free(struct sim_rows *table);
/** Takes the entry out; its memory is the caller's. */
void sim_table_take(struct sim_rows *table, size_t at);

#endif
