/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka consumer: a member of a group, or a plain reader; in both cases restore slots are read
 * through a handle of their own with a queue each (kafka_reader.h).
 *
 * Invariants
 *  - No record leaves while a rebalance is unanswered, none below its slot's next offset.
 *  - `records` counts what was delivered and not released: a handle is not destroyed under them.
 */
#include "broker/kafka_consumer.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "broker/kafka_error.h"
#include "broker/kafka_reader.h"

#include <stdlib.h>

static const struct consumer_ops consumer_ops;

static struct kafka_consumer *of(struct consumer *base)
{
    ensure(base->ops == &consumer_ops);
    return (struct kafka_consumer *)base;
}

/* ---- Records ---- */

enum { KAFKA_VALUE_IN_BATCH_VERSION = 0x020002ff };

/* Whether the record has no headers, seen without rd_kafka_message_headers(), which allocates 512
   bytes to learn that (a tenth of a pass-through's CPU). In librdkafka 2.0.2 a non-empty value
   points into the fetched batch, and in record format v2 the number of headers follows it there:
   docs/decisions/0009. */
static bool surely_no_headers(const rd_kafka_message_t *from)
{
    return rd_kafka_version() == KAFKA_VALUE_IN_BATCH_VERSION && from->payload != NULL &&
           from->len > 0 && ((const uint8_t *)from->payload)[from->len] == 0;
}

static void fill_headers(const rd_kafka_message_t *from, struct broker_record *record)
{
    if (surely_no_headers(from)) {
        return;
    }
    rd_kafka_headers_t *list = NULL;
    if (rd_kafka_message_headers(from, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    size_t count = rd_kafka_header_cnt(list);
    if (count == 0) {
        return;
    }
    struct header *headers = memory_allocate(count * sizeof *headers);
    for (size_t i = 0; i < count; i++) {
        struct header *to = &headers[i];
        rd_kafka_resp_err_t code =
            rd_kafka_header_get_all(list, i, &to->name, &to->value.data, &to->value.size);
        ensure(code == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    record->headers = headers;
    record->header_count = (uint32_t)count;
}

static void deliver(struct kafka_consumer *consumer, struct kafka_slot *slot,
                    rd_kafka_message_t *from, struct consumer_event *event)
{
    ensure(from->offset >= slot->next);
    slot->next = from->offset + 1;
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(from, &type);
    event->kind = CONSUMER_RECORD;
    event->slot = slot->slot;
    event->offset = from->offset;
    event->record = (struct broker_record){
        .key = {from->key, from->key_len},
        .value = {from->payload, from->len},
        .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? BROKER_NO_TIMESTAMP : timestamp,
        .offset = from->offset,
        .slot = slot->slot,
        .handle = from};
    fill_headers(from, &event->record);
    consumer->records++;
}

static void consumer_drop(struct consumer *base, struct broker_record *record)
{
    ensure(record->handle != NULL && of(base)->records > 0);
    free((void *)(uintptr_t)record->headers);
    rd_kafka_message_destroy(record->handle);
    of(base)->records--;
    record->handle = NULL;
    record->headers = NULL;
}

/* A handle that has ended says so once in its queue; the reason is kept apart. */
static enum status fatal_error(rd_kafka_t *rk, struct error *error)
{
    ensure(rk != NULL);
    char words[256] = "";
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(rk, words, sizeof words);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = RD_KAFKA_RESP_ERR__FATAL;
    }
    enum status status = kafka_error_set(error, code, "consumer", words);
    if (status != STATUS_FATAL) {
        error->status = STATUS_FATAL;
    }
    return STATUS_FATAL;
}

/* librdkafka may say that a topic is missing while its metadata is on the way: the probe decides.
 */
static enum status missing_topic(struct kafka_consumer *consumer, const rd_kafka_message_t *from,
                                 struct error *error)
{
    ensure(kafka_error_missing(from->err));
    const char *topic = from->rkt == NULL ? NULL : rd_kafka_topic_name(from->rkt);
    int32_t count = 0;
    enum status status =
        topic == NULL ? STATUS_OK : kafka_partition_count(consumer->broker, topic, &count, error);
    if (status == STATUS_NOT_FOUND) {
        return kafka_error_set(error, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, topic, NULL);
    }
    return error_set(error, STATUS_RETRY, ERROR_NO_TOPIC, "consumer: %s",
                     rd_kafka_message_errstr(from));
}

/* What a record-shaped error means; STATUS_OK with CONSUMER_NOTHING: go on polling. */
static enum status read_error(struct kafka_consumer *consumer, rd_kafka_t *rk,
                              const rd_kafka_message_t *from, struct consumer_event *event,
                              struct error *error)
{
    ensure(from->err != RD_KAFKA_RESP_ERR_NO_ERROR);
    struct kafka_slot *slot =
        from->rkt == NULL ? NULL : kafka_slots_find(&consumer->slots, from->rkt, from->partition);
    event->kind = CONSUMER_NOTHING;
    switch (from->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (slot != NULL && from->offset >= slot->next) {
            slot->next = from->offset;
            event->kind = CONSUMER_END;
            event->slot = slot->slot;
            event->offset = slot->next;
        }
        return STATUS_OK;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        if (slot != NULL) {
            event->kind = CONSUMER_OFFSET_LOST;
            event->slot = slot->slot;
            event->offset = slot->next;
        }
        return STATUS_OK;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        log_warn("broker", "the group gave this member up: no poll within callback_timeout");
        consumer->lost = true; /* CONSUMER_LOST follows */
        return STATUS_OK;
    case RD_KAFKA_RESP_ERR__FATAL:
        return fatal_error(rk, error);
    default:
        break;
    }
    if (kafka_error_missing(from->err)) {
        return missing_topic(consumer, from, error);
    }
    enum status status =
        kafka_error_set(error, from->err, "consumer", rd_kafka_message_errstr(from));
    bool passing = status == STATUS_ABORT || (status == STATUS_FATAL && error->code == ERROR_OTHER);
    if (passing) { /* librdkafka goes on by itself */
        error->status = status = STATUS_RETRY;
    }
    return status;
}

/* One record, end or error from a queue; CONSUMER_NOTHING for what is not wanted. Takes `from`. */
static enum status take(struct kafka_consumer *consumer, rd_kafka_t *rk, rd_kafka_message_t *from,
                        struct consumer_event *event, struct error *error)
{
    ensure(from != NULL && event->kind == CONSUMER_NOTHING);
    enum status status = STATUS_OK;
    bool waiting = consumer->rebalance != CONSUMER_NOTHING;
    if (from->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = read_error(consumer, rk, from, event, error);
        if (waiting) {
            event->kind = CONSUMER_NOTHING;
        }
    } else if (!waiting) {
        struct kafka_slot *slot = kafka_slots_find(&consumer->slots, from->rkt, from->partition);
        if (slot != NULL && !slot->paused && from->offset >= slot->next) {
            deliver(consumer, slot, from, event);
            return STATUS_OK;
        }
    }
    rd_kafka_message_destroy(from);
    return status;
}

static bool report_rebalance(struct kafka_consumer *consumer, struct consumer_event *event)
{
    if (consumer->rebalance == CONSUMER_NOTHING || consumer->reported) {
        return false;
    }
    consumer->reported = true;
    ensure(consumer->rebalance >= CONSUMER_ASSIGNED);
    event->kind = consumer->rebalance;
    if (event->kind == CONSUMER_ASSIGNED) {
        event->partitions = consumer->partitions;
        event->partition_count = consumer->partition_count;
    }
    return true;
}

static rd_kafka_message_t *next_message(struct kafka_consumer *consumer, int timeout_ms)
{
    ensure(timeout_ms >= 0);
    if (consumer->member.rk != NULL) {
        return rd_kafka_consumer_poll(consumer->member.rk, timeout_ms);
    }
    if (consumer->queue == NULL) { /* nothing was ever assigned */
        clock_sleep_ms(clock_system(), timeout_ms);
        return NULL;
    }
    return rd_kafka_consume_queue(consumer->queue, timeout_ms);
}

static enum status consumer_next(struct consumer *base, int64_t timeout_ms,
                                 struct consumer_event *event, struct error *error)
{
    struct kafka_consumer *consumer = of(base);
    event->kind = CONSUMER_NOTHING;
    int64_t end = 0; /* looked up only when something unwanted came */
    int64_t rest = timeout_ms;
    rd_kafka_t *rk = consumer->member.rk != NULL ? consumer->member.rk : consumer->reader.rk;
    for (;;) {
        if (report_rebalance(consumer, event)) {
            return STATUS_OK;
        }
        rd_kafka_message_t *from = next_message(consumer, kafka_timeout(rest));
        if (from == NULL) {
            (void)report_rebalance(consumer, event);
            return STATUS_OK;
        }
        enum status status = take(consumer, rk, from, event, error);
        if (status != STATUS_OK || event->kind != CONSUMER_NOTHING) {
            return status;
        }
        int64_t now = clock_monotonic_ms(clock_system());
        end = end == 0 ? now + timeout_ms : end;
        rest = end - now;
        if (rest < 0) {
            return STATUS_OK;
        }
    }
}

static enum status consumer_next_restore(struct consumer *base, uint32_t number, int64_t timeout_ms,
                                         struct consumer_event *event, struct error *error)
{
    struct kafka_consumer *consumer = of(base);
    event->kind = CONSUMER_NOTHING;
    struct kafka_slot *slot = kafka_slots_get(&consumer->slots, number);
    ensure(slot != NULL && slot->restore && slot->queue != NULL);
    if (consumer->rebalance != CONSUMER_NOTHING) {
        return STATUS_OK;
    }
    int64_t end = clock_monotonic_ms(clock_system()) + timeout_ms;
    for (;;) {
        int64_t rest = end - clock_monotonic_ms(clock_system());
        rd_kafka_message_t *from = rd_kafka_consume_queue(slot->queue, kafka_timeout(rest));
        if (from == NULL) {
            return STATUS_OK;
        }
        enum status status = take(consumer, consumer->reader.rk, from, event, error);
        if (status != STATUS_OK || event->kind != CONSUMER_NOTHING || rest < 0) {
            return status;
        }
    }
}

/* ---- Assignment ---- */

static void stop_slot(struct kafka_slot *slot)
{
    ensure(slot->topic != NULL);
    kafka_reader_stop(slot->topic, slot->partition);
    if (slot->queue != NULL) {
        rd_kafka_queue_destroy(slot->queue);
        slot->queue = NULL;
    }
}

static bool through_reader(const struct kafka_consumer *consumer, const struct kafka_slot *slot)
{
    return slot->restore || consumer->member.rk == NULL;
}

/* A restore slot that goes on where it is keeps what was fetched for it. */
static bool goes_on(struct kafka_slot *was, struct kafka_slots *fresh)
{
    if (was->queue == NULL) {
        return false;
    }
    struct kafka_slot *is = kafka_slots_find(fresh, was->topic, was->partition);
    if (is == NULL || !is->restore || is->slot != was->slot || is->next != was->next ||
        is->paused != was->paused) {
        return false;
    }
    ensure(is->queue == NULL);
    is->queue = was->queue;
    was->queue = NULL;
    return true;
}

static void pause_in_handle(struct kafka_consumer *consumer, const struct kafka_slot *slot,
                            bool paused)
{
    rd_kafka_t *rk = through_reader(consumer, slot) ? consumer->reader.rk : consumer->member.rk;
    ensure(rk != NULL);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(slot->topic), slot->partition);
    if (paused) {
        rd_kafka_pause_partitions(rk, list);
    } else {
        rd_kafka_resume_partitions(rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* Replaces the slots; what is read through the reader starts and stops here. */
static enum status replace_slots(struct kafka_consumer *consumer,
                                 const struct consumer_assignment *assignment, size_t count,
                                 struct error *error)
{
    struct kafka_slots fresh;
    kafka_slots_init(&fresh, assignment, count, consumer->member.rk, consumer->reader.rk);
    for (size_t i = 0; i < consumer->slots.count; i++) {
        struct kafka_slot *was = &consumer->slots.items[i];
        bool kept = goes_on(was, &fresh);
        if (was->paused && !kept) { /* librdkafka would remember it for the next assignment */
            pause_in_handle(consumer, was, false);
        }
        if (through_reader(consumer, was) && !kept) {
            stop_slot(was);
        }
    }
    kafka_slots_finish(&consumer->slots);
    consumer->slots = fresh;
    for (size_t i = 0; i < fresh.count; i++) {
        struct kafka_slot *slot = &consumer->slots.items[i];
        if (!through_reader(consumer, slot) || slot->queue != NULL) {
            continue;
        }
        ensure(consumer->reader.rk != NULL);
        if (slot->restore) {
            slot->queue = rd_kafka_queue_new(consumer->reader.rk);
        }
        enum status status =
            kafka_reader_start(slot->topic, slot->partition, slot->next,
                               slot->restore ? slot->queue : consumer->queue, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status open_reader(struct kafka_consumer *consumer,
                               const struct consumer_assignment *assignment, size_t count,
                               struct error *error)
{
    bool wanted = false;
    for (size_t i = 0; i < count; i++) {
        wanted = wanted || assignment[i].restore || consumer->member.rk == NULL;
    }
    if (!wanted || consumer->reader.rk != NULL) {
        return STATUS_OK;
    }
    enum status status =
        kafka_reader_open(&consumer->reader, consumer->broker, consumer->uncommitted, error);
    if (status == STATUS_OK && consumer->member.rk == NULL) {
        ensure(consumer->queue == NULL);
        consumer->queue = rd_kafka_queue_new(consumer->reader.rk);
    }
    return status;
}

/* A member that restores no more gives the handle back, unless records of it are still out. */
static void close_idle_reader(struct kafka_consumer *consumer)
{
    if (consumer->reader.rk == NULL || consumer->member.rk == NULL || consumer->records > 0) {
        return;
    }
    for (size_t i = 0; i < consumer->slots.count; i++) {
        if (consumer->slots.items[i].restore) {
            return;
        }
    }
    ensure(consumer->queue == NULL); /* a plain reader's */
    kafka_handle_close(&consumer->reader);
}

static enum status consumer_set(struct consumer *base, const struct consumer_assignment *assignment,
                                size_t count, struct error *error)
{
    ensure(count == 0 || assignment != NULL);
    struct kafka_consumer *consumer = of(base);
    if (consumer->rebalance == CONSUMER_REVOKED || consumer->rebalance == CONSUMER_LOST) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                         "the assignment was taken back before it was answered");
    }
    enum status status = open_reader(consumer, assignment, count, error);
    if (status == STATUS_OK) {
        status = replace_slots(consumer, assignment, count, error);
    }
    if (status == STATUS_OK && consumer->member.rk != NULL) {
        status = kafka_group_assign(consumer, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < consumer->slots.count; i++) {
        if (consumer->slots.items[i].paused) {
            pause_in_handle(consumer, &consumer->slots.items[i], true);
        }
    }
    consumer->rebalance = CONSUMER_NOTHING;
    consumer->answered = true;
    close_idle_reader(consumer);
    return STATUS_OK;
}

static enum status consumer_unset(struct consumer *base, struct error *error)
{
    struct kafka_consumer *consumer = of(base);
    enum status status = replace_slots(consumer, NULL, 0, error);
    ensure(status == STATUS_OK);
    close_idle_reader(consumer);
    if (consumer->member.rk == NULL) {
        return STATUS_OK;
    }
    return kafka_group_unassign(consumer, error);
}

static enum status consumer_hold(struct consumer *base, uint32_t number, bool paused,
                                 struct error *error)
{
    (void)error;
    struct kafka_consumer *consumer = of(base);
    struct kafka_slot *slot = kafka_slots_get(&consumer->slots, number);
    ensure(slot != NULL);
    if (slot->paused != paused) {
        pause_in_handle(consumer, slot, paused);
        slot->paused = paused;
    }
    return STATUS_OK;
}

/* ---- Life ---- */

static void consumer_end(struct consumer *base)
{
    struct kafka_consumer *consumer = of(base);
    ensure(consumer->records == 0); /* their handle cannot be destroyed under them */
    consumer->closing = true;
    struct error error;
    (void)replace_slots(consumer, NULL, 0, &error);
    if (consumer->queue != NULL) {
        rd_kafka_queue_destroy(consumer->queue);
    }
    kafka_handle_close(&consumer->reader);
    kafka_group_forget(consumer);
    kafka_handle_close(&consumer->member);
    free(consumer->group);
    free(consumer);
}

static const struct consumer_ops consumer_ops = {
    .poll = consumer_next,
    .poll_restore = consumer_next_restore,
    .release = consumer_drop,
    .assign = consumer_set,
    .unassign = consumer_unset,
    .pause = consumer_hold,
    .committed = kafka_group_committed,
    .owns = kafka_group_owns,
    .close = consumer_end,
};

enum status kafka_consumer_open(struct broker *base, const struct consumer_options *options,
                                struct consumer **out, struct error *error)
{
    ensure(options->group == NULL || !options->uncommitted);
    struct kafka_consumer *consumer = memory_allocate(sizeof *consumer);
    consumer->base.ops = &consumer_ops;
    consumer->broker = (struct broker_kafka *)base;
    consumer->group = memory_text(options->group);
    consumer->uncommitted = options->uncommitted;
    enum status status =
        options->group == NULL ? STATUS_OK : kafka_group_join(consumer, options, error);
    if (status != STATUS_OK) {
        consumer_end(&consumer->base);
        return status;
    }
    *out = &consumer->base;
    return STATUS_OK;
}
