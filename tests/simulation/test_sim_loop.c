/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated broker is nasty enough: a right loop is exact on every seed, each mistake is caught
 * on some. */
#include "loop.h"

#include <criterion/criterion.h>

static struct world *make(uint64_t seed, enum loop_mistake *mistake)
{
    struct random random;
    random_init(&random, seed);
    bool static_membership = random_below(&random, 2) == 0;
    struct world_options options = {.seed = seed,
                                    .instance_count = 1 + (uint32_t)random_below(&random, 3),
                                    .settings = {.session_timeout_ms = 3000,
                                                 .transaction_timeout_ms = 5000,
                                                 .callback_timeout_ms = 60000,
                                                 .prefetch_size = static_membership},
                                    .faults = {.slow = random_below(&random, 2) ? 100 : 0,
                                               .broken = random_below(&random, 4) ? 200 : 0,
                                               .late_init = random_below(&random, 3) ? 0 : 300,
                                               .refused = random_below(&random, 2) ? 20 : 0,
                                               .late_ms = 1 + (int64_t)random_below(&random, 4000),
                                               .marker_ms = random_below(&random, 2) ? 800 : 0,
                                               .fence_ms = random_below(&random, 3) ? 0 : 5000,
                                               .rebalance_ms = random_below(&random, 3) ? 0 : 10000,
                                               .scan_ms = 500,
                                               .shuffle = random_below(&random, 2) == 0},
                                    .instance_faults = {.points = 500 + random_below(&random, 5000),
                                                        .crash = (uint32_t)random_below(&random, 2),
                                                        .pause = (uint32_t)random_below(&random, 2),
                                                        .pause_ms = 12000,
                                                        .restart_ms = 4000},
                                    .body = loop_body,
                                    .context = mistake};
    struct world *world = world_create(&options);
    loop_fill(world, 3, 300);
    world_start(world);
    return world;
}

/* NULL = exact and finished. */
static const char *run(uint64_t seed, enum loop_mistake mistake, uint64_t *hash)
{
    struct world *world = make(seed, &mistake);
    bool finished = world_run(world, 60000, loop_done);
    world_heal(world);
    finished = world_run(world, 60000, loop_done);
    const char *difference = loop_difference(world);
    if (difference == NULL && !finished) {
        difference = "does not finish";
    }
    if (hash != NULL) {
        *hash = sim_trace_hash(world->sim);
    }
    world_destroy(world);
    return difference;
}

static void expect_caught(enum loop_mistake mistake, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        if (run(seed, mistake, NULL) != NULL) {
            return;
        }
    }
    cr_assert_fail("%s: not caught in %d seeds", loop_mistake_name(mistake), (int)seeds);
}

Test(sim_loop, a_right_loop_is_exact_and_finishes_on_every_seed)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        const char *difference = run(seed, LOOP_RIGHT, NULL);
        cr_assert_null(difference, "seed %d: %s", (int)seed, difference);
    }
}

Test(sim_loop, the_same_seed_twice_gives_the_same_trace)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t first = 0;
        uint64_t second = 1;
        (void)run(seed, LOOP_RIGHT, &first);
        (void)run(seed, LOOP_RIGHT, &second);
        cr_assert_eq(first, second, "seed %d", (int)seed);
    }
    uint64_t other = 0;
    uint64_t one = 0;
    (void)run(1, LOOP_RIGHT, &one);
    (void)run(2, LOOP_RIGHT, &other);
    cr_assert_neq(one, other);
}

Test(sim_loop, a_time_out_taken_as_committed_is_caught)
{
    expect_caught(LOOP_TIMEOUT_COMMITTED, 200);
}

Test(sim_loop, a_time_out_taken_as_aborted_is_caught)
{
    expect_caught(LOOP_TIMEOUT_ABORTED, 200);
}

Test(sim_loop, a_plain_offset_fetch_is_caught)
{
    expect_caught(LOOP_UNSTABLE_FETCH, 200);
}

Test(sim_loop, no_rewind_after_an_abort_is_caught)
{
    expect_caught(LOOP_NO_REWIND, 200);
}

Test(sim_loop, a_producer_kept_after_a_request_without_an_answer_is_caught)
{
    expect_caught(LOOP_KEEP_PRODUCER, 500);
}

Test(sim_loop, skipping_records_that_failed_is_caught)
{
    expect_caught(LOOP_SKIP_FAILED, 200);
}
