/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: the loop. Takes events of the consumer, runs units, decides when to commit, and sends
 * every failure down the one path back (recovery_begin).
 *
 * Invariants
 *  W1. The inputs of a task with several partitions are run in order of timestamp across them; one
 *      partition is never reordered.
 *  W2. next <= fetched for every input; what lies between is buffered here.
 *  W3. Records of a task that does not run are dropped here: its next assignment brings them again.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARKER_GAPS = 20, BUFFER_RECORDS = 10000, BUFFER_SIZE = 1 << 20, DELETE_RECORDS_MS = 30000 };

/* ---- Time ---- */

void machine_tick(struct worker *worker)
{
    ensure(worker->options.clock != NULL);
    worker->now_us = clock_monotonic_us(machine_clock(worker));
    if (worker->now_us - worker->wall_read_us >= 10000 || worker->wall_read_us == 0) {
        worker->wall_read_us = worker->now_us;
        worker->wall_delta_ms = clock_wall_ms(machine_clock(worker)) - worker->now_us / 1000;
    }
}

void machine_tick_coarse(struct worker *worker)
{
    int64_t now_us = clock_coarse_us(machine_clock(worker));
    if (now_us > worker->now_us) {
        worker->now_us = now_us;
    }
}

void machine_sleep(struct worker *worker, int64_t ms)
{
    ensure(ms >= 0);
    machine_tick(worker); /* also where it does not wait: callers look at the time */
    int64_t until_us = worker->now_us + ms * 1000;
    while (worker->now_us < until_us && !machine_stopping(worker)) {
        int64_t left_ms = (until_us - worker->now_us + 999) / 1000;
        clock_sleep_ms(machine_clock(worker), left_ms < 50 ? left_ms : 50);
        machine_tick(worker);
    }
}

/* ---- Records ---- */

/* The input a slot belongs to, NULL if its task does not run. */
static struct task_input *slot_input(struct worker *worker, uint32_t slot, struct task **task)
{
    if (slot >= worker->slot_count || worker->slots[slot].task == NULL ||
        worker->slots[slot].input < 0) {
        return NULL;
    }
    *task = worker->slots[slot].task;
    if ((*task)->state != TASK_RUNNING) {
        return NULL;
    }
    return &(*task)->inputs[worker->slots[slot].input];
}

static void buffer_push(struct task_input *input, const struct broker_record *record)
{
    ensure(input->buffer_count <= input->buffer_capacity);
    if (input->buffer_count == input->buffer_capacity) {
        size_t capacity = input->buffer_capacity == 0 ? 64 : input->buffer_capacity * 2;
        struct broker_record *grown = memory_allocate(capacity * sizeof *grown);
        for (size_t i = 0; i < input->buffer_count; i++) {
            grown[i] = input->buffer[(input->buffer_first + i) % input->buffer_capacity];
        }
        free(input->buffer);
        input->buffer = grown;
        input->buffer_capacity = capacity;
        input->buffer_first = 0;
    }
    input->buffer[(input->buffer_first + input->buffer_count) % input->buffer_capacity] = *record;
    input->buffer_count += 1;
    input->buffer_size += (int64_t)(record->key.size + record->value.size);
}

static enum status pause_input(struct worker *worker, struct task_input *input, bool paused,
                               struct error *error)
{
    ensure(input->paused != paused && input->slot != UINT32_MAX);
    input->paused = paused;
    return consumer_pause(worker->consumer, input->slot, paused, error);
}

/* W1: the input whose next record has the smallest timestamp, or NULL while one that lags may still
   bring a smaller one. */
static struct task_input *choose_input(struct worker *worker, struct task *task)
{
    ensure(task->input_count > 1);
    struct task_input *best = NULL;
    for (size_t i = 0; i < task->input_count; i++) {
        struct task_input *input = &task->inputs[i];
        if (input->buffer_count == 0) {
            const struct graph_node *node = &worker->graph->nodes[input->node];
            int64_t idle_ms = node->kind == GRAPH_SOURCE
                                  ? worker->config->sources[node->config_index].idle_ms
                                  : 0;
            bool at_end = input->end >= 0 && worker->now_us - input->end_us >= idle_ms * 1000;
            if (!at_end) {
                return NULL;
            }
            continue;
        }
        if (best == NULL || input->buffer[input->buffer_first].timestamp_ms <
                                best->buffer[best->buffer_first].timestamp_ms) {
            best = input;
        }
    }
    return best;
}

/* Moves an input past what its END event saw beyond the last record (markers, aborted records). */
static void pass_end(struct task_input *input)
{
    ensure(input->next <= input->fetched);
    if (input->buffer_count == 0 && input->end > input->next) {
        input->next = input->end;
        input->fetched = input->end > input->fetched ? input->end : input->fetched;
    }
}

static enum status drain_task(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->input_count > 1);
    struct task_input *input = NULL;
    while (task->state == TASK_RUNNING && (input = choose_input(worker, task)) != NULL) {
        struct broker_record record = input->buffer[input->buffer_first];
        input->buffer_first = (input->buffer_first + 1) % input->buffer_capacity;
        input->buffer_count -= 1;
        input->buffer_size -= (int64_t)(record.key.size + record.value.size);
        enum status status = unit_run_record(worker, task, input, &record, error);
        consumer_release(worker->consumer, &record);
        if (status == STATUS_OK && input->paused && input->buffer_count <= BUFFER_RECORDS / 2 &&
            input->buffer_size <= BUFFER_SIZE / 2) {
            status = pause_input(worker, input, false, error);
        }
        if (status != STATUS_OK) {
            return status;
        }
        pass_end(input);
    }
    return STATUS_OK;
}

static enum status take_record(struct worker *worker, struct consumer_event *event,
                               struct error *error)
{
    ensure(event->kind == CONSUMER_RECORD);
    struct task *task = NULL;
    struct broker_record *record = &event->record;
    struct task_input *input = slot_input(worker, record->slot, &task);
    if (input == NULL || record->offset < input->fetched) {
        consumer_release(worker->consumer, record); /* W3 */
        return STATUS_OK;
    }
    input->fetched = record->offset + 1;
    input->end = -1;
    if (task->input_count == 1) {
        enum status status = unit_run_record(worker, task, input, record, error);
        consumer_release(worker->consumer, record);
        return status;
    }
    buffer_push(input, record);
    if (!input->paused &&
        (input->buffer_count >= BUFFER_RECORDS || input->buffer_size >= BUFFER_SIZE)) {
        enum status status = pause_input(worker, input, true, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return drain_task(worker, task, error);
}

static enum status take_end(struct worker *worker, const struct consumer_event *event,
                            struct error *error)
{
    ensure(event->offset >= 0);
    struct task *task = NULL;
    struct task_input *input = slot_input(worker, event->slot, &task);
    if (input == NULL) {
        return STATUS_OK;
    }
    input->end = event->offset;
    input->end_us = worker->now_us;
    pass_end(input);
    return task->input_count > 1 ? drain_task(worker, task, error) : STATUS_OK;
}

/* A member that was replaced without knowing it yet finds records gone that its successor has read.
   Recovery reads where that one is, and its claim is refused. */
static enum status still_committed(struct worker *worker, const struct task_input *input,
                                   struct error *error)
{
    ensure(input->committed >= 0);
    struct broker_offset offset = {input->topic, input->partition, BROKER_NO_OFFSET, ""};
    enum status status = consumer_committed(worker->consumer, &offset, 1, 1000, error);
    ensure(status != STATUS_NOT_FOUND);
    if (status == STATUS_OK && offset.offset != input->committed) {
        status = error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                           "another member has committed offset %" PRId64
                           " of topic %s partition %" PRId32,
                           offset.offset, input->topic, input->partition);
    }
    return status;
}

static enum status take_offset_lost(struct worker *worker, const struct consumer_event *event,
                                    struct error *error)
{
    ensure(event->kind == CONSUMER_OFFSET_LOST);
    struct task *task = NULL;
    struct task_input *input = slot_input(worker, event->slot, &task);
    if (input == NULL) {
        return STATUS_OK;
    }
    const struct graph_node *node = &worker->graph->nodes[input->node];
    enum config_offset_lost lost = CONFIG_LOST_STOP;
    if (node->kind == GRAPH_SOURCE) {
        lost = worker->config->sources[node->config_index].on_offset_lost;
    }
    int64_t start = 0;
    int64_t end = 0;
    enum status status = still_committed(worker, input, error);
    if (status == STATUS_OK) {
        status = broker_log_range(worker->options.broker, input->topic, input->partition, &start,
                                  &end, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (start <= input->fetched && input->fetched <= end) {
        worker->assign_needed = true; /* it is there after all: read on */
        return STATUS_OK;
    }
    if (lost == CONFIG_LOST_STOP) {
        bool source = node->kind == GRAPH_SOURCE;
        return error_set(error, STATUS_FATAL, ERROR_OFFSET_LOST,
                         "topic %s partition %" PRId32 ": the next offset %" PRId64
                         " is not in the log (%" PRId64 " to %" PRId64
                         "): records were deleted before they were processed.%s%s%s",
                         input->topic, input->partition, input->fetched, start, end,
                         source ? " To go on without them set \"on_offset_lost\" of source \"" : "",
                         source ? node->name
                                : " Nothing but its readers may delete records of this topic",
                         source ? "\" to \"earliest\" or \"latest\"" : "");
    }
    log_warn("task", "offset %" PRId64 " of topic %s partition %" PRId32 " is lost, going on at %s",
             input->fetched, input->topic, input->partition,
             lost == CONFIG_LOST_EARLIEST ? "the start" : "the end");
    group_release_buffer(worker, input);
    input->next = input->fetched = lost == CONFIG_LOST_EARLIEST ? start : end;
    worker->assign_needed = true;
    return transaction_touch(worker, task, error);
}

/* ---- Waiting ---- */

/* Nothing came: what is open is committed when it has been so for a moment. */
static bool idle_commit_due(const struct worker *worker)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE ||
           worker->transaction.state == TRANSACTION_OPEN);
    const struct transaction *transaction = &worker->transaction;
    return transaction->state == TRANSACTION_OPEN && worker->now_us >= transaction->gap_until_us &&
           worker->now_us - transaction->opened_us >= MACHINE_IDLE_COMMIT_US;
}

/* How long the next poll may wait. */
static int64_t poll_timeout_ms(struct worker *worker)
{
    ensure(!worker->done);
    const struct transaction *transaction = &worker->transaction;
    int64_t until_us = worker->now_us + MACHINE_POLL_MS * 1000;
    if (transaction->state == TRANSACTION_OPEN) {
        int64_t due_us = transaction->opened_us + MACHINE_IDLE_COMMIT_US;
        due_us = due_us > transaction->gap_until_us ? due_us : transaction->gap_until_us;
        until_us = due_us < until_us ? due_us : until_us;
    }
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state != TASK_RUNNING) {
            continue;
        }
        int64_t next_ms = task_next_wall(task);
        int64_t next_us = next_ms >= INT64_MAX / 1000 ? INT64_MAX
                          : next_ms <= machine_wall_ms(worker)
                              ? worker->now_us
                              : worker->now_us + (next_ms - machine_wall_ms(worker)) * 1000;
        until_us = next_us < until_us ? next_us : until_us;
        for (size_t i = 0; task->input_count > 1 && i < task->input_count; i++) {
            if (task->inputs[i].end >= 0) {
                until_us = worker->now_us + 5000 < until_us ? worker->now_us + 5000 : until_us;
            }
        }
    }
    if (recovery_needed(worker) || worker->options.until_end) {
        until_us = worker->now_us + 2000 < until_us ? worker->now_us + 2000 : until_us;
    }
    return until_us <= worker->now_us ? 0 : (until_us - worker->now_us + 999) / 1000;
}

static enum status take_event(struct worker *worker, struct consumer_event *event,
                              struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE ||
           worker->transaction.state == TRANSACTION_OPEN);
    switch (event->kind) {
    case CONSUMER_NOTHING:
        return STATUS_OK;
    case CONSUMER_RECORD:
        return take_record(worker, event, error);
    case CONSUMER_END:
        return take_end(worker, event, error);
    case CONSUMER_OFFSET_LOST:
        return take_offset_lost(worker, event, error);
    case CONSUMER_ASSIGNED:
        return group_assigned(worker, event->partitions, event->partition_count, error);
    case CONSUMER_REVOKED:
        worker->revoked = true;
        return group_revoked(worker, error);
    case CONSUMER_LOST:
        worker->lost = true;
        return group_lost(worker, error);
    }
    bool known = false; /* every kind is above */
    ensure(known);
    return STATUS_FATAL;
}

/* Takes what is there without waiting; then, if nothing was, waits for the next event. */
static enum status poll(struct worker *worker, bool *idle, struct error *error)
{
    ensure(!worker->revoked && !worker->lost);
    struct consumer_event event;
    *idle = false;
    enum status status = consumer_poll(worker->consumer, 0, &event, error);
    if (status == STATUS_OK && event.kind == CONSUMER_NOTHING) {
        *idle = true;
        machine_tick(worker);
        int64_t timeout_ms = idle_commit_due(worker) ? 0 : poll_timeout_ms(worker);
        if (timeout_ms > 0) {
            status = consumer_poll(worker->consumer, timeout_ms, &event, error);
            machine_tick(worker);
        }
    }
    if (status == STATUS_RETRY) {
        if (worker->now_us - worker->trouble_us >= 1000000) {
            worker->trouble_us = worker->now_us;
            log_warn("consumer", "%s", error->text);
        }
        machine_sleep(worker, 100);
        return STATUS_OK;
    }
    return status == STATUS_OK ? take_event(worker, &event, error) : status;
}

/* ---- What is done beside records ---- */

static enum status run_wall_timers(struct worker *worker, struct error *error)
{
    ensure(!worker->lost && !worker->revoked);
    if (worker->assign_pending) {
        return STATUS_OK; /* nothing can be committed before the answer */
    }
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_RUNNING && task_timer_due(task, machine_wall_ms(worker))) {
            enum status status = unit_run_timers(worker, task, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
        if (task->state == TASK_RUNNING && task->input_count > 1) {
            enum status status = drain_task(worker, task, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* Repartition records below the committed offset have no reader any more. A failure is a log line.
 */
static void delete_read_records(struct worker *worker)
{
    if (worker->now_us - worker->deleted_us < DELETE_RECORDS_MS * INT64_C(1000) ||
        worker->unready_us != 0) {
        return;
    }
    worker->deleted_us = worker->now_us;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        for (size_t i = 0; i < task->input_count; i++) {
            const struct task_input *input = &task->inputs[i];
            struct error error;
            if (worker->graph->nodes[input->node].kind == GRAPH_REPARTITION &&
                task->state == TASK_RUNNING && input->committed > 0 &&
                broker_delete_records(worker->options.broker, input->topic, input->partition,
                                      input->committed, &error) != STATUS_OK) {
                log_warn("task", "records of %s are not deleted: %s", input->topic, error.text);
                return; /* the others wait for the next time, not for this broker */
            }
        }
    }
    machine_tick(worker);
}

/* ---- The loop ---- */

/* Commits what is due although no record came. */
static enum status commit_idle(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE ||
           worker->transaction.state == TRANSACTION_OPEN);
    enum status status = STATUS_OK;
    if (worker->transaction.state == TRANSACTION_OPEN &&
        (idle_commit_due(worker) || transaction_due(worker) || transaction_old(worker))) {
        status = transaction_commit(worker, error);
    }
    if (status == STATUS_OK) {
        status = transaction_flush_stores(worker, false, error);
    }
    return status;
}

static enum status loop_once(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE ||
           worker->transaction.state == TRANSACTION_OPEN);
    bool idle = false;
    if (worker->revoked) {
        return group_revoked(worker, error);
    }
    if (worker->lost) {
        return group_lost(worker, error);
    }
    bool step = recovery_needed(worker) && worker->now_us >= worker->recovery_next_us;
    if (step && !worker->poll_first) {
        int64_t began_us = worker->now_us;
        enum status status = recovery_step(worker, error);
        if (status != STATUS_OK) {
            worker->poll_first = true; /* an assignment that was lost is lost until it is polled */
            return status;
        }
        worker->recovery_ended_us = worker->now_us;
        /* As long as the step took, records are run; where none are, the next poll returns soon. */
        worker->recovery_next_us =
            recovery_beside_running(worker) ? 2 * worker->now_us - began_us : 0;
    }
    worker->poll_first = false;
    enum status status = poll(worker, &idle, error);
    if (status == STATUS_OK && (idle || worker->timers_us + 1000 < worker->now_us)) {
        worker->timers_us = worker->now_us;
        status = run_wall_timers(worker, error);
    }
    delete_read_records(worker); /* also where no moment is idle */
    if (status == STATUS_OK && idle) {
        status = commit_idle(worker, error);
        if (status == STATUS_OK && !recovery_needed(worker)) {
            status = ending_step(worker, error);
        }
    }
    return status;
}

/* Finishes or aborts what is open, closes all; the error of a failed run stays as it is. */
static enum status finish(struct worker *worker, bool commit, struct error *error)
{
    ensure(worker->transaction.state != TRANSACTION_DECIDED);
    enum status status = STATUS_OK;
    if (commit && worker->transaction.state == TRANSACTION_OPEN && !worker->lost &&
        atomic_load(worker->options.stop) < 2) {
        status = transaction_commit(worker, error);
    }
    if (status == STATUS_OK && commit && !recovery_needed(worker) &&
        atomic_load(worker->options.stop) < 2) {
        status = ending_commit_positions(worker, error);
    }
    if (status == STATUS_OK && commit) {
        status = transaction_flush_stores(worker, true, error);
    }
    if (status != STATUS_OK) {
        log_warn("worker", "the last transaction is dropped, it will be done again: %s",
                 error->text);
    }
    if (worker->done) {
        /* The broker writes its markers after it has answered: whoever reads when --until-end has
           ended should find all of the last transaction. */
        int64_t readable_us =
            worker->transaction.committed_us + MARKER_GAPS * worker->options.broker->commit_gap_us;
        machine_sleep(
            worker, readable_us > worker->now_us ? (readable_us - worker->now_us + 999) / 1000 : 0);
    }
    (void)transaction_abort(worker);
    group_close_tasks(worker);
    consumer_close(worker->consumer);
    producer_close(worker->producer);
    worker->consumer = NULL;
    worker->producer = NULL;
    return STATUS_OK;
}

enum status worker_run(struct worker *worker, struct error *error)
{
    ensure(worker->tasks == NULL && worker->consumer == NULL && worker->producer == NULL);
    machine_tick(worker);
    worker->unready_us = worker->now_us;
    enum status status = recovery_open_handles(worker, error);
    while (status == STATUS_OK && !machine_stopping(worker) && !worker->done) {
        status = loop_once(worker, error);
        if (status != STATUS_OK) {
            struct error cause = *error;
            status = recovery_begin(worker, &cause, error);
        }
    }
    struct error last;
    (void)finish(worker, status == STATUS_OK, &last);
    return status;
}

void worker_create(const struct worker_options *options, struct worker **out)
{
    ensure(options->program->graph != NULL && options->stop != NULL);
    struct worker *worker = memory_allocate(sizeof *worker);
    const struct config *config = options->program->config;
    const struct graph *graph = options->program->graph;
    worker->options = *options;
    worker->config = config;
    worker->graph = graph;
    random_init(&worker->random, options->seed);
    metrics_init(&worker->metrics);
    arena_init(&worker->transaction.arena, 4 << 20);
    worker->transaction.pending_tail = &worker->transaction.pending;
    worker->node_topics = memory_allocate(graph->node_count * sizeof *worker->node_topics);
    worker->node_partitions = memory_allocate(graph->node_count * sizeof *worker->node_partitions);
    worker->changelog_topics =
        memory_allocate(graph->sub_topology_count * sizeof *worker->changelog_topics);
    worker->unit_limit = (uint64_t)config->commit.records;
    (void)snprintf(worker->transactional_id, sizeof worker->transactional_id, "%s/%s/%" PRIu32,
                   config->application, config->instance, options->index);
    (void)snprintf(worker->instance_id, sizeof worker->instance_id, "%s-%" PRIu32, config->instance,
                   options->index);
    *out = worker;
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL) {
        return;
    }
    ensure(worker->tasks == NULL && worker->consumer == NULL && worker->producer == NULL);
    metrics_finish(&worker->metrics);
    arena_finish(&worker->transaction.arena);
    for (size_t i = 0; i < MACHINE_JUDGED; i++) {
        buffer_finish(&worker->judged[i].timer);
    }
    buffer_finish(&worker->slow.timer);
    free(worker->transaction.timers);
    free(worker->transaction.timer_tasks);
    free(worker->node_topics);
    free(worker->node_partitions);
    free(worker->changelog_topics);
    free(worker->slots);
    free(worker);
}

const struct worker_counters *worker_counters(const struct worker *worker)
{
    ensure(worker != NULL);
    return &worker->counters;
}

struct metrics *worker_metrics(struct worker *worker)
{
    ensure(worker != NULL);
    return &worker->metrics;
}
