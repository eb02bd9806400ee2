/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Task: one partition's share of a sub-topology: its instances, stores, timers and stream time. It
 * runs records and timers; it knows nothing of consumers, producers and offsets' commits: those are
 * the units' behind machine.h.
 *
 * A *unit* is the handling of one record or of one due timer, in all nodes it reaches.
 *
 * Invariants
 *  1. A unit leaves everything or nothing: when it fails, its writes, timers and forwards in all
 *     nodes are undone before task_run_* returns.
 *  2. Outputs of a unit are staged in the arena; the caller takes them from a clean unit, and
 *     nobody sees those of a failed one.
 *  3. Every write goes through task_write: into the store's open transaction, into `changes` (what
 *     the changelog will get) and into the undo list, all three or none.
 *  4. The first failure of a unit decides its fate, whatever callers further up return.
 *  5. A doomed transaction stays doomed: every later call answers the same until the caller has
 *     aborted.
 *  6. Callbacks run only in state TASK_RUNNING (init and close: in any).
 *
 *            task_create         recovery           claim committed
 *   (none) ------------> OPENING -------> ... READY ----------------> RUNNING
 *                           ^  any failure, abort                        | revoked
 *                           +------------------<-------------------------+
 *                           |            offsets moved                   v
 *                           +------------------------------------ SUSPENDED ---> RUNNING
 *                                                                  (offsets and owner unchanged)
 */
#ifndef LEAT_ENGINE_TASK_H
#define LEAT_ENGINE_TASK_H

#include "base/arena.h"
#include "broker/broker.h"
#include "engine/changelog.h"
#include "engine/metrics.h"
#include "engine/worker.h"
#include "state/directory.h"

enum task_state {
    TASK_OPENING,   /* R1, R2: lock the directory, open the store */
    TASK_FETCHING,  /* R3, R4: waits for the fenced producer and the stable offsets */
    TASK_RESTORING, /* R5-R8: replays the changelog */
    TASK_READY,     /* R9: waits for its claim (R10) */
    TASK_RUNNING,
    TASK_SUSPENDED, /* revoked; store, lock and memory kept */
    TASK_STATE_COUNT
};

struct task;
struct instance;
struct restore;

/** The public objects an operator holds; each begins with the host table. */
struct leat_context {
    const leat_host *host;
    struct instance *instance;
};
struct leat_store {
    const leat_host *host;
    struct instance *instance;
    uint32_t table; /* index into task->tables */
};
struct leat_cursor {
    const leat_host *host;
    struct task *task;
    struct store_cursor *cursor; /* NULL: the store is empty (program_check) */
    struct leat_cursor *next;    /* open cursors of the running callback */
    struct instance *instance;
};

enum instance_phase { INSTANCE_CLOSED, INSTANCE_INIT, INSTANCE_IDLE, INSTANCE_CALLBACK };

/** A periodic timer of an instance. */
struct schedule {
    leat_time_kind kind;
    uint32_t id;
    int64_t interval_ms, next_ms; /* next_ms INT64_MIN: not counted from yet (stream time) */
};

struct instance {
    struct leat_context context;
    struct task *task;
    uint32_t node; /* in the graph */
    const struct graph_node *graph_node;
    const struct config_operator *config;
    const struct plugin *plugin;
    const struct parameters *parameters;
    void *self;
    enum instance_phase phase;
    uint32_t depth; /* callbacks on the stack: a diamond may enter twice, never a cycle */
    struct leat_store *stores; /* by index of plugin->stores */
    struct schedule *schedules;
    size_t schedule_count;
    char fail_text[512]; /* of leat_fail in the running callback; "" = none */
};

struct task_table {
    char *name; /* "node/store", or CHANGELOG_TIMERS */
    struct store_table *table;
};

/** An input partition of a task. Positions are the worker's to move. */
struct task_input {
    const char *topic;
    int32_t partition;
    uint32_t node, slot;
    int64_t next;      /* next to run: what a commit sends; BROKER_NO_OFFSET = unknown yet */
    int64_t fetched;   /* next to come from the consumer: beyond what is buffered */
    int64_t committed; /* last known committed; BROKER_NO_OFFSET = never */
    int64_t end;       /* position of the last END event; -1 none */
    int64_t end_us;    /* when it came (monotonic) */
    bool paused;
    struct broker_record *buffer; /* ring, only of tasks with several inputs */
    size_t buffer_first, buffer_count, buffer_capacity;
    int64_t buffer_size; /* bytes */
};

/** One undone write, newest last. */
struct undo {
    size_t change;
    struct bytes old; /* in the arena; data NULL = was absent */
    bool was_dirty;
};

/** One staged output. */
struct task_output {
    uint32_t node;               /* sink or repartition in the graph */
    struct broker_output record; /* topic and origin are the caller's to fill */
    struct task_output *next;
};

/** Where recovery met a transaction that does not end (an offset of the changelog, -1: in the
 *  offsets), since when (0 = nowhere), and when that was last said. Each state begins anew. */
struct blocked {
    int64_t at, since_us, said_us;
};

struct task {
    const struct program *program;
    const struct graph_sub_topology *sub;
    uint32_t sub_index;
    int32_t partition;
    char name[160]; /* "<sub-topology>-<partition>" */
    enum task_state state;
    bool stateful;

    struct task_input *inputs;
    size_t input_count;
    struct instance *instances; /* by position among sub->nodes that are operators */
    struct instance **by_node;  /* graph node -> instance or NULL */
    size_t instance_count;
    const int32_t *node_partitions; /* graph node -> partition count of the topic written there */

    struct directory *directory;
    struct store *store;
    bool writing;              /* the store's transaction is open */
    bool grow;                 /* the map was full: store_grow before the next transaction */
    bool suspect;              /* the store cannot be trusted: to be moved aside */
    struct task_table *tables; /* [0] = timers */
    uint32_t table_count;
    struct changes changes;
    size_t changes_counted;   /* bytes of them that the transaction's size holds already */
    struct position position; /* stamp.data owned, see position_stamp */
    struct buffer position_stamp;
    struct buffer sent_stamp; /* of the running commit; becomes position_stamp */
    uint64_t sequence;        /* of the last stamp; 0 = none */
    int64_t flushed_us;       /* when the store last committed (flush_interval) */
    struct blocked blocked;   /* takeover.c */

    int64_t stream_time;    /* INT64_MIN before the first */
    int64_t timer_first[2]; /* earliest durable timer by kind; INT64_MAX = none */
    bool timer_known[2];    /* whether timer_first is to be trusted */
    int64_t schedule_first[2];

    /* The running unit. */
    struct arena arena;
    struct undo *undo;
    size_t undo_count, undo_capacity;
    struct task_output *outputs, **outputs_tail;
    size_t output_count;
    const struct broker_record *origin; /* NULL in a timer's unit */
    const struct task_input *origin_input;
    int64_t wall_ms;
    bool failed;
    enum status doom; /* STATUS_OK, or what the transaction is doomed to */
    struct error failure;
    uint32_t failed_node;
    struct bytes timer;    /* identity of the timer or tick whose unit runs or ran; null: another */
    struct schedule *tick; /* the schedule, if it was a tick */
    struct leat_cursor *cursors;
    bool commit_requested;
    bool touched; /* in the running transaction */
    uint64_t skipped;

    struct random *random; /* the worker's */
    struct metrics *metrics;
    struct task *next;       /* the worker's list */
    bool resuming;           /* was suspended: goes on if offsets and owner are unchanged */
    bool empty;              /* --continue-from empty: the claim empties the stores */
    int64_t locked_since_us; /* when R1 first met another holder; 0 = not */
    struct restore *restore; /* while RESTORING */
};

/** Set in the metadata of a store that lacks data which its changelog holds. */
#define TASK_INCOMPLETE "incomplete"

/** A timer that is not to be called any more, and why. */
struct task_barred {
    struct bytes timer; /* as task->timer */
    const struct error *why;
    const struct task_barred *next;
};

/** Longest key of a record's store entry and of a timer, as operators see it. */
enum { TASK_KEY_LIMIT = 64 * 1024 };

/** Makes a task in state TASK_OPENING with its inputs to be added; nothing of it is open yet. */
struct task *task_create(const struct program *program, uint32_t sub_topology, int32_t partition,
                         const int32_t *node_partitions, struct random *random,
                         struct metrics *metrics);
/** Closes instances and store, gives the lock back, frees. Buffered records must be released
 * before. */
void task_destroy(struct task *task);
void task_add_input(struct task *task, const char *topic, uint32_t node);

/** Sets the state; asserts that the table of legal transitions has it. */
void task_set_state(struct task *task, enum task_state state);
const char *task_state_name(enum task_state state);

/** Opens the tables of all declared stores and reads the position. The store is taken over. */
enum status task_attach_store_take(struct task *task, struct store *store, struct error *error);
/** Writes position and sequence into the store's open transaction. */
enum status task_put_position(struct task *task, struct error *error);
/** Reads position, sequence and stream time from the store; resets the timer caches. */
enum status task_load_position(struct task *task, struct error *error);
/** Closes the store only (after its instances were closed). */
void task_detach_store(struct task *task);

/** Init of every instance, in graph order. STATUS_BAD_CONFIG when one fails, STATUS_RETRY when it
 *  asks for that: none is open then. */
enum status task_open_instances(struct task *task, int64_t wall_ms, struct error *error);
void task_close_instances(struct task *task);

/** Runs one record of `input` (timers that it makes due are the caller's: task_run_timer).
 *  STATUS_OK: clean, outputs staged. STATUS_BAD_RECORD: undone; error says why, task->failed_node
 * where. STATUS_RETRY, STATUS_FATAL: the transaction is doomed. */
enum status task_run_record(struct task *task, const struct task_input *input,
                            const struct broker_record *record, int64_t wall_ms,
                            struct error *error);
/** Takes a record's timestamp into the stream time, before it is run or skipped. */
void task_take_time(struct task *task, int64_t timestamp_ms);
/** Runs the earliest due timer or tick. STATUS_NOT_FOUND: none is due. Else as task_run_record; a
 * bad one stays due. One whose identity is that of `barred` (may be NULL) is bad for that reason,
 * uncalled.
 */
enum status task_run_timer(struct task *task, int64_t wall_ms, const struct task_barred *barred,
                           struct error *error);
/** After STATUS_BAD_RECORD of a timer that is skipped: removes it, so that it does not fire again.
 */
enum status task_drop_timer(struct task *task, struct error *error);
/** Whether a timer or tick is due (cheap). */
bool task_timer_due(struct task *task, int64_t wall_ms);
/** Wall ms of the next wall-clock timer or tick; INT64_MAX = none. */
int64_t task_next_wall(struct task *task);

/** Drops the store's open transaction and all that the running one did; the doom is over. Memory of
 * the instances is stale after: close them. */
void task_abort(struct task *task);

/** Forgets the staged outputs and resets the arena; before the next unit. */
void task_end_unit(struct task *task);

/* ---- For context.c and timer.c ---- */

/** The one way to write: see invariant 3. Null value removes. */
enum status task_write(struct task *task, uint32_t table, struct bytes key, struct bytes value);
/** Takes back every write, timer and forward of the running unit. */
void task_undo(struct task *task);
/** Notes a failure of the running unit, the first one only; returns its status. */
enum status task_fail(struct task *task, uint32_t node, enum status status, enum error_code code,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));
/** Hands a record to every reader of an output. */
enum status task_deliver(struct task *task, const struct graph_output *output,
                         const leat_record *record);
/** Dooms the transaction with what the store said; returns the status it is doomed to. */
enum status task_store_failed(struct task *task, const struct error *error);
/** Enters and leaves a callback of an instance; leave closes its cursors and judges what it
 * returned. */
void task_enter(struct instance *instance);
enum status task_leave(struct instance *instance, leat_status returned);
/** Begins and finishes a unit (timer.c). */
void task_begin_unit(struct task *task, int64_t wall_ms);
enum status task_finish_unit(struct task *task, struct error *error);

/** The table that operators call through their context. */
extern const leat_host context_host;

#endif
