/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated cluster: a broker behind broker.h, in memory and in virtual time, as nasty as Kafka.
 *
 *  - Logs hold open transactions; each ends with a marker that takes an offset and is written one
 * partition at a time, some time after EndTxn was answered. Committed readers stop at the last
 * stable offset and never see aborted records; a position may lie behind control records only.
 *  - Offsets of a transaction are pending in the group until their own marker: stable fetches wait.
 *  - Coordinators keep epochs per transactional id: init aborts the open transaction and fences; a
 *    transaction that is too old is aborted by a scan and its owner fenced.
 *  - Groups have generations, static and dynamic members, eager range assignment, sessions. A stale
 *    generation is refused; who owns a partition is not checked.
 *  - Requests may be slow, lost, unanswered, or arrive late, after their sender gave up
 * (KAFKA-17754).
 *
 * Not simulated: several brokers, replication, cooperative assignment, partitions added to a topic.
 */
#ifndef LEAT_SIMULATION_SIM_BROKER_H
#define LEAT_SIMULATION_SIM_BROKER_H

#include "broker/broker.h"
#include "sim.h"

struct sim_cluster;

/** What may go wrong; all zero = nothing does. Rates are per 10,000 requests. */
struct sim_faults {
    uint32_t slow;        /* answered after 0.2 to 3 s */
    uint32_t broken;      /* the connection breaks: lost, unanswered or late */
    uint32_t late_init;   /* an InitProducerId arrives a second time, later */
    uint32_t refused;     /* a produce fails for good */
    int64_t late_ms;      /* how late at most */
    int64_t marker_ms;    /* how long a marker may take at most */
    int64_t fence_ms;     /* mean time between transactions that the coordinator gives up early; 0 =
                             never */
    int64_t rebalance_ms; /* mean time between rebalances without a reason; 0 = never */
    int64_t compact_ms;   /* mean time between compactions of a compacted topic; 0 = never */
    int64_t tombstone_ms; /* how long they keep deletions (delete.retention.ms); 0 = for ever */
    int64_t cut_ms;  /* mean time between cuts of the network of one process or, rarely, of all; 0 =
                       never */
    int64_t scan_ms; /* how often transactions are checked for their time-out; 0 = 10 s */
    bool shuffle;    /* a rebalance moves partitions even without a new member */
    bool unverified; /* brokers before 3.6: a produce need not belong to an open transaction */
};

struct sim_statistics {
    int64_t committed, aborted, empty, fenced, timed_out, inits, takeovers, rebalances, expired,
        broken, cuts, late_ends, late_offsets,
        torn; /* torn: a late EndTxn ended a later transaction */
};

struct sim_cluster *sim_cluster_create(struct sim *sim, const struct sim_faults *faults);
/** Every broker handle must be closed or dropped before. */
void sim_cluster_destroy(struct sim_cluster *cluster);
/** From now on nothing goes wrong (requests under way still may). */
void sim_cluster_heal(struct sim_cluster *cluster);
const struct sim_statistics *sim_cluster_statistics(const struct sim_cluster *cluster);

/** One process's view of the cluster. `settings` gives the time-outs; the handle belongs to the
 * running fiber's process. */
struct broker *sim_broker_open(struct sim_cluster *cluster, const struct broker_settings *settings);
/** The process died: its consumers and producers are gone without a word, requests under way may
 *  still arrive. Takes NULL. */
void sim_broker_drop(struct broker *broker);

/* ---- Direct access for tests and oracles: no time passes, nothing fails ---- */

void sim_topic_make(struct sim_cluster *cluster, const char *name, int32_t partitions,
                    bool compacted);
/** Appends a committed record and returns its offset. */
int64_t sim_append(struct sim_cluster *cluster, const char *topic, int32_t partition,
                   struct bytes key, struct bytes value, int64_t timestamp_ms);
int32_t sim_partition_count(struct sim_cluster *cluster, const char *topic);
/** A record, with one header, of a transaction of `id` that was decided, whose marker the broker
 * lost: the last stable offset stays there for good. */
void sim_lose_marker(struct sim_cluster *cluster, const char *topic, int32_t partition,
                     const char *id, const char *header);
/** The same for the offset of one partition: it stays pending for good. */
void sim_lose_offset_marker(struct sim_cluster *cluster, const char *group, const char *topic,
                            int32_t partition);
int64_t sim_log_end(struct sim_cluster *cluster, const char *topic, int32_t partition);
int64_t sim_log_stable(struct sim_cluster *cluster, const char *topic, int32_t partition);
/** The committed records from `offset` on, in order, until `visit` answers false. */
void sim_read(struct sim_cluster *cluster, const char *topic, int32_t partition, int64_t offset,
              bool (*visit)(void *context, const struct broker_record *record), void *context);
/** The same from the beginning, with what was compacted away or deleted since. */
void sim_read_history(struct sim_cluster *cluster, const char *topic, int32_t partition,
                      bool (*visit)(void *context, const struct broker_record *record),
                      void *context);
/** All committed records, also those that no reader gets to for the open transactions before
 *  them. */
void sim_read_committed(struct sim_cluster *cluster, const char *topic, int32_t partition,
                        bool (*visit)(void *context, const struct broker_record *record),
                        void *context);
/** The committed offset, pending ones left aside; BROKER_NO_OFFSET if none. */
int64_t sim_group_offset(struct sim_cluster *cluster, const char *group, const char *topic,
                         int32_t partition);
void sim_group_set_offset(struct sim_cluster *cluster, const char *group, const char *topic,
                          int32_t partition, int64_t offset, const char *metadata);
/** All members must rejoin. */
void sim_group_rebalance(struct sim_cluster *cluster, const char *group);
/** No transaction is open or waits for its markers. */
bool sim_cluster_settled(const struct sim_cluster *cluster);
/** None waits for its markers. */
bool sim_cluster_marked(const struct sim_cluster *cluster);
/** The coordinator gives up the open transaction of this id now. False if none is open. */
bool sim_fence(struct sim_cluster *cluster, const char *transactional_id);
/** Keeps the last record of each key below the stable end, drops what was aborted; with
 * `tombstones` false drops deletions too. The last two records of a log stay. */
void sim_compact(struct sim_cluster *cluster, const char *topic, bool tombstones);
/** The same, as Kafka does it: a deletion stays for that long after the first compaction that came
 * by. */
void sim_compact_aged(struct sim_cluster *cluster, const char *topic, int64_t tombstone_ms);
/** Deletes what lies below `before`. */
void sim_retain(struct sim_cluster *cluster, const char *topic, int32_t partition, int64_t before);

#endif
