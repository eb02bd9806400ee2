/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real store in the simulated world: store_lmdb on a memory file system, whose calls are points
 * where sim_store's are. A crash closes an environment without its open transaction. No disk
 * faults: what the kernel kept is there.
 */
#ifndef LEAT_SIMULATION_SIM_LMDB_H
#define LEAT_SIMULATION_SIM_LMDB_H

#include "state/store.h"

/** The same signature as store_lmdb_open. */
enum status sim_lmdb_open(const char *directory, const struct store_options *options,
                          struct store **store, struct error *error);
/** As sim_store_crash. */
void sim_lmdb_crash(const char *part);
/** As sim_store_directory and sim_store_read; nobody may have the store open. */
const char *sim_lmdb_directory(size_t index);
bool sim_lmdb_read(const char *directory, const char *table,
                   void (*visit)(void *context, struct bytes key, struct bytes value),
                   void *context);
/** Frees everything; no store may be open. */
void sim_lmdb_reset(void);

#endif
