/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a process: all its workers, until they are asked to stop or one fails; and how its
 * end is judged.
 */
#include "scenario.h"

#include "sim_lmdb.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STOP_MS = 90000,   /* a dead instance first comes back */
    CALM_US = 70000000 /* longer than the minute in which six fencings end a run */
};

void scenario_fail(struct scenario *scenario, const char *format, ...)
{
    if (scenario->failure[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(scenario->failure, sizeof scenario->failure, format, arguments);
        va_end(arguments);
    }
}

struct life {
    struct instance *instance;
    struct worker *worker;
    enum status status;
    struct error error;
};

static void run_worker(struct life *life)
{
    ensure(life->instance != NULL);
    struct scenario *scenario = life->instance->world->options.context;
    life->status = worker_run(life->worker, &life->error);
    worker_destroy(life->worker);
    if (life->status != STATUS_OK) {
        int running = 0; /* one fails, all stop */
        (void)atomic_compare_exchange_strong(&scenario->processes[life->instance->index].stop,
                                             &running, 1);
    }
}

static void run_spawned(void *argument)
{
    run_worker(argument);
}

/* True: to be started again. */
static bool judge_end(struct scenario *scenario, struct instance *instance, const struct life *life)
{
    struct process *process = &scenario->processes[instance->index];
    if (process->probed) {
        process->status = life->status;
        process->error = life->error;
        process->finished = true;
        return false;
    }
    if (life->status == STATUS_OK && process->asked) {
        process->finished = true;
        return false;
    }
    if (life->status == STATUS_OK && process->interrupted) {
        return true;
    }
    if (life->status == STATUS_FATAL && life->error.code == ERROR_FENCED) {
        struct world *world = scenario->world;
        sim_note(world->sim, "exit 3: %s", life->error.text);
        process->fencings++;
        if (world->healed && sim_now_us(world->sim) - world->healed_us > CALM_US) {
            scenario_fail(scenario, "instance %s gave up although all has been well for long: %s",
                          instance->name, life->error.text);
        }
        return true;
    }
    if (life->status == STATUS_FATAL && life->error.code == ERROR_DISK_FULL) {
        sim_note(scenario->world->sim, "exit 1: %s", life->error.text);
        marks_note(&scenario->marks, life->error.text);
        return true; /* somebody makes room and starts it again */
    }
    scenario_fail(scenario, "instance %s stopped: %s (%s, status %d, %s:%d)", instance->name,
                  life->status == STATUS_OK ? "nobody asked it to" : life->error.text,
                  error_code_name(life->error.code), (int)life->status,
                  life->error.file == NULL ? "?" : life->error.file, life->error.line);
    return false;
}

void scenario_interrupt(struct instance *instance)
{
    struct scenario *scenario = instance->world->options.context;
    struct process *process = &scenario->processes[instance->index];
    process->interrupted = true;
    atomic_store(&process->stop, sim_chance(instance->world->sim, 2000) ? 2 : 1);
}

void scenario_died(struct instance *instance)
{
    char part[16];
    snprintf(part, sizeof part, "/%s/", instance->name);
    sim_lmdb_crash(part);
}

bool scenario_body(struct instance *instance)
{
    struct world *world = instance->world;
    struct scenario *scenario = world->options.context;
    struct process *process = &scenario->processes[instance->index];
    struct life lives[WORLD_FIBER_LIMIT] = {0};
    instance->broker = sim_broker_open(world->cluster, &world->options.settings);
    atomic_store(&process->stop, process->asked ? 1 : 0);
    process->interrupted = false;
    for (uint32_t i = scenario->workers; i-- > 0;) {
        struct worker_options options = {
            .program = &process->program,
            .broker = instance->broker,
            .clock = &instance->clock.clock,
            .seed = scenario->seed * 1000 + instance->index * 100 + instance->starts + i * 7919,
            .index = i,
            .until_end = process->until_end,
            .continue_from = process->continue_from,
            .stop = &process->stop,
            .topics = scenario->facts,
            .topic_count = scenario->fact_count,
            .restore_batch = scenario->restore_batch,
            .store_open = scenario->lmdb ? sim_lmdb_open : sim_store_open};
        lives[i].instance = instance;
        worker_create(&options, &lives[i].worker);
        if (i > 0) {
            world_spawn(instance, run_spawned, &lives[i]);
        }
    }
    run_worker(&lives[0]);
    while (!world_alone(instance)) {
        sim_wait_us(world->sim, 1000);
    }
    uint32_t first = 0; /* that failed, as in the runtime */
    while (first + 1 < scenario->workers && lives[first].status == STATUS_OK) {
        first++;
    }
    return judge_end(scenario, instance, &lives[first]);
}

/* ---- Starting and stopping ---- */

void scenario_start(struct scenario *scenario, uint32_t index)
{
    struct process *process = &scenario->processes[index];
    process->asked = false;
    process->finished = false;
    world_revive(&scenario->world->instances[index]);
}

bool scenario_all_stopped(struct world *world)
{
    struct scenario *scenario = world->options.context;
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        if (!scenario->processes[i].finished) {
            return scenario->failure[0] != '\0';
        }
    }
    return true;
}

void scenario_stop(struct scenario *scenario)
{
    struct world *world = scenario->world;
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        scenario->processes[i].asked = true;
        atomic_store(&scenario->processes[i].stop, 1);
    }
    if (!world_run(world, STOP_MS, scenario_all_stopped)) {
        scenario_fail(scenario, "an instance does not stop");
    }
}

bool scenario_probe(struct scenario *scenario, const bool *chosen, int64_t limit_ms)
{
    uint32_t count = scenario->world->options.instance_count;
    for (uint32_t i = 0; i < count; i++) {
        scenario->processes[i].probed = chosen[i];
        if (chosen[i]) {
            scenario_start(scenario, i);
        }
    }
    bool ended = world_run(scenario->world, limit_ms, scenario_all_stopped);
    for (uint32_t i = 0; i < count; i++) {
        scenario->processes[i].probed = false;
    }
    if (!ended) {
        scenario_stop(scenario);
    }
    return ended;
}
