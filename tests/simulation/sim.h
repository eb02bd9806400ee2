/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sim: virtual time, fibers and broker actions in one thread, all decided by one seed.
 *
 * A fiber is one worker of one simulated process, on its own stack. It runs until it waits
 * (sim_wait_us, sim_wait_change) or reaches a point (sim_point) at which the seed lets another go
 * first, pauses it or drops its stack. Actions are what the brokers do meanwhile; they never wait.
 *
 * Not here: what a broker is (sim_broker.h), what the faults mean (scenario.h).
 *
 * Invariants
 *  - Time never goes back, and only the scheduler moves it (a point costs its caller a
 * microsecond).
 *  - Same seed and same calls = same order = same trace hash.
 *  - Called outside any fiber, a wait lets the others run until then; so plain tests need no fiber.
 */
#ifndef LEAT_SIMULATION_SIM_H
#define LEAT_SIMULATION_SIM_H

#include "base/clock.h"
#include "base/random.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;
struct sim_fiber;

struct sim *sim_create(uint64_t seed);
/** Drops the fibers that still live, and every action. */
void sim_destroy(struct sim *sim);

int64_t sim_now_us(const struct sim *sim);
/** Uniform in [0, bound), from the seed. */
uint64_t sim_below(struct sim *sim, uint64_t bound);
int64_t sim_between(struct sim *sim, int64_t low, int64_t high); /* both included */
bool sim_chance(struct sim *sim, uint32_t per_10000);

/* ---- Fibers ---- */

/** `name` is borrowed. The fiber first runs `delay_us` from now. The pointer is valid until
 * sim_destroy. */
struct sim_fiber *sim_spawn(struct sim *sim, const char *name, void (*body)(void *), void *argument,
                            int64_t delay_us);
/** The running fiber; NULL = outside any. */
struct sim_fiber *sim_current(const struct sim *sim);
/** Drops its stack. Of the running fiber: does not return. */
void sim_kill(struct sim *sim, struct sim_fiber *fiber);
/** It does not run for `us`, as if stopped by a signal. Of the running fiber: returns after that.
 */
void sim_pause(struct sim *sim, struct sim_fiber *fiber, int64_t us);
/** NULL is never paused. */
bool sim_fiber_paused(const struct sim *sim, const struct sim_fiber *fiber);
bool sim_fiber_done(const struct sim_fiber *fiber); /* returned or killed */
const char *sim_fiber_name(const struct sim_fiber *fiber);

/** Outside any fiber: runs until `until_us` (absolute). False if nothing can happen any more. */
bool sim_run_until(struct sim *sim, int64_t until_us);

void sim_wait_us(struct sim *sim, int64_t us);
/** Waits until sim_touch or the absolute time, whichever is first. */
void sim_wait_change(struct sim *sim, int64_t deadline_us);
/** Something changed that a waiting fiber may want to see. */
void sim_touch(struct sim *sim);

/** Where a fault may strike the running fiber; `fault` may kill or pause it. */
void sim_point(struct sim *sim);
/** A point in the call of that name, which sim_set_aim's function is told first. */
void sim_point_in(struct sim *sim, const char *call);
/** `aim` runs in the fiber that makes the call, and may kill or pause it; NULL = none. */
void sim_set_aim(struct sim *sim, void (*aim)(void *argument, const char *call), void *argument);
/** After `points` more points `fault` is called once; 0 = never. */
void sim_set_fault(struct sim *sim, uint64_t points, void (*fault)(void *), void *argument);
uint64_t sim_points(const struct sim *sim);

/* ---- Actions ---- */

typedef void sim_action(void *subject, uint64_t number);
/** Runs outside any fiber at that time. Whoever schedules it makes sure that `subject` still lives.
 */
void sim_at(struct sim *sim, int64_t due_us, sim_action *action, void *subject, uint64_t number);
/** Drops the actions of a subject. */
void sim_cancel(struct sim *sim, const void *subject);

/* ---- Trace ---- */

/** Mixes time, fiber and value into the hash. */
void sim_trace(struct sim *sim, uint64_t value);
uint64_t sim_trace_hash(const struct sim *sim);
/** With verbose on: a line on stderr with time and fiber. Text is not part of the hash. */
void sim_note(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_set_verbose(struct sim *sim, bool verbose);

/* ---- Clock ---- */

struct sim_clock {
    struct clock clock;
    struct sim *sim;
    int64_t ahead_ms; /* how far this machine's wall clock is off */
};

void sim_clock_init(struct sim_clock *clock, struct sim *sim);
/** Unix time of the simulation, ms. */
int64_t sim_wall_ms(const struct sim *sim);

#endif
