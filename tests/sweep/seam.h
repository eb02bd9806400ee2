/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seam: wrappers around a broker, stores and the system that call point_enter and point_leave
 * around every call, and pass everything else on.
 */
#ifndef LEAT_SWEEP_SEAM_H
#define LEAT_SWEEP_SEAM_H

#include "broker/broker.h"
#include "state/store.h"

/** Takes `inner`; broker_close of the answer closes both. Consumers and producers opened through it
 * are wrapped as well. */
struct broker *seam_broker_take(struct broker *inner);
/** For worker_options.store_open: store_lmdb_open, wrapped. */
enum status seam_store_open(const char *directory, const struct store_options *options,
                            struct store **store, struct error *error);
/** Canary `early`: commits what the open stores hold and begins again. */
void seam_store_commit_all(void);

/** Files below `directory` have points from now on. */
void seam_watch(const char *directory);
/** What getrandom gives from now on. */
void seam_seed(uint64_t seed);
/** From now on the calling thread's allocations count, and plan->allocation fails. */
void seam_memory_watch(bool on);
/** Whether this build can fail allocations (a sanitizer has an allocator of its own). */
bool seam_memory_possible(void);

/** The body of a wrapper: a failure that was planned, or `expression`. */
#define SEAM_CALL(call, error, expression)                                                         \
    const struct fault *fault = point_enter(call);                                                 \
    if (fault != NULL && !fault->applied) {                                                        \
        return point_refuse(call, fault, error);                                                   \
    }                                                                                              \
    enum status status = (expression);                                                             \
    point_leave(call);                                                                             \
    return fault != NULL && status == STATUS_OK ? point_refuse(call, fault, error) : status

#endif
