/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenario: what one seed decides: a topology, its input, how many instances run it with the real
 * engine, and everything that goes wrong. It is run in two phases: faults while the input comes in,
 * then everything heals and the rest must be processed; then the oracle judges.
 */
#ifndef LEAT_SIMULATION_SCENARIO_H
#define LEAT_SIMULATION_SCENARIO_H

#include "engine/worker.h"
#include "marks.h"
#include "sim_rows.h"
#include "sim_store.h"
#include "world.h"

enum topology {
    TOPOLOGY_COPY,
    TOPOLOGY_COUNT,
    TOPOLOGY_REGROUP,
    TOPOLOGY_JOIN,   /* as count, from two co-partitioned topics */
    TOPOLOGY_TIMERS, /* as count, with a durable timer of stream time a record */
    TOPOLOGY_WALL    /* as count, with one of wall time a record, and schedules in half the seeds */
};

enum { SCENARIO_TEXT_SIZE = 1024, SCENARIO_SESSION_MS = 3000, SCENARIO_CALLBACK_MS = 60000 };

/** One simulated process: what outlives its crashes. */
struct process {
    struct config *config;
    struct program program;
    atomic_int stop;
    bool asked;       /* to stop, by us; else a failing worker stops the others */
    bool interrupted; /* the same, but it comes back */
    bool finished;
    int64_t fencings; /* exits 3 */
    bool until_end;
    enum continue_from continue_from;
    bool probed;        /* its end is what is looked at, whatever it is: */
    enum status status; /* how it ended */
    struct error error;
};

/* What somebody does to the topics when all is over, and what a run must then say. */
enum epilogue {
    EPILOGUE_NONE,
    EPILOGUE_CHANGELOG, /* it is deleted and made anew, empty */
    EPILOGUE_OFFSETS,   /* a tool sets the group's offset of one partition back */
    EPILOGUE_RETENTION, /* records are deleted before they were read */
    EPILOGUE_FOREIGN,   /* the changelog is another application's */
    EPILOGUE_MARKER,    /* the broker loses the marker of a decided transaction */
    EPILOGUE_KINDS
};

struct scenario {
    uint64_t seed;
    struct random random; /* for the set-up only; the rest comes from sim */
    enum topology topology;
    int32_t partitions, regrouped; /* of "in" and "out"; of the repartition */
    int32_t keys, records, fed, burst;
    uint32_t workers; /* of each instance */
    int64_t transaction_ms, faults_ms;
    int64_t restore_batch;
    int64_t tombstone_ms; /* delete.retention.ms of changelogs, where compaction heeds it; 0 = no */
    int32_t empty_partition; /* gets no record, yet is claimed; -1 = none */
    bool static_membership, bad_records, lonely, schedules, fast, compacts, until_end, lmdb,
        goes_on;
    enum epilogue epilogue;
    int64_t ends[2][16]; /* of the sources' partitions, for until_end */
    const char *directory;
    struct world *world;
    struct process processes[WORLD_INSTANCE_LIMIT];
    struct plugin *chain;
    int64_t looked_us; /* when it was last looked whether all timers have fired */
    struct topic_facts facts[5];
    size_t fact_count;
    struct marks marks;
    struct history_writer *history;   /* or NULL */
    char failure[SCENARIO_TEXT_SIZE]; /* "" = none */
};

/** What is told about a seed. */
struct verdict {
    uint64_t seed, hash;
    int64_t virtual_ms, heal_ms;
    int64_t crashes, pauses, restarts, stops, jumps, power_cuts, aimed, fencings;
    struct sim_statistics statistics;
    struct sim_disk_statistics disk;
    struct marks marks;
    char setup[512];
    char failure[SCENARIO_TEXT_SIZE];
};

/** Which store the instances have. */
enum scenario_store { STORE_CHOSEN /* by the seed: some real ones */, STORE_MEMORY, STORE_LMDB };

/** Runs the seed to its end. `directory` is an empty folder of its own, on a fast file system. The
 * history goes to a file of that name; NULL = none is written. */
void scenario_run(uint64_t seed, const char *directory, enum scenario_store store, bool verbose,
                  const char *history, struct verdict *verdict);

/* ---- scenario.c ---- */

/** All input is fed and processed, as far as the committed offsets say. */
bool scenario_processed(struct world *world);
bool scenario_settled(struct world *world);

/* ---- scenario_setup.c ---- */

/** Makes all choices of the seed, the world and the programs. */
void scenario_set_up(struct scenario *scenario, enum scenario_store store, bool verbose);
void scenario_free_program(struct process *process);
/** `count` more records come in. */
void scenario_feed_more(struct scenario *scenario, int32_t count);
/** Tells the processes that start from now on where the sources end. */
void scenario_note_ends(struct scenario *scenario);

/* ---- scenario_life.c ---- */

/** Notes why the seed fails; the first reason counts. */
void scenario_fail(struct scenario *scenario, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** The life of a process: all its workers, until they are asked to stop or one fails. */
bool scenario_body(struct instance *instance);
void scenario_died(struct instance *instance);
/** An orderly stop, after which it is started again; now and then an urgent one. */
void scenario_interrupt(struct instance *instance);
/** Starts a process that has ended. */
void scenario_start(struct scenario *scenario, uint32_t index);
bool scenario_all_stopped(struct world *world);
/** Asks all to stop and waits until they have. */
void scenario_stop(struct scenario *scenario);
/** Starts processes while all are stopped, and waits for their ends, which are told in them; false
 * if one does not end by itself. `chosen` has one for each. */
bool scenario_probe(struct scenario *scenario, const bool *chosen, int64_t limit_ms);

/* ---- epilogue.c ---- */

/** After everything was judged: see enum epilogue. */
void epilogue_run(struct scenario *scenario);

/* ---- oracle.c ---- */

/** Compares everything that is committed with a sequential recomputation; fills scenario->failure.
 */
void oracle_judge(struct scenario *scenario);

/* ---- chain.c, chain_wall.c ---- */

enum { CHAIN_TEXT_SIZE = 32, CHAIN_DELAY_MS = 700 };
#define CHAIN_BAD '!'     /* a value that ends so is bad, found after its put and forward */
#define CHAIN_REFUSED '?' /* one whose output the broker refuses, for its timestamp */
#define CHAIN_DUD '~'     /* one whose timer of wall time is bad, after a put and a forward */
#define CHAIN_TIMER "timer"

/** The operator "chain": per key the count of records and a checksum over all of them in order, so
 * that one lost, doubled or swapped record shows in every later output. */
const leat_operator *chain_operator(void);
/** The same, and each record sets a timer of stream time that adds a link too. */
const leat_operator *timer_chain_operator(void);
int64_t chain_timer_ms(int64_t timestamp_ms);
/** The same with a timer of wall time a record, counted when it fires: chain_wall.c. */
const leat_operator *wall_chain_operator(bool schedules);
/** The next text of a key's count of fired timers. */
void chain_fire(char text[CHAIN_TEXT_SIZE], const char *record_value);
bool chain_ends_with(leat_bytes value, char last);
leat_status chain_open(leat_context *context, void **self);
leat_status chain_process(void *self, leat_context *context, const leat_record *record);
/** The next text of a key's chain; `text` holds the previous ("" = none). */
void chain_next(char text[CHAIN_TEXT_SIZE], const void *value, size_t size);

#endif
