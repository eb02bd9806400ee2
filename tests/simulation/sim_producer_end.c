/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets and the end of a transaction: a commit or abort that is resumed by the same call, and no
 * idea whether an answer that did not come means yes or no.
 */
#include "sim_producer.h"

#include <stdlib.h>
#include <string.h>

/* ---- Offsets ---- */

/** A TxnOffsetCommit under way. */
struct offset_commit {
    struct sim_cluster *cluster;
    struct sim_transaction *transaction;
    int32_t epoch;
    struct sim_metadata metadata;
    struct broker_offset *offsets;
    size_t count;
};

static enum answer apply_offsets(const struct offset_commit *commit)
{
    struct sim_group *group = sim_group_get(commit->cluster, commit->metadata.group);
    struct sim_transaction *transaction = commit->transaction;
    bool verified = transaction->state == TRANSACTION_ONGOING &&
                    transaction->epoch == commit->epoch &&
                    strcmp(transaction->group, commit->metadata.group) == 0;
    if (!verified && !commit->cluster->faults.unverified) {
        return transaction->epoch != commit->epoch ? ANSWER_FENCED : ANSWER_INVALID;
    }
    if (!sim_group_admits(group, commit->metadata.member, commit->metadata.instance,
                          commit->metadata.generation)) {
        return ANSWER_NOT_OWNER;
    }
    for (size_t i = 0; i < commit->count; i++) {
        sim_group_put_pending(group, transaction, &commit->offsets[i]);
    }
    return ANSWER_OK;
}

static void arrive_late_offsets(void *subject, uint64_t number)
{
    (void)number;
    struct offset_commit *commit = subject;
    if (apply_offsets(commit) == ANSWER_OK) {
        commit->cluster->statistics.late_offsets++;
    }
    for (size_t i = 0; i < commit->count; i++) {
        free((void *)(uintptr_t)commit->offsets[i].topic);
    }
    free(commit->offsets);
    free(commit);
}

static void send_late_offsets(const struct offset_commit *commit)
{
    struct offset_commit *late = memory_copy(commit, sizeof *commit);
    late->offsets = memory_copy(commit->offsets, commit->count * sizeof *commit->offsets);
    for (size_t i = 0; i < late->count; i++) {
        late->offsets[i].topic = memory_text(late->offsets[i].topic);
    }
    struct sim_cluster *cluster = commit->cluster;
    sim_at(cluster->sim, sim_now_us(cluster->sim) + sim_arrival_us(cluster, FATE_LATE),
           arrive_late_offsets, late, 0);
}

static enum status add_group(struct sim_producer *self, const char *group, struct error *error)
{
    struct sim_cluster *cluster = self->client.cluster;
    for (;;) {
        sim_wait_us(cluster->sim, sim_latency_us(cluster));
        sim_point(cluster->sim);
        if (sim_cut_of(self->client.handle) != CUT_NOTHING) {
            self->suspect = true;
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "AddOffsetsToTxn: no answer");
        }
        switch (sim_transaction_add_group(self->transaction, self->epoch, group)) {
        case ANSWER_OK:
            self->touched = true;
            return STATUS_OK;
        case ANSWER_AGAIN:
            sim_wait_us(cluster->sim, 5000);
            break;
        case ANSWER_FENCED:
            sim_producer_fence(self);
            return sim_producer_fatal(self, error);
        case ANSWER_INVALID:
        case ANSWER_NOT_OWNER:
            self->invalid = true;
            return sim_producer_fatal(self, error);
        }
    }
}

static enum status answer_offsets(struct sim_producer *self, enum answer answer,
                                  struct error *error)
{
    switch (answer) {
    case ANSWER_OK:
    case ANSWER_AGAIN:
        return STATUS_OK;
    case ANSWER_NOT_OWNER:
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                         "the generation of the group is another");
    case ANSWER_FENCED:
        sim_producer_fence(self);
        return sim_producer_fatal(self, error);
    case ANSWER_INVALID:
        break;
    }
    self->invalid = true;
    return sim_producer_fatal(self, error);
}

enum status sim_producer_send_offsets(struct producer *producer, struct consumer *consumer,
                                      const struct broker_offset *offsets, size_t count,
                                      struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    struct sim_cluster *cluster = self->client.cluster;
    sim_enter(cluster, "send_offsets");
    ensure(count > 0 && self->in_transaction);
    if (sim_producer_dead(self)) {
        return sim_producer_fatal(self, error);
    }
    struct offset_commit commit = {.cluster = cluster,
                                   .transaction = self->transaction,
                                   .epoch = self->epoch,
                                   .offsets = (struct broker_offset *)(uintptr_t)offsets,
                                   .count = count};
    if (!sim_consumer_metadata(consumer, &commit.metadata)) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER, "the assignment was lost");
    }
    enum status status = add_group(self, commit.metadata.group, error);
    if (status != STATUS_OK) {
        return status;
    }
    enum fate fate = sim_fate(self->client.handle);
    sim_wait_us(cluster->sim,
                fate == FATE_LATE ? sim_latency_us(cluster) : sim_arrival_us(cluster, fate));
    enum answer answer = ANSWER_OK;
    if (fate == FATE_LATE) {
        send_late_offsets(&commit);
    } else if (fate != FATE_LOST) {
        answer = apply_offsets(&commit);
    }
    sim_wait_us(cluster->sim, sim_latency_us(cluster));
    sim_point(cluster->sim);
    if (fate != FATE_FINE && fate != FATE_SLOW) {
        self->suspect = true;
        return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "TxnOffsetCommit: no answer");
    }
    return answer_offsets(self, answer, error);
}

/* ---- Commit and abort ---- */

/** An EndTxn under way. */
struct end {
    struct sim_cluster *cluster;
    uint64_t producer, number, serial;
    struct sim_transaction *transaction;
    int32_t epoch;
    bool commit, answered, late;
};

static void arrive_end(void *subject, uint64_t number)
{
    (void)number;
    struct end *end = subject;
    struct sim_cluster *cluster = end->cluster;
    if (end->late && end->transaction->state == TRANSACTION_ONGOING &&
        end->transaction->epoch == end->epoch) {
        cluster->statistics.late_ends++;
        cluster->statistics.torn += end->transaction->serial != end->serial ? 1 : 0;
    }
    enum answer answer = sim_transaction_end(end->transaction, end->epoch, end->commit);
    struct sim_producer *self = sim_producer_by_number(cluster, end->producer);
    if (self != NULL && end->answered && self->end_number == end->number) {
        if (answer == ANSWER_AGAIN) {
            end->late = false;
            sim_at(cluster->sim, sim_now_us(cluster->sim) + 5000, arrive_end, end, 0);
            return;
        }
        self->end_answered = true;
        self->end_answer = answer;
    }
    free(end);
    sim_touch(cluster->sim);
}

static void notice_broken_end(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim_producer *self = sim_producer_by_number(cluster, number >> 20);
    if (self != NULL && (self->end_number & 0xfffff) == (number & 0xfffff)) {
        self->suspect = true;
        self->end_sent = false;
        sim_touch(cluster->sim);
    }
}

static void send_end(struct sim_producer *self)
{
    struct sim_cluster *cluster = self->client.cluster;
    enum fate fate = sim_fate(self->client.handle);
    bool broken = fate != FATE_FINE && fate != FATE_SLOW;
    self->end_sent = true;
    if (fate != FATE_LOST) {
        struct end *end = memory_allocate(sizeof *end);
        *end = (struct end){.cluster = cluster,
                            .producer = self->client.number,
                            .number = self->end_number,
                            .serial = self->transaction->serial,
                            .transaction = self->transaction,
                            .epoch = self->epoch,
                            .commit = self->ending == ENDING_COMMIT,
                            .answered = !broken,
                            .late = fate == FATE_LATE};
        sim_at(cluster->sim, sim_producer_now_us(self) + sim_arrival_us(cluster, fate), arrive_end,
               end, 0);
    }
    if (broken) {
        sim_note(cluster->sim, "EndTxn of %s: connection broken, fate %d", self->transaction->id,
                 fate);
        sim_at(cluster->sim, sim_producer_now_us(self) + sim_between(cluster->sim, 5, 2500) * 1000,
               notice_broken_end, cluster,
               self->client.number << 20 | (self->end_number & 0xfffff));
    }
}

static enum status take_answer(struct sim_producer *self, struct error *error)
{
    switch (self->end_answer) {
    case ANSWER_OK:
    case ANSWER_AGAIN:
        sim_producer_forget(self);
        return STATUS_OK;
    case ANSWER_FENCED:
        sim_producer_fence(self);
        break;
    case ANSWER_INVALID:
    case ANSWER_NOT_OWNER:
        self->invalid = true;
        break;
    }
    return sim_producer_fatal(self, error);
}

static enum status end_transaction(struct sim_producer *self, enum ending ending,
                                   int64_t timeout_ms, struct error *error)
{
    struct sim *sim = self->client.sim;
    int64_t deadline_us = sim_producer_now_us(self) + timeout_ms * 1000;
    if (self->ending != ENDING_NOTHING && self->ending != ending) {
        return error_set(error, STATUS_RETRY, ERROR_OTHER, "the other end is under way: resume it");
    }
    if (self->ending == ENDING_NOTHING) {
        self->ending = ending;
        self->end_number++;
        self->end_sent = self->end_answered = false;
    }
    while (!self->end_answered) {
        if (sim_producer_dead(self)) {
            return sim_producer_fatal(self, error);
        }
        if (!self->end_sent) {
            send_end(self);
        }
        if (sim_producer_now_us(self) >= deadline_us) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "EndTxn: no answer");
        }
        sim_wait_change(sim, deadline_us);
        sim_point(sim);
    }
    sim_wait_us(sim, sim_latency_us(self->client.cluster));
    sim_point(sim);
    return take_answer(self, error);
}

enum status sim_producer_commit(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_enter(self->client.cluster, "commit");
    ensure(self->in_transaction);
    if (self->ending == ENDING_NOTHING) {
        enum status status = sim_producer_flush(producer, timeout_ms, error);
        if (status == STATUS_BAD_RECORD) {
            return error_set(error, STATUS_ABORT, ERROR_OTHER, "a record was refused");
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (!self->touched) {
            self->client.cluster->statistics.empty++;
            sim_producer_forget(self);
            return STATUS_OK;
        }
    }
    return end_transaction(self, ENDING_COMMIT, timeout_ms, error);
}

enum status sim_producer_abort(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct sim_producer *self = sim_producer_of(producer);
    sim_enter(self->client.cluster, "abort");
    ensure(self->in_transaction);
    int64_t deadline_us = sim_producer_now_us(self) + timeout_ms * 1000;
    for (size_t i = 0; i < self->lane_count; i++) {
        sim_batch_drop(&self->lanes[i].waiting);
    }
    while (self->under_way > 0 && !sim_producer_dead(self)) {
        if (sim_producer_now_us(self) >= deadline_us) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "a batch is under way");
        }
        sim_wait_change(self->client.sim, deadline_us);
        sim_point(self->client.sim);
    }
    if (sim_producer_dead(self)) {
        return sim_producer_fatal(self, error);
    }
    if (!self->touched) {
        sim_producer_forget(self);
        return STATUS_OK;
    }
    return end_transaction(self, ENDING_ABORT, timeout_ms, error);
}
