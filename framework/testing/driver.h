/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver: what stands behind leat/testing.h. driver.c makes and unmakes it, driver_run.c hands in
 * records and moves the clock, driver_look.c answers what came of it.
 *
 * Invariants
 *  - Between two calls nothing is open: every unit was committed or undone.
 *  - `outputs` is in the order of making; those before `delivered` have been handed on when they
 * went to a repartition.
 *  - A driver that is not `open` has `error` set and runs nothing.
 */
#ifndef LEAT_TESTING_DRIVER_H
#define LEAT_TESTING_DRIVER_H

#include "engine/program.h"
#include "engine/task.h"
#include "leat/testing.h"

struct driver_output {
    uint32_t node; /* sink or repartition in the graph */
    bool read;
    leat_record record; /* in the driver's arena */
};

struct leat_driver {
    struct config *config;
    struct program *program;
    struct task **tasks; /* by sub-topology; NULL = not made */
    int32_t *node_partitions;
    struct random random;
    struct metrics metrics;
    struct arena arena;
    char *directory; /* NULL = not made */
    bool open;
    int64_t wall_ms;
    struct driver_output *outputs;
    size_t output_count, delivered;
    struct error error;
};

/** Opens stores and instances of all tasks; and closes them. */
enum status driver_open(leat_driver *driver);
void driver_close(leat_driver *driver);
/** A wrong name in a test: one line to stderr, then the end. Removes the stores of `driver` (may be
 * NULL). */
_Noreturn void driver_misused(const leat_driver *driver, const char *what, const char *name);
/** Removes the folder with the stores. */
void driver_remove_directory(const leat_driver *driver);
/** The topic that a sink or repartition is written to. */
const char *driver_topic(const leat_driver *driver, uint32_t node);

#endif
