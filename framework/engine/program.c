/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/program.h"

#include "base/bytes.h"
#include "engine/task.h"

#include <stdlib.h>
#include <string.h>

/* The plugin of operator `index`: one that is loaded already when the file is the same. */
static enum status load_plugin(struct program *program, size_t index, struct error *error)
{
    ensure(program->plugins[index] == NULL);
    const struct config *config = program->config;
    const struct config_operator *node = &config->operators[index];
    const struct plugin_path path = {(const char *const *)config->operator_directories,
                                     config->operator_directory_count};
    for (size_t i = 0; i < index; i++) {
        if (strcmp(config->operators[i].use, node->use) == 0) {
            program->plugins[index] = program->plugins[i];
            return STATUS_OK;
        }
    }
    struct plugin *plugin = NULL;
    enum status status = plugin_load(node->use, &path, &plugin, error);
    if (status != STATUS_OK) {
        return error_prefix(error, "%s:%d: $.operators.%s.use", config->file, node->line,
                            node->name);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(program->plugins[i]->file, plugin->file) == 0) {
            plugin_unload(plugin);
            plugin = program->plugins[i];
            break;
        }
    }
    program->plugins[index] = plugin;
    return STATUS_OK;
}

static enum status check_parameters(struct program *program, size_t index, struct error *error)
{
    ensure(program->plugins[index] != NULL);
    const struct config *config = program->config;
    const struct config_operator *node = &config->operators[index];
    char *node_path = memory_format("$.operators.%s", node->name);
    enum status status =
        parameters_check(program->plugins[index], node->params, node->param_count, config->file,
                         node_path, node->line, &program->parameters[index], error);
    free(node_path);
    return status;
}

static const char **port_names(const leat_port *ports, uint32_t count)
{
    ensure(count == 0 || ports != NULL);
    const char **names = memory_allocate((count + 1) * sizeof *names);
    for (uint32_t i = 0; i < count; i++) {
        names[i] = ports[i].name;
    }
    return names;
}

static enum status build_graph(struct program *program, struct error *error)
{
    ensure(program->graph == NULL);
    size_t count = program->config->operator_count;
    struct graph_shape *shapes = memory_allocate((count + 1) * sizeof *shapes);
    const char ***names = memory_allocate((2 * count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        const struct plugin *plugin = program->plugins[i];
        names[2 * i] = port_names(plugin->inputs, plugin->input_count);
        names[2 * i + 1] = port_names(plugin->outputs, plugin->output_count);
        shapes[i] = (struct graph_shape){
            .inputs = names[2 * i],
            .input_count = plugin->input_count,
            .outputs = names[2 * i + 1],
            .output_count = plugin->output_count,
            .store_count = plugin->store_count,
            .timers = plugin->descriptor.timer != NULL,
        };
    }
    enum status status = graph_build(program->config, shapes, &program->graph, error);
    for (size_t i = 0; i < 2 * count; i++) {
        free(names[i]);
    }
    free(names);
    free(shapes);
    return status;
}

/* descriptor NULL: every operator by its "use". */
static enum status program_make(const struct config *config, const leat_operator *descriptor,
                                struct program **program, struct error *error)
{
    ensure(config != NULL);
    size_t count = config->operator_count;
    struct program *made = memory_allocate(sizeof *made);
    made->config = config;
    made->plugins = memory_allocate((count + 1) * sizeof *made->plugins);
    made->parameters = memory_allocate((count + 1) * sizeof *made->parameters);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = descriptor == NULL
                     ? load_plugin(made, i, error)
                     : plugin_adopt(descriptor, config->operators[i].use, &made->plugins[i], error);
        if (status == STATUS_OK) {
            status = check_parameters(made, i, error);
        }
    }
    if (status == STATUS_OK) {
        status = build_graph(made, error);
    }
    if (status != STATUS_OK) {
        program_destroy(made);
        made = NULL;
    }
    *program = made;
    return status;
}

enum status program_load(const struct config *config, struct program **program, struct error *error)
{
    return program_make(config, NULL, program, error);
}

enum status program_adopt(const struct config *config, const leat_operator *descriptor,
                          struct program **program, struct error *error)
{
    ensure(descriptor != NULL);
    return program_make(config, descriptor, program, error);
}

enum status program_check(const struct program *program, struct error *error)
{
    ensure(program->graph != NULL && error != NULL);
    const struct graph *graph = program->graph;
    int32_t *node_partitions = memory_allocate((graph->node_count + 1) * sizeof *node_partitions);
    struct random random;
    random_init(&random, 1);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < graph->sub_topology_count && status == STATUS_OK; i++) {
        struct task *task = task_create(program, i, 0, node_partitions, &random, NULL);
        ensure(task->store == NULL); /* reads of its tables find nothing */
        status = task_open_instances(task, clock_wall_ms(clock_system()), error);
        task_destroy(task);
    }
    free(node_partitions);
    if (status == STATUS_OK) {
        return STATUS_OK;
    }
    (void)error_prefix(error, "%s", program->config->file);
    error->status = STATUS_BAD_CONFIG;
    return STATUS_BAD_CONFIG;
}

void program_destroy(struct program *program)
{
    if (program == NULL) {
        return;
    }
    size_t count = program->config->operator_count;
    graph_destroy(program->graph);
    for (size_t i = 0; i < count; i++) {
        parameters_destroy(program->parameters[i]);
    }
    for (size_t i = 0; i < count; i++) {
        /* A shared plugin is unloaded with the last that has it. */
        bool shared = false;
        for (size_t j = i + 1; j < count; j++) {
            shared = shared || program->plugins[j] == program->plugins[i];
        }
        if (!shared) {
            plugin_unload(program->plugins[i]);
        }
    }
    free(program->parameters);
    free(program->plugins);
    free(program);
}
