/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka group: the membership of a consumer. Eager rebalancing alone: everything is taken back,
 * then all is given anew.
 *
 * Invariants
 *  - A rebalance is recorded in the callback and answered later, by consumer_assign or
 *    consumer_unassign. An assignment is answered inside the callback with "nothing yet", so that
 * the group moves on and a revocation that follows is seen although the engine has not answered.
 *  - `metadata` is of the generation under which the last assignment was made; it is dropped when
 * that assignment is.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "broker/kafka_consumer.h"
#include "broker/kafka_error.h"

#include <stdio.h>
#include <stdlib.h>

static struct kafka_consumer *of(struct consumer *base)
{
    ensure(((struct kafka_consumer *)base)->broker != NULL);
    return (struct kafka_consumer *)base;
}

void kafka_group_forget(struct kafka_consumer *consumer)
{
    ensure(consumer->partition_count == 0 || consumer->partitions != NULL);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        free((char *)(uintptr_t)consumer->partitions[i].topic);
    }
    free(consumer->partitions);
    consumer->partitions = NULL;
    consumer->partition_count = 0;
    if (consumer->metadata != NULL) {
        rd_kafka_consumer_group_metadata_destroy(consumer->metadata);
        consumer->metadata = NULL;
    }
    consumer->answered = false;
}

/* Whether the group still counts us in: librdkafka empties the member id when it does not. */
static bool is_member(const struct kafka_consumer *consumer)
{
    ensure(consumer->member.rk != NULL);
    char *id = rd_kafka_memberid(consumer->member.rk);
    bool member = id != NULL && *id != 0;
    rd_kafka_mem_free(consumer->member.rk, id);
    return member;
}

static void record_assignment(struct kafka_consumer *consumer,
                              const rd_kafka_topic_partition_list_t *list)
{
    ensure(!consumer->closing && list != NULL);
    kafka_group_forget(consumer);
    ensure(consumer->metadata == NULL && !consumer->answered);
    size_t count = (size_t)list->cnt;
    consumer->partitions = memory_allocate((count + 1) * sizeof *consumer->partitions);
    consumer->partition_count = count;
    for (size_t i = 0; i < count; i++) {
        consumer->partitions[i] = (struct broker_partition){
            .topic = memory_text(list->elems[i].topic), .partition = list->elems[i].partition};
    }
    /* In this order: both are emptied by one step of librdkafka's main thread. */
    consumer->metadata = rd_kafka_consumer_group_metadata(consumer->member.rk);
    consumer->lost = consumer->metadata == NULL || !is_member(consumer);
    consumer->rebalance = CONSUMER_ASSIGNED;
    consumer->reported = false;
}

static void record_revocation(struct kafka_consumer *consumer)
{
    ensure(!consumer->closing && consumer->member.rk != NULL);
    bool unseen = consumer->rebalance == CONSUMER_ASSIGNED && !consumer->reported;
    if (unseen) { /* given and taken between two polls */
        kafka_group_forget(consumer);
        consumer->rebalance = CONSUMER_NOTHING;
        rd_kafka_assign(consumer->member.rk, NULL);
        return;
    }
    bool lost = consumer->lost || rd_kafka_assignment_lost(consumer->member.rk);
    consumer->lost = lost;
    consumer->rebalance = lost ? CONSUMER_LOST : CONSUMER_REVOKED;
    consumer->reported = false;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_handle *handle = opaque;
    struct kafka_consumer *consumer = handle->owner;
    ensure(consumer != NULL && consumer->member.rk == rk);
    if (consumer->closing) {
        rd_kafka_assign(rk, NULL);
    } else if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        record_assignment(consumer, list);
        rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);
        rd_kafka_assign(rk, nothing);
        rd_kafka_topic_partition_list_destroy(nothing);
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        record_revocation(consumer);
    } else {
        log_warn("broker", "rebalance failed error=\"%s\"", rd_kafka_err2str(code));
        rd_kafka_assign(rk, NULL);
    }
    rd_kafka_yield(rk); /* out of the poll, to report it */
}

const rd_kafka_consumer_group_metadata_t *kafka_consumer_metadata(struct consumer *base)
{
    struct kafka_consumer *consumer = of(base);
    ensure(consumer->member.rk != NULL);
    return base->ops->owns(base) ? consumer->metadata : NULL;
}

bool kafka_group_owns(struct consumer *base)
{
    struct kafka_consumer *consumer = of(base);
    if (consumer->member.rk == NULL) {
        return true; /* nobody else reads for a plain reader */
    }
    if (!consumer->lost && rd_kafka_assignment_lost(consumer->member.rk)) {
        consumer->lost = true;
    }
    char words[1];
    bool dead = rd_kafka_fatal_error(consumer->member.rk, words, sizeof words) !=
                RD_KAFKA_RESP_ERR_NO_ERROR;
    return !dead && consumer->answered && !consumer->lost && consumer->metadata != NULL &&
           is_member(consumer);
}

/* ---- Answers and questions ---- */

enum status kafka_group_assign(struct kafka_consumer *consumer, struct error *error)
{
    ensure(consumer->member.rk != NULL);
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->slots.count);
    for (size_t i = 0; i < consumer->slots.count; i++) {
        const struct kafka_slot *slot = &consumer->slots.items[i];
        if (!slot->restore) {
            rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(slot->topic),
                                              slot->partition)
                ->offset = slot->next;
        }
    }
    /* The assign would clear librdkafka's mark. */
    consumer->lost = consumer->lost || rd_kafka_assignment_lost(consumer->member.rk);
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->member.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? STATUS_OK
                                              : kafka_error_set(error, code, "assign", NULL);
}

enum status kafka_group_unassign(struct kafka_consumer *consumer, struct error *error)
{
    ensure(consumer->member.rk != NULL);
    kafka_group_forget(consumer);
    consumer->rebalance = CONSUMER_NOTHING;
    consumer->lost = false;
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->member.rk, NULL);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? STATUS_OK
                                              : kafka_error_set(error, code, "unassign", NULL);
}

enum status kafka_group_committed(struct consumer *base, struct broker_offset *offsets,
                                  size_t count, int64_t timeout_ms, struct error *error)
{
    struct kafka_consumer *consumer = of(base);
    ensure(consumer->member.rk != NULL); /* a plain reader has no offsets */
    if (count == 0) {
        return STATUS_OK;
    }
    char what[160];
    (void)snprintf(what, sizeof what, "committed offsets of group %s", consumer->group);
    rd_kafka_topic_partition_list_t *list = kafka_offset_list(offsets, count);
    rd_kafka_resp_err_t code = rd_kafka_committed(consumer->member.rk, list,
                                                  kafka_timeout(timeout_ms < 1 ? 1 : timeout_ms));
    enum status status = code == RD_KAFKA_RESP_ERR_NO_ERROR
                             ? kafka_offsets_read(offsets, count, list, what, error)
                             : kafka_error_set(error, code, what, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* ---- Joining ---- */

static enum status subscribe(struct kafka_consumer *consumer,
                             const struct consumer_options *options, struct error *error)
{
    ensure(options->topic_count == 0 || options->topics != NULL);
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)options->topic_count);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < options->topic_count && status == STATUS_OK; i++) {
        int32_t count = 0;
        status = kafka_partition_count(consumer->broker, options->topics[i], &count, error);
        if (status == STATUS_NOT_FOUND) {
            status = kafka_error_set(error, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                                     options->topics[i], NULL);
        }
        rd_kafka_topic_partition_list_add(list, options->topics[i], RD_KAFKA_PARTITION_UA);
    }
    if (status == STATUS_OK && list->cnt > 0) {
        rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->member.rk, list);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = kafka_error_set(error, code, "subscribe", NULL);
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

enum status kafka_group_join(struct kafka_consumer *consumer,
                             const struct consumer_options *options, struct error *error)
{
    ensure(options->group != NULL && consumer->member.rk == NULL);
    rd_kafka_conf_t *conf = kafka_conf(consumer->broker, KAFKA_MEMBER, false, error);
    if (conf == NULL) {
        return error->status;
    }
    if (kafka_conf_set(conf, "group.id", options->group, error) != STATUS_OK ||
        (options->instance_id != NULL &&
         kafka_conf_set(conf, "group.instance.id", options->instance_id, error) != STATUS_OK)) {
        rd_kafka_conf_destroy(conf);
        return error->status;
    }
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    consumer->member.owner = consumer;
    enum status status =
        kafka_handle_open(&consumer->member, consumer->broker, KAFKA_MEMBER, conf, error);
    if (status == STATUS_OK) {
        rd_kafka_poll_set_consumer(consumer->member.rk);
        status = subscribe(consumer, options, error);
    }
    return status;
}
