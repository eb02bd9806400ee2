/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program: a topology whose operators are loaded and whose parameters are checked: config, graph
 * and plugins as one read-only whole (struct program stands in worker.h). Runs nothing.
 */
#ifndef LEAT_ENGINE_PROGRAM_H
#define LEAT_ENGINE_PROGRAM_H

#include "engine/worker.h"

/** Loads every operator of `config` (each file once), checks the parameters, builds the graph.
 * `config` must outlive the program. STATUS_BAD_CONFIG with place and remedy. */
enum status program_load(const struct config *config, struct program **program,
                         struct error *error);
/** The same with `descriptor` as the operator of every node, whatever its "use" says: for the
 * testing driver. */
enum status program_adopt(const struct config *config, const leat_operator *descriptor,
                          struct program **program, struct error *error);
/** Calls init and close of every node, on empty stores: what the operators themselves refuse of
 * their parameters (a bad pattern) is found here. STATUS_BAD_CONFIG. Nothing else of a task exists.
 */
enum status program_check(const struct program *program, struct error *error);
/** Unloads the operators: no instance of them may be open. Takes NULL. */
void program_destroy(struct program *program);

#endif
