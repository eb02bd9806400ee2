/* SPDX-License-Identifier: Apache-2.0 */
#include "task_store.h"

#include <stdio.h>
#include <string.h>

static enum status move_aside(struct task_store *opened, const char *why, struct error *error)
{
    store_close(opened->store);
    opened->store = NULL;
    opened->aside = true;
    (void)snprintf(opened->text, sizeof opened->text, "%s", why);
    return directory_move_aside(opened->directory, error);
}

static enum status attach(struct task_store *opened, struct error *error)
{
    static const char *const names[TASK_STORE_TABLES] = {"timers", "counts/state", "long"};
    struct store_options options = {.durable = !opened->fast};
    const char *path = directory_path(opened->directory);
    enum status status = opened->fast ? directory_mark_boot(opened->directory, error) : STATUS_OK;
    status = status == STATUS_OK ? store_lmdb_open(path, &options, &opened->store, error) : status;
    for (size_t i = 0; i < TASK_STORE_TABLES && status == STATUS_OK; i++) {
        status = store_table_open(opened->store, names[i], &opened->tables[i], error);
    }
    if (status == STATUS_OK && !opened->fast) {
        status = store_sync(opened->store, error);
        status = status == STATUS_OK ? directory_clear_boot(opened->directory, error) : status;
    }
    return status;
}

enum status task_store_open(const char *path, const struct task_store_options *options,
                            struct task_store *opened, struct error *error)
{
    *opened = (struct task_store){.fast = options->fast};
    enum status status = directory_lock(path, &opened->directory, NULL, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (options->suspect) {
        status = move_aside(opened, "it cannot be trusted", error);
    } else if (!options->trust_boot && directory_boot_changed(opened->directory)) {
        status = move_aside(opened, "the boot id changed", error);
    }
    status = status == STATUS_OK ? attach(opened, error) : status;
    if (status != STATUS_OK && error->code == ERROR_CORRUPT) {
        char why[sizeof error->text];
        memcpy(why, error->text, sizeof why);
        status = move_aside(opened, why, error);
        status = status == STATUS_OK ? attach(opened, error) : status;
    }
    if (status != STATUS_OK) {
        task_store_drop(opened);
    }
    return status;
}

enum status task_store_close(struct task_store *opened, struct error *error)
{
    enum status status = store_sync(opened->store, error);
    status = status == STATUS_OK ? directory_clear_boot(opened->directory, error) : status;
    task_store_drop(opened);
    return status;
}

void task_store_drop(struct task_store *opened)
{
    store_close(opened->store);
    directory_unlock(opened->directory);
    opened->store = NULL;
    opened->directory = NULL;
}
