/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clock: the seam through which the engine learns of time and waits for it.
 *
 * Durations come from the monotonic clock, timestamps from the wall clock. clock_sleep may wait
 * (and in the simulator switch to another instance); reading does not. The caller holds no lock, no
 * static and no thread-local across clock_sleep.
 */
#ifndef LEAT_BASE_CLOCK_H
#define LEAT_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct clock {
    int64_t (*monotonic_us)(struct clock *);
    int64_t (*wall_ms)(struct clock *);
    void (*sleep_us)(struct clock *, int64_t us);
    /** The monotonic clock to within some ms, never ahead of it, for many reads a microsecond;
     * NULL: the exact one is cheap enough. */
    int64_t (*coarse_us)(struct clock *);
};

/** The system's clock: a constant object that needs no finish; any thread. */
struct clock *clock_system(void);

static inline int64_t clock_monotonic_us(struct clock *clock)
{
    return clock->monotonic_us(clock);
}
static inline int64_t clock_coarse_us(struct clock *clock)
{
    return clock->coarse_us != NULL ? clock->coarse_us(clock) : clock->monotonic_us(clock);
}
static inline int64_t clock_monotonic_ms(struct clock *clock)
{
    return clock->monotonic_us(clock) / 1000;
}
static inline int64_t clock_wall_ms(struct clock *clock)
{
    return clock->wall_ms(clock);
}
static inline void clock_sleep_ms(struct clock *clock, int64_t ms)
{
    clock->sleep_us(clock, ms * 1000);
}

#endif
