/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_membership.h"

#include "base/random.h"
#include "broker/local_upkeep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAVE_TIMEOUT_MS = 2000 };
_Static_assert(LOCAL_MEMBER_SIZE == 2 * 16 + 1, "a member id is a UUID in hexadecimal");

enum act { ACT_OPEN, ACT_REJOIN, ACT_ANSWER, ACT_LEAVE };

struct change {
    struct local_membership *membership;
    enum act act;
    char id[LOCAL_MEMBER_SIZE]; /* the new one of OPEN and REJOIN */
    bool gone;                  /* ANSWER: not in the group any more */
};

static enum status fenced(const struct local_membership *membership, struct error *error)
{
    ensure(*membership->instance != 0);
    return error_set(error, STATUS_FATAL, ERROR_FENCED_INSTANCE,
                     "group %s: another process took the instance id %s: give each its own "
                     "\"instance\"",
                     membership->group, membership->instance);
}

static void id_make(char id[LOCAL_MEMBER_SIZE])
{
    struct random random;
    uint8_t uuid[16];
    random_init(&random, random_system_seed());
    random_uuid(&random, uuid);
    for (size_t i = 0; i < sizeof uuid; i++) {
        (void)snprintf(id + 2 * i, 3, "%02x", uuid[i]);
    }
    ensure(strlen(id) == LOCAL_MEMBER_SIZE - 1);
}

static enum status join_row(struct local_environment *environment, MDB_txn *txn,
                            struct local_group *group, const struct change *change,
                            struct error *error)
{
    ensure(*change->id != 0);
    const struct local_membership *membership = change->membership;
    if (change->act == ACT_REJOIN &&
        local_group_find_instance(group, membership->instance) != NULL) {
        return fenced(membership, error); /* it was given up and somebody newer came */
    }
    struct local_joining joining = {change->id,
                                    membership->instance,
                                    (const char *const *)membership->topics,
                                    membership->topic_count,
                                    membership->session_ms,
                                    membership->rebalance_ms};
    return local_group_join(environment, txn, group, &joining, error);
}

static enum status act_on(struct local_environment *environment, MDB_txn *txn,
                          struct local_group *group, struct change *change, struct error *error)
{
    ensure(change->membership != NULL);
    switch (change->act) {
    case ACT_OPEN:
    case ACT_REJOIN:
        return join_row(environment, txn, group, change, error);
    case ACT_ANSWER:
        change->gone = !local_group_answer(group, change->membership->id);
        return STATUS_OK;
    case ACT_LEAVE:
        local_group_leave(group, change->membership->id);
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* Silent members go first: what they held must not decide what the newcomer gets. */
static enum status change_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                               struct error *error)
{
    ensure(txn != NULL);
    struct change *change = argument;
    const char *name = change->membership->group;
    struct local_group group;
    bool changed = true;
    enum status status = local_group_load(environment, txn, name, &group, error);
    if (status == STATUS_OK) {
        status = local_group_tend(environment, txn, &group, &changed, error);
    }
    if (status == STATUS_OK) {
        status = act_on(environment, txn, &group, change, error);
    }
    if (status == STATUS_OK) {
        status = local_group_tend(environment, txn, &group, &changed, error);
    }
    if (status == STATUS_OK) {
        status = local_group_save(environment, txn, name, &group, error);
    }
    local_group_finish(&group);
    return status;
}

static enum status join(struct local_membership *membership, enum act act, struct error *error)
{
    ensure(act == ACT_OPEN || act == ACT_REJOIN);
    struct error own;
    error = error == NULL ? &own : error;
    struct change change = {.membership = membership, .act = act};
    id_make(change.id);
    enum status status =
        local_write(membership->environment, LOCAL_WRITE_TIMEOUT_MS, change_work, &change, error);
    if (status == STATUS_OK) {
        local_upkeep_discharge(membership->environment->upkeep, membership->id);
        memcpy(membership->id, change.id, sizeof change.id);
        local_upkeep_enlist(membership->environment->upkeep, membership->group, membership->id,
                            membership->session_ms);
        membership->phase = LOCAL_JOINING;
        membership->news = LOCAL_NEWS_NONE;
        membership->seen_version = 0;
    } else if (error->code == ERROR_FENCED_INSTANCE) {
        membership->phase = LOCAL_FENCED;
    }
    return status;
}

static void membership_finish(struct local_membership *membership)
{
    ensure(membership->offered_count == 0 || membership->offered != NULL);
    for (size_t i = 0; i < membership->topic_count; i++) {
        free(membership->topics[i]);
    }
    for (size_t i = 0; i < membership->offered_count; i++) {
        free(membership->offered[i].topic);
    }
    if (membership->txn != NULL) {
        mdb_txn_abort(membership->txn);
    }
    free(membership->topics);
    free(membership->offered);
    free(membership->partitions);
    free(membership->group);
    free(membership->instance);
    free(membership);
}

enum status local_membership_open(struct local_environment *environment,
                                  const struct consumer_options *options, int64_t session_ms,
                                  int64_t rebalance_ms, struct local_membership **result,
                                  struct error *error)
{
    ensure(options->group != NULL);
    if (strlen(options->group) >= LOCAL_GROUP_SIZE || *options->group == 0) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "group \"%s\": a name has 1 to %d bytes", options->group,
                         LOCAL_GROUP_SIZE - 1);
    }
    struct local_membership *membership = memory_allocate(sizeof *membership);
    membership->environment = environment;
    membership->group = memory_text(options->group);
    membership->instance = memory_text(options->instance_id == NULL ? "" : options->instance_id);
    membership->topics = memory_allocate(options->topic_count * sizeof *membership->topics);
    for (size_t i = 0; i < options->topic_count; i++) {
        membership->topics[membership->topic_count++] = memory_text(options->topics[i]);
    }
    membership->session_ms = session_ms;
    membership->rebalance_ms = rebalance_ms;
    membership->credential.generation = -1;
    enum status status = join(membership, ACT_OPEN, error);
    if (status == STATUS_OK) {
        *result = membership;
    } else {
        membership_finish(membership);
    }
    return status;
}

void local_membership_close(struct local_membership *membership)
{
    if (membership == NULL) {
        return;
    }
    ensure(*membership->id != 0 && membership->environment->upkeep != NULL);
    local_upkeep_discharge(membership->environment->upkeep, membership->id);
    if (*membership->instance == 0 && membership->phase != LOCAL_LOST) {
        /* When it cannot be said, the lease runs out. */
        struct change change = {.membership = membership, .act = ACT_LEAVE};
        (void)local_write(membership->environment, LEAVE_TIMEOUT_MS, change_work, &change, NULL);
    }
    membership_finish(membership);
}

/* ---- Looking ---- */

static void offer_take(struct local_membership *membership, struct local_group_member *member)
{
    ensure(member->assigned_count == 0 || member->assigned != NULL);
    for (size_t i = 0; i < membership->offered_count; i++) {
        free(membership->offered[i].topic);
    }
    free(membership->offered);
    membership->offered = member->assigned;
    membership->offered_count = member->assigned_count;
    member->assigned = NULL;
    member->assigned_count = 0;
    membership->partitions = memory_resize(
        membership->partitions, membership->offered_count * sizeof *membership->partitions);
    for (size_t i = 0; i < membership->offered_count; i++) {
        membership->partitions[i] = (struct broker_partition){membership->offered[i].topic,
                                                              membership->offered[i].partition};
    }
}

enum demand { DEMAND_NONE, DEMAND_ANSWER, DEMAND_REJOIN };

/* What the row means for this member; fills news. */
static enum demand decide(struct local_membership *membership, struct local_group *group)
{
    ensure(membership->phase != LOCAL_FENCED);
    struct local_group_member *member = local_group_find(group, membership->id);
    enum local_phase phase = membership->phase;
    membership->news = LOCAL_NEWS_NONE;
    if (member == NULL && local_group_find_instance(group, membership->instance) != NULL) {
        membership->phase = LOCAL_FENCED;
        return DEMAND_NONE;
    }
    if (phase == LOCAL_LOST) {
        return DEMAND_NONE;
    }
    if (member == NULL) {
        if (phase == LOCAL_JOINING) {
            return DEMAND_REJOIN;
        }
        membership->news = LOCAL_NEWS_LOST;
        return DEMAND_NONE;
    }
    if (group->preparing) {
        if (!member->answered && phase == LOCAL_JOINING) {
            return DEMAND_ANSWER; /* it was never told of what it would give back */
        }
        if (!member->answered && phase != LOCAL_REVOKED) {
            membership->news = LOCAL_NEWS_REVOKED;
        }
    } else if (phase == LOCAL_JOINING) {
        membership->offered_generation = group->generation;
        offer_take(membership, member);
        membership->news = LOCAL_NEWS_ASSIGNED;
    }
    return DEMAND_NONE;
}

static enum status look_once(struct local_membership *membership, enum demand *demand,
                             struct error *error)
{
    ensure(membership->phase != LOCAL_FENCED);
    struct local_environment *environment = membership->environment;
    uint64_t version = 0;
    *demand = DEMAND_NONE;
    membership->seen_commits = local_commits(environment);
    enum status status = local_read_begin(environment, &membership->txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = local_group_version(environment, membership->txn, membership->group, &version, error);
    if (status == STATUS_OK && version != membership->seen_version) {
        struct local_group group;
        status = local_group_load(environment, membership->txn, membership->group, &group, error);
        if (status == STATUS_OK) {
            *demand = decide(membership, &group);
            membership->seen_version = version;
        }
        local_group_finish(&group);
    }
    local_read_pause(environment, membership->txn);
    return status;
}

static enum status answer(struct local_membership *membership, struct error *error)
{
    ensure(membership->phase == LOCAL_REVOKED || membership->phase == LOCAL_JOINING);
    struct change change = {.membership = membership, .act = ACT_ANSWER};
    enum status status =
        local_write(membership->environment, LOCAL_WRITE_TIMEOUT_MS, change_work, &change, error);
    if (status == STATUS_OK && change.gone) {
        return join(membership, ACT_REJOIN, error);
    }
    if (status == STATUS_OK) {
        membership->phase = LOCAL_JOINING;
        membership->news = LOCAL_NEWS_NONE;
        membership->seen_version = 0;
    }
    return status;
}

enum status local_membership_look(struct local_membership *membership, struct error *error)
{
    ensure(*membership->id != 0);
    while (membership->phase != LOCAL_FENCED &&
           (membership->seen_version == 0 ||
            membership->seen_commits != local_commits(membership->environment))) {
        enum demand demand = DEMAND_NONE;
        enum status status = look_once(membership, &demand, error);
        if (status == STATUS_OK && demand == DEMAND_ANSWER) {
            status = answer(membership, error);
        } else if (status == STATUS_OK && demand == DEMAND_REJOIN) {
            status = join(membership, ACT_REJOIN, error);
        }
        if (status != STATUS_OK || demand == DEMAND_NONE) {
            return status != STATUS_OK                 ? status
                   : membership->phase == LOCAL_FENCED ? fenced(membership, error)
                                                       : STATUS_OK;
        }
    }
    return membership->phase == LOCAL_FENCED ? fenced(membership, error) : STATUS_OK;
}

enum local_news local_membership_tell(struct local_membership *membership)
{
    enum local_news news = membership->news;
    membership->news = LOCAL_NEWS_NONE;
    switch (news) {
    case LOCAL_NEWS_ASSIGNED:
        ensure(membership->phase == LOCAL_JOINING);
        membership->phase = LOCAL_OFFERED;
        break;
    case LOCAL_NEWS_REVOKED:
        ensure(membership->phase == LOCAL_OFFERED || membership->phase == LOCAL_OWNING);
        membership->phase = LOCAL_REVOKED;
        break;
    case LOCAL_NEWS_LOST:
        ensure(membership->phase != LOCAL_JOINING);
        membership->phase = LOCAL_LOST;
        break;
    case LOCAL_NEWS_NONE:
        break;
    }
    return news;
}

void local_membership_assigned(struct local_membership *membership)
{
    if (membership->phase != LOCAL_OFFERED) {
        return;
    }
    struct local_credential *credential = &membership->credential;
    ensure(strlen(membership->group) < sizeof credential->group);
    memcpy(credential->group, membership->group, strlen(membership->group) + 1);
    memcpy(credential->member, membership->id, sizeof credential->member);
    credential->generation = membership->offered_generation;
    membership->phase = LOCAL_OWNING;
}

enum status local_membership_unassigned(struct local_membership *membership, struct error *error)
{
    ensure(membership->offered_count == 0 || membership->offered != NULL);
    switch (membership->phase) {
    case LOCAL_REVOKED:
        return answer(membership, error);
    case LOCAL_LOST:
        return join(membership, ACT_REJOIN, error);
    case LOCAL_FENCED:
        return fenced(membership, error);
    default:
        return STATUS_OK;
    }
}

bool local_membership_owns(struct local_membership *membership)
{
    struct error error; /* a failed look leaves what is known */
    (void)local_membership_look(membership, &error);
    return (membership->phase == LOCAL_OWNING || membership->phase == LOCAL_REVOKED) &&
           membership->news != LOCAL_NEWS_LOST;
}

enum status local_credential_check(struct local_environment *environment, MDB_txn *txn,
                                   const struct local_credential *credential, struct error *error)
{
    ensure(credential->generation >= 0 && *credential->member != 0);
    struct local_group group;
    enum status status = local_group_load(environment, txn, credential->group, &group, error);
    if (status == STATUS_OK && (group.generation != credential->generation ||
                                local_group_find(&group, credential->member) == NULL)) {
        status = error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                           "group %s: generation %d is no longer this member's (now %d)",
                           credential->group, credential->generation, group.generation);
    }
    local_group_finish(&group);
    return status;
}
