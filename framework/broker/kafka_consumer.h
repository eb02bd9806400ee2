/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka consumer: what kafka_consumer.c (records, slots) and kafka_group.c (membership) share. One
 * thread.
 */
#ifndef LEAT_BROKER_KAFKA_CONSUMER_H
#define LEAT_BROKER_KAFKA_CONSUMER_H

#include "broker/kafka_handle.h"
#include "broker/kafka_slots.h"

struct kafka_consumer {
    struct consumer base;
    struct broker_kafka *broker;
    struct kafka_handle member; /* rk NULL: a plain reader */
    struct kafka_handle reader; /* rk NULL: nothing to read yet */
    rd_kafka_queue_t *queue;    /* of a plain reader, for all slots but restore */
    struct kafka_slots slots;
    char *group;
    rd_kafka_consumer_group_metadata_t *metadata;
    enum consumer_event_kind rebalance; /* unanswered, or CONSUMER_NOTHING */
    bool reported;                      /* the caller has seen it */
    bool answered;                      /* the last assignment was, by consumer_assign */
    bool lost;                          /* librdkafka said so once; its flag is cleared by assign */
    bool closing, uncommitted;
    size_t records;
    struct broker_partition *partitions; /* of the last assignment */
    size_t partition_count;
};

/** Joins the group in the background; sets `member`. */
enum status kafka_group_join(struct kafka_consumer *consumer,
                             const struct consumer_options *options, struct error *error);
/** Assigns the slots that the member reads, each at its next offset. */
enum status kafka_group_assign(struct kafka_consumer *consumer, struct error *error);
enum status kafka_group_unassign(struct kafka_consumer *consumer, struct error *error);
/** Drops what was recorded of the last assignment, its metadata included. */
void kafka_group_forget(struct kafka_consumer *consumer);
/** Operations of the seam. */
enum status kafka_group_committed(struct consumer *, struct broker_offset *, size_t, int64_t,
                                  struct error *);
bool kafka_group_owns(struct consumer *);

#endif
