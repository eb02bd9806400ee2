/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History writer: what a seed looked like from outside, for check-history (docs/history.md): what
 * was fed, what every transaction wrote and how it ended, what a reader saw while faults struck,
 * and what one sees at the end. It draws nothing from the seed and touches nothing, so that the
 * trace stays the same.
 */
#ifndef LEAT_SIMULATION_HISTORY_WRITER_H
#define LEAT_SIMULATION_HISTORY_WRITER_H

struct scenario;
struct history_writer;

/** Follows a scenario that is set up and has not run. NULL without a path. A file that cannot be
 * written ends the program. */
struct history_writer *history_writer_open(struct scenario *scenario, const char *path);
/** When all is processed and settled: writes the rest. Takes NULL. */
void history_writer_close(struct history_writer *writer);

#endif
