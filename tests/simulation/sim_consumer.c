/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer's client library: fetches ahead up to the last stable offset it knows, hands out
 * group events one at a time, holds records back until they are answered.
 */
#include "sim_consumer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CUT_RETRY_US = 100000 };

/* ---- Fetching ---- */

static void fetch(struct sim_consumer *self, struct sim_slot *slot)
{
    struct sim *sim = self->client.sim;
    struct sim_partition *log =
        sim_partition_find(self->client.cluster, slot->topic, slot->partition);
    slot->fetch_us = 0;
    if (log == NULL) {
        return;
    }
    slot->stable = self->uncommitted ? log->end : sim_partition_stable(log);
    int64_t most = slot->position + sim_between(sim, 1, 200);
    slot->fetched = most < slot->stable ? most : slot->stable;
    if (slot->position < log->start || slot->position > log->end) {
        slot->fetched = -1;
    }
}

static bool readable(const struct sim_slot *slot, bool restore)
{
    return slot->restore == restore && !slot->paused && !slot->stopped;
}

/* Moves over what a reader may not see. NULL: nothing more in what was fetched. */
static struct sim_record *next_record(struct sim_consumer *self, struct sim_slot *slot)
{
    struct sim_partition *log =
        sim_partition_find(self->client.cluster, slot->topic, slot->partition);
    if (log == NULL) {
        return NULL;
    }
    for (size_t i = sim_partition_index(log, slot->position); i < log->count; i++) {
        struct sim_record *record = log->records[i];
        if (record->offset >= slot->fetched) {
            break;
        }
        if (record->kind == RECORD_DATA && !record->hidden &&
            (self->uncommitted || record->state == RECORD_COMMITTED)) {
            return record;
        }
    }
    slot->position = slot->fetched;
    return NULL;
}

static void give_record(struct sim_slot *slot, const struct sim_record *record,
                        struct consumer_event *event)
{
    struct sim_record *copy = sim_record_copy(record);
    slot->position = record->offset + 1;
    slot->end_at = -1;
    event->kind = CONSUMER_RECORD;
    event->slot = slot->number;
    event->record = (struct broker_record){.key = copy->key,
                                           .value = copy->value,
                                           .timestamp_ms = copy->timestamp_ms,
                                           .offset = copy->offset,
                                           .headers = copy->headers,
                                           .header_count = copy->header_count,
                                           .slot = slot->number,
                                           .handle = copy};
}

static bool has_news(struct sim_consumer *self, const struct sim_slot *slot)
{
    struct sim_partition *log =
        sim_partition_find(self->client.cluster, slot->topic, slot->partition);
    return log != NULL &&
           slot->stable != (self->uncommitted ? log->end : sim_partition_stable(log));
}

static bool try_slot(struct sim_consumer *self, struct sim_slot *slot, struct consumer_event *event)
{
    struct sim *sim = self->client.sim;
    if (slot->position >= slot->fetched) {
        if (slot->end_at == slot->position && !has_news(self, slot)) {
            return false; /* sim_touch tells */
        }
        if (slot->fetch_us == 0) {
            slot->fetch_us = sim_now_us(sim) + sim_latency_us(self->client.cluster);
        }
        if (slot->fetch_us > sim_now_us(sim)) {
            return false;
        }
        if (sim_cut_of(self->client.handle) != CUT_NOTHING) {
            slot->fetch_us = sim_now_us(sim) + CUT_RETRY_US;
            return false;
        }
        fetch(self, slot);
        if (slot->fetched < 0) {
            slot->stopped = true;
            event->kind = CONSUMER_OFFSET_LOST;
            event->slot = slot->number;
            event->offset = slot->position;
            return true;
        }
    }
    struct sim_record *record = next_record(self, slot);
    if (record != NULL) {
        give_record(slot, record, event);
        return true;
    }
    if (slot->position == slot->stable && slot->end_at != slot->position) {
        slot->end_at = slot->position;
        event->kind = CONSUMER_END;
        event->slot = slot->number;
        event->offset = slot->position;
        return true;
    }
    return false;
}

static bool tell(struct sim_consumer *self, struct consumer_event *event)
{
    if (self->awaiting == CONSUMER_ASSIGNED && self->queued == CONSUMER_LOST) {
        self->awaiting = CONSUMER_NOTHING; /* the loss comes before any answer */
    }
    if (self->queued == CONSUMER_NOTHING || self->awaiting != CONSUMER_NOTHING) {
        return false;
    }
    self->awaiting = self->queued;
    self->queued = CONSUMER_NOTHING;
    event->kind = self->awaiting;
    event->partitions = self->partitions;
    event->partition_count = event->kind == CONSUMER_ASSIGNED ? self->partition_count : 0;
    sim_note(self->client.sim, "%s: event %s, %zu partitions", self->instance,
             event->kind == CONSUMER_ASSIGNED  ? "assigned"
             : event->kind == CONSUMER_REVOKED ? "revoked"
                                               : "lost",
             event->partition_count);
    sim_trace(self->client.sim, 0x700 + (uint64_t)event->kind);
    return true;
}

static bool try_slots(struct sim_consumer *self, bool restore, struct consumer_event *event)
{
    struct sim *sim = self->client.sim;
    if (self->slot_count == 0) {
        return false;
    }
    size_t first = sim_chance(sim, 500) ? (size_t)sim_below(sim, self->slot_count) : self->last;
    for (size_t i = 0; i < self->slot_count; i++) {
        size_t at = (first + i) % self->slot_count;
        if (readable(&self->slots[at], restore) && try_slot(self, &self->slots[at], event)) {
            self->last = at;
            return true;
        }
    }
    return false;
}

/* The time at which some slot has its next fetch. */
static int64_t next_fetch_us(const struct sim_consumer *self, bool restore, int64_t deadline_us)
{
    for (size_t i = 0; i < self->slot_count; i++) {
        const struct sim_slot *slot = &self->slots[i];
        if (readable(slot, restore) && slot->fetch_us > 0 && slot->fetch_us < deadline_us) {
            deadline_us = slot->fetch_us;
        }
    }
    return deadline_us;
}

/* ---- The seam ---- */

static enum status trouble(struct sim_consumer *self, struct error *error)
{
    if (self->fenced) {
        return error_set(error, STATUS_FATAL, ERROR_FENCED_INSTANCE,
                         "another member took instance %s", self->instance);
    }
    if (sim_chance(self->client.sim, self->client.cluster->faults.broken / 16)) {
        return error_set(error, STATUS_RETRY, ERROR_NO_BROKER, "the connection broke");
    }
    return STATUS_OK;
}

static enum status consumer_take(struct consumer *consumer, bool restore, uint32_t number,
                                 int64_t timeout_ms, struct consumer_event *event,
                                 struct error *error)
{
    struct sim_consumer *self = sim_consumer_of(consumer);
    struct sim *sim = self->client.sim;
    int64_t deadline_us = sim_now_us(sim) + timeout_ms * 1000;
    for (;;) {
        memset(event, 0, sizeof *event);
        sim_point(sim);
        self->polled_us = sim_now_us(sim);
        enum status status = trouble(self, error);
        if (status != STATUS_OK) {
            return status;
        }
        if (!restore && tell(self, event)) {
            return STATUS_OK;
        }
        bool silent = self->awaiting != CONSUMER_NOTHING;
        for (size_t i = 0; restore && i < self->slot_count && !silent; i++) {
            struct sim_slot *slot = &self->slots[i];
            if (slot->number == number && readable(slot, true) && try_slot(self, slot, event)) {
                return STATUS_OK;
            }
        }
        if (!restore && !silent && try_slots(self, false, event)) {
            return STATUS_OK;
        }
        if (sim_now_us(sim) >= deadline_us) {
            return STATUS_OK;
        }
        /* Answers come when they come: a slot at its end asks again within some ms. */
        sim_wait_change(sim, silent ? deadline_us : next_fetch_us(self, restore, deadline_us));
    }
}

static enum status sim_poll(struct consumer *consumer, int64_t timeout_ms,
                            struct consumer_event *event, struct error *error)
{
    return consumer_take(consumer, false, 0, timeout_ms, event, error);
}

static enum status sim_poll_restore(struct consumer *consumer, uint32_t slot, int64_t timeout_ms,
                                    struct consumer_event *event, struct error *error)
{
    return consumer_take(consumer, true, slot, timeout_ms, event, error);
}

static void sim_release(struct consumer *consumer, struct broker_record *record)
{
    (void)consumer;
    free(record->handle);
    record->handle = NULL;
}

static enum status sim_assign(struct consumer *consumer,
                              const struct consumer_assignment *assignment, size_t count,
                              struct error *error)
{
    struct sim_consumer *self = sim_consumer_of(consumer);
    sim_enter(self->client.cluster, "assign");
    for (size_t i = 0; i < count; i++) {
        ensure(assignment[i].offset >= 0);
        if (sim_partition_find(self->client.cluster, assignment[i].topic,
                               assignment[i].partition) == NULL) {
            return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "no partition %s/%d",
                             assignment[i].topic, (int)assignment[i].partition);
        }
    }
    if (self->awaiting == CONSUMER_ASSIGNED) {
        self->awaiting = CONSUMER_NOTHING;
        self->owned = true;
        snprintf(self->taken.group, sizeof self->taken.group, "%s", self->group);
        snprintf(self->taken.member, sizeof self->taken.member, "%s", self->member);
        snprintf(self->taken.instance, sizeof self->taken.instance, "%s", self->instance);
        self->taken.generation = self->generation;
    }
    free(self->slots);
    self->slots = memory_allocate((count + 1) * sizeof *self->slots);
    self->slot_count = count;
    self->last = 0;
    for (size_t i = 0; i < count; i++) {
        struct sim_slot *slot = &self->slots[i];
        snprintf(slot->topic, sizeof slot->topic, "%s", assignment[i].topic);
        slot->partition = assignment[i].partition;
        slot->number = assignment[i].slot;
        slot->restore = assignment[i].restore;
        slot->paused = assignment[i].paused;
        slot->position = slot->fetched = assignment[i].offset;
        slot->end_at = -1;
    }
    return STATUS_OK;
}

static enum status sim_unassign(struct consumer *consumer, struct error *error)
{
    (void)error;
    struct sim_consumer *self = sim_consumer_of(consumer);
    sim_enter(self->client.cluster, "unassign");
    self->slot_count = 0;
    self->owned = false;
    self->lost = false;
    if (self->awaiting == CONSUMER_REVOKED || self->awaiting == CONSUMER_LOST) {
        self->awaiting = CONSUMER_NOTHING;
        sim_member_rejoin(self);
    }
    return STATUS_OK;
}

static enum status sim_pause_slot(struct consumer *consumer, uint32_t number, bool paused,
                                  struct error *error)
{
    (void)error;
    struct sim_consumer *self = sim_consumer_of(consumer);
    sim_enter(self->client.cluster, "pause");
    for (size_t i = 0; i < self->slot_count; i++) {
        struct sim_slot *slot = &self->slots[i];
        if (slot->number == number) {
            slot->paused = paused;
            slot->fetched = slot->position;
            slot->fetch_us = 0;
        }
    }
    return STATUS_OK;
}

static bool any_pending(struct sim_group *group, const struct broker_offset *offsets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sim_group_offset_get(group, offsets[i].topic, offsets[i].partition)->pending_count >
            0) {
            return true;
        }
    }
    return false;
}

static enum status sim_committed(struct consumer *consumer, struct broker_offset *offsets,
                                 size_t count, int64_t timeout_ms, struct error *error)
{
    struct sim_consumer *self = sim_consumer_of(consumer);
    struct sim_cluster *cluster = self->client.cluster;
    struct sim *sim = self->client.sim;
    ensure(self->group[0] != '\0');
    int64_t deadline_us = sim_now_us(sim) + timeout_ms * 1000;
    enum status status = sim_request(self->client.handle, "committed", error);
    if (status != STATUS_OK) {
        return status;
    }
    while (any_pending(sim_group_get(cluster, self->group), offsets, count)) {
        if (sim_now_us(sim) >= deadline_us) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT,
                             "an open transaction holds offsets of group %s", self->group);
        }
        int64_t again_us = sim_now_us(sim) + 5000;
        sim_wait_us(sim, (again_us < deadline_us ? again_us : deadline_us) - sim_now_us(sim));
    }
    struct sim_group *group = sim_group_get(cluster, self->group);
    for (size_t i = 0; i < count; i++) {
        struct sim_offset *found =
            sim_group_offset_get(group, offsets[i].topic, offsets[i].partition);
        offsets[i].offset = found->offset;
        memcpy(offsets[i].metadata, found->metadata, sizeof offsets[i].metadata);
        sim_trace(sim, (uint64_t)found->offset);
    }
    sim_wait_us(sim, sim_latency_us(cluster)); /* the answer is old when it is here */
    sim_point(sim);
    return STATUS_OK;
}

static bool sim_owns(struct consumer *consumer)
{
    struct sim_consumer *self = sim_consumer_of(consumer);
    return self->owned && !self->lost && !self->fenced;
}

bool sim_consumer_may_take_over(struct sim_client *client)
{
    struct sim_consumer *self = sim_consumer_of_client(client);
    return self->group[0] == '\0' || sim_owns(&self->consumer);
}

static void consumer_free(struct sim_consumer *self)
{
    sim_client_remove(&self->client);
    for (size_t i = 0; i < self->topic_count; i++) {
        free(self->topics[i]);
    }
    free(self->topics);
    free(self->partitions);
    free(self->slots);
    free(self);
}

static void sim_close(struct consumer *consumer)
{
    struct sim_consumer *self = sim_consumer_of(consumer);
    sim_enter(self->client.cluster, "close consumer");
    sim_wait_us(self->client.sim, sim_latency_us(self->client.cluster));
    enum sim_cut cut = sim_cut_of(self->client.handle);
    if (self->group[0] != '\0' && self->instance[0] == '\0' && self->member[0] != '\0' &&
        (cut == CUT_NOTHING || cut == CUT_IN)) {
        sim_group_leave(sim_group_get(self->client.cluster, self->group), self->member);
    }
    consumer_free(self);
}

void sim_consumer_drop(struct sim_client *client)
{
    consumer_free(sim_consumer_of_client(client));
}

static const struct consumer_ops operations = {
    .poll = sim_poll,
    .poll_restore = sim_poll_restore,
    .release = sim_release,
    .assign = sim_assign,
    .unassign = sim_unassign,
    .pause = sim_pause_slot,
    .committed = sim_committed,
    .owns = sim_owns,
    .close = sim_close,
};

enum status sim_consumer_open(struct broker *broker, const struct consumer_options *options,
                              struct consumer **consumer, struct error *error)
{
    (void)error;
    struct sim_handle *handle = (struct sim_handle *)(void *)broker;
    sim_enter(handle->cluster, "open consumer");
    struct sim_consumer *self = memory_allocate(sizeof *self);
    self->consumer.ops = &operations;
    self->uncommitted = options->uncommitted;
    snprintf(self->group, sizeof self->group, "%s", options->group == NULL ? "" : options->group);
    snprintf(self->instance, sizeof self->instance, "%s",
             options->instance_id == NULL ? "" : options->instance_id);
    self->topics = memory_allocate((options->topic_count + 1) * sizeof *self->topics);
    for (size_t i = 0; i < options->topic_count; i++) {
        self->topics[self->topic_count++] = memory_text(options->topics[i]);
    }
    sim_client_add(&self->client, CLIENT_CONSUMER, handle);
    if (self->group[0] != '\0') {
        sim_member_start(self);
    }
    *consumer = &self->consumer;
    return STATUS_OK;
}
