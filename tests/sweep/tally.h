/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tally: the operator that runs in the sweep, and its input.
 *
 * Per key it keeps a chain (count and checksum of all records of the key since the last removal, so
 * that one lost, doubled or swapped record shows in every later output), a row a record in a second
 * store, and a durable timer a record. Port 0 tells of every record, port 1 of every timer. A
 * record that ends with 'x' removes what the key has.
 */
#ifndef LEAT_SWEEP_TALLY_H
#define LEAT_SWEEP_TALLY_H

#include "leat/operator.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TALLY_TEXT = 64, TALLY_PARTITIONS = 2, TALLY_RECORDS = 7 /* a partition */ };

/** What the application is made of. */
enum shape {
    SHAPE_TALLY,   /* source, operator, two sinks */
    SHAPE_REGROUP, /* source, repartition, operator without timers, sink: two sub-topologies */
    SHAPE_COPY     /* source, sink: no state */
};

/** With `timed`, the operator sets timers, from then on. */
const leat_operator *tally_operator(bool timed);
/** Called after each record, by the thread that ran it; NULL: nobody. */
extern void (*tally_processed)(void);

/** The input, which is the same in every script. */
struct tally_input {
    char key[8], value[16];
    int64_t timestamp_ms;
};
struct tally_input tally_input(int partition, int index);

/** `text` with one more record in it; an empty text begins a chain. */
void tally_add(char text[TALLY_TEXT], const void *value, size_t size);
/** How many records are in a chain. */
int tally_count(const char *text);
/** When the timer of a record is due. */
int64_t tally_due_ms(int64_t timestamp_ms);

#endif
