/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local topic: names, numbers and properties of the embedded log's topics. Not their records
 * (local_log). Invariant: an id is never given twice, so what still refers to a deleted topic finds
 * nothing.
 */
#ifndef LEAT_BROKER_LOCAL_TOPIC_H
#define LEAT_BROKER_LOCAL_TOPIC_H

#include "broker/broker.h"
#include "broker/local_environment.h"

/** Stored as it is under the topic's name. */
struct local_topic {
    uint32_t id;
    int32_t partition_count;
    int64_t retention_ms, retention_size; /* -1 = for ever, without bound */
    int64_t delete_retention_ms;
    int64_t max_record_size;
    uint8_t compacted, deleted; /* cleanup.policy */
    uint8_t zero[6];
};

/** STATUS_NOT_FOUND if it does not exist. */
enum status local_topic_find(struct local_environment *environment, MDB_txn *txn, const char *name,
                             struct local_topic *topic, struct error *error);
/** Calls `each` for every topic in byte order of the names until it does not answer OK. */
enum status local_topic_each(struct local_environment *environment, MDB_txn *txn,
                             enum status (*each)(void *argument, const char *name,
                                                 const struct local_topic *topic),
                             void *argument, struct error *error);
/** Whether it is 1 to 249 of a-z A-Z 0-9 . _ - and neither "." nor "..". */
bool local_topic_name_valid(const char *name);
/** Fills all but id and count: defaults, then the properties. STATUS_BAD_CONFIG names the property.
 */
enum status local_topic_properties(const struct broker_property *properties, size_t count,
                                   struct local_topic *topic, struct error *error);
/** STATUS_FATAL/ERROR_TOPIC_EXISTS. `topic` is without an id; it gets one. */
enum status local_topic_create(struct local_environment *environment, const char *name,
                               struct local_topic *topic, struct error *error);
/** STATUS_NOT_FOUND if it does not exist. Its committed offsets go too; its records in slices, here
 * and by upkeep. */
enum status local_topic_delete(struct local_environment *environment, const char *name,
                               struct error *error);
/** Removes a slice of the records of deleted topics; STATUS_NOT_FOUND when none are left. */
enum status local_topic_bury(struct local_environment *environment, struct error *error);

#endif
