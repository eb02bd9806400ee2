/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local lock: the one page that all processes of an embedded log share besides LMDB's own: who
 * writes, and how many commits there were. It gives LMDB's write lock what it lacks: a time-out,
 * the pid of a holder that stands still, and a wake-up of readers.
 *
 * Invariants: the page is made anew by whoever opens the directory alone (so nothing of a crashed
 * kernel survives); a killed holder's lock is given on by the kernel (robust mutex); `commits`
 * changes after every commit.
 */
#ifndef LEAT_BROKER_LOCAL_LOCK_H
#define LEAT_BROKER_LOCAL_LOCK_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct local_page;

struct local_lock {
    int file;
    struct local_page *page;
};

/** Maps (and, when alone, makes) `directory`/writers.lock. ERROR_IO, ERROR_DENIED. */
enum status local_lock_open(struct local_lock *lock, const char *directory, struct error *error);
void local_lock_close(struct local_lock *lock);
/** Takes the write lock. STATUS_RETRY/ERROR_TIMED_OUT names the holder's pid; after 1 s a log line
 *  does. *waited_ms tells how long it took. Any thread; not recursive. */
enum status local_lock_take(struct local_lock *lock, int64_t timeout_ms, int64_t *waited_ms,
                            struct error *error);
void local_lock_release(struct local_lock *lock);
/** Number of commits so far, by anyone; only differences count. */
uint32_t local_lock_commits(const struct local_lock *lock);
/** Counts a commit and wakes those who wait; also used to make waiters look again. */
void local_lock_announce(struct local_lock *lock);
/** Waits until the number of commits is no longer `seen`, at most timeout_ms. */
void local_lock_wait(struct local_lock *lock, uint32_t seen, int64_t timeout_ms);

#endif
