/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/task.h"

#include "base/hash.h"
#include "base/log.h"
#include "engine/timer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASK_ARENA_KEEP = 1 << 20 };

/* ---- States ---- */

/* Row: from; column: to. Everything may go back to OPENING: that is what recovery is. */
static const bool legal[TASK_STATE_COUNT][TASK_STATE_COUNT] = {
    [TASK_OPENING] = {[TASK_OPENING] = true, [TASK_FETCHING] = true},
    [TASK_FETCHING] = {[TASK_OPENING] = true,
                       [TASK_RESTORING] = true,
                       [TASK_READY] = true,
                       [TASK_RUNNING] = true,
                       [TASK_SUSPENDED] = true},
    [TASK_RESTORING] = {[TASK_OPENING] = true, [TASK_READY] = true, [TASK_FETCHING] = true},
    [TASK_READY] = {[TASK_OPENING] = true, [TASK_RUNNING] = true, [TASK_FETCHING] = true},
    [TASK_RUNNING] = {[TASK_OPENING] = true, [TASK_SUSPENDED] = true, [TASK_FETCHING] = true},
    [TASK_SUSPENDED] = {[TASK_OPENING] = true, [TASK_RUNNING] = true, [TASK_FETCHING] = true},
};

const char *task_state_name(enum task_state state)
{
    static const char *const names[] = {"opening", "fetching", "restoring",
                                        "ready",   "running",  "suspended"};
    ensure(state < TASK_STATE_COUNT);
    return names[state];
}

void task_set_state(struct task *task, enum task_state state)
{
    ensure(legal[task->state][state]);
    log_debug("task", "%s -> %s task=%s", task_state_name(task->state), task_state_name(state),
              task->name);
    task->state = state;
    task->blocked = (struct blocked){0};
}

/* ---- Making ---- */

static void task_make_instances(struct task *task)
{
    ensure(task->instance_count == 0);
    const struct program *program = task->program;
    const struct graph *graph = program->graph;
    task->by_node = memory_allocate(graph->node_count * sizeof *task->by_node);
    task->instances = memory_allocate(task->sub->node_count * sizeof *task->instances);
    for (uint32_t i = 0; i < task->sub->node_count; i++) {
        uint32_t node = task->sub->nodes[i];
        if (graph->nodes[node].kind != GRAPH_OPERATOR) {
            continue;
        }
        uint32_t index = graph->nodes[node].config_index;
        struct instance *instance = &task->instances[task->instance_count++];
        *instance = (struct instance){
            .context = {&context_host, instance},
            .task = task,
            .node = node,
            .graph_node = &graph->nodes[node],
            .config = &program->config->operators[index],
            .plugin = program->plugins[index],
            .parameters = program->parameters[index],
        };
        uint32_t store_count = instance->plugin->store_count;
        instance->stores = memory_allocate(store_count * sizeof *instance->stores);
        for (uint32_t s = 0; s < store_count; s++) {
            instance->stores[s] = (struct leat_store){&context_host, instance, task->table_count};
            task->tables =
                memory_resize(task->tables, (task->table_count + 1) * sizeof *task->tables);
            task->tables[task->table_count++] =
                (struct task_table){.name = memory_format("%s/%s", instance->graph_node->name,
                                                          instance->plugin->stores[s].name)};
        }
        task->by_node[node] = instance;
    }
}

struct task *task_create(const struct program *program, uint32_t sub_topology, int32_t partition,
                         const int32_t *node_partitions, struct random *random,
                         struct metrics *metrics)
{
    ensure(partition >= 0);
    ensure(sub_topology < program->graph->sub_topology_count);
    struct task *task = memory_allocate(sizeof *task);
    task->program = program;
    task->sub_index = sub_topology;
    task->sub = &program->graph->sub_topologies[sub_topology];
    task->partition = partition;
    task->stateful = task->sub->stateful;
    task->node_partitions = node_partitions;
    task->random = random;
    task->metrics = metrics;
    (void)snprintf(task->name, sizeof task->name, "%s-%" PRId32, task->sub->name, partition);
    arena_init(&task->arena, TASK_ARENA_KEEP);
    changes_init(&task->changes);
    task->outputs_tail = &task->outputs;
    task->stream_time = INT64_MIN;
    task->schedule_first[0] = task->schedule_first[1] = INT64_MAX;
    timer_forget(task);
    task->tables = memory_allocate(sizeof *task->tables);
    task->tables[0].name = memory_text(CHANGELOG_TIMERS);
    task->table_count = 1;
    task_make_instances(task);
    return task;
}

void task_add_input(struct task *task, const char *topic, uint32_t node)
{
    ensure(task->state != TASK_RUNNING && topic != NULL);
    task->inputs = memory_resize(task->inputs, (task->input_count + 1) * sizeof *task->inputs);
    task->inputs[task->input_count++] = (struct task_input){
        .topic = topic,
        .partition = task->partition,
        .node = node,
        .slot = UINT32_MAX,
        .next = BROKER_NO_OFFSET,
        .fetched = BROKER_NO_OFFSET,
        .committed = BROKER_NO_OFFSET,
        .end = -1,
    };
}

/* A store that is closed in order is synced: a crash of the machine after that costs nothing. */
static void rest_store(struct task *task)
{
    struct error error;
    if (task->store == NULL || task->directory == NULL || task->suspect) {
        return;
    }
    store_abort(task->store);
    task->writing = false;
    if (store_sync(task->store, &error) != STATUS_OK ||
        directory_clear_boot(task->directory, &error) != STATUS_OK) {
        log_warn("task", "%s", error.text);
    }
}

void task_destroy(struct task *task)
{
    ensure(task == NULL || task->restore == NULL);
    if (task == NULL) {
        return;
    }
    task_close_instances(task);
    rest_store(task);
    task_detach_store(task);
    directory_unlock(task->directory);
    for (size_t i = 0; i < task->input_count; i++) {
        ensure(task->inputs[i].buffer_count == 0);
        free(task->inputs[i].buffer);
    }
    for (size_t i = 0; i < task->instance_count; i++) {
        free(task->instances[i].stores);
    }
    for (uint32_t i = 0; i < task->table_count; i++) {
        free(task->tables[i].name);
    }
    free(task->tables);
    free(task->instances);
    free(task->by_node);
    free(task->inputs);
    free(task->undo);
    buffer_finish(&task->position_stamp);
    buffer_finish(&task->sent_stamp);
    changes_finish(&task->changes);
    arena_finish(&task->arena);
    free(task);
}

/* ---- Store ---- */

enum status task_attach_store_take(struct task *task, struct store *store, struct error *error)
{
    ensure(task->store == NULL && task->stateful);
    task->store = store;
    for (uint32_t i = 0; i < task->table_count; i++) {
        enum status status =
            store_table_open(store, task->tables[i].name, &task->tables[i].table, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return task_load_position(task, error);
}

enum status task_put_position(struct task *task, struct error *error)
{
    ensure(task->writing);
    struct buffer value = {0};
    uint8_t sequence[8];
    position_encode(&value, &task->position);
    put_u64(sequence, task->sequence);
    enum status status =
        store_meta_put(task->store, "position", (struct bytes){value.data, value.size}, error);
    if (status == STATUS_OK) {
        status = store_meta_put(task->store, "sequence", (struct bytes){sequence, 8}, error);
    }
    buffer_finish(&value);
    return status;
}

enum status task_load_position(struct task *task, struct error *error)
{
    ensure(task->store != NULL && !task->writing);
    struct bytes value;
    task->position = (struct position){0};
    task->position_stamp.size = 0;
    task->sequence = 0;
    task->stream_time = INT64_MIN;
    timer_forget(task);
    enum status status = store_meta_get(task->store, "position", &value, error);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = position_decode(value, &task->position, error);
    if (status != STATUS_OK || task->position.stamp.data == NULL) {
        return status;
    }
    buffer_append(&task->position_stamp, task->position.stamp.data, task->position.stamp.size);
    task->position.stamp = (struct bytes){task->position_stamp.data, task->position_stamp.size};
    struct stamp stamp;
    status = stamp_decode(task->position.stamp, &task->arena, &stamp, error);
    if (status == STATUS_OK) {
        task->sequence = stamp.sequence;
        task->stream_time = stamp.stream_time;
    }
    arena_reset(&task->arena);
    return status;
}

void task_detach_store(struct task *task)
{
    ensure(!task->touched);
    store_close(task->store);
    task->store = NULL;
    task->writing = false;
    for (uint32_t i = 0; i < task->table_count; i++) {
        task->tables[i].table = NULL;
    }
}

/* ---- Instances ---- */

static void close_cursors(struct instance *instance)
{
    ensure(instance->phase != INSTANCE_CLOSED);
    struct leat_cursor **link = &instance->task->cursors;
    while (*link != NULL) {
        struct leat_cursor *cursor = *link;
        if (cursor->instance == instance) {
            *link = cursor->next;
            store_cursor_close(cursor->cursor);
        } else {
            link = &cursor->next;
        }
    }
}

static enum status instance_open(struct instance *instance, struct error *error)
{
    ensure(instance->phase == INSTANCE_CLOSED && instance->schedules == NULL);
    struct task *task = instance->task;
    leat_status returned = LEAT_OK;
    instance->phase = INSTANCE_INIT;
    instance->self = NULL;
    instance->fail_text[0] = 0;
    if (instance->plugin->descriptor.init != NULL) {
        returned = instance->plugin->descriptor.init(&instance->context, &instance->self);
        close_cursors(instance);
    }
    if (returned == LEAT_OK && task->doom == STATUS_OK && !task->failed) {
        instance->phase = INSTANCE_IDLE;
        return STATUS_OK;
    }
    instance->phase = INSTANCE_CLOSED;
    free(instance->schedules);
    instance->schedules = NULL;
    instance->schedule_count = 0;
    if (task->doom != STATUS_OK && task->failure.code != ERROR_OPERATOR) {
        *error = task->failure; /* the store's failure keeps its code: recovery mends it */
        return task->doom;
    }
    const char *why = instance->fail_text[0] != 0 ? instance->fail_text
                      : task->failed              ? task->failure.text
                                                  : "it gave no reason";
    return error_set(error, returned == LEAT_ERR_RETRY ? STATUS_RETRY : STATUS_BAD_CONFIG,
                     ERROR_OPERATOR, "init of node \"%s\" (operator %s) failed: %s",
                     instance->graph_node->name, instance->plugin->descriptor.name, why);
}

enum status task_open_instances(struct task *task, int64_t wall_ms, struct error *error)
{
    ensure(!task->writing || task->stateful);
    task_begin_unit(task, wall_ms);
    task->doom = STATUS_OK;
    task->schedule_first[0] = task->schedule_first[1] = INT64_MAX;
    for (size_t i = 0; i < task->instance_count; i++) {
        ensure(task->instances[i].phase == INSTANCE_CLOSED);
        enum status status = instance_open(&task->instances[i], error);
        if (status != STATUS_OK) {
            task_close_instances(task);
            task_end_unit(task);
            return status;
        }
    }
    task_end_unit(task);
    return STATUS_OK;
}

void task_close_instances(struct task *task)
{
    ensure(task->cursors == NULL);
    for (size_t i = task->instance_count; i > 0; i--) {
        struct instance *instance = &task->instances[i - 1];
        if (instance->phase == INSTANCE_CLOSED) {
            continue;
        }
        ensure(instance->phase == INSTANCE_IDLE);
        if (instance->plugin->descriptor.close != NULL) {
            instance->plugin->descriptor.close(instance->self);
        }
        instance->self = NULL;
        instance->phase = INSTANCE_CLOSED;
        free(instance->schedules);
        instance->schedules = NULL;
        instance->schedule_count = 0;
    }
}

/* ---- Units ---- */

void task_end_unit(struct task *task)
{
    ensure(task->cursors == NULL);
    task->outputs = NULL;
    task->outputs_tail = &task->outputs;
    task->output_count = 0;
    task->undo_count = 0;
    task->failed = false;
    task->origin = NULL;
    task->timer = (struct bytes){0};
    task->tick = NULL;
    arena_reset(&task->arena);
}

void task_begin_unit(struct task *task, int64_t wall_ms)
{
    ensure(wall_ms > INT64_MIN);
    task_end_unit(task);
    task->wall_ms = wall_ms;
}

enum status task_finish_unit(struct task *task, struct error *error)
{
    ensure(!task->failed || task->failure.status != STATUS_OK);
    if (!task->failed && task->doom == STATUS_OK) {
        return STATUS_OK;
    }
    if (task->doom == STATUS_OK) {
        task_undo(task);
    }
    *error = task->failure;
    return task->doom != STATUS_OK ? task->doom : STATUS_BAD_RECORD;
}

void task_abort(struct task *task)
{
    ensure(task->cursors == NULL);
    if (task->store != NULL) {
        store_abort(task->store);
    }
    task->writing = false;
    task->touched = false;
    task->commit_requested = false;
    task->doom = STATUS_OK;
    changes_reset(&task->changes);
    task->changes_counted = 0;
    task_end_unit(task);
    timer_forget(task);
}

void task_take_time(struct task *task, int64_t timestamp_ms)
{
    if (timestamp_ms < 0 || timestamp_ms <= task->stream_time) {
        return;
    }
    bool first = task->stream_time == INT64_MIN;
    task->stream_time = timestamp_ms;
    if (first) {
        timer_start_schedules(task, timestamp_ms);
    }
}

enum status task_run_record(struct task *task, const struct task_input *input,
                            const struct broker_record *record, int64_t wall_ms,
                            struct error *error)
{
    ensure(task->state == TASK_RUNNING && task->doom == STATUS_OK);
    task_begin_unit(task, wall_ms);
    task->origin = record;
    task->origin_input = input;
    leat_record given = {
        .key = {record->key.data, record->key.size},
        .value = {record->value.data, record->value.size},
        .headers = (const leat_header *)(const void *)record->headers,
        .header_count = record->header_count,
        .timestamp_ms = record->timestamp_ms,
        .topic = input->topic,
        .partition = input->partition,
        .offset = record->offset,
    };
    (void)task_deliver(task, &task->program->graph->nodes[input->node].outputs[0], &given);
    task->origin = NULL; /* its views end here; failures have been noted in text */
    return task_finish_unit(task, error);
}

enum status task_fail(struct task *task, uint32_t node, enum status status, enum error_code code,
                      const char *format, ...)
{
    ensure(node < task->program->graph->node_count);
    ensure(status != STATUS_OK && status != STATUS_NOT_FOUND);
    if (task->failed || task->doom != STATUS_OK) {
        return task->doom != STATUS_OK ? task->doom : task->failure.status;
    }
    char text[sizeof task->failure.text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *name = task->program->graph->nodes[node].name;
    error_set(&task->failure, status, code, "node \"%s\": %s", name, text);
    task->failed = true;
    task->failed_node = node;
    if (status != STATUS_BAD_RECORD) {
        task->doom = status;
    }
    return status;
}

/* ---- Delivery ---- */

/* A record's headers are handed to operators as they came. */
_Static_assert(sizeof(struct header) == sizeof(leat_header) &&
                   offsetof(struct header, value) == offsetof(leat_header, value) &&
                   offsetof(struct bytes, size) == offsetof(leat_bytes, size),
               "a header is a leat_header");

static int32_t output_partition(struct task *task, uint32_t node, leat_bytes key)
{
    const struct graph_node *graph_node = &task->program->graph->nodes[node];
    int32_t count = task->node_partitions[node];
    ensure(count > 0);
    if (graph_node->kind == GRAPH_SINK &&
        task->program->config->sinks[graph_node->config_index].source_partition) {
        return task->partition;
    }
    if (key.data == NULL) {
        return (int32_t)random_below(task->random, (uint64_t)count);
    }
    return hash_partition(key.data, key.size, count);
}

static struct bytes staged(struct task *task, leat_bytes bytes)
{
    if (bytes.data == NULL) {
        return (struct bytes){0};
    }
    return (struct bytes){arena_copy(&task->arena, bytes.data, bytes.size), bytes.size};
}

static void task_stage(struct task *task, uint32_t node, const leat_record *record)
{
    ensure(record->header_count == 0 || record->headers != NULL);
    struct task_output *output = arena_take(&task->arena, sizeof *output);
    *output = (struct task_output){
        .node = node,
        .record = {.partition = output_partition(task, node, record->key),
                   .key = staged(task, record->key),
                   .value = staged(task, record->value),
                   .header_count = record->header_count,
                   .timestamp_ms = record->timestamp_ms},
    };
    if (record->header_count > 0) {
        struct header *headers = arena_take(&task->arena, record->header_count * sizeof *headers);
        for (uint32_t i = 0; i < record->header_count; i++) {
            const char *name = record->headers[i].name;
            headers[i].name = arena_copy(&task->arena, name, strlen(name) + 1);
            headers[i].value = staged(task, record->headers[i].value);
        }
        output->record.headers = headers;
    }
    *task->outputs_tail = output;
    task->outputs_tail = &output->next;
    task->output_count += 1;
}

enum status task_deliver(struct task *task, const struct graph_output *output,
                         const leat_record *record)
{
    for (uint32_t i = 0; i < output->edge_count; i++) {
        uint32_t node = output->edges[i].node;
        struct instance *instance = task->by_node[node];
        if (instance == NULL) {
            task_stage(task, node, record);
            continue;
        }
        leat_record given = *record;
        given.input = output->edges[i].input;
        task_enter(instance);
        leat_status returned =
            instance->plugin->descriptor.process(instance->self, &instance->context, &given);
        enum status status = task_leave(instance, returned);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

void task_enter(struct instance *instance)
{
    ensure(instance->phase == INSTANCE_IDLE);
    instance->phase = INSTANCE_CALLBACK;
    instance->fail_text[0] = 0;
}

enum status task_leave(struct instance *instance, leat_status returned)
{
    struct task *task = instance->task;
    ensure(instance->phase == INSTANCE_CALLBACK);
    instance->phase = INSTANCE_IDLE;
    if (task->cursors != NULL) {
        close_cursors(instance);
    }
    if (task->doom != STATUS_OK) {
        return task->doom;
    }
    if (task->failed) {
        return task->failure.status;
    }
    const char *why = instance->fail_text[0] != 0 ? instance->fail_text : "it gave no reason";
    switch (returned) {
    case LEAT_OK:
        return STATUS_OK;
    case LEAT_NOT_FOUND:
        return task_fail(task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                         "its callback returned LEAT_NOT_FOUND, which only leat_get and leat_next "
                         "answer: the operator must decide what the absence means");
    case LEAT_ERR_RECORD:
        return task_fail(task, instance->node, STATUS_BAD_RECORD, ERROR_OPERATOR, "%s", why);
    case LEAT_ERR_RETRY:
        return task_fail(task, instance->node, STATUS_RETRY, ERROR_OPERATOR, "%s", why);
    case LEAT_ERR_FATAL:
        return task_fail(task, instance->node, STATUS_FATAL, ERROR_OPERATOR, "%s", why);
    default:
        return task_fail(task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                         "its callback returned %" PRId32 ", which is no status: %s", returned,
                         why);
    }
}
