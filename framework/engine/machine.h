/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: the inside of a worker, shared by the units that make it up: worker.c (the loop),
 * unit.c (records and timers), transaction.c and publish.c (the commit cycle), group.c, recovery.c,
 * opening.c, restore.c, selfcheck.c, start.c and claim.c (R1-R10), ending.c (--until-end). Nobody
 * else includes it.
 */
#ifndef LEAT_ENGINE_MACHINE_H
#define LEAT_ENGINE_MACHINE_H

#include "engine/task.h"

enum {
    MACHINE_FENCED_LIMIT = 6, /* rule 12 */
    MACHINE_FENCED_WINDOW_MS = 60000,
    MACHINE_UNANSWERED_MS = 500,   /* R4, R7: then somebody's transaction is in the way */
    MACHINE_JUDGED = 64,           /* units that are bad without being called again */
    MACHINE_TAKEOVERS = 8,         /* owners whose takeovers are counted */
    MACHINE_RESTORES = 2,          /* changelogs read at a time */
    MACHINE_IDLE_COMMIT_US = 5000, /* an idle input commits after this */
    MACHINE_POLL_MS = 100          /* longest wait: stop is looked at this often */
};

/* Where an output of the transaction came from: broker_output.origin. */
#define ORIGIN_NONE UINT64_MAX /* a changelog record */
#define ORIGIN_TIMER_SLOT UINT64_C(0xffff)
static inline uint64_t origin_of(uint32_t slot, int64_t offset)
{
    return (uint64_t)slot << 48 | ((uint64_t)offset & UINT64_C(0xffffffffffff));
}

/** Who reads a slot of the consumer. */
struct slot {
    struct task *task; /* NULL = free */
    int32_t input;     /* -1 = its changelog */
};

enum transaction_state {
    TRANSACTION_IDLE,
    TRANSACTION_OPEN,    /* begun; callbacks run, records may be on their way */
    TRANSACTION_FLUSHED, /* every record acknowledged */
    TRANSACTION_OFFERED, /* offsets sent */
    TRANSACTION_DECIDED, /* definite OK; stores follow */
    TRANSACTION_STATE_COUNT
};

struct transaction {
    enum transaction_state state;
    int64_t opened_us; /* first unit */
    int64_t sent_us;   /* first record handed to the producer: the broker's clock; 0 = none yet */
    int64_t gap_until_us;
    int64_t committed_us; /* when the last one was */
    uint64_t units;
    int64_t size;       /* bytes of inputs, outputs and changes */
    struct arena arena; /* outputs that wait for the gap, timers' identities */
    struct task_output *pending, **pending_tail;
    struct bytes *timers; /* stored keys of the timers run, by origin */
    struct task **timer_tasks;
    size_t timer_count, timer_capacity;
};

/** An input record or timer that is bad without being called: the broker refused what it made, or
 * it was too slow three times. */
struct judged {
    bool set;
    char task[160];
    uint32_t input; /* UINT32_MAX: a timer */
    int64_t offset;
    struct buffer timer;
    struct error error;
};

/** How often the transactions of an owner were ended, and when the next may be. */
struct takeover {
    uint32_t owner, count;
    int64_t next_us;
};

/** When this worker was fenced, the last few times. */
struct fencings {
    int64_t at_us[MACHINE_FENCED_LIMIT];
    int count;
};

struct worker {
    struct worker_options options;
    const struct config *config;
    const struct graph *graph;
    struct random random;
    struct metrics metrics;
    struct worker_counters counters;
    char transactional_id[BROKER_METADATA_SIZE];
    char instance_id[128];

    struct consumer *consumer;
    struct producer *producer;
    bool producer_fenced;       /* producer_ready said OK and the topics are known */
    uint32_t *node_topics;      /* graph node -> producer's topic of what is written there */
    int32_t *node_partitions;   /* the same: its partition count */
    uint32_t *changelog_topics; /* sub-topology -> producer's topic */

    struct task *tasks;
    struct slot *slots;
    uint32_t slot_count;

    bool assigned_once;
    bool settled;        /* all tasks have run at once: the start is over */
    bool assign_pending; /* ASSIGNED came and is not answered */
    bool assign_needed;  /* the assignment must be set (again) */
    int64_t assign_since_us;
    bool revoked, lost; /* came, not yet answered */

    struct transaction transaction;
    uint64_t unit_limit; /* rule 10: 1 after a slow death, doubling with each commit */
    struct judged judged[MACHINE_JUDGED]; /* several partitions may each have one at once */
    bool judged_any;                      /* false: none is set */
    uint32_t judged_next;                 /* the one that is given up for a new one */
    struct judged slow;                   /* the last slow record and how often */
    int slow_count;
    int retries; /* of the record that is being retried */

    int64_t now_us;        /* monotonic, read after every wait and every unit */
    int64_t wall_delta_ms; /* wall = now / 1000 + this */
    int64_t wall_read_us;
    bool poll_first;           /* recovery failed: the group's news come before its next step */
    int64_t calm_since_us;     /* since when all is assigned and runs; 0 = it does not */
    int64_t recovery_ended_us; /* when the last step ended */
    int64_t recovery_next_us;  /* beside running tasks, recovery takes half of the time */
    int64_t revoked_us;
    int64_t trouble_us; /* when the consumer's trouble was last logged */
    int64_t unready_us; /* when recovery began; 0 = all tasks run */
    int64_t backoff_ms, backoff_until_us;
    struct fencings fenced; /* without a commit in between (rule 12) */
    struct fencings
        instance_fenced; /* of the group.instance.id: a commit between is no sign of peace */
    int64_t fetch_slice_ms, fetch_since_us, takeover_us;
    struct takeover takeovers[MACHINE_TAKEOVERS]; /* since all tasks last ran */
    uint32_t takeover_turn; /* which of the blocked tasks is looked at next: one a step */
    int64_t end_checked_us, deleted_us, timers_us;
    bool done;
};

static inline struct clock *machine_clock(struct worker *worker)
{
    return worker->options.clock;
}
/** Reads the clock into now_us; the wall clock every 10 ms. */
void machine_tick(struct worker *worker);
/** Moves now_us on to within some ms of the clock: after each unit, where the exact clock would
 * cost more than the unit. */
void machine_tick_coarse(struct worker *worker);
static inline int64_t machine_wall_ms(const struct worker *worker)
{
    return worker->now_us / 1000 + worker->wall_delta_ms;
}
static inline bool machine_stopping(const struct worker *worker)
{
    return atomic_load_explicit(worker->options.stop, memory_order_relaxed) != 0;
}
/** Sleeps in slices until `ms` have passed or a stop is asked for. */
void machine_sleep(struct worker *worker, int64_t ms);

/* ---- transaction.c ---- */

/** Makes the task part of the transaction, beginning one when none is open. */
enum status transaction_touch(struct worker *worker, struct task *task, struct error *error);
/** Hands the outputs of the task's clean unit to the producer. */
enum status transaction_take(struct worker *worker, struct task *task, uint64_t origin,
                             struct error *error);
/** Notes a timer's identity and returns the origin for its outputs. */
uint64_t transaction_timer_origin(struct worker *worker, struct task *task);
/** Whether the transaction must be committed before the next callback, or may be now. */
bool transaction_due(const struct worker *worker);
bool transaction_old(const struct worker *worker);
/** The commit cycle, steps 3-8. STATUS_OK: committed and, if it had to be, retired. Anything else:
 * recover. */
enum status transaction_commit(struct worker *worker, struct error *error);
/** Sends one record of the transaction. STATUS_ABORT when the broker will not take it (see judged).
 */
enum status transaction_send(struct worker *worker, const struct broker_output *output,
                             struct error *error);
/** Sends the task's changes and its stamp (publish.c). */
enum status publish_changes(struct worker *worker, struct task *task, struct error *error);
/** Drops everything the open transaction did. False: the producer is dead and must be replaced. */
bool transaction_abort(struct worker *worker);
/** Commits the stores that flush_interval lets lag; `all` = now. */
enum status transaction_flush_stores(struct worker *worker, bool all, struct error *error);

/* ---- unit.c ---- */

/** An entry of worker->judged for the caller to fill. */
struct judged *unit_judge(struct worker *worker);

/** Runs one record to its end: timers it makes due, the record, its policy if it is bad, a commit
 * if one is due. */
enum status unit_run_record(struct worker *worker, struct task *task, struct task_input *input,
                            const struct broker_record *record, struct error *error);
/** Runs every due timer and tick of a task. */
enum status unit_run_timers(struct worker *worker, struct task *task, struct error *error);

/* ---- ending.c ---- */

/** Commits positions that END events moved past markers, so that others see the end reached. */
enum status ending_commit_positions(struct worker *worker, struct error *error);
/** When no record came: commits such positions, at once with until_end, else after a second; sets
 * worker->done when the group has reached the end. */
enum status ending_step(struct worker *worker, struct error *error);

/* ---- recovery.c ---- */

/** Whether something is left for recovery_step. */
bool recovery_needed(const struct worker *worker);
/** Whether some task runs already. */
bool recovery_beside_running(const struct worker *worker);
/** Takes every task as far as it gets without waiting long; half of the time when others run. */
enum status recovery_step(struct worker *worker, struct error *error);
/** The one way back after a failure: STATUS_OK when the run goes on, else what ends it. */
enum status recovery_begin(struct worker *worker, const struct error *cause, struct error *error);
/** Both of a worker that begins; waits for a broker that is away, until a stop (then STATUS_OK). */
enum status recovery_open_handles(struct worker *worker, struct error *error);
enum status recovery_open_consumer(struct worker *worker, struct error *error);
enum status recovery_open_producer(struct worker *worker, struct error *error);
/** Waits for the producer and makes the topics known to it. STATUS_RETRY: not yet. */
enum status recovery_producer_ready(struct worker *worker, int64_t timeout_ms, struct error *error);
/** Appends the task's inputs, offsets unknown; the list is the caller's to free. */
struct broker_offset *recovery_offsets(struct broker_offset *offsets, size_t *count,
                                       const struct task *task);

/* ---- takeover.c ---- */

/** Ends the transaction that blocks a task, if it is another's of this application and was not just
 * ended (R4, R7). STATUS_OK: tried, or not ours to end. */
enum status takeover_try(struct worker *worker, struct task *task, struct error *error);

/* ---- claim.c ---- */

/** Answers ASSIGNED or sets the assignment again: every running, ready and (two) restoring tasks.
 */
enum status claim_assignment(struct worker *worker, struct error *error);
/** One transaction for all READY tasks: they run after it. */
enum status claim_commit(struct worker *worker, struct error *error);
/** Proves by a fenced request that this instance still owns its assignment; STATUS_OK: it does. */
enum status claim_prove_owner(struct worker *worker, struct task *task, struct error *error);

/* ---- group.c ---- */

/** Answers ASSIGNED (the tasks are made), REVOKED, LOST. */
enum status group_assigned(struct worker *worker, const struct broker_partition *partitions,
                           size_t count, struct error *error);
enum status group_revoked(struct worker *worker, struct error *error);
enum status group_lost(struct worker *worker, struct error *error);
void group_close_tasks(struct worker *worker);
void group_release_buffer(struct worker *worker, struct task_input *input);
void group_release_buffers(struct worker *worker, struct task *task);
void group_free_slots(struct worker *worker, struct task *task);
uint32_t group_take_slot(struct worker *worker, struct task *task, int32_t input);
void group_free_slot(struct worker *worker, uint32_t slot);

/* ---- opening.c ---- */

/** R1, R2 of one task; it stays OPENING while another worker holds its directory. */
enum status opening_step(struct worker *worker, struct task *task, struct error *error);

/* ---- start.c ---- */

/** Where reading of an input without usable offset begins: the log's start or end. */
enum status start_log_offset(struct worker *worker, const struct task_input *input, bool end,
                             int64_t *offset, struct error *error);
/** Gives the inputs of READY tasks that were never committed their beginning. */
enum status start_resolve(struct worker *worker, struct error *error);

/* ---- selfcheck.c ---- */

/** Writes down in `why` how two facts contradict each other; always true. */
bool selfcheck_note(char *why, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Whether the last stamp (NULL = none) and the committed offsets differ, and how. */
bool selfcheck_differs(struct worker *worker, struct task *task, const struct stamp *stamp,
                       char *why, size_t size);
/** STATUS_OK: --continue-from says how to go on, and the inputs are set; else why not. */
enum status selfcheck_failed(struct worker *worker, struct task *task, const struct stamp *stamp,
                             const char *why, struct error *error);

/* ---- restore.c ---- */

/** R5, R6: finds target and start. STATUS_OK: the task is RESTORING (or already at the end). */
enum status restore_begin(struct worker *worker, struct task *task, struct error *error);
/** R7, R8: reads on for about `budget_ms`. The task becomes READY when it has passed the
 * self-check. */
enum status restore_step(struct worker *worker, struct task *task, int64_t budget_ms,
                         struct error *error);
/** Forgets a restore under way; takes NULL. */
void restore_end(struct worker *worker, struct task *task);
/** Gives a restore its slot: it is read from the next assignment on. */
void restore_activate(struct worker *worker, struct task *task);
/** Slot and next offset for the assignment; false: nothing (more) to read. */
bool restore_position(const struct task *task, uint32_t *slot, int64_t *offset);

#endif
