/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "sim_store.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AIM_GAP_US = 1500000 };

static void start_instance(void *subject, uint64_t number);

struct world *world_create(const struct world_options *options)
{
    struct world *world = memory_allocate(sizeof *world);
    world->options = *options;
    world->sim = sim_create(options->seed);
    sim_set_verbose(world->sim, options->verbose);
    world->cluster = sim_cluster_create(world->sim, &options->faults);
    ensure(options->instance_count > 0 && options->instance_count <= WORLD_INSTANCE_LIMIT);
    for (uint32_t i = 0; i < options->instance_count; i++) {
        struct instance *instance = &world->instances[i];
        instance->world = world;
        instance->index = i;
        sim_clock_init(&instance->clock, world->sim);
        snprintf(instance->name, sizeof instance->name, "%c", 'a' + (char)i);
    }
    return world;
}

/* The descriptors of an instance below the state directory. */
static size_t find_files(const struct instance *instance, int *found, size_t capacity)
{
    const char *directory = instance->world->options.directory;
    if (directory == NULL) {
        return 0;
    }
    char *prefix = memory_format("/%s/", instance->name);
    DIR *folder = opendir("/proc/self/fd");
    ensure(folder != NULL);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300];
        char target[4096];
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t size = readlink(path, target, sizeof target - 1);
        if (size <= 0 || count == capacity) {
            continue;
        }
        target[size] = '\0';
        if (strncmp(target, directory, strlen(directory)) == 0 &&
            strstr(target + strlen(directory), prefix) != NULL) {
            char *end = NULL;
            long long number = strtoll(entry->d_name, &end, 10);
            ensure(end != entry->d_name && *end == '\0' && number >= 0 && number <= INT_MAX);
            found[count++] = (int)number;
        }
    }
    closedir(folder);
    free(prefix);
    return count;
}

/* Locks end with the process; its descriptors are closed in its place. */
static void close_files(const struct instance *instance)
{
    int found[256];
    size_t count = find_files(instance, found, sizeof found / sizeof *found);
    for (size_t i = 0; i < count; i++) {
        close(found[i]);
    }
}

static void leave(struct instance *instance)
{
    sim_broker_drop(instance->broker);
    instance->broker = NULL;
    char part[16];
    snprintf(part, sizeof part, "/%s/", instance->name);
    sim_store_crash(part);
    if (instance->world->options.died != NULL) {
        instance->world->options.died(instance);
    }
    close_files(instance);
}

/* The running fiber, if it is one of them, last: that does not return. */
static void kill_fibers(struct instance *instance)
{
    struct sim *sim = instance->world->sim;
    struct sim_fiber *running = NULL;
    uint32_t count = instance->fiber_count;
    instance->fiber_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (instance->fibers[i] == sim_current(sim)) {
            running = instance->fibers[i];
        } else {
            sim_kill(sim, instance->fibers[i]);
        }
    }
    if (running != NULL) {
        sim_kill(sim, running);
    }
}

static void crash(struct instance *instance, int64_t restart_ms, bool power)
{
    struct world *world = instance->world;
    world->crashes++;
    sim_note(world->sim, "---- %s crashes%s, back in %lld ms", instance->name,
             power ? " without power" : "", (long long)restart_ms);
    sim_trace(world->sim, 0xdead);
    leave(instance);
    if (power) {
        char part[16];
        snprintf(part, sizeof part, "/%s/", instance->name);
        sim_store_power_loss(part);
    }
    if (restart_ms >= 0) {
        sim_at(world->sim, sim_now_us(world->sim) + restart_ms * 1000, start_instance, instance,
               instance->starts);
    }
    kill_fibers(instance);
}

void world_crash(struct instance *instance, int64_t restart_ms)
{
    crash(instance, restart_ms, false);
}

void world_retire(struct instance *instance)
{
    instance->stopped = true;
    if (instance->fiber_count > 0) {
        world_crash(instance, -1);
    }
    sim_cancel(instance->world->sim, instance);
}

/* ---- Lives ---- */

static void live(void *argument)
{
    struct instance *instance = argument;
    struct world *world = instance->world;
    bool again = world->options.body(instance);
    ensure(world_alone(instance));
    int open;
    ensure(find_files(instance, &open, 1) == 0); /* I11: who ends in order leaves nothing open */
    leave(instance);
    instance->fiber_count = 0;
    instance->stopped = !again;
    if (again) {
        world->restarts++;
        sim_at(world->sim, sim_now_us(world->sim) + 200000, start_instance, instance,
               instance->starts);
    }
}

static void start_instance(void *subject, uint64_t number)
{
    struct instance *instance = subject;
    if (instance->fiber_count > 0 || number != instance->starts) {
        return;
    }
    instance->starts++;
    instance->fibers[0] = sim_spawn(instance->world->sim, instance->name, live, instance, 0);
    instance->fiber_count = 1;
}

void world_revive(struct instance *instance)
{
    struct sim *sim = instance->world->sim;
    ensure(instance->fiber_count == 0);
    instance->stopped = false;
    sim_at(sim, sim_now_us(sim), start_instance, instance, instance->starts);
}

void world_spawn(struct instance *instance, void (*body)(void *), void *argument)
{
    ensure(instance->fiber_count > 0 && instance->fiber_count < WORLD_FIBER_LIMIT);
    instance->fibers[instance->fiber_count++] =
        sim_spawn(instance->world->sim, instance->name, body, argument, 0);
}

bool world_alone(const struct instance *instance)
{
    for (uint32_t i = 1; i < instance->fiber_count; i++) {
        if (!sim_fiber_done(instance->fibers[i])) {
            return false;
        }
    }
    return true;
}

/* ---- Faults ---- */

static void strike(void *argument);

static void plan_fault(struct world *world)
{
    uint64_t mean = world->options.instance_faults.points;
    if (mean > 0 && !world->healed) {
        sim_set_fault(world->sim, 1 + sim_below(world->sim, 2 * mean), strike, world);
    }
}

static struct instance *running(struct world *world)
{
    const struct sim_fiber *current = sim_current(world->sim);
    for (uint32_t i = 0; i < world->options.instance_count && current != NULL; i++) {
        struct instance *instance = &world->instances[i];
        for (uint32_t f = 0; f < instance->fiber_count; f++) {
            if (instance->fibers[f] == current) {
                return instance;
            }
        }
    }
    return NULL;
}

static void pause_instance(struct instance *instance, int64_t us)
{
    struct sim *sim = instance->world->sim;
    struct sim_fiber *current = NULL;
    instance->world->pauses++;
    sim_note(sim, "---- %s is paused for %lld ms", instance->name, (long long)us / 1000);
    for (uint32_t i = 0; i < instance->fiber_count; i++) {
        if (instance->fibers[i] == sim_current(sim)) {
            current = instance->fibers[i];
        } else if (!sim_fiber_done(instance->fibers[i])) {
            sim_pause(sim, instance->fibers[i], us);
        }
    }
    if (current != NULL) {
        sim_pause(sim, current, us);
        sim_note(sim, "---- %s wakes", instance->name);
    }
}

static void move_clock(struct instance *instance, int64_t most_ms)
{
    struct world *world = instance->world;
    world->jumps++;
    instance->clock.ahead_ms = sim_between(world->sim, -most_ms, most_ms);
    sim_note(world->sim, "---- the clock of %s is off by %lld ms", instance->name,
             (long long)instance->clock.ahead_ms);
}

/* One machine, or the whole room: the running instance, if among them, last. */
static void cut_power(struct instance *instance)
{
    struct world *world = instance->world;
    int64_t most_ms = world->options.instance_faults.restart_ms;
    bool all = sim_chance(world->sim, 5000);
    world->power_cuts++;
    for (uint32_t i = 0; all && i < world->options.instance_count; i++) {
        if (i != instance->index && world->instances[i].fiber_count > 0) {
            crash(&world->instances[i], sim_between(world->sim, 1, most_ms), true);
        }
    }
    crash(instance, sim_between(world->sim, 1, most_ms), true);
}

static void strike_one(struct instance *instance, int64_t pause_ms)
{
    struct world *world = instance->world;
    const struct world_faults *faults = &world->options.instance_faults;
    uint32_t all = faults->crash + faults->power + faults->pause + faults->stop + faults->jump;
    uint32_t turn = all == 0 ? 0 : (uint32_t)sim_below(world->sim, all);
    if (all == 0) {
        return;
    }
    if (turn < faults->crash) {
        world_crash(instance, sim_between(world->sim, 1, faults->restart_ms));
    } else if (turn < faults->crash + faults->power) {
        cut_power(instance);
    } else if (turn < faults->crash + faults->power + faults->pause) {
        int64_t most_ms = faults->pause_ms > pause_ms ? faults->pause_ms : pause_ms;
        pause_instance(instance, sim_between(world->sim, 1 + pause_ms * 1000, 1 + most_ms * 1000));
    } else if (turn < all - faults->jump) {
        world->stops++;
        sim_note(world->sim, "---- %s is asked to stop", instance->name);
        world->options.stop(instance);
    } else {
        move_clock(instance, faults->jump_ms);
    }
}

static void strike(void *argument)
{
    struct world *world = argument;
    plan_fault(world);
    struct instance *instance = running(world);
    if (instance != NULL && !world->healed) {
        strike_one(instance, 0);
    }
}

/* Some windows are too narrow for chance: the seed picks a call in which faults strike often, with
   time in between to get somewhere. */
static void take_aim(void *argument, const char *call)
{
    struct world *world = argument;
    const struct world_faults *faults = &world->options.instance_faults;
    if (world->healed || strcmp(call, faults->aim) != 0 ||
        sim_now_us(world->sim) - world->aimed_us < AIM_GAP_US ||
        !sim_chance(world->sim, faults->aim_chance)) {
        return;
    }
    struct instance *instance = running(world);
    if (instance != NULL) {
        world->aimed_us = sim_now_us(world->sim);
        world->aimed++;
        sim_note(world->sim, "---- in %s:", call);
        strike_one(instance, faults->aim_pause_ms);
    }
}

void world_start(struct world *world)
{
    plan_fault(world);
    if (world->options.instance_faults.aim != NULL) {
        sim_set_aim(world->sim, take_aim, world);
    }
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        int64_t delay_us = i == 0 ? 0 : sim_between(world->sim, 0, 5000000);
        sim_at(world->sim, sim_now_us(world->sim) + delay_us, start_instance, &world->instances[i],
               0);
    }
}

void world_heal(struct world *world)
{
    world->healed = true;
    world->healed_us = sim_now_us(world->sim);
    sim_set_fault(world->sim, 0, strike, world);
    sim_set_aim(world->sim, NULL, NULL);
    sim_cluster_heal(world->cluster);
    sim_store_heal();
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        /* Right, or so late that no timer is left that an earlier clock set. */
        struct sim_clock *clock = &world->instances[i].clock;
        clock->ahead_ms = world->jumps == 0 ? 0 : world->options.instance_faults.jump_ms;
    }
    sim_note(world->sim, "==== healed");
}

bool world_run(struct world *world, int64_t limit_ms, bool (*done)(struct world *world))
{
    int64_t end_us = sim_now_us(world->sim) + limit_ms * 1000;
    while (sim_now_us(world->sim) < end_us) {
        if (done(world)) {
            return true;
        }
        sim_wait_us(world->sim, 250000);
    }
    return done(world);
}

void world_destroy(struct world *world)
{
    if (world == NULL) {
        return;
    }
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        struct instance *instance = &world->instances[i];
        if (instance->fiber_count > 0) {
            world_crash(instance, -1);
        }
        sim_cancel(world->sim, instance);
    }
    /* Requests under way own memory: let them arrive. */
    sim_set_fault(world->sim, 0, strike, world);
    sim_set_aim(world->sim, NULL, NULL);
    sim_wait_us(world->sim, 60 * 1000000);
    sim_cluster_destroy(world->cluster);
    sim_destroy(world->sim);
    free(world);
}
