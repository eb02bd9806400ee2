/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker, local: the embedded log behind broker.h, a durable log for several processes in one LMDB
 * directory. This file is the broker handle: topics, ranges, fencing of others. Producers,
 * consumers, groups and the rows themselves are in the local_ units beside it.
 *
 * What it does not do: replication, access over a network. Nothing is ever open here: a transaction
 * enters the log with its offsets in one LMDB write transaction, so the stable end is the end.
 */
#include "broker/local_broker.h"
#include "broker/local_log.h"

#include <stdlib.h>
#include <string.h>

enum { TAKE_OVER_TIMEOUT_MS = 1000, TRIM_BATCHES = 1000 };

static const struct broker_ops local_broker_ops;

static struct local_broker *local_of(struct broker *broker)
{
    ensure(broker->ops == &local_broker_ops);
    return (struct local_broker *)(void *)broker;
}

static enum status read_begin(struct broker *broker, MDB_txn **txn, struct error *error)
{
    ensure(local_of(broker)->environment != NULL);
    *txn = NULL;
    return local_read_begin(local_of(broker)->environment, txn, error);
}

static void local_close(struct broker *broker)
{
    ensure(local_of(broker)->environment != NULL);
    local_environment_close(local_of(broker)->environment);
    free(local_of(broker));
}

static enum status topic_find(struct broker *broker, const char *name, struct local_topic *topic,
                              struct error *error)
{
    ensure(name != NULL);
    MDB_txn *txn = NULL;
    enum status status = read_begin(broker, &txn, error);
    if (status == STATUS_OK) {
        status = local_topic_find(local_of(broker)->environment, txn, name, topic, error);
        local_read_end(local_of(broker)->environment, txn);
    }
    return status;
}

static enum status local_topic_get(struct broker *broker, const char *name,
                                   struct broker_topic *topic, struct error *error)
{
    ensure(topic != NULL);
    struct local_topic found;
    enum status status = topic_find(broker, name, &found, error);
    if (status == STATUS_OK) {
        *topic = (struct broker_topic){
            .partition_count = found.partition_count,
            .compacted = found.compacted != 0,
            .deleted = found.deleted != 0,
            .max_message_size = found.max_record_size,
            .retention_ms = found.deleted ? found.retention_ms : -1,
            .delete_retention_ms = found.delete_retention_ms,
        };
    }
    return status;
}

struct names {
    char **items;
    size_t count;
};

static enum status name_add(void *argument, const char *name, const struct local_topic *topic)
{
    ensure(local_topic_name_valid(name) && topic->partition_count > 0);
    struct names *names = argument;
    (void)topic;
    if (strncmp(name, "__", 2) != 0) {
        names->items = memory_resize(names->items, (names->count + 1) * sizeof *names->items);
        names->items[names->count++] = memory_text(name);
    }
    return STATUS_OK;
}

static enum status local_topic_list(struct broker *broker, char ***names, size_t *count,
                                    struct error *error)
{
    ensure(names != NULL && count != NULL);
    struct names found = {memory_allocate(sizeof *found.items), 0};
    MDB_txn *txn = NULL;
    enum status status = read_begin(broker, &txn, error);
    if (status == STATUS_OK) {
        status = local_topic_each(local_of(broker)->environment, txn, name_add, &found, error);
        local_read_end(local_of(broker)->environment, txn);
    }
    if (status != STATUS_OK) {
        for (size_t i = 0; i < found.count; i++) {
            free(found.items[i]);
        }
        free(found.items);
        return status;
    }
    *names = found.items;
    *count = found.count;
    return STATUS_OK;
}

static enum status local_topic_make(struct broker *broker, const char *name, int32_t partitions,
                                    int32_t replication, const struct broker_property *properties,
                                    size_t count, struct error *error)
{
    ensure(count == 0 || properties != NULL);
    if (replication != -1 && replication != 1) {
        return error_set(
            error, STATUS_BAD_CONFIG, ERROR_LIMIT,
            "topic %s: replication factor %d asked for; the local broker keeps one copy "
            "(leave the factor out)",
            name, replication);
    }
    struct local_topic topic = {.partition_count = partitions};
    struct error own;
    enum status status = local_topic_properties(properties, count, &topic, &own);
    if (status != STATUS_OK) {
        return error_set(error, status, own.code, "topic %s: %s", name, own.text);
    }
    return local_topic_create(local_of(broker)->environment, name, &topic, error);
}

static enum status local_topic_remove(struct broker *broker, const char *name, struct error *error)
{
    ensure(name != NULL);
    return local_topic_delete(local_of(broker)->environment, name, error);
}

static enum status no_partition(const char *topic, int32_t partition, struct error *error)
{
    ensure(topic != NULL);
    return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "%s[%d] does not exist", topic,
                     partition);
}

static enum status local_log_range(struct broker *broker, const char *topic, int32_t partition,
                                   int64_t *start, int64_t *end, struct error *error)
{
    ensure(topic != NULL && start != NULL && end != NULL);
    struct local_environment *environment = local_of(broker)->environment;
    struct local_topic found;
    struct local_partition row = {0};
    MDB_txn *txn = NULL;
    enum status status = read_begin(broker, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = local_topic_find(environment, txn, topic, &found, error);
    if (status == STATUS_OK) {
        status = local_partition_get(environment, txn, found.id, partition, &row, error);
    }
    local_read_end(environment, txn);
    *start = row.start;
    *end = row.end;
    return status == STATUS_NOT_FOUND ? no_partition(topic, partition, error) : status;
}

/* ---- Deleting records ---- */

struct cut {
    const char *topic;
    int32_t partition;
    int64_t before; /* -1: all */
    bool left;      /* whole batches below the start are still there */
};

static enum status cut_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                            struct error *error)
{
    ensure(txn != NULL);
    struct cut *cut = argument;
    struct local_topic topic;
    struct local_partition row;
    enum status status = local_topic_find(environment, txn, cut->topic, &topic, error);
    if (status == STATUS_OK) {
        status = local_partition_get(environment, txn, topic.id, cut->partition, &row, error);
    }
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? no_partition(cut->topic, cut->partition, error)
                                          : status;
    }
    if (cut->before > row.end) {
        return error_set(error, STATUS_FATAL, ERROR_OFFSET_LOST,
                         "%s[%d]: cannot delete the records below %lld: the end is %lld",
                         cut->topic, cut->partition, (long long)cut->before, (long long)row.end);
    }
    int64_t before = cut->before < 0 ? row.end : cut->before;
    row.start = before > row.start ? before : row.start;
    status = local_log_trim(environment, txn, topic.id, cut->partition, &row, TRIM_BATCHES,
                            &cut->left, error);
    return status == STATUS_OK
               ? local_partition_put(environment, txn, topic.id, cut->partition, &row, error)
               : status;
}

static enum status local_delete_records(struct broker *broker, const char *topic, int32_t partition,
                                        int64_t before, struct error *error)
{
    ensure(topic != NULL && before >= -1);
    struct cut cut = {topic, partition, before, true};
    enum status status = STATUS_OK;
    while (status == STATUS_OK && cut.left) {
        status = local_write(local_of(broker)->environment, LOCAL_WRITE_TIMEOUT_MS, cut_work, &cut,
                             error);
    }
    return status;
}

/* ---- Others' transactions and offsets ---- */

static enum status local_committed_unstable(struct broker *broker, const char *group,
                                            struct broker_offset *offsets, size_t count,
                                            int64_t timeout_ms, struct error *error)
{
    ensure(group != NULL && (count == 0 || offsets != NULL));
    (void)timeout_ms;
    MDB_txn *txn = NULL;
    enum status status = read_begin(broker, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = local_offset_get(local_of(broker)->environment, txn, group, &offsets[i], error);
    }
    local_read_end(local_of(broker)->environment, txn);
    return status;
}

/* Nothing ever blocks: what is in the log is committed. */
static enum status local_blocking_header(struct broker *broker, const char *topic,
                                         int32_t partition, const char *header, char *value,
                                         size_t value_size, struct error *error)
{
    (void)broker;
    (void)topic;
    (void)partition;
    (void)header;
    (void)error;
    ensure(value_size > 0);
    *value = 0;
    return STATUS_NOT_FOUND;
}

static enum status local_take_over(struct broker *broker, const char *transactional_id,
                                   struct error *error)
{
    ensure(transactional_id != NULL);
    uint64_t epoch = 0;
    return local_producer_fence(local_of(broker)->environment, transactional_id,
                                TAKE_OVER_TIMEOUT_MS, &epoch, error);
}

static const struct broker_ops local_broker_ops = {
    .close = local_close,
    .topic_get = local_topic_get,
    .topic_list = local_topic_list,
    .topic_create = local_topic_make,
    .topic_delete = local_topic_remove,
    .log_range = local_log_range,
    .delete_records = local_delete_records,
    .committed_unstable = local_committed_unstable,
    .blocking_header = local_blocking_header,
    .take_over = local_take_over,
    .consumer_open = local_consumer_open,
    .producer_open = local_producer_open,
};

enum status broker_local_open(const struct broker_settings *settings, struct broker **broker,
                              struct error *error)
{
    ensure(settings->directory != NULL && settings->prefetch_size >= 0);
    ensure(settings->session_timeout_ms > 0 && settings->transaction_timeout_ms > 0 &&
           settings->callback_timeout_ms > 0);
    *broker = NULL;
    struct local_environment *environment = NULL;
    enum status status = local_environment_open(settings->directory, &environment, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct local_broker *local = memory_allocate(sizeof *local);
    local->broker.ops = &local_broker_ops;
    local->environment = environment;
    local->session_timeout_ms = settings->session_timeout_ms;
    local->transaction_timeout_ms = settings->transaction_timeout_ms;
    local->callback_timeout_ms = settings->callback_timeout_ms;
    local->prefetch_size = (size_t)settings->prefetch_size;
    *broker = &local->broker;
    return STATUS_OK;
}
