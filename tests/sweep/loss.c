/* SPDX-License-Identifier: Apache-2.0 */
#include "loss.h"

#include "folders.h"
#include "power_log.h"

#include "base/bytes.h"
#include "base/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char *image;
static uint64_t loss_seed;

void loss_watch(const char *state, uint64_t seed)
{
    ensure(image == NULL);
    ensure(mkdir(state, 0700) == 0 || errno == EEXIST);
    image = memory_format("%s.image", state);
    loss_seed = seed;
    power_log_start(state);
}

void loss_strike(void)
{
    static const enum power_subset subsets[] = {POWER_RANDOM, POWER_NONE,   POWER_RANDOM,
                                                POWER_ONE,    POWER_RANDOM, POWER_ALL_BUT_ONE};
    struct random random;
    ensure(image != NULL);
    random_init(&random, loss_seed);
    power_log_image(image, power_log_size(), &random,
                    subsets[loss_seed % (sizeof subsets / sizeof *subsets)]);
}

void loss_adopt(const char *state)
{
    char *left = memory_format("%s.image", state);
    folders_remove(state);
    ensure(rename(left, state) == 0);
    power_reboot(state);
    free(left);
}
