/* SPDX-License-Identifier: Apache-2.0 */
#include "testing/driver.h"

#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    ensure(path != NULL);
    (void)facts;
    (void)kind;
    (void)place;
    return remove(path);
}

void driver_remove_directory(const leat_driver *driver)
{
    ensure(driver != NULL);
    if (driver->directory != NULL) {
        (void)nftw(driver->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

void driver_misused(const leat_driver *driver, const char *what, const char *name)
{
    ensure(what != NULL && name != NULL);
    (void)fprintf(stderr, "leat/testing.h: %s \"%s\"\n", what, name);
    if (driver != NULL) {
        driver_remove_directory(driver);
    }
    abort();
}

/* ---- A topology of one operator ---- */

static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    ensure(failed == 0 && value != NULL);
}

static json_t *port_sources(const struct plugin *plugin, json_t *from)
{
    ensure(plugin->input_count > 0);
    json_t *sources = json_object();
    for (uint32_t i = 0; i < plugin->input_count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "in_%u", i);
        put(sources, name, json_pack("{s:s}", "topic", plugin->inputs[i].name));
        put(from, plugin->inputs[i].name, json_pack("[s]", name));
    }
    return sources;
}

static json_t *port_sinks(const struct plugin *plugin)
{
    ensure(plugin->outputs != NULL);
    json_t *sinks = json_object();
    for (uint32_t i = 0; i < plugin->output_count; i++) {
        char name[32];
        const char *port = plugin->outputs[i].name;
        (void)snprintf(name, sizeof name, "out_%u", i);
        put(sinks, name,
            i == 0 ? json_pack("{s:s, s:s}", "topic", port, "from", "test")
                   : json_pack("{s:s, s:[s+]}", "topic", port, "from", "test.", port));
    }
    return sinks;
}

/* Text for the file, where `${` begins the name of a variable. */
static json_t *literal_text(const char *text)
{
    ensure(text != NULL);
    struct buffer escaped = {0};
    for (const char *at = text; *at != 0; at++) {
        buffer_append_text(&escaped, at[0] == '$' && at[1] == '{' ? "$" : "");
        buffer_append(&escaped, at, 1);
    }
    json_t *made = json_string(buffer_text(&escaped));
    buffer_finish(&escaped);
    if (made == NULL) {
        driver_misused(NULL, "a parameter is not UTF-8:", text);
    }
    return made;
}

static char *topology_of(const struct plugin *plugin, const char *const *params)
{
    ensure(plugin != NULL);
    json_t *from = json_object();
    json_t *given = json_object();
    json_t *sources = port_sources(plugin, from);
    for (; params != NULL && params[0] != NULL; params += 2) {
        if (params[1] == NULL) {
            driver_misused(NULL, "no value for parameter", params[0]);
        }
        put(given, params[0], literal_text(params[1]));
    }
    json_t *topology = json_pack("{s:s, s:o, s:{s:{s:s, s:o, s:o}}, s:o}", "application", "test",
                                 "sources", sources, "operators", "test", "use", "test", "from",
                                 from, "params", given, "sinks", port_sinks(plugin));
    ensure(topology != NULL);
    char *text = json_dumps(topology, JSON_INDENT(1));
    json_decref(topology);
    ensure(text != NULL);
    return text;
}

static enum status make_program(leat_driver *driver, const leat_operator *descriptor,
                                const char *const *params)
{
    ensure(driver->config == NULL && driver->program == NULL);
    struct plugin *plugin = NULL;
    enum status status = plugin_adopt(descriptor, "test", &plugin, &driver->error);
    if (status != STATUS_OK) {
        return status;
    }
    char *text = topology_of(plugin, params);
    plugin_unload(plugin);
    status = config_parse(text, strlen(text), "test", NULL, &driver->config, &driver->error);
    free(text);
    return status == STATUS_OK
               ? program_adopt(driver->config, descriptor, &driver->program, &driver->error)
               : status;
}

static enum status load_program(leat_driver *driver, const char *file)
{
    ensure(driver->config == NULL && driver->program == NULL);
    enum status status = config_load(file, NULL, &driver->config, &driver->error);
    return status == STATUS_OK ? program_load(driver->config, &driver->program, &driver->error)
                               : status;
}

/* ---- Stores ---- */

static enum status make_directory(leat_driver *driver)
{
    ensure(driver->directory == NULL);
    const char *parent = getenv("TMPDIR");
    driver->directory =
        memory_format("%s/leat_test_XXXXXX", parent == NULL || *parent == 0 ? "/tmp" : parent);
    if (mkdtemp(driver->directory) != NULL) {
        return STATUS_OK;
    }
    enum status status = error_set(&driver->error, STATUS_FATAL, ERROR_IO, "%s: %s; set TMPDIR",
                                   driver->directory, strerror(errno));
    free(driver->directory);
    driver->directory = NULL;
    return status;
}

static enum status open_store(leat_driver *driver, struct task *task)
{
    ensure(driver->directory != NULL && task->store == NULL);
    const struct store_options options = {.durable = false};
    char *directory = memory_format("%s/%s", driver->directory, task->name);
    struct store *store = NULL;
    enum status status = directory_make(directory, &driver->error);
    if (status == STATUS_OK) {
        status = store_lmdb_open(directory, &options, &store, &driver->error);
    }
    free(directory);
    int64_t stream_time = task->stream_time; /* the position, which keeps it, is the worker's */
    if (status == STATUS_OK) {
        status = task_attach_store_take(task, store, &driver->error);
    }
    task->stream_time = stream_time;
    return status;
}

enum status driver_open(leat_driver *driver)
{
    enum status status = STATUS_OK;
    ensure(!driver->open && driver->program != NULL);
    for (uint32_t i = 0; i < driver->program->graph->sub_topology_count; i++) {
        struct task *task = driver->tasks[i];
        if (status == STATUS_OK && task->stateful) {
            status = open_store(driver, task);
        }
        if (status == STATUS_OK) {
            status = task_open_instances(task, driver->wall_ms, &driver->error);
        }
    }
    driver->open = status == STATUS_OK;
    return status;
}

void driver_close(leat_driver *driver)
{
    ensure(driver->program != NULL);
    for (uint32_t i = 0; i < driver->program->graph->sub_topology_count; i++) {
        struct task *task = driver->tasks[i];
        task_close_instances(task);
        task_abort(task);
        task_detach_store(task);
    }
    driver->open = false;
}

/* ---- Making ---- */

static void make_tasks(leat_driver *driver)
{
    ensure(driver->tasks == NULL && driver->program != NULL);
    const struct graph *graph = driver->program->graph;
    driver->node_partitions =
        memory_allocate((graph->node_count + 1) * sizeof *driver->node_partitions);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        driver->node_partitions[i] = 1;
    }
    driver->tasks = memory_allocate((graph->sub_topology_count + 1) * sizeof *driver->tasks);
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        const struct graph_sub_topology *sub = &graph->sub_topologies[i];
        struct task *task = task_create(driver->program, i, 0, driver->node_partitions,
                                        &driver->random, &driver->metrics);
        for (uint32_t j = 0; j < sub->input_count; j++) {
            task_add_input(task, sub->inputs[j].topic, sub->inputs[j].node);
            task->inputs[j].next = 0;
        }
        task_set_state(task, TASK_FETCHING);
        task_set_state(task, TASK_RUNNING);
        driver->tasks[i] = task;
    }
}

static leat_driver *driver_allocate(void)
{
    leat_driver *driver = memory_allocate(sizeof *driver);
    arena_init(&driver->arena, 0);
    metrics_init(&driver->metrics);
    random_init(&driver->random, 1);
    ensure(driver->wall_ms == 0);
    return driver;
}

static void driver_start(leat_driver *driver, enum status status)
{
    ensure(!driver->open);
    if (status == STATUS_OK) {
        status = make_directory(driver);
    }
    if (status == STATUS_OK) {
        make_tasks(driver);
        status = driver_open(driver);
    }
    ensure(driver->open == (status == STATUS_OK));
}

leat_driver *leat_driver_create(const leat_operator *descriptor, const char *const *params)
{
    leat_driver *driver = driver_allocate();
    ensure(descriptor != NULL);
    driver_start(driver, make_program(driver, descriptor, params));
    return driver;
}

leat_driver *leat_driver_load(const char *file)
{
    leat_driver *driver = driver_allocate();
    ensure(file != NULL);
    driver_start(driver, load_program(driver, file));
    return driver;
}

leat_status leat_driver_restart(leat_driver *driver)
{
    ensure(driver != NULL);
    if (driver->tasks == NULL) {
        return LEAT_ERR_FATAL;
    }
    driver_close(driver);
    driver->error.text[0] = 0;
    return driver_open(driver) == STATUS_OK ? LEAT_OK : LEAT_ERR_FATAL;
}

void leat_driver_destroy(leat_driver *driver)
{
    if (driver == NULL) {
        return;
    }
    for (uint32_t i = 0; driver->tasks != NULL && i < driver->program->graph->sub_topology_count;
         i++) {
        task_destroy(driver->tasks[i]);
    }
    driver_remove_directory(driver);
    free(driver->tasks);
    free(driver->node_partitions);
    free(driver->directory);
    free(driver->outputs);
    program_destroy(driver->program);
    config_destroy(driver->config);
    metrics_finish(&driver->metrics);
    arena_finish(&driver->arena);
    free(driver);
}
