/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts: what a run must have led to, and what it did lead to, as lines of text of one form, so
 * that both can be sorted and compared.
 *
 * expected.c makes them from the input alone and shares no code with the engine; found.c reads
 * topics, committed offsets, changelog and stores.
 */
#ifndef LEAT_SWEEP_FACTS_H
#define LEAT_SWEEP_FACTS_H

#include "tally.h"

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

struct facts {
    char **lines;
    size_t count;
};

void facts_add(struct facts *facts, const char *format, ...) __attribute__((format(printf, 2, 3)));
void facts_finish(struct facts *facts);
/** Whether both are the same; else `text` names the first lines that differ. Sorts both. */
bool facts_equal(struct facts *expected, struct facts *found, char *text, size_t size);
/** Forgets the lines that begin with `prefix`. */
void facts_drop(struct facts *facts, const char *prefix);
/** Bytes that are not printable as \xx, in `text` of at least 4 * size + 1. */
const char *facts_printable(struct bytes bytes, char *text, size_t text_size);

/** What the whole input must lead to. */
void facts_expect(struct facts *facts, enum shape shape);
/** What it has led to below `folder`: of topics and offsets in the broker, and of the stores of
 * instance "a". */
void facts_find(struct facts *facts, const char *folder, enum shape shape);

#endif
