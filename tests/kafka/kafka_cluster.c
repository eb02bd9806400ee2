/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_cluster.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 15000 };

static struct error error;

int64_t cluster_now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static struct broker_property bootstrap = {.name = "bootstrap.servers"};

struct broker_settings cluster_settings(void)
{
    const char *given = getenv("LEAT_KAFKA");
    bootstrap.value = given != NULL && *given != 0 ? given : LEAT_KAFKA_ADDRESS;
    return (struct broker_settings){.connect_timeout_ms = 10000,
                                    .session_timeout_ms = 6000,
                                    .transaction_timeout_ms = 10000,
                                    .callback_timeout_ms = 60000,
                                    .prefetch_size = 16 << 20,
                                    .common = &bootstrap,
                                    .common_count = 1};
}

struct broker *cluster_open_with(const struct broker_settings *settings)
{
    struct broker *broker = NULL;
    enum status status = broker_kafka_open(settings, &broker, &error);
    cr_assert_eq(status, STATUS_OK, "no Kafka for this test (scripts/kafka up): %s", error.text);
    return broker;
}

struct broker *cluster_open(void)
{
    struct broker_settings settings = cluster_settings();
    return cluster_open_with(&settings);
}

void cluster_name(char name[NAME_SIZE], const char *what)
{
    static atomic_int count;
    (void)snprintf(name, NAME_SIZE, "%s-%lld-%d-%d", what, (long long)clock_wall_ms(clock_system()),
                   (int)getpid(), atomic_fetch_add(&count, 1));
}

void cluster_topic(struct broker *broker, char name[NAME_SIZE], int32_t partitions,
                   const struct broker_property *properties, size_t count)
{
    cluster_name(name, "topic");
    cr_assert_eq(broker_topic_create(broker, name, partitions, 1, properties, count, &error),
                 STATUS_OK, "%s", error.text);
}

struct producer *cluster_producer(struct broker *broker, const char *id)
{
    struct producer *producer = NULL;
    cr_assert_eq(producer_open(broker, id, &producer, &error), STATUS_OK, "%s", error.text);
    enum status status = STATUS_RETRY;
    for (int64_t end = cluster_now_ms() + PATIENCE_MS;
         status == STATUS_RETRY && cluster_now_ms() < end;) {
        status = producer_ready(producer, 500, &error);
    }
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return producer;
}

void cluster_send(struct producer *producer, const char *topic, int32_t partition,
                  const char *value, uint64_t origin)
{
    uint32_t number = 0;
    int32_t partitions = 0;
    cr_assert_eq(producer_topic(producer, topic, &number, &partitions, &error), STATUS_OK, "%s",
                 error.text);
    struct broker_output output = {.topic = number,
                                   .partition = partition,
                                   .key = bytes_of("k"),
                                   .value = bytes_of(value),
                                   .timestamp_ms = -1,
                                   .origin = origin};
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_OK, "%s", error.text);
}

void cluster_commit(struct producer *producer)
{
    cr_assert_eq(producer_flush(producer, PATIENCE_MS, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(producer_commit(producer, PATIENCE_MS, &error), STATUS_OK, "%s", error.text);
}

void cluster_write(struct broker *broker, const char *topic, int32_t partition, const char *values)
{
    char id[NAME_SIZE];
    cluster_name(id, "writer");
    struct producer *producer = cluster_producer(broker, id);
    uint32_t number = 0;
    int32_t partitions = 0;
    cr_assert_eq(producer_topic(producer, topic, &number, &partitions, &error), STATUS_OK, "%s",
                 error.text);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK, "%s", error.text);
    char *copy = strdup(values), *rest = copy;
    for (char *value; (value = strsep(&rest, ",")) != NULL;) {
        cluster_send(producer, topic, partition, value, 0);
    }
    free(copy);
    cluster_commit(producer);
    producer_close(producer);
    cluster_settle(broker, topic, partition);
}

struct consumer *cluster_reader(struct broker *broker, const char *topic, int32_t partition,
                                int64_t offset, bool uncommitted)
{
    struct consumer *consumer = NULL;
    struct consumer_options options = {.uncommitted = uncommitted};
    cr_assert_eq(consumer_open(broker, &options, &consumer, &error), STATUS_OK, "%s", error.text);
    struct consumer_assignment assignment = {
        .topic = topic, .partition = partition, .offset = offset};
    cr_assert_eq(consumer_assign(consumer, &assignment, 1, &error), STATUS_OK, "%s", error.text);
    return consumer;
}

static void append(char *text, size_t size, const struct broker_record *record)
{
    size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "%s%.*s", used == 0 ? "" : ",",
                   (int)record->value.size, (const char *)record->value.data);
}

static void read_to_end(struct consumer *consumer, bool restore, uint32_t slot, char *text,
                        size_t size, int64_t *end)
{
    *text = 0;
    int64_t until = cluster_now_ms() + PATIENCE_MS;
    for (;;) {
        cr_assert_lt(cluster_now_ms(), until, "no end after \"%.200s\"", text);
        struct consumer_event event = {0};
        enum status status = restore ? consumer_poll_restore(consumer, slot, 500, &event, &error)
                                     : consumer_poll(consumer, 500, &event, &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        if (event.kind == CONSUMER_RECORD) {
            cr_assert_eq(event.slot, slot);
            append(text, size, &event.record);
            consumer_release(consumer, &event.record);
        } else if (event.kind == CONSUMER_END) {
            cr_assert_eq(event.slot, slot);
            *end = event.offset;
            return;
        } else {
            cr_assert_eq(event.kind, CONSUMER_NOTHING);
        }
    }
}

void cluster_read_to_end(struct consumer *consumer, char *text, size_t size, int64_t *end)
{
    read_to_end(consumer, false, 0, text, size, end);
}

void cluster_restore_to_end(struct consumer *consumer, uint32_t slot, char *text, size_t size,
                            int64_t *end)
{
    read_to_end(consumer, true, slot, text, size, end);
}

struct consumer *cluster_member(struct broker *broker, const char *group, const char *instance,
                                const char *topic)
{
    struct consumer *consumer = NULL;
    struct consumer_options options = {
        .group = group, .instance_id = instance, .topics = &topic, .topic_count = 1};
    cr_assert_eq(consumer_open(broker, &options, &consumer, &error), STATUS_OK, "%s", error.text);
    return consumer;
}

struct consumer_event cluster_await(struct consumer *consumer, enum consumer_event_kind kind)
{
    int64_t until = cluster_now_ms() + PATIENCE_MS;
    for (;;) {
        cr_assert_lt(cluster_now_ms(), until, "no event of kind %d", (int)kind);
        struct consumer_event event = {0};
        enum status status = consumer_poll(consumer, 200, &event, &error);
        cr_assert(status == STATUS_OK || status == STATUS_RETRY, "%s", error.text);
        if (status == STATUS_OK && event.kind == kind) {
            return event;
        }
        if (status == STATUS_OK && event.kind == CONSUMER_RECORD) {
            consumer_release(consumer, &event.record);
        }
    }
}

void cluster_take(struct consumer *consumer, const struct consumer_event *assigned,
                  const int64_t *offsets)
{
    struct consumer_assignment assignment[16] = {0};
    cr_assert_leq(assigned->partition_count, 16);
    for (size_t i = 0; i < assigned->partition_count; i++) {
        const struct broker_partition *partition = &assigned->partitions[i];
        assignment[i] = (struct consumer_assignment){
            .topic = partition->topic,
            .partition = partition->partition,
            .slot = (uint32_t)partition->partition,
            .offset = offsets == NULL ? 0 : offsets[partition->partition]};
    }
    cr_assert_eq(consumer_assign(consumer, assignment, assigned->partition_count, &error),
                 STATUS_OK, "%s", error.text);
}

void cluster_settle(struct broker *broker, const char *topic, int32_t partition)
{
    int64_t start = 0, end = -1, stable = -1;
    cr_assert_eq(broker_log_range(broker, topic, partition, &start, &end, &error), STATUS_OK);
    struct consumer *reader = cluster_reader(broker, topic, partition, start, false);
    while (stable != end) {
        stable = cluster_await(reader, CONSUMER_END).offset;
        cr_assert_eq(broker_log_range(broker, topic, partition, &start, &end, &error), STATUS_OK);
    }
    consumer_close(reader);
}
