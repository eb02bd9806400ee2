/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loop: what the two hand-written consume-transform-produce loops share. They are the yardstick
 * that the framework is measured against: plain librdkafka, no framework code, the settings of
 * docs/performance.md.
 *
 * A loop is one member of a group and one transactional producer. Any error ends the program: the
 * broker aborts the open transaction and nothing is lost. At the committed end it prints one line
 * of JSON.
 *
 * Invariants
 *  - next[p] is the offset behind the last record taken of partition p; committed[p] the one that
 * the last committed transaction holds.
 *  - Everything a transaction produced is acknowledged before its offsets are sent.
 */
#ifndef LEAT_BENCH_LOOP_H
#define LEAT_BENCH_LOOP_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_PARTITIONS_MAX = 64 };

struct loop {
    /* From the command line. */
    const char *brokers, *input, *output, *changelog, *group, *state_directory;
    int64_t interval_us, records_max;
    bool follow; /* never ends: for the latency probe, until it is killed */

    rd_kafka_t *consumer, *producer;
    rd_kafka_topic_t *output_topic, *changelog_topic;
    int32_t partition_count;
    int64_t end[LOOP_PARTITIONS_MAX], next[LOOP_PARTITIONS_MAX], committed[LOOP_PARTITIONS_MAX];

    int64_t began_us;    /* the transaction */
    int64_t taken;       /* records of the transaction */
    bool idle;           /* the last loop_take found nothing */
    int64_t undelivered; /* delivery reports that said no */
    int64_t exec_us, first_commit_us, last_commit_us;
    int64_t records, records_first, transactions;
};

/** Reads the command line (exit 2 when it is wrong), joins the group, fences, learns the input's
 * end. */
void loop_open(struct loop *loop, int argc, char **argv);
/** The next input record, or NULL after a short wait. Destroy it. Begins a transaction if none is
 * open. */
rd_kafka_message_t *loop_take(struct loop *loop);
/** Queues a record, copied, waiting while the queue is full. */
void loop_send(struct loop *loop, rd_kafka_topic_t *topic, int32_t partition, const void *key,
               size_t key_size, const void *value, size_t value_size);
/** Whether the transaction is old or large enough, or the input is at its end. */
bool loop_due(struct loop *loop);
/** Flush, offsets, commit. */
void loop_commit(struct loop *loop);
/** Whether every committed offset has reached the end seen at start. */
bool loop_ended(const struct loop *loop);
/** Prints the result, leaves the group, frees. */
void loop_close(struct loop *loop);

int64_t loop_now_us(void);
_Noreturn void loop_fail(const char *what, const char *why);

#endif
