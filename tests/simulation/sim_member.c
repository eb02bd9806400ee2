/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The membership of a consumer, in the background of its client library: joining, beating (not
 * while the process is paused), learning of rebalances and losses.
 */
#include "sim_consumer.h"

#include <stdio.h>
#include <stdlib.h>

enum { BEAT_US = 300 * 1000 };

struct sim_consumer *sim_consumer_of(struct consumer *consumer)
{
    return (struct sim_consumer *)(void *)consumer;
}

struct sim_consumer *sim_consumer_of_client(struct sim_client *client)
{
    return (void *)((uint8_t *)client - offsetof(struct sim_consumer, client));
}

static struct sim_consumer *by_number(struct sim_cluster *cluster, uint64_t number)
{
    struct sim_client *client = sim_client_find(cluster, number);
    return client == NULL ? NULL : sim_consumer_of_client(client);
}

const char *sim_consumer_instance(const struct sim_consumer *consumer)
{
    return consumer->instance;
}

const char *sim_consumer_member(const struct sim_consumer *consumer)
{
    return consumer->member;
}

const struct sim_client *sim_consumer_client(const struct sim_consumer *consumer)
{
    return &consumer->client;
}

void sim_consumer_topics(const struct sim_consumer *consumer, char ***topics, size_t *count)
{
    *topics = consumer->topics;
    *count = consumer->topic_count;
}

bool sim_consumer_metadata(struct consumer *consumer, struct sim_metadata *metadata)
{
    struct sim_consumer *self = sim_consumer_of(consumer);
    *metadata = self->taken;
    return self->owned && !self->lost && !self->fenced;
}

/* ---- The group, in the background ---- */

static void lose(struct sim_consumer *self)
{
    self->member[0] = '\0';
    self->membership = MEMBER_OUT;
    if (self->queued == CONSUMER_ASSIGNED) {
        self->queued = CONSUMER_NOTHING; /* never told */
    }
    if (self->owned || self->awaiting == CONSUMER_ASSIGNED) {
        self->lost = true;
        if (self->awaiting != CONSUMER_REVOKED) {
            self->queued = CONSUMER_LOST;
        }
    }
    sim_note(self->client.sim, "%s: assignment lost", self->instance);
    sim_touch(self->client.sim);
}

/* Whether the application has to do something before this member can join. */
static bool must_answer(const struct sim_consumer *self)
{
    return self->owned || self->queued != CONSUMER_NOTHING || self->awaiting != CONSUMER_NOTHING;
}

static void join(struct sim_consumer *self)
{
    enum sim_cut cut = sim_cut_of(self->client.handle);
    if (cut == CUT_OUT || cut == CUT_BOTH) {
        return; /* the next beat tries again */
    }
    self->membership = MEMBER_JOINING;
    if (sim_group_join(sim_group_get(self->client.cluster, self->group), self) == ANSWER_FENCED) {
        self->fenced = true;
        sim_touch(self->client.sim);
    }
}

static void beat_member(struct sim_consumer *self)
{
    struct sim_client *client = &self->client;
    int64_t now = sim_now_us(client->sim);
    struct sim_group *group = sim_group_get(client->cluster, self->group);
    enum sim_cut cut = sim_cut_of(client->handle);
    if (now - self->polled_us > client->handle->callback_us && self->membership == MEMBER_IN) {
        if (self->instance[0] == '\0' && (cut == CUT_NOTHING || cut == CUT_IN)) {
            sim_group_leave(group, self->member);
        }
        lose(self);
        return;
    }
    enum beat beat = cut == CUT_OUT || cut == CUT_BOTH
                         ? BEAT_OK
                         : sim_group_beat(group, self->member, self->instance, self->generation);
    if (cut != CUT_NOTHING) { /* no answer: after the session's time the library gives up */
        if (now - self->answered_us > client->handle->session_us) {
            lose(self);
        }
        return;
    }
    self->answered_us = now;
    switch (beat) {
    case BEAT_OK:
        break;
    case BEAT_REBALANCE:
        if (self->owned && self->queued == CONSUMER_NOTHING && self->awaiting == CONSUMER_NOTHING) {
            self->queued = CONSUMER_REVOKED;
            sim_touch(client->sim);
        } else if (!must_answer(self)) {
            join(self);
        }
        break;
    case BEAT_UNKNOWN:
        lose(self);
        break;
    case BEAT_FENCED:
        self->fenced = true;
        lose(self);
        break;
    }
}

static void beat_once(void *subject, uint64_t number)
{
    struct sim_consumer *self = by_number(subject, number);
    if (self == NULL || self->fenced || sim_fiber_paused(self->client.sim, self->client.fiber)) {
        return;
    }
    if (self->membership == MEMBER_OUT && !must_answer(self)) {
        join(self);
    } else if (self->membership == MEMBER_IN) {
        beat_member(self);
    }
}

static void beat(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim *sim = cluster->sim;
    if (by_number(cluster, number) != NULL) {
        beat_once(cluster, number);
        sim_at(sim, sim_now_us(sim) + BEAT_US + (int64_t)sim_below(sim, 20000), beat, cluster,
               number);
    }
}

/* The answer of a join that was not wanted any more is dropped, as a closed connection would. */
void sim_consumer_joined(struct sim_cluster *cluster, uint64_t number, struct sim_assigned *answer)
{
    struct sim_consumer *self = by_number(cluster, number);
    if (self == NULL || self->membership != MEMBER_JOINING || self->fenced) {
        return;
    }
    if (sim_cut_of(self->client.handle) != CUT_NOTHING) {
        self->membership = MEMBER_OUT; /* the answer is lost: it joins again */
        return;
    }
    self->answered_us = sim_now_us(cluster->sim);
    self->membership = MEMBER_IN;
    self->generation = answer->generation;
    snprintf(self->member, sizeof self->member, "%s", answer->member);
    free(self->partitions);
    self->partitions = answer->partitions;
    self->partition_count = answer->count;
    answer->partitions = NULL;
    self->queued = CONSUMER_ASSIGNED;
    sim_touch(cluster->sim);
}

void sim_member_start(struct sim_consumer *self)
{
    self->polled_us = sim_now_us(self->client.sim);
    sim_at(self->client.sim, self->polled_us + sim_latency_us(self->client.cluster), beat,
           self->client.cluster, self->client.number);
}

void sim_member_rejoin(struct sim_consumer *self)
{
    self->membership = MEMBER_OUT;
    sim_at(self->client.sim, sim_now_us(self->client.sim) + sim_latency_us(self->client.cluster),
           beat_once, self->client.cluster, self->client.number);
}
