/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local upkeep: the one thread of an environment. It renews the leases of this process's group
 * members and tends their groups; now and then it frees dead readers' slots, applies retention to
 * idle topics, removes what deleted topics left, and compacts the partitions that this process
 * writes. Each step is short, so that a lease is never late because of another duty.
 *
 * Invariant: it holds none of its locks while it reads or writes the log.
 */
#ifndef LEAT_BROKER_LOCAL_UPKEEP_H
#define LEAT_BROKER_LOCAL_UPKEEP_H

#include <stdint.h>

struct local_environment;
struct local_upkeep;

struct local_upkeep *local_upkeep_start(struct local_environment *environment);
/** Ends the thread and frees it. Bounded by one step. */
void local_upkeep_stop(struct local_upkeep *upkeep);
/** Renews the lease of this member from now on. Any thread, as below. */
void local_upkeep_enlist(struct local_upkeep *upkeep, const char *group, const char *member,
                         int64_t session_ms);
void local_upkeep_discharge(struct local_upkeep *upkeep, const char *member);
/** This process has appended to a compacted partition: it owns the compaction. */
void local_upkeep_wrote(struct local_upkeep *upkeep, uint32_t topic, int32_t partition,
                        int64_t delete_retention_ms);

#endif
