/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State: shows the committed state of an application's tasks, also while they run in another
 * process. Rows are collected under a snapshot and written without one, so that a slow reader of
 * the output keeps no page from the writer.
 */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/state_print.h"
#include "cli/state_tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SNAPSHOT_ROWS = 10000, SNAPSHOT_MS = 500, SNAPSHOT_SIZE = 4 * 1024 * 1024 };

static const struct option_spec options[] = {
    {"from", "KEY", "scan: the first key, as text or hex:", NULL},
    {"to", "KEY", "scan: the key to stop before", NULL},
    {"prefix", "KEY", "scan: only keys that begin so", NULL},
    {"reverse", NULL, "scan: from the largest key down", NULL},
    {"count", "N", "scan: at most N rows", NULL},
    {"partition", "N", "only the tasks of one partition", NULL},
    {0}};

struct view {
    const struct command_line *line;
    struct state_tasks tasks;
    const char *table; /* NODE/STORE; NULL for list */
    struct buffer key, from, to;
    bool has_from, has_to;
    uint32_t flags;
    int64_t limit; /* rows; -1 = none */
    int32_t partition;
    int64_t rows;
    struct buffer out;
};

/* ---- output ---- */

static enum status write_out(struct view *view, struct error *error)
{
    ensure(view->out.size == 0 || view->out.data != NULL);
    size_t size = view->out.size;
    view->out.size = 0;
    if (size > 0 && fwrite(view->out.data, 1, size, stdout) != size) {
        return error_set(error, STATUS_FATAL, ERROR_IO, "stdout cannot be written");
    }
    return STATUS_OK;
}

static void append_task(struct view *view, const struct state_task *task)
{
    ensure(task->name != NULL);
    buffer_append_text(&view->out, ",");
    state_print_json(&view->out, "task", bytes_of(task->name));
    buffer_format(&view->out, ",\"partition\":%" PRId32, task->partition);
}

static void append_row(struct view *view, const struct state_task *task, struct bytes key,
                       struct bytes value)
{
    ensure(view->limit < 0 || view->rows < view->limit);
    struct buffer *out = &view->out;
    view->rows++;
    if (command_json(view->line)) {
        buffer_append_text(out, "{");
        state_print_json(out, "key", key);
        buffer_append_text(out, ",");
        state_print_json(out, "value", value);
        append_task(view, task);
        buffer_append_text(out, "}\n");
        return;
    }
    state_print_text(out, key);
    buffer_append_text(out, "\t");
    state_print_text(out, value);
    buffer_append_text(out, "\n");
}

/* ---- the verbs ---- */

struct named_store {
    char *name;
    uint64_t keys;
    size_t tasks;
};

struct named_stores {
    struct named_store *items;
    size_t count;
};

static void stores_finish(struct named_stores *stores)
{
    ensure(stores->count == 0 || stores->items != NULL);
    for (size_t i = 0; i < stores->count; i++) {
        free(stores->items[i].name);
    }
    free(stores->items);
}

static struct named_store *stores_find(struct named_stores *stores, const char *name)
{
    ensure(name[0] != '\0');
    for (size_t i = 0; i < stores->count; i++) {
        if (strcmp(stores->items[i].name, name) == 0) {
            return &stores->items[i];
        }
    }
    stores->items = memory_resize(stores->items, (stores->count + 1) * sizeof *stores->items);
    stores->items[stores->count] = (struct named_store){.name = memory_text(name)};
    return &stores->items[stores->count++];
}

/* Adds one table of one task; timers and whatever else is not a NODE/STORE is not shown. */
static enum status list_table(struct view *view, const struct state_task *task, const char *name,
                              struct named_stores *stores, struct error *error)
{
    ensure(task->store != NULL);
    struct store_table *table;
    uint64_t keys = 0;
    if (name[0] == '.' || strchr(name, '/') == NULL) {
        return STATUS_OK;
    }
    enum status status = store_table_open(task->store, name, &table, error);
    if (status == STATUS_OK) {
        status = store_count(table, &keys, error);
    }
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    struct named_store *store = stores_find(stores, name);
    store->keys += keys;
    store->tasks++;
    if (view->table == NULL && command_json(view->line)) {
        buffer_append_text(&view->out, "{");
        state_print_json(&view->out, "store", bytes_of(name));
        append_task(view, task);
        buffer_format(&view->out, ",\"count\":%" PRIu64 "}\n", keys);
    }
    return STATUS_OK;
}

static int compare_stores(const void *a, const void *b)
{
    return strcmp(((const struct named_store *)a)->name, ((const struct named_store *)b)->name);
}

/* All stores of all tasks, by name. */
static enum status list_stores(struct view *view, struct named_stores *stores, struct error *error)
{
    ensure(view->tasks.count > 0);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < view->tasks.count && status == STATUS_OK; i++) {
        struct state_task *task = &view->tasks.items[i];
        char **names = NULL;
        size_t count = 0;
        status = store_table_list(task->store, &names, &count, error);
        for (size_t name = 0; name < count; name++) {
            if (status == STATUS_OK) {
                status = list_table(view, task, names[name], stores, error);
            }
            free(names[name]);
        }
        free(names);
        if (status == STATUS_OK) {
            status = store_refresh(task->store, error);
        }
    }
    if (stores->count > 0) {
        qsort(stores->items, stores->count, sizeof *stores->items, compare_stores);
    }
    return status;
}

static enum status run_list(struct view *view, struct error *error)
{
    ensure(view->table == NULL);
    struct named_stores stores = {0};
    enum status status = list_stores(view, &stores, error);
    for (size_t i = 0; i < stores.count && status == STATUS_OK; i++) {
        const struct named_store *store = &stores.items[i];
        view->rows++;
        if (!command_json(view->line)) {
            buffer_format(&view->out, "%s\t%" PRIu64 " keys\t%zu task%s\n", store->name,
                          store->keys, store->tasks, store->tasks == 1 ? "" : "s");
        }
    }
    stores_finish(&stores);
    return status == STATUS_OK ? write_out(view, error) : status;
}

static enum status run_get(struct view *view, const struct state_task *task,
                           struct store_table *table, struct error *error)
{
    ensure(view->key.size > 0 && view->key.size <= STORE_KEY_LIMIT);
    struct bytes value;
    struct bytes key = {view->key.data, view->key.size};
    enum status status = store_get(table, key, &value, error);
    if (status == STATUS_OK) {
        append_row(view, task, key, value);
        status = store_refresh(task->store, error);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status run_count(struct view *view, const struct state_task *task,
                             struct store_table *table, struct error *error)
{
    ensure(table != NULL);
    uint64_t count = 0;
    enum status status = store_count(table, &count, error);
    view->rows += (int64_t)count;
    if (status == STATUS_OK && command_json(view->line)) {
        buffer_append_text(&view->out, "{");
        state_print_json(&view->out, "store", bytes_of(view->table));
        append_task(view, task);
        buffer_format(&view->out, ",\"count\":%" PRIu64 "}\n", count);
    }
    return status;
}

/* Collects rows from `last` on under one snapshot. STATUS_NOT_FOUND: the scan is at its end. */
static enum status scan_some(struct view *view, const struct state_task *task,
                             struct store_table *table, struct buffer *last, struct error *error)
{
    ensure(last->size <= STORE_KEY_LIMIT);
    bool reverse = (view->flags & STORE_REVERSE) != 0;
    struct bytes from = {view->has_from ? view->from.data : NULL, view->from.size};
    struct bytes to = {view->has_to ? view->to.data : NULL, view->to.size};
    if (last->size > 0) {
        /* Behind it: the next larger key is itself with a zero byte; the bound `to` is exclusive.
         */
        buffer_append(last, "", 1);
        from = reverse ? from : (struct bytes){last->data, last->size};
        to = reverse ? (struct bytes){last->data, last->size - 1} : to;
    }
    struct store_cursor *cursor;
    struct bytes key = {0};
    struct bytes value;
    int64_t begin = clock_monotonic_ms(clock_system());
    enum status status = store_scan(table, from, to, view->flags & STORE_REVERSE, &cursor, error);
    if (status != STATUS_OK) {
        return status;
    }
    for (int rows = 0; rows < SNAPSHOT_ROWS && view->out.size < SNAPSHOT_SIZE; rows++) {
        if (view->rows == view->limit) {
            status = STATUS_NOT_FOUND;
            break;
        }
        status = store_next(cursor, &key, &value, error);
        if (status != STATUS_OK) {
            break;
        }
        append_row(view, task, key, value);
        last->size = 0;
        buffer_append(last, key.data, key.size);
        if (rows % 64 == 63 && clock_monotonic_ms(clock_system()) - begin >= SNAPSHOT_MS) {
            break;
        }
    }
    store_cursor_close(cursor);
    return status;
}

static enum status run_scan(struct view *view, const struct state_task *task,
                            struct store_table *table, struct error *error)
{
    ensure(view->out.size == 0);
    struct buffer last = {0};
    enum status status;
    bool more;
    do {
        status = scan_some(view, task, table, &last, error);
        more = status == STATUS_OK;
        if (more || status == STATUS_NOT_FOUND) {
            status = store_refresh(task->store, error);
        }
        if (status == STATUS_OK) {
            status = write_out(view, error);
        }
    } while (more && status == STATUS_OK);
    buffer_finish(&last);
    return status;
}

/* ---- the command ---- */

typedef enum status (*task_verb)(struct view *, const struct state_task *, struct store_table *,
                                 struct error *);

/* An unknown NODE/STORE is a wrong word of the command line: the answer names the right ones. */
static int no_such_store(struct view *view)
{
    ensure(view->table != NULL);
    struct named_stores stores = {0};
    struct buffer known = {0};
    struct error error = {0};
    int code;
    enum status status = list_stores(view, &stores, &error);
    for (size_t i = 0; i < stores.count; i++) {
        buffer_format(&known, "%s%s", i == 0 ? "" : ", ", stores.items[i].name);
    }
    if (status != STATUS_OK) {
        code = command_failed(&error);
    } else if (stores.count == 0) {
        code = command_usage(view->line, "no store %s; the tasks have none", view->table);
    } else {
        code = command_usage(view->line, "no store %s; there are: %s", view->table,
                             buffer_text(&known));
    }
    buffer_finish(&known);
    stores_finish(&stores);
    return code;
}

static int run_verb(struct view *view, task_verb verb)
{
    ensure(view->table != NULL && verb != NULL);
    struct error error = {0};
    size_t found = 0;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < view->tasks.count && status == STATUS_OK; i++) {
        struct store_table *table;
        const struct state_task *task = &view->tasks.items[i];
        status = store_table_open(task->store, view->table, &table, &error);
        if (status == STATUS_OK) {
            found++;
            status = verb(view, task, table, &error);
        } else if (status == STATUS_NOT_FOUND) {
            status = STATUS_OK;
        }
    }
    if (status == STATUS_OK && found == 0) {
        return no_such_store(view);
    }
    if (status == STATUS_OK && verb == run_count && !command_json(view->line)) {
        buffer_format(&view->out, "%" PRId64 "\n", view->rows);
    }
    if (status == STATUS_OK) {
        status = write_out(view, &error);
    }
    if (status != STATUS_OK) {
        return command_failed(&error);
    }
    bool absent = verb == run_get && view->rows == 0;
    return absent || view->tasks.unreadable > 0 ? EXIT_FAILED : EXIT_DONE;
}

/* Reads an option that is a key; EXIT_DONE or EXIT_USAGE. */
static int read_bound(struct view *view, const char *name, struct buffer *key, bool *given)
{
    ensure(key->size == 0 || *given);
    const char *text = command_option(view->line, name);
    if (text == NULL || *given) {
        return EXIT_DONE;
    }
    if (!state_parse_key(text, key)) {
        return command_usage(view->line, "--%s %s: hex: wants pairs of hex digits", name, text);
    }
    *given = key->size > 0;
    return EXIT_DONE;
}

static int read_number(struct view *view, const char *name, int64_t most, int64_t *number)
{
    ensure(most > 0);
    const char *text = command_option(view->line, name);
    if (text != NULL && (!value_parse_integer(text, number) || *number < 0 || *number > most)) {
        return command_usage(view->line, "--%s wants a number from 0 to %" PRId64 ", not %s", name,
                             most, text);
    }
    return EXIT_DONE;
}

/* `to` becomes the smallest key behind all that begin with `from`. */
static void make_prefix(struct view *view)
{
    ensure(view->from.size > 0 && view->to.size == 0);
    buffer_append(&view->to, view->from.data, view->from.size);
    while (view->to.size > 0 && view->to.data[view->to.size - 1] == 0xff) {
        view->to.size--;
    }
    view->has_to = view->to.size > 0;
    if (view->has_to) {
        view->to.data[view->to.size - 1]++;
    }
}

static int read_options(struct view *view, const char *verb)
{
    ensure(view->rows == 0);
    static const char *const of_scan[] = {"from", "to", "prefix", "count"};
    bool scans = strcmp(verb, "scan") == 0;
    for (size_t i = 0; i < sizeof of_scan / sizeof of_scan[0] && !scans; i++) {
        if (command_option(view->line, of_scan[i]) != NULL) {
            return command_usage(view->line, "--%s belongs to scan, not to %s", of_scan[i], verb);
        }
    }
    if (!scans && command_flag(view->line, "reverse")) {
        return command_usage(view->line, "--reverse belongs to scan, not to %s", verb);
    }
    bool prefix = command_option(view->line, "prefix") != NULL;
    if (prefix &&
        (command_option(view->line, "from") != NULL || command_option(view->line, "to") != NULL)) {
        return command_usage(view->line, "--prefix excludes --from and --to");
    }
    int64_t partition = -1;
    view->limit = -1;
    int code = read_bound(view, prefix ? "prefix" : "from", &view->from, &view->has_from);
    code = code != EXIT_DONE ? code : read_bound(view, "to", &view->to, &view->has_to);
    code = code != EXIT_DONE ? code : read_number(view, "count", INT64_MAX, &view->limit);
    code = code != EXIT_DONE ? code : read_number(view, "partition", INT32_MAX, &partition);
    if (code == EXIT_DONE && prefix && view->has_from) {
        make_prefix(view);
    }
    view->flags = command_flag(view->line, "reverse") ? STORE_REVERSE : 0;
    view->partition = (int32_t)partition;
    return code;
}

/* Arguments behind FILE: the verb, the store, the key. */
static int read_arguments(struct view *view, task_verb *verb)
{
    ensure(command_argument_count(view->line) >= 2);
    static const struct {
        const char *name;
        size_t arguments;
        task_verb run;
    } verbs[] = {
        {"list", 2, NULL}, {"get", 4, run_get}, {"scan", 3, run_scan}, {"count", 3, run_count}};
    const char *name = command_argument(view->line, 1);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(name, verbs[i].name) != 0) {
            continue;
        }
        if (command_argument_count(view->line) != verbs[i].arguments) {
            return command_usage(view->line, "%s wants FILE %s%s%s", name, name,
                                 verbs[i].arguments > 2 ? " NODE/STORE" : "",
                                 verbs[i].arguments > 3 ? " KEY" : "");
        }
        *verb = verbs[i].run;
        view->table = command_argument(view->line, 2);
        const char *key = command_argument(view->line, 3);
        if (key != NULL && (!state_parse_key(key, &view->key) || view->key.size == 0 ||
                            view->key.size > STORE_KEY_LIMIT)) {
            return command_usage(view->line,
                                 "a key has 1 to %d bytes, as text or as hex: with "
                                 "pairs of hex digits",
                                 STORE_KEY_LIMIT);
        }
        return read_options(view, name);
    }
    return command_usage(view->line, "unknown verb %s; there are: list, get, scan, count", name);
}

static int run_tasks(struct view *view, task_verb verb)
{
    ensure(view->line != NULL);
    struct error error = {0};
    struct config *config = NULL;
    enum status status = command_config(view->line, 0, &config, &error);
    if (status == STATUS_OK) {
        status = state_tasks_open(config, view->partition, &view->tasks, &error);
    }
    int code;
    if (status != STATUS_OK) {
        code = command_failed(&error);
    } else if (verb != NULL) {
        /* A table whose name does not look like one, ".timers" too, is none to show. */
        bool shown = view->table[0] != '.' && view->table[0] != '=' && view->table[0] != '\0' &&
                     strchr(view->table, '/') != NULL && strlen(view->table) < 400;
        code = shown ? run_verb(view, verb) : no_such_store(view);
    } else {
        status = run_list(view, &error);
        code = status != STATUS_OK          ? command_failed(&error)
               : view->tasks.unreadable > 0 ? EXIT_FAILED
                                            : EXIT_DONE;
    }
    state_tasks_close(&view->tasks);
    config_destroy(config);
    return code;
}

static int run_state(const struct command_line *line)
{
    struct view view = {.line = line};
    task_verb verb = NULL;
    ensure(command_argument_count(line) >= 2);
    int code = read_arguments(&view, &verb);
    if (code == EXIT_DONE) {
        code = run_tasks(&view, verb);
    }
    buffer_finish(&view.key);
    buffer_finish(&view.from);
    buffer_finish(&view.to);
    buffer_finish(&view.out);
    return code;
}

const struct command command_state = {
    .name = "state",
    .arguments = "FILE list | get NODE/STORE KEY | scan NODE/STORE | count NODE/STORE",
    .summary = "Shows committed state, also while the topology runs in another process.",
    .options = options,
    .argument_min = 2,
    .argument_max = 4,
    .run = run_state,
};
