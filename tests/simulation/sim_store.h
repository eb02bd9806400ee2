/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated store: an in-memory store behind store.h. What is committed survives a crash of the
 * instance, what is not committed does not; nothing reaches a disk but a small file `data.mdb` in
 * the directory that names the content, so that moving it aside moves the content aside.
 *
 * The content of all directories hangs from one static list: store_open has no context. One thread.
 */
#ifndef LEAT_SIMULATION_SIM_STORE_H
#define LEAT_SIMULATION_SIM_STORE_H

#include "sim.h"
#include "state/store.h"

/** Every call is a point of `sim` from now on; NULL = none. `map_size`: the map that new stores
 * begin with (0 = no limit), in bytes of keys and values. */
void sim_store_attach(struct sim *sim, size_t map_size);
/** The same signature as store_lmdb_open. */
enum status sim_store_open(const char *directory, const struct store_options *options,
                           struct store **store, struct error *error);
/** The process that had stores open below `prefix` died: they are dropped, what was not committed
 * is gone. */
void sim_store_crash(const char *prefix);
/** Every entry of a table ("" = the metadata) as committed; false = there is no such store. */
bool sim_store_read(const char *directory, const char *table,
                    void (*visit)(void *context, struct bytes key, struct bytes value),
                    void *context);
/** Directory of the content number `index`; NULL beyond the last. */
const char *sim_store_directory(size_t index);
/** Frees everything; no store may be open. */
void sim_store_reset(void);

#endif
