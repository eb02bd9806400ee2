/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tasks whose state lies under a state directory, open for reading: of several copies of a
 * task, left by several instances, the one with the largest sequence. Invariant: committed state
 * only; nothing is written, made or locked.
 */
#ifndef LEAT_CLI_STATE_TASKS_H
#define LEAT_CLI_STATE_TASKS_H

#include "state/store.h"
#include "topology/config.h"

struct state_task {
    char *name;       /* <sub-topology>-<partition> */
    size_t part_size; /* of the sub-topology's name in it */
    int32_t partition;
    char *directory;
    uint64_t sequence;
    struct store *store;
};

struct state_tasks {
    struct state_task *items; /* by sub-topology, then partition */
    size_t count;
    size_t unreadable; /* copies that could not be read; each was logged */
};

/** Opens all tasks of the application, or those of one partition (`partition` >= 0). STATUS_FATAL
 * when there is none: no state yet. */
enum status state_tasks_open(const struct config *config, int32_t partition,
                             struct state_tasks *tasks, struct error *error);
void state_tasks_close(struct state_tasks *tasks);

#endif
