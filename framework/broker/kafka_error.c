/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_error.h"

#include <string.h>

struct verdict {
    enum status status;
    enum error_code code;
    const char *remedy; /* or NULL */
};

static const char settings_remedy[] =
    "check security.protocol, sasl.* and ssl.* in broker.properties and the ACLs of this user";

bool kafka_error_refuses_record(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
           code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE ||
           code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP ||
           code == RD_KAFKA_RESP_ERR_INVALID_RECORD || code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE;
}

bool kafka_error_missing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* Of a record, a topic or a setting: the thing itself is wrong. */
static bool judge_request(rd_kafka_resp_err_t code, struct verdict *verdict)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_NO_TOPIC,
                                    "create it: topology topics create TOPIC --partitions N"};
        return true;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_TOPIC_EXISTS, NULL};
        return true;
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        *verdict = (struct verdict){STATUS_BAD_CONFIG, ERROR_CONFIG, NULL};
        return true;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        *verdict = (struct verdict){STATUS_BAD_RECORD, ERROR_TOO_LARGE,
                                    "raise max.message.bytes of the topic or send less"};
        return true;
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
        *verdict = (struct verdict){STATUS_BAD_RECORD, ERROR_BAD_TIMESTAMP,
                                    "see message.timestamp.before.max.ms and "
                                    "message.timestamp.after.max.ms of the topic"};
        return true;
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
        *verdict = (struct verdict){STATUS_BAD_RECORD, ERROR_OTHER,
                                    "a compacted topic takes no record without a key"};
        return true;
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
        *verdict =
            (struct verdict){STATUS_FATAL, ERROR_LIMIT,
                             "broker.transaction_timeout is above transaction.max.timeout.ms "
                             "of the broker: lower the one or raise the other"};
        return true;
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
        *verdict =
            (struct verdict){STATUS_FATAL, ERROR_LIMIT,
                             "broker.session_timeout is outside group.min.session.timeout.ms "
                             "and group.max.session.timeout.ms of the broker"};
        return true;
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_LIMIT,
                                    "raise group.max.size of the broker or use fewer workers"};
        return true;
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_LIMIT, NULL};
        return true;
    default:
        return false;
    }
}

/* Of who asks: permissions, epochs, generations. */
static bool judge_identity(rd_kafka_resp_err_t code, struct verdict *verdict)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_DENIED, settings_remedy};
        return true;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_FENCED, NULL};
        return true;
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_FENCED_INSTANCE,
                                    "another process runs as this instance: give each its own "
                                    "\"instance\""};
        return true;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
        *verdict = (struct verdict){STATUS_ABORT, ERROR_NOT_OWNER, NULL};
        return true;
    default:
        return false;
    }
}

/* Of the moment: asking again may help. */
static bool judge_moment(rd_kafka_resp_err_t code, struct verdict *verdict)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__CONFLICT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
        *verdict = (struct verdict){STATUS_RETRY, ERROR_TIMED_OUT, NULL};
        return true;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__NODE_UPDATE:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
        *verdict = (struct verdict){STATUS_RETRY, ERROR_NO_BROKER, NULL};
        return true;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR__NO_OFFSET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        *verdict = (struct verdict){STATUS_FATAL, ERROR_OFFSET_LOST, NULL};
        return true;
    default:
        return false;
    }
}

static struct verdict judge(rd_kafka_resp_err_t code)
{
    ensure(code != RD_KAFKA_RESP_ERR_NO_ERROR);
    struct verdict verdict = {STATUS_FATAL, ERROR_OTHER, NULL};
    if (!judge_moment(code, &verdict) && !judge_identity(code, &verdict)) {
        (void)judge_request(code, &verdict);
    }
    return verdict;
}

static enum status fill(struct error *error, struct verdict verdict, rd_kafka_resp_err_t code,
                        const char *what, const char *detail)
{
    ensure(what != NULL && verdict.status != STATUS_OK && verdict.code != ERROR_NONE);
    bool own_words = detail != NULL && *detail != 0;
    const char *words = own_words ? detail : rd_kafka_err2str(code);
    return error_set(error, verdict.status, verdict.code, "%s: %s%s%s", what, words,
                     verdict.remedy == NULL ? "" : ": ",
                     verdict.remedy == NULL ? "" : verdict.remedy);
}

enum status kafka_error_set(struct error *error, rd_kafka_resp_err_t code, const char *what,
                            const char *detail)
{
    return fill(error, judge(code), code, what, detail);
}

enum status kafka_error_take(struct error *error, rd_kafka_error_t *answer, const char *what)
{
    ensure(answer != NULL);
    rd_kafka_resp_err_t code = rd_kafka_error_code(answer);
    struct verdict verdict = judge(code);
    if (rd_kafka_error_txn_requires_abort(answer)) {
        verdict.status = STATUS_ABORT;
        if (verdict.code == ERROR_FENCED_INSTANCE) { /* by the group: another member owns it */
            verdict.code = ERROR_NOT_OWNER;
        }
    } else if (rd_kafka_error_is_retriable(answer)) {
        verdict.status = STATUS_RETRY;
    } else {
        verdict.status = STATUS_FATAL;
        if (verdict.code == ERROR_OTHER) {
            verdict.code =
                ERROR_FENCED; /* INVALID_TXN_STATE and its like: only this handle is dead */
        }
    }
    enum status status = fill(error, verdict, code, what, rd_kafka_error_string(answer));
    rd_kafka_error_destroy(answer);
    return status;
}
