/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk under simulated stores: what each directory's store holds, committed or not, and what
 * crashes, power losses and a bad disk make of it. For sim_store.c; others use sim_store.h.
 */
#ifndef LEAT_SIMULATION_SIM_DISK_H
#define LEAT_SIMULATION_SIM_DISK_H

#include "sim_rows.h"
#include "sim_store.h"

/** How to undo one change; `old` as it was, NULL key = was absent. */
struct sim_undo {
    size_t table;
    struct sim_entry old;
    struct bytes key; /* owned when `old` is absent */
};

struct sim_undos {
    struct sim_undo *items;
    size_t count, capacity;
};

struct sim_content {
    char *directory;
    uint64_t number;         /* as its file says */
    struct sim_rows *tables; /* [0] is the metadata */
    size_t table_count;
    size_t size, map_size;
    bool durable, begun;          /* begun: something was committed */
    bool synced;                  /* nothing was committed since it was synced or closed */
    bool damaged;                 /* it does not open */
    bool distrusted;              /* a `fast` one after a power loss: whoever opens it is wrong */
    struct sim_undos open;        /* of the transaction under way */
    struct sim_undos last;        /* of the last one that was committed */
    struct store *store;          /* that has it open for writing; NULL = none */
    void (*drop)(struct store *); /* frees it when its process dies */
};

/** A point in a store's call; a disk that is slow waits there. */
void sim_disk_point(const char *call);
/** The content of a directory; made anew when its file does not name it (any more). NULL: there is
 * none and `make` is false, or `error` says why. */
enum status sim_disk_open(const char *directory, bool make, struct sim_content **content,
                          struct error *error);
size_t sim_disk_add_table(struct sim_content *content, const char *name);
/** Puts or (value NULL) removes. STATUS_RETRY/ERROR_MAP_FULL. */
enum status sim_disk_change(struct sim_content *content, size_t table, struct bytes key,
                            const struct bytes *value, struct error *error);
/** ERROR_DISK_FULL: rolled back. */
enum status sim_disk_commit(struct sim_content *content, struct error *error);
void sim_disk_roll_back(struct sim_content *content);
/** Now and then a call fails as on a bad disk: the content is altered and will not open again.
 * STATUS_FATAL/ERROR_CORRUPT; also when it did so before. */
enum status sim_disk_read(struct sim_content *content, struct error *error);

#endif
