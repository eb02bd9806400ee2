/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local assign: who gets which partitions, exactly as Kafka's range assignor decides: for each
 * topic the members subscribed to it, in order, get contiguous ranges; the first ones get one more.
 * Topics with equal partition counts are co-partitioned by that.
 */
#ifndef LEAT_BROKER_LOCAL_ASSIGN_H
#define LEAT_BROKER_LOCAL_ASSIGN_H

#include "broker/local_group.h"

/** Gives every member its list anew (it may be empty). Members are in the assignor's order. */
enum status local_assign(struct local_environment *environment, MDB_txn *txn,
                         struct local_group *group, struct error *error);
/** A number that changes when a subscribed topic appears, vanishes, is made anew or grows. */
enum status local_fingerprint(struct local_environment *environment, MDB_txn *txn,
                              const struct local_group *group, uint32_t *fingerprint,
                              struct error *error);
void local_assigned_clear(struct local_group_member *member);
/** A number of this boot of the kernel; monotonic times are comparable within one. */
uint64_t local_boot(void);

#endif
