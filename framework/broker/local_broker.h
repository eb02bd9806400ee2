/* SPDX-License-Identifier: Apache-2.0 */
/* Local broker: what broker_local.c, local_consumer.c and local_producer.c share: the handle's
 * settings. */
#ifndef LEAT_BROKER_LOCAL_BROKER_H
#define LEAT_BROKER_LOCAL_BROKER_H

#include "broker/broker.h"
#include "broker/local_environment.h"
#include "broker/local_group.h"

struct local_credential;

struct local_broker {
    struct broker broker; /* first: a struct broker * is one of these */
    struct local_environment *environment;
    int64_t session_timeout_ms, transaction_timeout_ms, callback_timeout_ms;
    size_t prefetch_size;
};

enum status local_consumer_open(struct broker *broker, const struct consumer_options *options,
                                struct consumer **consumer, struct error *error);
enum status local_producer_open(struct broker *broker, const char *transactional_id,
                                struct producer **producer, struct error *error);
/** A new epoch of the id: whoever had it is fenced. */
enum status local_producer_fence(struct local_environment *environment,
                                 const char *transactional_id, int64_t timeout_ms, uint64_t *epoch,
                                 struct error *error);
/** Whether `epoch` is still the newest of the id. */
enum status local_epoch_is(struct local_environment *environment, MDB_txn *txn, const char *id,
                           uint64_t epoch, bool *mine, struct error *error);
/** The group credential of a consumer; NULL if it has no group or was never assigned. */
const struct local_credential *local_consumer_credential(struct consumer *consumer);

#endif
