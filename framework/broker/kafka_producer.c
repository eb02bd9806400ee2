/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka producer: topics, records and their delivery reports.
 *
 * Invariants
 *  - Every record names its partition, and that exists: librdkafka 2.0.2 frees headers twice
 * otherwise.
 *  - A record that the broker would refuse for what it is, is refused here where that can be known,
 * because the broker refuses whole batches and does not say which of their records it means. Where
 *    it could not be known, the batches get smaller from one transaction to the next (`narrow`)
 *    until the refused batch is one record.
 *  - `queued` - `reported` records are under way; all reports run in the owner's thread.
 */
#include "broker/kafka_producer.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "broker/kafka_error.h"
#include "broker/kafka_fence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_EVERY = 256,       /* records between two looks at the reports */
    NARROW_STEP = 16,       /* each search for a refused record divides its batch by this */
    BATCH_SIZE = 1000000,   /* librdkafka's batch.size */
    BATCH_OVERHEAD = 61,    /* record batch v2 */
    RECORD_OVERHEAD = 36,   /* worst case of a record in it, without its headers */
    CLOCK_MARGIN_MS = 1000, /* the broker's clock decides about timestamps, not ours */
    LIMITS_AGE_MS = 60000
};

static const struct producer_ops producer_ops;

static struct kafka_producer *of(struct producer *base)
{
    ensure(base->ops == &producer_ops);
    return (struct kafka_producer *)base;
}

/* ---- Delivery reports ---- */

static void note_refusal(struct kafka_producer *producer, const rd_kafka_message_t *record)
{
    struct kafka_output_topic *topic = rd_kafka_topic_opaque(record->rkt);
    ensure(topic != NULL);
    if (producer->refused) {
        bool same =
            topic == producer->refused_topic && record->partition == producer->refused_partition;
        producer->refused_count += same;
        return;
    }
    producer->refused = true;
    producer->refused_topic = topic;
    producer->refused_partition = record->partition;
    producer->refused_origin = (uint64_t)(uintptr_t)record->_private;
    producer->refused_count = 1;
}

static void note_failure(struct kafka_producer *producer, const rd_kafka_message_t *record)
{
    ensure(record->err != RD_KAFKA_RESP_ERR_NO_ERROR);
    if (record->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
        record->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) {
        producer->failed = producer->failed || !producer->refused;
        return; /* of an abort, or of a fatal error that is told otherwise */
    }
    /* The next transaction of this epoch would meet a gap in the sequence: retire the handle. */
    atomic_store_explicit(&producer->handle.suspect, true, memory_order_relaxed);
    if (kafka_error_refuses_record(record->err)) {
        note_refusal(producer, record);
    }
    if (producer->failure.code == ERROR_NONE) {
        char what[BROKER_TOPIC_SIZE + 32];
        (void)snprintf(what, sizeof what, "writing to %s [%d]", rd_kafka_topic_name(record->rkt),
                       record->partition);
        (void)kafka_error_set(&producer->failure, record->err, what, NULL);
    }
    producer->failed = true;
}

void kafka_producer_report(rd_kafka_t *rk, const rd_kafka_message_t *record, void *opaque)
{
    (void)rk;
    struct kafka_handle *handle = opaque;
    struct kafka_producer *producer = handle->owner;
    ensure(producer != NULL);
    producer->reported++;
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        note_failure(producer, record);
        return;
    }
    struct kafka_output_topic *topic = rd_kafka_topic_opaque(record->rkt);
    struct kafka_written *written = &topic->partitions[record->partition];
    if (written->transaction != producer->transaction || written->offset < record->offset) {
        written->transaction = producer->transaction;
        written->offset = record->offset;
    }
}

enum status kafka_producer_fatal(struct kafka_producer *producer, struct error *error)
{
    ensure(producer->handle.rk != NULL);
    char words[256] = "";
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(producer->handle.rk, words, sizeof words);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return STATUS_OK;
    }
    (void)kafka_error_set(error, code, "producer", words);
    error->status = STATUS_FATAL;
    if (error->code == ERROR_OTHER) {
        error->code = ERROR_FENCED; /* the handle is dead; another one may go on */
    }
    return STATUS_FATAL;
}

/* ---- Topics ---- */

static void drop_topic(struct kafka_output_topic *topic)
{
    if (topic->handle != NULL) {
        rd_kafka_topic_destroy(topic->handle);
    }
    free(topic->partitions);
    free(topic->name);
    free(topic);
}

/* Fills the cache of the producer's handle: the first record of a topic is a second late otherwise.
 */
static enum status learn_topic(struct kafka_producer *producer, struct kafka_output_topic *topic,
                               struct error *error)
{
    ensure(topic->handle == NULL && producer->handle.rk != NULL);
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(producer->handle.rk);
    rd_kafka_topic_conf_set_opaque(conf, topic);
    topic->handle = rd_kafka_topic_new(producer->handle.rk, topic->name, conf);
    if (topic->handle == NULL) {
        enum status status = kafka_error_set(error, rd_kafka_last_error(), topic->name, NULL);
        rd_kafka_topic_conf_destroy(conf);
        return status;
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(producer->handle.rk, 0, topic->handle, &metadata, KAFKA_REQUEST_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error_set(error, code, topic->name, NULL);
    }
    rd_kafka_metadata_destroy(metadata);
    return STATUS_OK;
}

static enum status make_topic(struct kafka_producer *producer, const char *name,
                              struct kafka_output_topic **out, struct error *error)
{
    int32_t count = 0;
    enum status status = kafka_partition_count(producer->broker, name, &count, error);
    if (status == STATUS_NOT_FOUND) {
        return kafka_error_set(error, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, name, NULL);
    }
    struct kafka_limits *limits = NULL;
    if (status == STATUS_OK) {
        status = kafka_limits_get(producer->broker, name, LIMITS_AGE_MS, &limits, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ensure(count > 0);
    struct kafka_output_topic *topic = memory_allocate(sizeof *topic);
    topic->name = memory_text(name);
    topic->partition_count = count;
    topic->partitions = memory_allocate((size_t)count * sizeof *topic->partitions);
    for (int32_t i = 0; i < count; i++) {
        topic->partitions[i].offset = BROKER_NO_OFFSET;
    }
    ensure(pthread_mutex_lock(&producer->broker->lock) == 0);
    topic->limits = *limits;
    ensure(pthread_mutex_unlock(&producer->broker->lock) == 0);
    topic->shared = limits;
    status = learn_topic(producer, topic, error);
    if (status != STATUS_OK) {
        drop_topic(topic);
        return status;
    }
    *out = topic;
    return STATUS_OK;
}

static enum status producer_name_topic(struct producer *base, const char *name, uint32_t *number,
                                       int32_t *partition_count, struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(producer->ready);
    uint32_t i = 0;
    while (i < producer->topic_count && strcmp(producer->topics[i]->name, name) != 0) {
        i++;
    }
    if (i == producer->topic_count) {
        struct kafka_output_topic *topic = NULL;
        enum status status = make_topic(producer, name, &topic, error);
        if (status != STATUS_OK) {
            return status;
        }
        ensure(topic != NULL);
        producer->topics =
            memory_resize(producer->topics, (i + 1) * sizeof(struct kafka_output_topic *));
        producer->topics[producer->topic_count++] = topic;
    }
    *number = i;
    *partition_count = producer->topics[i]->partition_count;
    return STATUS_OK;
}

/* ---- Records ---- */

static size_t wire_size(const struct broker_output *output)
{
    size_t size = BATCH_OVERHEAD + RECORD_OVERHEAD + output->key.size + output->value.size;
    for (uint32_t i = 0; i < output->header_count; i++) {
        size += 10 + strlen(output->headers[i].name) + output->headers[i].value.size;
    }
    return size;
}

static bool far_from(const struct kafka_limits *limits, int64_t timestamp_ms, int64_t now)
{
    bool early =
        limits->before_max_ms < now && timestamp_ms < now - limits->before_max_ms - CLOCK_MARGIN_MS;
    bool late = limits->after_max_ms < INT64_MAX - now &&
                timestamp_ms > now + limits->after_max_ms + CLOCK_MARGIN_MS;
    return early || late;
}

/* The clock is read only where the last reading would refuse: it costs as much as a record. */
static bool bad_timestamp(struct kafka_producer *producer, const struct kafka_limits *limits,
                          int64_t timestamp_ms)
{
    if (timestamp_ms < 0 || !limits->create_time ||
        !far_from(limits, timestamp_ms, producer->wall_ms)) {
        return false;
    }
    producer->wall_ms = clock_wall_ms(clock_system());
    return far_from(limits, timestamp_ms, producer->wall_ms);
}

/* What the broker would refuse, as far as the topic's settings tell. */
static enum status check_output(struct kafka_producer *producer,
                                const struct kafka_output_topic *topic,
                                const struct broker_output *output, size_t size,
                                struct error *error)
{
    const struct kafka_limits *limits = &topic->limits;
    if (size > KAFKA_RECORD_MAX || (limits->max_message_size >= 0 && !producer->compresses &&
                                    size > (size_t)limits->max_message_size)) {
        return error_set(
            error, STATUS_BAD_RECORD, ERROR_TOO_LARGE,
            "a record of %zu bytes for topic %s, which takes %lld: raise its "
            "max.message.bytes or send less",
            size, topic->name,
            (long long)(size > KAFKA_RECORD_MAX ? KAFKA_RECORD_MAX : limits->max_message_size));
    }
    if (limits->compacted && output->key.data == NULL) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER,
                         "a record without a key for topic %s, which is compacted", topic->name);
    }
    if (bad_timestamp(producer, limits, output->timestamp_ms)) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_BAD_TIMESTAMP,
                         "timestamp %lld ms for topic %s, which takes none so far from now: see "
                         "its message.timestamp.before.max.ms and message.timestamp.after.max.ms",
                         (long long)output->timestamp_ms, topic->name);
    }
    return STATUS_OK;
}

static rd_kafka_headers_t *copy_headers(const struct broker_output *output)
{
    if (output->header_count == 0) {
        return NULL;
    }
    rd_kafka_headers_t *headers = rd_kafka_headers_new(output->header_count);
    for (uint32_t i = 0; i < output->header_count; i++) {
        const struct header *header = &output->headers[i];
        rd_kafka_resp_err_t code = rd_kafka_header_add(
            headers, header->name, -1, header->value.data, (ssize_t)header->value.size);
        ensure(code == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    return headers;
}

static void *unconst(const void *data)
{
    return (void *)(uintptr_t)data;
}

/* One try. produceva by handle costs what produce() does, and is the cheapest call with a
 * timestamp. */
static rd_kafka_error_t *produce(struct kafka_producer *producer,
                                 const struct kafka_output_topic *topic,
                                 const struct broker_output *output, rd_kafka_headers_t *headers)
{
    ensure(topic->handle != NULL);
    /* 0 would mean "now" */
    int64_t timestamp = output->timestamp_ms == 0 ? 1 : output->timestamp_ms;
    rd_kafka_vu_t items[8] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic->handle},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = output->partition},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {unconst(output->value.data), output->value.size}},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {unconst(output->key.data), output->key.size}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp < 0 ? 0 : timestamp},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)output->origin},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    return rd_kafka_produceva(producer->handle.rk, items, headers == NULL ? 7 : 8);
}

/* Why a record was not taken, with the transaction still to be ended by the caller. */
static enum status not_taken(struct kafka_producer *producer, rd_kafka_error_t *answer,
                             struct error *error)
{
    ensure(answer != NULL);
    rd_kafka_resp_err_t code = rd_kafka_error_code(answer);
    enum status status = kafka_producer_fatal(producer, error);
    if (status == STATUS_OK) {
        status = kafka_error_set(error, code, "send", rd_kafka_error_string(answer));
        if (status != STATUS_BAD_RECORD) { /* the transaction takes no more: it failed already */
            error->status = status = STATUS_ABORT;
        }
    }
    rd_kafka_error_destroy(answer);
    return status;
}

static void flush_batch(struct kafka_producer *producer, struct kafka_written *written)
{
    ensure(producer->handle.rk != NULL);
    rd_kafka_flush(producer->handle.rk, kafka_timeout(producer->broker->transaction_timeout_ms));
    written->unsent = 0;
    producer->since_flush = 0;
}

/* Before a record: a batch may not outgrow the topic's limit, which librdkafka does not know. */
static void keep_small(struct kafka_producer *producer, const struct kafka_output_topic *topic,
                       struct kafka_written *written, size_t size)
{
    int64_t limit = topic->limits.max_message_size;
    if (limit < 0 || limit >= BATCH_SIZE + BATCH_OVERHEAD) {
        return;
    }
    if (written->unsent > 0 && written->unsent + size > (size_t)limit) {
        flush_batch(producer, written);
    }
    written->unsent += size;
}

/* After a record: a search for a refused one needs small batches. */
static void keep_narrow(struct kafka_producer *producer, const struct kafka_output_topic *topic,
                        struct kafka_written *written)
{
    int narrow = atomic_load_explicit(&topic->shared->narrow, memory_order_relaxed);
    if (narrow > 0 && ++producer->since_flush >= (uint32_t)narrow) {
        flush_batch(producer, written);
    }
}

static enum status producer_put(struct producer *base, const struct broker_output *output,
                                struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(output->topic < producer->topic_count);
    struct kafka_output_topic *topic = producer->topics[output->topic];
    if (output->partition < 0 || output->partition >= topic->partition_count) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "topic %s has no partition %d",
                         topic->name, output->partition);
    }
    size_t size = wire_size(output);
    if (check_output(producer, topic, output, size, error) != STATUS_OK) {
        return STATUS_BAD_RECORD;
    }
    struct kafka_written *written = &topic->partitions[output->partition];
    keep_small(producer, topic, written, size);
    rd_kafka_headers_t *headers = copy_headers(output);
    rd_kafka_error_t *answer = NULL;
    while ((answer = produce(producer, topic, output, headers)) != NULL &&
           rd_kafka_error_code(answer) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_error_destroy(answer);
        rd_kafka_poll(producer->handle.rk, 5);
    }
    if (answer != NULL) {
        if (headers != NULL) {
            rd_kafka_headers_destroy(headers);
        }
        return not_taken(producer, answer, error);
    }
    producer->queued++;
    if (++producer->since_poll >= POLL_EVERY) {
        producer->since_poll = 0;
        rd_kafka_poll(producer->handle.rk, 0);
    }
    keep_narrow(producer, topic, written);
    return STATUS_OK;
}

/* A refused batch of several records: which one is not known. Smaller ones next time. */
static enum status search_refused(struct kafka_producer *producer, struct error *error)
{
    ensure(producer->refused_count > 1 && producer->refused_topic != NULL);
    int narrow = (int)(producer->refused_count / NARROW_STEP);
    narrow = narrow < 1 ? 1 : narrow;
    atomic_store(&producer->refused_topic->shared->narrow, narrow);
    *error = producer->failure;
    log_warn("broker",
             "the broker refused %zu records together: looking for the one it means "
             "topic=%s partition=%d batch=%d",
             producer->refused_count, producer->refused_topic->name, producer->refused_partition,
             narrow);
    error->status = STATUS_ABORT;
    return STATUS_ABORT;
}

static bool producer_has_refused(struct producer *base, uint64_t *origin, struct error *error)
{
    struct kafka_producer *producer = of(base);
    if (!producer->refused || producer->refused_count != 1) {
        return false;
    }
    *origin = producer->refused_origin;
    ensure(producer->refused_topic != NULL && producer->failure.code != ERROR_NONE);
    *error = producer->failure;
    error->status = STATUS_BAD_RECORD;
    return true;
}

static enum status flush_outcome(struct kafka_producer *producer, struct error *error)
{
    ensure(producer->reported <= producer->queued);
    enum status status = kafka_producer_fatal(producer, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (producer->refused && producer->refused_count > 1) {
        return search_refused(producer, error);
    }
    if (producer->refused) {
        ensure(producer->refused_count == 1);
        atomic_store(&producer->refused_topic->shared->narrow, 0);
        *error = producer->failure;
        error->status = STATUS_BAD_RECORD;
        return STATUS_BAD_RECORD;
    }
    if (producer->failed) {
        *error = producer->failure;
        if (error->code == ERROR_NONE) {
            return error_set(error, STATUS_ABORT, ERROR_OTHER, "records were given up");
        }
        error->status = STATUS_ABORT;
        return STATUS_ABORT;
    }
    return STATUS_OK;
}

static enum status producer_drain(struct producer *base, int64_t timeout_ms, struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(producer->ready);
    int64_t end = clock_monotonic_ms(clock_system()) + timeout_ms;
    while (producer->queued != producer->reported && !producer->failed) {
        int64_t rest = end - clock_monotonic_ms(clock_system());
        rd_kafka_flush(producer->handle.rk, kafka_timeout(rest > 100 ? 100 : rest));
        if (rest <= 0 && producer->queued != producer->reported && !producer->failed) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT,
                             "%llu records are not acknowledged yet",
                             (unsigned long long)(producer->queued - producer->reported));
        }
    }
    return flush_outcome(producer, error);
}

static int64_t producer_acknowledged(struct producer *base, uint32_t number, int32_t partition)
{
    struct kafka_producer *producer = of(base);
    ensure(number < producer->topic_count);
    const struct kafka_output_topic *topic = producer->topics[number];
    ensure(partition >= 0 && partition < topic->partition_count);
    const struct kafka_written *written = &topic->partitions[partition];
    return written->transaction == producer->transaction ? written->offset : BROKER_NO_OFFSET;
}

static bool producer_is_suspect(struct producer *base)
{
    return atomic_load_explicit(&of(base)->handle.suspect, memory_order_relaxed);
}

/* ---- Life ---- */

static void producer_end(struct producer *base)
{
    struct kafka_producer *producer = of(base);
    kafka_producer_unfence(producer);
    if (producer->handle.rk != NULL) {
        /* Reports point to topics: none may be under way when those go. */
        rd_kafka_purge(producer->handle.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                                RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_poll(producer->handle.rk, 0);
    }
    for (uint32_t i = 0; i < producer->topic_count; i++) {
        rd_kafka_topic_destroy(producer->topics[i]->handle);
        producer->topics[i]->handle = NULL;
    }
    kafka_handle_close(&producer->handle);
    for (uint32_t i = 0; i < producer->topic_count; i++) {
        drop_topic(producer->topics[i]);
    }
    free(producer->topics);
    ensure(pthread_cond_destroy(&producer->changed) == 0);
    ensure(pthread_mutex_destroy(&producer->lock) == 0);
    free(producer->id);
    free(producer);
}

static const struct producer_ops producer_ops = {
    .ready = kafka_producer_ready,
    .topic = producer_name_topic,
    .begin = kafka_producer_begin,
    .send = producer_put,
    .flush = producer_drain,
    .refused = producer_has_refused,
    .last_offset = producer_acknowledged,
    .send_offsets = kafka_producer_send_offsets,
    .commit = kafka_producer_commit,
    .abort = kafka_producer_abort,
    .suspect = producer_is_suspect,
    .close = producer_end,
};

static bool uses_compression(const struct kafka_property_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->items[i].name;
        ensure(name != NULL);
        if ((strcmp(name, "compression.type") == 0 || strcmp(name, "compression.codec") == 0) &&
            strcmp(list->items[i].value, "none") != 0) {
            return true;
        }
    }
    return false;
}

enum status kafka_producer_open(struct broker *base, const char *id, struct producer **out,
                                struct error *error)
{
    ensure(out != NULL);
    struct kafka_producer *producer = memory_allocate(sizeof *producer);
    producer->base.ops = &producer_ops;
    producer->broker = (struct broker_kafka *)base;
    producer->id = memory_text(id);
    producer->compresses = uses_compression(&producer->broker->common) ||
                           uses_compression(&producer->broker->producer);
    producer->handle.owner = producer;
    ensure(pthread_mutex_init(&producer->lock, NULL) == 0);
    pthread_condattr_t attributes;
    ensure(pthread_condattr_init(&attributes) == 0);
    ensure(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ensure(pthread_cond_init(&producer->changed, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes);
    enum status status = STATUS_OK;
    if (id != NULL) {
        status = kafka_producer_fence(producer, error);
    } else {
        producer->ready = true;
        status = kafka_fence_open(&producer->handle, producer->broker, NULL, producer, error);
    }
    if (status != STATUS_OK) {
        producer_end(&producer->base);
        return status;
    }
    ensure(producer->ready || producer->fencing);
    *out = &producer->base;
    return STATUS_OK;
}
