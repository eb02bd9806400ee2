/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local membership: one consumer's part in its group, as a small state machine over the group's
 * row.
 *
 *            join              news ASSIGNED          answered by assign
 *   (open) ------> JOINING ------------------> OFFERED ------------------> OWNING
 *                     ^                           |                          |
 *                     |                           +---- news REVOKED --------+--> REVOKED
 *                     +------- unassign -------------------------------------------'  |
 *                     +------- unassign ------- LOST <------ news LOST (from OFFERED, OWNING,
 * REVOKED) any ---- another member took the instance id ----> FENCED, for ever
 *
 * Not here: records, slots. One owner thread; the lease is renewed by local_upkeep.
 */
#ifndef LEAT_BROKER_LOCAL_MEMBERSHIP_H
#define LEAT_BROKER_LOCAL_MEMBERSHIP_H

#include "broker/local_group.h"

enum local_phase {
    LOCAL_JOINING,
    LOCAL_OFFERED,
    LOCAL_OWNING,
    LOCAL_REVOKED,
    LOCAL_LOST,
    LOCAL_FENCED
};
enum local_news { LOCAL_NEWS_NONE, LOCAL_NEWS_ASSIGNED, LOCAL_NEWS_REVOKED, LOCAL_NEWS_LOST };

/** What fences offsets: taken with an assignment, compared at commit. */
struct local_credential {
    char group[LOCAL_GROUP_SIZE];
    char member[LOCAL_MEMBER_SIZE];
    int32_t generation; /* -1 = none taken yet */
};

struct local_membership {
    struct local_environment *environment;
    char *group, *instance;
    char **topics;
    size_t topic_count;
    int64_t session_ms, rebalance_ms;
    char id[LOCAL_MEMBER_SIZE];
    enum local_phase phase;
    enum local_news news; /* what the next poll must tell */
    uint32_t seen_commits;
    uint64_t seen_version; /* of the row that phase and news were decided by; 0 = look again */
    int32_t offered_generation;
    struct local_assigned *offered;
    struct broker_partition *partitions; /* views of `offered` for the caller */
    size_t offered_count;
    struct local_credential credential;
    MDB_txn *txn; /* reset, for renewal */
};

/** Joins. STATUS_BAD_CONFIG: a group name too long. */
enum status local_membership_open(struct local_environment *environment,
                                  const struct consumer_options *options, int64_t session_ms,
                                  int64_t rebalance_ms, struct local_membership **membership,
                                  struct error *error);
/** A dynamic member leaves; a static one's lease runs out. Takes NULL. */
void local_membership_close(struct local_membership *membership);
/** Looks at the group's row if anything was committed since; sets `news`.
 * STATUS_FATAL/ERROR_FENCED_INSTANCE. */
enum status local_membership_look(struct local_membership *membership, struct error *error);
/** Takes the news: the phase moves as if the caller had been told. */
enum local_news local_membership_tell(struct local_membership *membership);
/** The caller assigned: takes the credential if it was the first time after ASSIGNED. */
void local_membership_assigned(struct local_membership *membership);
/** The caller unassigned: answers REVOKED, rejoins after LOST. */
enum status local_membership_unassigned(struct local_membership *membership, struct error *error);
bool local_membership_owns(struct local_membership *membership);
/** Whether offsets may be committed under this credential; STATUS_ABORT/ERROR_NOT_OWNER if not. */
enum status local_credential_check(struct local_environment *environment, MDB_txn *txn,
                                   const struct local_credential *credential, struct error *error);

static inline bool local_membership_waits(const struct local_membership *membership)
{
    return membership->phase != LOCAL_OWNING;
}

#endif
