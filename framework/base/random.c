/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** (Blackman and Vigna, public domain algorithm), seeded by splitmix64. */
#include "base/random.h"

#include "base/bytes.h"
#include "base/status.h"

#include <sys/random.h>

void random_init(struct random *random, uint64_t seed)
{
    ensure(random != NULL);
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        random->state[i] = z ^ (z >> 31);
    }
}

uint64_t random_system_seed(void)
{
    uint64_t seed = 0;
    ensure(getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed);
    return seed;
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    ensure(bits > 0 && bits < 64);
    return (value << bits) | (value >> (64 - bits));
}

uint64_t random_next(struct random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    ensure(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value = random_next(random);
    while (value >= limit) {
        value = random_next(random);
    }
    ensure(value < limit);
    return value % bound;
}

void random_uuid(struct random *random, uint8_t uuid[16])
{
    ensure(uuid != NULL);
    put_u64(uuid, random_next(random));
    put_u64(uuid + 8, random_next(random));
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}
