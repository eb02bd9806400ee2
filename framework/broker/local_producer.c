/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local producer: stages records in memory, packed as they will lie in the log, and puts a
 * transaction into it in one LMDB write transaction: epoch and generation checked, batches copied,
 * offsets stored, all or nothing. Without a transactional id flush does the same without fences.
 *
 * Invariants: nothing of a transaction is visible before commit answered OK, everything after; a
 * transaction whose epoch, generation or time is over never enters the log.
 */
#include "broker/local_broker.h"
#include "broker/local_log.h"
#include "broker/local_membership.h"
#include "broker/local_upkeep.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_SIZE = 8 << 20,       /* without transactions: flushed when this much waits */
    TRANSACTION_SIZE = 1 << 30, /* staged in memory, so there is a limit */
    KEEP_SIZE = 16 << 20,       /* of the memory between transactions, over all partitions */
    KEEP_LEAST = 256 << 10,
    TIMESTAMP_EVERY = 64
};

/* One partition's share of the transaction. */
struct stage {
    struct local_builder builder;
    bool touched;
    int64_t base;        /* where it was appended by the last run of the write transaction */
    int64_t last_offset; /* of this transaction; -1 none */
};

struct target {
    char *name;
    struct local_topic topic;
    struct stage *stages; /* one a partition */
};

struct touched {
    uint32_t target;
    int32_t partition;
};

struct staged_offset {
    char *name;
    struct broker_offset offset; /* its topic is `name` */
};

struct local_producer {
    struct producer producer; /* first */
    struct local_environment *environment;
    char *id; /* NULL: no transactions */
    uint64_t epoch;
    int64_t timeout_ms;
    bool open;        /* begin was called */
    bool dead;        /* fenced */
    int64_t begun_ms; /* monotonic, with the first send; 0 = not yet */
    struct target *targets;
    uint32_t target_count;
    struct touched *touched;
    size_t touched_count, touched_capacity;
    size_t staged;  /* bytes */
    int64_t now_ms; /* wall clock, read anew every TIMESTAMP_EVERY records */
    uint32_t now_age;
    struct staged_offset *offsets;
    size_t offset_count, offset_capacity;
    struct local_credential credential;
};

static const struct producer_ops local_producer_ops;

static struct local_producer *local_of(struct producer *producer)
{
    ensure(producer->ops == &local_producer_ops);
    return (struct local_producer *)(void *)producer;
}

static enum status fenced(struct local_producer *local, struct error *error)
{
    ensure(local->id != NULL);
    local->dead = true;
    return error_set(
        error, STATUS_FATAL, ERROR_FENCED,
        "%s was fenced: a newer producer has this transactional.id, or its transaction "
        "outlived broker.transaction_timeout",
        local->id);
}

/* Kafka's coordinator ends such a transaction by a new epoch; here it is refused with the same
 * answer. */
static enum status overdue(struct local_producer *local, struct error *error)
{
    ensure(local->timeout_ms > 0);
    if (local->id == NULL || local->begun_ms == 0) {
        return STATUS_OK;
    }
    int64_t age = clock_monotonic_ms(clock_system()) - local->begun_ms;
    if (age <= local->timeout_ms) {
        return STATUS_OK;
    }
    local->dead = true;
    return error_set(
        error, STATUS_FATAL, ERROR_FENCED,
        "%s was fenced: its transaction was open for %lld ms, broker.transaction_timeout "
        "is %lld ms",
        local->id, (long long)age, (long long)local->timeout_ms);
}

static enum status epoch_check(struct local_producer *local, MDB_txn *txn, struct error *error)
{
    ensure((local->id == NULL) == (local->epoch == 0));
    bool mine = true;
    if (local->id == NULL) {
        return STATUS_OK;
    }
    enum status status =
        local_epoch_is(local->environment, txn, local->id, local->epoch, &mine, error);
    return status == STATUS_OK && !mine ? fenced(local, error) : status;
}

/* What every call asks first. */
static enum status alive(struct local_producer *local, struct error *error)
{
    ensure(local->epoch > 0 || local->id == NULL);
    if (local->dead) {
        return fenced(local, error);
    }
    enum status status = overdue(local, error);
    if (status != STATUS_OK || local->id == NULL) {
        return status;
    }
    MDB_txn *txn = NULL;
    status = local_read_begin(local->environment, &txn, error);
    if (status == STATUS_OK) {
        status = epoch_check(local, txn, error);
        local_read_end(local->environment, txn);
    }
    return status;
}

static void transaction_clear(struct local_producer *local)
{
    ensure(local->touched_count <= local->touched_capacity);
    size_t keep = local->touched_count == 0 ? 0 : KEEP_SIZE / local->touched_count;
    keep = keep < KEEP_LEAST ? KEEP_LEAST : keep;
    for (size_t i = 0; i < local->touched_count; i++) {
        const struct touched *each = &local->touched[i];
        struct stage *stage = &local->targets[each->target].stages[each->partition];
        local_builder_reset(&stage->builder, keep);
        stage->touched = false;
    }
    for (size_t i = 0; i < local->offset_count; i++) {
        free(local->offsets[i].name);
    }
    local->touched_count = 0;
    local->offset_count = 0;
    local->staged = 0;
    local->begun_ms = 0;
    local->open = false;
    local->now_age = 0;
}

/* ---- Topics ---- */

static enum status local_ready(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    (void)timeout_ms;
    return alive(local_of(producer), error);
}

static enum status local_topic(struct producer *producer, const char *name, uint32_t *topic,
                               int32_t *partition_count, struct error *error)
{
    ensure(name != NULL && partition_count != NULL);
    struct local_producer *local = local_of(producer);
    MDB_txn *txn = NULL;
    struct local_topic found;
    enum status status = local_read_begin(local->environment, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = local_topic_find(local->environment, txn, name, &found, error);
    local_read_end(local->environment, txn);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "topic %s does not exist", name);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *partition_count = found.partition_count;
    for (uint32_t i = 0; i < local->target_count; i++) {
        if (local->targets[i].topic.id == found.id) {
            *topic = i;
            return STATUS_OK;
        }
    }
    local->targets =
        memory_resize(local->targets, (local->target_count + 1) * sizeof *local->targets);
    *topic = local->target_count++;
    size_t partitions = (size_t)found.partition_count;
    struct stage *stages = memory_allocate(partitions * sizeof *stages);
    for (size_t i = 0; i < partitions; i++) {
        stages[i].last_offset = -1;
    }
    local->targets[*topic] = (struct target){memory_text(name), found, stages};
    return STATUS_OK;
}

/* ---- Sending ---- */

static enum status send_check(struct local_producer *local, const struct broker_output *output,
                              const struct local_record *record, struct error *error)
{
    ensure(output->topic < local->target_count);
    const struct target *target = &local->targets[output->topic];
    if (output->partition < 0 || output->partition >= target->topic.partition_count) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC,
                         "%s[%d] does not exist: %d partitions", target->name, output->partition,
                         target->topic.partition_count);
    }
    size_t size = local_record_size(record);
    if (size > (size_t)target->topic.max_record_size) {
        return error_set(
            error, STATUS_BAD_RECORD, ERROR_TOO_LARGE,
            "a record of %zu bytes is too large for topic %s: its max.message.bytes is "
            "%lld",
            size, target->name, (long long)target->topic.max_record_size);
    }
    if (target->topic.compacted && output->key.data == NULL) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER,
                         "a record without a key cannot go to the compacted topic %s",
                         target->name);
    }
    if (local->id != NULL && local->staged + size > TRANSACTION_SIZE) {
        return error_set(error, STATUS_ABORT, ERROR_LIMIT,
                         "a transaction on the local broker holds at most %d bytes; commit more "
                         "often",
                         TRANSACTION_SIZE);
    }
    return STATUS_OK;
}

static void stage_touch(struct local_producer *local, const struct broker_output *output,
                        struct stage *stage)
{
    ensure(!stage->touched);
    if (local->touched_count == local->touched_capacity) {
        local->touched_capacity = local->touched_capacity == 0 ? 8 : local->touched_capacity * 2;
        local->touched =
            memory_resize(local->touched, local->touched_capacity * sizeof *local->touched);
    }
    local->touched[local->touched_count++] = (struct touched){output->topic, output->partition};
    stage->touched = true;
    stage->last_offset = -1;
}

static enum status local_flush(struct producer *producer, int64_t timeout_ms, struct error *error);

static enum status local_send(struct producer *producer, const struct broker_output *output,
                              struct error *error)
{
    struct local_producer *local = local_of(producer);
    ensure(output->topic < local->target_count);
    ensure(local->id == NULL || local->open);
    if (local->now_age++ % TIMESTAMP_EVERY == 0) {
        local->now_ms = clock_wall_ms(clock_system());
    }
    struct local_record record = {
        .timestamp_ms = output->timestamp_ms < 0 ? local->now_ms : output->timestamp_ms,
        .key = output->key,
        .value = output->value,
        .headers = output->headers,
        .header_count = output->header_count,
    };
    enum status status = send_check(local, output, &record, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (local->begun_ms == 0) {
        local->begun_ms = clock_monotonic_ms(clock_system());
    }
    struct stage *stage = &local->targets[output->topic].stages[output->partition];
    if (!stage->touched) {
        stage_touch(local, output, stage);
    }
    local->staged += local_builder_add(&stage->builder, &record, local->now_ms);
    if (local->id == NULL && local->staged >= QUEUE_SIZE) {
        return local_flush(producer, LOCAL_WRITE_TIMEOUT_MS, error);
    }
    return STATUS_OK;
}

/* ---- Into the log ---- */

static enum status stage_append(struct local_producer *local, MDB_txn *txn,
                                const struct touched *each, int64_t now_ms, struct error *error)
{
    ensure(each->target < local->target_count);
    struct target *target = &local->targets[each->target];
    struct stage *stage = &target->stages[each->partition];
    struct local_partition row;
    enum status status = local_partition_get(local->environment, txn, target->topic.id,
                                             each->partition, &row, error);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "topic %s was deleted", target->name);
    }
    if (status != STATUS_OK) {
        return status;
    }
    stage->base = row.end;
    status = local_log_append(local->environment, txn, target->topic.id, each->partition,
                              &stage->builder, &row, error);
    if (status == STATUS_OK) {
        bool changed = false;
        size_t slice = 2 * stage->builder.count + 2; /* faster than it grows */
        status = local_log_retain(local->environment, txn, &target->topic, each->partition, &row,
                                  now_ms, slice, &changed, error);
    }
    if (status == STATUS_OK) {
        status = local_partition_put(local->environment, txn, target->topic.id, each->partition,
                                     &row, error);
    }
    return status;
}

static enum status commit_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                               struct error *error)
{
    struct local_producer *local = argument;
    ensure(local->environment == environment && (local->id == NULL || local->open));
    enum status status = epoch_check(local, txn, error);
    if (status == STATUS_OK && local->offset_count > 0) {
        status = local_credential_check(environment, txn, &local->credential, error);
    }
    int64_t now_ms = clock_wall_ms(clock_system());
    for (size_t i = 0; i < local->touched_count && status == STATUS_OK; i++) {
        status = stage_append(local, txn, &local->touched[i], now_ms, error);
    }
    for (size_t i = 0; i < local->offset_count && status == STATUS_OK; i++) {
        status = local_offset_put(environment, txn, local->credential.group,
                                  &local->offsets[i].offset, error);
    }
    return status;
}

static void seal(struct local_producer *local)
{
    for (size_t i = 0; i < local->touched_count; i++) {
        const struct touched *each = &local->touched[i];
        ensure(each->target < local->target_count);
        local_builder_seal(&local->targets[each->target].stages[each->partition].builder);
    }
}

/* The write transaction was committed: what was guessed is known now. */
static void settle(struct local_producer *local)
{
    for (size_t i = 0; i < local->touched_count; i++) {
        const struct touched *each = &local->touched[i];
        struct target *target = &local->targets[each->target];
        struct stage *stage = &target->stages[each->partition];
        ensure(stage->builder.records > 0);
        stage->last_offset = stage->base + stage->builder.records - 1;
        if (target->topic.compacted) {
            local_upkeep_wrote(local->environment->upkeep, target->topic.id, each->partition,
                               target->topic.delete_retention_ms);
        }
    }
    transaction_clear(local);
}

/* Where the records would come to lie now: true for who is the only writer of the partition. */
static enum status predict(struct local_producer *local, struct error *error)
{
    ensure(local->id != NULL);
    MDB_txn *txn = NULL;
    enum status status = local_read_begin(local->environment, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = epoch_check(local, txn, error);
    for (size_t i = 0; i < local->touched_count && status == STATUS_OK; i++) {
        const struct touched *each = &local->touched[i];
        struct target *target = &local->targets[each->target];
        struct stage *stage = &target->stages[each->partition];
        struct local_partition row = {0};
        status = local_partition_get(local->environment, txn, target->topic.id, each->partition,
                                     &row, error);
        stage->last_offset = row.end + stage->builder.records - 1;
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status; /* commit will say so */
    }
    local_read_end(local->environment, txn);
    return status;
}

static enum status local_flush(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    ensure(timeout_ms >= 0);
    struct local_producer *local = local_of(producer);
    seal(local);
    if (local->id != NULL) {
        enum status status = local->dead ? fenced(local, error) : overdue(local, error);
        return status != STATUS_OK ? status : predict(local, error);
    }
    if (local->touched_count == 0) {
        return STATUS_OK;
    }
    enum status status = local_write(local->environment, timeout_ms, commit_work, local, error);
    if (status == STATUS_OK) {
        settle(local);
    }
    return status;
}

static bool local_refused(struct producer *producer, uint64_t *origin, struct error *error)
{
    (void)producer; /* what can be refused is refused by send */
    (void)origin;
    (void)error;
    return false;
}

static int64_t local_last_offset(struct producer *producer, uint32_t topic, int32_t partition)
{
    struct local_producer *local = local_of(producer);
    ensure(topic < local->target_count);
    const struct target *target = &local->targets[topic];
    return partition < 0 || partition >= target->topic.partition_count
               ? -1
               : target->stages[partition].last_offset;
}

/* ---- Transactions ---- */

static enum status local_begin(struct producer *producer, struct error *error)
{
    struct local_producer *local = local_of(producer);
    ensure(local->id != NULL && !local->open);
    enum status status = alive(local, error);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < local->target_count; i++) {
        for (int32_t j = 0; j < local->targets[i].topic.partition_count; j++) {
            local->targets[i].stages[j].last_offset = -1;
        }
    }
    local->open = true;
    return STATUS_OK;
}

static void offset_stage(struct local_producer *local, const struct broker_offset *given)
{
    ensure(given->offset >= 0 && strlen(given->topic) < BROKER_TOPIC_SIZE);
    size_t at = 0;
    while (at < local->offset_count && (local->offsets[at].offset.partition != given->partition ||
                                        strcmp(local->offsets[at].name, given->topic) != 0)) {
        at++;
    }
    if (at == local->offset_count) {
        if (local->offset_count == local->offset_capacity) {
            local->offset_capacity = local->offset_capacity == 0 ? 8 : local->offset_capacity * 2;
            local->offsets =
                memory_resize(local->offsets, local->offset_capacity * sizeof *local->offsets);
        }
        local->offsets[local->offset_count++].name = memory_text(given->topic);
    }
    local->offsets[at].offset = *given;
    local->offsets[at].offset.topic = local->offsets[at].name;
}

static enum status local_send_offsets(struct producer *producer, struct consumer *consumer,
                                      const struct broker_offset *offsets, size_t count,
                                      struct error *error)
{
    struct local_producer *local = local_of(producer);
    ensure(local->id != NULL && local->open && count > 0);
    enum status status = alive(local, error);
    if (status != STATUS_OK) {
        return status;
    }
    const struct local_credential *credential = local_consumer_credential(consumer);
    if (credential == NULL) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                         "offsets of a consumer that was never assigned");
    }
    MDB_txn *txn = NULL;
    status = local_read_begin(local->environment, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = local_credential_check(local->environment, txn, credential, error);
    local_read_end(local->environment, txn);
    if (status != STATUS_OK) {
        return status;
    }
    local->begun_ms = local->begun_ms == 0 ? clock_monotonic_ms(clock_system()) : local->begun_ms;
    local->credential = *credential;
    for (size_t i = 0; i < count; i++) {
        offset_stage(local, &offsets[i]);
    }
    return STATUS_OK;
}

static enum status local_commit(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct local_producer *local = local_of(producer);
    ensure(local->id != NULL && local->open);
    seal(local);
    enum status status = local->dead ? fenced(local, error) : overdue(local, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (local->touched_count == 0 && local->offset_count == 0) {
        status = alive(local, error);
        local->open = status != STATUS_OK;
        return status;
    }
    status = local_write(local->environment, timeout_ms, commit_work, local, error);
    if (status == STATUS_OK) {
        settle(local);
    }
    return status;
}

static enum status local_abort(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct local_producer *local = local_of(producer);
    (void)timeout_ms; /* nothing of it is in the log */
    transaction_clear(local);
    return alive(local, error);
}

static bool local_suspect(struct producer *producer)
{
    (void)producer; /* no request can arrive late */
    return false;
}

static void local_close(struct producer *producer)
{
    struct local_producer *local = local_of(producer);
    transaction_clear(local);
    for (uint32_t i = 0; i < local->target_count; i++) {
        for (int32_t j = 0; j < local->targets[i].topic.partition_count; j++) {
            local_builder_finish(&local->targets[i].stages[j].builder);
        }
        free(local->targets[i].stages);
        free(local->targets[i].name);
    }
    free(local->targets);
    free(local->touched);
    free(local->offsets);
    free(local->id);
    free(local);
}

/* ---- Opening ---- */

static const struct producer_ops local_producer_ops = {
    .ready = local_ready,
    .topic = local_topic,
    .begin = local_begin,
    .send = local_send,
    .flush = local_flush,
    .refused = local_refused,
    .last_offset = local_last_offset,
    .send_offsets = local_send_offsets,
    .commit = local_commit,
    .abort = local_abort,
    .suspect = local_suspect,
    .close = local_close,
};

enum status local_producer_open(struct broker *broker, const char *transactional_id,
                                struct producer **producer, struct error *error)
{
    ensure(producer != NULL);
    const struct local_broker *opened = (const struct local_broker *)(void *)broker;
    uint64_t epoch = 0;
    *producer = NULL;
    if (transactional_id != NULL) {
        enum status status = local_producer_fence(opened->environment, transactional_id,
                                                  LOCAL_WRITE_TIMEOUT_MS, &epoch, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct local_producer *local = memory_allocate(sizeof *local);
    local->producer.ops = &local_producer_ops;
    local->environment = opened->environment;
    local->id = memory_text(transactional_id);
    local->epoch = epoch;
    local->timeout_ms = opened->transaction_timeout_ms;
    *producer = &local->producer;
    return STATUS_OK;
}
