/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka offsets: where a log begins and ends, deleting below one, and what a group has committed.
 */
#include "base/bytes.h"
#include "broker/kafka_error.h"
#include "broker/kafka_handle.h"
#include "broker/kafka_request.h"
#include "broker/kafka_shared.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct broker_kafka *of(struct broker *base)
{
    ensure(base->ops != NULL && ((struct broker_kafka *)base)->probe.rk != NULL);
    return (struct broker_kafka *)base;
}

/* ---- Logs ---- */

rd_kafka_resp_err_t kafka_query_offset(rd_kafka_t *rk, const char *topic, int32_t partition,
                                       int64_t end, int timeout_ms, int64_t *offset)
{
    ensure(end == RD_KAFKA_OFFSET_BEGINNING || end == RD_KAFKA_OFFSET_END);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = end; /* a "time" */
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = list->elems[0].err;
    }
    *offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && *offset < 0) {
        code = RD_KAFKA_RESP_ERR__TIMED_OUT; /* not answered */
    }
    return code;
}

enum status kafka_log_range(struct broker *base, const char *topic, int32_t partition,
                            int64_t *start, int64_t *end, struct error *error)
{
    ensure(topic != NULL && start != NULL && end != NULL);
    rd_kafka_t *probe = of(base)->probe.rk;
    rd_kafka_resp_err_t code = kafka_query_offset(
        probe, topic, partition, RD_KAFKA_OFFSET_BEGINNING, KAFKA_REQUEST_MS / 2, start);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = kafka_query_offset(probe, topic, partition, RD_KAFKA_OFFSET_END,
                                  KAFKA_REQUEST_MS / 2, end);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return STATUS_OK;
    }
    char what[BROKER_TOPIC_SIZE + 32];
    (void)snprintf(what, sizeof what, "range of %s [%d]", topic, partition);
    return kafka_error_missing(code) ? kafka_judge_missing(of(base), topic, partition, what, error)
                                     : kafka_error_set(error, code, what, NULL);
}

enum status kafka_delete_records(struct broker *base, const char *topic, int32_t partition,
                                 int64_t before, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_topic_partition_list_destroy(list);
    struct kafka_request request;
    kafka_request_init(&request, of(base), RD_KAFKA_ADMIN_OP_DELETERECORDS, KAFKA_REQUEST_MS);
    rd_kafka_DeleteRecords(of(base)->probe.rk, &records, 1, request.options, request.queue);
    char what[BROKER_TOPIC_SIZE + 64];
    (void)snprintf(what, sizeof what, "deleting records of %s [%d] below %" PRId64, topic,
                   partition, before);
    enum status status = kafka_request_wait(&request, what, error);
    if (status == STATUS_OK) {
        const rd_kafka_topic_partition_list_t *answer = rd_kafka_DeleteRecords_result_offsets(
            rd_kafka_event_DeleteRecords_result(request.answer));
        ensure(answer->cnt == 1);
        if (answer->elems[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = kafka_error_set(error, answer->elems[0].err, what, NULL);
        }
    }
    rd_kafka_DeleteRecords_destroy(records);
    kafka_request_finish(&request);
    return status;
}

/* ---- Offsets ---- */

rd_kafka_topic_partition_list_t *kafka_offset_list(const struct broker_offset *offsets,
                                                   size_t count)
{
    ensure(count > 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_t *item =
            rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition);
        item->offset = offsets[i].offset < 0 ? RD_KAFKA_OFFSET_INVALID : offsets[i].offset;
        size_t size = strnlen(offsets[i].metadata, BROKER_METADATA_SIZE - 1);
        if (size > 0) {
            item->metadata = memory_copy(offsets[i].metadata, size); /* freed with the list */
            item->metadata_size = size;
        }
    }
    return list;
}

static void copy_metadata(char *to, const rd_kafka_topic_partition_t *item)
{
    size_t size = item->metadata == NULL ? 0 : item->metadata_size;
    size = size < BROKER_METADATA_SIZE ? size : BROKER_METADATA_SIZE - 1;
    ensure(size < BROKER_METADATA_SIZE);
    if (size > 0) {
        memcpy(to, item->metadata, size);
    }
    to[size] = 0;
}

enum status kafka_offsets_read(struct broker_offset *offsets, size_t count,
                               const rd_kafka_topic_partition_list_t *list, const char *what,
                               struct error *error)
{
    ensure(list != NULL && (count == 0 || offsets != NULL));
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &list->elems[i];
        if (item->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            char place[BROKER_TOPIC_SIZE + 128];
            (void)snprintf(place, sizeof place, "%s of %s [%d]", what, item->topic,
                           item->partition);
            return kafka_error_set(error, item->err, place, NULL);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *item =
            rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)(uintptr_t)list,
                                               offsets[i].topic, offsets[i].partition);
        if (item == NULL) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "%s of %s [%d]: not answered",
                             what, offsets[i].topic, offsets[i].partition);
        }
        offsets[i].offset = item->offset < 0 ? BROKER_NO_OFFSET : item->offset;
        copy_metadata(offsets[i].metadata, item);
    }
    return STATUS_OK;
}

/* A refusal by the coordinator comes as a message, once; rd_kafka_committed only times out. */
static bool is_refused(struct kafka_shared *shared)
{
    ensure(shared->group != NULL);
    for (rd_kafka_message_t *told; (told = rd_kafka_consumer_poll(shared->handle.rk, 0)) != NULL;) {
        if (told->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
            atomic_store(&shared->refused, true);
        }
        rd_kafka_message_destroy(told);
    }
    return atomic_load(&shared->refused);
}

/*
 * Not by rd_kafka_ListConsumerGroupOffsets: while nobody coordinates the group, librdkafka follows
 * a null pointer there, or fails an assertion (2.0.2; the null pointer still in 2.15).
 */
enum status kafka_committed_unstable(struct broker *base, const char *group,
                                     struct broker_offset *offsets, size_t count,
                                     int64_t timeout_ms, struct error *error)
{
    ensure(group != NULL && count > 0);
    struct kafka_shared *shared = NULL;
    enum status status = kafka_shared_get(of(base), group, &shared, error);
    if (status != STATUS_OK) {
        return status;
    }
    rd_kafka_topic_partition_list_t *list = kafka_offset_list(offsets, count);
    rd_kafka_resp_err_t code =
        rd_kafka_committed(shared->handle.rk, list, kafka_timeout(timeout_ms < 1 ? 1 : timeout_ms));
    bool refused = is_refused(shared);
    char what[256];
    (void)snprintf(what, sizeof what, "committed offsets of group %s", group);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        atomic_store(&shared->refused, false);
        status = kafka_offsets_read(offsets, count, list, what, error);
    } else {
        status = kafka_error_set(
            error, refused ? RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED : code, what, NULL);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}
