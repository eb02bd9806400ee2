/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: a thread around one single-threaded deterministic machine: one consumer, one
 * transactional producer, and the tasks whose partitions the group gave it.
 *
 * Everything it learns from outside comes through broker.h, store.h, the clock and the random
 * source, and only calls of these may wait. It shares nothing mutable with other workers but `stop`
 * and the counters it publishes. worker_run is the only entry: a simulator may give each instance
 * its own stack and switch inside those calls.
 */
#ifndef LEAT_ENGINE_WORKER_H
#define LEAT_ENGINE_WORKER_H

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "broker/broker.h"
#include "plugin/plugin.h"
#include "state/store.h"
#include "topology/graph.h"

#include <stdatomic.h>

/** What a topology is once its operators are loaded: config, graph, plugins and parameters.
 * Read-only and shared by all workers. */
struct program {
    const struct config *config;
    struct graph *graph;
    struct plugin **plugins; /* by index of config->operators; the same file is loaded once */
    struct parameters **parameters; /* the same */
};

/** How many partitions a topic had when the run began, and which topics are internal. */
struct topic_facts {
    const char *topic;
    int32_t partition_count;
    int64_t retention_delete_ms; /* of changelogs: delete.retention.ms */
    bool committed;      /* sources with a `start`: the group had committed some of it before */
    const int64_t *ends; /* until_end, sources: where each partition ended at start; else NULL */
};

enum continue_from { CONTINUE_NOTHING, CONTINUE_STATE, CONTINUE_OFFSETS, CONTINUE_EMPTY };

/** What a worker is given; all of it outlives the worker. */
struct worker_options {
    const struct program *program;
    struct broker *broker;
    struct clock *clock;
    uint64_t seed;
    uint32_t index; /* of this worker in its process */
    bool until_end;
    enum continue_from continue_from;
    atomic_int *stop; /* 0 = run, 1 = finish, 2 = now */
    const struct topic_facts *topics;
    size_t topic_count;
    int64_t restore_batch; /* records of a changelog that a store commits at a time; 0 = 20,000 */
    enum status (*store_open)(const char *directory, const struct store_options *options,
                              struct store **store, struct error *error);
};

/** Counters since the start; written by the worker, read by any thread. */
struct worker_counters {
    atomic_llong records_in, records_out, commits, aborts, restores, restored_records, skipped,
        recoveries;
};

struct worker;

void worker_create(const struct worker_options *options, struct worker **worker);
void worker_destroy(struct worker *worker);
/** Runs until stop, until the end (until_end) or a failure. STATUS_OK: done. STATUS_FATAL with
 *  ERROR_FENCED after the sixth fencing within a minute without a commit; any other failure stops
 *  the whole run with its text. */
enum status worker_run(struct worker *worker, struct error *error);
const struct worker_counters *worker_counters(const struct worker *worker);
struct metrics;
struct metrics *worker_metrics(struct worker *worker);

#endif
