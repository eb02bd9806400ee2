/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutation: one wrong thing done to a clean history, and the classes of anomaly of which at least
 * one must then be found. The harmless ones must stay clean.
 */
#ifndef LEAT_HISTORY_MUTATION_H
#define LEAT_HISTORY_MUTATION_H

#include "findings.h"
#include "history_maker.h"

#include <jansson.h>

/** A history as JSON objects, to be changed. */
struct scene {
    const struct maker_options *options;
    struct random *random;
    json_t *lines; /* array */
};

enum { MUTATION_REFUSED = 1 << 30 }; /* it may as well be no history any more */

struct mutation {
    const char *name;
    int classes; /* bits of enum anomaly; 0: it is harmless */
    /** False: this history has no place for it; it is as it was. */
    bool (*apply)(struct scene *scene);
};

extern const struct mutation mutations[];
extern const size_t mutation_count;

#endif
