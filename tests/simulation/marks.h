/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks: how often a run reached the rare paths, told from the engine's log lines alone. A path
 * that no seed reaches is one that the simulator says nothing about.
 */
#ifndef LEAT_SIMULATION_MARKS_H
#define LEAT_SIMULATION_MARKS_H

#include <stddef.h>
#include <stdint.h>

enum { MARK_COUNT = 35 };

struct marks {
    int64_t counts[MARK_COUNT];
};

/** Counts what one log line says. */
void marks_note(struct marks *marks, const char *line);
/** Adds the counts of a seed, and to `seeds` one for each mark it reached. */
void marks_add(struct marks *marks, struct marks *seeds, const struct marks *more);
const char *mark_name(size_t index);
/** The count of the mark with that name. */
int64_t marks_count(const struct marks *marks, const char *name);

#endif
