/* SPDX-License-Identifier: Apache-2.0 */
#include "testing/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *driver_topic(const leat_driver *driver, uint32_t node)
{
    const struct graph_node *graph_node = &driver->program->graph->nodes[node];
    ensure(graph_node->kind == GRAPH_SINK || graph_node->kind == GRAPH_REPARTITION);
    return graph_node->kind == GRAPH_SINK
               ? driver->config->sinks[graph_node->config_index].topic
               : driver->config->repartitions[graph_node->config_index].topic;
}

const char *leat_driver_error(const leat_driver *driver)
{
    ensure(driver != NULL);
    return driver->error.text;
}

int64_t leat_driver_wall_time(const leat_driver *driver)
{
    ensure(driver->wall_ms >= 0);
    return driver->wall_ms;
}

static bool has_output(const leat_driver *driver, const char *topic)
{
    ensure(driver->program != NULL && topic != NULL);
    for (uint32_t i = 0; i < driver->program->graph->node_count; i++) {
        enum graph_kind kind = driver->program->graph->nodes[i].kind;
        if ((kind == GRAPH_SINK || kind == GRAPH_REPARTITION) &&
            strcmp(driver_topic(driver, i), topic) == 0) {
            return true;
        }
    }
    return false;
}

bool leat_driver_read(leat_driver *driver, const char *from, leat_record *record)
{
    ensure(record != NULL);
    if (driver->program == NULL) {
        return false;
    }
    if (from == NULL && driver->config->sink_count > 0) {
        from = driver->config->sinks[0].topic;
    }
    if (from == NULL || !has_output(driver, from)) {
        driver_misused(driver, "there is no output", from == NULL ? "(first)" : from);
    }
    for (size_t i = 0; i < driver->output_count; i++) {
        struct driver_output *output = &driver->outputs[i];
        if (!output->read && strcmp(output->record.topic, from) == 0) {
            output->read = true;
            *record = output->record;
            return true;
        }
    }
    return false;
}

/* Table of "node/store", or of "store" alone in a driver of one operator. */
static struct store_table *find_table(leat_driver *driver, const char *store)
{
    ensure(store != NULL);
    char *full = strchr(store, '/') == NULL ? memory_format("test/%s", store) : memory_text(store);
    struct store_table *found = NULL;
    for (uint32_t i = 0; driver->open && i < driver->program->graph->sub_topology_count; i++) {
        const struct task *task = driver->tasks[i];
        for (uint32_t j = 0; task->stateful && j < task->table_count; j++) {
            if (strcmp(task->tables[j].name, full) == 0) {
                found = task->tables[j].table;
            }
        }
    }
    free(full);
    if (found == NULL) {
        driver_misused(driver, driver->open ? "there is no store" : driver->error.text, store);
    }
    return found;
}

static uint64_t count_of(const leat_driver *driver, struct store_table *table)
{
    struct error error;
    uint64_t count = 0;
    ensure(table != NULL);
    if (store_count(table, &count, &error) != STATUS_OK) {
        driver_misused(driver, error.text, "a store cannot be read");
    }
    return count;
}

leat_status leat_driver_get(leat_driver *driver, const char *store, leat_bytes key,
                            leat_bytes *value)
{
    struct error error;
    struct bytes found;
    ensure(key.size > 0);
    enum status status =
        store_get(find_table(driver, store), (struct bytes){key.data, key.size}, &found, &error);
    if (status == STATUS_NOT_FOUND) {
        return LEAT_NOT_FOUND;
    }
    if (status != STATUS_OK) {
        driver_misused(driver, error.text, store);
    }
    *value = (leat_bytes){arena_copy(&driver->arena, found.data, found.size), found.size};
    return LEAT_OK;
}

uint64_t leat_driver_count(leat_driver *driver, const char *store)
{
    ensure(driver != NULL);
    return count_of(driver, find_table(driver, store));
}

uint64_t leat_driver_timer_count(leat_driver *driver)
{
    ensure(driver != NULL);
    uint64_t count = 0;
    for (uint32_t i = 0; driver->open && i < driver->program->graph->sub_topology_count; i++) {
        if (driver->tasks[i]->stateful) {
            count += count_of(driver, driver->tasks[i]->tables[0].table);
        }
    }
    return count;
}

int64_t leat_driver_counted(leat_driver *driver, const char *node, const char *name)
{
    ensure(node != NULL && name != NULL);
    char full[METRICS_NAME_SIZE];
    (void)snprintf(full, sizeof full, "%s.%s", node, name);
    for (size_t i = 0; i < atomic_load(&driver->metrics.count); i++) {
        if (strcmp(driver->metrics.items[i].name, full) == 0) {
            return atomic_load(&driver->metrics.items[i].value);
        }
    }
    return 0;
}
