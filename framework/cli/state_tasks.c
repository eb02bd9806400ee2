/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/state_tasks.h"

#include "base/bytes.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Splits NAME-PARTITION. Folders that were moved aside have a dot behind the number. */
static bool task_parse(const char *text, struct state_task *task)
{
    ensure(text[0] != '\0');
    const char *dash = strrchr(text, '-');
    if (dash == NULL || dash == text || strstr(text, ".aside-") != NULL) {
        return false;
    }
    const char *digits = dash + 1;
    size_t size = strlen(digits);
    if (size == 0 || size > 9 || digits[strspn(digits, "0123456789")] != '\0' ||
        (digits[0] == '0' && size > 1)) {
        return false;
    }
    task->part_size = (size_t)(dash - text);
    task->partition = (int32_t)strtol(digits, NULL, 10);
    return true;
}

static void task_finish(struct state_task *task)
{
    store_close(task->store);
    free(task->name);
    free(task->directory);
    *task = (struct state_task){0};
}

static enum status task_open(struct state_task *task, struct error *error)
{
    ensure(task->store == NULL && task->directory != NULL);
    struct store_options options = {.read_only = true};
    struct bytes value;
    enum status status = store_lmdb_open(task->directory, &options, &task->store, error);
    if (status != STATUS_OK) {
        task->store = NULL;
        return status;
    }
    status = store_meta_get(task->store, "sequence", &value, error);
    if (status == STATUS_OK && value.size == sizeof task->sequence) {
        task->sequence = get_u64(value.data);
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = store_refresh(task->store, error); /* pins nothing while the others are opened */
    }
    return status;
}

/* Keeps the newer copy of a task and closes the other. */
static void tasks_add_take(struct state_tasks *tasks, struct state_task *task)
{
    ensure(task->store != NULL);
    for (size_t i = 0; i < tasks->count; i++) {
        struct state_task *known = &tasks->items[i];
        if (strcmp(known->name, task->name) == 0) {
            if (task->sequence > known->sequence) {
                struct state_task old = *known;
                *known = *task;
                *task = old;
            }
            task_finish(task);
            return;
        }
    }
    tasks->items = memory_resize(tasks->items, (tasks->count + 1) * sizeof *tasks->items);
    tasks->items[tasks->count++] = *task;
}

/* Calls `visit` for each name in a folder; a folder that is not there has none. */
static enum status folder_each(const char *path,
                               void (*visit)(void *opaque, const char *path, const char *name),
                               void *opaque, struct error *error)
{
    ensure(path != NULL && visit != NULL);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT || errno == ENOTDIR
                   ? STATUS_OK
                   : error_set(error, STATUS_FATAL, errno == EACCES ? ERROR_DENIED : ERROR_IO,
                               "reading folder %s: %s", path, strerror(errno));
    }
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            visit(opaque, path, entry->d_name);
        }
    }
    (void)closedir(folder);
    return STATUS_OK;
}

struct search {
    struct state_tasks *tasks;
    int32_t partition;
};

static void visit_task(void *opaque, const char *path, const char *name)
{
    struct search *search = opaque;
    ensure(search->tasks != NULL);
    struct state_task task = {0};
    struct error error = {0};
    if (!task_parse(name, &task) ||
        (search->partition >= 0 && task.partition != search->partition)) {
        return;
    }
    task.name = memory_text(name);
    task.directory = memory_format("%s/%s", path, name);
    enum status status = task_open(&task, &error);
    if (status == STATUS_OK) {
        tasks_add_take(search->tasks, &task);
        return;
    }
    if (status != STATUS_NOT_FOUND) {
        search->tasks->unreadable++;
        log_warn("state", "not shown: %s", error.text);
    }
    task_finish(&task);
}

static void visit_instance(void *opaque, const char *path, const char *name)
{
    struct search *search = opaque;
    ensure(search->tasks != NULL);
    struct error error = {0};
    char *directory = memory_format("%s/%s", path, name);
    if (folder_each(directory, visit_task, search, &error) != STATUS_OK) {
        search->tasks->unreadable++;
        log_warn("state", "not shown: %s", error.text);
    }
    free(directory);
}

static int compare_tasks(const void *a, const void *b)
{
    const struct state_task *left = a;
    const struct state_task *right = b;
    ensure(left->part_size > 0 && right->part_size > 0);
    int order = bytes_compare((struct bytes){left->name, left->part_size},
                              (struct bytes){right->name, right->part_size});
    return order != 0 ? order
                      : (left->partition > right->partition) - (left->partition < right->partition);
}

enum status state_tasks_open(const struct config *config, int32_t partition,
                             struct state_tasks *tasks, struct error *error)
{
    *tasks = (struct state_tasks){0};
    struct search search = {.tasks = tasks, .partition = partition};
    char *directory = memory_format("%s/%s", config->state.directory, config->application);
    enum status status = folder_each(directory, visit_instance, &search, error);
    if (status == STATUS_OK && tasks->count == 0) {
        status =
            tasks->unreadable > 0 ? error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                                              "no state under %s can be read", directory)
            : partition >= 0
                ? error_set(error, STATUS_FATAL, ERROR_OTHER, "no state of partition %d under %s",
                            partition, directory)
                : error_set(error, STATUS_FATAL, ERROR_OTHER,
                            "no state yet under %s: no stateful task has run there", directory);
    }
    free(directory);
    if (tasks->count > 0) {
        qsort(tasks->items, tasks->count, sizeof *tasks->items, compare_tasks);
    }
    ensure(status != STATUS_OK || tasks->count > 0);
    return status;
}

void state_tasks_close(struct state_tasks *tasks)
{
    ensure(tasks->count == 0 || tasks->items != NULL);
    for (size_t i = 0; i < tasks->count; i++) {
        task_finish(&tasks->items[i]);
    }
    free(tasks->items);
    *tasks = (struct state_tasks){0};
}
