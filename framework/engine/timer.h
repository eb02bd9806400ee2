/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timer: durable keyed timers of a task, and the periodic schedules of its instances.
 *
 * Invariants
 *  - A durable timer is an entry of the table CHANGELOG_TIMERS and goes through it like any other
 * write: changelogged, undone with its unit, restored. Its key is its identity in order of firing:
 *    kind, time (sign bit flipped, so that byte order is numeric order), node, NUL, id, null mark,
 * key.
 *  - Firing removes the entry in the same unit that runs the callback.
 *  - Timers and ticks of one kind fire in order of time; at the same time durable ones first.
 *  - A timer of a node that the topology no longer has, or that takes no timers, stays where it is.
 */
#ifndef LEAT_ENGINE_TIMER_H
#define LEAT_ENGINE_TIMER_H

#include "engine/task.h"

enum status timer_set(struct instance *instance, leat_time_kind kind, uint32_t id, int64_t time_ms,
                      leat_bytes key);
enum status timer_cancel(struct instance *instance, leat_time_kind kind, uint32_t id,
                         int64_t time_ms, leat_bytes key);
/** In init. */
enum status timer_schedule(struct instance *instance, leat_time_kind kind, int64_t interval_ms,
                           uint32_t id);
/** Starts the stream-time schedules at the first record's time. */
void timer_start_schedules(struct task *task, int64_t stream_time);
/** The caches of the earliest timer are to be read from the store again. */
void timer_forget(struct task *task);

#endif
