/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random: the seam for everything the engine draws. A small deterministic generator; the same seed
 * gives the same sequence on every machine. Not for secrets.
 */
#ifndef LEAT_BASE_RANDOM_H
#define LEAT_BASE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_init(struct random *random, uint64_t seed);
/** A seed from the system (getrandom). */
uint64_t random_system_seed(void);
uint64_t random_next(struct random *random);
/** Uniform in [0, bound); bound > 0. */
uint64_t random_below(struct random *random, uint64_t bound);
/** A version 4 UUID, 16 bytes. */
void random_uuid(struct random *random, uint8_t uuid[16]);

#endif
