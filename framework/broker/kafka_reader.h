/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka reader: partitions read without a group, each into a queue of the caller's choice, from a
 * handle of their own. What a changelog under restore and a plain reader use: a group's own
 * consumer has one queue for all, and shares it with the records of the inputs.
 *
 * One owner thread. Records must be destroyed before kafka_handle_close.
 */
#ifndef LEAT_BROKER_KAFKA_READER_H
#define LEAT_BROKER_KAFKA_READER_H

#include "broker/kafka_handle.h"

/** A handle that reads committed records, or all. */
enum status kafka_reader_open(struct kafka_handle *handle, struct broker_kafka *broker,
                              bool uncommitted, struct error *error);

/** Starts reading at `offset`; what arrives goes to `queue`. */
enum status kafka_reader_start(rd_kafka_topic_t *topic, int32_t partition, int64_t offset,
                               rd_kafka_queue_t *queue, struct error *error);
/** Stops it; what was fetched is dropped, also from the queue. */
void kafka_reader_stop(rd_kafka_topic_t *topic, int32_t partition);

#endif
