/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consume-transform-produce loop written by hand over broker.h: it copies topic "in" to "out",
 * partition by partition. Right, it is exact under every fault; each mistake below is one that real
 * programs made. It tests the simulated broker: a simulator that lets a mistake pass is not nasty
 * enough.
 */
#ifndef LEAT_SIMULATION_LOOP_H
#define LEAT_SIMULATION_LOOP_H

#include "world.h"

enum loop_mistake {
    LOOP_RIGHT,
    LOOP_TIMEOUT_COMMITTED, /* a commit without an answer is taken as done */
    LOOP_TIMEOUT_ABORTED,   /* ... as not done */
    LOOP_UNSTABLE_FETCH,    /* start offsets read without waiting for open transactions */
    LOOP_NO_REWIND,         /* goes on behind the records of an aborted transaction */
    LOOP_KEEP_PRODUCER,     /* the same producer after a request without an answer */
    LOOP_SKIP_FAILED,       /* records that could not be sent are skipped, their offsets sent */
    LOOP_NO_TAKEOVER,       /* waits for a dead owner's transaction instead of ending it */
    LOOP_MISTAKE_COUNT
};

const char *loop_mistake_name(enum loop_mistake mistake);

/** A body for world_options; `context` points to the enum loop_mistake. */
bool loop_body(struct instance *instance);

/** Fills topic "in". */
void loop_fill(struct world *world, int32_t partitions, int32_t records);
/** All of "in" is committed and no transaction is open. */
bool loop_done(struct world *world);
/** NULL if "out" is exactly "in"; else what is wrong, in static memory. */
const char *loop_difference(struct world *world);

#endif
