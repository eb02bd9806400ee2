/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "sim_store.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void start_instance(void *subject, uint64_t number);

struct world *world_create(const struct world_options *options)
{
    struct world *world = memory_allocate(sizeof *world);
    world->options = *options;
    world->sim = sim_create(options->seed);
    sim_set_verbose(world->sim, options->verbose);
    world->cluster = sim_cluster_create(world->sim, &options->faults);
    sim_clock_init(&world->clock, world->sim);
    ensure(options->instance_count > 0 && options->instance_count <= WORLD_INSTANCE_LIMIT);
    for (uint32_t i = 0; i < options->instance_count; i++) {
        struct instance *instance = &world->instances[i];
        instance->world = world;
        instance->index = i;
        snprintf(instance->name, sizeof instance->name, "%c", 'a' + (char)i);
    }
    return world;
}

/* Locks end with the process; its descriptors below the state directory are closed in its place. */
static void close_files(const struct instance *instance)
{
    const char *directory = instance->world->options.directory;
    if (directory == NULL) {
        return;
    }
    char *prefix = memory_format("/%s/", instance->name);
    DIR *folder = opendir("/proc/self/fd");
    ensure(folder != NULL);
    int found[256];
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300];
        char target[4096];
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t size = readlink(path, target, sizeof target - 1);
        if (size <= 0 || count == sizeof found / sizeof *found) {
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
    for (size_t i = 0; i < count; i++) {
        close(found[i]);
    }
}

static void crash_stores(const struct instance *instance)
{
    const char *directory;
    char *part = memory_format("/%s/", instance->name);
    for (size_t i = 0; (directory = sim_store_directory(i)) != NULL; i++) {
        if (strstr(directory, part) != NULL) {
            sim_store_crash(directory);
        }
    }
    free(part);
}

static void leave(struct instance *instance)
{
    sim_broker_drop(instance->broker);
    instance->broker = NULL;
    crash_stores(instance);
    close_files(instance);
}

void world_crash(struct instance *instance, int64_t restart_ms)
{
    struct world *world = instance->world;
    world->crashes++;
    sim_note(world->sim, "---- %s crashes, back in %lld ms", instance->name, (long long)restart_ms);
    sim_trace(world->sim, 0xdead);
    leave(instance);
    if (restart_ms >= 0) {
        sim_at(world->sim, sim_now_us(world->sim) + restart_ms * 1000, start_instance, instance,
               instance->starts);
    }
    struct sim_fiber *fiber = instance->fiber;
    instance->fiber = NULL;
    sim_kill(world->sim, fiber); /* of the running one: does not return */
}

void world_retire(struct instance *instance)
{
    instance->stopped = true;
    if (instance->fiber != NULL) {
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
    leave(instance); /* whatever it left open: the end of a process */
    instance->fiber = NULL;
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
    if (instance->fiber != NULL || number != instance->starts) {
        return;
    }
    instance->starts++;
    instance->fiber = sim_spawn(instance->world->sim, instance->name, live, instance, 0);
}

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
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        if (world->instances[i].fiber != NULL &&
            world->instances[i].fiber == sim_current(world->sim)) {
            return &world->instances[i];
        }
    }
    return NULL;
}

static void strike(void *argument)
{
    struct world *world = argument;
    const struct world_faults *faults = &world->options.instance_faults;
    plan_fault(world);
    struct instance *instance = running(world);
    if (instance == NULL || world->healed || faults->crash + faults->pause == 0) {
        return;
    }
    if (sim_below(world->sim, faults->crash + faults->pause) < faults->crash) {
        world_crash(instance, sim_between(world->sim, 1, faults->restart_ms));
        return;
    }
    int64_t us = sim_between(world->sim, 1, faults->pause_ms * 1000);
    world->pauses++;
    sim_note(world->sim, "---- %s is paused for %lld ms", instance->name, (long long)us / 1000);
    sim_pause(world->sim, instance->fiber, us);
    sim_note(world->sim, "---- %s wakes", instance->name);
}

void world_start(struct world *world)
{
    plan_fault(world);
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        int64_t delay_us = i == 0 ? 0 : sim_between(world->sim, 0, 5000000);
        sim_at(world->sim, sim_now_us(world->sim) + delay_us, start_instance, &world->instances[i],
               0);
    }
}

void world_heal(struct world *world)
{
    world->healed = true;
    sim_set_fault(world->sim, 0, strike, world);
    sim_cluster_heal(world->cluster);
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
        if (instance->fiber != NULL) {
            world_crash(instance, -1);
        }
        sim_cancel(world->sim, instance);
    }
    /* Requests under way own memory: let them arrive. */
    sim_set_fault(world->sim, 0, strike, world);
    sim_wait_us(world->sim, 60 * 1000000);
    sim_cluster_destroy(world->cluster);
    sim_destroy(world->sim);
    free(world);
}
