/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka fence: InitProducerId for a transactional id, which ends its open transaction and fences
 * its owner, without librdkafka's fixed wait of 500 ms over an open one (R3).
 */
#ifndef LEAT_BROKER_KAFKA_FENCE_H
#define LEAT_BROKER_KAFKA_FENCE_H

#include "broker/kafka_handle.h"

/** A transactional producer handle of `id`, not yet initialised. `owner` is that of the handle. */
enum status kafka_fence_open(struct kafka_handle *handle, struct broker_kafka *broker,
                             const char *id, void *owner, struct error *error);

/** Opens and initialises a handle of `id`, however long the cluster takes, until `stop`
 *  (STATUS_RETRY/ERROR_STOPPED). STATUS_FATAL: denied, a limit, fenced meanwhile. On anything but
 *  STATUS_OK the handle is closed. */
enum status kafka_fence(struct kafka_handle *handle, struct broker_kafka *broker, const char *id,
                        void *owner, const atomic_bool *stop, struct error *error);

#endif
