/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated store: an in-memory store behind store.h (sim_store.c) on a simulated disk
 * (sim_disk.c). What is committed survives a crash of the instance, what is not committed does not;
 * nothing reaches a real disk but a small file `data.mdb` in the directory that names the content,
 * so that moving it aside moves the content aside.
 *
 * The content of all directories hangs from one static list: store_open has no context. One thread.
 */
#ifndef LEAT_SIMULATION_SIM_STORE_H
#define LEAT_SIMULATION_SIM_STORE_H

#include "sim.h"
#include "state/store.h"

/** What a disk does; all zero = it is a good one. Rates are per 10,000 calls. */
struct sim_disk_faults {
    size_t map_size;   /* the map that new stores begin with, in bytes of keys and values; 0 = no
                          limit */
    uint32_t map_full; /* commits that find the map full */
    uint32_t slow;     /* calls that take 50 ms to 3 s */
    uint32_t damaged;  /* calls that fail, and the store is not what it was and opens no more */
    uint32_t full;     /* commits after which the disk is full for 0.2 to 8 s */
    bool torn;         /* a store whose process dies before its first commit may not open */
};

struct sim_disk_statistics {
    int64_t map_full, map_full_at_commit, slow, damaged, full, torn, undone;
};

/** Every call is a point of `sim` from now on; NULL = none. */
void sim_store_attach(struct sim *sim, const struct sim_disk_faults *faults);
/** The disk is good from now on. What is damaged stays so. */
void sim_store_heal(void);
const struct sim_disk_statistics *sim_store_statistics(void);
/** The same signature as store_lmdb_open. */
enum status sim_store_open(const char *directory, const struct store_options *options,
                           struct store **store, struct error *error);
/** The process died that had the stores open whose directory contains `part`: they are dropped,
 * what was not committed is gone. */
void sim_store_crash(const char *part);
/** After a crash: the machine lost its power. A `durable` store may lose its last commit, a `fast`
 * one anything; the boot markers name another boot. */
void sim_store_power_loss(const char *part);
/** Every entry of a table ("" = the metadata) as committed; false = there is no such store, or none
 * that anybody will trust. */
bool sim_store_read(const char *directory, const char *table,
                    void (*visit)(void *context, struct bytes key, struct bytes value),
                    void *context);
/** Directory of the content number `index`; NULL beyond the last. */
const char *sim_store_directory(size_t index);
/** Frees everything; no store may be open. */
void sim_store_reset(void);

#endif
