/* SPDX-License-Identifier: Apache-2.0 */
/* Access to the embedded log, through broker.h: no other program knows its format. See access.h. */
#include "access.h"

#include "broker/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 30000, FLUSH_EVERY = 10000 };

struct local {
    struct access base;
    struct broker *broker;
    struct producer *producer;
    struct consumer *consumer;
    uint32_t output;
    int64_t unflushed;
    struct broker_record record;
    bool taken;
};

static struct local *local_of(struct access *access)
{
    return (struct local *)access;
}

static void expect(const char *what, enum status status, const struct error *error)
{
    if (status != STATUS_OK) {
        access_fail(what, status == STATUS_NOT_FOUND ? "not there" : error->text);
    }
}

static void release(struct local *local)
{
    if (local->taken) {
        consumer_release(local->consumer, &local->record);
        local->taken = false;
    }
}

static void local_close(struct access *access)
{
    struct local *local = local_of(access);
    release(local);
    consumer_close(local->consumer);
    producer_close(local->producer);
    broker_close(local->broker);
    free(local);
}

static void local_create(struct access *access, const char *topic, int32_t partitions,
                         const char *const *properties, size_t count)
{
    struct broker_property list[ACCESS_PROPERTIES_MAX] = {0};
    char texts[ACCESS_PROPERTIES_MAX][128];
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s", properties[i]);
        char *value = strchr(texts[i], '=');
        if (value == NULL) {
            access_fail(texts[i], "not NAME=VALUE");
        }
        *value++ = '\0';
        list[i] = (struct broker_property){.name = texts[i], .value = value};
    }
    struct error error;
    expect(
        topic,
        broker_topic_create(local_of(access)->broker, topic, partitions, -1, list, count, &error),
        &error);
}

static void local_erase(struct access *access, const char *topic)
{
    struct error error;
    enum status status = broker_topic_delete(local_of(access)->broker, topic, &error);
    if (status != STATUS_NOT_FOUND) {
        expect(topic, status, &error);
    }
}

static int32_t local_partitions(struct access *access, const char *topic)
{
    struct error error;
    struct broker_topic found;
    expect(topic, broker_topic_get(local_of(access)->broker, topic, &found, &error), &error);
    if (found.partition_count > ACCESS_PARTITIONS_MAX) {
        access_fail(topic, "it has too many partitions");
    }
    return found.partition_count;
}

static void local_write(struct access *access, const char *topic)
{
    struct local *local = local_of(access);
    struct error error;
    int32_t count;
    expect("producer", producer_open(local->broker, NULL, &local->producer, &error), &error);
    expect("producer", producer_ready(local->producer, WAIT_MS, &error), &error);
    expect(topic, producer_topic(local->producer, topic, &local->output, &count, &error), &error);
}

static void local_flush(struct access *access)
{
    struct local *local = local_of(access);
    struct error error;
    expect("flush", producer_flush(local->producer, WAIT_MS, &error), &error);
    local->unflushed = 0;
}

static void local_send(struct access *access, int32_t partition, const void *key, size_t key_size,
                       const void *value, size_t value_size)
{
    struct local *local = local_of(access);
    struct broker_output output = {.topic = local->output,
                                   .partition = partition,
                                   .key = {key, key_size},
                                   .value = {value, value_size},
                                   .timestamp_ms = BROKER_NO_TIMESTAMP};
    struct error error;
    expect("send", producer_send(local->producer, &output, &error), &error);
    if (++local->unflushed == FLUSH_EVERY) {
        local_flush(access);
    }
}

static void local_read(struct access *access, const char *topic, bool from_end)
{
    struct local *local = local_of(access);
    struct error error;
    struct consumer_options options = {0};
    struct consumer_assignment assignment[ACCESS_PARTITIONS_MAX] = {0};
    int32_t count = local_partitions(access, topic);
    for (int32_t p = 0; p < count; p++) {
        int64_t start, end;
        expect(topic, broker_log_range(local->broker, topic, p, &start, &end, &error), &error);
        assignment[p] = (struct consumer_assignment){
            .topic = topic, .partition = p, .slot = (uint32_t)p, .offset = from_end ? end : start};
    }
    expect("consumer", consumer_open(local->broker, &options, &local->consumer, &error), &error);
    expect("assign", consumer_assign(local->consumer, assignment, (size_t)count, &error), &error);
}

static enum access_answer local_next(struct access *access, int timeout_ms,
                                     struct access_record *record)
{
    struct local *local = local_of(access);
    struct error error;
    struct consumer_event event = {0};
    release(local);
    enum status status = consumer_poll(local->consumer, timeout_ms, &event, &error);
    if (status == STATUS_RETRY || (status == STATUS_OK && event.kind == CONSUMER_NOTHING)) {
        return ACCESS_NOTHING;
    }
    expect("consume", status, &error);
    *record = (struct access_record){.partition = (int32_t)event.slot, .offset = event.offset};
    if (event.kind == CONSUMER_END) {
        return ACCESS_END;
    }
    if (event.kind != CONSUMER_RECORD) {
        access_fail("consume", "records are gone");
    }
    local->record = event.record;
    local->taken = true;
    record->partition = (int32_t)event.record.slot;
    record->offset = event.record.offset;
    record->timestamp_ms = event.record.timestamp_ms;
    record->key = event.record.key.data;
    record->key_size = event.record.key.size;
    record->value = event.record.value.data;
    record->value_size = event.record.value.size;
    return ACCESS_RECORD;
}

static void local_committed(struct access *access, const char *topic, const char *group,
                            int64_t *offsets)
{
    struct local *local = local_of(access);
    struct error error;
    struct broker_offset list[ACCESS_PARTITIONS_MAX] = {0};
    int32_t count = local_partitions(access, topic);
    for (int32_t p = 0; p < count; p++) {
        list[p] =
            (struct broker_offset){.topic = topic, .partition = p, .offset = BROKER_NO_OFFSET};
    }
    enum status status =
        broker_committed_unstable(local->broker, group, list, (size_t)count, WAIT_MS, &error);
    if (status != STATUS_NOT_FOUND) {
        expect("committed offsets", status, &error);
    }
    for (int32_t p = 0; p < count; p++) {
        offsets[p] = list[p].offset < 0 ? 0 : list[p].offset;
    }
}

static const struct access_ops local_ops = {
    .close = local_close,
    .create = local_create,
    .erase = local_erase,
    .partitions = local_partitions,
    .write = local_write,
    .send = local_send,
    .push = local_flush,
    .flush = local_flush,
    .read = local_read,
    .next = local_next,
    .committed = local_committed,
};

struct access *access_local_open(const char *directory)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        access_fail("local", "no memory");
    }
    struct error error;
    struct broker_settings settings = {.directory = directory,
                                       .connect_timeout_ms = 10000,
                                       .session_timeout_ms = 10000,
                                       .transaction_timeout_ms = 10000,
                                       .callback_timeout_ms = 300000,
                                       .prefetch_size = 16 << 20};
    local->base.ops = &local_ops;
    expect(directory, broker_local_open(&settings, &local->broker, &error), &error);
    return &local->base;
}
