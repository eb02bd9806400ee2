/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include "base/bytes.h"
#include "base/status.h"
#include "sim_stack.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIBER_LIMIT = 4096, PREEMPT_PER_10000 = 300 };

enum fiber_state { FIBER_WAITING, FIBER_RUNNING, FIBER_DONE };

struct sim_fiber {
    struct sim *sim;
    const char *name;
    uint32_t index;
    enum fiber_state state;
    bool on_change; /* sim_touch wakes it */
    int64_t wake_us;
    int64_t paused_until_us;
    void (*body)(void *);
    void *argument;
    struct sim_stack stack;
};

struct action {
    int64_t due_us;
    uint64_t order;
    sim_action *run;
    void *subject;
    uint64_t number;
};

struct sim {
    struct random random;
    int64_t now_us;
    struct sim_fiber *fibers[FIBER_LIMIT];
    uint32_t fiber_count;
    struct sim_fiber *live[FIBER_LIMIT]; /* those not done, in order of birth */
    uint32_t live_count;
    struct sim_fiber *current;
    struct sim_scheduler scheduler;
    struct action *heap;
    size_t action_count, action_capacity;
    uint64_t order;
    uint64_t hash;
    uint64_t points, fault_in;
    void (*fault)(void *);
    void *fault_argument;
    void (*aim)(void *, const char *);
    void *aim_argument;
    bool verbose;
};

struct sim *sim_create(uint64_t seed)
{
    struct sim *sim = memory_allocate(sizeof *sim);
    random_init(&sim->random, seed);
    sim->hash = 0x9e3779b97f4a7c15u ^ seed;
    return sim;
}

void sim_destroy(struct sim *sim)
{
    if (sim == NULL) {
        return;
    }
    ensure(sim->current == NULL);
    for (uint32_t i = 0; i < sim->fiber_count; i++) {
        sim_kill(sim, sim->fibers[i]);
        free(sim->fibers[i]);
    }
    free(sim->heap);
    free(sim);
}

int64_t sim_now_us(const struct sim *sim)
{
    return sim->now_us;
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return random_below(&sim->random, bound);
}

int64_t sim_between(struct sim *sim, int64_t low, int64_t high)
{
    ensure(low <= high);
    return low + (int64_t)sim_below(sim, (uint64_t)(high - low) + 1);
}

bool sim_chance(struct sim *sim, uint32_t per_10000)
{
    return per_10000 != 0 && sim_below(sim, 10000) < per_10000;
}

/* ---- Actions: a heap by time, then by the order in which they were asked for ---- */

static bool sooner(const struct action *a, const struct action *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void sift_up(struct action *heap, size_t at)
{
    while (at > 0 && sooner(&heap[at], &heap[(at - 1) / 2])) {
        struct action swap = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static void sift_down(struct action *heap, size_t count, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            least = sooner(&heap[child], &heap[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        struct action swap = heap[at];
        heap[at] = heap[least];
        heap[least] = swap;
        at = least;
    }
}

void sim_at(struct sim *sim, int64_t due_us, sim_action *action, void *subject, uint64_t number)
{
    if (sim->action_count == sim->action_capacity) {
        sim->action_capacity = sim->action_capacity == 0 ? 64 : sim->action_capacity * 2;
        sim->heap = memory_resize(sim->heap, sim->action_capacity * sizeof *sim->heap);
    }
    if (due_us < sim->now_us) {
        due_us = sim->now_us;
    }
    sim->heap[sim->action_count] = (struct action){due_us, sim->order++, action, subject, number};
    sift_up(sim->heap, sim->action_count++);
}

void sim_cancel(struct sim *sim, const void *subject)
{
    size_t kept = 0;
    for (size_t i = 0; i < sim->action_count; i++) {
        if (sim->heap[i].subject != subject) {
            sim->heap[kept++] = sim->heap[i];
        }
    }
    sim->action_count = kept;
    for (size_t i = kept / 2 + 1; i-- > 0;) {
        sift_down(sim->heap, kept, i);
    }
}

static void run_action(struct sim *sim)
{
    struct action action = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->action_count];
    sift_down(sim->heap, sim->action_count, 0);
    if (action.due_us > sim->now_us) {
        sim->now_us = action.due_us;
    }
    action.run(action.subject, action.number);
}

/* ---- Fibers ---- */

static void fiber_main(void *argument)
{
    struct sim_fiber *fiber = argument;
    fiber->body(fiber->argument);
    sim_kill(fiber->sim, fiber);
}

struct sim_fiber *sim_spawn(struct sim *sim, const char *name, void (*body)(void *), void *argument,
                            int64_t delay_us)
{
    ensure(sim->fiber_count < FIBER_LIMIT);
    struct sim_fiber *fiber = memory_allocate(sizeof *fiber);
    fiber->sim = sim;
    fiber->name = name;
    fiber->index = sim->fiber_count + 1;
    fiber->body = body;
    fiber->argument = argument;
    fiber->wake_us = sim->now_us + delay_us;
    sim_stack_make(&fiber->stack, fiber_main, fiber);
    sim->fibers[sim->fiber_count++] = fiber;
    sim->live[sim->live_count++] = fiber;
    return fiber;
}

struct sim_fiber *sim_current(const struct sim *sim)
{
    return sim->current;
}

const char *sim_fiber_name(const struct sim_fiber *fiber)
{
    return fiber == NULL ? "-" : fiber->name;
}

bool sim_fiber_done(const struct sim_fiber *fiber)
{
    return fiber->state == FIBER_DONE;
}

bool sim_fiber_paused(const struct sim *sim, const struct sim_fiber *fiber)
{
    return fiber != NULL && fiber->state != FIBER_DONE && fiber->paused_until_us > sim->now_us;
}

void sim_kill(struct sim *sim, struct sim_fiber *fiber)
{
    if (fiber->state == FIBER_DONE) {
        return;
    }
    bool running = fiber == sim->current;
    fiber->state = FIBER_DONE;
    uint32_t at = 0;
    while (sim->live[at] != fiber) {
        at++;
    }
    memmove(&sim->live[at], &sim->live[at + 1],
            (--sim->live_count - at) * sizeof(struct sim_fiber *));
    if (running) {
        sim_stack_leave(&sim->scheduler); /* step() frees the stack */
    }
    sim_stack_free(&fiber->stack);
}

void sim_pause(struct sim *sim, struct sim_fiber *fiber, int64_t us)
{
    fiber->paused_until_us = sim->now_us + us;
    if (fiber->wake_us < fiber->paused_until_us) {
        fiber->wake_us = fiber->paused_until_us;
    }
    if (fiber == sim->current) {
        sim_wait_us(sim, us);
    } else {
        fiber->on_change = false; /* waking early is legal for those who wait for a change */
    }
}

static struct sim_fiber *next_fiber(struct sim *sim)
{
    struct sim_fiber *next = NULL;
    for (uint32_t i = 0; i < sim->live_count; i++) {
        struct sim_fiber *fiber = sim->live[i];
        if (fiber->state == FIBER_WAITING && (next == NULL || fiber->wake_us < next->wake_us)) {
            next = fiber;
        }
    }
    return next;
}

static void run_fiber(struct sim *sim, struct sim_fiber *fiber)
{
    if (fiber->wake_us > sim->now_us) {
        sim->now_us = fiber->wake_us;
    }
    fiber->state = FIBER_RUNNING;
    fiber->on_change = false;
    sim->current = fiber;
    sim_stack_enter(&sim->scheduler, &fiber->stack);
    sim->current = NULL;
    if (fiber->state == FIBER_DONE) {
        sim_stack_free(&fiber->stack);
    }
}

/* One thing, not later than `until_us`; false if there is none. */
static bool step(struct sim *sim, int64_t until_us)
{
    struct sim_fiber *fiber = next_fiber(sim);
    bool action_first =
        sim->action_count > 0 && (fiber == NULL || sim->heap[0].due_us <= fiber->wake_us);
    if (action_first && sim->heap[0].due_us <= until_us) {
        run_action(sim);
        return true;
    }
    if (!action_first && fiber != NULL && fiber->wake_us <= until_us) {
        run_fiber(sim, fiber);
        return true;
    }
    return false;
}

bool sim_run_until(struct sim *sim, int64_t until_us)
{
    ensure(sim->current == NULL);
    while (step(sim, until_us)) {
    }
    if (sim->now_us < until_us) {
        sim->now_us = until_us;
    }
    return sim->action_count > 0 || next_fiber(sim) != NULL;
}

static void yield_until(struct sim *sim, int64_t wake_us, bool on_change)
{
    struct sim_fiber *fiber = sim->current;
    fiber->wake_us = wake_us;
    fiber->on_change = on_change;
    fiber->state = FIBER_WAITING;
    sim_stack_yield(&fiber->stack, &sim->scheduler);
}

void sim_wait_us(struct sim *sim, int64_t us)
{
    int64_t wake_us = sim->now_us + (us < 0 ? 0 : us);
    if (sim->current == NULL) {
        sim_run_until(sim, wake_us);
        return;
    }
    do {
        yield_until(sim, wake_us, false);
    } while (sim->now_us < wake_us);
}

void sim_wait_change(struct sim *sim, int64_t deadline_us)
{
    if (sim->current != NULL) {
        yield_until(sim, deadline_us < sim->now_us ? sim->now_us : deadline_us, true);
        return;
    }
    if (!step(sim, deadline_us)) {
        sim_run_until(sim, deadline_us);
    }
}

void sim_touch(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->live_count; i++) {
        struct sim_fiber *fiber = sim->live[i];
        if (fiber->state != FIBER_WAITING || !fiber->on_change) {
            continue;
        }
        int64_t wake_us = sim->now_us + (int64_t)sim_below(sim, 50);
        if (wake_us < fiber->paused_until_us) {
            wake_us = fiber->paused_until_us;
        }
        if (wake_us < fiber->wake_us) {
            fiber->wake_us = wake_us;
            fiber->on_change = false;
        }
    }
}

void sim_set_fault(struct sim *sim, uint64_t points, void (*fault)(void *), void *argument)
{
    sim->fault_in = points;
    sim->fault = fault;
    sim->fault_argument = argument;
}

uint64_t sim_points(const struct sim *sim)
{
    return sim->points;
}

void sim_point(struct sim *sim)
{
    if (sim->current == NULL) {
        return;
    }
    sim->points++;
    sim->now_us++;
    if (sim->fault_in > 0 && --sim->fault_in == 0) {
        sim->fault(sim->fault_argument);
    }
    if (sim_chance(sim, PREEMPT_PER_10000)) {
        sim_wait_us(sim, (int64_t)sim_below(sim, 200));
    }
}

void sim_set_aim(struct sim *sim, void (*aim)(void *, const char *), void *argument)
{
    sim->aim = aim;
    sim->aim_argument = argument;
}

void sim_point_in(struct sim *sim, const char *call)
{
    if (sim->current != NULL && sim->aim != NULL) {
        sim->aim(sim->aim_argument, call);
    }
    sim_point(sim);
}

/* ---- Trace ---- */

void sim_trace(struct sim *sim, uint64_t value)
{
    uint64_t who = sim->current == NULL ? 0 : sim->current->index;
    uint64_t mixed = sim->hash ^ value ^ (who << 56) ^ ((uint64_t)sim->now_us << 8);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    sim->hash = mixed ^ (mixed >> 31);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->hash;
}

void sim_set_verbose(struct sim *sim, bool verbose)
{
    sim->verbose = verbose;
}

void sim_note(struct sim *sim, const char *format, ...)
{
    if (!sim->verbose) {
        return;
    }
    fprintf(stderr, "%10.3f %-6s ", (double)sim->now_us / 1000.0, sim_fiber_name(sim->current));
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- Clock ---- */

int64_t sim_wall_ms(const struct sim *sim)
{
    return INT64_C(1700000000000) + sim->now_us / 1000;
}

static int64_t read_monotonic(struct clock *clock)
{
    return ((struct sim_clock *)(void *)clock)->sim->now_us + 1;
}

static int64_t read_coarse(struct clock *clock)
{
    return read_monotonic(clock) / 4000 * 4000;
}

static int64_t read_wall(struct clock *clock)
{
    const struct sim_clock *self = (struct sim_clock *)(void *)clock;
    return sim_wall_ms(self->sim) + self->ahead_ms;
}

static void sleep_virtually(struct clock *clock, int64_t us)
{
    struct sim *sim = ((struct sim_clock *)(void *)clock)->sim;
    sim_point(sim);
    sim_wait_us(sim, us);
}

void sim_clock_init(struct sim_clock *clock, struct sim *sim)
{
    clock->clock = (struct clock){.monotonic_us = read_monotonic,
                                  .wall_ms = read_wall,
                                  .sleep_us = sleep_virtually,
                                  .coarse_us = read_coarse};
    clock->sim = sim;
    clock->ahead_ms = 0;
}
