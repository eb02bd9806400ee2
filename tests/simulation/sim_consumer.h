/* SPDX-License-Identifier: Apache-2.0 */
/* A consumer as its two units see it: sim_consumer.c (fetching, the seam) and sim_member.c (the
 * group). */
#ifndef LEAT_SIMULATION_SIM_CONSUMER_H
#define LEAT_SIMULATION_SIM_CONSUMER_H

#include "sim_cluster.h"

enum membership { MEMBER_OUT, MEMBER_JOINING, MEMBER_IN };

struct sim_slot {
    char topic[SIM_NAME_SIZE];
    int32_t partition;
    uint32_t number;
    bool restore, paused, stopped;
    int64_t position;
    int64_t fetched;  /* the fetch that is here reaches up to this */
    int64_t fetch_us; /* when the next answer is here; 0 = not asked */
    int64_t stable;   /* last stable offset, as the last fetch said */
    int64_t end_at;   /* position that the last END told; -1 = none */
};

struct sim_consumer {
    struct consumer consumer;
    struct sim_client client;
    bool uncommitted, fenced, owned, lost;
    char group[SIM_NAME_SIZE], instance[SIM_NAME_SIZE], member[SIM_NAME_SIZE];
    char **topics;
    size_t topic_count;
    struct sim_slot *slots;
    size_t slot_count, last;
    enum membership membership;
    int32_t generation;
    struct sim_metadata taken;
    enum consumer_event_kind queued;   /* to be told */
    enum consumer_event_kind awaiting; /* told, to be answered */
    struct broker_partition *partitions;
    size_t partition_count;
    int64_t polled_us;
    int64_t answered_us; /* the last heartbeat, or join, that was */
};

struct sim_consumer *sim_consumer_of(struct consumer *consumer);
struct sim_consumer *sim_consumer_of_client(struct sim_client *client);
/** Joins and beats from now on. */
void sim_member_start(struct sim_consumer *consumer);
/** Joins at once: the application has answered. */
void sim_member_rejoin(struct sim_consumer *consumer);

#endif
