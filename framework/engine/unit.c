/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit: runs one record or one timer of a task to its end: called, judged, its outputs handed to
 * the transaction or its policy met, and committed after if that is due.
 *
 * Invariants
 *  U1. A unit is judged once: clean (its outputs go to the transaction), or bad (undone, then
 *      retries, then the policy of the node that failed).
 *  U2. Timers that a record makes due run before it; those set in the past right after the unit
 *      that set them.
 *  U3. Nothing is called in a transaction older than half its time-out (rule 10): it is committed
 *      first.
 *  U4. A unit whose output the broker refused, or that was too slow three times, is bad without
 *      being called again; its skip is committed before another is judged.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Judging ---- */

static const struct config_operator *failed_operator(const struct worker *worker,
                                                     const struct task *task)
{
    ensure(task->failed_node < worker->graph->node_count);
    const struct graph_node *node = &worker->graph->nodes[task->failed_node];
    return node->kind == GRAPH_OPERATOR ? &worker->config->operators[node->config_index] : NULL;
}

/* The policy of a bad unit, after its retries. STATUS_OK: skip it. */
static enum status policy(struct worker *worker, struct task *task, bool sink, const char *where,
                          struct error *error)
{
    ensure(error->status == STATUS_BAD_RECORD);
    const struct config_operator *failed = sink ? NULL : failed_operator(worker, task);
    enum config_on_error on_error = failed == NULL ? worker->config->on_error : failed->on_error;
    if (on_error == CONFIG_ON_ERROR_SKIP) {
        task->skipped += 1;
        atomic_fetch_add_explicit(&worker->counters.skipped, 1, memory_order_relaxed);
        log_warn("task", "skipped %s: %s", where, error->text);
        return STATUS_OK;
    }
    struct error why = *error;
    if (worker->transaction.state == TRANSACTION_OPEN && worker->transaction.units > 0) {
        struct error
            ignored; /* what was done before the bad record; if not now, then by the next run */
        (void)transaction_commit(worker, &ignored);
    }
    error_set(error, STATUS_FATAL, ERROR_OPERATOR,
              "%s: %.250s; to go on without such records set \"on_error\": \"skip\" %s%s%s", where,
              why.text, failed == NULL ? "in the topology file" : "on operator \"",
              failed == NULL ? "" : failed->name, failed == NULL ? "" : "\"");
    return STATUS_FATAL;
}

/* Whether a bad unit is to be run again (`retries`), after its `backoff`. False with a status other
   than OK: what was done before it could not be committed, or a stop leaves it to the next run. */
static bool retry_unit(struct worker *worker, struct task *task, enum status *status,
                       struct error *error)
{
    ensure(worker->retries >= 0 && task->failed);
    const struct config_operator *failed = failed_operator(worker, task);
    *status = STATUS_OK;
    if (failed == NULL || worker->retries >= failed->retries) {
        worker->retries = 0;
        return false;
    }
    if (machine_stopping(worker)) {
        *status = error_set(error, STATUS_RETRY, ERROR_STOPPED,
                            "stopped before a bad record was tried for the last time");
        return false;
    }
    worker->retries += 1;
    log_info("task", "retry %d of %" PRId64 ": %s", worker->retries, failed->retries, error->text);
    if (worker->transaction.state == TRANSACTION_OPEN && worker->transaction.units > 0) {
        *status =
            transaction_commit(worker, error); /* what is done does not wait for the back-off */
    }
    machine_sleep(worker, failed->backoff_ms);
    return *status == STATUS_OK;
}

static bool is_same(const struct judged *judged, const struct task *task, uint32_t input,
                    int64_t offset)
{
    ensure(input == UINT32_MAX || input < task->input_count);
    return judged->set && judged->input == input && judged->offset == offset &&
           strcmp(judged->task, task->name) == 0 &&
           (input != UINT32_MAX ||
            bytes_equal((struct bytes){judged->timer.data, judged->timer.size}, task->timer));
}

struct judged *unit_judge(struct worker *worker)
{
    struct judged *judged = &worker->judged[worker->judged_next];
    worker->judged_next = (worker->judged_next + 1) % MACHINE_JUDGED;
    ensure(worker->judged_next < MACHINE_JUDGED);
    worker->judged_any = true;
    return judged;
}

/* The judgement of a unit, NULL if it has none. */
static struct judged *find_judged(struct worker *worker, const struct task *task, uint32_t input,
                                  int64_t offset)
{
    bool any = false;
    for (size_t i = 0; worker->judged_any && i < MACHINE_JUDGED; i++) {
        struct judged *judged = &worker->judged[i];
        if (is_same(judged, task, input, input == UINT32_MAX ? judged->offset : offset)) {
            return judged;
        }
        any = any || judged->set;
    }
    worker->judged_any = any;
    return NULL;
}

static void note_unit(struct judged *judged, const struct task *task, uint32_t input,
                      int64_t offset)
{
    ensure(input != UINT32_MAX || task->timer.data != NULL);
    judged->set = true;
    judged->input = input;
    judged->offset = offset;
    judged->timer.size = 0;
    buffer_append(&judged->timer, task->timer.data, task->timer.size);
    (void)snprintf(judged->task, sizeof judged->task, "%s", task->name);
}

/* Rule 10: a unit that took longer than callback_timeout. STATUS_OK unless it did. */
static enum status check_slow(struct worker *worker, struct task *task, uint32_t input,
                              int64_t offset, int64_t began_us, struct error *error)
{
    int64_t took_ms = (worker->now_us - began_us) / 1000;
    struct judged *slow = &worker->slow;
    if (took_ms <= worker->config->callback_timeout_ms) {
        return STATUS_OK;
    }
    worker->slow_count = is_same(slow, task, input, offset) ? worker->slow_count + 1 : 1;
    note_unit(slow, task, input, offset);
    enum status status =
        error_set(error, STATUS_RETRY, ERROR_SLOW,
                  "a callback of task %s took %" PRId64 " ms, callback_timeout is %" PRId64
                  " ms (time %d of 3)",
                  task->name, took_ms, worker->config->callback_timeout_ms, worker->slow_count);
    if (worker->slow_count >= 3) {
        struct judged *judged = unit_judge(worker);
        note_unit(judged, task, input, offset);
        judged->error = *error;
        slow->set = false;
        worker->slow_count = 0;
    }
    return status;
}

/* ---- Units ---- */

static enum status commit_old(struct worker *worker, struct error *error)
{
    return transaction_old(worker) ? transaction_commit(worker, error) : STATUS_OK;
}

/* What an operator's failure that is no bad record says: where it was. */
static enum status operator_failed(struct worker *worker, const char *where, enum status status,
                                   struct error *error)
{
    ensure(status != STATUS_OK && status != STATUS_BAD_RECORD);
    if (error->code != ERROR_OPERATOR) {
        return status;
    }
    if (status == STATUS_RETRY && worker->transaction.units > 0) {
        /* What was done before need not wait until this succeeds. */
        worker->unit_limit = worker->transaction.units;
    }
    return error_prefix(error, "%s", where);
}

static enum status bad_timer(struct worker *worker, struct task *task, bool refused,
                             const char *where, struct error *error)
{
    ensure(task->failed && task->timer.data != NULL);
    enum status status = STATUS_OK;
    if (!refused) {
        if (retry_unit(worker, task, &status, error)) {
            return STATUS_OK; /* it is still due */
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    status = policy(worker, task, refused, where, error);
    if (status == STATUS_OK) {
        worker->transaction.units += worker->transaction.state == TRANSACTION_OPEN;
        status = task_drop_timer(task, error);
    }
    return status;
}

/* The timers of a task that are not to be called any more, NULL = none. */
static const struct task_barred *bar_timers(const struct worker *worker, const struct task *task,
                                            struct task_barred *barred)
{
    const struct task_barred *first = NULL;
    for (size_t i = 0; worker->judged_any && i < MACHINE_JUDGED; i++) {
        const struct judged *judged = &worker->judged[i];
        if (judged->set && judged->input == UINT32_MAX && strcmp(judged->task, task->name) == 0) {
            barred[i] = (struct task_barred){
                {judged->timer.data, judged->timer.size}, &judged->error, first};
            first = &barred[i];
        }
    }
    return first;
}

static enum status run_timer(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_RUNNING);
    enum status status = commit_old(worker, error);
    status = status == STATUS_OK ? transaction_touch(worker, task, error) : status;
    if (status != STATUS_OK) {
        return status;
    }
    struct task_barred barred[MACHINE_JUDGED];
    const struct task_barred *some = bar_timers(worker, task, barred);
    int64_t began_us = worker->now_us;
    status = task_run_timer(task, machine_wall_ms(worker), some, error);
    machine_tick_coarse(worker);
    if (status == STATUS_NOT_FOUND) {
        return status;
    }
    char where[256];
    (void)snprintf(where, sizeof where, "a timer of task %s", task->name);
    if (status == STATUS_BAD_RECORD) {
        struct judged *judged = find_judged(worker, task, UINT32_MAX, 0);
        bool refused = judged != NULL;
        if (refused) {
            judged->set = false;
        }
        task->commit_requested = task->commit_requested || refused; /* as for a record */
        return bad_timer(worker, task, refused, where, error);
    }
    if (status != STATUS_OK) {
        return operator_failed(worker, where, status, error);
    }
    worker->transaction.units += 1;
    worker->retries = 0;
    status = check_slow(worker, task, UINT32_MAX, 0, began_us, error);
    return status == STATUS_OK
               ? transaction_take(worker, task, transaction_timer_origin(worker, task), error)
               : status;
}

enum status unit_run_timers(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_RUNNING);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && task_timer_due(task, machine_wall_ms(worker))) {
        status = run_timer(worker, task, error);
        if (status == STATUS_OK && (transaction_due(worker) || task->commit_requested)) {
            status = transaction_commit(worker, error);
        }
        if (machine_stopping(worker)) {
            break;
        }
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Calls the nodes with a record until it is clean, its retries are used up, or nothing can go on.
 */
static enum status call_record(struct worker *worker, struct task *task,
                               const struct task_input *input, const struct broker_record *record,
                               struct error *error)
{
    ensure(input->partition == task->partition);
    for (;;) {
        enum status status = transaction_touch(worker, task, error);
        if (status != STATUS_OK) {
            return status;
        }
        int64_t began_us = worker->now_us;
        status = task_run_record(task, input, record, machine_wall_ms(worker), error);
        machine_tick_coarse(worker);
        if (status == STATUS_BAD_RECORD) {
            enum status committed = STATUS_OK;
            if (retry_unit(worker, task, &committed, error)) {
                continue;
            }
            if (committed != STATUS_OK) {
                return committed;
            }
        } else if (status == STATUS_OK) {
            status = check_slow(worker, task, (uint32_t)(input - task->inputs), record->offset,
                                began_us, error);
        }
        return status;
    }
}

/* A record that was not clean: skipped (STATUS_OK), or what ends its transaction or the run. */
static enum status failed_record(struct worker *worker, struct task *task,
                                 const struct task_input *input, const struct broker_record *record,
                                 bool refused, enum status failed, struct error *error)
{
    ensure(failed != STATUS_OK);
    char where[512];
    (void)snprintf(where, sizeof where, "topic %s partition %" PRId32 " offset %" PRId64,
                   input->topic, input->partition, record->offset);
    if (failed != STATUS_BAD_RECORD) {
        return operator_failed(worker, where, failed, error);
    }
    enum status status = policy(worker, task, refused, where, error);
    /* The offset moves on in a transaction, alone if need be. */
    return status == STATUS_OK ? transaction_touch(worker, task, error) : status;
}

/* Commits first: timers that the unit set do not belong to a transaction that is to hold it alone.
 */
static enum status after_unit(struct worker *worker, struct task *task, struct error *error)
{
    enum status status = STATUS_OK;
    if (worker->transaction.state == TRANSACTION_OPEN &&
        (task->commit_requested || transaction_due(worker))) {
        status = transaction_commit(worker, error);
    }
    if (status == STATUS_OK && task_timer_due(task, machine_wall_ms(worker))) {
        status = unit_run_timers(worker, task, error);
    }
    return status;
}

/* U2: a stop leaves timers due; their record must not overtake them, and is left to the next run.
 */
static enum status run_timers_before(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_RUNNING);
    enum status status = unit_run_timers(worker, task, error);
    if (status == STATUS_OK && machine_stopping(worker) &&
        task_timer_due(task, machine_wall_ms(worker))) {
        status = error_set(error, STATUS_RETRY, ERROR_STOPPED,
                           "stopped before the timers ahead of a record had run");
    }
    return status;
}

enum status unit_run_record(struct worker *worker, struct task *task, struct task_input *input,
                            const struct broker_record *record, struct error *error)
{
    ensure(task->state == TASK_RUNNING && record->offset >= input->next);
    uint32_t index = (uint32_t)(input - task->inputs);
    enum status status = commit_old(worker, error);
    task_take_time(task, record->timestamp_ms);
    if (status == STATUS_OK && task_timer_due(task, machine_wall_ms(worker))) {
        status = run_timers_before(worker, task, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct judged *judged = find_judged(worker, task, index, record->offset);
    bool refused = judged != NULL;
    if (refused) {
        *error = judged->error;
        error->status = status = STATUS_BAD_RECORD;
        judged->set = false;
        task->commit_requested = true; /* its skip is durable before another record is judged */
    } else {
        status = call_record(worker, task, input, record, error);
    }
    if (status == STATUS_OK) {
        status = transaction_take(worker, task, origin_of(input->slot, record->offset), error);
    } else {
        status = failed_record(worker, task, input, record, refused, status, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    input->next = record->offset + 1;
    worker->retries = 0;
    worker->transaction.units += 1;
    worker->transaction.size += (int64_t)(record->key.size + record->value.size);
    atomic_fetch_add_explicit(&worker->counters.records_in, 1, memory_order_relaxed);
    return after_unit(worker, task, error);
}
