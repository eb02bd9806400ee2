/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: the start path, which is also the way back from every failure: R3, R4. R1 and R2 are
 * in opening.c, takeovers in takeover.c, R5-R8 in restore.c, where inputs begin in start.c, R9 and
 * R10 in claim.c, the group's events in group.c.
 *
 * Invariants
 *  C1. One path: whatever failed, tasks go back to OPENING or FETCHING and come up again from what
 *      the broker and the changelog say; nothing is guessed from memory.
 *  C2. Offsets are fetched only after this worker's own previous transaction was ended (R3), and
 *      stable.
 *  C3. Membership is kept unless it is what failed.
 *  C4. One takeover (takeover.c) a step, with a poll of the group between.
 *  C5. A suspended task goes on only if its offsets and their owner are unchanged.
 *
 *            opening_step          offsets_known           restore_step        claim_commit
 *   OPENING -------------> FETCHING ------------> RESTORING -----------> READY -----------> RUNNING
 *      ^                    |  ^  \_____ stateless ______________________^                   |
 *      |                    |  |                                                            |
 *      |      unchanged     |  +--- group_assigned --- SUSPENDED <---- group_revoked -------+
 *      |   (to RUNNING) <---+
 *      +--- reset_task (recovery_begin), from anywhere; to FETCHING where the store is still open
 *
 * The legal transitions are a table in task.c, which task_set_state asserts.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASSIGN_WAIT_US = 30000,
    FETCH_ONE_MS = 150, /* for one task: longer than a slow coordinator takes */
    CALM_US = 10000000,
    RESTORE_ALONE_MS = 25,
    RESTORE_LEAST_MS = 2,
    RESTORE_MOST_MS = 20
};

/* Back to the stable offsets; store, lock and membership are kept. */
static void reset_task(struct worker *worker, struct task *task)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    group_release_buffers(worker, task);
    group_free_slots(worker, task);
    restore_end(worker, task);
    task_abort(task);
    task_close_instances(task);
    task->resuming = false;
    task->empty = false;
    if (task->state != TASK_OPENING) {
        /* Opening also grows a map that was full. */
        bool open = task->suspect || task->grow || (task->stateful && task->store == NULL);
        enum task_state next = open ? TASK_OPENING : TASK_FETCHING;
        if (task->state != next) {
            task_set_state(task, next);
        }
    }
}

/* ---- Handles ---- */

enum status recovery_open_consumer(struct worker *worker, struct error *error)
{
    ensure(worker->consumer == NULL);
    const struct graph *graph = worker->graph;
    const char **topics = NULL;
    size_t count = 0;
    for (uint32_t s = 0; s < graph->sub_topology_count; s++) {
        for (uint32_t i = 0; i < graph->sub_topologies[s].input_count; i++) {
            topics = memory_resize(topics, (count + 1) * sizeof *topics);
            topics[count++] = graph->sub_topologies[s].inputs[i].topic;
        }
    }
    struct consumer_options options = {
        .group = worker->config->application,
        .instance_id = worker->config->broker.static_membership ? worker->instance_id : NULL,
        .topics = topics,
        .topic_count = count,
    };
    enum status status = consumer_open(worker->options.broker, &options, &worker->consumer, error);
    free(topics);
    return status;
}

enum status recovery_open_producer(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    producer_close(worker->producer);
    worker->producer = NULL;
    worker->producer_fenced = false;
    return producer_open(worker->options.broker, worker->transactional_id, &worker->producer,
                         error);
}

/* Every topic that is written is known before the first transaction (else it waits a second there).
 */
static enum status learn_topics(struct worker *worker, struct error *error)
{
    ensure(worker->producer != NULL);
    const struct graph *graph = worker->graph;
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        if (node->kind != GRAPH_SINK && node->kind != GRAPH_REPARTITION) {
            continue;
        }
        const char *topic = node->kind == GRAPH_SINK
                                ? worker->config->sinks[node->config_index].topic
                                : worker->config->repartitions[node->config_index].topic;
        enum status status = producer_topic(worker->producer, topic, &worker->node_topics[n],
                                            &worker->node_partitions[n], error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    for (uint32_t s = 0; s < graph->sub_topology_count; s++) {
        int32_t partitions = 0;
        if (graph->sub_topologies[s].changelog != NULL) {
            enum status status =
                producer_topic(worker->producer, graph->sub_topologies[s].changelog,
                               &worker->changelog_topics[s], &partitions, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

enum status recovery_producer_ready(struct worker *worker, int64_t timeout_ms, struct error *error)
{
    ensure(worker->producer != NULL && timeout_ms >= 0);
    if (worker->producer_fenced) {
        return STATUS_OK;
    }
    enum status status = producer_ready(worker->producer, timeout_ms, error);
    if (status == STATUS_OK) {
        status = learn_topics(worker, error);
    }
    worker->producer_fenced = status == STATUS_OK;
    return status;
}

/* ---- R4: stable offsets ---- */

struct broker_offset *recovery_offsets(struct broker_offset *offsets, size_t *count,
                                       const struct task *task)
{
    ensure(task->input_count > 0);
    offsets = memory_resize(offsets, (*count + task->input_count) * sizeof *offsets);
    for (size_t i = 0; i < task->input_count; i++) {
        offsets[(*count)++] = (struct broker_offset){
            task->inputs[i].topic, task->inputs[i].partition, BROKER_NO_OFFSET, ""};
    }
    return offsets;
}

/* C5, and on to R5 or R9. */
static enum status offsets_known(struct worker *worker, struct task *task,
                                 const struct broker_offset *offsets, struct error *error)
{
    ensure(task->state == TASK_FETCHING);
    bool unchanged = task->resuming;
    for (size_t i = 0; i < task->input_count; i++) {
        struct task_input *input = &task->inputs[i];
        unchanged = unchanged && offsets[i].offset == input->next &&
                    strcmp(offsets[i].metadata, worker->transactional_id) == 0;
        input->committed = offsets[i].offset;
    }
    bool resumed = task->resuming;
    task->resuming = false;
    for (size_t i = 0; i < task->input_count; i++) {
        struct task_input *input = &task->inputs[i];
        input->next = input->committed;
        input->fetched = input->committed;
        input->end = -1;
    }
    if (unchanged) {
        log_info("task", "resumed ms=%" PRId64 " task=%s",
                 (worker->now_us - worker->revoked_us) / 1000, task->name);
        task_set_state(task, TASK_RUNNING);
        worker->assign_needed = true;
        return STATUS_OK;
    }
    if (resumed) {
        task_close_instances(task);
    }
    if (task->stateful) {
        return restore_begin(worker, task, error);
    }
    task_set_state(task, TASK_READY);
    worker->assign_needed = true;
    return STATUS_OK;
}

static bool any_task(const struct worker *worker, enum task_state state)
{
    ensure(state < TASK_STATE_COUNT);
    for (const struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == state) {
            return true;
        }
    }
    return false;
}

/* Task by task: those that are free go on, the others' blockers are ended. */
static enum status fetch_blocked(struct worker *worker, struct error *error)
{
    ensure(worker->producer_fenced);
    size_t fetching = 0;
    struct task **tasks = NULL;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_FETCHING) {
            tasks = memory_resize(tasks, (fetching + 1) * sizeof(struct task *));
            tasks[fetching++] = task;
        }
    }
    enum status status = STATUS_OK;
    struct task *blocked = NULL;
    for (size_t i = 0; i < fetching && status == STATUS_OK && blocked == NULL; i++) {
        size_t at = (worker->takeover_turn + i) % fetching;
        size_t count = 0;
        struct broker_offset *offsets = recovery_offsets(NULL, &count, tasks[at]);
        status = consumer_committed(worker->consumer, offsets, count, FETCH_ONE_MS, error);
        if (status == STATUS_OK) {
            status = offsets_known(worker, tasks[at], offsets, error);
        } else if (status == STATUS_RETRY) {
            blocked = tasks[at];
            worker->takeover_turn = (uint32_t)at + 1;
            status = STATUS_OK;
        }
        free(offsets);
        machine_tick(worker);
    }
    free(tasks);
    return status != STATUS_OK || blocked == NULL ? status : takeover_try(worker, blocked, error);
}

/* One request for all that resume, or for all that do not: a suspended task is blocked by nobody,
   and must not wait for one that is. */
static enum status fetch_together(struct worker *worker, bool resuming, struct error *error)
{
    ensure(worker->producer_fenced);
    size_t count = 0;
    struct broker_offset *offsets = NULL;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_FETCHING && task->resuming == resuming) {
            offsets = recovery_offsets(offsets, &count, task);
        }
    }
    if (count == 0) {
        return STATUS_OK;
    }
    enum status status =
        consumer_committed(worker->consumer, offsets, count, worker->fetch_slice_ms, error);
    machine_tick(worker);
    size_t at = 0;
    for (struct task *task = worker->tasks; task != NULL && status == STATUS_OK;
         task = task->next) {
        if (task->state == TASK_FETCHING && task->resuming == resuming && at < count) {
            size_t inputs = task->input_count;
            status = offsets_known(worker, task, offsets + at, error);
            at += inputs;
        }
    }
    free(offsets);
    return status;
}

static enum status fetch_offsets(struct worker *worker, struct error *error)
{
    ensure(worker->producer_fenced);
    if (worker->fetch_since_us == 0) {
        worker->fetch_since_us = worker->now_us;
        worker->fetch_slice_ms = any_task(worker, TASK_RUNNING) ? 20 : 100;
    }
    enum status status = fetch_together(worker, true, error);
    status = status == STATUS_OK ? fetch_together(worker, false, error) : status;
    if (status != STATUS_RETRY) {
        worker->fetch_since_us = 0;
        return status;
    }
    worker->fetch_slice_ms = worker->fetch_slice_ms >= 250 ? 500 : worker->fetch_slice_ms * 2;
    if (any_task(worker, TASK_RUNNING) && worker->fetch_slice_ms > 40) {
        worker->fetch_slice_ms = 40; /* those that run go on beside it */
    }
    if (worker->now_us - worker->fetch_since_us < MACHINE_UNANSWERED_MS * INT64_C(1000) ||
        worker->now_us - worker->takeover_us < MACHINE_UNANSWERED_MS * INT64_C(1000)) {
        return STATUS_OK;
    }
    worker->takeover_us = worker->now_us;
    return fetch_blocked(worker, error);
}

/* ---- The steps ---- */

bool recovery_needed(const struct worker *worker)
{
    if (worker->assign_needed || worker->assign_pending) {
        return true;
    }
    for (const struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state != TASK_RUNNING && task->state != TASK_SUSPENDED) {
            return true;
        }
    }
    return false;
}

static enum status restore_tasks(struct worker *worker, struct error *error)
{
    ensure(!worker->assign_pending);
    int64_t budget_ms = RESTORE_ALONE_MS;
    if (any_task(worker, TASK_RUNNING)) {
        /* As long as the others just ran, commits included, but no pause they would feel. */
        budget_ms = (worker->now_us - worker->recovery_ended_us) / 1000;
        budget_ms = budget_ms < RESTORE_LEAST_MS ? RESTORE_LEAST_MS : budget_ms;
        budget_ms = budget_ms > RESTORE_MOST_MS ? RESTORE_MOST_MS : budget_ms;
    }
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_RESTORING) {
            enum status status = restore_step(worker, task, budget_ms, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

static enum status open_tasks(struct worker *worker, struct error *error)
{
    ensure(worker->consumer != NULL);
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_OPENING) {
            enum status status = opening_step(worker, task, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

bool recovery_beside_running(const struct worker *worker)
{
    return any_task(worker, TASK_RUNNING);
}

enum status recovery_step(struct worker *worker, struct error *error)
{
    ensure(recovery_needed(worker) && !worker->lost);
    if (worker->unready_us == 0) {
        worker->unready_us = worker->now_us;
    }
    enum status status = open_tasks(worker, error);
    if (status == STATUS_OK) {
        status = recovery_producer_ready(worker, 0, error);
        if (status == STATUS_RETRY) {
            return STATUS_OK; /* the fencing goes on in the background */
        }
    }
    if (status == STATUS_OK && any_task(worker, TASK_FETCHING)) {
        status = fetch_offsets(worker, error);
    }
    status = status == STATUS_OK ? start_resolve(worker, error) : status;
    /* One assignment for all that is ready soon; those that take longer get another. */
    bool wait = (any_task(worker, TASK_FETCHING) || any_task(worker, TASK_OPENING)) &&
                worker->now_us - worker->assign_since_us < ASSIGN_WAIT_US;
    if (status == STATUS_OK && worker->assign_needed && !wait) {
        status = claim_assignment(worker, error);
    }
    if (status == STATUS_OK && !worker->assign_pending && !worker->assign_needed &&
        any_task(worker, TASK_READY)) {
        status = claim_commit(worker, error);
    }
    if (status == STATUS_OK && !worker->assign_pending && any_task(worker, TASK_RESTORING)) {
        status = restore_tasks(worker, error);
    }
    if (status == STATUS_OK && !recovery_needed(worker)) {
        worker->unready_us = 0;
        worker->calm_since_us = worker->now_us;
        memset(worker->takeovers, 0, sizeof worker->takeovers);
        worker->settled = worker->settled || worker->tasks != NULL;
    }
    return status;
}

/* ---- After a failure ---- */

/* What no recovery can mend. */
static bool is_final(const struct error *cause)
{
    ensure(cause->status != STATUS_OK);
    switch (cause->code) {
    case ERROR_FENCED:
    case ERROR_FENCED_INSTANCE:
    case ERROR_NOT_OWNER:
    case ERROR_TIMED_OUT:
    case ERROR_NO_BROKER:
    case ERROR_CORRUPT:
    case ERROR_MAP_FULL:
    case ERROR_SLOW:
        return false;
    case ERROR_DENIED:
    case ERROR_NO_TOPIC:
    case ERROR_LIMIT:
    case ERROR_MISMATCH:
    case ERROR_DISK_FULL:
    case ERROR_LOCKED:
    case ERROR_CONFIG:
    case ERROR_OFFSET_LOST:
        return true;
    default:
        return cause->status == STATUS_FATAL || cause->status == STATUS_BAD_CONFIG ||
               cause->status == STATUS_BAD_RECORD;
    }
}

/* Notes a fencing; whether it is the sixth within a minute. */
static bool too_often(struct fencings *fencings, int64_t now_us)
{
    ensure(fencings->count >= 0 && fencings->count <= MACHINE_FENCED_LIMIT);
    if (fencings->count == MACHINE_FENCED_LIMIT) {
        memmove(fencings->at_us, fencings->at_us + 1,
                (MACHINE_FENCED_LIMIT - 1) * sizeof fencings->at_us[0]);
        fencings->count -= 1;
    }
    fencings->at_us[fencings->count++] = now_us;
    return fencings->count == MACHINE_FENCED_LIMIT &&
           now_us - fencings->at_us[0] < MACHINE_FENCED_WINDOW_MS * INT64_C(1000);
}

/* Rule 12. Two processes with one instance name each commit between their turns, so a taken
   instance id counts by itself: one of them gives up. */
static bool fenced_too_often(struct worker *worker, const struct error *cause)
{
    ensure(cause->status != STATUS_OK);
    bool instance = cause->code == ERROR_FENCED_INSTANCE;
    if (!instance && cause->code != ERROR_FENCED) {
        return false;
    }
    if (worker->calm_since_us != 0 && worker->now_us - worker->calm_since_us > CALM_US) {
        worker->fenced.count = 0; /* idle and whole for a while: no fight */
    }
    bool often = too_often(&worker->fenced, worker->now_us);
    return (instance && too_often(&worker->instance_fenced, worker->now_us)) || often;
}

/* Waits for a broker that is away just now. A stop ends the waiting: nothing failed. */
static enum status open_in_time(struct worker *worker,
                                enum status (*open)(struct worker *, struct error *),
                                struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    enum status status = open(worker, error);
    for (; status == STATUS_RETRY && !machine_stopping(worker); status = open(worker, error)) {
        log_warn("recovery", "%s", error->text);
        machine_sleep(worker, 500);
    }
    return status == STATUS_RETRY ? STATUS_OK : status;
}

enum status recovery_open_handles(struct worker *worker, struct error *error)
{
    enum status status = open_in_time(worker, recovery_open_producer, error);
    return status == STATUS_OK ? open_in_time(worker, recovery_open_consumer, error) : status;
}

static enum status renew_handles(struct worker *worker, const struct error *cause, bool usable,
                                 struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    enum status status = STATUS_OK;
    if (cause->code == ERROR_FENCED_INSTANCE) {
        group_close_tasks(worker);
        consumer_close(worker->consumer);
        worker->consumer = NULL;
        worker->assign_pending = worker->assign_needed = false;
        worker->lost = worker->revoked = false;
        status = open_in_time(worker, recovery_open_consumer, error);
    }
    bool fatal = cause->status == STATUS_FATAL && cause->code != ERROR_CORRUPT;
    if (status == STATUS_OK &&
        (worker->producer == NULL || !usable || fatal || cause->code == ERROR_FENCED ||
         producer_suspect(worker->producer))) {
        status = open_in_time(worker, recovery_open_producer, error);
    }
    return status;
}

/* The next try is another one: with a new store, a larger map, half of the batch, a record judged.
 */
static bool is_mended(const struct error *cause)
{
    ensure(cause->status != STATUS_OK);
    return cause->code == ERROR_CORRUPT || cause->code == ERROR_MAP_FULL ||
           cause->code == ERROR_TOO_LARGE || cause->code == ERROR_BAD_TIMESTAMP;
}

/* A damaged or full store of a task is moved aside or grown; one of the broker is not ours to mend.
 */
static bool any_store_to_mend(const struct worker *worker)
{
    for (const struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->suspect || task->grow) {
            return true;
        }
    }
    return false;
}

enum status recovery_begin(struct worker *worker, const struct error *cause, struct error *error)
{
    ensure(cause->status != STATUS_OK && cause->status != STATUS_NOT_FOUND);
    bool slow_death = (cause->code == ERROR_FENCED || cause->code == ERROR_NOT_OWNER ||
                       cause->code == ERROR_TIMED_OUT || cause->code == ERROR_SLOW) &&
                      worker->transaction.state != TRANSACTION_IDLE;
    bool unowned = (cause->code == ERROR_CORRUPT || cause->code == ERROR_MAP_FULL) &&
                   !any_store_to_mend(worker);
    bool usable = transaction_abort(worker);
    if (unowned || is_final(cause) || fenced_too_often(worker, cause)) {
        *error = *cause;
        if (error->status != STATUS_BAD_CONFIG) { /* a plugin's init, that is */
            error->status = STATUS_FATAL;
        }
        return error->status;
    }
    worker->calm_since_us = 0;
    log_warn("recovery", "recovering: %s", cause->text);
    atomic_fetch_add_explicit(&worker->counters.recoveries, 1, memory_order_relaxed);
    if (slow_death) {
        worker->unit_limit = 1;
    }
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state != TASK_SUSPENDED) {
            reset_task(worker, task);
        }
    }
    worker->assign_needed = worker->tasks != NULL || worker->assign_pending;
    worker->assign_since_us = worker->now_us;
    worker->fetch_since_us = 0;
    if (!is_mended(cause)) {
        worker->backoff_ms = worker->backoff_ms == 0     ? 20
                             : worker->backoff_ms > 2500 ? 5000
                                                         : worker->backoff_ms * 2;
        if (!worker->revoked) {
            machine_sleep(worker, worker->backoff_ms);
        }
    }
    return renew_handles(worker, cause, usable, error);
}
