/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka producer: what kafka_producer.c (topics, records, reports) and kafka_transaction.c
 * (fencing, begin to end) share.
 */
#ifndef LEAT_BROKER_KAFKA_PRODUCER_H
#define LEAT_BROKER_KAFKA_PRODUCER_H

#include "broker/kafka_handle.h"

struct kafka_producer;

/** A partition as written to: what the present transaction has done there. */
struct kafka_written {
    uint64_t transaction; /* that `offset` belongs to */
    int64_t offset;       /* of the last acknowledged record */
    size_t unsent;        /* bytes since the last flush; of topics with a low limit */
};

/** The opaque of a topic handle of this producer. */
struct kafka_output_topic {
    rd_kafka_topic_t *handle;
    char *name;
    int32_t partition_count;
    struct kafka_written *partitions;
    struct kafka_limits limits;  /* a copy, checked before each send */
    struct kafka_limits *shared; /* for `narrow` */
};

struct kafka_producer {
    struct producer base;
    struct broker_kafka *broker;
    char *id; /* transactional; NULL = none */
    struct kafka_handle handle;

    /* The fencing thread, until ready. */
    pthread_t thread;
    pthread_mutex_t lock; /* guards fenced, fence_status, fence_error while the thread runs */
    pthread_cond_t changed;
    bool fencing, fenced, ready;
    atomic_bool stop;
    enum status fence_status;
    struct error fence_error;

    struct kafka_output_topic **topics;
    uint32_t topic_count;
    bool compresses;      /* sizes on the wire are not known here */
    uint64_t transaction; /* number of the present one */
    uint64_t queued, reported;
    uint32_t since_poll, since_flush;
    int64_t wall_ms; /* when a timestamp was last judged by the clock */
    bool committing; /* a commit was begun and its outcome is open */

    /* Of the present transaction. */
    bool failed, refused;
    struct error failure; /* the first */
    struct kafka_output_topic *refused_topic;
    int32_t refused_partition;
    uint64_t refused_origin; /* the first of them */
    size_t refused_count;    /* records refused together with it */
};

/** In its own file: the transactional operations. */
enum status kafka_producer_ready(struct producer *, int64_t, struct error *);
enum status kafka_producer_begin(struct producer *, struct error *);
enum status kafka_producer_send_offsets(struct producer *, struct consumer *,
                                        const struct broker_offset *, size_t, struct error *);
enum status kafka_producer_commit(struct producer *, int64_t, struct error *);
enum status kafka_producer_abort(struct producer *, int64_t, struct error *);
/** Starts, and ends and waits for, the fencing thread. */
enum status kafka_producer_fence(struct kafka_producer *producer, struct error *error);
void kafka_producer_unfence(struct kafka_producer *producer);

/** The handle's fatal error as a status, or STATUS_OK. */
enum status kafka_producer_fatal(struct kafka_producer *producer, struct error *error);

#endif
