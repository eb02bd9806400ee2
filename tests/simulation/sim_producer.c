/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producer's client library, version 1 of the transaction protocol: its epoch, one batch in
 * flight a partition, requests with their own fates.
 */
#include "sim_producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_producer *sim_producer_of(struct producer *producer)
{
    return (struct sim_producer *)(void *)producer;
}

static struct sim_producer *of_client(struct sim_client *client)
{
    return (void *)((uint8_t *)client - offsetof(struct sim_producer, client));
}

struct sim_producer *sim_producer_by_number(struct sim_cluster *cluster, uint64_t number)
{
    struct sim_client *client = sim_client_find(cluster, number);
    return client == NULL ? NULL : of_client(client);
}

int64_t sim_producer_now_us(const struct sim_producer *self)
{
    return sim_now_us(self->client.sim);
}

void sim_producer_fence(struct sim_producer *self)
{
    if (!self->fenced) {
        self->client.cluster->statistics.fenced++;
        sim_note(self->client.sim, "%s is fenced at epoch %d", self->transaction->id, self->epoch);
    }
    self->fenced = true;
}

enum status sim_producer_fatal(const struct sim_producer *self, struct error *error)
{
    if (self->fenced) {
        return error_set(error, STATUS_FATAL, ERROR_FENCED,
                         "a newer producer of %s exists, or its transaction took too long",
                         self->transaction->id);
    }
    return error_set(error, STATUS_FATAL, ERROR_OTHER, "invalid transaction state");
}

bool sim_producer_dead(const struct sim_producer *self)
{
    return self->fenced || self->invalid;
}

/* ---- InitProducerId ---- */

struct init {
    struct sim_cluster *cluster;
    uint64_t producer;
    struct sim_transaction *transaction;
    int64_t timeout_ms;
    bool answered;
};

static void ask_for_epoch(struct sim_producer *self, int64_t delay_us);

static void arrive_init(void *subject, uint64_t number)
{
    (void)number;
    struct init *init = subject;
    int32_t epoch = 0;
    enum answer answer = sim_transaction_init(init->transaction, init->timeout_ms, &epoch);
    struct sim_producer *self = sim_producer_by_number(init->cluster, init->producer);
    if (self != NULL && !self->ready && self->asking && init->answered) {
        self->asking = false;
        if (answer == ANSWER_OK) {
            self->ready = true;
            self->epoch = epoch;
        } else {
            ask_for_epoch(self, sim_between(self->client.sim, 13000, 40000));
        }
    }
    sim_touch(init->cluster->sim);
    free(init);
}

static void ask_again(void *subject, uint64_t number)
{
    struct sim_producer *self = sim_producer_by_number(subject, number);
    if (self != NULL && !self->ready) {
        ask_for_epoch(self, 0);
    }
}

static void send_init(struct sim_producer *self, int64_t due_us, bool answered)
{
    struct init *init = memory_allocate(sizeof *init);
    *init = (struct init){self->client.cluster, self->client.number, self->transaction,
                          self->client.handle->transaction_us / 1000, answered};
    sim_at(self->client.sim, due_us, arrive_init, init, 0);
}

static void ask_for_epoch(struct sim_producer *self, int64_t delay_us)
{
    struct sim_cluster *cluster = self->client.cluster;
    enum fate fate = sim_fate(self->client.handle);
    bool broken = fate != FATE_FINE && fate != FATE_SLOW;
    int64_t due_us = sim_producer_now_us(self) + delay_us + sim_arrival_us(cluster, fate);
    self->asking = !broken;
    if (fate != FATE_LOST) {
        send_init(self, due_us, !broken);
    }
    if (sim_chance(self->client.sim, cluster->faults.late_init)) {
        send_init(self, sim_producer_now_us(self) + sim_arrival_us(cluster, FATE_LATE), false);
    }
    if (broken) {
        sim_at(self->client.sim,
               sim_producer_now_us(self) + delay_us + sim_between(self->client.sim, 40, 500) * 1000,
               ask_again, cluster, self->client.number);
    }
}

static enum status sim_ready(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_enter(self->client.cluster, "ready");
    int64_t deadline_us = sim_producer_now_us(self) + timeout_ms * 1000;
    while (!self->ready) {
        if (sim_producer_now_us(self) >= deadline_us) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "%s: no answer yet",
                             self->transaction->id);
        }
        sim_wait_change(self->client.sim, deadline_us);
        sim_point(self->client.sim);
    }
    return STATUS_OK;
}

/* ---- Producing ---- */

static enum status sim_topic(struct producer *producer, const char *name, uint32_t *topic,
                             int32_t *partition_count, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    enum status status = sim_request(self->client.handle, "topic of producer", error);
    if (status != STATUS_OK) {
        return status;
    }
    struct sim_topic *found = sim_topic_find(self->client.cluster, name);
    if (found == NULL) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "no topic %s", name);
    }
    *partition_count = found->facts.partition_count;
    for (uint32_t i = 0; i < self->topic_count; i++) {
        if (strcmp(self->topics[i], name) == 0) {
            *topic = i;
            return STATUS_OK;
        }
    }
    self->topics = memory_resize(self->topics, (self->topic_count + 1) * sizeof *self->topics);
    self->topics[self->topic_count] = memory_text(name);
    *topic = self->topic_count++;
    return STATUS_OK;
}

static struct sim_lane *lane_get(struct sim_producer *self, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < self->lane_count; i++) {
        struct sim_lane *lane = &self->lanes[i];
        if (lane->waiting.partition == partition && strcmp(lane->waiting.topic, topic) == 0) {
            return lane;
        }
    }
    self->lanes = memory_resize(self->lanes, (self->lane_count + 1) * sizeof *self->lanes);
    struct sim_lane *lane = &self->lanes[self->lane_count++];
    *lane = (struct sim_lane){.last_offset = -1};
    snprintf(lane->waiting.topic, sizeof lane->waiting.topic, "%s", topic);
    lane->waiting.partition = partition;
    return lane;
}

void sim_batch_drop(struct sim_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->records[i]);
    }
    free(batch->records);
    batch->records = NULL;
    batch->count = 0;
}

/** A Produce request; outlives its sender. */
struct produce {
    struct sim_cluster *cluster;
    uint64_t producer;
    struct sim_transaction *transaction;
    int32_t epoch;
    bool add; /* AddPartitionsToTxn comes first */
    enum fate fate;
    struct sim_batch batch;
};

static void refuse(struct sim_producer *self, const struct sim_record *record, enum error_code code)
{
    self->refusals =
        memory_resize(self->refusals, (self->refusal_count + 1) * sizeof *self->refusals);
    struct sim_refusal *refusal = &self->refusals[self->refusal_count++];
    refusal->origin = record->origin;
    (void)error_set(&refusal->error, STATUS_BAD_RECORD, code, "the broker refuses a batch: %s",
                    error_code_name(code));
}

/* Why the broker refuses the batch for what it is. */
static enum error_code batch_fault(const struct produce *produce)
{
    const struct sim_batch *batch = &produce->batch;
    int64_t latest_ms = sim_wall_ms(produce->cluster->sim) + 3600 * 1000;
    const struct broker_topic *facts = &sim_topic_find(produce->cluster, batch->topic)->facts;
    for (size_t i = 0; i < batch->count; i++) {
        const struct sim_record *record = batch->records[i];
        if ((int64_t)(record->key.size + record->value.size) > facts->max_message_size) {
            return ERROR_TOO_LARGE;
        }
        if (record->timestamp_ms > latest_ms && !facts->compacted) { /* changelogs are made so */
            return ERROR_BAD_TIMESTAMP;
        }
    }
    return ERROR_NONE;
}

/* What the broker does with one request. */
static enum answer append(struct produce *produce, struct sim_producer *self, int64_t *last)
{
    struct sim_batch *batch = &produce->batch;
    struct sim_partition *log =
        sim_partition_find(produce->cluster, batch->topic, batch->partition);
    struct sim_transaction *transaction = produce->transaction;
    if (log == NULL) {
        return ANSWER_INVALID;
    }
    if (transaction != NULL) {
        int32_t *epoch = sim_partition_epoch(log, transaction);
        if (produce->epoch < *epoch) {
            return ANSWER_FENCED;
        }
        bool verified =
            sim_partition_open_for(log, transaction) ||
            (transaction->state == TRANSACTION_ONGOING && transaction->epoch == produce->epoch &&
             sim_transaction_holds(transaction, batch->topic, batch->partition));
        if (!verified && !produce->cluster->faults.unverified) {
            return transaction->epoch != produce->epoch ? ANSWER_FENCED : ANSWER_INVALID;
        }
        *epoch = produce->epoch;
    }
    enum error_code code = batch_fault(produce);
    for (size_t i = 0; i < batch->count; i++) {
        struct sim_record *record = batch->records[i];
        if (code != ERROR_NONE) { /* Kafka refuses a batch as a whole */
            if (self != NULL) {
                refuse(self, record, code);
            }
            free(record);
            continue;
        }
        record->owner = transaction;
        record->state = transaction == NULL ? RECORD_COMMITTED : RECORD_OPEN;
        *last = sim_partition_append(log, record);
    }
    batch->count = 0; /* the log has them */
    return ANSWER_OK;
}

static void send_batch(void *subject, uint64_t number);

static void settle(struct sim_producer *self, struct produce *produce, enum answer answer,
                   int64_t last)
{
    struct sim_lane *lane = lane_get(self, produce->batch.topic, produce->batch.partition);
    lane->under_way = false;
    self->under_way--;
    if (answer == ANSWER_FENCED) {
        sim_producer_fence(self);
    } else if (answer != ANSWER_OK) {
        self->failed = true;
    } else {
        lane->added = self->transaction != NULL;
        lane->last_offset = last >= 0 ? last : lane->last_offset;
        if (lane->waiting.count > 0) {
            lane->under_way = true;
            self->under_way++;
            sim_at(self->client.sim, sim_producer_now_us(self) + 200, send_batch,
                   self->client.cluster,
                   self->client.number << 20 | (uint64_t)(lane - self->lanes));
        }
    }
}

static void arrive_produce(void *subject, uint64_t number)
{
    (void)number;
    struct produce *produce = subject;
    struct sim_cluster *cluster = produce->cluster;
    struct sim_producer *self = sim_producer_by_number(cluster, produce->producer);
    enum answer answer = ANSWER_OK;
    int64_t last = -1;
    if (produce->transaction != NULL && produce->add) {
        answer = sim_transaction_add(produce->transaction, produce->epoch, produce->batch.topic,
                                     produce->batch.partition);
        if (answer == ANSWER_AGAIN && self != NULL) {
            sim_at(cluster->sim, sim_now_us(cluster->sim) + 20000, arrive_produce, produce, 0);
            return;
        }
    }
    if (answer == ANSWER_OK) {
        answer = append(produce, self, &last);
    }
    if (self != NULL) {
        settle(self, produce, answer, last);
    }
    sim_batch_drop(&produce->batch);
    free(produce);
    sim_touch(cluster->sim);
}

/* The connection broke: librdkafka sends the batch again (sequence numbers keep it single) or,
 * late, gives it up. */
static void arrive_broken(void *subject, uint64_t number)
{
    struct produce *produce = subject;
    struct sim_producer *self = sim_producer_by_number(produce->cluster, produce->producer);
    if (self == NULL) {
        sim_batch_drop(&produce->batch);
        free(produce);
        return;
    }
    self->suspect = true;
    if (sim_cut_of(self->client.handle) != CUT_NOTHING) { /* sent again, in vain */
        sim_at(self->client.sim, sim_producer_now_us(self) + 100000, arrive_broken, produce, 0);
        return;
    }
    if (produce->fate == FATE_LATE || sim_chance(self->client.sim, 2500)) {
        settle(self, produce, ANSWER_INVALID, -1); /* "timed out in the queue" */
        sim_batch_drop(&produce->batch);
        free(produce);
        sim_touch(self->client.sim);
        return;
    }
    arrive_produce(subject, number);
}

static void send_batch(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim_producer *self = sim_producer_by_number(cluster, number >> 20);
    if (self == NULL) {
        return;
    }
    struct sim_lane *lane = &self->lanes[number & 0xfffff];
    struct produce *produce = memory_allocate(sizeof *produce);
    produce->cluster = cluster;
    produce->producer = self->client.number;
    produce->transaction = self->transaction;
    produce->epoch = self->epoch;
    produce->add = !lane->added;
    produce->fate = sim_fate(self->client.handle);
    produce->batch = lane->waiting;
    lane->waiting.records = NULL;
    lane->waiting.count = 0;
    bool broken = produce->fate != FATE_FINE && produce->fate != FATE_SLOW;
    if (produce->batch.count == 0 || sim_chance(cluster->sim, cluster->faults.refused)) {
        if (produce->batch.count > 0) {
            self->failed = true;
        }
        lane->under_way = false;
        self->under_way--;
        sim_batch_drop(&produce->batch);
        free(produce);
        sim_touch(cluster->sim);
        return;
    }
    int64_t due_us = sim_producer_now_us(self) + sim_arrival_us(cluster, produce->fate);
    sim_at(cluster->sim, broken ? due_us + 5000 : due_us, broken ? arrive_broken : arrive_produce,
           produce, 0);
}

static enum status sim_send(struct producer *producer, const struct broker_output *output,
                            struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_point(self->client.sim);
    ensure(output->topic < self->topic_count);
    ensure(self->transaction == NULL || self->in_transaction);
    if (sim_producer_dead(self)) {
        return sim_producer_fatal(self, error);
    }
    int64_t timestamp_ms =
        output->timestamp_ms < 0 ? sim_wall_ms(self->client.sim) : output->timestamp_ms;
    struct sim_record *record = sim_record_make(output->key, output->value, output->headers,
                                                output->header_count, timestamp_ms);
    record->origin = output->origin;
    struct sim_lane *lane = lane_get(self, self->topics[output->topic], output->partition);
    ensure(output->partition >= 0);
    struct sim_batch *batch = &lane->waiting;
    if ((batch->count & (batch->count - 1)) == 0) {
        size_t capacity = batch->count == 0 ? 1 : batch->count * 2;
        batch->records = memory_resize(batch->records, capacity * sizeof *batch->records);
    }
    batch->records[batch->count++] = record;
    self->touched = true;
    if (!lane->under_way) {
        lane->under_way = true;
        self->under_way++;
        sim_at(self->client.sim,
               sim_producer_now_us(self) + sim_between(self->client.sim, 300, 5000), send_batch,
               self->client.cluster, self->client.number << 20 | (uint64_t)(lane - self->lanes));
    }
    return STATUS_OK;
}

enum status sim_producer_flush(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_enter(self->client.cluster, "flush");
    int64_t deadline_us = sim_producer_now_us(self) + timeout_ms * 1000;
    while (self->under_way > 0 && !sim_producer_dead(self)) {
        if (sim_producer_now_us(self) >= deadline_us) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "%zu batches without an answer",
                             self->under_way);
        }
        sim_wait_change(self->client.sim, deadline_us);
        sim_point(self->client.sim);
    }
    if (sim_producer_dead(self)) {
        return sim_producer_fatal(self, error);
    }
    if (self->refusal_count > 0) {
        *error = self->refusals[0].error;
        return STATUS_BAD_RECORD;
    }
    return self->failed ? error_set(error, STATUS_ABORT, ERROR_TIMED_OUT, "a batch was lost")
                        : STATUS_OK;
}

static bool sim_refused(struct producer *producer, uint64_t *origin, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    if (self->refusal_told == self->refusal_count) {
        return false;
    }
    struct sim_refusal *refusal = &self->refusals[self->refusal_told++];
    *origin = refusal->origin;
    if (error != NULL) {
        *error = refusal->error;
    }
    return true;
}

static int64_t sim_last_offset(struct producer *producer, uint32_t topic, int32_t partition)
{
    struct sim_producer *self = sim_producer_of(producer);
    return lane_get(self, self->topics[topic], partition)->last_offset;
}

void sim_producer_forget(struct sim_producer *self)
{
    self->in_transaction = self->failed = self->touched = false;
    self->ending = ENDING_NOTHING;
    self->end_sent = self->end_answered = false;
    self->refusal_count = self->refusal_told = 0;
    for (size_t i = 0; i < self->lane_count; i++) {
        sim_batch_drop(&self->lanes[i].waiting);
        self->lanes[i].added = false;
    }
}

static enum status sim_begin(struct producer *producer, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_enter(self->client.cluster, "begin");
    ensure(self->ready && self->transaction != NULL && !self->in_transaction);
    if (sim_producer_dead(self)) {
        return sim_producer_fatal(self, error);
    }
    sim_producer_forget(self);
    for (size_t i = 0; i < self->lane_count; i++) {
        self->lanes[i].last_offset = -1; /* until now, the last transaction's may be asked for */
    }
    self->in_transaction = true;
    return STATUS_OK;
}

static bool sim_suspect(struct producer *producer)
{
    return sim_producer_of(producer)->suspect;
}

bool sim_producer_is(struct sim_client *client, const char *transactional_id)
{
    const struct sim_producer *self = of_client(client);
    return self->transaction != NULL && strcmp(self->transaction->id, transactional_id) == 0;
}

static void producer_free(struct sim_producer *self)
{
    sim_client_remove(&self->client);
    for (size_t i = 0; i < self->lane_count; i++) {
        sim_batch_drop(&self->lanes[i].waiting);
    }
    for (uint32_t i = 0; i < self->topic_count; i++) {
        free(self->topics[i]);
    }
    free(self->topics);
    free(self->lanes);
    free(self->refusals);
    free(self);
}

static void sim_close(struct producer *producer)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_enter(self->client.cluster, "close producer");
    sim_wait_us(self->client.sim, sim_latency_us(self->client.cluster));
    producer_free(self);
}

void sim_producer_drop(struct sim_client *client)
{
    producer_free(of_client(client));
}

static const struct producer_ops operations = {
    .ready = sim_ready,
    .topic = sim_topic,
    .begin = sim_begin,
    .send = sim_send,
    .flush = sim_producer_flush,
    .refused = sim_refused,
    .last_offset = sim_last_offset,
    .send_offsets = sim_producer_send_offsets,
    .commit = sim_producer_commit,
    .abort = sim_producer_abort,
    .suspect = sim_suspect,
    .close = sim_close,
};

enum status sim_producer_open(struct broker *broker, const char *transactional_id,
                              struct producer **producer, struct error *error)
{
    (void)error;
    struct sim_handle *handle = (struct sim_handle *)(void *)broker;
    sim_enter(handle->cluster, "open producer");
    struct sim_producer *self = memory_allocate(sizeof *self);
    self->producer.ops = &operations;
    sim_client_add(&self->client, CLIENT_PRODUCER, handle);
    self->ready = transactional_id == NULL;
    if (transactional_id != NULL) {
        self->transaction = sim_transaction_get(handle->cluster, transactional_id);
        ask_for_epoch(self, 0);
    }
    *producer = &self->producer;
    return STATUS_OK;
}
