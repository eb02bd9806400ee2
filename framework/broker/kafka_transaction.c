/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka transaction: the transactional half of a producer.
 *
 *   fencing --ready--> idle --begin--> open --commit/abort--> idle
 *                                      open --fatal--> dead (close the producer)
 *
 * The fencing runs in a thread of its own, while the consumer joins; it owns the handle until it
 * says so. A commit whose outcome is open can only be asked again: everything else is refused by
 * librdkafka.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "broker/kafka_error.h"
#include "broker/kafka_fence.h"
#include "broker/kafka_producer.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static struct kafka_producer *of(struct producer *base)
{
    ensure(((struct kafka_producer *)base)->broker != NULL);
    return (struct kafka_producer *)base;
}

/* ---- Fencing ---- */

static void *fence(void *opaque)
{
    struct kafka_producer *producer = opaque;
    ensure(producer->id != NULL);
    struct error error = {0};
    enum status status = kafka_fence(&producer->handle, producer->broker, producer->id, producer,
                                     &producer->stop, &error);
    ensure(pthread_mutex_lock(&producer->lock) == 0);
    producer->fence_status = status;
    producer->fence_error = error;
    producer->fenced = true;
    ensure(pthread_cond_signal(&producer->changed) == 0);
    ensure(pthread_mutex_unlock(&producer->lock) == 0);
    return NULL;
}

enum status kafka_producer_fence(struct kafka_producer *producer, struct error *error)
{
    ensure(!producer->fencing && !producer->ready);
    if (pthread_create(&producer->thread, NULL, fence, producer) != 0) {
        return error_set(error, STATUS_FATAL, ERROR_LIMIT, "no thread for the fencing of %s",
                         producer->id);
    }
    producer->fencing = true;
    return STATUS_OK;
}

void kafka_producer_unfence(struct kafka_producer *producer)
{
    if (producer->fencing) {
        atomic_store(&producer->stop, true);
        ensure(pthread_join(producer->thread, NULL) == 0);
        producer->fencing = false;
    }
}

static bool wait_fenced(struct kafka_producer *producer, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + timeout_ms % 1000 * 1000000;
    until.tv_sec += timeout_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    ensure(pthread_mutex_lock(&producer->lock) == 0);
    int code = 0;
    while (!producer->fenced && code != ETIMEDOUT) {
        code = pthread_cond_timedwait(&producer->changed, &producer->lock, &until);
        ensure(code == 0 || code == ETIMEDOUT);
    }
    bool fenced = producer->fenced;
    ensure(pthread_mutex_unlock(&producer->lock) == 0);
    return fenced;
}

enum status kafka_producer_ready(struct producer *base, int64_t timeout_ms, struct error *error)
{
    struct kafka_producer *producer = of(base);
    if (producer->ready) {
        return STATUS_OK;
    }
    if (producer->fencing) {
        if (!wait_fenced(producer, timeout_ms)) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT,
                             "fencing transactional.id %s is not answered yet", producer->id);
        }
        ensure(pthread_join(producer->thread, NULL) == 0);
        producer->fencing = false;
    }
    if (producer->fence_status != STATUS_OK) {
        *error = producer->fence_error;
        return producer->fence_status;
    }
    producer->ready = true;
    return STATUS_OK;
}

/* ---- Begin to end ---- */

enum status kafka_producer_begin(struct producer *base, struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(producer->ready && producer->id != NULL && !producer->committing);
    rd_kafka_error_t *answer = rd_kafka_begin_transaction(producer->handle.rk);
    if (answer != NULL) {
        return kafka_error_take(error, answer, "begin");
    }
    producer->transaction++;
    producer->since_flush = 0;
    producer->failed = producer->refused = false;
    producer->refused_count = 0;
    producer->failure = (struct error){0};
    return STATUS_OK;
}

enum status kafka_producer_send_offsets(struct producer *base, struct consumer *consumer,
                                        const struct broker_offset *offsets, size_t count,
                                        struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(producer->ready && count > 0 && offsets != NULL);
    const rd_kafka_consumer_group_metadata_t *metadata = kafka_consumer_metadata(consumer);
    if (metadata == NULL) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                         "the assignment of this transaction was lost");
    }
    rd_kafka_topic_partition_list_t *list = kafka_offset_list(offsets, count);
    rd_kafka_error_t *answer = rd_kafka_send_offsets_to_transaction(
        producer->handle.rk, list, metadata,
        kafka_timeout(producer->broker->transaction_timeout_ms));
    rd_kafka_topic_partition_list_destroy(list);
    return answer == NULL ? STATUS_OK : kafka_error_take(error, answer, "offsets");
}

enum status kafka_producer_commit(struct producer *base, int64_t timeout_ms, struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(producer->ready);
    bool asked_before = producer->committing;
    producer->committing = true;
    rd_kafka_error_t *answer =
        rd_kafka_commit_transaction(producer->handle.rk, kafka_timeout(timeout_ms));
    if (answer == NULL) {
        producer->committing = false;
        return STATUS_OK;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(answer);
    enum status status = kafka_error_take(error, answer, "commit");
    if (status == STATUS_RETRY) {
        return status;
    }
    producer->committing = false;
    bool unsure = asked_before || base->ops->suspect(base);
    if (status == STATUS_ABORT && unsure && code != RD_KAFKA_RESP_ERR__INCONSISTENT) {
        /* An earlier request may have committed: only the offsets can tell. */
        error->status = status = STATUS_FATAL;
        if (error->code == ERROR_OTHER) {
            error->code = ERROR_FENCED;
        }
    }
    return status;
}

enum status kafka_producer_abort(struct producer *base, int64_t timeout_ms, struct error *error)
{
    struct kafka_producer *producer = of(base);
    ensure(producer->ready);
    rd_kafka_error_t *answer =
        rd_kafka_abort_transaction(producer->handle.rk, kafka_timeout(timeout_ms));
    if (answer == NULL) {
        return STATUS_OK;
    }
    enum status status = kafka_error_take(error, answer, "abort");
    if (status == STATUS_ABORT) { /* an abort that asks for an abort will not end */
        error->status = status = STATUS_FATAL;
    }
    return status;
}
