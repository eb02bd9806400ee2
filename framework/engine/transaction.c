/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transaction: the commit cycle of a worker, steps 1 and 3-8 of the protocol.
 *
 * Invariants
 *  T1. Outputs, changelog records, stamps and offsets of a unit are in one broker transaction or in
 *      none.
 *  T2. Offsets are sent after every record has been acknowledged, never before.
 *  T3. The offsets of every input of every touched task are sent, changed or not; a transaction
 *      without offsets is never committed.
 *  T4. A store learns of a transaction only after a definite OK. A time-out is neither yes nor no:
 *      the same call is resumed until an answer or until the broker must have decided, then
 *      recovery reads what is.
 *  T5. No epoch begins a transaction after one of its requests was answered by a time-out or a
 *      broken connection: the producer is retired first.
 *  T6. A commit happens under the assignment under which its transaction began: any assignment,
 *      revocation (other than the one being answered) or loss since then aborts it.
 *
 *          touch          flush            send_offsets         commit OK           stores
 *   IDLE --------> OPEN --------> FLUSHED --------------> OFFERED --------> DECIDED --------> IDLE
 *     ^             |                |                       |
 *     +-------------+----------------+-----------------------+
 *                    transaction_abort
 *
 * From DECIDED it always goes on: a store that fails there is behind the log, and recovery replays
 * it.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const bool legal[TRANSACTION_STATE_COUNT][TRANSACTION_STATE_COUNT] = {
    [TRANSACTION_IDLE] = {[TRANSACTION_OPEN] = true},
    [TRANSACTION_OPEN] = {[TRANSACTION_FLUSHED] = true, [TRANSACTION_IDLE] = true},
    [TRANSACTION_FLUSHED] = {[TRANSACTION_OFFERED] = true, [TRANSACTION_IDLE] = true},
    [TRANSACTION_OFFERED] = {[TRANSACTION_DECIDED] = true, [TRANSACTION_IDLE] = true},
    [TRANSACTION_DECIDED] = {[TRANSACTION_IDLE] = true},
};

static void set_state(struct transaction *transaction, enum transaction_state state)
{
    static const char *const names[] = {"idle", "open", "flushed", "offered", "decided"};
    ensure(legal[transaction->state][state]);
    log_debug("transaction", "%s -> %s", names[transaction->state], names[state]);
    transaction->state = state;
}

/* ---- Beginning ---- */

enum status transaction_touch(struct worker *worker, struct task *task, struct error *error)
{
    struct transaction *transaction = &worker->transaction;
    if (transaction->state == TRANSACTION_IDLE) {
        ensure(worker->producer_fenced);
        enum status status = producer_begin(worker->producer, error);
        if (status != STATUS_OK) {
            return status;
        }
        set_state(transaction, TRANSACTION_OPEN);
        transaction->opened_us = worker->now_us;
        transaction->pending_tail = &transaction->pending;
    }
    ensure(transaction->state == TRANSACTION_OPEN);
    task->touched = true;
    return STATUS_OK;
}

uint64_t transaction_timer_origin(struct worker *worker, struct task *task)
{
    ensure(worker->transaction.state == TRANSACTION_OPEN && task->touched);
    struct transaction *transaction = &worker->transaction;
    if (transaction->timer_count == transaction->timer_capacity) {
        size_t capacity = transaction->timer_capacity == 0 ? 16 : transaction->timer_capacity * 2;
        transaction->timers =
            memory_resize(transaction->timers, capacity * sizeof *transaction->timers);
        transaction->timer_tasks =
            memory_resize(transaction->timer_tasks, capacity * sizeof *transaction->timer_tasks);
        transaction->timer_capacity = capacity;
    }
    size_t index = transaction->timer_count++;
    struct bytes key = task->timer;
    transaction->timers[index] = (struct bytes){
        key.data == NULL ? NULL : arena_copy(&transaction->arena, key.data, key.size), key.size};
    transaction->timer_tasks[index] = task;
    return ORIGIN_TIMER_SLOT << 48 | index;
}

/* ---- Sending ---- */

/* Remembers which input (or timer) made an output that the broker will not take. */
static void judge(struct worker *worker, uint64_t origin, const struct error *error)
{
    ensure(origin != ORIGIN_NONE);
    struct judged *judged = unit_judge(worker);
    uint64_t slot = origin >> 48;
    int64_t offset = (int64_t)(origin & UINT64_C(0xffffffffffff));
    struct task *task = NULL;
    judged->timer.size = 0;
    if (slot == ORIGIN_TIMER_SLOT) {
        ensure((size_t)offset < worker->transaction.timer_count);
        struct bytes key = worker->transaction.timers[offset];
        task = worker->transaction.timer_tasks[offset];
        buffer_append(&judged->timer, key.data, key.size);
        judged->input = UINT32_MAX;
    } else {
        ensure(slot < worker->slot_count && worker->slots[slot].task != NULL);
        task = worker->slots[slot].task;
        judged->input = (uint32_t)worker->slots[slot].input;
    }
    judged->set = true;
    judged->offset = offset;
    judged->error = *error;
    (void)snprintf(judged->task, sizeof judged->task, "%s", task->name);
}

/* What to do about a refused record: a changelog must take everything, an output may not. The
   broker refuses whole batches, so its answer is about a unit only when the transaction holds no
   other. */
static enum status refused(struct worker *worker, uint64_t origin, bool exact, struct error *error)
{
    ensure(error->status == STATUS_BAD_RECORD);
    if (origin == ORIGIN_NONE) {
        error->status = STATUS_FATAL;
        return error_prefix(error, "a changelog refused a record (internal topics need "
                                   "max.message.bytes=17825792)");
    }
    if (exact || worker->transaction.units <= 1) {
        judge(worker, origin, error);
    } else {
        worker->unit_limit = worker->transaction.units / 2;
    }
    error->status = STATUS_ABORT;
    return STATUS_ABORT;
}

enum status transaction_send(struct worker *worker, const struct broker_output *output,
                             struct error *error)
{
    struct transaction *transaction = &worker->transaction;
    if (transaction->sent_us == 0) {
        transaction->sent_us = worker->now_us;
    }
    enum status status = producer_send(worker->producer, output, error);
    if (status == STATUS_BAD_RECORD) {
        return refused(worker, output->origin, true, error);
    }
    return status;
}

static enum status send_pending(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_OPEN);
    struct transaction *transaction = &worker->transaction;
    for (const struct task_output *output = transaction->pending; output != NULL;
         output = output->next) {
        enum status status = transaction_send(worker, &output->record, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    transaction->pending = NULL;
    transaction->pending_tail = &transaction->pending;
    return STATUS_OK;
}

static struct bytes kept(struct arena *arena, struct bytes bytes)
{
    ensure(bytes.data != NULL || bytes.size == 0);
    return (struct bytes){bytes.data == NULL ? NULL : arena_copy(arena, bytes.data, bytes.size),
                          bytes.size};
}

/* The gap after a commit is used for callbacks: their outputs wait here (real-broker.md 1.6). */
static void keep_output(struct transaction *transaction, const struct task_output *output)
{
    ensure(transaction->state == TRANSACTION_OPEN);
    struct arena *arena = &transaction->arena;
    struct task_output *copy = arena_copy(arena, output, sizeof *output);
    copy->record.key = kept(arena, output->record.key);
    copy->record.value = kept(arena, output->record.value);
    copy->next = NULL;
    if (copy->record.header_count > 0) {
        struct header *headers =
            arena_copy(arena, output->record.headers, copy->record.header_count * sizeof *headers);
        for (uint32_t i = 0; i < copy->record.header_count; i++) {
            headers[i].name = arena_copy(arena, headers[i].name, strlen(headers[i].name) + 1);
            headers[i].value = kept(arena, headers[i].value);
        }
        copy->record.headers = headers;
    }
    *transaction->pending_tail = copy;
    transaction->pending_tail = &copy->next;
}

enum status transaction_take(struct worker *worker, struct task *task, uint64_t origin,
                             struct error *error)
{
    struct transaction *transaction = &worker->transaction;
    ensure(transaction->state == TRANSACTION_OPEN && task->touched);
    bool wait = worker->now_us < transaction->gap_until_us;
    if (!wait && transaction->pending != NULL) {
        enum status status = send_pending(worker, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ensure(task->changes.arena.total >= task->changes_counted);
    transaction->size += (int64_t)(task->changes.arena.total - task->changes_counted);
    task->changes_counted = task->changes.arena.total;
    for (struct task_output *output = task->outputs; output != NULL; output = output->next) {
        output->record.topic = worker->node_topics[output->node];
        output->record.origin = origin;
        transaction->size += (int64_t)(output->record.key.size + output->record.value.size);
        if (wait) {
            keep_output(transaction, output);
            continue;
        }
        enum status status = transaction_send(worker, &output->record, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    atomic_fetch_add_explicit(&worker->counters.records_out, (long long)task->output_count,
                              memory_order_relaxed);
    task_end_unit(task);
    return STATUS_OK;
}

/* ---- Commit ---- */

static enum status flush(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_OPEN);
    int64_t deadline_us =
        worker->now_us + worker->config->broker.transaction_timeout_ms * INT64_C(1000);
    for (;;) {
        enum status status = producer_flush(worker->producer, 100, error);
        if (status == STATUS_BAD_RECORD) {
            uint64_t origin = ORIGIN_NONE;
            ensure(producer_refused(worker->producer, &origin, error));
            return refused(worker, origin, false, error);
        }
        machine_tick(worker);
        if (status != STATUS_RETRY || worker->now_us > deadline_us) {
            if (status == STATUS_RETRY) {
                error->status = STATUS_ABORT;
            }
            return status == STATUS_RETRY ? STATUS_ABORT : status;
        }
    }
}

static enum status send_offsets(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_FLUSHED);
    struct broker_offset *offsets = NULL;
    size_t count = 0;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        for (size_t i = 0; task->touched && i < task->input_count; i++) {
            const struct task_input *input = &task->inputs[i];
            ensure(input->next >= 0);
            offsets = memory_resize(offsets, (count + 1) * sizeof *offsets);
            offsets[count] =
                (struct broker_offset){input->topic, input->partition, input->next, ""};
            (void)snprintf(offsets[count].metadata, sizeof offsets[count].metadata, "%s",
                           worker->transactional_id);
            count += 1;
        }
    }
    ensure(count > 0); /* T3 */
    enum status status =
        producer_send_offsets(worker->producer, worker->consumer, offsets, count, error);
    int64_t deadline_us =
        worker->now_us + worker->config->broker.transaction_timeout_ms * INT64_C(1000);
    while (status == STATUS_RETRY && worker->now_us < deadline_us) {
        machine_sleep(worker, 5);
        if (atomic_load(worker->options.stop) >= 2) {
            break;
        }
        status = producer_send_offsets(worker->producer, worker->consumer, offsets, count, error);
    }
    free(offsets);
    return status;
}

/* T4: the same call until a definite answer; beyond the time-out of the transaction plus the
   broker's own scan, recovery reads what became of it. */
static enum status decide(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_OFFERED);
    int64_t deadline_us =
        worker->now_us + (worker->config->broker.transaction_timeout_ms + 10000) * INT64_C(1000);
    for (;;) {
        enum status status = producer_commit(worker->producer, 1000, error);
        if (status != STATUS_RETRY) {
            return status;
        }
        machine_tick(worker);
        if (worker->now_us > deadline_us) {
            error->status = STATUS_FATAL; /* the outcome is open: the producer is not used again */
            return STATUS_FATAL;
        }
    }
}

static enum status apply(struct worker *worker, struct task *task, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_DECIDED && task->sent_stamp.size > 0);
    int64_t stamp_offset = producer_last_offset(
        worker->producer, worker->changelog_topics[task->sub_index], task->partition);
    if (stamp_offset < task->position.next) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "changelog %s has gone back to offset %" PRId64
                         " while it was written: it was recreated under the running application",
                         task->sub->changelog, stamp_offset);
    }
    struct buffer swap = task->position_stamp;
    task->position_stamp = task->sent_stamp;
    task->sent_stamp = swap;
    task->position = (struct position){
        .next = stamp_offset + 1,
        .head_ms = machine_wall_ms(worker),
        .stamp = {task->position_stamp.data, task->position_stamp.size},
    };
    task->sequence += 1;
    enum status status = STATUS_OK;
    if (!task->writing) {
        status = store_begin(task->store, error);
        task->writing = status == STATUS_OK;
    }
    return status == STATUS_OK ? task_put_position(task, error) : status;
}

/* Commits the store of a task, or leaves it open while flush_interval lasts. */
static enum status flush_store(struct worker *worker, struct task *task, bool now,
                               struct error *error)
{
    ensure(task->stateful && task->store != NULL);
    int64_t interval_us = worker->config->state.flush_interval_ms * INT64_C(1000);
    if (!task->writing || (!now && worker->now_us - task->flushed_us < interval_us)) {
        return STATUS_OK;
    }
    enum status status = store_commit(task->store, error);
    task->writing = false;
    task->flushed_us = worker->now_us;
    if (status == STATUS_OK && store_nearly_full(task->store)) {
        status = store_grow(task->store, error);
    }
    return status;
}

enum status transaction_flush_stores(struct worker *worker, bool all, struct error *error)
{
    ensure(worker->transaction.state != TRANSACTION_DECIDED);
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->writing && !task->touched && task->state == TASK_RUNNING) {
            enum status status = flush_store(worker, task, all, error);
            if (status != STATUS_OK) {
                (void)task_store_failed(task, error);
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* After the definite OK. A store that fails here is behind the log by one transaction, which is
   what recovery repairs; the others go on to their end first. */
static enum status apply_all(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_DECIDED);
    enum status result = STATUS_OK;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (!task->touched) {
            continue;
        }
        struct error failure;
        enum status status = STATUS_OK;
        if (task->stateful) {
            status = apply(worker, task, &failure);
            if (status == STATUS_OK) {
                status = flush_store(worker, task, false, &failure);
            }
        }
        for (size_t i = 0; i < task->input_count; i++) {
            task->inputs[i].committed = task->inputs[i].next;
        }
        changes_reset(&task->changes);
        task->changes_counted = 0;
        task->touched = false;
        task->commit_requested = false;
        if (status != STATUS_OK) {
            (void)task_store_failed(task, &failure);
        }
        if (status != STATUS_OK && result == STATUS_OK) {
            result = status;
            *error = failure;
        }
    }
    return result;
}

static void reset(struct worker *worker)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    struct transaction *transaction = &worker->transaction;
    transaction->units = 0;
    transaction->size = 0;
    transaction->sent_us = 0;
    transaction->pending = NULL;
    transaction->pending_tail = &transaction->pending;
    transaction->timer_count = 0;
    arena_reset(&transaction->arena);
}

/* T5: a late request of the old epoch could end a later transaction of it (KAFKA-17754). */
static enum status retire_if_suspect(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    if (!producer_suspect(worker->producer)) {
        return STATUS_OK;
    }
    log_warn("transaction", "a request was answered late or not at all: new producer id=%s",
             worker->transactional_id);
    enum status status = recovery_open_producer(worker, error);
    int64_t deadline_us = worker->now_us + 30 * INT64_C(1000000);
    while (status == STATUS_OK && !worker->producer_fenced) {
        status = recovery_producer_ready(worker, 100, error);
        machine_tick(worker);
        if (status == STATUS_RETRY && worker->now_us < deadline_us && !machine_stopping(worker)) {
            status = STATUS_OK;
        }
    }
    return status;
}

/* Steps 3-6, up to the definite OK. */
static enum status commit_at_broker(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_OPEN);
    struct transaction *transaction = &worker->transaction;
    enum status status = send_pending(worker, error);
    for (struct task *task = worker->tasks; task != NULL && status == STATUS_OK;
         task = task->next) {
        if (task->touched && task->stateful) {
            ensure(task->doom == STATUS_OK);
            status = publish_changes(worker, task, error);
        }
    }
    status = status == STATUS_OK ? flush(worker, error) : status;
    if (status != STATUS_OK) {
        return status;
    }
    set_state(transaction, TRANSACTION_FLUSHED);
    if (worker->lost || worker->assign_pending || !consumer_owns(worker->consumer)) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                         "the assignment was lost while a transaction was open");
    }
    status = send_offsets(worker, error);
    if (status != STATUS_OK) {
        return status;
    }
    set_state(transaction, TRANSACTION_OFFERED);
    if (worker->lost || !consumer_owns(worker->consumer)) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER,
                         "the assignment was lost while a transaction was open");
    }
    status = decide(worker, error);
    if (status == STATUS_OK) {
        set_state(transaction, TRANSACTION_DECIDED);
    }
    return status;
}

/* Ends a back-off and loosens rule 10. A claim is no progress: what failed comes after it. */
static void note_progress(struct worker *worker)
{
    ensure(worker->unit_limit > 0);
    if (worker->transaction.units > 0) {
        uint64_t limit = (uint64_t)worker->config->commit.records;
        worker->unit_limit = worker->unit_limit >= limit / 2 ? limit : worker->unit_limit * 2;
        worker->backoff_ms = 0;
        worker->fenced.count = 0;
    }
}

enum status transaction_commit(struct worker *worker, struct error *error)
{
    struct transaction *transaction = &worker->transaction;
    ensure(transaction->state == TRANSACTION_OPEN);
    enum status status = commit_at_broker(worker, error);
    if (status != STATUS_OK) {
        return status;
    }
    machine_tick(worker);
    log_debug("transaction", "committed units=%" PRIu64 " ms=%.1f", transaction->units,
              (double)(worker->now_us - transaction->opened_us) / 1000);
    status = apply_all(worker, error);
    set_state(transaction, TRANSACTION_IDLE);
    note_progress(worker);
    reset(worker);
    transaction->committed_us = worker->now_us;
    transaction->gap_until_us = worker->now_us + worker->options.broker->commit_gap_us;
    atomic_fetch_add_explicit(&worker->counters.commits, 1, memory_order_relaxed);
    return status == STATUS_OK ? retire_if_suspect(worker, error) : status;
}

bool transaction_abort(struct worker *worker)
{
    struct transaction *transaction = &worker->transaction;
    bool usable = true;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        task_abort(task);
    }
    ensure(transaction->state != TRANSACTION_DECIDED); /* transaction_commit goes on to IDLE */
    if (transaction->state != TRANSACTION_IDLE) {
        struct error error;
        enum status status = STATUS_RETRY;
        int64_t deadline_us = worker->now_us + 5 * INT64_C(1000000);
        while (status == STATUS_RETRY && worker->now_us < deadline_us) {
            status = producer_abort(worker->producer, 1000, &error);
            machine_tick(worker);
        }
        usable = status == STATUS_OK && !producer_suspect(worker->producer);
        set_state(transaction, TRANSACTION_IDLE);
        atomic_fetch_add_explicit(&worker->counters.aborts, 1, memory_order_relaxed);
    }
    reset(worker);
    transaction->gap_until_us = worker->now_us + worker->options.broker->commit_gap_us;
    return usable;
}

bool transaction_old(const struct worker *worker)
{
    const struct transaction *transaction = &worker->transaction;
    return transaction->sent_us != 0 &&
           worker->now_us - transaction->sent_us >
               worker->config->broker.transaction_timeout_ms * INT64_C(500);
}

bool transaction_due(const struct worker *worker)
{
    const struct transaction *transaction = &worker->transaction;
    return transaction->state == TRANSACTION_OPEN &&
           (transaction->units >= worker->unit_limit ||
            transaction->size >= worker->config->commit.size ||
            worker->now_us - transaction->opened_us >=
                worker->config->commit.interval_ms * INT64_C(1000));
}
