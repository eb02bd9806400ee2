/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Task store: a task's directory and store, opened, moved aside and closed by the same steps as the
 * engine's opening.c and task.c take them (R1 and R2 of the protocol), without an engine.
 */
#ifndef LEAT_TESTS_TASK_STORE_H
#define LEAT_TESTS_TASK_STORE_H

#include "state/directory.h"
#include "state/store.h"

enum { TASK_STORE_TABLES = 3 };

struct task_store {
    struct directory *directory;
    struct store *store;
    struct store_table *tables[TASK_STORE_TABLES];
    bool fast;
    bool aside;     /* something was moved aside by the opening */
    char text[240]; /* why */
};

/** What the opening is to do. */
struct task_store_options {
    bool fast;
    bool suspect;    /* moves aside what is there, as after an EIO */
    bool trust_boot; /* leaves the boot marker unread: for a test that must fail */
};

/** On an error nothing is open. */
enum status task_store_open(const char *path, const struct task_store_options *options,
                            struct task_store *opened, struct error *error);
/** In order: syncs, clears the boot marker, closes, unlocks. */
enum status task_store_close(struct task_store *opened, struct error *error);
/** Closes without syncing anything by itself. */
void task_store_drop(struct task_store *opened);

#endif
