/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Examine: decides the anomalies of a history. Three parts, each of its own:
 *
 *   examine_log    offsets, transactions, readers, ends: what holds whatever the application does
 *   inputs         what the input of a stage was, as far as the history can tell
 *   content_*      what the output must be, recomputed from the input, record by record; the
 *                  expected set is walked as well as the one received, so that a lost tail shows
 */
#ifndef LEAT_HISTORY_EXAMINE_H
#define LEAT_HISTORY_EXAMINE_H

#include "slots.h"

/** Judges it all; `findings` is empty before. STATUS_BAD_CONFIG: it says too little, or what
 * contradicts itself, so that nothing can be decided. */
enum status examine(const struct history *history, struct findings *findings, struct error *error);

/* ---- examine_log.c ---- */

enum status examine_log(struct slots *slots, struct findings *findings, struct error *error);

/* ---- inputs.c ---- */

struct input {
    enum outcome outcome; /* OK: it is there; UNKNOWN: it may be; FAILED: it is not */
    bool decided;         /* false: the group has not committed it */
    bool ignored;         /* by design it has no output */
    uint32_t key, value;
    uint32_t lane;  /* number of the sequence it belongs to: a partition, or a key */
    uint32_t entry; /* that tells of it */
    int64_t rank;   /* in its lane; -1: not known */
};

struct inputs {
    struct input *items; /* those of a lane with a rank in order */
    size_t count;
    size_t lane_count;
};

/** Finds also what is wrong with the inputs themselves, and with the committed offsets. */
enum status inputs_init(struct inputs *inputs, const struct stage *stage, struct slots *slots,
                        struct findings *findings, struct error *error);
void inputs_finish(struct inputs *inputs);
/** "k = v (FILE:LINE)" */
struct label label_input(const struct history *history, const struct input *input);

#endif
