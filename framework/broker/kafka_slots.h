/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka slots: the assignment of a consumer, by slot and by (topic handle, partition), with the
 * next offset of each, which librdkafka is not trusted to know. One thread.
 */
#ifndef LEAT_BROKER_KAFKA_SLOTS_H
#define LEAT_BROKER_KAFKA_SLOTS_H

#include "broker/kafka_handle.h"

struct kafka_slot {
    uint32_t slot;
    rd_kafka_topic_t *topic; /* of the handle that reads it; one reference a slot */
    int32_t partition;
    int64_t next; /* lowest offset that may still be delivered */
    bool restore, paused;
    rd_kafka_queue_t *queue; /* its own: restore slots; else NULL */
};

struct kafka_slot_topic {
    const rd_kafka_topic_t *topic;
    struct kafka_slot **by_partition; /* NULL where not assigned */
    int32_t partition_count;          /* of the array */
};

struct kafka_slots {
    struct kafka_slot *items;
    size_t count;
    struct kafka_slot **by_slot; /* by number; NULL where there is none */
    size_t slot_end;
    struct kafka_slot_topic *topics;
    size_t topic_count;
    struct kafka_slot *last; /* hit */
};

/** Builds the table; topic handles come from `reader` for restore slots (and from it alone where
 * `rk` is NULL). Slots must be unique. */
void kafka_slots_init(struct kafka_slots *slots, const struct consumer_assignment *assignment,
                      size_t count, rd_kafka_t *rk, rd_kafka_t *reader);
void kafka_slots_finish(struct kafka_slots *slots);

/** NULL if the slot is not assigned. */
struct kafka_slot *kafka_slots_get(const struct kafka_slots *slots, uint32_t slot);
/** NULL if the partition is not assigned. Cheap: records come in runs of one partition. */
struct kafka_slot *kafka_slots_find(struct kafka_slots *slots, const rd_kafka_topic_t *topic,
                                    int32_t partition);

#endif
