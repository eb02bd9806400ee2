/* SPDX-License-Identifier: Apache-2.0 */
/* Power options: the command line of the two power programs, and the folder they work in. */
#ifndef LEAT_TESTS_POWER_OPTIONS_H
#define LEAT_TESTS_POWER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct power_options {
    uint64_t images; /* --images: at least so many, in each mode */
    uint64_t seed;   /* --seed */
    const char *mode;
    int64_t chain;         /* --chain: this one only; -1 = as many as it takes */
    uint64_t expect_wrong; /* --expect-wrong: fails unless so many per cent are wrong; 0 = none */
    bool trust_boot;       /* --trust-boot: the opening does not compare boot ids */
    bool lying;            /* --lying: the disk does not sync */
    bool verbose;
};

/** Exits with 2 and the usage, which names `modes`, if it is not right. */
void power_options_read(struct power_options *options, int count, char **arguments,
                        const char *modes);
/** A new folder under $TMPDIR or /tmp; free it. */
char *power_folder_make(void);

#endif
