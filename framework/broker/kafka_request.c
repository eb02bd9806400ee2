/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_request.h"

#include "broker/kafka_error.h"

void kafka_request_init(struct kafka_request *request, struct broker_kafka *broker,
                        rd_kafka_admin_op_t op, int64_t timeout_ms)
{
    char words[128];
    request->queue = rd_kafka_queue_new(broker->probe.rk);
    request->options = rd_kafka_AdminOptions_new(broker->probe.rk, op);
    request->answer = NULL;
    rd_kafka_resp_err_t code = rd_kafka_AdminOptions_set_request_timeout(
        request->options, kafka_timeout(timeout_ms < 1 ? 1 : timeout_ms), words, sizeof words);
    ensure(code == RD_KAFKA_RESP_ERR_NO_ERROR);
}

enum status kafka_request_wait(struct kafka_request *request, const char *what, struct error *error)
{
    request->answer = rd_kafka_queue_poll(request->queue, -1);
    ensure(request->answer != NULL);
    rd_kafka_resp_err_t code = rd_kafka_event_error(request->answer);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? STATUS_OK
               : kafka_error_set(error, code, what, rd_kafka_event_error_string(request->answer));
}

void kafka_request_finish(struct kafka_request *request)
{
    ensure(request->queue != NULL && request->options != NULL);
    if (request->answer != NULL) {
        rd_kafka_event_destroy(request->answer);
    }
    rd_kafka_AdminOptions_destroy(request->options);
    rd_kafka_queue_destroy(request->queue);
}
