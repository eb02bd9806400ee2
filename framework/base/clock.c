/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/status.h"

#include <errno.h>
#include <time.h>

static int64_t system_monotonic_us(struct clock *clock)
{
    (void)clock;
    struct timespec now;
    ensure(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_coarse_us(struct clock *clock)
{
    (void)clock;
    struct timespec now;
    ensure(clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_wall_ms(struct clock *clock)
{
    (void)clock;
    struct timespec now;
    ensure(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void system_sleep_us(struct clock *clock, int64_t us)
{
    (void)clock;
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = (us % 1000000) * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

struct clock *clock_system(void)
{
    static struct clock system = {system_monotonic_us, system_wall_ms, system_sleep_us,
                                  system_coarse_us};
    return &system;
}
