/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine life: an application of the real engine on the embedded broker: counts per key, in a child
 * process that a power loss may end. The broker's folder is not logged: Kafka is another machine.
 */
#ifndef LEAT_TESTS_ENGINE_LIFE_H
#define LEAT_TESTS_ENGINE_LIFE_H

#include "power_log.h"

#include <stdbool.h>

struct engine_life {
    char *folder; /* holds broker/, state/, topology.json and the log of the last start */
    char *state, *log;
    uint64_t fed;    /* records of each input partition */
    bool trust_boot; /* the boot marker stays as it is: for a test that must fail */
};

/** What a start came to. */
enum engine_end {
    ENGINE_DONE,  /* it read its input to the end */
    ENGINE_LOST,  /* the power was lost; the state is what that left */
    ENGINE_FAILED /* it stopped by itself, or crashed */
};

/** Makes the folders and topics. */
void engine_life_begin(struct engine_life *life, const char *folder, bool fast, int flush_ms);
void engine_life_finish(struct engine_life *life);
/** Appends `count` records to each input partition. */
void engine_life_feed(struct engine_life *life, uint64_t count);
/** Runs the engine to the end of its input, or until the power log is `loss` long (0 = no loss);
 * `size`: how long the log became, if it ended by itself. */
enum engine_end engine_life_run(struct engine_life *life, size_t loss, struct random *random,
                                enum power_subset how, size_t *size);
/** How often the last start moved a store aside. */
uint64_t engine_life_asides(const struct engine_life *life);
/** Whether the output is the recomputation of the input; else `text` says what is wrong. */
bool engine_life_right(const struct engine_life *life, char text[200]);

#endif
