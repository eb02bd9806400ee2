/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Context: the table of functions that operators call. It checks when a call is allowed and turns
 * the engine's statuses into the operator's; what a call does is in task.c and timer.c.
 */
#include "base/log.h"
#include "engine/task.h"
#include "engine/timer.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)LEAT_REVERSE == (int)STORE_REVERSE && (int)LEAT_PREFIX == (int)STORE_PREFIX,
               "flags pass through");
_Static_assert((int)LEAT_LOG_ERROR == (int)LOG_ERROR && (int)LEAT_LOG_DEBUG == (int)LOG_DEBUG,
               "levels pass through");

static leat_status answer(enum status status)
{
    ensure(status != STATUS_BAD_CONFIG);
    switch (status) {
    case STATUS_OK:
        return LEAT_OK;
    case STATUS_NOT_FOUND:
        return LEAT_NOT_FOUND;
    case STATUS_BAD_RECORD:
        return LEAT_ERR_RECORD;
    case STATUS_RETRY:
    case STATUS_ABORT:
        return LEAT_ERR_RETRY;
    default:
        return LEAT_ERR_FATAL;
    }
}

/* A call at a wrong moment is the operator's bug; it ends the run with a text, not in silence. */
static bool allowed(struct instance *instance, bool in_init, bool in_callback, const char *call)
{
    ensure(in_init || in_callback);
    if ((in_init && instance->phase == INSTANCE_INIT) ||
        (in_callback && instance->phase == INSTANCE_CALLBACK)) {
        return true;
    }
    (void)task_fail(instance->task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                    "%s is not allowed here (see operator.h for when each call is)", call);
    return false;
}

/* What an operator gives is null where its data are, whatever its size says. */
static struct bytes given(leat_bytes bytes)
{
    return (struct bytes){bytes.data, bytes.data == NULL ? 0 : bytes.size};
}

/* ---- Parameters ---- */

static const char *host_param_string(leat_context *context, const char *name)
{
    ensure(context->host == &context_host);
    return parameters_string(context->instance->parameters, name);
}
static int64_t host_param_int(leat_context *context, const char *name)
{
    ensure(context->host == &context_host);
    return parameters_int(context->instance->parameters, name);
}
static double host_param_double(leat_context *context, const char *name)
{
    ensure(context->host == &context_host);
    return parameters_double(context->instance->parameters, name);
}
static bool host_param_bool(leat_context *context, const char *name)
{
    ensure(context->host == &context_host);
    return parameters_bool(context->instance->parameters, name);
}
static size_t host_param_count(leat_context *context, const char *name)
{
    ensure(context->host == &context_host);
    return parameters_count(context->instance->parameters, name);
}
static const char *host_param_item(leat_context *context, const char *name, size_t index)
{
    ensure(context->host == &context_host);
    return parameters_item(context->instance->parameters, name, index);
}

/* ---- Set-up ---- */

static leat_status host_store_open(leat_context *context, const char *name, leat_store **store)
{
    ensure(context->host == &context_host && store != NULL);
    struct instance *instance = context->instance;
    if (!allowed(instance, true, false, "leat_store_open")) {
        return LEAT_ERR_FATAL;
    }
    for (uint32_t i = 0; i < instance->plugin->store_count; i++) {
        if (strcmp(instance->plugin->stores[i].name, name) == 0) {
            *store = &instance->stores[i];
            return LEAT_OK;
        }
    }
    return answer(task_fail(instance->task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                            "store \"%s\" is not in the operator's descriptor", name));
}

static leat_status host_schedule(leat_context *context, leat_time_kind kind, int64_t interval_ms,
                                 uint32_t id)
{
    ensure(context->host == &context_host);
    if (!allowed(context->instance, true, false, "leat_schedule")) {
        return LEAT_ERR_FATAL;
    }
    return answer(timer_schedule(context->instance, kind, interval_ms, id));
}

/* ---- Forward ---- */

static leat_status host_forward(leat_context *context, uint32_t output, const leat_record *record)
{
    ensure(context->host == &context_host && record != NULL);
    struct instance *instance = context->instance;
    struct task *task = instance->task;
    if (!allowed(instance, false, true, "leat_forward")) {
        return LEAT_ERR_FATAL;
    }
    if (task->doom != STATUS_OK || task->failed) {
        return answer(task->doom != STATUS_OK ? task->doom : task->failure.status);
    }
    if (output >= instance->graph_node->output_count) {
        return answer(task_fail(task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                                "forwards to output %u, but has %u", output,
                                instance->graph_node->output_count));
    }
    if (record->timestamp_ms < 0) {
        return answer(task_fail(task, instance->node, STATUS_BAD_RECORD, ERROR_OPERATOR,
                                "forwards a record with a timestamp below 0"));
    }
    leat_record passed = *record;
    passed.flags = 0;
    passed.topic = NULL;
    passed.partition = task->partition;
    passed.offset = -1;
    if (task->origin != NULL) {
        passed.topic = task->origin_input->topic;
        passed.partition = task->origin_input->partition;
        passed.offset = task->origin->offset;
    }
    return answer(task_deliver(task, &instance->graph_node->outputs[output], &passed));
}

/* ---- Stores ---- */

static leat_status host_get(leat_store *store, leat_bytes key, leat_bytes *value)
{
    struct instance *instance = store->instance;
    struct task *task = instance->task;
    ensure(store->host == &context_host && store->table < task->table_count);
    struct store_table *table = task->tables[store->table].table;
    if (!allowed(instance, true, true, "leat_get")) {
        return LEAT_ERR_FATAL;
    }
    if (task->doom != STATUS_OK) {
        return answer(task->doom);
    }
    if (table == NULL || key.data == NULL || key.size == 0 || key.size > TASK_KEY_LIMIT) {
        return LEAT_NOT_FOUND; /* nothing can be stored there */
    }
    struct error error;
    struct bytes found;
    enum status status = store_get(table, given(key), &found, &error);
    if (status == STATUS_OK) {
        *value = (leat_bytes){found.data, found.size};
    } else if (status != STATUS_NOT_FOUND) {
        status = task_store_failed(task, &error);
    }
    return answer(status);
}

static leat_status host_put(leat_store *store, leat_bytes key, leat_bytes value)
{
    struct instance *instance = store->instance;
    ensure(store->host == &context_host && store->table < instance->task->table_count);
    if (!allowed(instance, false, true, "leat_put and leat_remove")) {
        return LEAT_ERR_FATAL;
    }
    if (instance->task->doom != STATUS_OK) {
        return answer(instance->task->doom);
    }
    if (key.data == NULL || key.size == 0 || key.size > TASK_KEY_LIMIT) {
        (void)snprintf(instance->fail_text, sizeof instance->fail_text,
                       "a key of %zu bytes: a store takes 1 to %d", key.size, TASK_KEY_LIMIT);
        return LEAT_ERR_RECORD;
    }
    if (value.data != NULL && value.size > STORE_VALUE_LIMIT) {
        (void)snprintf(instance->fail_text, sizeof instance->fail_text,
                       "a value of %zu bytes: a store takes at most %d", value.size,
                       STORE_VALUE_LIMIT);
        return LEAT_ERR_RECORD;
    }
    return answer(task_write(instance->task, store->table, given(key), given(value)));
}

static leat_status host_remove(leat_store *store, leat_bytes key)
{
    ensure(store->host == &context_host);
    return host_put(store, key, (leat_bytes){0});
}

static leat_status host_scan(leat_store *store, leat_bytes from, leat_bytes to, uint32_t flags,
                             leat_cursor **cursor)
{
    ensure(store->host == &context_host && cursor != NULL);
    struct instance *instance = store->instance;
    struct task *task = instance->task;
    if (!allowed(instance, true, true, "leat_scan")) {
        return LEAT_ERR_FATAL;
    }
    if (task->doom != STATUS_OK) {
        return answer(task->doom);
    }
    struct leat_cursor *made = arena_take(&task->arena, sizeof *made);
    *made = (struct leat_cursor){.host = &context_host, .task = task, .instance = instance};
    struct store_table *table = task->tables[store->table].table;
    if (table != NULL) {
        struct error error;
        enum status status =
            store_scan(table, given(from), given(to), flags, &made->cursor, &error);
        if (status != STATUS_OK) {
            return answer(task_store_failed(task, &error));
        }
    }
    made->next = task->cursors;
    task->cursors = made;
    *cursor = made;
    return LEAT_OK;
}

static leat_status host_next(leat_cursor *cursor, leat_bytes *key, leat_bytes *value)
{
    ensure(cursor->host == &context_host && key != NULL && value != NULL);
    struct task *task = cursor->task;
    if (task->doom != STATUS_OK) {
        return answer(task->doom);
    }
    if (cursor->cursor == NULL) {
        return LEAT_NOT_FOUND;
    }
    struct error error;
    struct bytes found_key;
    struct bytes found_value;
    enum status status = store_next(cursor->cursor, &found_key, &found_value, &error);
    if (status == STATUS_OK) {
        *key = (leat_bytes){found_key.data, found_key.size};
        *value = (leat_bytes){found_value.data, found_value.size};
    } else if (status != STATUS_NOT_FOUND) {
        status = task_store_failed(task, &error);
    }
    return answer(status);
}

static void host_cursor_close(leat_cursor *cursor)
{
    ensure(cursor->host == &context_host);
    for (struct leat_cursor **link = &cursor->task->cursors; *link != NULL; link = &(*link)->next) {
        if (*link == cursor) {
            *link = cursor->next;
            store_cursor_close(cursor->cursor);
            return;
        }
    }
    bool open = false; /* it was closed before, or its callback is over */
    ensure(open);
}

/* ---- Timers ---- */

static leat_status host_timer_set(leat_context *context, leat_time_kind kind, uint32_t id,
                                  int64_t time_ms, leat_bytes key)
{
    ensure(context->host == &context_host);
    if (!allowed(context->instance, false, true, "leat_timer_set")) {
        return LEAT_ERR_FATAL;
    }
    return answer(timer_set(context->instance, kind, id, time_ms, key));
}

static leat_status host_timer_cancel(leat_context *context, leat_time_kind kind, uint32_t id,
                                     int64_t time_ms, leat_bytes key)
{
    ensure(context->host == &context_host);
    if (!allowed(context->instance, false, true, "leat_timer_cancel")) {
        return LEAT_ERR_FATAL;
    }
    return answer(timer_cancel(context->instance, kind, id, time_ms, key));
}

/* ---- In any callback ---- */

static int64_t host_stream_time(leat_context *context)
{
    ensure(context->host == &context_host);
    return context->instance->task->stream_time;
}
static int64_t host_wall_time(leat_context *context)
{
    ensure(context->host == &context_host);
    return context->instance->task->wall_ms;
}
static void *host_scratch(leat_context *context, size_t size)
{
    ensure(context->host == &context_host);
    return arena_take(&context->instance->task->arena, size);
}

static leat_status host_fail(leat_context *context, leat_status status, const char *text)
{
    ensure(context->host == &context_host && text != NULL);
    struct instance *instance = context->instance;
    (void)snprintf(instance->fail_text, sizeof instance->fail_text, "%s", text);
    for (char *at = instance->fail_text; *at != 0; at++) {
        if ((unsigned char)*at < 0x20) {
            *at = ' '; /* one line a failure */
        }
    }
    return status;
}

static void host_log(leat_context *context, leat_log_level level, const char *text)
{
    ensure(context->host == &context_host && text != NULL);
    const struct instance *instance = context->instance;
    enum log_level as =
        level < LEAT_LOG_ERROR || level > LEAT_LOG_DEBUG ? LOG_INFO : (enum log_level)level;
    log_write(as, "operator", "%s node=%s task=%s", text, instance->graph_node->name,
              instance->task->name);
}

static void host_count(leat_context *context, const char *name, int64_t delta)
{
    ensure(context->host == &context_host && name != NULL);
    const struct instance *instance = context->instance;
    if (instance->task->metrics != NULL) {
        metrics_add(instance->task->metrics, instance->graph_node->name, name, delta);
    }
}

static void host_request_commit(leat_context *context)
{
    ensure(context->host == &context_host);
    context->instance->task->commit_requested = true;
}
static int32_t host_partition(leat_context *context)
{
    ensure(context->host == &context_host);
    return context->instance->task->partition;
}
static const char *host_node(leat_context *context)
{
    ensure(context->host == &context_host);
    return context->instance->graph_node->name;
}
static const void *host_extension(leat_context *context, const char *id)
{
    (void)context;
    (void)id;
    return NULL; /* this version offers none */
}

const leat_host context_host = {
    .struct_size = sizeof(leat_host),
    .abi_version = LEAT_ABI_VERSION,
    .param_string = host_param_string,
    .param_int = host_param_int,
    .param_double = host_param_double,
    .param_bool = host_param_bool,
    .param_count = host_param_count,
    .param_item = host_param_item,
    .store_open = host_store_open,
    .schedule = host_schedule,
    .forward = host_forward,
    .get = host_get,
    .put = host_put,
    .remove = host_remove,
    .scan = host_scan,
    .next = host_next,
    .cursor_close = host_cursor_close,
    .timer_set = host_timer_set,
    .timer_cancel = host_timer_cancel,
    .stream_time = host_stream_time,
    .wall_time = host_wall_time,
    .scratch = host_scratch,
    .fail = host_fail,
    .log = host_log,
    .count = host_count,
    .request_commit = host_request_commit,
    .partition = host_partition,
    .node = host_node,
    .extension = host_extension,
};
