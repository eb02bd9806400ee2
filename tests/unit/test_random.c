/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

Test(random, the_sequence_of_a_seed_is_fixed)
{
    /* Computed by an independent implementation of splitmix64 and xoshiro256**. */
    struct random random;
    random_init(&random, 0);
    cr_expect_eq(random_next(&random), UINT64_C(0x99ec5f36cb75f2b4));
    cr_expect_eq(random_next(&random), UINT64_C(0xbf6e1f784956452a));
    random_init(&random, 42);
    cr_expect_eq(random_next(&random), UINT64_C(0x15780b2e0c2ec716));
    cr_expect_eq(random_next(&random), UINT64_C(0x6104d9866d113a7e));
}

Test(random, numbers_below_a_bound_are_spread_evenly)
{
    struct random random;
    int seen[10] = {0};
    random_init(&random, 3);
    for (int i = 0; i < 10000; i++) {
        uint64_t value = random_below(&random, 10);
        cr_assert_lt(value, 10);
        seen[value]++;
    }
    for (int i = 0; i < 10; i++) {
        cr_expect(seen[i] > 850 && seen[i] < 1150, "%d: %d of 10000", i, seen[i]);
    }
    cr_expect_eq(random_below(&random, 1), 0);
    (void)random_below(&random, UINT64_MAX);
}

Test(random, a_bound_of_zero_is_a_bug, .signal = SIGABRT)
{
    struct random random;
    random_init(&random, 1);
    (void)random_below(&random, 0);
    cr_assert_fail("it went on");
}

Test(random, uuids_are_of_version_four_and_differ)
{
    struct random random;
    uint8_t first[16];
    uint8_t second[16];
    random_init(&random, random_system_seed());
    random_uuid(&random, first);
    random_uuid(&random, second);
    cr_expect_eq(first[6] & 0xf0, 0x40);
    cr_expect_eq(first[8] & 0xc0, 0x80);
    cr_expect_neq(memcmp(first, second, 16), 0);
    cr_expect_neq(random_system_seed(), random_system_seed());
}
