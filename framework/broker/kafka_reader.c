/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_reader.h"

#include "base/clock.h"
#include "base/log.h"
#include "broker/kafka_error.h"
#include "broker/kafka_shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKING_READ_MS = 1500 };

enum status kafka_reader_open(struct kafka_handle *handle, struct broker_kafka *broker,
                              bool uncommitted, struct error *error)
{
    ensure(handle->rk == NULL);
    rd_kafka_conf_t *conf = kafka_conf(broker, KAFKA_READER, uncommitted, error);
    return conf == NULL ? error->status
                        : kafka_handle_open(handle, broker, KAFKA_READER, conf, error);
}

enum status kafka_reader_start(rd_kafka_topic_t *topic, int32_t partition, int64_t offset,
                               rd_kafka_queue_t *queue, struct error *error)
{
    ensure(offset >= 0);
    if (rd_kafka_consume_start_queue(topic, partition, offset, queue) == 0) {
        return STATUS_OK;
    }
    char what[BROKER_TOPIC_SIZE + 32];
    (void)snprintf(what, sizeof what, "reading %s [%d]", rd_kafka_topic_name(topic), partition);
    return kafka_error_set(error, rd_kafka_last_error(), what, NULL);
}

void kafka_reader_stop(rd_kafka_topic_t *topic, int32_t partition)
{
    ensure(topic != NULL);
    if (rd_kafka_consume_stop(topic, partition) != 0) {
        log_warn("librdkafka", "reading does not stop topic=%s partition=%d error=\"%s\"",
                 rd_kafka_topic_name(topic), partition, rd_kafka_err2str(rd_kafka_last_error()));
    }
}

/* ---- The record that blocks the last stable offset ---- */

/* The last stable offset: what a read_committed handle is told as the end of the log. */
static enum status last_stable_offset(struct broker_kafka *broker, const char *topic,
                                      int32_t partition, int64_t *offset, struct error *error)
{
    struct kafka_shared *stable = NULL;
    enum status status = kafka_shared_get(broker, NULL, &stable, error);
    if (status != STATUS_OK) {
        return status;
    }
    ensure(stable != NULL);
    rd_kafka_resp_err_t code = kafka_query_offset(stable->handle.rk, topic, partition,
                                                  RD_KAFKA_OFFSET_END, BLOCKING_READ_MS, offset);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return STATUS_OK;
    }
    return kafka_error_missing(code) ? kafka_judge_missing(broker, topic, partition, topic, error)
                                     : kafka_error_set(error, code, topic, NULL);
}

static enum status copy_header(const rd_kafka_message_t *record, const char *header, char *value,
                               size_t value_size)
{
    ensure(value_size > 0);
    rd_kafka_headers_t *headers = NULL;
    const void *data = NULL;
    size_t size = 0;
    if (rd_kafka_message_headers(record, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, header, &data, &size) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        data == NULL || size >= value_size) {
        return STATUS_NOT_FOUND;
    }
    memcpy(value, data, size);
    value[size] = 0;
    return STATUS_OK;
}

/* Waits for the record at `offset` exactly: behind it, or nothing in time, is "nothing blocks". */
static enum status read_header(rd_kafka_queue_t *queue, int64_t offset, const char *header,
                               char *value, size_t value_size, struct error *error)
{
    ensure(queue != NULL && header != NULL);
    int64_t end = clock_monotonic_ms(clock_system()) + BLOCKING_READ_MS;
    for (;;) {
        int64_t rest = end - clock_monotonic_ms(clock_system());
        if (rest <= 0) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT,
                             "the record that blocks the log at %lld was not read in time",
                             (long long)offset);
        }
        rd_kafka_message_t *record = rd_kafka_consume_queue(queue, kafka_timeout(rest));
        if (record == NULL) {
            continue;
        }
        enum status status = STATUS_NOT_FOUND;
        bool passing = false;
        if (record->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (record->offset == offset) {
                status = copy_header(record, header, value, value_size);
            }
        } else if (record->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            status = kafka_error_set(error, record->err, "reading what blocks a log",
                                     rd_kafka_message_errstr(record));
            passing = status == STATUS_RETRY;
        }
        rd_kafka_message_destroy(record);
        if (!passing) {
            return status;
        }
    }
}

enum status kafka_blocking_header(struct broker *base, const char *topic, int32_t partition,
                                  const char *header, char *value, size_t value_size,
                                  struct error *error)
{
    ensure(value_size > 0);
    struct broker_kafka *broker = (struct broker_kafka *)base;
    int64_t stable = 0, start = 0, end = 0;
    enum status status = last_stable_offset(broker, topic, partition, &stable, error);
    if (status == STATUS_OK) {
        status = kafka_log_range(base, topic, partition, &start, &end, error);
    }
    if (status != STATUS_OK || stable >= end) {
        return status == STATUS_OK ? STATUS_NOT_FOUND : status;
    }
    /* A handle of its own: two workers may ask about one partition at once. */
    struct kafka_handle handle = {0};
    status = kafka_reader_open(&handle, broker, true, error);
    if (status != STATUS_OK) {
        return status;
    }
    rd_kafka_topic_t *of = rd_kafka_topic_new(handle.rk, topic, NULL);
    ensure(of != NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle.rk);
    status = kafka_reader_start(of, partition, stable, queue, error);
    if (status == STATUS_OK) {
        status = read_header(queue, stable, header, value, value_size, error);
        kafka_reader_stop(of, partition);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_destroy(of);
    kafka_handle_close(&handle);
    return status;
}
