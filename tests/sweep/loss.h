/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loss: the state directory as a loss of power may leave it at a point, through tests/power.
 *
 * The embedded broker's directory is not hurt: it stands for another machine.
 */
#ifndef LEAT_SWEEP_LOSS_H
#define LEAT_SWEEP_LOSS_H

#include <stdint.h>

/** From now on what happens below `state` is noted. `seed` decides what of it is lost. */
void loss_watch(const char *state, uint64_t seed);
/** Now: leaves the image of the state beside it. */
void loss_strike(void);
/** In another process, after the one that was struck: the image takes the state's place, and the
 * machine has booted again. */
void loss_adopt(const char *state);

#endif
