/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka request: one question of administration through the probe, a queue for its answer, and
 * the answer.
 */
#ifndef LEAT_BROKER_KAFKA_REQUEST_H
#define LEAT_BROKER_KAFKA_REQUEST_H

#include "broker/kafka_handle.h"

struct kafka_request {
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *answer; /* NULL before kafka_request_wait */
};

/** The caller sends it with `options` and `queue`, waits, and finishes it in any case. */
void kafka_request_init(struct kafka_request *request, struct broker_kafka *broker,
                        rd_kafka_admin_op_t op, int64_t timeout_ms);
/** Until it is answered, which librdkafka does at the latest when its time-out has passed; the
 *  error of the request as a whole. `what` names it in the error. */
enum status kafka_request_wait(struct kafka_request *request, const char *what,
                               struct error *error);
void kafka_request_finish(struct kafka_request *request);

#endif
