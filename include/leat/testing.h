/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file testing.h
 * A driver that runs one operator, or a whole topology, inside a test: no broker, no threads, no
 * waiting.
 *
 * The operator runs in the engine's own task: parameters, stores, timers, failures and what a
 * failure undoes are the real ones, and each record is committed alone. The store is a real one in
 * a folder of its own under TMPDIR, removed by leat_driver_destroy. The wall clock stands still
 * until it is moved.
 *
 * What it leaves out: partitions (there is one of everything), the policies on_error, retries and
 * backoff (a failure is the answer of the call), batching of commits, and other instances.
 *
 * **Lifetimes.** Keys and values that the driver hands out live until leat_driver_destroy.
 * **Names.** A wrong topic, port or store is a bug of the test: it ends the process with a line.
 * **Threads.** One thread a driver; several drivers in several threads are fine.
 *
 * Link with leat::testing. Not part of the operator ABI: build your tests with the Leat you have.
 */
#ifndef LEAT_TESTING_H
#define LEAT_TESTING_H

#include "leat/operator.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct leat_driver leat_driver;

/**
 * A driver for one operator, called node "test". `params`: names and values in turn, as text, ended
 * by NULL; NULL for none. Its inputs and outputs are called like its ports. Never NULL. When
 * descriptor, parameters or init are refused, leat_driver_error says why, and everything that is
 * sent answers LEAT_ERR_FATAL.
 */
leat_driver *leat_driver_create(const leat_operator *descriptor, const char *const *params);
/** A driver for the topology in `file`, operators and all. Its inputs and outputs are called like
 * the topics of its sources, sinks and repartitions. A sink's topic is not read again. Else as
 * above. */
leat_driver *leat_driver_load(const char *file);
/** Closes the operators, removes the stores. Takes NULL. */
void leat_driver_destroy(leat_driver *driver);

/** Text of the last failure; "" after a call that succeeded. Until the next call. */
const char *leat_driver_error(const leat_driver *driver);

/** Hands in a record, with the timers that its timestamp makes due before it and what it makes due
 * after it; a topology takes it through all its parts. `to` NULL = the first input. Origin fields
 * are the driver's to fill. LEAT_ERR_RECORD: undone without a trace. LEAT_ERR_RETRY,
 * LEAT_ERR_FATAL: undone, and the operators were closed and initialised again, as after an abort.
 */
leat_status leat_driver_send(leat_driver *driver, const char *to, const leat_record *record);
/** The same for text; NULL = null. */
leat_status leat_driver_send_text(leat_driver *driver, const char *to, const char *key,
                                  const char *value, int64_t timestamp_ms);

/** Takes the next record of an output; false when there is none. `from` NULL = the first output. */
bool leat_driver_read(leat_driver *driver, const char *from, leat_record *record);

/** The value of a key: LEAT_OK, or LEAT_NOT_FOUND. `store` is "store" or "node/store". */
leat_status leat_driver_get(leat_driver *driver, const char *store, leat_bytes key,
                            leat_bytes *value);
/** How many keys a store holds. */
uint64_t leat_driver_count(leat_driver *driver, const char *store);
/** How many durable timers are set, of all nodes. */
uint64_t leat_driver_timer_count(leat_driver *driver);
/** What leat_count added up to. */
int64_t leat_driver_counted(leat_driver *driver, const char *node, const char *name);

/** Wall clock in ms; it begins at 0. */
int64_t leat_driver_wall_time(const leat_driver *driver);
/** Moves the wall clock forward, at once, and runs the timers that are due then. The first failure
 * is the answer; a timer that failed with LEAT_ERR_RECORD is dropped. */
leat_status leat_driver_advance(leat_driver *driver, int64_t ms);

/** As after a crash: operators and stores are closed and opened again. What was committed stays,
 * the memory of the operators does not. */
leat_status leat_driver_restart(leat_driver *driver);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif
