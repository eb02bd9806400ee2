/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripts: what is swept. Each prepares a folder once and then lives through one part of an
 * application's life, always the same way.
 */
#ifndef LEAT_SWEEP_SCRIPTS_H
#define LEAT_SWEEP_SCRIPTS_H

#include "point.h"
#include "tally.h"

#include <stddef.h>

struct script {
    const char *name, *summary;
    enum shape shape;
    bool fast; /* state.durability */
    int flush_ms;
    bool pauses;   /* swept with DEATH_PAUSE alone */
    bool complete; /* it ends when all input is processed, else before */
    struct standing_fault standing[2];
    int standing_count;
    /** Fills `folder`; once, in a process of its own. */
    void (*prepare)(const struct script *script, const char *folder);
    /** The part that is swept. */
    enum status (*run)(const struct script *script, const char *folder, struct error *error);
};

extern const struct script scripts[];
extern const size_t script_count;

/** A restart of instance "a" without faults, until the end of the input. */
enum status script_restart(const struct script *script, const char *folder, struct error *error);

#endif
