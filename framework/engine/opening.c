/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening: R1 and R2, a task's directory and store: locked, checked, moved aside when not to be
 * trusted.
 *
 * Invariants
 *  O1. No store is opened without its directory's lock.
 *  O2. A `fast` store is written only while the boot-id marker is on the disk.
 *  O3. What is moved aside stays on the disk until the self-check passed (restore.c).
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- R1, R2: directory and store ---- */

static enum status open_directory(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->directory == NULL && task->stateful);
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
    ensure(task->directory != NULL);
    task_close_instances(task);
    task_detach_store(task);
    log_warn("recovery", "store moved aside, the changelog will rebuild it: %s task=%s", why,
             task->name);
    enum status status = directory_move_aside(task->directory, error);
    task->suspect = false;
    return status;
}

static void describe_layout(const struct task *task, struct buffer *layout)
{
    ensure(layout->size == 0 && task->stateful);
    for (size_t i = 0; i < task->instance_count; i++) {
        const struct instance *instance = &task->instances[i];
        if (instance->plugin->store_count > 0 || instance->plugin->descriptor.timer != NULL) {
            buffer_format(layout, "%s:%s", instance->graph_node->name,
                          instance->plugin->descriptor.name);
            for (uint32_t s = 0; s < instance->plugin->store_count; s++) {
                buffer_format(layout, "/%s", instance->plugin->stores[s].name);
            }
            buffer_append_text(layout, " ");
        }
    }
}

/* STATUS_NOT_FOUND: the layout is to be written. ERROR_CORRUPT: it changed, and the store lacks
   what the changelog holds of a node that may have come back. */
static enum status compare_layout(const struct task *task, struct buffer *layout,
                                  struct error *error)
{
    ensure(task->store != NULL && layout->size > 0);
    struct bytes stored;
    struct bytes incomplete;
    enum status status = store_meta_get(task->store, "layout", &stored, error);
    if (status != STATUS_OK || bytes_equal(stored, (struct bytes){layout->data, layout->size})) {
        return status;
    }
    log_warn(
        "recovery",
        "the stateful nodes changed from \"%.*s\" to \"%s\": new ones start empty, the data of "
        "those gone stay unused task=%s",
        (int)stored.size, (const char *)stored.data, buffer_text(layout), task->name);
    status = store_meta_get(task->store, TASK_INCOMPLETE, &incomplete, error);
    return status == STATUS_OK
               ? error_set(error, STATUS_RETRY, ERROR_CORRUPT,
                           "it was restored without nodes that its changelog has data of, and the "
                           "nodes changed")
               : status;
}

static enum status write_layout(struct task *task, struct error *error)
{
    ensure(task->store != NULL && !task->writing);
    struct buffer layout = {0};
    describe_layout(task, &layout);
    enum status status = compare_layout(task, &layout, error);
    if (status == STATUS_NOT_FOUND) {
        uint8_t partition[4];
        put_u32(partition, (uint32_t)task->partition);
        status = store_begin(task->store, error);
        if (status == STATUS_OK) {
            status = store_meta_put(task->store, "layout", (struct bytes){layout.data, layout.size},
                                    error);
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
    ensure(task->store == NULL && task->directory != NULL);
    bool fast = worker->config->state.fast;
    struct store_options options = {.durable = !fast};
    struct store *store = NULL;
    enum status status = fast ? directory_mark_boot(task->directory, error) : STATUS_OK;
    if (status == STATUS_OK) {
        status =
            worker->options.store_open(directory_path(task->directory), &options, &store, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = task_attach_store_take(task, store, error);
    if (status == STATUS_OK && !fast) {
        /* It may have been `fast` before: what that left unsynced is synced once. */
        status = store_sync(task->store, error);
        status = status == STATUS_OK ? directory_clear_boot(task->directory, error) : status;
    }
    if (status == STATUS_OK && task->grow) {
        status = store_grow(task->store, error);
        task->grow = false;
    }
    status = status == STATUS_OK ? write_layout(task, error) : status;
    if (status != STATUS_OK && error->code == ERROR_MAP_FULL) {
        task_detach_store(task); /* opened again it is grown first */
        task->grow = true;
    }
    return status;
}

static enum status open_store(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->directory != NULL && task->state == TASK_OPENING);
    enum status status = STATUS_OK;
    if (task->suspect) {
        status = move_aside(task, "it cannot be trusted", error);
    } else if (task->store == NULL && directory_boot_changed(task->directory)) {
        status =
            move_aside(task, "the machine went down while it was written without syncing", error);
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
    if (status == STATUS_OK && task->grow) {
        status = store_grow(task->store, error);
        task->grow = false;
    }
    return status;
}

enum status opening_step(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_OPENING);
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
