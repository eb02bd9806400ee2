/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local environment: the LMDB environment of one embedded log, opened once a process and shared by
 * all its brokers, consumers and producers. Knows how to read, to write and to grow; what the
 * rows mean is the business of local_log, local_group and local_topic.
 *
 * Invariants: one environment a directory and process (LMDB forbids two); full sync; nobody keeps a
 * read transaction across a call of broker.h; every write goes through local_write; the map is
 * resized only under `gate` held for writing, transactions run under it held for reading.
 */
#ifndef LEAT_BROKER_LOCAL_ENVIRONMENT_H
#define LEAT_BROKER_LOCAL_ENVIRONMENT_H

#include "base/bytes.h"
#include "base/status.h"
#include "broker/local_lock.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct local_upkeep;

struct local_environment {
    struct local_environment *next; /* of the process's list */
    uint32_t references;
    dev_t device;
    ino_t inode;
    char *directory;
    MDB_env *env;
    MDB_dbi topics;     /* name -> struct local_topic */
    MDB_dbi partitions; /* topic id, partition -> struct local_partition */
    MDB_dbi log;        /* topic id, partition, base offset -> batch */
    MDB_dbi producers;  /* transactional.id -> epoch */
    MDB_dbi groups;     /* group -> its members and generation (local_group) */
    MDB_dbi offsets;    /* group, topic, partition -> offset and metadata */
    MDB_dbi facts;      /* name -> number: format, next topic id, grace */
    MDB_dbi graves;     /* id of a deleted topic whose records are still being removed */
    struct local_lock lock;
    pthread_rwlock_t gate;
    _Atomic bool broken; /* LMDB said that this environment must not be used any more */
    struct local_upkeep *upkeep;
};

enum { LOCAL_WRITE_TIMEOUT_MS = 30000 }; /* of calls without a time-out of their own */

/** Opens or joins the process's environment of `directory`, which is created when missing (0700).
 */
enum status local_environment_open(const char *directory, struct local_environment **environment,
                                   struct error *error);
/** Gives one reference back; the last one closes. Takes NULL. */
void local_environment_close(struct local_environment *environment);

/** What LMDB's answer means: NOT_FOUND, MAP_FULL (RETRY; local_write grows and repeats), DISK_FULL,
 * CORRUPT, IO. `what` names the act ("append to topic x"). */
enum status local_failed(struct local_environment *environment, int result, const char *what,
                         struct error *error);

/** Begins a read transaction; *txn NULL makes one, else a reset one is renewed. Pair with _pause
 * (keep for renewal) or _end, at once: never held across a call of broker.h. */
enum status local_read_begin(struct local_environment *environment, MDB_txn **txn,
                             struct error *error);
void local_read_pause(struct local_environment *environment, MDB_txn *txn);
void local_read_end(struct local_environment *environment, MDB_txn *txn);

/** The body of a write transaction. May run more than once (the map was full), so it changes memory
 * only in ways that the next run overwrites. Any other status than OK drops the transaction.
 * `error` is not NULL. */
typedef enum status local_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                               struct error *error);
/** Runs `work` in a write transaction and commits it. STATUS_RETRY/ERROR_TIMED_OUT: not begun. */
enum status local_write(struct local_environment *environment, int64_t timeout_ms, local_work *work,
                        void *argument, struct error *error);

/** Number of commits seen by anyone; cheap. */
static inline uint32_t local_commits(const struct local_environment *environment)
{
    return local_lock_commits(&environment->lock);
}

/** A number of `facts`; `fallback` when absent. */
enum status local_fact(struct local_environment *environment, MDB_txn *txn, const char *name,
                       uint64_t fallback, uint64_t *number, struct error *error);
enum status local_fact_put(struct local_environment *environment, MDB_txn *txn, const char *name,
                           uint64_t number, struct error *error);

static inline MDB_val local_val(const void *data, size_t size)
{
    return (MDB_val){size, (void *)(uintptr_t)data};
}

#endif
