/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group: what the group's events do to a worker's tasks, and the slots through which the consumer
 * names their partitions.
 *
 * Invariants
 *  G1. REVOKED is answered after the open transaction was committed with those partitions; LOST
 *      after it was aborted. An answer that fails is given again.
 *  G2. A task that was running when revoked is suspended with store, lock and memory; it is closed
 *      when the next assignment does not bring back just its inputs.
 *  G3. A slot names one partition of one task from one assignment to the next.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Slots ---- */

uint32_t group_take_slot(struct worker *worker, struct task *task, int32_t input)
{
    ensure(input >= -1 && input < (int32_t)task->input_count);
    uint32_t slot = 0;
    while (slot < worker->slot_count && worker->slots[slot].task != NULL) {
        slot++;
    }
    ensure(slot < ORIGIN_TIMER_SLOT);
    if (slot == worker->slot_count) {
        worker->slot_count += 1;
        worker->slots = memory_resize(worker->slots, worker->slot_count * sizeof *worker->slots);
    }
    worker->slots[slot] = (struct slot){task, input};
    return slot;
}

void group_free_slot(struct worker *worker, uint32_t slot)
{
    ensure(worker->slots[slot].task != NULL);
    ensure(slot < worker->slot_count);
    worker->slots[slot] = (struct slot){NULL, 0};
}

void group_release_buffer(struct worker *worker, struct task_input *input)
{
    ensure(worker->consumer != NULL || input->buffer_count == 0);
    while (input->buffer_count > 0) {
        consumer_release(worker->consumer, &input->buffer[input->buffer_first]);
        input->buffer_first = (input->buffer_first + 1) % input->buffer_capacity;
        input->buffer_count -= 1;
    }
    input->buffer_size = 0;
    input->paused = false;
    input->end = -1;
}

void group_release_buffers(struct worker *worker, struct task *task)
{
    for (size_t i = 0; i < task->input_count; i++) {
        group_release_buffer(worker, &task->inputs[i]);
    }
}

void group_free_slots(struct worker *worker, struct task *task)
{
    ensure(task->input_count > 0);
    for (size_t i = 0; i < task->input_count; i++) {
        if (task->inputs[i].slot != UINT32_MAX) {
            group_free_slot(worker, task->inputs[i].slot);
            task->inputs[i].slot = UINT32_MAX;
        }
    }
}

static void close_task(struct worker *worker, struct task **link)
{
    ensure(*link != NULL);
    struct task *task = *link;
    group_release_buffers(worker, task);
    group_free_slots(worker, task);
    restore_end(worker, task);
    task_abort(task);
    *link = task->next;
    task_destroy(task);
}

void group_close_tasks(struct worker *worker)
{
    while (worker->tasks != NULL) {
        close_task(worker, &worker->tasks);
    }
}

/* ---- The group's events ---- */

static uint32_t find_input_node(const struct graph *graph, const char *topic, uint32_t *sub)
{
    ensure(topic != NULL && sub != NULL);
    for (uint32_t s = 0; s < graph->sub_topology_count; s++) {
        for (uint32_t i = 0; i < graph->sub_topologies[s].input_count; i++) {
            if (strcmp(graph->sub_topologies[s].inputs[i].topic, topic) == 0) {
                *sub = s;
                return i;
            }
        }
    }
    return GRAPH_NONE;
}

static struct task *find_task(struct worker *worker, uint32_t sub, int32_t partition)
{
    ensure(sub < worker->graph->sub_topology_count && partition >= 0);
    struct task *task = worker->tasks;
    while (task != NULL && (task->sub_index != sub || task->partition != partition)) {
        task = task->next;
    }
    return task;
}

static bool has_input(const struct task *task, const char *topic)
{
    ensure(topic != NULL);
    for (size_t i = 0; i < task->input_count; i++) {
        if (strcmp(task->inputs[i].topic, topic) == 0) {
            return true;
        }
    }
    return false;
}

/* How many of the partitions belong to a task: a suspended one goes on only with just its inputs.
 */
static size_t count_inputs(const struct worker *worker, const struct task *task,
                           const struct broker_partition *partitions, size_t count)
{
    ensure(count == 0 || partitions != NULL);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t sub = 0;
        if (find_input_node(worker->graph, partitions[i].topic, &sub) != GRAPH_NONE &&
            sub == task->sub_index && partitions[i].partition == task->partition) {
            found += has_input(task, partitions[i].topic) ? 1 : task->input_count + 1;
        }
    }
    return found;
}

/* A stateful sub-topology cannot grow: keys would move away from their state. */
static enum status check_partition(const struct worker *worker, uint32_t sub,
                                   const struct broker_partition *partition, struct error *error)
{
    ensure(sub < worker->graph->sub_topology_count && partition->partition >= 0);
    for (size_t i = 0; i < worker->options.topic_count; i++) {
        const struct topic_facts *facts = &worker->options.topics[i];
        if (worker->graph->sub_topologies[sub].stateful &&
            strcmp(facts->topic, partition->topic) == 0 &&
            partition->partition >= facts->partition_count) {
            return error_set(
                error, STATUS_FATAL, ERROR_MISMATCH,
                "topic %s has grown from %" PRId32 " to at least %" PRId32
                " partitions, but sub-topology \"%s\" keeps state a partition: its keys "
                "would move away from their state. Start a new application id, or "
                "recreate the topic with %" PRId32 " partitions",
                partition->topic, facts->partition_count, partition->partition + 1,
                worker->graph->sub_topologies[sub].name, facts->partition_count);
        }
    }
    return STATUS_OK;
}

enum status group_assigned(struct worker *worker, const struct broker_partition *partitions,
                           size_t count, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE ||
           worker->transaction.state == TRANSACTION_OPEN);
    ensure(count == 0 || partitions != NULL);
    worker->assigned_once = true;
    worker->assign_pending = true;
    worker->assign_needed = true;
    worker->assign_since_us = worker->now_us;
    for (struct task **link = &worker->tasks; *link != NULL;) {
        struct task *task = *link;
        bool stays = task->state == TASK_SUSPENDED &&
                     count_inputs(worker, task, partitions, count) == task->input_count;
        if (!stays) {
            close_task(worker, link);
            continue;
        }
        task->resuming = true;
        task_set_state(task, TASK_FETCHING);
        link = &task->next;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t sub = 0;
        uint32_t index = find_input_node(worker->graph, partitions[i].topic, &sub);
        if (index == GRAPH_NONE) {
            continue; /* of an older subscription of this member */
        }
        enum status status = check_partition(worker, sub, &partitions[i], error);
        if (status != STATUS_OK) {
            return status;
        }
        struct task *task = find_task(worker, sub, partitions[i].partition);
        if (task == NULL) {
            task = task_create(worker->options.program, sub, partitions[i].partition,
                               worker->node_partitions, &worker->random, &worker->metrics);
            task->next = worker->tasks;
            worker->tasks = task;
        }
        if (!task->resuming) {
            const struct graph_input *input = &worker->graph->sub_topologies[sub].inputs[index];
            task_add_input(task, input->topic, input->node);
        }
    }
    log_info("group", "assigned partitions=%zu", count);
    return STATUS_OK;
}

enum status group_revoked(struct worker *worker, struct error *error)
{
    ensure(worker->revoked && worker->consumer != NULL);
    enum status status = STATUS_OK;
    worker->revoked_us = worker->now_us;
    if (worker->transaction.state == TRANSACTION_OPEN) {
        status = transaction_commit(worker, error);
    }
    if (status == STATUS_OK) {
        status = transaction_flush_stores(worker, true, error);
    }
    if (status != STATUS_OK) {
        return status; /* recovery_begin resets the tasks; the loop comes back here */
    }
    for (struct task **link = &worker->tasks; *link != NULL;) {
        struct task *task = *link;
        if (task->state == TASK_SUSPENDED) { /* by an answer that failed */
            link = &task->next;
            continue;
        }
        if (task->state != TASK_RUNNING) {
            close_task(worker, link);
            continue;
        }
        group_release_buffers(worker, task);
        group_free_slots(worker, task);
        for (size_t i = 0; i < task->input_count; i++) {
            /* An END event may have moved it past markers that no commit has covered. */
            ensure(task->inputs[i].next >= task->inputs[i].committed);
            task->inputs[i].next = task->inputs[i].committed;
        }
        task_set_state(task, TASK_SUSPENDED);
        link = &task->next;
    }
    worker->assign_pending = false;
    worker->assign_needed = false;
    status = consumer_unassign(worker->consumer, error);
    worker->revoked = status != STATUS_OK; /* unanswered: the group waits, so it is tried again */
    if (status == STATUS_OK) {
        log_info("group", "revoked");
    } else {
        machine_sleep(worker, 20);
    }
    return status;
}

enum status group_lost(struct worker *worker, struct error *error)
{
    ensure(worker->lost && worker->consumer != NULL);
    bool usable = transaction_abort(worker);
    group_close_tasks(worker);
    worker->revoked = false;
    worker->assign_pending = false;
    worker->assign_needed = false;
    worker->unit_limit = 1; /* rule 10 */
    log_warn("group", "the assignment was lost");
    enum status status = usable ? STATUS_OK : recovery_open_producer(worker, error);
    if (status == STATUS_OK) {
        status = consumer_unassign(worker->consumer, error);
        worker->lost = status != STATUS_OK; /* unanswered: given again */
    }
    return status;
}
