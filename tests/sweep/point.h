/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Point: the named places at which the engine meets the world, and what is planned to happen there:
 * a death before or after the n-th time, or a failure of the n-th call.
 *
 * Each call across a seam (broker.h, store.h, the file system, an operator's callback) has a point
 * before it and, where it changes something, one after it. Nothing in the engine knows of this: the
 * wrappers of seam_broker.c, seam_store.c and seam_system.c and the operator (tally.c) call this.
 *
 * Invariant: the same script reaches the same points in the same order, because the clock is
 * virtual and one thread runs at a time (turns.h); so an occurrence that was counted once can be
 * asked for again.
 */
#ifndef LEAT_SWEEP_POINT_H
#define LEAT_SWEEP_POINT_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { POINT_BEFORE = 1, POINT_AFTER = 2, POINT_BOTH = 3 };

/* NAME, text, which points it has. What only reads has none after: dying there is dying before the
   next call. */
#define POINT_CALLS(X)                                                                             \
    X(TOPIC_GET, "topic_get", POINT_BEFORE)                                                        \
    X(TOPIC_CREATE, "topic_create", POINT_BOTH)                                                    \
    X(LOG_RANGE, "log_range", POINT_BEFORE)                                                        \
    X(UNSTABLE, "committed_unstable", POINT_BEFORE)                                                \
    X(CONSUMER_OPEN, "consumer_open", POINT_BOTH)                                                  \
    X(POLL, "consumer_poll", POINT_BEFORE)                                                         \
    X(POLL_RECORD, "consumer_poll_record", POINT_AFTER)                                            \
    X(POLL_END, "consumer_poll_end", POINT_AFTER)                                                  \
    X(POLL_ASSIGNED, "consumer_poll_assigned", POINT_AFTER)                                        \
    X(POLL_REVOKED, "consumer_poll_revoked", POINT_AFTER)                                          \
    X(RESTORE, "consumer_poll_restore", POINT_BEFORE)                                              \
    X(ASSIGN, "consumer_assign", POINT_BOTH)                                                       \
    X(UNASSIGN, "consumer_unassign", POINT_BOTH)                                                   \
    X(COMMITTED, "consumer_committed", POINT_BEFORE)                                               \
    X(OWNS, "consumer_owns", POINT_BEFORE)                                                         \
    X(CONSUMER_CLOSE, "consumer_close", POINT_BOTH)                                                \
    X(PRODUCER_OPEN, "producer_open", POINT_BOTH)                                                  \
    X(READY, "producer_ready", POINT_BEFORE)                                                       \
    X(PRODUCER_TOPIC, "producer_topic", POINT_BEFORE)                                              \
    X(BEGIN, "producer_begin", POINT_BOTH)                                                         \
    X(SEND, "producer_send", POINT_BOTH)                                                           \
    X(FLUSH, "producer_flush", POINT_BOTH)                                                         \
    X(SEND_OFFSETS, "producer_send_offsets", POINT_BOTH)                                           \
    X(COMMIT, "producer_commit", POINT_BOTH)                                                       \
    X(ABORT, "producer_abort", POINT_BOTH)                                                         \
    X(SUSPECT, "producer_suspect", POINT_BEFORE)                                                   \
    X(PRODUCER_CLOSE, "producer_close", POINT_BOTH)                                                \
    X(STORE_OPEN, "store_open", POINT_BOTH)                                                        \
    X(STORE_CLOSE, "store_close", POINT_BOTH)                                                      \
    X(TABLE_OPEN, "store_table_open", POINT_BOTH)                                                  \
    X(STORE_BEGIN, "store_begin", POINT_BOTH)                                                      \
    X(STORE_COMMIT, "store_commit", POINT_BOTH)                                                    \
    X(STORE_ABORT, "store_abort", POINT_BOTH)                                                      \
    X(STORE_SYNC, "store_sync", POINT_BOTH)                                                        \
    X(META_GET, "store_meta_get", POINT_BEFORE)                                                    \
    X(META_PUT, "store_meta_put", POINT_BOTH)                                                      \
    X(STORE_CLEAR, "store_clear", POINT_BOTH)                                                      \
    X(GET, "store_get", POINT_BEFORE)                                                              \
    X(PUT, "store_put", POINT_BOTH)                                                                \
    X(REMOVE, "store_remove", POINT_BOTH)                                                          \
    X(SCAN, "store_scan", POINT_BEFORE)                                                            \
    X(NEXT, "store_next", POINT_BEFORE)                                                            \
    X(FILE_OPEN, "file_create", POINT_BOTH)                                                        \
    X(FILE_MKDIR, "file_mkdir", POINT_BOTH)                                                        \
    X(FILE_RENAME, "file_rename", POINT_BOTH)                                                      \
    X(FILE_UNLINK, "file_unlink", POINT_BOTH)                                                      \
    X(FILE_RMDIR, "file_rmdir", POINT_BOTH)                                                        \
    X(FILE_TRUNCATE, "file_truncate", POINT_BOTH)                                                  \
    X(FILE_WRITE, "file_write", POINT_BOTH)                                                        \
    X(FILE_SYNC, "file_sync", POINT_BOTH)                                                          \
    X(OPERATOR_INIT, "operator_init", POINT_BOTH)                                                  \
    X(OPERATOR_PROCESS, "operator_process", POINT_BOTH)                                            \
    X(OPERATOR_TIMER, "operator_timer", POINT_BOTH)                                                \
    X(OPERATOR_CLOSE, "operator_close", POINT_BOTH)

#define POINT_ENUM(name, text, points) CALL_##name,
enum call { POINT_CALLS(POINT_ENUM) CALL_COUNT };
#undef POINT_ENUM
enum { POINT_COUNT = 2 * CALL_COUNT, POINT_NONE = -1 }; /* a point is 2 * call, + 1 after it */

enum { POINT_DIED = 77 }; /* exit status of a planned _exit */
enum death {
    DEATH_EXIT,
    DEATH_KILL,
    DEATH_POWER,
    DEATH_PAUSE, /* none, but a sleep for longer than the session: point_pause */
    DEATH_COUNT
};

/** How a call fails. `applied`: what it was to do is done, only the answer is lost. */
struct fault {
    enum status status;
    enum error_code code;
    int system; /* errno, of file calls */
    bool applied;
};

/** A failure that is part of a script. */
struct standing_fault {
    enum call call;
    int64_t occurrence;
    int fault;
};

/** What is to happen in one life, and what came of it. In memory that outlives the life. */
struct plan {
    int point; /* or POINT_NONE */
    int64_t occurrence;
    enum death death;
    int call; /* whose failure is planned, or POINT_NONE */
    int fault;
    int64_t allocation; /* the one that fails; 0 = none */
    struct standing_fault standing[2];
    int standing_count;
    bool first_only; /* points of the first of two instances alone */
    bool early;      /* canary: stores are committed before the producer's transaction */
    bool keeping;    /* canary: an aborted store transaction is kept */
    bool reached;
    int64_t counts[POINT_COUNT];
    int64_t allocations;
    char folder[200]; /* of the case */
    char text[700];   /* what is wrong, or how the life ended */
};

/** From now on calls count, and `plan` happens; NULL: nothing does. */
void point_arm(struct plan *plan);
/** What DEATH_PAUSE does; a script sets it. */
extern void (*point_pause)(void);
/** NULL when not armed. */
struct plan *point_plan(void);

/** Before the call. Dies here if planned. Not NULL: the call is to fail so (see point_refuse). */
const struct fault *point_enter(enum call call);
/** After the call succeeded or failed by itself. Dies here if planned. */
void point_leave(enum call call);
/** Fills the error of a planned failure and returns its status. */
enum status point_refuse(enum call call, const struct fault *fault, struct error *error);

const char *point_call_name(enum call call);
/** Whether there is such a point (2 * call, + 1 after it). */
bool point_exists(int point);
/** Static text; the next call overwrites it. */
const char *point_name(int point);
/** Number of ways a call can fail. */
int point_fault_count(enum call call);
/** Whether the run must go on after it: the broker or the store says that it may be tried again. */
bool point_fault_recoverable(enum call call, int fault);
/** In words, static. */
const char *point_fault_name(enum call call, int fault);

#endif
