/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: named counters of operators (leat_count), kept a worker, read by the statistics line.
 * One writer thread, any reader. A name that is not there yet is added; beyond METRICS_LIMIT names
 * a worker counts under "other".
 */
#ifndef LEAT_ENGINE_METRICS_H
#define LEAT_ENGINE_METRICS_H

#include "base/bytes.h"

#include <stdatomic.h>

enum { METRICS_LIMIT = 256, METRICS_NAME_SIZE = 160 };

struct metric {
    char name[METRICS_NAME_SIZE]; /* "node.counter" */
    atomic_llong value;
};

struct metrics {
    struct metric *items; /* METRICS_LIMIT + 1 of them; the last is "other" */
    atomic_size_t count;
};

void metrics_init(struct metrics *metrics);
void metrics_finish(struct metrics *metrics);
/** The writer's thread only. */
void metrics_add(struct metrics *metrics, const char *node, const char *name, int64_t delta);
/** Appends " node.counter=value" for every counter, the values of all `metrics` summed. Any thread.
 */
void metrics_print(struct metrics *const *metrics, size_t count, struct buffer *buffer);

#endif
