/* SPDX-License-Identifier: Apache-2.0 */
#include "testing/driver.h"

#include <inttypes.h>
#include <string.h>

static leat_status answer_of(enum status status)
{
    ensure(status != STATUS_NOT_FOUND);
    return status == STATUS_OK                                ? LEAT_OK
           : status == STATUS_BAD_RECORD                      ? LEAT_ERR_RECORD
           : status == STATUS_RETRY || status == STATUS_ABORT ? LEAT_ERR_RETRY
                                                              : LEAT_ERR_FATAL;
}

/* ---- Outputs ---- */

static leat_bytes keep(leat_driver *driver, struct bytes bytes)
{
    ensure(bytes.data != NULL || bytes.size == 0);
    if (bytes.data == NULL) {
        return (leat_bytes){0};
    }
    return (leat_bytes){arena_copy(&driver->arena, bytes.data, bytes.size), bytes.size};
}

static void keep_output(leat_driver *driver, const struct task *task,
                        const struct task_output *output)
{
    const struct broker_output *from = &output->record;
    leat_header *headers = arena_take(&driver->arena, (from->header_count + 1) * sizeof *headers);
    for (uint32_t i = 0; i < from->header_count; i++) {
        const char *name = from->headers[i].name;
        headers[i].name = arena_copy(&driver->arena, name, strlen(name) + 1);
        headers[i].value = keep(driver, from->headers[i].value);
    }
    ensure(from->partition == 0 && task->partition == 0);
    driver->outputs =
        memory_resize(driver->outputs, (driver->output_count + 1) * sizeof *driver->outputs);
    driver->outputs[driver->output_count++] = (struct driver_output){
        .node = output->node,
        .record = {.key = keep(driver, from->key),
                   .value = keep(driver, from->value),
                   .headers = headers,
                   .header_count = from->header_count,
                   .timestamp_ms = from->timestamp_ms,
                   .topic = driver_topic(driver, output->node)},
    };
}

/* ---- Units ---- */

static enum status commit(leat_driver *driver, struct task *task)
{
    ensure(!task->writing || task->store != NULL);
    enum status status = STATUS_OK;
    if (task->writing) {
        status = store_commit(task->store, &driver->error);
        task->writing = false;
    }
    if (status == STATUS_OK && task->store != NULL && store_nearly_full(task->store)) {
        status = store_grow(task->store, &driver->error);
    }
    changes_reset(&task->changes);
    task->commit_requested = false;
    return status;
}

/* Ends a unit: commits what it did, or makes sure that nothing of it is left. */
static enum status settle(leat_driver *driver, struct task *task, enum status status)
{
    ensure(task->state == TASK_RUNNING);
    if (status == STATUS_OK) {
        for (const struct task_output *o = task->outputs; o != NULL; o = o->next) {
            keep_output(driver, task, o);
        }
    }
    task_end_unit(task);
    if (status == STATUS_OK || status == STATUS_BAD_RECORD) {
        enum status committed = commit(driver, task);
        return committed == STATUS_OK ? status : committed;
    }
    /* As after an abort: what the instances remember may be of what was undone. */
    bool grow = task->grow;
    struct error why = driver->error;
    task_close_instances(task);
    task_abort(task);
    task->grow = false;
    if (grow) {
        (void)store_grow(task->store, &driver->error);
    }
    enum status reopened = task_open_instances(task, driver->wall_ms, &driver->error);
    driver->open = driver->open && reopened == STATUS_OK;
    if (reopened == STATUS_OK) {
        driver->error = why;
    }
    return status;
}

/* Keeps the first failure; the text is that of the call that gave it. */
static enum status first_failure(enum status first, enum status next)
{
    ensure(next != STATUS_NOT_FOUND);
    return first != STATUS_OK ? first : next;
}

static bool may_go_on(enum status status)
{
    ensure(status != STATUS_NOT_FOUND);
    return status == STATUS_OK || status == STATUS_BAD_RECORD;
}

static enum status run_timers(leat_driver *driver, struct task *task)
{
    ensure(driver->wall_ms >= 0);
    enum status first = STATUS_OK;
    while (driver->open && may_go_on(first) && task_timer_due(task, driver->wall_ms)) {
        struct error error;
        enum status status = task_run_timer(task, driver->wall_ms, NULL, &error);
        if (status == STATUS_NOT_FOUND) {
            break;
        }
        if (status != STATUS_OK && first == STATUS_OK) {
            driver->error = error;
        }
        if (status == STATUS_BAD_RECORD && task_drop_timer(task, &error) != STATUS_OK) {
            status = STATUS_FATAL;
        }
        first = first_failure(first, settle(driver, task, status));
    }
    return first;
}

static enum status run_record(leat_driver *driver, struct task *task, struct task_input *input,
                              const leat_record *given)
{
    ensure(driver->open && input->next >= 0);
    struct broker_record record = {
        .key = {given->key.data, given->key.size},
        .value = {given->value.data, given->value.size},
        .timestamp_ms = given->timestamp_ms,
        .offset = input->next++,
        .headers = (const struct header *)(const void *)given->headers,
        .header_count = given->header_count,
    };
    task_take_time(task, record.timestamp_ms);
    enum status first = run_timers(driver, task);
    if (!driver->open || !may_go_on(first)) {
        return first;
    }
    struct error error;
    enum status status = task_run_record(task, input, &record, driver->wall_ms, &error);
    if (status != STATUS_OK && first == STATUS_OK) {
        driver->error = error;
    }
    first = first_failure(first, settle(driver, task, status));
    return first_failure(first, run_timers(driver, task));
}

static struct task_input *find_input(leat_driver *driver, uint32_t node, const char *topic,
                                     struct task **task)
{
    ensure(topic != NULL || node != GRAPH_NONE);
    const struct graph *graph = driver->program->graph;
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        *task = driver->tasks[i];
        for (size_t j = 0; j < (*task)->input_count; j++) {
            struct task_input *input = &(*task)->inputs[j];
            if (topic == NULL ? input->node == node : strcmp(input->topic, topic) == 0) {
                return input;
            }
        }
    }
    return NULL;
}

/* Hands on what went to repartitions, until nothing more comes of it. */
static enum status deliver_repartitions(leat_driver *driver, enum status first)
{
    ensure(driver->delivered <= driver->output_count);
    while (driver->open && may_go_on(first) && driver->delivered < driver->output_count) {
        struct driver_output output = driver->outputs[driver->delivered++];
        if (driver->program->graph->nodes[output.node].kind != GRAPH_REPARTITION) {
            continue;
        }
        struct task *task = NULL;
        struct task_input *input = find_input(driver, output.node, NULL, &task);
        ensure(input != NULL); /* every repartition has a reader */
        struct error before = driver->error;
        enum status status = run_record(driver, task, input, &output.record);
        if (first != STATUS_OK) {
            driver->error = before;
        }
        first = first_failure(first, status);
    }
    return first;
}

/* ---- The calls ---- */

/* The text of a failure stays; that of an earlier call does not. */
static leat_status finish_call(leat_driver *driver, enum status status)
{
    if (status == STATUS_OK) {
        driver->error.text[0] = 0;
    }
    ensure(status == STATUS_OK || driver->error.text[0] != 0);
    return answer_of(status);
}

leat_status leat_driver_send(leat_driver *driver, const char *to, const leat_record *record)
{
    ensure(record != NULL);
    if (!driver->open) {
        return LEAT_ERR_FATAL;
    }
    struct task *task = NULL;
    const char *first = driver->config->sources[0].topics[0];
    struct task_input *input = find_input(driver, GRAPH_NONE, to == NULL ? first : to, &task);
    if (input == NULL) {
        driver_misused(driver, "there is no input", to);
    }
    enum status status = run_record(driver, task, input, record);
    return finish_call(driver, deliver_repartitions(driver, status));
}

leat_status leat_driver_send_text(leat_driver *driver, const char *to, const char *key,
                                  const char *value, int64_t timestamp_ms)
{
    ensure(driver != NULL);
    const leat_record record = {
        .key = {key, key == NULL ? 0 : strlen(key)},
        .value = {value, value == NULL ? 0 : strlen(value)},
        .timestamp_ms = timestamp_ms,
    };
    return leat_driver_send(driver, to, &record);
}

leat_status leat_driver_advance(leat_driver *driver, int64_t ms)
{
    ensure(ms >= 0);
    driver->wall_ms += ms;
    if (!driver->open) {
        return LEAT_ERR_FATAL;
    }
    enum status first = STATUS_OK;
    for (uint32_t i = 0; i < driver->program->graph->sub_topology_count; i++) {
        struct error before = driver->error;
        enum status status = run_timers(driver, driver->tasks[i]);
        if (first != STATUS_OK) {
            driver->error = before;
        }
        first = first_failure(first, status);
    }
    return finish_call(driver, deliver_repartitions(driver, first));
}
