/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker steps: the short words that tests of a broker are written in. Each fails the running
 * Criterion test when the broker does not do what it must within the patience.
 */
#ifndef LEAT_TESTS_BROKER_STEPS_H
#define LEAT_TESTS_BROKER_STEPS_H

#include "broker/broker.h"

/** Fails with the error's text unless `status` is `wanted`. */
void must_be_at(enum status status, enum status wanted, const struct error *error, const char *what,
                const char *file, int line);
#define must_be(wanted, call) must_be_at((call), (wanted), &error, #call, __FILE__, __LINE__)
#define must(call) must_be(STATUS_OK, call)

/** A name of this test: prefix-NAME; a static buffer of some, for a few at a time. */
const char *step_name(const char *prefix, const char *name);
void step_topic(struct broker *broker, const char *name, int32_t partitions);
/** Opens and waits until it is ready. */
struct producer *step_producer(struct broker *broker, const char *id, int64_t patience_ms);
/** Sends text records; NULL key or value is null. */
void step_send(struct producer *producer, const char *topic, int32_t partition, const char *key,
               const char *value);
/** Flushes, or flushes and commits. */
void step_flush(struct producer *producer, int64_t patience_ms);
void step_commit(struct producer *producer, int64_t patience_ms);
/** One transaction of `count` records "0", "1", ... in the partition. */
void step_write(struct producer *producer, const char *topic, int32_t partition, int count,
                int64_t patience_ms);
/** Polls until an event other than NOTHING, RETRY passed over. */
void step_event(struct consumer *consumer, int64_t patience_ms, struct consumer_event *event);
/** Polls until an event of this kind; records and ENDs before it are released and dropped. */
void step_until(struct consumer *consumer, enum consumer_event_kind kind, int64_t patience_ms,
                struct consumer_event *event);
/** A plain reader of one partition in slot 0 from an offset. */
struct consumer *step_reader(struct broker *broker, const char *topic, int32_t partition,
                             int64_t offset);
/** Reads to END and returns the values, joined by commas; free it. *end is END's offset. */
char *step_read(struct consumer *consumer, int64_t patience_ms, int64_t *end);
/** Reads until these values have come, and nothing else with them. Kafka answers a commit before
 * its records are stable, so an END may come too early. */
void step_expect(struct consumer *consumer, int64_t patience_ms, const char *wanted);
/** A member of a group; instance NULL = dynamic. */
struct consumer *step_member(struct broker *broker, const char *group, const char *instance,
                             const char *topic);
/** Waits for ASSIGNED; "0,1" = the partitions, sorted, of the one topic; free it. */
char *step_assigned(struct consumer *consumer, int64_t patience_ms);
/** Answers with partition `first` to `last` of the topic from offset 0, slot = partition. */
void step_assign(struct consumer *consumer, const char *topic, int32_t first, int32_t last);
/** Committed offset of a partition; fails on errors. */
int64_t step_committed(struct consumer *consumer, const char *topic, int32_t partition,
                       int64_t patience_ms, char metadata[BROKER_METADATA_SIZE]);

#endif
