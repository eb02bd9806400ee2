/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LMDB store against a sorted array: puts, removes and gets of short and long keys, scans of
 * both directions, with prefixes and bounds, that stay open across writes, commits, aborts,
 * metadata, growing, clearing and reopening. What is done next is the source's choice: a random
 * number for the test, the bytes of an input for the fuzz target. A difference ends the process
 * after a line.
 */
#ifndef LEAT_TESTS_STORE_STEPS_H
#define LEAT_TESTS_STORE_STEPS_H

#include <stdbool.h>
#include <stdint.h>

/** Gives a number, best below `bound`; false: no more, and the run ends. */
typedef bool store_steps_source(void *opaque, uint64_t bound, uint64_t *number);

/** In a folder of its own; at most `steps`. */
void store_steps_run(store_steps_source *source, void *opaque, uint64_t steps, bool durable);

#endif
