/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations on the LMDB store and on a sorted array. LEAT_SEED and LEAT_STEPS in the
 * environment repeat a failing run or make a longer one. */
#include "base/random.h"
#include "store_steps.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static bool random_source(void *opaque, uint64_t bound, uint64_t *number)
{
    *number = random_below(opaque, bound);
    return true;
}

static uint64_t number_of(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    return text == NULL ? usual : strtoull(text, NULL, 10);
}

static void run_steps(uint64_t seed, uint64_t steps, bool durable)
{
    struct random random;
    seed = number_of("LEAT_SEED", seed);
    (void)fprintf(stderr, "LEAT_SEED=%llu\n", (unsigned long long)seed);
    random_init(&random, seed);
    store_steps_run(random_source, &random, number_of("LEAT_STEPS", steps), durable);
}

Test(store_lmdb_model, agrees_with_a_sorted_array_when_fast)
{
    run_steps(1, 100000, false);
}

Test(store_lmdb_model, agrees_with_a_sorted_array_when_durable)
{
    run_steps(2, 10000, true);
}
