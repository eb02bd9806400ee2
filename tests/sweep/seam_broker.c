/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seam, broker: broker.h with a point around every call. A call that would wait does not: the time
 * it may wait passes at once, and the other thread has its turn.
 */
#include "seam.h"

#include "point.h"
#include "turns.h"

#include <stdlib.h>

struct seam_broker {
    struct broker broker;
    struct broker *inner;
};

struct seam_consumer {
    struct consumer consumer;
    struct consumer *inner;
};

struct seam_producer {
    struct producer producer;
    struct producer *inner;
    bool decided; /* its transaction is committed, but the answer was lost */
};

static struct broker *broker_of(struct broker *broker)
{
    return ((struct seam_broker *)(void *)broker)->inner;
}

static struct consumer *consumer_of(struct consumer *consumer)
{
    return ((struct seam_consumer *)(void *)consumer)->inner;
}

static struct producer *producer_of(struct producer *producer)
{
    return ((struct seam_producer *)(void *)producer)->inner;
}

/* ---- Consumer ---- */

static enum status seam_event(enum status status, const struct consumer_event *event,
                              int64_t timeout_ms)
{
    static const int calls[] = {
        [CONSUMER_RECORD] = CALL_POLL_RECORD,   [CONSUMER_END] = CALL_POLL_END,
        [CONSUMER_OFFSET_LOST] = CALL_POLL_END, [CONSUMER_ASSIGNED] = CALL_POLL_ASSIGNED,
        [CONSUMER_REVOKED] = CALL_POLL_REVOKED, [CONSUMER_LOST] = CALL_POLL_REVOKED};
    if (status == STATUS_OK && event->kind != CONSUMER_NOTHING) {
        point_leave((enum call)calls[event->kind]);
    } else if (status == STATUS_OK && timeout_ms > 0) {
        turns_advance(timeout_ms * 1000);
    }
    return status;
}

static enum status seam_poll(struct consumer *consumer, int64_t timeout_ms,
                             struct consumer_event *event, struct error *error)
{
    const struct fault *fault = point_enter(CALL_POLL);
    if (fault != NULL) {
        return point_refuse(CALL_POLL, fault, error);
    }
    turns_pass();
    enum status status = consumer_poll(consumer_of(consumer), 0, event, error);
    return seam_event(status, event, timeout_ms);
}

static enum status seam_poll_restore(struct consumer *consumer, uint32_t slot, int64_t timeout_ms,
                                     struct consumer_event *event, struct error *error)
{
    const struct fault *fault = point_enter(CALL_RESTORE);
    if (fault != NULL) {
        return point_refuse(CALL_RESTORE, fault, error);
    }
    enum status status = consumer_poll_restore(consumer_of(consumer), slot, 0, event, error);
    return seam_event(status, event, timeout_ms);
}

static void seam_release(struct consumer *consumer, struct broker_record *record)
{
    consumer_release(consumer_of(consumer), record);
}

static enum status seam_assign(struct consumer *consumer,
                               const struct consumer_assignment *assignment, size_t count,
                               struct error *error)
{
    SEAM_CALL(CALL_ASSIGN, error, consumer_assign(consumer_of(consumer), assignment, count, error));
}

static enum status seam_unassign(struct consumer *consumer, struct error *error)
{
    SEAM_CALL(CALL_UNASSIGN, error, consumer_unassign(consumer_of(consumer), error));
}

static enum status seam_pause(struct consumer *consumer, uint32_t slot, bool paused,
                              struct error *error)
{
    return consumer_pause(consumer_of(consumer), slot, paused, error);
}

static enum status seam_committed(struct consumer *consumer, struct broker_offset *offsets,
                                  size_t count, int64_t timeout_ms, struct error *error)
{
    SEAM_CALL(CALL_COMMITTED, error,
              consumer_committed(consumer_of(consumer), offsets, count, timeout_ms, error));
}

static bool seam_owns(struct consumer *consumer)
{
    return point_enter(CALL_OWNS) == NULL && consumer_owns(consumer_of(consumer));
}

static void seam_consumer_close(struct consumer *consumer)
{
    (void)point_enter(CALL_CONSUMER_CLOSE);
    consumer_close(consumer_of(consumer));
    free(consumer);
    point_leave(CALL_CONSUMER_CLOSE);
}

static enum status open_consumer(struct broker *broker, const struct consumer_options *options,
                                 struct consumer **consumer, struct error *error)
{
    static const struct consumer_ops ops = {
        .poll = seam_poll,
        .poll_restore = seam_poll_restore,
        .release = seam_release,
        .assign = seam_assign,
        .unassign = seam_unassign,
        .pause = seam_pause,
        .committed = seam_committed,
        .owns = seam_owns,
        .close = seam_consumer_close,
    };
    struct consumer *inner = NULL;
    enum status status = consumer_open(broker_of(broker), options, &inner, error);
    if (status == STATUS_OK) {
        struct seam_consumer *made = memory_allocate(sizeof *made);
        *made = (struct seam_consumer){{&ops}, inner};
        *consumer = &made->consumer;
    }
    return status;
}

static enum status seam_consumer_open(struct broker *broker, const struct consumer_options *options,
                                      struct consumer **consumer, struct error *error)
{
    SEAM_CALL(CALL_CONSUMER_OPEN, error, open_consumer(broker, options, consumer, error));
}

/* ---- Producer ---- */

static enum status seam_ready(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    SEAM_CALL(CALL_READY, error, producer_ready(producer_of(producer), timeout_ms, error));
}

static enum status seam_topic(struct producer *producer, const char *name, uint32_t *topic,
                              int32_t *partition_count, struct error *error)
{
    SEAM_CALL(CALL_PRODUCER_TOPIC, error,
              producer_topic(producer_of(producer), name, topic, partition_count, error));
}

static enum status seam_begin(struct producer *producer, struct error *error)
{
    SEAM_CALL(CALL_BEGIN, error, producer_begin(producer_of(producer), error));
}

static enum status seam_send(struct producer *producer, const struct broker_output *output,
                             struct error *error)
{
    SEAM_CALL(CALL_SEND, error, producer_send(producer_of(producer), output, error));
}

static enum status seam_flush(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    SEAM_CALL(CALL_FLUSH, error, producer_flush(producer_of(producer), timeout_ms, error));
}

static bool seam_refused(struct producer *producer, uint64_t *origin, struct error *error)
{
    return producer_refused(producer_of(producer), origin, error);
}

static int64_t seam_last_offset(struct producer *producer, uint32_t topic, int32_t partition)
{
    return producer_last_offset(producer_of(producer), topic, partition);
}

static enum status seam_send_offsets(struct producer *producer, struct consumer *consumer,
                                     const struct broker_offset *offsets, size_t count,
                                     struct error *error)
{
    SEAM_CALL(
        CALL_SEND_OFFSETS, error,
        producer_send_offsets(producer_of(producer), consumer_of(consumer), offsets, count, error));
}

static enum status seam_commit(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    struct seam_producer *seam = (struct seam_producer *)(void *)producer;
    if (point_plan() != NULL && point_plan()->early) {
        seam_store_commit_all();
    }
    const struct fault *fault = point_enter(CALL_COMMIT);
    if (seam->decided) { /* the same call again: what was decided is told */
        seam->decided = false;
        point_leave(CALL_COMMIT);
        return STATUS_OK;
    }
    if (fault != NULL && !fault->applied) {
        return point_refuse(CALL_COMMIT, fault, error);
    }
    enum status status = producer_commit(seam->inner, timeout_ms, error);
    seam->decided = fault != NULL && status == STATUS_OK;
    point_leave(CALL_COMMIT);
    return seam->decided ? point_refuse(CALL_COMMIT, fault, error) : status;
}

static enum status seam_abort(struct producer *producer, int64_t timeout_ms, struct error *error)
{
    SEAM_CALL(CALL_ABORT, error, producer_abort(producer_of(producer), timeout_ms, error));
}

static bool seam_suspect(struct producer *producer)
{
    return point_enter(CALL_SUSPECT) != NULL || producer_suspect(producer_of(producer));
}

static void seam_producer_close(struct producer *producer)
{
    (void)point_enter(CALL_PRODUCER_CLOSE);
    producer_close(producer_of(producer));
    free(producer);
    point_leave(CALL_PRODUCER_CLOSE);
}

static enum status open_producer(struct broker *broker, const char *transactional_id,
                                 struct producer **producer, struct error *error)
{
    static const struct producer_ops ops = {
        .ready = seam_ready,
        .topic = seam_topic,
        .begin = seam_begin,
        .send = seam_send,
        .flush = seam_flush,
        .refused = seam_refused,
        .last_offset = seam_last_offset,
        .send_offsets = seam_send_offsets,
        .commit = seam_commit,
        .abort = seam_abort,
        .suspect = seam_suspect,
        .close = seam_producer_close,
    };
    struct producer *inner = NULL;
    enum status status = producer_open(broker_of(broker), transactional_id, &inner, error);
    if (status == STATUS_OK) {
        struct seam_producer *made = memory_allocate(sizeof *made);
        *made = (struct seam_producer){{&ops}, inner, false};
        *producer = &made->producer;
    }
    return status;
}

static enum status seam_producer_open(struct broker *broker, const char *transactional_id,
                                      struct producer **producer, struct error *error)
{
    SEAM_CALL(CALL_PRODUCER_OPEN, error, open_producer(broker, transactional_id, producer, error));
}

/* ---- Broker ---- */

static void seam_close(struct broker *broker)
{
    broker_close(broker_of(broker));
    free(broker);
}

static enum status seam_topic_get(struct broker *broker, const char *name,
                                  struct broker_topic *topic, struct error *error)
{
    SEAM_CALL(CALL_TOPIC_GET, error, broker_topic_get(broker_of(broker), name, topic, error));
}

static enum status seam_topic_list(struct broker *broker, char ***names, size_t *count,
                                   struct error *error)
{
    return broker_topic_list(broker_of(broker), names, count, error);
}

static enum status seam_topic_create(struct broker *broker, const char *name, int32_t partitions,
                                     int32_t replication, const struct broker_property *properties,
                                     size_t count, struct error *error)
{
    SEAM_CALL(CALL_TOPIC_CREATE, error,
              broker_topic_create(broker_of(broker), name, partitions, replication, properties,
                                  count, error));
}

static enum status seam_topic_delete(struct broker *broker, const char *name, struct error *error)
{
    return broker_topic_delete(broker_of(broker), name, error);
}

static enum status seam_log_range(struct broker *broker, const char *topic, int32_t partition,
                                  int64_t *start, int64_t *end, struct error *error)
{
    SEAM_CALL(CALL_LOG_RANGE, error,
              broker_log_range(broker_of(broker), topic, partition, start, end, error));
}

static enum status seam_delete_records(struct broker *broker, const char *topic, int32_t partition,
                                       int64_t before, struct error *error)
{
    return broker_delete_records(broker_of(broker), topic, partition, before, error);
}

static enum status seam_unstable(struct broker *broker, const char *group,
                                 struct broker_offset *offsets, size_t count, int64_t timeout_ms,
                                 struct error *error)
{
    SEAM_CALL(
        CALL_UNSTABLE, error,
        broker_committed_unstable(broker_of(broker), group, offsets, count, timeout_ms, error));
}

static enum status seam_blocking_header(struct broker *broker, const char *topic, int32_t partition,
                                        const char *header, char *value, size_t value_size,
                                        struct error *error)
{
    return broker_blocking_header(broker_of(broker), topic, partition, header, value, value_size,
                                  error);
}

static enum status seam_take_over(struct broker *broker, const char *transactional_id,
                                  struct error *error)
{
    return broker_take_over(broker_of(broker), transactional_id, error);
}

struct broker *seam_broker_take(struct broker *inner)
{
    static const struct broker_ops ops = {
        .close = seam_close,
        .topic_get = seam_topic_get,
        .topic_list = seam_topic_list,
        .topic_create = seam_topic_create,
        .topic_delete = seam_topic_delete,
        .log_range = seam_log_range,
        .delete_records = seam_delete_records,
        .committed_unstable = seam_unstable,
        .blocking_header = seam_blocking_header,
        .take_over = seam_take_over,
        .consumer_open = seam_consumer_open,
        .producer_open = seam_producer_open,
    };
    struct seam_broker *made = memory_allocate(sizeof *made);
    *made = (struct seam_broker){{&ops, inner->commit_gap_us}, inner};
    return &made->broker;
}
