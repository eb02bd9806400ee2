/* SPDX-License-Identifier: Apache-2.0 */
/*
 * World: a simulated cluster and the instances that work against it: they start, crash at any
 * point, are paused, start again. What an instance does is its body, a function; it may have
 * several fibers, as a process has threads, which live, pause and die together.
 *
 * Invariants: an instance has at most one life at a time; a crash takes its broker handle, its
 * stores and its file descriptors below the world's directory, nothing else; after world_heal
 * nothing new goes wrong.
 */
#ifndef LEAT_SIMULATION_WORLD_H
#define LEAT_SIMULATION_WORLD_H

#include "sim_broker.h"

enum { WORLD_INSTANCE_LIMIT = 4, WORLD_FIBER_LIMIT = 4 };

struct world;

struct instance {
    struct world *world;
    uint32_t index;
    char name[8];          /* "a", "b", ... */
    struct broker *broker; /* set by the body; a crash drops it */
    struct sim_clock clock;
    struct sim_fiber *fibers[WORLD_FIBER_LIMIT]; /* the body's, then those it spawned */
    uint32_t fiber_count;                        /* 0 = it does not live */
    uint32_t starts;
    bool stopped; /* the body returned and is not to start again */
};

/** What may happen to instances. */
struct world_faults {
    uint64_t points;       /* mean number of points between two faults; 0 = never */
    uint32_t crash, pause; /* their shares */
    uint32_t power;        /* the same, of a machine without power, or of all */
    uint32_t stop;         /* the same, of an orderly stop: see world_options.stop */
    uint32_t jump;         /* the same, of the wall clock */
    int64_t pause_ms;      /* longest */
    int64_t restart_ms;
    int64_t jump_ms;      /* how far the clock is off at most, either way */
    const char *aim;      /* faults strike in this call too; NULL = in none */
    uint32_t aim_chance;  /* of 10,000 such calls */
    int64_t aim_pause_ms; /* how long a pause there lasts at least */
};

struct world_options {
    uint64_t seed;
    uint32_t instance_count;
    struct sim_faults faults;
    struct world_faults instance_faults;
    struct broker_settings settings;
    const char *directory; /* of all state; NULL = there is none */
    /** Opens instance->broker first. Returns true to be started again. */
    bool (*body)(struct instance *instance);
    /** Asks the process to end; it is started again. */
    void (*stop)(struct instance *instance);
    /** The process is gone: drops what it held open elsewhere; may be NULL. */
    void (*died)(struct instance *instance);
    void *context;
    bool verbose;
};

struct world {
    struct world_options options;
    struct sim *sim;
    struct sim_cluster *cluster;
    struct instance instances[WORLD_INSTANCE_LIMIT];
    int64_t crashes, pauses, restarts, stops, jumps, power_cuts, aimed;
    int64_t aimed_us; /* when the last aimed fault struck */
    bool healed;
    int64_t healed_us;
};

struct world *world_create(const struct world_options *options);
/** Crashes what still runs. */
void world_destroy(struct world *world);
/** Starts every instance, some of them late. */
void world_start(struct world *world);
void world_heal(struct world *world);
/** Lets virtual time pass until `done` says so; false when `limit_ms` passed before. */
bool world_run(struct world *world, int64_t limit_ms, bool (*done)(struct world *world));
/** It dies, if it lives, and does not come back. */
void world_retire(struct instance *instance);
/** It starts again after its body returned for good, or it was retired. */
void world_revive(struct instance *instance);
void world_crash(struct instance *instance, int64_t restart_ms);
/** Another fiber of the running instance's process. */
void world_spawn(struct instance *instance, void (*body)(void *), void *argument);
/** Whether all fibers but the first have ended. */
bool world_alone(const struct instance *instance);

#endif
