/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: R9 and R10, how a worker takes possession of what the group gave it: the assignment set
 * with each partition's own offset, and the transaction that names this worker as owner before
 * anything else.
 *
 * Invariants
 *  L1. A task runs nothing before its claim is committed.
 *  L2. The claim commits the offsets of all inputs of the task, and a stamp where it is stateful.
 *  L3. Ownership is proven by a request that the broker fences by generation, never by what is
 *      known here.
 *  L4. A restore under way keeps its slot until it ends.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdlib.h>

enum status claim_assignment(struct worker *worker, struct error *error)
{
    ensure(!worker->lost && worker->consumer != NULL);
    struct consumer_assignment *list = NULL;
    size_t count = 0;
    int restores = 0; /* those under way keep their slot; others get what is left */
    uint32_t slot = 0;
    int64_t offset = 0;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        restores += task->state == TASK_RESTORING && restore_position(task, &slot, &offset);
    }
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        list = memory_resize(list, (count + task->input_count + 1) * sizeof *list);
        if (task->state == TASK_RESTORING && restores < MACHINE_RESTORES &&
            !restore_position(task, &slot, &offset)) {
            restore_activate(worker, task);
            restores += 1;
        }
        if (task->state == TASK_RESTORING && restore_position(task, &slot, &offset)) {
            list[count++] = (struct consumer_assignment){
                task->sub->changelog, task->partition, slot, offset, true, false};
        }
        for (size_t i = 0; i < task->input_count; i++) {
            struct task_input *input = &task->inputs[i];
            if ((task->state != TASK_RUNNING && task->state != TASK_READY) || input->fetched < 0) {
                continue; /* not yet; the next assignment has it */
            }
            if (input->slot == UINT32_MAX) {
                input->slot = group_take_slot(worker, task, (int32_t)i);
            }
            input->end = -1;
            list[count++] = (struct consumer_assignment){
                input->topic, input->partition, input->slot, input->fetched, false, input->paused};
        }
    }
    enum status status = consumer_assign(worker->consumer, list, count, error);
    free(list);
    if (status == STATUS_OK) {
        worker->assign_pending = false;
        worker->assign_needed = false;
    }
    machine_tick(worker);
    return status;
}

/* --continue-from empty: the changelog must forget the state as well. */
static enum status empty_stores(struct task *task, struct error *error)
{
    ensure(task->empty && task->state == TASK_READY);
    for (uint32_t t = 0; t < task->table_count; t++) {
        struct store_cursor *cursor = NULL;
        struct bytes key;
        struct bytes value;
        enum status status = store_scan(task->tables[t].table, (struct bytes){0}, (struct bytes){0},
                                        0, &cursor, error);
        while (status == STATUS_OK) {
            status = store_next(cursor, &key, &value, error);
            if (status == STATUS_OK) {
                struct bytes copy = {memory_copy(key.data, key.size), key.size};
                status = task_write(task, t, copy, (struct bytes){0});
                free((void *)(uintptr_t)copy.data);
                *error = status == STATUS_OK ? *error : task->failure;
            }
        }
        store_cursor_close(cursor);
        if (status != STATUS_NOT_FOUND) {
            return task->doom != STATUS_OK ? status : task_store_failed(task, error);
        }
    }
    task->empty = false;
    task->stream_time = INT64_MIN;
    return STATUS_OK;
}

enum status claim_commit(struct worker *worker, struct error *error)
{
    ensure(worker->producer_fenced && !worker->assign_pending);
    enum status status = STATUS_OK;
    if (worker->transaction.state == TRANSACTION_OPEN) {
        status = transaction_commit(worker, error);
    }
    for (struct task *task = worker->tasks; task != NULL && status == STATUS_OK;
         task = task->next) {
        if (task->state != TASK_READY) {
            continue;
        }
        status = transaction_touch(worker, task, error);
        if (status == STATUS_OK && task->empty) {
            task_begin_unit(task, machine_wall_ms(worker));
            status = empty_stores(task, error);
            task_end_unit(task);
        }
    }
    status = status == STATUS_OK ? transaction_commit(worker, error) : status;
    for (struct task *task = worker->tasks; task != NULL && status == STATUS_OK;
         task = task->next) {
        if (task->state == TASK_READY) {
            status = task_open_instances(task, machine_wall_ms(worker), error);
            if (status == STATUS_OK) {
                task_set_state(task, TASK_RUNNING);
                log_info("task", "running ms=%" PRId64 " task=%s",
                         (worker->now_us - worker->unready_us) / 1000, task->name);
            }
        }
    }
    return status;
}

enum status claim_prove_owner(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_RESTORING && worker->producer_fenced);
    enum status status = STATUS_OK;
    if (worker->assign_pending && !worker->lost && !worker->revoked) {
        /* Takes the group metadata, without which nothing is owned; the task reads nothing yet. */
        status = claim_assignment(worker, error);
        worker->assign_needed = true;
    }
    if (status == STATUS_OK &&
        (worker->lost || worker->revoked || !consumer_owns(worker->consumer))) {
        status = error_set(error, STATUS_ABORT, ERROR_NOT_OWNER, "the assignment was lost");
    }
    if (status == STATUS_OK && worker->transaction.state == TRANSACTION_OPEN) {
        status = transaction_commit(worker, error);
    }
    status = status == STATUS_OK ? producer_begin(worker->producer, error) : status;
    if (status != STATUS_OK) {
        return status;
    }
    size_t count = 0;
    struct broker_offset *offsets = recovery_offsets(NULL, &count, task);
    for (size_t i = 0; i < count; i++) {
        int64_t committed = task->inputs[i].committed;
        offsets[i].offset =
            committed < 0 ? 0 : committed; /* never committed: it is aborted below */
    }
    status = producer_send_offsets(worker->producer, worker->consumer, offsets, count, error);
    free(offsets);
    struct error ignored;
    enum status aborted = STATUS_RETRY;
    for (int i = 0; i < 5 && aborted == STATUS_RETRY; i++) {
        aborted = producer_abort(worker->producer, 1000, &ignored);
    }
    machine_tick(worker);
    if (status != STATUS_OK && aborted != STATUS_OK) {
        error->status = STATUS_FATAL; /* what it says counts; the producer is replaced */
        return STATUS_FATAL;
    }
    if (aborted != STATUS_OK) { /* the producer is in the middle of something: it is replaced */
        return error_set(error, STATUS_FATAL, ERROR_TIMED_OUT,
                         "the proof of ownership could not be ended: %s", ignored.text);
    }
    if (status == STATUS_OK && producer_suspect(worker->producer)) {
        return error_set(error, STATUS_FATAL, ERROR_TIMED_OUT,
                         "a request of the proof of ownership was answered late or not at all");
    }
    return status;
}
