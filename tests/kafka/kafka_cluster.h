/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka cluster: what the tests on a real broker share. The broker is the one in LEAT_KAFKA
 * (HOST:PORT), else the one that ctest's fixture starts for this build. Every test makes topics and
 * groups of its own, so that tests may run at once and again.
 */
#ifndef LEAT_TESTS_KAFKA_CLUSTER_H
#define LEAT_TESTS_KAFKA_CLUSTER_H

#include "broker/broker.h"

enum { NAME_SIZE = 64 };

/** Settings of the tests: session 6 s, transactions 10 s, callbacks 60 s. */
struct broker_settings cluster_settings(void);
/** Opens the broker; a failure fails the test. */
struct broker *cluster_open(void);
struct broker *cluster_open_with(const struct broker_settings *settings);

/** A name that no other test run has. */
void cluster_name(char name[NAME_SIZE], const char *what);
/** The same, of a topic that is created with these properties. */
void cluster_topic(struct broker *broker, char name[NAME_SIZE], int32_t partitions,
                   const struct broker_property *properties, size_t count);

/** A producer that is ready. */
struct producer *cluster_producer(struct broker *broker, const char *id);
/** Sends one record of that value (key "k") to an open transaction; `origin` is its own. */
void cluster_send(struct producer *producer, const char *topic, int32_t partition,
                  const char *value, uint64_t origin);
/** Flushes and commits. */
void cluster_commit(struct producer *producer);
/** One committed and settled transaction with these comma-separated values. */
void cluster_write(struct broker *broker, const char *topic, int32_t partition, const char *values);

/** Waits until every transaction of the partition has its marker: a commit returns before. */
void cluster_settle(struct broker *broker, const char *topic, int32_t partition);

/** A plain reader of one partition as slot 0. */
struct consumer *cluster_reader(struct broker *broker, const char *topic, int32_t partition,
                                int64_t offset, bool uncommitted);
/** Reads until the end of slot 0; values with a comma between them; the end's offset in `end`. */
void cluster_read_to_end(struct consumer *consumer, char *text, size_t size, int64_t *end);
/** The same of a restore slot. */
void cluster_restore_to_end(struct consumer *consumer, uint32_t slot, char *text, size_t size,
                            int64_t *end);

/** A member of a group that reads one topic. */
struct consumer *cluster_member(struct broker *broker, const char *group, const char *instance,
                                const char *topic);
/** Polls until an event of that kind, at most 15 s; releases records that come before. */
struct consumer_event cluster_await(struct consumer *consumer, enum consumer_event_kind kind);
/** Answers ASSIGNED: slot = partition, from these offsets (NULL: 0). */
void cluster_take(struct consumer *consumer, const struct consumer_event *assigned,
                  const int64_t *offsets);

int64_t cluster_now_ms(void);

#endif
