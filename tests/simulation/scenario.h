/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenario: what one seed decides: a topology, its input, how many instances run it with the real
 * engine, and everything that goes wrong. It is run in two phases: faults while the input comes in,
 * then everything heals and the rest must be processed; then the oracle judges.
 */
#ifndef LEAT_SIMULATION_SCENARIO_H
#define LEAT_SIMULATION_SCENARIO_H

#include "engine/worker.h"
#include "world.h"

enum topology { TOPOLOGY_COPY, TOPOLOGY_COUNT, TOPOLOGY_REGROUP, TOPOLOGY_KINDS };

enum { SCENARIO_APPLICATION_SIZE = 16, SCENARIO_TEXT_SIZE = 1024 };

/** One simulated process: what outlives its crashes. */
struct process {
    struct config *config;
    struct program program;
    atomic_int stop;
    bool finished;
    int64_t fencings; /* exits 3 */
};

struct scenario {
    uint64_t seed;
    struct random random; /* for the set-up only; the rest comes from sim */
    enum topology topology;
    int32_t partitions, regrouped; /* of "in" and "out"; of the repartition */
    int32_t keys, records, fed;
    bool static_membership;
    const char *directory;
    struct world *world;
    struct process processes[WORLD_INSTANCE_LIMIT];
    struct plugin *chain;
    struct topic_facts facts[4];
    size_t fact_count;
    char failure[SCENARIO_TEXT_SIZE]; /* "" = none */
};

/** What is told about a seed. */
struct verdict {
    uint64_t seed, hash;
    int64_t virtual_ms, heal_ms;
    int64_t crashes, pauses, restarts, fencings;
    struct sim_statistics statistics;
    char setup[256];
    char failure[SCENARIO_TEXT_SIZE];
};

/** Runs the seed to its end. `directory` is an empty folder of its own, on a fast file system. */
void scenario_run(uint64_t seed, const char *directory, bool verbose, struct verdict *verdict);

/* ---- oracle.c ---- */

/** Compares everything that is committed with a sequential recomputation; fills scenario->failure.
 */
void oracle_judge(struct scenario *scenario);

/* ---- chain.c ---- */

/** The operator "chain": per key the count of records and a checksum over all of them in order, so
 * that one lost, doubled or swapped record shows in every later output. */
const leat_operator *chain_operator(void);
/** The next text of a key's chain; `text` holds the previous ("" = none). */
void chain_next(char text[32], const void *value, size_t size);

#endif
