/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local chain: the smallest exactly-once application, to be stressed: numbered records go into
 * `in`, workers of one group pass them to `out` with their offsets in one transaction, and whoever
 * reads `out` must find every number once and in order. Fails by ending the process with a line.
 */
#ifndef LEAT_TESTS_LOCAL_CHAIN_H
#define LEAT_TESTS_LOCAL_CHAIN_H

#include "broker/broker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CHAIN_PARTITIONS = 4, CHAIN_SOURCES_MOST = 8 };

_Noreturn void chain_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct broker *chain_open(const char *directory);
/** Creates `in` and `out`. */
void chain_topics(struct broker *broker);

/** A worker: joins, passes records on, recovers from whatever it is told. Ends when *stop. Now and
 * then it aborts or starts anew by itself, by its seed. */
void chain_work(const char *directory, int number, uint64_t seed, const atomic_bool *stop);

/** Writes `count` records of a source in transactions of random size, some of which it aborts. */
void chain_write(const char *directory, int source, int64_t count, uint64_t seed);

/** Reads `out` until every source's `count` records are there; fails at a gap, a duplicate, a wrong
 * order, or after patience_ms without one new record. */
void chain_check(struct broker *broker, int sources, int64_t count, int64_t patience_ms);

#endif
