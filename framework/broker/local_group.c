/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_group.h"

#include "base/clock.h"
#include "base/log.h"
#include "broker/local_assign.h"
#include "broker/local_topic.h"

#include <stdlib.h>
#include <string.h>

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

struct local_group_member *local_group_find(struct local_group *group, const char *id)
{
    ensure(*id != 0);
    for (size_t i = 0; i < group->count; i++) {
        if (strcmp(group->members[i].id, id) == 0) {
            return &group->members[i];
        }
    }
    return NULL;
}

struct local_group_member *local_group_find_instance(struct local_group *group,
                                                     const char *instance)
{
    ensure(instance != NULL);
    for (size_t i = 0; i < group->count && *instance != 0; i++) {
        if (strcmp(group->members[i].instance, instance) == 0) {
            return &group->members[i];
        }
    }
    return NULL;
}

void local_assigned_clear(struct local_group_member *member)
{
    ensure(member->assigned_count == 0 || member->assigned != NULL);
    for (size_t i = 0; i < member->assigned_count; i++) {
        free(member->assigned[i].topic);
    }
    free(member->assigned);
    member->assigned = NULL;
    member->assigned_count = 0;
}

static void topics_clear(struct local_group_member *member)
{
    ensure(member->topic_count == 0 || member->topics != NULL);
    for (size_t i = 0; i < member->topic_count; i++) {
        free(member->topics[i]);
    }
    free(member->topics);
    member->topics = NULL;
    member->topic_count = 0;
}

static void member_finish(struct local_group_member *member)
{
    local_assigned_clear(member);
    topics_clear(member);
    free(member->instance);
}

void local_group_finish(struct local_group *group)
{
    ensure(group->count == 0 || group->members != NULL);
    for (size_t i = 0; i < group->count; i++) {
        member_finish(&group->members[i]);
    }
    free(group->members);
    *group = (struct local_group){0};
}

/* Static members by instance id before dynamic ones by member id, as Java's assignor sorts them. */
static int member_order(const void *a, const void *b)
{
    const struct local_group_member *x = a;
    const struct local_group_member *y = b;
    bool x_static = *x->instance != 0;
    bool y_static = *y->instance != 0;
    if (x_static != y_static) {
        return x_static ? -1 : 1;
    }
    return x_static ? strcmp(x->instance, y->instance) : strcmp(x->id, y->id);
}

static void group_sort(struct local_group *group)
{
    ensure(group->count > 0 && group->members != NULL);
    if (group->count > 1) {
        qsort(group->members, group->count, sizeof *group->members, member_order);
    }
}

static void prepare(struct local_group *group)
{
    ensure(group->generation >= 0);
    group->version += 1;
    if (group->preparing) {
        return;
    }
    group->preparing = true;
    group->since_ms = now_ms();
    for (size_t i = 0; i < group->count; i++) {
        group->members[i].answered = false;
    }
}

static bool same_topics(const struct local_group_member *member,
                        const struct local_joining *joining)
{
    ensure(joining->topic_count == 0 || joining->topics != NULL);
    if (member->topic_count != joining->topic_count) {
        return false;
    }
    for (size_t i = 0; i < member->topic_count; i++) {
        if (strcmp(member->topics[i], joining->topics[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void topics_set(struct local_group_member *member, const struct local_joining *joining)
{
    ensure(joining->topic_count == 0 || joining->topics != NULL);
    topics_clear(member);
    ensure(member->topic_count == 0);
    member->topics = memory_allocate(joining->topic_count * sizeof *member->topics);
    for (size_t i = 0; i < joining->topic_count; i++) {
        member->topics[i] = memory_text(joining->topics[i]);
    }
    member->topic_count = joining->topic_count;
}

static void member_set(struct local_group_member *member, const struct local_joining *joining)
{
    ensure(strlen(joining->id) == LOCAL_MEMBER_SIZE - 1);
    memcpy(member->id, joining->id, LOCAL_MEMBER_SIZE);
    member->session_ms = joining->session_ms;
    member->rebalance_ms = joining->rebalance_ms;
    member->renewed_ms = now_ms();
}

enum status local_group_join(struct local_environment *environment, MDB_txn *txn,
                             struct local_group *group, const struct local_joining *joining,
                             struct error *error)
{
    ensure(joining->session_ms > 0 && joining->rebalance_ms > 0);
    struct local_group_member *member = local_group_find_instance(group, joining->instance);
    if (member != NULL) {
        uint32_t fingerprint = 0;
        enum status status = local_fingerprint(environment, txn, group, &fingerprint, error);
        if (status != STATUS_OK) {
            return status;
        }
        bool same = same_topics(member, joining) && fingerprint == group->fingerprint;
        member_set(member, joining);
        topics_set(member, joining);
        group->version += 1;
        if (same && !group->preparing) {
            return STATUS_OK; /* a restart: it goes on with what it had, nobody else notices */
        }
    } else {
        group->members = memory_resize(group->members, (group->count + 1) * sizeof *group->members);
        member = &group->members[group->count++];
        *member = (struct local_group_member){.instance = memory_text(joining->instance)};
        member_set(member, joining);
        topics_set(member, joining);
    }
    prepare(group);
    member->answered = true;
    group_sort(group);
    return STATUS_OK;
}

static void member_remove(struct local_group *group, size_t index)
{
    ensure(index < group->count);
    member_finish(&group->members[index]);
    group->count -= 1;
    memmove(&group->members[index], &group->members[index + 1],
            (group->count - index) * sizeof *group->members);
    group->version += 1;
}

void local_group_leave(struct local_group *group, const char *id)
{
    ensure(*id != 0);
    struct local_group_member *member = local_group_find(group, id);
    if (member != NULL) {
        member_remove(group, (size_t)(member - group->members));
        prepare(group);
    }
}

bool local_group_answer(struct local_group *group, const char *id)
{
    ensure(*id != 0);
    struct local_group_member *member = local_group_find(group, id);
    if (member == NULL) {
        return false;
    }
    if (group->preparing && !member->answered) {
        member->answered = true;
        member->renewed_ms = now_ms();
        group->version += 1;
    }
    return true;
}

/* ---- Tending ---- */

static bool all_answered(const struct local_group *group)
{
    ensure(group->preparing);
    for (size_t i = 0; i < group->count; i++) {
        if (!group->members[i].answered) {
            return false;
        }
    }
    return true;
}

static bool silent(const struct local_group *group, const struct local_group_member *member,
                   int64_t now)
{
    ensure(member->session_ms > 0 && member->rebalance_ms > 0);
    if (now - member->renewed_ms > member->session_ms) {
        return true;
    }
    return group->preparing && !member->answered && now - group->since_ms > member->rebalance_ms;
}

/* Who is silent is given up, unless nobody could have renewed (a writer stood still). */
static enum status give_up(struct local_environment *environment, MDB_txn *txn,
                           struct local_group *group, struct error *error)
{
    ensure(group->count == 0 || group->members != NULL);
    uint64_t grace = 0;
    enum status status = local_fact(environment, txn, "grace", 0, &grace, error);
    if (status != STATUS_OK) {
        return status;
    }
    int64_t now = now_ms();
    bool rebooted = group->boot != local_boot();
    for (size_t i = group->count; i-- > 0;) {
        bool gone = rebooted || (now >= (int64_t)grace && silent(group, &group->members[i], now));
        ensure(i < group->count);
        if (gone) {
            log_info("broker", "member given up member=%s instance=%s rebooted=%d",
                     group->members[i].id, group->members[i].instance, rebooted);
            member_remove(group, i);
            prepare(group);
        }
    }
    group->boot = local_boot();
    return STATUS_OK;
}

enum status local_group_tend(struct local_environment *environment, MDB_txn *txn,
                             struct local_group *group, bool *changed, struct error *error)
{
    uint64_t version = group->version;
    uint32_t fingerprint = 0;
    enum status status = give_up(environment, txn, group, error);
    if (status == STATUS_OK) {
        status = local_fingerprint(environment, txn, group, &fingerprint, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (group->count > 0 && !group->preparing && fingerprint != group->fingerprint) {
        prepare(group);
    }
    if (group->preparing && all_answered(group)) {
        status = local_assign(environment, txn, group, error);
        group->fingerprint = fingerprint;
        group->preparing = false;
        group->generation += 1;
        group->version += 1;
        for (size_t i = 0; i < group->count; i++) {
            group->members[i].answered = false;
        }
    }
    ensure(!group->preparing || group->count > 0);
    *changed = *changed || group->version != version;
    return status;
}
