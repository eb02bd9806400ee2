/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: the start path, which is also the way back from every failure: R1-R4, R9, R10, and the
 * group's events. R5-R8 are in restore.c.
 *
 * Invariants
 *  C1. One path: whatever failed, tasks go back to OPENING or FETCHING and come up again from what the broker and
 *      the changelog say; nothing is guessed from memory.
 *  C2. Offsets are fetched only after this worker's own previous transaction was ended (R3), and stable.
 *  C3. Membership is kept unless it is what failed.
 *  C4. A foreign transaction is ended only while this member owns its assignment, never our own id, never
 *      another application's.
 *  C5. A task runs nothing before its claim is committed.
 *  C6. A suspended task goes on only if its offsets and their owner are unchanged.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Slots ---- */

uint32_t recovery_take_slot(struct worker *worker, struct task *task, int32_t input)
{
    uint32_t slot = 0;
    while (slot < worker->slot_count && worker->slots[slot].task != NULL) {
        slot++;
    }
    ensure(slot < ORIGIN_TIMER_SLOT);
    if (slot == worker->slot_count) {
        worker->slot_count += 1;
        worker->slots =
            memory_resize(worker->slots, worker->slot_count * sizeof *worker->slots);
    }
    worker->slots[slot] = (struct slot){task, input};
    return slot;
}

void recovery_free_slot(struct worker *worker, uint32_t slot)
{
    ensure(slot < worker->slot_count);
    worker->slots[slot] = (struct slot){NULL, 0};
}

void recovery_release_buffers(struct worker *worker, struct task *task)
{
    for (size_t i = 0; i < task->input_count; i++) {
        struct task_input *input = &task->inputs[i];
        while (input->buffer_count > 0) {
            consumer_release(worker->consumer, &input->buffer[input->buffer_first]);
            input->buffer_first = (input->buffer_first + 1) % input->buffer_capacity;
            input->buffer_count -= 1;
        }
        input->buffer_size = 0;
        input->paused = false;
        input->end = -1;
    }
}

static void free_slots(struct worker *worker, struct task *task)
{
    for (size_t i = 0; i < task->input_count; i++) {
        if (task->inputs[i].slot != UINT32_MAX) {
            recovery_free_slot(worker, task->inputs[i].slot);
            task->inputs[i].slot = UINT32_MAX;
        }
    }
}

static void close_task(struct worker *worker, struct task **link)
{
    struct task *task = *link;
    recovery_release_buffers(worker, task);
    free_slots(worker, task);
    restore_end(worker, task);
    task_abort(task);
    *link = task->next;
    task_destroy(task);
}

void recovery_close_tasks(struct worker *worker)
{
    while (worker->tasks != NULL) {
        close_task(worker, &worker->tasks);
    }
}

/* Back to the stable offsets; store, lock and membership are kept. */
static void reset_task(struct worker *worker, struct task *task)
{
    recovery_release_buffers(worker, task);
    free_slots(worker, task);
    restore_end(worker, task);
    task_abort(task);
    task_close_instances(task);
    task->resuming = false;
    task->empty = false;
    if (task->state != TASK_OPENING) {
        task_set_state(task, task->suspect || (task->stateful && task->store == NULL)
                                 ? TASK_OPENING
                                 : TASK_FETCHING);
    }
}

/* ---- Handles ---- */

enum status recovery_open_consumer(struct worker *worker, struct error *error)
{
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
    producer_close(worker->producer);
    worker->producer = NULL;
    worker->producer_fenced = false;
    return producer_open(worker->options.broker, worker->transactional_id, &worker->producer,
                         error);
}

/* Every topic that is written is known before the first transaction (else it waits a second there). */
static enum status learn_topics(struct worker *worker, struct error *error)
{
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

/* ---- The group's events ---- */

static uint32_t find_input_node(const struct graph *graph, const char *topic, uint32_t *sub)
{
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
    struct task *task = worker->tasks;
    while (task != NULL && (task->sub_index != sub || task->partition != partition)) {
        task = task->next;
    }
    return task;
}

static bool has_input(const struct task *task, const char *topic)
{
    for (size_t i = 0; i < task->input_count; i++) {
        if (strcmp(task->inputs[i].topic, topic) == 0) {
            return true;
        }
    }
    return false;
}

/* How many of the partitions belong to a task: a suspended one goes on only with just its inputs. */
static size_t count_inputs(const struct worker *worker, const struct task *task,
                           const struct broker_partition *partitions, size_t count)
{
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
    for (size_t i = 0; i < worker->options.topic_count; i++) {
        const struct topic_facts *facts = &worker->options.topics[i];
        if (worker->graph->sub_topologies[sub].stateful &&
            strcmp(facts->topic, partition->topic) == 0 &&
            partition->partition >= facts->partition_count) {
            return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
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

enum status recovery_assigned(struct worker *worker, const struct broker_partition *partitions,
                              size_t count, struct error *error)
{
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

enum status recovery_revoked(struct worker *worker, struct error *error)
{
    enum status status = STATUS_OK;
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
        if (task->state != TASK_RUNNING) {
            close_task(worker, link);
            continue;
        }
        recovery_release_buffers(worker, task);
        free_slots(worker, task);
        task_set_state(task, TASK_SUSPENDED);
        link = &task->next;
    }
    worker->revoked = false;
    worker->assign_pending = false;
    worker->assign_needed = false;
    log_info("group", "revoked");
    return consumer_unassign(worker->consumer, error);
}

enum status recovery_lost(struct worker *worker, struct error *error)
{
    bool usable = transaction_abort(worker);
    recovery_close_tasks(worker);
    worker->lost = false;
    worker->revoked = false;
    worker->assign_pending = false;
    worker->assign_needed = false;
    worker->unit_limit = 1; /* rule 10 */
    log_warn("group", "the assignment was lost");
    enum status status = consumer_unassign(worker->consumer, error);
    if (status == STATUS_OK && !usable) {
        status = recovery_open_producer(worker, error);
    }
    return status;
}

/* ---- R1, R2: directory and store ---- */

static enum status open_directory(struct worker *worker, struct task *task, struct error *error)
{
    char *path = memory_format("%s/%s/%s/%s", worker->config->state.directory,
                               worker->config->application, worker->config->instance, task->name);
    pid_t holder = 0;
    enum status status = directory_lock(path, &task->directory, &holder, error);
    free(path);
    if (status != STATUS_RETRY) {
        return status;
    }
    if (task->locked_since_us == 0) {
        task->locked_since_us = worker->now_us;
    }
    int64_t waited_ms = (worker->now_us - task->locked_since_us) / 1000;
    if (holder == getpid() || waited_ms < worker->config->broker.session_timeout_ms) {
        return STATUS_RETRY;
    }
    return error_set(error, STATUS_FATAL, ERROR_LOCKED,
                     "the state of task %s is in use by process %ld: two processes share instance "
                     "\"%s\" and its state directory",
                     task->name, (long)holder, worker->config->instance);
}

static enum status move_aside(struct task *task, const char *why, struct error *error)
{
    task_close_instances(task);
    task_detach_store(task);
    log_warn("recovery", "store moved aside, the changelog will rebuild it: %s task=%s", why,
             task->name);
    enum status status = directory_move_aside(task->directory, error);
    task->aside = true;
    task->suspect = false;
    return status;
}

static bool same_layout(struct worker *worker, struct task *task, struct buffer *layout,
                        struct error *error)
{
    struct bytes stored;
    for (size_t i = 0; i < task->instance_count; i++) {
        const struct instance *instance = &task->instances[i];
        if (instance->plugin->store_count > 0 || instance->plugin->descriptor.timer != NULL) {
            buffer_format(layout, "%s:%s ", instance->graph_node->name,
                          instance->plugin->descriptor.name);
        }
    }
    (void)worker;
    enum status status = store_meta_get(task->store, "layout", &stored, error);
    if (status != STATUS_OK) {
        return false;
    }
    struct bytes present = {layout->data, layout->size};
    if (bytes_equal(stored, present)) {
        return true;
    }
    log_warn("recovery",
             "the stateful nodes changed from \"%.*s\" to \"%s\": new ones start empty, the data of "
             "those gone stay unused task=%s",
             (int)stored.size, (const char *)stored.data, buffer_text(layout), task->name);
    return false;
}

static enum status write_layout(struct worker *worker, struct task *task, struct error *error)
{
    struct buffer layout = {0};
    enum status status = STATUS_OK;
    if (!same_layout(worker, task, &layout, error)) {
        uint8_t partition[4];
        put_u32(partition, (uint32_t)task->partition);
        status = store_begin(task->store, error);
        if (status == STATUS_OK) {
            status = store_meta_put(task->store, "layout",
                                    (struct bytes){layout.data, layout.size}, error);
        }
        if (status == STATUS_OK) {
            status = store_meta_put(task->store, "partition", (struct bytes){partition, 4}, error);
        }
        if (status == STATUS_OK) {
            status = store_commit(task->store, error);
        } else {
            store_abort(task->store);
        }
    }
    buffer_finish(&layout);
    return status;
}

static enum status attach(struct worker *worker, struct task *task, struct error *error)
{
    struct store_options options = {.durable = !worker->config->state.fast};
    struct store *store = NULL;
    enum status status =
        worker->options.store_open(directory_path(task->directory), &options, &store, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = task_attach_store_take(task, store, error);
    if (status == STATUS_OK && task->grow) {
        status = store_grow(task->store, error);
        task->grow = false;
    }
    return status == STATUS_OK ? write_layout(worker, task, error) : status;
}

static enum status open_store(struct worker *worker, struct task *task, struct error *error)
{
    enum status status = STATUS_OK;
    if (task->suspect) {
        status = move_aside(task, "it cannot be trusted", error);
    } else if (task->store == NULL && directory_boot_changed(task->directory)) {
        status = move_aside(task, "the machine went down while it was written without syncing",
                            error);
    }
    if (status == STATUS_OK && task->store == NULL) {
        status = attach(worker, task, error);
        if (status != STATUS_OK && error->code == ERROR_CORRUPT) {
            char why[sizeof error->text];
            memcpy(why, error->text, sizeof why);
            status = move_aside(task, why, error);
            status = status == STATUS_OK ? attach(worker, task, error) : status;
        }
    }
    if (status == STATUS_OK && worker->config->state.fast) {
        status = directory_mark_boot(task->directory, error);
    }
    if (status == STATUS_OK && task->grow) {
        status = store_grow(task->store, error);
        task->grow = false;
    }
    return status;
}

static enum status open_task(struct worker *worker, struct task *task, struct error *error)
{
    enum status status = STATUS_OK;
    if (task->stateful) {
        status = task->directory == NULL ? open_directory(worker, task, error) : STATUS_OK;
        if (status == STATUS_RETRY) {
            return STATUS_OK; /* held: looked at again in the next step, nothing waits for it */
        }
        status = status == STATUS_OK ? open_store(worker, task, error) : status;
    }
    if (status == STATUS_OK) {
        task_set_state(task, TASK_FETCHING);
    }
    return status;
}

/* ---- R4: stable offsets, takeover ---- */

static struct broker_offset *task_offsets(struct broker_offset *offsets, size_t *count,
                                          const struct task *task)
{
    offsets = memory_resize(offsets, (*count + task->input_count) * sizeof *offsets);
    for (size_t i = 0; i < task->input_count; i++) {
        offsets[(*count)++] = (struct broker_offset){
            task->inputs[i].topic, task->inputs[i].partition, BROKER_NO_OFFSET, ""};
    }
    return offsets;
}

static bool takes_over(const struct worker *worker, const char *id)
{
    size_t size = strlen(worker->config->application);
    return strncmp(id, worker->config->application, size) == 0 && id[size] == '/' &&
           strcmp(id, worker->transactional_id) != 0;
}

enum status recovery_take_over(struct worker *worker, struct task *task, struct error *error)
{
    char id[BROKER_METADATA_SIZE] = "";
    if (worker->lost || worker->revoked || !consumer_owns(worker->consumer)) {
        return STATUS_OK; /* C4; the group's event is on its way */
    }
    enum status status = STATUS_NOT_FOUND;
    if (task->stateful) {
        status = broker_blocking_header(worker->options.broker, task->sub->changelog,
                                        task->partition, CHANGELOG_HEADER, id, sizeof id, error);
    }
    if (status == STATUS_NOT_FOUND) {
        size_t count = 0;
        struct broker_offset *offsets = task_offsets(NULL, &count, task);
        status = broker_committed_unstable(worker->options.broker, worker->config->application,
                                           offsets, count, 1000, error);
        for (size_t i = 0; i < count && status == STATUS_OK && id[0] == 0; i++) {
            memcpy(id, offsets[i].metadata, sizeof id);
        }
        free(offsets);
    }
    if (status == STATUS_RETRY || !takes_over(worker, id)) {
        return STATUS_OK; /* its time-out ends it */
    }
    if (status == STATUS_OK) {
        log_warn("recovery", "ending the transaction of %s, which blocks task=%s", id, task->name);
        status = broker_take_over(worker->options.broker, id, error);
    }
    machine_tick(worker);
    return status == STATUS_RETRY ? STATUS_OK : status;
}

/* C6, and on to R5 or R9. */
static enum status offsets_known(struct worker *worker, struct task *task,
                                 const struct broker_offset *offsets, struct error *error)
{
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
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state != TASK_FETCHING) {
            continue;
        }
        size_t count = 0;
        struct broker_offset *offsets = task_offsets(NULL, &count, task);
        enum status status =
            consumer_committed(worker->consumer, offsets, count, worker->fetch_slice_ms, error);
        if (status == STATUS_OK) {
            status = offsets_known(worker, task, offsets, error);
        } else if (status == STATUS_RETRY) {
            status = recovery_take_over(worker, task, error);
        }
        free(offsets);
        machine_tick(worker);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status fetch_offsets(struct worker *worker, struct error *error)
{
    if (worker->fetch_since_us == 0) {
        worker->fetch_since_us = worker->now_us;
        worker->fetch_slice_ms = any_task(worker, TASK_RUNNING) ? 20 : 100;
    }
    size_t count = 0;
    struct broker_offset *offsets = NULL;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_FETCHING) {
            offsets = task_offsets(offsets, &count, task);
        }
    }
    enum status status =
        consumer_committed(worker->consumer, offsets, count, worker->fetch_slice_ms, error);
    machine_tick(worker);
    size_t at = 0;
    for (struct task *task = worker->tasks; task != NULL && status == STATUS_OK;
         task = task->next) {
        if (task->state == TASK_FETCHING) {
            size_t inputs = task->input_count;
            status = offsets_known(worker, task, offsets + at, error);
            at += inputs;
        }
    }
    free(offsets);
    if (status != STATUS_RETRY) {
        worker->fetch_since_us = 0;
        return status;
    }
    worker->fetch_slice_ms = worker->fetch_slice_ms >= 250 ? 500 : worker->fetch_slice_ms * 2;
    if (worker->now_us - worker->fetch_since_us < MACHINE_UNANSWERED_MS * INT64_C(1000) ||
        worker->now_us - worker->takeover_us < MACHINE_UNANSWERED_MS * INT64_C(1000)) {
        return STATUS_OK;
    }
    worker->takeover_us = worker->now_us;
    return fetch_blocked(worker, error);
}

/* ---- R9, R10: assignment and claim ---- */

static enum status set_assignment(struct worker *worker, struct error *error)
{
    struct consumer_assignment *list = NULL;
    size_t count = 0;
    int restores = 0;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        list = memory_resize(list, (count + task->input_count + 1) * sizeof *list);
        if (task->state == TASK_RESTORING && restores < MACHINE_RESTORES) {
            uint32_t slot = 0;
            int64_t offset = 0;
            restore_activate(worker, task);
            ensure(restore_position(task, &slot, &offset));
            list[count++] = (struct consumer_assignment){task->sub->changelog, task->partition,
                                                         slot, offset, true, false};
            restores += 1;
        }
        for (size_t i = 0; i < task->input_count; i++) {
            struct task_input *input = &task->inputs[i];
            if ((task->state != TASK_RUNNING && task->state != TASK_READY) || input->fetched < 0) {
                continue; /* not yet; the next assignment has it */
            }
            if (input->slot == UINT32_MAX) {
                input->slot = recovery_take_slot(worker, task, (int32_t)i);
            }
            input->end = -1;
            list[count++] = (struct consumer_assignment){input->topic, input->partition, input->slot,
                                                         input->fetched, false, input->paused};
        }
    }
    enum status status = consumer_assign(worker->consumer, list, count, error);
    free(list);
    worker->assign_pending = false;
    worker->assign_needed = false;
    machine_tick(worker);
    return status;
}

enum status recovery_log_offset(struct worker *worker, const struct task_input *input, bool end,
                                int64_t *offset, struct error *error)
{
    int64_t log_start = 0;
    int64_t log_end = 0;
    enum status status = broker_log_range(worker->options.broker, input->topic, input->partition,
                                          &log_start, &log_end, error);
    *offset = end ? log_end : log_start;
    return status;
}

/* Whether the application has ever committed an offset of this topic. */
static enum status topic_committed(struct worker *worker, const char *topic, bool *committed,
                                   struct error *error)
{
    struct broker_topic facts;
    enum status status = broker_topic_get(worker->options.broker, topic, &facts, error);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "topic %s is gone", topic);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct broker_offset *offsets =
        memory_allocate((size_t)facts.partition_count * sizeof *offsets);
    for (int32_t p = 0; p < facts.partition_count; p++) {
        offsets[p] = (struct broker_offset){topic, p, BROKER_NO_OFFSET, ""};
    }
    status = broker_committed_unstable(worker->options.broker, worker->config->application, offsets,
                                       (size_t)facts.partition_count, 5000, error);
    *committed = false;
    for (int32_t p = 0; p < facts.partition_count; p++) {
        *committed = *committed || offsets[p].offset != BROKER_NO_OFFSET;
    }
    free(offsets);
    return status;
}

/* R10: `start` is resolved here, once; a partition that appeared later begins at its log's start. */
static enum status resolve_start(struct worker *worker, struct task_input *input,
                                 struct error *error)
{
    const struct graph_node *node = &worker->graph->nodes[input->node];
    enum config_start start = CONFIG_START_EARLIEST;
    bool committed = false;
    if (node->kind == GRAPH_SOURCE) {
        start = worker->config->sources[node->config_index].start;
    }
    if (start != CONFIG_START_EARLIEST) {
        enum status status = topic_committed(worker, input->topic, &committed, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (start == CONFIG_START_STOP && !committed) {
        return error_set(error, STATUS_FATAL, ERROR_OFFSET_LOST,
                         "source \"%s\": topic %s has no committed offset and \"start\" is \"stop\"; "
                         "say \"earliest\" or \"latest\" once",
                         node->name, input->topic);
    }
    return recovery_log_offset(worker, input, start == CONFIG_START_LATEST && !committed,
                               &input->next, error);
}

/* Inputs of READY tasks get their beginning before they are assigned. */
static enum status resolve_starts(struct worker *worker, struct error *error)
{
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        for (size_t i = 0; task->state == TASK_READY && i < task->input_count; i++) {
            struct task_input *input = &task->inputs[i];
            if (input->next == BROKER_NO_OFFSET) {
                enum status status = resolve_start(worker, input, error);
                if (status != STATUS_OK) {
                    return status;
                }
            }
            input->fetched = input->next;
        }
    }
    return STATUS_OK;
}

/* --continue-from empty: the changelog must forget the state as well. */
static enum status empty_stores(struct task *task, struct error *error)
{
    for (uint32_t t = 0; t < task->table_count; t++) {
        struct store_cursor *cursor = NULL;
        struct bytes key;
        struct bytes value;
        enum status status = store_scan(task->tables[t].table, (struct bytes){0},
                                        (struct bytes){0}, 0, &cursor, error);
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
            return status;
        }
    }
    task->empty = false;
    task->stream_time = INT64_MIN;
    return STATUS_OK;
}

static enum status claim(struct worker *worker, struct error *error)
{
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

enum status recovery_prove_owner(struct worker *worker, struct task *task, struct error *error)
{
    if (worker->lost || worker->revoked || !consumer_owns(worker->consumer)) {
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER, "the assignment was lost");
    }
    enum status status = STATUS_OK;
    if (worker->assign_pending) {
        status = set_assignment(worker, error); /* takes the group metadata; the task reads nothing yet */
        worker->assign_needed = true;
    }
    if (status == STATUS_OK && worker->transaction.state == TRANSACTION_OPEN) {
        status = transaction_commit(worker, error);
    }
    status = status == STATUS_OK ? producer_begin(worker->producer, error) : status;
    if (status != STATUS_OK) {
        return status;
    }
    size_t count = 0;
    struct broker_offset *offsets = task_offsets(NULL, &count, task);
    for (size_t i = 0; i < count; i++) {
        int64_t committed = task->inputs[i].committed;
        offsets[i].offset = committed < 0 ? 0 : committed; /* never committed: it is aborted below */
    }
    status = producer_send_offsets(worker->producer, worker->consumer, offsets, count, error);
    free(offsets);
    struct error ignored;
    enum status aborted = STATUS_RETRY;
    for (int i = 0; i < 5 && aborted == STATUS_RETRY; i++) {
        aborted = producer_abort(worker->producer, 1000, &ignored);
    }
    machine_tick(worker);
    if (status == STATUS_OK && aborted != STATUS_OK) {
        *error = ignored;
        return STATUS_ABORT;
    }
    return status;
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
    int64_t budget_ms = any_task(worker, TASK_RUNNING) ? 2 : 25;
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
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state == TASK_OPENING) {
            enum status status = open_task(worker, task, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

enum status recovery_step(struct worker *worker, struct error *error)
{
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
    status = status == STATUS_OK ? resolve_starts(worker, error) : status;
    /* One assignment for all that is ready soon; those that take longer get another. */
    bool wait = (any_task(worker, TASK_FETCHING) || any_task(worker, TASK_OPENING)) &&
                worker->now_us - worker->assign_since_us < 100000;
    if (status == STATUS_OK && worker->assign_needed && !wait) {
        status = set_assignment(worker, error);
    }
    if (status == STATUS_OK && !worker->assign_pending && !worker->assign_needed &&
        any_task(worker, TASK_READY)) {
        status = claim(worker, error);
    }
    if (status == STATUS_OK && !worker->assign_pending && any_task(worker, TASK_RESTORING)) {
        status = restore_tasks(worker, error);
    }
    if (status == STATUS_OK && !recovery_needed(worker)) {
        worker->unready_us = 0;
    }
    return status;
}

/* ---- After a failure ---- */

/* What no recovery can mend. */
static bool is_final(const struct error *cause)
{
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

/* Rule 12: the sixth time within a minute without a commit between ends the run. */
static bool fenced_too_often(struct worker *worker)
{
    if (worker->fenced_count < MACHINE_FENCED_LIMIT) {
        worker->fenced_us[worker->fenced_count++] = worker->now_us;
    } else {
        memmove(worker->fenced_us, worker->fenced_us + 1,
                (MACHINE_FENCED_LIMIT - 1) * sizeof worker->fenced_us[0]);
        worker->fenced_us[MACHINE_FENCED_LIMIT - 1] = worker->now_us;
    }
    return worker->fenced_count == MACHINE_FENCED_LIMIT &&
           worker->now_us - worker->fenced_us[0] < MACHINE_FENCED_WINDOW_MS * INT64_C(1000);
}

static enum status renew_handles(struct worker *worker, const struct error *cause, bool usable,
                                 struct error *error)
{
    enum status status = STATUS_OK;
    if (cause->code == ERROR_FENCED_INSTANCE) {
        recovery_close_tasks(worker);
        consumer_close(worker->consumer);
        worker->consumer = NULL;
        worker->assign_pending = worker->assign_needed = false;
        worker->lost = worker->revoked = false;
        status = recovery_open_consumer(worker, error);
    }
    bool fatal = cause->status == STATUS_FATAL && cause->code != ERROR_CORRUPT;
    if (status == STATUS_OK &&
        (!usable || fatal || cause->code == ERROR_FENCED || producer_suspect(worker->producer))) {
        status = recovery_open_producer(worker, error);
    }
    return status;
}

enum status recovery_begin(struct worker *worker, const struct error *cause, struct error *error)
{
    bool slow_death = (cause->code == ERROR_FENCED || cause->code == ERROR_NOT_OWNER ||
                       cause->code == ERROR_TIMED_OUT || cause->code == ERROR_SLOW) &&
                      worker->transaction.state != TRANSACTION_IDLE;
    bool fenced = cause->code == ERROR_FENCED || cause->code == ERROR_FENCED_INSTANCE;
    bool usable = transaction_abort(worker);
    if (is_final(cause) || (fenced && fenced_too_often(worker))) {
        *error = *cause;
        error->status = STATUS_FATAL;
        return STATUS_FATAL;
    }
    log_warn("recovery", "recovering: %s", cause->text);
    atomic_fetch_add_explicit(&worker->counters.recoveries, 1, memory_order_relaxed);
    if (slow_death) {
        worker->unit_limit = 1;
    } else if (worker->judged.set && worker->judged.error.code != ERROR_SLOW) {
        worker->unit_limit = worker->unit_limit / 2 > 0 ? worker->unit_limit / 2 : 1;
    }
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        if (task->state != TASK_SUSPENDED) {
            reset_task(worker, task);
        }
    }
    worker->assign_needed = worker->tasks != NULL;
    worker->assign_since_us = worker->now_us;
    worker->fetch_since_us = 0;
    worker->backoff_ms = worker->backoff_ms == 0     ? 20
                         : worker->backoff_ms > 2500 ? 5000
                                                     : worker->backoff_ms * 2;
    if (cause->code != ERROR_CORRUPT && cause->code != ERROR_MAP_FULL && !worker->revoked) {
        machine_sleep(worker, worker->backoff_ms);
    }
    return renew_handles(worker, cause, usable, error);
}
