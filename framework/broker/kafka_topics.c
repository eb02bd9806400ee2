/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka topics: what they are, creating and deleting them, all through the probe. Each call asks
 * once and waits for the answer; none of them creates a topic by asking.
 */
#include "base/clock.h"
#include "base/log.h"
#include "broker/kafka_error.h"
#include "broker/kafka_handle.h"
#include "broker/kafka_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct broker_kafka *of(struct broker *base)
{
    ensure(base->ops != NULL && ((struct broker_kafka *)base)->probe.rk != NULL);
    return (struct broker_kafka *)base;
}

/* ---- Facts about topics ---- */

/* STATUS_OK with metadata of that one topic (destroy it), which may say that it does not exist. */
static enum status ask_metadata(struct broker_kafka *broker, const char *topic,
                                const struct rd_kafka_metadata **metadata, struct error *error)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(broker->probe.rk, topic, NULL);
    if (handle == NULL) {
        return kafka_error_set(error, rd_kafka_last_error(), topic, NULL);
    }
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(broker->probe.rk, 0, handle, metadata, KAFKA_REQUEST_MS);
    rd_kafka_topic_destroy(handle);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error_set(error, code, topic, NULL);
    }
    ensure((*metadata)->topic_cnt == 1);
    return STATUS_OK;
}

enum status kafka_partition_count(struct broker_kafka *broker, const char *topic, int32_t *count,
                                  struct error *error)
{
    const struct rd_kafka_metadata *metadata = NULL;
    enum status status = ask_metadata(broker, topic, &metadata, error);
    if (status != STATUS_OK) {
        return status;
    }
    ensure(metadata != NULL);
    rd_kafka_resp_err_t code = metadata->topics[0].err;
    *count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (kafka_error_missing(code)) {
        return STATUS_NOT_FOUND;
    }
    if (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE && *count > 0) {
        code = RD_KAFKA_RESP_ERR_NO_ERROR; /* some leader is missing: the count holds */
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? STATUS_OK
                                              : kafka_error_set(error, code, topic, NULL);
}

enum status kafka_judge_missing(struct broker_kafka *broker, const char *topic, int32_t partition,
                                const char *what, struct error *error)
{
    ensure(partition >= 0);
    int32_t count = 0;
    enum status status = kafka_partition_count(broker, topic, &count, error);
    if (status == STATUS_OK && partition < count) {
        return error_set(error, STATUS_RETRY, ERROR_NO_BROKER, "%s: not known just now", what);
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        return kafka_error_set(error, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, what, NULL);
    }
    return status;
}

static int64_t entry_integer(const char *text, int64_t otherwise)
{
    ensure(text != NULL);
    int64_t value = 0;
    return sscanf(text, "%" SCNd64, &value) == 1 ? value : otherwise;
}

static void read_entry(struct kafka_limits *limits, const char *name, const char *value)
{
    if (strcmp(name, "cleanup.policy") == 0) {
        limits->compacted = strstr(value, "compact") != NULL;
        limits->deleted = strstr(value, "delete") != NULL;
    } else if (strcmp(name, "max.message.bytes") == 0) {
        limits->max_message_size = entry_integer(value, -1);
    } else if (strcmp(name, "retention.ms") == 0) {
        limits->retention_ms = entry_integer(value, -1);
    } else if (strcmp(name, "delete.retention.ms") == 0) {
        limits->delete_retention_ms = entry_integer(value, 0);
    } else if (strcmp(name, "message.timestamp.type") == 0) {
        limits->create_time = strcmp(value, "CreateTime") == 0;
    } else if (strcmp(name, "message.timestamp.before.max.ms") == 0) {
        limits->before_max_ms = entry_integer(value, INT64_MAX);
    } else if (strcmp(name, "message.timestamp.after.max.ms") == 0) {
        limits->after_max_ms = entry_integer(value, INT64_MAX);
    }
}

static void read_entries(struct kafka_limits *limits, const rd_kafka_ConfigResource_t *resource)
{
    ensure(!limits->known);
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (value != NULL) {
            read_entry(limits, rd_kafka_ConfigEntry_name(entries[i]), value);
        }
    }
    limits->known = count > 0;
}

/* Who may read a topic need not be allowed to describe it: then its limits stay unknown. */
static enum status describe(struct broker_kafka *broker, struct kafka_limits *limits,
                            struct error *error)
{
    struct kafka_request request;
    kafka_request_init(&request, broker, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, KAFKA_REQUEST_MS);
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, limits->name);
    rd_kafka_DescribeConfigs(broker->probe.rk, &resource, 1, request.options, request.queue);
    enum status status = kafka_request_wait(&request, limits->name, error);
    if (status == STATUS_OK) {
        size_t count = 0;
        const rd_kafka_ConfigResource_t **answers = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(request.answer), &count);
        ensure(count == 1);
        rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(answers[0]);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            read_entries(limits, answers[0]);
        } else {
            status = kafka_error_set(error, code, limits->name,
                                     rd_kafka_ConfigResource_error_string(answers[0]));
        }
    }
    if (status == STATUS_FATAL && error->code == ERROR_DENIED) {
        log_warn("broker", "its settings may not be read, so they are not checked topic=%s",
                 limits->name);
        status = STATUS_OK;
    }
    rd_kafka_ConfigResource_destroy(resource);
    kafka_request_finish(&request);
    return status;
}

static struct kafka_limits *find_limits(struct broker_kafka *broker, const char *topic)
{
    ensure(topic != NULL);
    ensure(pthread_mutex_lock(&broker->lock) == 0);
    struct kafka_limits *limits = broker->limits;
    while (limits != NULL && strcmp(limits->name, topic) != 0) {
        limits = limits->next;
    }
    if (limits == NULL) {
        limits = memory_allocate(sizeof *limits);
        limits->name = memory_text(topic);
        limits->asked_us = INT64_MIN;
        limits->next = broker->limits;
        broker->limits = limits;
    }
    ensure(pthread_mutex_unlock(&broker->lock) == 0);
    return limits;
}

enum status kafka_limits_get(struct broker_kafka *broker, const char *topic, int64_t age_ms,
                             struct kafka_limits **out, struct error *error)
{
    ensure(age_ms >= 0);
    struct kafka_limits *limits = find_limits(broker, topic);
    int64_t now_us = clock_monotonic_us(clock_system());
    ensure(pthread_mutex_lock(&broker->lock) == 0);
    bool fresh = limits->asked_us != INT64_MIN && now_us - limits->asked_us <= age_ms * 1000;
    ensure(pthread_mutex_unlock(&broker->lock) == 0);
    *out = limits;
    if (fresh) {
        return STATUS_OK;
    }
    struct kafka_limits answer = {.name = limits->name,
                                  .max_message_size = -1,
                                  .retention_ms = -1,
                                  .before_max_ms = INT64_MAX,
                                  .after_max_ms = INT64_MAX};
    enum status status = describe(broker, &answer, error);
    if (status != STATUS_OK) {
        return status;
    }
    ensure(pthread_mutex_lock(&broker->lock) == 0);
    limits->known = answer.known;
    limits->compacted = answer.compacted;
    limits->deleted = answer.deleted;
    limits->create_time = answer.create_time;
    limits->max_message_size = answer.max_message_size;
    limits->retention_ms = answer.retention_ms;
    limits->delete_retention_ms = answer.delete_retention_ms;
    limits->before_max_ms = answer.before_max_ms;
    limits->after_max_ms = answer.after_max_ms;
    limits->asked_us = now_us;
    ensure(pthread_mutex_unlock(&broker->lock) == 0);
    return STATUS_OK;
}

enum status kafka_topic_get(struct broker *base, const char *name, struct broker_topic *topic,
                            struct error *error)
{
    ensure(topic != NULL);
    int32_t count = 0;
    enum status status = kafka_partition_count(of(base), name, &count, error);
    struct kafka_limits *limits = NULL;
    if (status == STATUS_OK) {
        status = kafka_limits_get(of(base), name, 0, &limits, error);
    }
    if (status != STATUS_OK) { /* deleted between the two questions: the same answer */
        return status == STATUS_FATAL && error->code == ERROR_NO_TOPIC ? STATUS_NOT_FOUND : status;
    }
    ensure(pthread_mutex_lock(&of(base)->lock) == 0);
    *topic = (struct broker_topic){.partition_count = count,
                                   .compacted = limits->compacted,
                                   .deleted = limits->deleted,
                                   .max_message_size = limits->max_message_size,
                                   .retention_ms = limits->retention_ms,
                                   .delete_retention_ms = limits->delete_retention_ms};
    ensure(pthread_mutex_unlock(&of(base)->lock) == 0);
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum status kafka_topic_list(struct broker *base, char ***names, size_t *count, struct error *error)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(of(base)->probe.rk, 1, NULL, &metadata, KAFKA_REQUEST_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error_set(error, code, "topics", NULL);
    }
    ensure(metadata->topic_cnt >= 0);
    char **list = memory_allocate(((size_t)metadata->topic_cnt + 1) * sizeof *list);
    size_t used = 0;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strncmp(metadata->topics[i].topic, "__", 2) != 0 &&
            !kafka_error_missing(metadata->topics[i].err)) {
            list[used++] = memory_text(metadata->topics[i].topic);
        }
    }
    rd_kafka_metadata_destroy(metadata);
    qsort(list, used, sizeof *list, compare_names);
    *names = list;
    *count = used;
    return STATUS_OK;
}

/* ---- Creating and deleting topics ---- */

static bool is_newer_property(const char *name)
{
    return strcmp(name, "message.timestamp.before.max.ms") == 0 ||
           strcmp(name, "message.timestamp.after.max.ms") == 0;
}

/*
 * Whether the replicas asked for are too many for good, as far as one can know: a broker that has
 * just come up, or hung, is fenced, which is none, until its controller has heard of it.
 */
static bool cluster_is_too_small(struct broker_kafka *broker, const char *words)
{
    ensure(words != NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    if (strstr(words, "fenced") != NULL ||
        rd_kafka_metadata(broker->probe.rk, 0, NULL, &metadata, KAFKA_REQUEST_MS) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false;
    }
    bool any = metadata->broker_cnt > 0;
    rd_kafka_metadata_destroy(metadata);
    return any;
}

static enum status create_once(struct broker_kafka *broker, const char *name, int32_t partitions,
                               int32_t replication, const struct broker_property *properties,
                               size_t count, bool newer, struct error *error)
{
    char words[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, partitions, replication, words, sizeof words);
    if (topic == NULL) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "topic %s: %s", name, words);
    }
    for (size_t i = 0; i < count; i++) {
        if (newer || !is_newer_property(properties[i].name)) {
            rd_kafka_resp_err_t code =
                rd_kafka_NewTopic_set_config(topic, properties[i].name, properties[i].value);
            ensure(code == RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    }
    struct kafka_request request;
    kafka_request_init(&request, broker, RD_KAFKA_ADMIN_OP_CREATETOPICS, KAFKA_REQUEST_MS);
    rd_kafka_CreateTopics(broker->probe.rk, &topic, 1, request.options, request.queue);
    enum status status = kafka_request_wait(&request, name, error);
    if (status == STATUS_OK) {
        size_t answered = 0;
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(request.answer), &answered);
        ensure(answered == 1);
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[0]);
        const char *detail = rd_kafka_topic_result_error_string(results[0]);
        if (code == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR &&
            !cluster_is_too_small(broker, detail == NULL ? "" : detail)) {
            code = RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE;
        }
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = kafka_error_set(error, code, name, detail);
        }
    }
    rd_kafka_NewTopic_destroy(topic);
    kafka_request_finish(&request);
    return status;
}

static bool has_leaders(const struct rd_kafka_metadata *metadata, int32_t partitions)
{
    ensure(metadata->topic_cnt == 1);
    const struct rd_kafka_metadata_topic *topic = &metadata->topics[0];
    if (topic->err != RD_KAFKA_RESP_ERR_NO_ERROR || topic->partition_cnt != partitions) {
        return false;
    }
    for (int i = 0; i < topic->partition_cnt; i++) {
        if (topic->partitions[i].err != RD_KAFKA_RESP_ERR_NO_ERROR ||
            topic->partitions[i].leader < 0) {
            return false;
        }
    }
    return true;
}

static enum status wait_leaders(struct broker_kafka *broker, const char *name, int32_t partitions,
                                struct error *error)
{
    int64_t end = clock_monotonic_ms(clock_system()) + KAFKA_REQUEST_MS;
    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        enum status status = ask_metadata(broker, name, &metadata, error);
        if (status == STATUS_OK) {
            ensure(metadata != NULL);
            bool complete = has_leaders(metadata, partitions);
            rd_kafka_metadata_destroy(metadata);
            if (complete) {
                return STATUS_OK;
            }
        } else if (status != STATUS_RETRY) {
            return status;
        }
        if (clock_monotonic_ms(clock_system()) >= end) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT,
                             "topic %s was created, but not all of its %d partitions have a "
                             "leader after %d s",
                             name, partitions, KAFKA_REQUEST_MS / 1000);
        }
        clock_sleep_ms(clock_system(), 10);
    }
}

enum status kafka_topic_create(struct broker *base, const char *name, int32_t partitions,
                               int32_t replication, const struct broker_property *properties,
                               size_t count, struct error *error)
{
    ensure(count == 0 || properties != NULL);
    enum status status =
        create_once(of(base), name, partitions, replication, properties, count, true, error);
    if (status == STATUS_BAD_CONFIG && strstr(error->text, "message.timestamp.") != NULL) {
        status =
            create_once(of(base), name, partitions, replication, properties, count, false, error);
    }
    return status == STATUS_OK ? wait_leaders(of(base), name, partitions, error) : status;
}

enum status kafka_topic_delete(struct broker *base, const char *name, struct error *error)
{
    struct kafka_request request;
    kafka_request_init(&request, of(base), RD_KAFKA_ADMIN_OP_DELETETOPICS, KAFKA_REQUEST_MS);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(of(base)->probe.rk, &topic, 1, request.options, request.queue);
    enum status status = kafka_request_wait(&request, name, error);
    if (status == STATUS_OK) {
        size_t answered = 0;
        const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
            rd_kafka_event_DeleteTopics_result(request.answer), &answered);
        ensure(answered == 1);
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[0]);
        if (kafka_error_missing(code)) {
            status = STATUS_NOT_FOUND;
        } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status =
                kafka_error_set(error, code, name, rd_kafka_topic_result_error_string(results[0]));
        }
    }
    rd_kafka_DeleteTopic_destroy(topic);
    kafka_request_finish(&request);
    return status;
}
