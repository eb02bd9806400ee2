/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator of groups: classic protocol, eager range assignment, static and dynamic members,
 * committed and pending offsets. The generation moves only when every member that is known has
 * joined again or was given up.
 */
#include "sim_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_US = 50 * 1000 };

struct sim_group *sim_group_get(struct sim_cluster *cluster, const char *name)
{
    for (size_t i = 0; i < cluster->group_count; i++) {
        if (strcmp(cluster->groups[i]->name, name) == 0) {
            return cluster->groups[i];
        }
    }
    struct sim_group *group = memory_allocate(sizeof *group);
    group->cluster = cluster;
    snprintf(group->name, sizeof group->name, "%s", name);
    cluster->groups =
        memory_resize(cluster->groups, (cluster->group_count + 1) * sizeof(struct sim_group *));
    cluster->groups[cluster->group_count++] = group;
    sim_at(cluster->sim, sim_now_us(cluster->sim) + TICK_US, sim_group_tick, group, 0);
    sim_at(cluster->sim, sim_now_us(cluster->sim), sim_group_disturb, group, 0);
    return group;
}

static void member_finish(struct sim_member *member)
{
    for (size_t i = 0; i < member->topic_count; i++) {
        free(member->topics[i]);
    }
    free(member->topics);
}

void sim_group_free(struct sim_group *group)
{
    for (size_t i = 0; i < group->member_count; i++) {
        member_finish(&group->members[i]);
    }
    for (size_t i = 0; i < group->offset_count; i++) {
        free(group->offsets[i].pending);
    }
    free(group->members);
    free(group->offsets);
    free(group);
}

/* ---- Members ---- */

static struct sim_member *find_member(struct sim_group *group, const char *id)
{
    for (size_t i = 0; i < group->member_count; i++) {
        if (strcmp(group->members[i].id, id) == 0) {
            return &group->members[i];
        }
    }
    return NULL;
}

static struct sim_member *find_instance(struct sim_group *group, const char *instance)
{
    for (size_t i = 0; i < group->member_count; i++) {
        if (instance[0] != '\0' && strcmp(group->members[i].instance, instance) == 0) {
            return &group->members[i];
        }
    }
    return NULL;
}

static void begin_round(struct sim_group *group)
{
    if (group->preparing) {
        return;
    }
    group->preparing = true;
    group->round_us = sim_now_us(group->cluster->sim);
    group->cluster->statistics.rebalances++;
    sim_note(group->cluster->sim, "broker: rebalance of %s begins at generation %d", group->name,
             group->generation);
    for (size_t i = 0; i < group->member_count; i++) {
        group->members[i].joined = false;
    }
}

static void remove_member(struct sim_group *group, struct sim_member *member)
{
    sim_note(group->cluster->sim, "broker: member %s of %s is gone", member->id, group->name);
    member_finish(member);
    size_t at = (size_t)(member - group->members);
    memmove(member, member + 1, (group->member_count - at - 1) * sizeof *member);
    group->member_count--;
    begin_round(group);
}

static int by_name(const void *a, const void *b)
{
    const struct sim_member *left = a;
    const struct sim_member *right = b;
    const char *one = left->instance[0] != '\0' ? left->instance : left->id;
    const char *two = right->instance[0] != '\0' ? right->instance : right->id;
    return strcmp(one, two);
}

static bool subscribes(const struct sim_member *member, const char *topic)
{
    for (size_t i = 0; i < member->topic_count; i++) {
        if (strcmp(member->topics[i], topic) == 0) {
            return true;
        }
    }
    return false;
}

/* Range: of each topic a contiguous part, the same order of members for every topic. */
static void give_range(struct sim_group *group, size_t place, const char *topic,
                       struct sim_assigned *answer)
{
    int64_t members = 0;
    int64_t rank = -1;
    for (size_t i = 0; i < group->member_count; i++) {
        size_t at = (i + group->rotation) % group->member_count;
        if (at == place) {
            rank = members;
        }
        members += subscribes(&group->members[at], topic) ? 1 : 0;
    }
    int64_t count = sim_partition_count(group->cluster, topic);
    int64_t share = count / members;
    int64_t extra = count % members;
    int64_t first = rank * share + (rank < extra ? rank : extra);
    int64_t mine = share + (rank < extra ? 1 : 0);
    for (int64_t i = 0; i < mine; i++) {
        answer->partitions =
            memory_resize(answer->partitions, (answer->count + 1) * sizeof *answer->partitions);
        answer->partitions[answer->count++] =
            (struct broker_partition){topic, (int32_t)(first + i)};
    }
}

struct reply {
    struct sim_cluster *cluster;
    uint64_t consumer;
    struct sim_assigned answer;
};

static void deliver_reply(void *subject, uint64_t number)
{
    (void)number;
    struct reply *reply = subject;
    sim_consumer_joined(reply->cluster, reply->consumer, &reply->answer);
    free(reply->answer.partitions);
    free(reply);
}

static void answer_join(struct sim_group *group, size_t place)
{
    struct sim_cluster *cluster = group->cluster;
    struct sim_member *member = &group->members[place];
    struct reply *reply = memory_allocate(sizeof *reply);
    reply->cluster = cluster;
    reply->consumer = member->consumer;
    reply->answer.generation = group->generation;
    snprintf(reply->answer.member, sizeof reply->answer.member, "%s", member->id);
    for (size_t i = 0; i < member->topic_count; i++) {
        struct sim_topic *topic = sim_topic_find(cluster, member->topics[i]);
        if (topic != NULL) {
            give_range(group, place, topic->name, &reply->answer);
        }
    }
    member->seen_us = sim_now_us(cluster->sim);
    sim_at(cluster->sim, sim_now_us(cluster->sim) + sim_between(cluster->sim, 500, 15000),
           deliver_reply, reply, 0);
}

static void finish_round(struct sim_group *group)
{
    group->preparing = false;
    group->generation++;
    struct sim *sim = group->cluster->sim;
    qsort(group->members, group->member_count, sizeof *group->members, by_name);
    if (group->cluster->faults.shuffle && group->member_count > 0) {
        group->rotation = sim_below(sim, group->member_count);
    }
    sim_note(sim, "broker: generation %d of %s, %zu members", group->generation, group->name,
             group->member_count);
    sim_trace(sim, (uint64_t)group->generation << 8 | group->member_count);
    for (size_t i = 0; i < group->member_count; i++) {
        answer_join(group, i);
    }
    sim_touch(sim);
}

static void set_topics(struct sim_member *member, const struct sim_consumer *consumer)
{
    char **topics = NULL;
    size_t count = 0;
    sim_consumer_topics(consumer, &topics, &count);
    member_finish(member);
    member->topics = memory_allocate((count + 1) * sizeof *member->topics);
    member->topic_count = count;
    for (size_t i = 0; i < count; i++) {
        member->topics[i] = memory_text(topics[i]);
    }
}

static struct sim_member *add_member(struct sim_group *group, const char *instance)
{
    group->members =
        memory_resize(group->members, (group->member_count + 1) * sizeof *group->members);
    struct sim_member *member = &group->members[group->member_count++];
    memset(member, 0, sizeof *member);
    snprintf(member->instance, sizeof member->instance, "%s", instance);
    begin_round(group);
    return member;
}

enum answer sim_group_join(struct sim_group *group, struct sim_consumer *consumer)
{
    const struct sim_client *client = sim_consumer_client(consumer);
    const char *instance = sim_consumer_instance(consumer);
    const char *id = sim_consumer_member(consumer);
    struct sim_member *member = id[0] != '\0' ? find_member(group, id) : NULL;
    if (member == NULL && id[0] != '\0' && find_instance(group, instance) != NULL) {
        return ANSWER_FENCED;
    }
    bool replaced = false;
    if (member == NULL) {
        member = find_instance(group, instance);
        replaced = member != NULL;
        if (!replaced) {
            member = add_member(group, instance);
        }
        snprintf(member->id, sizeof member->id, "m%llu-%llu", (unsigned long long)client->number,
                 (unsigned long long)++group->joins);
    }
    member->consumer = client->number;
    member->seen_us = sim_now_us(client->sim);
    member->session_us = client->handle->session_us;
    member->rebalance_us = client->handle->callback_us;
    set_topics(member, consumer);
    sim_note(client->sim, "broker: %s joins %s as %s", instance, group->name, member->id);
    if (replaced && !group->preparing) {
        answer_join(group, (size_t)(member - group->members)); /* same share, same generation */
        return ANSWER_OK;
    }
    begin_round(group);
    member->joined = true;
    return ANSWER_OK;
}

enum beat sim_group_beat(struct sim_group *group, const char *member, const char *instance,
                         int32_t generation)
{
    struct sim_member *found = find_member(group, member);
    if (found == NULL) {
        return find_instance(group, instance) != NULL ? BEAT_FENCED : BEAT_UNKNOWN;
    }
    if (generation != group->generation) {
        return BEAT_UNKNOWN;
    }
    found->seen_us = sim_now_us(group->cluster->sim);
    return group->preparing ? BEAT_REBALANCE : BEAT_OK;
}

void sim_group_leave(struct sim_group *group, const char *member)
{
    struct sim_member *found = find_member(group, member);
    if (found != NULL) {
        remove_member(group, found);
    }
}

bool sim_group_admits(struct sim_group *group, const char *member, const char *instance,
                      int32_t generation)
{
    struct sim_member *found = find_member(group, member);
    return found != NULL && strcmp(found->instance, instance) == 0 &&
           generation == group->generation;
}

void sim_group_tick(void *subject, uint64_t number)
{
    struct sim_group *group = subject;
    struct sim_cluster *cluster = group->cluster;
    int64_t now = sim_now_us(cluster->sim);
    bool all = true;
    for (size_t i = 0; i < group->member_count; i++) {
        struct sim_member *member = &group->members[i];
        bool waits = group->preparing && member->joined;
        bool silent = !waits && now - member->seen_us > member->session_us;
        bool late =
            group->preparing && !member->joined && now - group->round_us > member->rebalance_us;
        if (silent || late) {
            cluster->statistics.expired++;
            remove_member(group, member);
            i--;
            continue;
        }
        all = all && member->joined;
    }
    if (group->preparing && group->member_count > 0 && all) {
        finish_round(group);
    } else if (group->preparing && group->member_count == 0) {
        group->preparing = false;
        group->generation++;
    }
    sim_at(cluster->sim, now + TICK_US, sim_group_tick, group, number);
}

void sim_group_rebalance(struct sim_cluster *cluster, const char *name)
{
    struct sim_group *group = sim_group_get(cluster, name);
    if (group->member_count > 0) {
        begin_round(group);
    }
}

void sim_group_disturb(void *subject, uint64_t number)
{
    struct sim_group *group = subject;
    struct sim_cluster *cluster = group->cluster;
    if (cluster->faults.rebalance_ms == 0) {
        return;
    }
    if (number > 0 && group->member_count > 0) {
        begin_round(group);
    }
    sim_at(cluster->sim,
           sim_now_us(cluster->sim) +
               sim_between(cluster->sim, 1, 2 * cluster->faults.rebalance_ms * 1000),
           sim_group_disturb, group, 1);
}

/* ---- Offsets ---- */

struct sim_offset *sim_group_offset_get(struct sim_group *group, const char *topic,
                                        int32_t partition)
{
    for (size_t i = 0; i < group->offset_count; i++) {
        struct sim_offset *offset = &group->offsets[i];
        if (offset->partition == partition && strcmp(offset->topic, topic) == 0) {
            return offset;
        }
    }
    group->offsets =
        memory_resize(group->offsets, (group->offset_count + 1) * sizeof *group->offsets);
    struct sim_offset *offset = &group->offsets[group->offset_count++];
    memset(offset, 0, sizeof *offset);
    snprintf(offset->topic, sizeof offset->topic, "%s", topic);
    offset->partition = partition;
    offset->offset = BROKER_NO_OFFSET;
    return offset;
}

void sim_group_put_pending(struct sim_group *group, struct sim_transaction *owner,
                           const struct broker_offset *offset)
{
    struct sim_offset *place = sim_group_offset_get(group, offset->topic, offset->partition);
    place->pending =
        memory_resize(place->pending, (place->pending_count + 1) * sizeof *place->pending);
    struct sim_pending *pending = &place->pending[place->pending_count++];
    pending->owner = owner;
    pending->offset = offset->offset;
    memcpy(pending->metadata, offset->metadata, sizeof pending->metadata);
}

void sim_group_mark(struct sim_group *group, struct sim_transaction *owner, bool commit)
{
    for (size_t i = 0; i < group->offset_count; i++) {
        struct sim_offset *place = &group->offsets[i];
        size_t kept = 0;
        for (size_t p = 0; p < place->pending_count; p++) {
            struct sim_pending *pending = &place->pending[p];
            if (pending->owner != owner) {
                place->pending[kept++] = *pending;
            } else if (commit) {
                place->offset = pending->offset;
                memcpy(place->metadata, pending->metadata, sizeof place->metadata);
            }
        }
        place->pending_count = kept;
    }
}

void sim_lose_offset_marker(struct sim_cluster *cluster, const char *group, const char *topic,
                            int32_t partition)
{
    struct broker_offset offset = {.topic = topic, .partition = partition};
    offset.offset = sim_group_offset(cluster, group, topic, partition);
    sim_group_put_pending(sim_group_get(cluster, group), sim_transaction_get(cluster, "lost"),
                          &offset);
    sim_touch(cluster->sim);
}

int64_t sim_group_offset(struct sim_cluster *cluster, const char *group, const char *topic,
                         int32_t partition)
{
    return sim_group_offset_get(sim_group_get(cluster, group), topic, partition)->offset;
}

void sim_group_set_offset(struct sim_cluster *cluster, const char *group, const char *topic,
                          int32_t partition, int64_t offset, const char *metadata)
{
    struct sim_offset *place =
        sim_group_offset_get(sim_group_get(cluster, group), topic, partition);
    place->offset = offset;
    snprintf(place->metadata, sizeof place->metadata, "%s", metadata);
}
