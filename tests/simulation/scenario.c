/* SPDX-License-Identifier: Apache-2.0 */
#include "scenario.h"

#include "history_writer.h"

#include "base/hash.h"
#include "base/log.h"
#include "sim_lmdb.h"
#include "sim_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAL_MS = 180000,
    STOP_MS = 90000,    /* a dead instance first comes back */
    SETTLE_MS = 700000, /* a dead owner's records block readers for its time-out */
    LOOK_US = 100000,
    DUE_MS = 20000 /* timers of the last records; their owner may be new */
};

/* ---- The run ---- */

static bool note_offset(void *context, const struct broker_record *record)
{
    *(int64_t *)context = record->offset;
    return true;
}

static bool read_to_end(struct scenario *scenario, const char *topic)
{
    struct sim_cluster *cluster = scenario->world->cluster;
    for (int32_t i = 0; i < sim_partition_count(cluster, topic); i++) {
        int64_t last = -1; /* markers behind it need not be passed */
        sim_read_history(cluster, topic, i, note_offset, &last);
        if (sim_group_offset(cluster, "app", topic, i) <= last) {
            return false;
        }
    }
    return true;
}

/* What chain_wall.c's timers have still to do. */
static bool note_pending(void *context, const struct broker_record *record)
{
    static const char prefix[] = "chain/state\0?";
    struct sim_rows *rows = context;
    if (record->key.size < sizeof prefix - 1 ||
        memcmp(record->key.data, prefix, sizeof prefix - 1) != 0) {
        return true;
    }
    size_t at = sim_table_at(rows, record->key);
    bool found = sim_table_has(rows, at, record->key);
    if (record->value.data == NULL && found) {
        sim_bytes_free(rows->entries[at].key);
        sim_table_take(rows, at);
    } else if (record->value.data != NULL && !found) {
        sim_table_insert(rows, at, sim_entry_make(record->key, (struct bytes){"", 0}));
    }
    return true;
}

/* Not by what readers get: a dead owner's open transaction may hide the end for its whole time-out.
   Looks ten times a second. */
static bool all_fired(struct scenario *scenario)
{
    struct world *world = scenario->world;
    if (!sim_cluster_marked(world->cluster) ||
        sim_now_us(world->sim) - scenario->looked_us < LOOK_US) {
        return false;
    }
    scenario->looked_us = sim_now_us(world->sim);
    struct sim_rows pending = {0};
    for (int32_t i = 0; i < scenario->partitions; i++) {
        sim_read_committed(world->cluster, "app-in-changelog", i, note_pending, &pending);
    }
    bool fired = pending.count == 0;
    sim_rows_free(&pending);
    return fired;
}

bool scenario_settled(struct world *world)
{
    return sim_cluster_settled(world->cluster);
}

bool scenario_processed(struct world *world)
{
    struct scenario *scenario = world->options.context;
    if (scenario->failure[0] != '\0') {
        return true;
    }
    return scenario->fed == scenario->records && read_to_end(scenario, "in") &&
           (scenario->topology != TOPOLOGY_JOIN || read_to_end(scenario, "in2")) &&
           (scenario->topology != TOPOLOGY_REGROUP ||
            (scenario_settled(world) && read_to_end(scenario, "app-by_key-repartition"))) &&
           (scenario->topology != TOPOLOGY_WALL || all_fired(scenario));
}

static bool all_fed(struct world *world)
{
    struct scenario *scenario = world->options.context;
    return scenario->fed == scenario->records || scenario->failure[0] != '\0';
}

static bool never(struct world *world)
{
    struct scenario *scenario = world->options.context;
    return scenario->failure[0] != '\0';
}

/* I5: one healthy instance is enough, whatever the others left behind when they died. */
static void leave_one(struct scenario *scenario)
{
    struct world *world = scenario->world;
    uint32_t count = world->options.instance_count;
    uint32_t left = (uint32_t)sim_below(world->sim, count);
    sim_group_rebalance(world->cluster, "app"); /* so that some die in their claim */
    for (uint32_t i = 0; i < count; i++) {
        if (i != left) {
            sim_wait_us(world->sim, sim_between(world->sim, 0, 600000));
            world_retire(&world->instances[i]);
            scenario->processes[i].finished = true;
        }
    }
}

/* How those ended that ran with --until-end. */
static void check_ends(struct scenario *scenario, const bool *chosen, bool ended)
{
    if (!ended) {
        scenario_fail(scenario, "a run with --until-end does not end");
    }
    for (uint32_t i = 0; i < scenario->world->options.instance_count; i++) {
        struct process *process = &scenario->processes[i];
        process->until_end = false;
        if (chosen[i] && process->status != STATUS_OK) {
            scenario_fail(scenario, "a run with --until-end ends with: %s", process->error.text);
        }
    }
    if (!read_to_end(scenario, "in") ||
        (scenario->topology == TOPOLOGY_JOIN && !read_to_end(scenario, "in2"))) {
        scenario_fail(scenario, "a run with --until-end ended before the end");
    }
}

/* --until-end, by one instance alone or by all: each ends by itself when the group has committed
   all that was there when it began. Then all go on. */
static void run_to_end(struct scenario *scenario)
{
    struct world *world = scenario->world;
    uint32_t count = world->options.instance_count;
    bool all = !scenario->lonely && sim_chance(world->sim, 5000);
    uint32_t one = (uint32_t)sim_below(world->sim, count);
    bool chosen[WORLD_INSTANCE_LIMIT] = {false};
    scenario_stop(scenario);
    (void)world_run(world, HEAL_MS, all_fed);
    scenario_note_ends(scenario);
    for (uint32_t i = 0; i < count; i++) {
        chosen[i] = all || i == one;
        scenario->processes[i].until_end = chosen[i];
    }
    check_ends(scenario, chosen, scenario_probe(scenario, chosen, HEAL_MS));
    for (uint32_t i = 0; i < count && scenario->failure[0] == '\0'; i++) {
        if (!scenario->lonely || chosen[i]) {
            scenario_start(scenario, i);
        }
    }
}

static void run_phases(struct scenario *scenario, struct verdict *verdict)
{
    struct world *world = scenario->world;
    world_start(world);
    (void)world_run(world, scenario->faults_ms, never);
    if (scenario->lonely) {
        leave_one(scenario);
    }
    world_heal(world);
    int64_t healed_us = sim_now_us(world->sim);
    if (scenario->until_end) {
        run_to_end(scenario);
    }
    if (!world_run(world, HEAL_MS, scenario_processed)) {
        scenario_fail(scenario,
                      "no progress: %d of %d records fed, not all processed %d s after everything "
                      "healed",
                      (int)scenario->fed, (int)scenario->records, HEAL_MS / 1000);
    }
    verdict->heal_ms = (sim_now_us(world->sim) - healed_us) / 1000;
    if (scenario->topology == TOPOLOGY_TIMERS) {
        (void)world_run(world, DUE_MS, never);
    }
    scenario_stop(scenario);
    if (!world_run(world, SETTLE_MS, scenario_settled)) {
        scenario_fail(scenario, "a transaction never ends");
    }
    history_writer_close(scenario->history);
    if (scenario->failure[0] == '\0') {
        oracle_judge(scenario);
    }
    if (scenario->failure[0] == '\0' && scenario->epilogue != EPILOGUE_NONE) {
        epilogue_run(scenario);
    }
}

static void describe(struct scenario *scenario, struct verdict *verdict)
{
    static const char *const names[] = {"copy", "count", "regroup", "join", "timers", "wall"};
    const struct world_options *options = &scenario->world->options;
    const struct sim_faults *faults = &options->faults;
    snprintf(
        verdict->setup, sizeof verdict->setup,
        "%s, %u instances (%s%s), %d partitions, %d records, transactions %" PRId64
        " s%s; slow %u broken %u late %" PRId64 " refused %u init %u markers %" PRId64
        " fence %" PRId64 " rebalance %" PRId64 " compact %" PRId64 " points %" PRIu64
        " crash %u pause %u",
        names[scenario->topology], options->instance_count,
        scenario->static_membership ? "static" : "dynamic", scenario->lonely ? ", one left" : "",
        (int)scenario->partitions, (int)scenario->records, scenario->transaction_ms / 1000,
        scenario->bad_records ? ", bad records" : "", faults->slow, faults->broken, faults->late_ms,
        faults->refused, faults->late_init, faults->marker_ms, faults->fence_ms,
        faults->rebalance_ms, faults->compact_ms, options->instance_faults.points,
        options->instance_faults.crash, options->instance_faults.pause);
}

static void take_log(void *opaque, const char *line)
{
    struct scenario *scenario = opaque;
    const char *text = strchr(line, ' ');
    marks_note(&scenario->marks, line);
    sim_note(scenario->world->sim, "  log: %s", text == NULL ? line : text + 1);
}

void scenario_run(uint64_t seed, const char *directory, enum scenario_store store, bool verbose,
                  const char *history, struct verdict *verdict)
{
    struct scenario scenario = {.seed = seed, .directory = directory};
    memset(verdict, 0, sizeof *verdict);
    verdict->seed = seed;
    scenario_set_up(&scenario, store, verbose);
    scenario.history = history_writer_open(&scenario, history);
    struct world *world = scenario.world;
    log_set_sink(take_log, &scenario);
    if (verbose) {
        log_set_level(LOG_DEBUG);
        log_set_debug("all");
    }
    describe(&scenario, verdict);
    run_phases(&scenario, verdict);
    verdict->hash = sim_trace_hash(world->sim);
    verdict->virtual_ms = sim_now_us(world->sim) / 1000;
    verdict->crashes = world->crashes;
    verdict->pauses = world->pauses;
    verdict->restarts = world->restarts;
    verdict->stops = world->stops;
    verdict->jumps = world->jumps;
    verdict->power_cuts = world->power_cuts;
    verdict->aimed = world->aimed;
    verdict->disk = *sim_store_statistics();
    verdict->marks = scenario.marks;
    verdict->statistics = *sim_cluster_statistics(world->cluster);
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        verdict->fencings += scenario.processes[i].fencings;
    }
    memcpy(verdict->failure, scenario.failure, sizeof verdict->failure);
    log_set_sink(NULL, NULL);
    uint32_t count = world->options.instance_count;
    world_destroy(world);
    for (uint32_t i = 0; i < count; i++) {
        scenario_free_program(&scenario.processes[i]);
    }
    plugin_unload(scenario.chain);
    sim_store_attach(NULL, NULL);
    sim_store_reset();
    sim_lmdb_reset();
}
