/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka errors: what librdkafka answered, as a status, a code and a text that names the remedy.
 * The only place where a librdkafka error is classified. Any thread.
 */
#ifndef LEAT_BROKER_KAFKA_ERROR_H
#define LEAT_BROKER_KAFKA_ERROR_H

#include "base/status.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/** Fills `error` for `code` (not NO_ERROR): "<what>: <detail or librdkafka's words>: <remedy>". */
enum status kafka_error_set(struct error *error, rd_kafka_resp_err_t code, const char *what,
                            const char *detail);

/** The same for a call of the transactional API; destroys `answer` (not NULL). Its flags decide the
 *  status, in this order: abort needed, retriable, anything else is fatal. */
enum status kafka_error_take(struct error *error, rd_kafka_error_t *answer, const char *what);

/** Whether the broker refused a record for what it is (and not for where or when). */
bool kafka_error_refuses_record(rd_kafka_resp_err_t code);
/** Whether the code says that a topic or partition is not there. */
bool kafka_error_missing(rd_kafka_resp_err_t code);

#endif
