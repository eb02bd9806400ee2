/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka handle: one librdkafka handle with the settings that the protocol needs, its log lines in
 * our log, and an end that is bounded: a destroy that hangs ends the process after a line.
 *
 * Also the private face of struct broker_kafka, shared by the kafka_*.c units.
 */
#ifndef LEAT_BROKER_KAFKA_HANDLE_H
#define LEAT_BROKER_KAFKA_HANDLE_H

#include "broker/broker.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    KAFKA_REQUEST_MS = 10000, /* how long a question to the cluster may take */
    KAFKA_RECORD_MAX = 17825792
};

enum kafka_role {
    KAFKA_PROBE,  /* asks and administrates; reads uncommitted */
    KAFKA_READER, /* reads partitions, or only asks; never joins a group */
    KAFKA_MEMBER, /* of a group */
    KAFKA_PRODUCER
};

struct broker_kafka;
struct kafka_limits;
struct kafka_shared;

/** The opaque of its librdkafka handle; must not move while that lives. */
struct kafka_handle {
    rd_kafka_t *rk; /* NULL = closed */
    struct broker_kafka *broker;
    void *owner;         /* a producer: struct kafka_producer */
    atomic_bool suspect; /* rule 8 */
};

struct kafka_property_list {
    struct broker_property *items;
    size_t count;
};

struct broker_kafka {
    struct broker base;
    int64_t connect_timeout_ms, session_timeout_ms, transaction_timeout_ms, callback_timeout_ms;
    int64_t prefetch_size;
    struct kafka_property_list common, consumer, producer;
    struct kafka_handle probe;
    pthread_mutex_t lock;        /* guards all that follows */
    struct kafka_shared *shared; /* kafka_shared.h */
    struct kafka_limits *limits;
    char trouble[256];  /* librdkafka's last complaint: why nobody answers */
    int64_t trouble_ms; /* when it was last logged */
    bool denied;        /* that complaint was about who we are */
};

/** A configuration for `role` with everything that does not depend on its user; NULL on error
 *  (STATUS_BAD_CONFIG). `read_uncommitted` is for readers. */
rd_kafka_conf_t *kafka_conf(struct broker_kafka *broker, enum kafka_role role,
                            bool read_uncommitted, struct error *error);
/** Sets one property; STATUS_BAD_CONFIG with librdkafka's words. */
enum status kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                           struct error *error);
enum status kafka_conf_set_integer(rd_kafka_conf_t *conf, const char *name, int64_t value,
                                   struct error *error);

/** Takes `conf` in any case. */
enum status kafka_handle_open(struct kafka_handle *handle, struct broker_kafka *broker,
                              enum kafka_role role, rd_kafka_conf_t *conf, struct error *error);
/** Destroys it (a member leaves its group first); nothing on a closed one. Bounded: see above. */
void kafka_handle_close(struct kafka_handle *handle);

/** librdkafka's time-outs are ints. */
int kafka_timeout(int64_t ms);

/* ---- What the broker knows of a topic's limits, kept so that a new producer need not ask ---- */

struct kafka_limits {
    struct kafka_limits *next;
    char *name;
    int64_t asked_us; /* monotonic */
    bool known;       /* false: describing it was denied */
    bool compacted, deleted, create_time;
    int64_t max_message_size, retention_ms, delete_retention_ms;
    int64_t before_max_ms, after_max_ms; /* of timestamps; INT64_MAX = off */
    /* Records between two flushes while a refused one is being looked for, 0 = no search. */
    atomic_int narrow;
};

/** Asks unless asked within `age_ms`; the answer lives as long as the broker. */
enum status kafka_limits_get(struct broker_kafka *broker, const char *topic, int64_t age_ms,
                             struct kafka_limits **limits, struct error *error);
/** Partition count of an existing topic, through the probe; STATUS_NOT_FOUND, never creates it. */
enum status kafka_partition_count(struct broker_kafka *broker, const char *topic, int32_t *count,
                                  struct error *error);
/** One end of a log as this handle's isolation sees it: `end` is RD_KAFKA_OFFSET_BEGINNING or _END.
 *  Takes `timeout_ms` at most; rd_kafka_query_watermark_offsets() waits for as long as a broker is
 *  away, whatever its time-out. */
rd_kafka_resp_err_t kafka_query_offset(rd_kafka_t *rk, const char *topic, int32_t partition,
                                       int64_t end, int timeout_ms, int64_t *offset);
/** What a "missing" code (kafka_error_missing) about a partition means: librdkafka says the same
 *  while its metadata lacks the partition, after an outage. STATUS_RETRY when the broker knows the
 *  partition (and by now the handle does too), else STATUS_FATAL, ERROR_NO_TOPIC. `what` begins the
 *  text. */
enum status kafka_judge_missing(struct broker_kafka *broker, const char *topic, int32_t partition,
                                const char *what, struct error *error);

/* ---- Operations of the seam that live in their own files ---- */

enum status kafka_topic_get(struct broker *, const char *, struct broker_topic *, struct error *);
enum status kafka_topic_list(struct broker *, char ***, size_t *, struct error *);
enum status kafka_topic_create(struct broker *, const char *, int32_t, int32_t,
                               const struct broker_property *, size_t, struct error *);
enum status kafka_topic_delete(struct broker *, const char *, struct error *);
enum status kafka_log_range(struct broker *, const char *, int32_t, int64_t *, int64_t *,
                            struct error *);
enum status kafka_delete_records(struct broker *, const char *, int32_t, int64_t, struct error *);
enum status kafka_committed_unstable(struct broker *, const char *, struct broker_offset *, size_t,
                                     int64_t, struct error *);
enum status kafka_blocking_header(struct broker *, const char *, int32_t, const char *, char *,
                                  size_t, struct error *);
enum status kafka_take_over(struct broker *, const char *, struct error *);
enum status kafka_consumer_open(struct broker *, const struct consumer_options *,
                                struct consumer **, struct error *);
enum status kafka_producer_open(struct broker *, const char *, struct producer **, struct error *);

/** The metadata taken with the present assignment, or NULL when it is not this member's any more.
 */
const rd_kafka_consumer_group_metadata_t *kafka_consumer_metadata(struct consumer *consumer);

/** The delivery report callback of every producer handle. */
void kafka_producer_report(rd_kafka_t *rk, const rd_kafka_message_t *record, void *opaque);

/** Offsets of the seam as librdkafka's list, metadata included; destroy it. */
rd_kafka_topic_partition_list_t *kafka_offset_list(const struct broker_offset *offsets,
                                                   size_t count);
/** The way back: offsets and metadata of a list that answers `offsets`, in any order. An error of
 * one partition is the error of all. */
enum status kafka_offsets_read(struct broker_offset *offsets, size_t count,
                               const rd_kafka_topic_partition_list_t *list, const char *what,
                               struct error *error);

#endif
