/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local compaction: keeps the newest record of each key of a compacted partition. A pass first
 * reads what was appended since the last one and remembers the newest offset of each key, then
 * rewrites the log below that, slice by slice, without the records that were superseded and without
 * tombstones older than delete.retention.ms. Offsets stay, so gaps appear.
 *
 * Invariants: each slice is one write transaction and leaves a correct log, so a pass may end
 * anywhere; it goes from old to new, so a tombstone outlives what it deletes; a record is dropped
 * only if a newer one of its key is in the log. Memory is bounded: a pass that meets too many keys
 * covers less of the log.
 */
#ifndef LEAT_BROKER_LOCAL_COMPACTION_H
#define LEAT_BROKER_LOCAL_COMPACTION_H

#include "broker/local_environment.h"

struct local_compaction;

/** For one partition; costs nothing until the first pass. */
struct local_compaction *local_compaction_create(struct local_environment *environment,
                                                 uint32_t topic, int32_t partition,
                                                 int64_t delete_retention_ms);
void local_compaction_destroy(struct local_compaction *compaction);
/** One short step. *more: call again soon. STATUS_NOT_FOUND: the topic is gone. */
enum status local_compaction_step(struct local_compaction *compaction, bool *more,
                                  struct error *error);

#endif
