/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store life: what one process does to a task's store: sessions of random commits while the power
 * log runs, with the expected content after each of them.
 *
 * Invariant: `states` is in the order in which they were reached; state i was reached, for certain,
 * when the log was states[i].reached long, and may be on the disk from states[i - 1].reached on.
 */
#ifndef LEAT_TESTS_STORE_LIFE_H
#define LEAT_TESTS_STORE_LIFE_H

#include "content.h"

#include <stddef.h>

struct store_state {
    uint64_t digest;
    size_t reached; /* entries of the log when the call that made it had returned */
    size_t firm;    /* from this length of the log on a power loss may not undo it */
    bool fast;      /* committed without syncing */
};

/** [from, to): where the store was being made or moved aside. */
struct store_span {
    size_t from, to;
};

struct store_life {
    char *root;   /* the logged directory */
    char *folder; /* of the task, below it */
    struct random random;
    int fast_of_16; /* how many of the sessions are `fast` */
    struct store_state *states;
    size_t state_count;
    struct store_span *makings;
    size_t making_count;
    size_t size; /* of the log at the end */
};

/** Runs a life below `root`, which exists and holds what a life before left (`digest`), or is
 * empty. The power log runs afterwards; it is the caller's to stop. Ends the process with a line if
 * the store fails. */
void store_life_run(struct store_life *life, const char *root, uint64_t seed, int fast_of_16,
                    uint64_t digest);
void store_life_finish(struct store_life *life);

/** The newest state that was reached when the log was `cut` long. */
size_t store_life_reached(const struct store_life *life, size_t cut);
/** Whether the store was being made at this cut: it may be missing or invalid. */
bool store_life_making(const struct store_life *life, size_t cut);

#endif
