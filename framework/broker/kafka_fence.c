/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over an open transaction the coordinator answers the first InitProducerId with
 * CONCURRENT_TRANSACTIONS while it aborts, and librdkafka sleeps 500 ms before it asks again. A
 * scratch handle that is given up after a slice, and another one, find the abort done: 50 ms
 * instead. The slices double, so that a slow cluster is not asked again and again; after a second
 * the handle at hand waits in the ordinary way.
 */
#include "broker/kafka_fence.h"

#include "base/clock.h"
#include "broker/kafka_error.h"

#include <stdio.h>

enum { FIRST_SLICE_MS = 40, SCRATCH_LIMIT_MS = 1000, TAKE_OVER_MS = 1000 };

enum status kafka_fence_open(struct kafka_handle *handle, struct broker_kafka *broker,
                             const char *id, void *owner, struct error *error)
{
    ensure(handle->rk == NULL);
    rd_kafka_conf_t *conf = kafka_conf(broker, KAFKA_PRODUCER, false, error);
    if (conf == NULL) {
        return error->status;
    }
    handle->owner = owner;
    /* Without a delivery report callback every commit waits 10 ms. */
    rd_kafka_conf_set_dr_msg_cb(conf, kafka_producer_report);
    if (id != NULL &&
        (kafka_conf_set(conf, "transactional.id", id, error) != STATUS_OK ||
         kafka_conf_set_integer(conf, "transaction.timeout.ms", broker->transaction_timeout_ms,
                                error) != STATUS_OK)) {
        rd_kafka_conf_destroy(conf);
        return error->status;
    }
    return kafka_handle_open(handle, broker, KAFKA_PRODUCER, conf, error);
}

static enum status initialise(struct kafka_handle *handle, const char *id, int64_t timeout_ms,
                              struct error *error)
{
    ensure(handle->rk != NULL && id != NULL);
    rd_kafka_error_t *answer = rd_kafka_init_transactions(handle->rk, kafka_timeout(timeout_ms));
    if (answer == NULL) {
        return STATUS_OK;
    }
    char what[320];
    (void)snprintf(what, sizeof what, "fencing transactional.id %s", id);
    return kafka_error_take(error, answer, what);
}

enum status kafka_fence(struct kafka_handle *handle, struct broker_kafka *broker, const char *id,
                        void *owner, const atomic_bool *stop, struct error *error)
{
    ensure(id != NULL && handle->rk == NULL);
    int64_t begin = clock_monotonic_ms(clock_system());
    int64_t slice = FIRST_SLICE_MS;
    for (;;) {
        enum status status = STATUS_OK;
        if (handle->rk == NULL) {
            status = kafka_fence_open(handle, broker, id, owner, error);
        }
        if (status == STATUS_OK) {
            status = initialise(handle, id, slice, error);
        }
        if (status == STATUS_OK) {
            return STATUS_OK;
        }
        if (status == STATUS_RETRY && atomic_load(stop)) {
            status = error_set(error, STATUS_RETRY, ERROR_STOPPED, "fencing was given up");
            kafka_handle_close(handle);
            return status;
        }
        if (status != STATUS_RETRY) {
            kafka_handle_close(handle);
            return status;
        }
        if (clock_monotonic_ms(clock_system()) - begin < SCRATCH_LIMIT_MS) {
            kafka_handle_close(handle);
            slice *= 2;
        } else {
            slice = TAKE_OVER_MS;
        }
    }
}

enum status kafka_take_over(struct broker *base, const char *id, struct error *error)
{
    ensure(id != NULL);
    struct broker_kafka *broker = (struct broker_kafka *)base;
    struct kafka_handle handle = {0};
    enum status status = kafka_fence_open(&handle, broker, id, NULL, error);
    int64_t end = clock_monotonic_ms(clock_system()) + TAKE_OVER_MS;
    while (status == STATUS_OK) {
        rd_kafka_error_t *answer = rd_kafka_init_transactions(handle.rk, FIRST_SLICE_MS);
        if (answer == NULL) {
            break;
        }
        if (rd_kafka_error_code(answer) == RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS) {
            /* The coordinator has fenced the owner and is ending its transaction. */
            rd_kafka_error_destroy(answer);
            break;
        }
        status = kafka_error_take(error, answer, id);
        if (status == STATUS_RETRY && clock_monotonic_ms(clock_system()) < end) {
            status = STATUS_OK;
        }
    }
    kafka_handle_close(&handle);
    return status;
}
