/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local group: who is in a consumer group and what each was given, as one row in LMDB; and the
 * group's committed offsets. Pure bookkeeping inside a transaction of local_environment: who calls
 * it when is the business of local_consumer and local_upkeep.
 *
 * A group is stable (everybody has the assignment of `generation`) or preparing (waiting until
 * everybody has given back what it had). Arrows: local_group_join, _answer, _leave and _tend, which
 * also gives up who is silent.
 *
 * Invariants: a member id is never used twice; an instance id belongs to one member at most; the
 * generation only grows and changes exactly when assignments are made; `version` changes with
 * everything but a renewal. Times are CLOCK_MONOTONIC, so a row of another boot (`boot`) has no
 * living members.
 */
#ifndef LEAT_BROKER_LOCAL_GROUP_H
#define LEAT_BROKER_LOCAL_GROUP_H

#include "broker/broker.h"
#include "broker/local_environment.h"

enum { LOCAL_MEMBER_SIZE = 33, LOCAL_GROUP_SIZE = 201 }; /* with NUL */

struct local_assigned {
    char *topic;
    int32_t partition;
};

struct local_group_member {
    char id[LOCAL_MEMBER_SIZE];
    char *instance; /* "" = dynamic */
    char **topics;
    size_t topic_count;
    int64_t session_ms, rebalance_ms;
    int64_t renewed_ms;
    bool answered; /* preparing: it has given back what it had */
    struct local_assigned *assigned;
    size_t assigned_count;
};

struct local_group {
    uint64_t version;
    uint64_t boot;
    int32_t generation;
    bool preparing;
    int64_t since_ms;     /* preparing since */
    uint32_t fingerprint; /* of the subscribed topics when the assignments were made */
    struct local_group_member *members; /* in the range assignor's order */
    size_t count;
};

/** What a joining member brings; borrowed. */
struct local_joining {
    const char *id;
    const char *instance; /* "" = dynamic */
    const char *const *topics;
    size_t topic_count;
    int64_t session_ms, rebalance_ms;
};

/** Reads a group; an absent one is empty. Finish it whatever the answer. */
enum status local_group_load(struct local_environment *environment, MDB_txn *txn, const char *name,
                             struct local_group *group, struct error *error);
/** The version of a group's row, 0 when absent: the cheap look. */
enum status local_group_version(struct local_environment *environment, MDB_txn *txn,
                                const char *name, uint64_t *version, struct error *error);
enum status local_group_save(struct local_environment *environment, MDB_txn *txn, const char *name,
                             const struct local_group *group, struct error *error);
void local_group_finish(struct local_group *group);

struct local_group_member *local_group_find(struct local_group *group, const char *id);
struct local_group_member *local_group_find_instance(struct local_group *group,
                                                     const char *instance);

/** Adds a member, or gives an instance's membership to it: in a stable group with the same
 * subscription it then has the assignment at once. */
enum status local_group_join(struct local_environment *environment, MDB_txn *txn,
                             struct local_group *group, const struct local_joining *joining,
                             struct error *error);
void local_group_leave(struct local_group *group, const char *id);
/** The member has given back what it had. False: it is not (any more) in the group. */
bool local_group_answer(struct local_group *group, const char *id);
/** Gives up silent members, begins a rebalance when the subscribed topics have changed, and ends
 * one when all have answered or their time is up. Sets *changed when the row must be saved. */
enum status local_group_tend(struct local_environment *environment, MDB_txn *txn,
                             struct local_group *group, bool *changed, struct error *error);

/* ---- Offsets ---- */

/** Fills offset and metadata; BROKER_NO_OFFSET when none is committed. */
enum status local_offset_get(struct local_environment *environment, MDB_txn *txn, const char *group,
                             struct broker_offset *offset, struct error *error);
enum status local_offset_put(struct local_environment *environment, MDB_txn *txn, const char *group,
                             const struct broker_offset *offset, struct error *error);

#endif
