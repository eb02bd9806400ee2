/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes: how a unit changes its task's stores, and how that is undone (task.h, invariants 1 and
 * 3).
 *
 * Invariant: a write is in the store's open transaction, in `changes` and in the undo list, or in
 * none of them; an undo restores all that a reader, the changelog or a later undo could see.
 */
#include "engine/task.h"
#include "engine/timer.h"

enum status task_store_failed(struct task *task, const struct error *error)
{
    ensure(error->status != STATUS_OK && error->status != STATUS_NOT_FOUND);
    if (error->code == ERROR_MAP_FULL) {
        task->grow = true;
    }
    if (error->code == ERROR_CORRUPT) {
        task->suspect = true;
    }
    /* Whatever the store says, the transaction cannot go on. */
    enum status status = error->status == STATUS_FATAL ? STATUS_FATAL : STATUS_RETRY;
    if (task->doom == STATUS_OK) { /* also over a bad record: its undo could not be done */
        task->failure = *error;
        task->failure.status = status;
        task->failed = true;
    }
    task->doom = status;
    return status;
}

/* What the key holds now, copied into the arena. */
static enum status task_old_value(struct task *task, const struct change *change, struct bytes *old,
                                  struct error *error)
{
    ensure(change->table < task->table_count);
    struct bytes view = change->value;
    *old = (struct bytes){0};
    if (!change->dirty) {
        enum status status =
            store_get(task->tables[change->table].table, change->key, &view, error);
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? STATUS_OK : status;
        }
    }
    if (view.data != NULL) {
        *old = (struct bytes){arena_copy(&task->arena, view.data, view.size), view.size};
    }
    return STATUS_OK;
}

static void task_push_undo(struct task *task, struct undo undo)
{
    ensure(undo.change < task->changes.count);
    if (task->undo_count == task->undo_capacity) {
        task->undo_capacity = task->undo_capacity == 0 ? 16 : task->undo_capacity * 2;
        task->undo = memory_resize(task->undo, task->undo_capacity * sizeof *task->undo);
    }
    task->undo[task->undo_count++] = undo;
}

enum status task_write(struct task *task, uint32_t table, struct bytes key, struct bytes value)
{
    ensure(value.data != NULL || value.size == 0);
    ensure(task->stateful && table < task->table_count);
    struct error error;
    if (task->doom != STATUS_OK) {
        return task->doom;
    }
    if (!task->writing) {
        if (store_begin(task->store, &error) != STATUS_OK) {
            return task_store_failed(task, &error);
        }
        task->writing = true;
    }
    size_t index = changes_at(&task->changes, table, key);
    struct change *change = &task->changes.items[index];
    struct bytes old;
    if (task_old_value(task, change, &old, &error) != STATUS_OK) {
        return task_store_failed(task, &error);
    }
    if (old.data == NULL && value.data == NULL) {
        return STATUS_OK;
    }
    task_push_undo(task, (struct undo){index, old, change->dirty});
    changes_set(&task->changes, index, value, true);
    /* The copies are what is written: the caller's may be views of the very pages that change. */
    struct store_table *written = task->tables[table].table;
    enum status status = value.data == NULL
                             ? store_remove(written, change->key, &error)
                             : store_put(written, change->key, change->value, &error);
    return status == STATUS_OK ? STATUS_OK : task_store_failed(task, &error);
}

/* Undoes the unit's writes, newest first. The entries of `changes` keep their place. */
void task_undo(struct task *task)
{
    ensure(task->failed);
    for (size_t i = task->undo_count; i > 0 && task->doom == STATUS_OK; i--) {
        const struct undo *undo = &task->undo[i - 1];
        struct change *change = &task->changes.items[undo->change];
        struct store_table *table = task->tables[change->table].table;
        struct error error;
        enum status status = undo->old.data == NULL
                                 ? store_remove(table, change->key, &error)
                                 : store_put(table, change->key, undo->old, &error);
        if (status != STATUS_OK) {
            (void)task_store_failed(task, &error);
            return;
        }
        changes_set(&task->changes, undo->change, undo->old, undo->was_dirty);
    }
    timer_forget(task);
    task->outputs = NULL;
    task->outputs_tail = &task->outputs;
    task->output_count = 0;
}
