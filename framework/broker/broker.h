/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker: the seam to the log. Three stand behind it: Kafka (broker_kafka.c), the embedded log
 * (broker_local.c) and, in tests, a simulated one.
 *
 *   broker    one cluster, one process: topics, facts about logs, taking over a transaction
 *   consumer  one member of a group (or a plain reader without one) and what it has assigned
 *   producer  one transactional producer (or a plain idempotent one)
 *
 * Contract
 *  - Every call may wait, for no longer than its time-out says or, where it has none, as long as
 * the broker's own limits let it; nothing else in the engine waits. No caller holds a lock, a
 * static or a thread-local across a call.
 *  - A broker may be used by any thread; a consumer and a producer by their one owner thread.
 *  - Offsets are "next to read". The offsets of a log may have gaps (markers, compaction, aborts):
 * "read to the end" is the CONSUMER_END event, never arithmetic.
 *  - Consumers see committed records only, unless opened `uncommitted`.
 *  - Errors: status and code are set here, where the broker answers, once. STATUS_RETRY: the same
 * call again. STATUS_ABORT: abort the transaction, the handles live on. STATUS_FATAL: the handle is
 *    dead (ERROR_FENCED, ERROR_FENCED_INSTANCE, ...): close it, open another.
 */
#ifndef LEAT_BROKER_BROKER_H
#define LEAT_BROKER_BROKER_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    BROKER_TOPIC_SIZE = 250,    /* longest topic name + NUL */
    BROKER_METADATA_SIZE = 256, /* longest offset metadata we write + NUL */
    BROKER_NO_OFFSET = -1,      /* nothing committed */
    BROKER_NO_TIMESTAMP = -1
};

/* ---- Values ---- */

struct broker_property {
    const char *name;
    const char *value;
    bool secret; /* never printed */
};

struct broker_partition {
    const char *topic;
    int32_t partition;
};

/** A committed offset, with the metadata it was committed with. `topic` is the caller's. */
struct broker_offset {
    const char *topic;
    int32_t partition;
    int64_t offset; /* or BROKER_NO_OFFSET */
    char metadata[BROKER_METADATA_SIZE];
};

/** A record as read. Views live until consumer_release (headers included). */
struct broker_record {
    struct bytes key, value;
    int64_t timestamp_ms; /* < 0: none */
    int64_t offset;
    const struct header *headers;
    uint32_t header_count;
    uint32_t slot; /* as given to consumer_assign */
    void *handle;  /* the broker's own; consumer_release frees it */
};

/** A record to be written; all views are copied before producer_send returns. */
struct broker_output {
    uint32_t topic; /* as answered by producer_topic */
    int32_t partition;
    struct bytes key, value;
    const struct header *headers;
    uint32_t header_count;
    int64_t timestamp_ms; /* < 0: the broker's present time */
    uint64_t origin;      /* comes back when the broker refuses it; see producer_refused */
};

struct broker_topic {
    int32_t partition_count;
    bool compacted;              /* cleanup.policy contains compact; neither: not told */
    bool deleted;                /* cleanup.policy contains delete */
    int64_t max_message_size;    /* bytes; -1 unknown */
    int64_t retention_ms;        /* -1 = for ever */
    int64_t delete_retention_ms; /* how long tombstones live */
};

/** What a broker_open needs; everything is copied. */
struct broker_settings {
    const char *directory; /* local */
    int64_t connect_timeout_ms, session_timeout_ms, transaction_timeout_ms, callback_timeout_ms;
    int64_t prefetch_size;                                      /* bytes, per consumer */
    const struct broker_property *common, *consumer, *producer; /* kafka; checked before */
    size_t common_count, consumer_count, producer_count;
};

/* ---- Broker ---- */

struct broker;
struct consumer;
struct producer;
struct consumer_options;
struct consumer_assignment;
struct consumer_event;

struct broker_ops {
    void (*close)(struct broker *);
    enum status (*topic_get)(struct broker *, const char *name, struct broker_topic *,
                             struct error *);
    enum status (*topic_list)(struct broker *, char ***names, size_t *count, struct error *);
    enum status (*topic_create)(struct broker *, const char *name, int32_t partitions,
                                int32_t replication, const struct broker_property *, size_t count,
                                struct error *);
    enum status (*topic_delete)(struct broker *, const char *name, struct error *);
    enum status (*log_range)(struct broker *, const char *topic, int32_t partition, int64_t *start,
                             int64_t *end, struct error *);
    enum status (*delete_records)(struct broker *, const char *topic, int32_t partition,
                                  int64_t before, struct error *);
    enum status (*committed_unstable)(struct broker *, const char *group, struct broker_offset *,
                                      size_t count, int64_t timeout_ms, struct error *);
    enum status (*blocking_header)(struct broker *, const char *topic, int32_t partition,
                                   const char *header, char *value, size_t value_size,
                                   struct error *);
    enum status (*take_over)(struct broker *, const char *transactional_id, struct error *);
    enum status (*consumer_open)(struct broker *, const struct consumer_options *,
                                 struct consumer **, struct error *);
    enum status (*producer_open)(struct broker *, const char *transactional_id, struct producer **,
                                 struct error *);
};

struct broker {
    const struct broker_ops *ops;
    /* How long to leave between a commit and the first record of the next transaction, so that the
       broker's back-off is not met (Kafka: 5000; where markers do not exist: 0). */
    int64_t commit_gap_us;
};

/** Opens Kafka or the embedded log. STATUS_FATAL/ERROR_NO_BROKER when none answers within
 *  connect_timeout_ms (kafka), ERROR_IO, ERROR_DENIED; STATUS_BAD_CONFIG for a property that
 *  librdkafka refuses. Kafka: makes the probe handle (read_uncommitted), one a process. */
enum status broker_kafka_open(const struct broker_settings *settings, struct broker **broker,
                              struct error *error);
/** `directory` is created when missing (0700). */
enum status broker_local_open(const struct broker_settings *settings, struct broker **broker,
                              struct error *error);

/** Why a librdkafka property may not be set here, as a static text that names the key of the
 * topology file to use instead; NULL = allowed. scope: "properties", "consumer" or "producer". */
const char *kafka_property_refusal(const char *scope, const char *name);

/** Consumers and producers must be closed before. */
static inline void broker_close(struct broker *broker)
{
    if (broker != NULL) {
        broker->ops->close(broker);
    }
}
/** STATUS_NOT_FOUND if it does not exist; never creates one. */
static inline enum status broker_topic_get(struct broker *broker, const char *name,
                                           struct broker_topic *topic, struct error *error)
{
    return broker->ops->topic_get(broker, name, topic, error);
}
/** Names in byte order without the broker's own (__...); free each and the array. */
static inline enum status broker_topic_list(struct broker *broker, char ***names, size_t *count,
                                            struct error *error)
{
    return broker->ops->topic_list(broker, names, count, error);
}
/** Waits until every partition has a leader. STATUS_FATAL/ERROR_TOPIC_EXISTS if it was there;
 *  STATUS_RETRY while the cluster counts no broker in.
 *  replication -1 = the broker's default. Properties the broker does not know (of those that only
 *  newer brokers have: message.timestamp.before/after.max.ms) are left out. */
static inline enum status broker_topic_create(struct broker *broker, const char *name,
                                              int32_t partitions, int32_t replication,
                                              const struct broker_property *properties,
                                              size_t count, struct error *error)
{
    return broker->ops->topic_create(broker, name, partitions, replication, properties, count,
                                     error);
}
/** STATUS_NOT_FOUND if it does not exist. */
static inline enum status broker_topic_delete(struct broker *broker, const char *name,
                                              struct error *error)
{
    return broker->ops->topic_delete(broker, name, error);
}
/** Log start and read_uncommitted end, asked for after the call (R5). */
static inline enum status broker_log_range(struct broker *broker, const char *topic,
                                           int32_t partition, int64_t *start, int64_t *end,
                                           struct error *error)
{
    return broker->ops->log_range(broker, topic, partition, start, end, error);
}
/** Deletes the records below `before` (DeleteRecords). */
static inline enum status broker_delete_records(struct broker *broker, const char *topic,
                                                int32_t partition, int64_t before,
                                                struct error *error)
{
    return broker->ops->delete_records(broker, topic, partition, before, error);
}
/** Committed offsets of a group without waiting for open transactions. */
static inline enum status broker_committed_unstable(struct broker *broker, const char *group,
                                                    struct broker_offset *offsets, size_t count,
                                                    int64_t timeout_ms, struct error *error)
{
    return broker->ops->committed_unstable(broker, group, offsets, count, timeout_ms, error);
}
/** Reads, uncommitted, the record at the last stable offset of a partition, the first one of the
 * transaction that blocks it, and copies the value of its header `header`, NUL-terminated.
 * STATUS_NOT_FOUND: nothing blocks, or the record has no such header. */
static inline enum status broker_blocking_header(struct broker *broker, const char *topic,
                                                 int32_t partition, const char *header, char *value,
                                                 size_t value_size, struct error *error)
{
    return broker->ops->blocking_header(broker, topic, partition, header, value, value_size, error);
}
/** One InitProducerId for a foreign transactional id: aborts its open transaction and fences its
 *  owner. One attempt, at most 1 s; STATUS_RETRY when unanswered. */
static inline enum status broker_take_over(struct broker *broker, const char *transactional_id,
                                           struct error *error)
{
    return broker->ops->take_over(broker, transactional_id, error);
}

/* ---- Consumer ---- */

struct consumer_options {
    const char *group;         /* NULL: a plain reader, no group; consumer_assign at will */
    const char *instance_id;   /* NULL: dynamic membership */
    const char *const *topics; /* subscribed, with a group */
    size_t topic_count;
    bool uncommitted; /* plain readers only */
};

/** One partition of the assignment. */
struct consumer_assignment {
    const char *topic; /* copied */
    int32_t partition;
    uint32_t slot;  /* comes back in events; small, the caller's, unique within the assignment */
    int64_t offset; /* where reading begins; never BROKER_NO_OFFSET */
    bool restore;   /* a changelog: its events come from consumer_poll_restore only */
    bool paused;
};

enum consumer_event_kind {
    CONSUMER_NOTHING, /* the time-out passed */
    CONSUMER_RECORD,
    CONSUMER_END, /* slot's partition is read to its (stable) end: `offset` is the position */
    CONSUMER_OFFSET_LOST, /* slot's position is not retained or beyond the end; reading has stopped
                           */
    CONSUMER_ASSIGNED,    /* the group gave `partitions`: answer with consumer_assign */
    CONSUMER_REVOKED,     /* all is taken back, orderly: finish, then consumer_unassign */
    CONSUMER_LOST         /* all was lost: abort, then consumer_unassign */
};

struct consumer_event {
    enum consumer_event_kind kind;
    uint32_t slot;
    int64_t offset;
    struct broker_record record;               /* CONSUMER_RECORD; release it */
    const struct broker_partition *partitions; /* CONSUMER_ASSIGNED; until the next poll */
    size_t partition_count;
};

struct consumer_ops {
    enum status (*poll)(struct consumer *, int64_t timeout_ms, struct consumer_event *,
                        struct error *);
    enum status (*poll_restore)(struct consumer *, uint32_t slot, int64_t timeout_ms,
                                struct consumer_event *, struct error *);
    void (*release)(struct consumer *, struct broker_record *);
    enum status (*assign)(struct consumer *, const struct consumer_assignment *, size_t count,
                          struct error *);
    enum status (*unassign)(struct consumer *, struct error *);
    enum status (*pause)(struct consumer *, uint32_t slot, bool paused, struct error *);
    enum status (*committed)(struct consumer *, struct broker_offset *, size_t count,
                             int64_t timeout_ms, struct error *);
    bool (*owns)(struct consumer *);
    void (*close)(struct consumer *);
};

struct consumer {
    const struct consumer_ops *ops;
};

/** Joins the group in the background. */
static inline enum status consumer_open(struct broker *broker,
                                        const struct consumer_options *options,
                                        struct consumer **consumer, struct error *error)
{
    return broker->ops->consumer_open(broker, options, consumer, error);
}
/** The next event of the inputs and of the group. STATUS_FATAL/ERROR_FENCED_INSTANCE and others:
 * the consumer is dead. STATUS_RETRY: a passing trouble, poll on (already logged at most once a
 * second by the caller). After ASSIGNED, REVOKED or LOST no record comes before the answer; what
 * was fetched before is dropped by the answer. Never delivers below an assigned offset. */
static inline enum status consumer_poll(struct consumer *consumer, int64_t timeout_ms,
                                        struct consumer_event *event, struct error *error)
{
    return consumer->ops->poll(consumer, timeout_ms, event, error);
}
/** The next RECORD, END or OFFSET_LOST of a `restore` slot. */
static inline enum status consumer_poll_restore(struct consumer *consumer, uint32_t slot,
                                                int64_t timeout_ms, struct consumer_event *event,
                                                struct error *error)
{
    return consumer->ops->poll_restore(consumer, slot, timeout_ms, event, error);
}
/** Frees what a RECORD event carries. Any order; may be after the next poll or assign. */
static inline void consumer_release(struct consumer *consumer, struct broker_record *record)
{
    consumer->ops->release(consumer, record);
}
/** Sets the whole assignment, each partition with its own next offset; answers a pending ASSIGNED,
 * or changes the set while none is pending. Everything prefetched is dropped. The first call after
 *  ASSIGNED takes the group metadata that producer_send_offsets uses until the next ASSIGNED. */
static inline enum status consumer_assign(struct consumer *consumer,
                                          const struct consumer_assignment *assignment,
                                          size_t count, struct error *error)
{
    return consumer->ops->assign(consumer, assignment, count, error);
}
/** Answers REVOKED or LOST. */
static inline enum status consumer_unassign(struct consumer *consumer, struct error *error)
{
    return consumer->ops->unassign(consumer, error);
}
/** Pausing drops what was fetched of the slot; resuming fetches it again from the next undelivered.
 */
static inline enum status consumer_pause(struct consumer *consumer, uint32_t slot, bool paused,
                                         struct error *error)
{
    return consumer->ops->pause(consumer, slot, paused, error);
}
/** Stable committed offsets of the group with their metadata (R4). STATUS_RETRY/ERROR_TIMED_OUT
 * while somebody's transaction holds one of them open. No other answer means "none committed" than
 *  STATUS_OK with BROKER_NO_OFFSET. */
static inline enum status consumer_committed(struct consumer *consumer,
                                             struct broker_offset *offsets, size_t count,
                                             int64_t timeout_ms, struct error *error)
{
    return consumer->ops->committed(consumer, offsets, count, timeout_ms, error);
}
/** Whether, as far as is known here, the last answered assignment is still this member's. */
static inline bool consumer_owns(struct consumer *consumer)
{
    return consumer->ops->owns(consumer);
}
/** Leaves the group (a static member does not); takes NULL. Bounded. Release records before. */
static inline void consumer_close(struct consumer *consumer)
{
    if (consumer != NULL) {
        consumer->ops->close(consumer);
    }
}

/* ---- Producer ---- */

struct producer_ops {
    enum status (*ready)(struct producer *, int64_t timeout_ms, struct error *);
    enum status (*topic)(struct producer *, const char *name, uint32_t *topic,
                         int32_t *partition_count, struct error *);
    enum status (*begin)(struct producer *, struct error *);
    enum status (*send)(struct producer *, const struct broker_output *, struct error *);
    enum status (*flush)(struct producer *, int64_t timeout_ms, struct error *);
    bool (*refused)(struct producer *, uint64_t *origin, struct error *);
    int64_t (*last_offset)(struct producer *, uint32_t topic, int32_t partition);
    enum status (*send_offsets)(struct producer *, struct consumer *, const struct broker_offset *,
                                size_t count, struct error *);
    enum status (*commit)(struct producer *, int64_t timeout_ms, struct error *);
    enum status (*abort)(struct producer *, int64_t timeout_ms, struct error *);
    bool (*suspect)(struct producer *);
    void (*close)(struct producer *);
};

struct producer {
    const struct producer_ops *ops;
};

/** Starts a producer. With a transactional id the fencing of R3 (with the pre-fence) goes on in the
 * background until producer_ready says so; nothing else may be called before. NULL: idempotent, no
 * transactions. */
static inline enum status producer_open(struct broker *broker, const char *transactional_id,
                                        struct producer **producer, struct error *error)
{
    return broker->ops->producer_open(broker, transactional_id, producer, error);
}
/** STATUS_OK: the previous transaction of this id has ended and its owner is fenced. STATUS_RETRY:
 * not yet. STATUS_FATAL: authorisation, a broker limit (ERROR_LIMIT names the broker's setting). */
static inline enum status producer_ready(struct producer *producer, int64_t timeout_ms,
                                         struct error *error)
{
    return producer->ops->ready(producer, timeout_ms, error);
}
/** Makes a topic known before the first transaction; small numbers from 0. Never creates the topic:
 *  STATUS_FATAL/ERROR_NO_TOPIC. */
static inline enum status producer_topic(struct producer *producer, const char *name,
                                         uint32_t *topic, int32_t *partition_count,
                                         struct error *error)
{
    return producer->ops->topic(producer, name, topic, partition_count, error);
}
/** Local: the broker's clock starts with the first request of the transaction. */
static inline enum status producer_begin(struct producer *producer, struct error *error)
{
    return producer->ops->begin(producer, error);
}
/** Queues a record; waits while the queue is full. ERROR_TOO_LARGE and ERROR_BAD_TIMESTAMP as
 *  STATUS_BAD_RECORD at once where known here; what only the broker knows comes through flush. */
static inline enum status producer_send(struct producer *producer,
                                        const struct broker_output *output, struct error *error)
{
    return producer->ops->send(producer, output, error);
}
/** Waits until every record is acknowledged. STATUS_BAD_RECORD: the broker refused one for what it
 * is (see producer_refused); STATUS_ABORT: some failed otherwise; STATUS_RETRY: not yet. */
static inline enum status producer_flush(struct producer *producer, int64_t timeout_ms,
                                         struct error *error)
{
    return producer->ops->flush(producer, timeout_ms, error);
}
/** Whether the broker refused a record of this transaction; its origin and why. */
static inline bool producer_refused(struct producer *producer, uint64_t *origin,
                                    struct error *error)
{
    return producer->ops->refused(producer, origin, error);
}
/** Offset of the last acknowledged record of the partition in this transaction, until the next
 *  begin; -1 = none. Definite once producer_commit answered OK, and before that (after flush) if
 *  nobody else writes to the partition: the embedded log gives offsets at commit. */
static inline int64_t producer_last_offset(struct producer *producer, uint32_t topic,
                                           int32_t partition)
{
    return producer->ops->last_offset(producer, topic, partition);
}
/** Puts offsets into the transaction under the group metadata that was taken with the assignment.
 *  STATUS_ABORT/ERROR_NOT_OWNER when the broker fences it; count > 0. */
static inline enum status producer_send_offsets(struct producer *producer,
                                                struct consumer *consumer,
                                                const struct broker_offset *offsets, size_t count,
                                                struct error *error)
{
    return producer->ops->send_offsets(producer, consumer, offsets, count, error);
}
/** STATUS_OK is the only definite yes. STATUS_RETRY/ERROR_TIMED_OUT: the outcome is open, call
 * again (the same call). STATUS_ABORT: definitely not committed. STATUS_FATAL: not known or fenced.
 */
static inline enum status producer_commit(struct producer *producer, int64_t timeout_ms,
                                          struct error *error)
{
    return producer->ops->commit(producer, timeout_ms, error);
}
/** STATUS_RETRY: call again. STATUS_FATAL: close the producer. */
static inline enum status producer_abort(struct producer *producer, int64_t timeout_ms,
                                         struct error *error)
{
    return producer->ops->abort(producer, timeout_ms, error);
}
/** Rule 8: some request of this epoch was answered by a time-out or a broken connection. */
static inline bool producer_suspect(struct producer *producer)
{
    return producer->ops->suspect(producer);
}
/** Takes NULL. Bounded; an open transaction stays open at the broker (Kafka) until fenced. */
static inline void producer_close(struct producer *producer)
{
    if (producer != NULL) {
        producer->ops->close(producer);
    }
}

#endif
