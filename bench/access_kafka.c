/* SPDX-License-Identifier: Apache-2.0 */
/* Access to Kafka; see access.h. Independent of framework/, so it can judge it. */
#include "access.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 30000 };

struct kafka {
    struct access base;
    char *address;
    rd_kafka_t *admin; /* creates, deletes, answers about partitions */
    rd_kafka_t *producer, *consumer, *member;
    rd_kafka_topic_t *output;
    char *group; /* of member */
    int32_t member_partitions;
    rd_kafka_message_t *record;
    int64_t refused;
};

static struct kafka *kafka_of(struct access *access)
{
    return (struct kafka *)access;
}

static void expect(const char *what, rd_kafka_resp_err_t code)
{
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        access_fail(what, rd_kafka_err2str(code));
    }
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *record, void *opaque)
{
    (void)producer;
    struct kafka *kafka = opaque;
    kafka->refused += record->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* `properties`: name, value, ..., NULL. */
static rd_kafka_t *handle_open(struct kafka *kafka, rd_kafka_type_t type, const char **properties)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    const char *common[] = {"bootstrap.servers",
                            kafka->address,
                            "log_level",
                            "3",
                            "socket.nagle.disable",
                            "true",
                            "retry.backoff.ms",
                            "5",
                            "topic.metadata.refresh.interval.ms",
                            "300000",
                            NULL};
    const char **lists[] = {common, properties};
    for (size_t list = 0; list < 2; list++) {
        for (const char **at = lists[list]; *at != NULL; at += 2) {
            if (rd_kafka_conf_set(conf, at[0], at[1], why, sizeof why) != RD_KAFKA_CONF_OK) {
                access_fail(at[0], why);
            }
        }
    }
    rd_kafka_t *handle = rd_kafka_new(type, conf, why, sizeof why);
    if (handle == NULL) {
        access_fail("librdkafka", why);
    }
    return handle;
}

static void kafka_close(struct access *access)
{
    struct kafka *kafka = kafka_of(access);
    rd_kafka_message_t *record = kafka->record;
    if (record != NULL) {
        rd_kafka_message_destroy(record);
    }
    if (kafka->output != NULL) {
        rd_kafka_topic_destroy(kafka->output);
    }
    rd_kafka_t *handles[] = {kafka->member, kafka->consumer, kafka->producer, kafka->admin};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) {
        if (handles[i] != NULL) {
            rd_kafka_destroy(handles[i]);
        }
    }
    free(kafka->group);
    free(kafka->address);
    free(kafka);
}

/* -1: no such topic. */
static int32_t partition_count(struct kafka *kafka, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka->admin, name, NULL);
    const struct rd_kafka_metadata *metadata;
    expect(name, rd_kafka_metadata(kafka->admin, 0, topic, &metadata, WAIT_MS));
    int32_t count = metadata->topics[0].partition_cnt;
    bool led = count > 0 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int32_t p = 0; led && p < count; p++) {
        led = metadata->topics[0].partitions[p].leader >= 0;
    }
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return led ? count : -1;
}

static int32_t kafka_partitions(struct access *access, const char *topic)
{
    int32_t count = partition_count(kafka_of(access), topic);
    if (count < 1 || count > ACCESS_PARTITIONS_MAX) {
        access_fail(topic, "it does not exist, or has too many partitions");
    }
    return count;
}

/* Runs one admin request; its error, if the one topic has one. */
static rd_kafka_resp_err_t answer_of(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);
    if (event == NULL) {
        access_fail("admin", "no answer");
    }
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT) {
        results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETETOPICS_RESULT) {
        results =
            rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && count == 1) {
        code = rd_kafka_topic_result_error(results[0]);
    }
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    return code;
}

static void kafka_create(struct access *access, const char *name, int32_t partitions,
                         const char *const *properties, size_t count)
{
    struct kafka *kafka = kafka_of(access);
    char why[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, why, sizeof why);
    if (topic == NULL) {
        access_fail(name, why);
    }
    for (size_t i = 0; i < count; i++) {
        char property[256];
        snprintf(property, sizeof property, "%s", properties[i]);
        char *value = strchr(property, '=');
        if (value == NULL) {
            access_fail(property, "not NAME=VALUE");
        }
        *value++ = '\0';
        rd_kafka_NewTopic_set_config(topic, property, value);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->admin);
    rd_kafka_CreateTopics(kafka->admin, &topic, 1, NULL, queue);
    expect(name, answer_of(queue));
    rd_kafka_NewTopic_destroy(topic);
    /* Led, as far as the broker says: a client that asks now is not sent away. */
    while (partition_count(kafka, name) != partitions) {
        rd_kafka_poll(kafka->admin, 20);
    }
}

static void kafka_erase(struct access *access, const char *name)
{
    struct kafka *kafka = kafka_of(access);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->admin);
    rd_kafka_DeleteTopics(kafka->admin, &topic, 1, NULL, queue);
    rd_kafka_resp_err_t code = answer_of(queue);
    if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        expect(name, code);
    }
    rd_kafka_DeleteTopic_destroy(topic);
}

static void kafka_write(struct access *access, const char *topic)
{
    struct kafka *kafka = kafka_of(access);
    const char *properties[] = {"enable.idempotence",           "true",    "linger.ms", "1",
                                "queue.buffering.max.messages", "1000000", NULL};
    kafka->producer = handle_open(kafka, RD_KAFKA_PRODUCER, properties);
    kafka->output = rd_kafka_topic_new(kafka->producer, topic, NULL);
}

static void kafka_send(struct access *access, int32_t partition, const void *key, size_t key_size,
                       const void *value, size_t value_size)
{
    struct kafka *kafka = kafka_of(access);
    while (rd_kafka_produce(kafka->output, partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)value,
                            value_size, key, key_size, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            access_fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        }
        rd_kafka_poll(kafka->producer, 10);
    }
    rd_kafka_poll(kafka->producer, 0);
}

static void kafka_push(struct access *access)
{
    rd_kafka_poll(kafka_of(access)->producer, 0);
}

static void kafka_flush(struct access *access)
{
    struct kafka *kafka = kafka_of(access);
    expect("flush", rd_kafka_flush(kafka->producer, WAIT_MS));
    if (kafka->refused > 0) {
        access_fail("produce", "the broker refused records");
    }
}

static void kafka_read(struct access *access, const char *topic, bool from_end)
{
    struct kafka *kafka = kafka_of(access);
    const char *properties[] = {"group.id",
                                "leat-bench-reader",
                                "isolation.level",
                                "read_committed",
                                "enable.partition.eof",
                                "true",
                                "enable.auto.commit",
                                "false",
                                "enable.auto.offset.store",
                                "false",
                                "fetch.wait.max.ms",
                                "100",
                                "fetch.error.backoff.ms",
                                "5",
                                "queued.min.messages",
                                "1000000",
                                "queued.max.messages.kbytes",
                                "65536",
                                NULL};
    kafka->consumer = handle_open(kafka, RD_KAFKA_CONSUMER, properties);
    rd_kafka_poll_set_consumer(kafka->consumer);
    int32_t count = kafka_partitions(access, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t p = 0; p < count; p++) {
        int64_t start, end;
        expect("watermarks",
               rd_kafka_query_watermark_offsets(kafka->consumer, topic, p, &start, &end, WAIT_MS));
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = from_end ? end : start;
    }
    expect("assign", rd_kafka_assign(kafka->consumer, list));
    rd_kafka_topic_partition_list_destroy(list);
}

static enum access_answer kafka_next(struct access *access, int timeout_ms,
                                     struct access_record *record)
{
    struct kafka *kafka = kafka_of(access);
    if (kafka->record != NULL) {
        rd_kafka_message_destroy(kafka->record);
    }
    rd_kafka_message_t *taken = kafka->record = rd_kafka_consumer_poll(kafka->consumer, timeout_ms);
    if (taken == NULL) {
        return ACCESS_NOTHING;
    }
    if (taken->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
        taken->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        access_fail("consume", rd_kafka_message_errstr(taken));
    }
    *record = (struct access_record){.partition = taken->partition, .offset = taken->offset};
    if (taken->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return ACCESS_END;
    }
    record->timestamp_ms = rd_kafka_message_timestamp(taken, NULL);
    record->key = taken->key;
    record->key_size = taken->key_len;
    record->value = taken->payload;
    record->value_size = taken->len;
    return ACCESS_RECORD;
}

static void kafka_committed(struct access *access, const char *topic, const char *group,
                            int64_t *offsets)
{
    struct kafka *kafka = kafka_of(access);
    if (kafka->member == NULL || strcmp(kafka->group, group) != 0) {
        if (kafka->member != NULL) {
            rd_kafka_destroy(kafka->member);
            free(kafka->group);
        }
        /* Never joins; uncommitted, so that it does not wait for open transactions. */
        const char *properties[] = {"group.id", group, "isolation.level", "read_uncommitted", NULL};
        kafka->group = strdup(group);
        kafka->member = handle_open(kafka, RD_KAFKA_CONSUMER, properties);
        kafka->member_partitions = kafka_partitions(access, topic);
    }
    int32_t count = kafka->member_partitions;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t p = 0; p < count; p++) {
        rd_kafka_topic_partition_list_add(list, topic, p);
    }
    expect("committed offsets", rd_kafka_committed(kafka->member, list, WAIT_MS));
    for (int32_t p = 0; p < count; p++) {
        offsets[p] = list->elems[p].offset < 0 ? 0 : list->elems[p].offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static const struct access_ops kafka_ops = {
    .close = kafka_close,
    .create = kafka_create,
    .erase = kafka_erase,
    .partitions = kafka_partitions,
    .write = kafka_write,
    .send = kafka_send,
    .push = kafka_push,
    .flush = kafka_flush,
    .read = kafka_read,
    .next = kafka_next,
    .committed = kafka_committed,
};

struct access *access_kafka_open(const char *address)
{
    struct kafka *kafka = calloc(1, sizeof *kafka);
    if (kafka == NULL || (kafka->address = strdup(address)) == NULL) {
        access_fail("kafka", "no memory");
    }
    kafka->base.ops = &kafka_ops;
    const char *none[] = {NULL};
    /* A producer's questions about a missing topic would create it. */
    kafka->admin = handle_open(kafka, RD_KAFKA_CONSUMER, none);
    return &kafka->base;
}
