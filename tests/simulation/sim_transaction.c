/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator of transactions, version 1 of the protocol (what librdkafka speaks): epochs,
 * EndTxn, markers that follow later one partition at a time, time-outs found by a scan.
 */
#include "sim_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_transaction *sim_transaction_get(struct sim_cluster *cluster, const char *id)
{
    for (size_t i = 0; i < cluster->transaction_count; i++) {
        if (strcmp(cluster->transactions[i]->id, id) == 0) {
            return cluster->transactions[i];
        }
    }
    struct sim_transaction *transaction = memory_allocate(sizeof *transaction);
    transaction->cluster = cluster;
    snprintf(transaction->id, sizeof transaction->id, "%s", id);
    transaction->timeout_us = 10 * 1000000;
    cluster->transactions = memory_resize(
        cluster->transactions, (cluster->transaction_count + 1) * sizeof(struct sim_transaction *));
    cluster->transactions[cluster->transaction_count++] = transaction;
    return transaction;
}

/* ---- Markers ---- */

static void complete(struct sim_transaction *transaction)
{
    for (size_t i = 0; i < transaction->place_count; i++) {
        if (!transaction->places[i].marked) {
            return;
        }
    }
    if (transaction->group[0] != '\0' && !transaction->group_marked) {
        return;
    }
    transaction->state =
        transaction->state == TRANSACTION_COMMITTING ? TRANSACTION_COMMITTED : TRANSACTION_ABORTED;
    transaction->place_count = 0;
    transaction->group[0] = '\0';
}

static void write_marker(void *subject, uint64_t number)
{
    struct sim_transaction *transaction = subject;
    struct sim_cluster *cluster = transaction->cluster;
    bool commit = transaction->state == TRANSACTION_COMMITTING;
    ensure(commit || transaction->state == TRANSACTION_ABORTING);
    if (number == transaction->place_count) {
        sim_group_mark(sim_group_get(cluster, transaction->group), transaction, commit);
        transaction->group_marked = true;
    } else {
        struct sim_place *place = &transaction->places[number];
        struct sim_partition *log = sim_partition_find(cluster, place->topic, place->partition);
        if (log != NULL) { /* else the topic was deleted meanwhile */
            sim_partition_mark(log, transaction, commit);
        }
        place->marked = true;
    }
    complete(transaction);
    sim_touch(cluster->sim);
}

static int64_t marker_delay_us(struct sim_cluster *cluster)
{
    struct sim *sim = cluster->sim;
    if (cluster->faults.marker_ms > 0 && sim_chance(sim, 1500)) {
        return sim_between(sim, 0, cluster->faults.marker_ms * 1000);
    }
    return sim_between(sim, 300, 5000);
}

static void decide(struct sim_transaction *transaction, bool commit)
{
    struct sim_cluster *cluster = transaction->cluster;
    struct sim *sim = cluster->sim;
    ensure(transaction->state == TRANSACTION_ONGOING);
    transaction->state = commit ? TRANSACTION_COMMITTING : TRANSACTION_ABORTING;
    transaction->group_marked = false;
    *(commit ? &cluster->statistics.committed : &cluster->statistics.aborted) += 1;
    sim_trace(sim, transaction->serial * 2 + (commit ? 1 : 0));
    sim_note(sim, "broker: %s %s of epoch %d (%zu partitions, offsets of \"%s\")", transaction->id,
             commit ? "commit" : "abort", transaction->epoch, transaction->place_count,
             transaction->group);
    for (size_t i = 0; i < transaction->place_count; i++) {
        transaction->places[i].marked = false;
        sim_at(sim, sim_now_us(sim) + marker_delay_us(cluster), write_marker, transaction, i);
    }
    if (transaction->group[0] != '\0') {
        sim_at(sim, sim_now_us(sim) + marker_delay_us(cluster), write_marker, transaction,
               transaction->place_count);
    }
    complete(transaction);
}

/* ---- Requests ---- */

static bool marking(const struct sim_transaction *transaction)
{
    return transaction->state == TRANSACTION_COMMITTING ||
           transaction->state == TRANSACTION_ABORTING;
}

enum answer sim_transaction_init(struct sim_transaction *transaction, int64_t timeout_ms,
                                 int32_t *epoch)
{
    transaction->cluster->statistics.inits++;
    sim_note(transaction->cluster->sim, "broker: init %s, epoch %d, state %d", transaction->id,
             transaction->epoch, transaction->state);
    if (marking(transaction)) {
        return ANSWER_AGAIN;
    }
    transaction->epoch++;
    if (transaction->state == TRANSACTION_ONGOING) {
        decide(transaction, false);
        return ANSWER_AGAIN;
    }
    transaction->state = TRANSACTION_EMPTY;
    if (timeout_ms > 0) {
        transaction->timeout_us = timeout_ms * 1000;
    }
    *epoch = transaction->epoch;
    return ANSWER_OK;
}

static enum answer start(struct sim_transaction *transaction, int32_t epoch)
{
    if (epoch != transaction->epoch) {
        return ANSWER_FENCED;
    }
    if (marking(transaction)) {
        return ANSWER_AGAIN;
    }
    if (transaction->state != TRANSACTION_ONGOING) {
        transaction->state = TRANSACTION_ONGOING;
        transaction->started_us = sim_now_us(transaction->cluster->sim);
        transaction->serial = ++transaction->cluster->serial;
        transaction->place_count = 0;
        transaction->group[0] = '\0';
    }
    return ANSWER_OK;
}

bool sim_transaction_holds(const struct sim_transaction *transaction, const char *topic,
                           int32_t partition)
{
    for (size_t i = 0; i < transaction->place_count; i++) {
        const struct sim_place *place = &transaction->places[i];
        if (place->partition == partition && strcmp(place->topic, topic) == 0) {
            return true;
        }
    }
    return false;
}

enum answer sim_transaction_add(struct sim_transaction *transaction, int32_t epoch,
                                const char *topic, int32_t partition)
{
    enum answer answer = start(transaction, epoch);
    if (answer != ANSWER_OK || sim_transaction_holds(transaction, topic, partition)) {
        return answer;
    }
    transaction->places = memory_resize(transaction->places, (transaction->place_count + 1) *
                                                                 sizeof *transaction->places);
    struct sim_place *place = &transaction->places[transaction->place_count++];
    *place = (struct sim_place){.partition = partition};
    snprintf(place->topic, sizeof place->topic, "%s", topic);
    return ANSWER_OK;
}

enum answer sim_transaction_add_group(struct sim_transaction *transaction, int32_t epoch,
                                      const char *group)
{
    enum answer answer = start(transaction, epoch);
    if (answer == ANSWER_OK) {
        snprintf(transaction->group, sizeof transaction->group, "%s", group);
    }
    return answer;
}

enum answer sim_transaction_end(struct sim_transaction *transaction, int32_t epoch, bool commit)
{
    if (epoch != transaction->epoch) {
        return ANSWER_FENCED;
    }
    switch (transaction->state) {
    case TRANSACTION_ONGOING:
        decide(transaction, commit);
        return ANSWER_OK;
    case TRANSACTION_COMMITTING:
        return commit ? ANSWER_AGAIN : ANSWER_INVALID;
    case TRANSACTION_ABORTING:
        return commit ? ANSWER_INVALID : ANSWER_AGAIN;
    case TRANSACTION_COMMITTED:
        return commit ? ANSWER_OK : ANSWER_INVALID;
    case TRANSACTION_ABORTED:
        return commit ? ANSWER_INVALID : ANSWER_OK;
    case TRANSACTION_EMPTY:
        break;
    }
    return ANSWER_INVALID;
}

/* ---- Time-outs ---- */

static void give_up(struct sim_transaction *transaction)
{
    transaction->epoch++;
    transaction->cluster->statistics.timed_out++;
    decide(transaction, false);
    sim_touch(transaction->cluster->sim);
}

bool sim_fence(struct sim_cluster *cluster, const char *transactional_id)
{
    struct sim_transaction *transaction = sim_transaction_get(cluster, transactional_id);
    if (transaction->state != TRANSACTION_ONGOING) {
        return false;
    }
    give_up(transaction);
    return true;
}

void sim_transaction_scan(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim *sim = cluster->sim;
    for (size_t i = 0; i < cluster->transaction_count; i++) {
        struct sim_transaction *transaction = cluster->transactions[i];
        if (transaction->state == TRANSACTION_ONGOING &&
            transaction->started_us + transaction->timeout_us < sim_now_us(sim)) {
            give_up(transaction);
        }
    }
    int64_t every_ms = cluster->faults.scan_ms > 0 ? cluster->faults.scan_ms : 10000;
    sim_at(sim, sim_now_us(sim) + every_ms * 1000, sim_transaction_scan, cluster, number);
}

void sim_transaction_fence_any(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim *sim = cluster->sim;
    if (cluster->faults.fence_ms == 0) {
        return;
    }
    if (cluster->transaction_count > 0) {
        size_t first = (size_t)sim_below(sim, cluster->transaction_count);
        for (size_t i = 0; i < cluster->transaction_count; i++) {
            struct sim_transaction *transaction =
                cluster->transactions[(first + i) % cluster->transaction_count];
            if (transaction->state == TRANSACTION_ONGOING) {
                give_up(transaction);
                break;
            }
        }
    }
    sim_at(sim, sim_now_us(sim) + sim_between(sim, 1, 2 * cluster->faults.fence_ms * 1000),
           sim_transaction_fence_any, cluster, number);
}

bool sim_cluster_marked(const struct sim_cluster *cluster)
{
    for (size_t i = 0; i < cluster->transaction_count; i++) {
        if (marking(cluster->transactions[i])) {
            return false;
        }
    }
    return true;
}

bool sim_cluster_settled(const struct sim_cluster *cluster)
{
    for (size_t i = 0; i < cluster->transaction_count; i++) {
        if (cluster->transactions[i]->state == TRANSACTION_ONGOING) {
            return false;
        }
    }
    return sim_cluster_marked(cluster);
}
