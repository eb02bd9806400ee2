/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <jansson.h>
#include <stdlib.h>

/* Takes `value`. Texts of a topology are UTF-8, for its file is; a host's paths may not be. */
static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value == NULL ? json_null() : value);
    ensure(failed == 0);
}

static void add(json_t *list, json_t *value)
{
    int failed = json_array_append_new(list, value);
    ensure(failed == 0);
}

/* The value in effect, the operator's default included. */
static json_t *parameter_json(const struct parameters *parameters, const leat_param *param)
{
    const char *name = param->name;
    switch (param->type) {
    case LEAT_PARAM_INT:
    case LEAT_PARAM_DURATION:
    case LEAT_PARAM_SIZE:
        return json_integer(parameters_int(parameters, name));
    case LEAT_PARAM_DOUBLE:
        return json_real(parameters_double(parameters, name));
    case LEAT_PARAM_BOOL:
        return json_boolean(parameters_bool(parameters, name));
    case LEAT_PARAM_STRING:
    case LEAT_PARAM_ENUM:
        return json_string(parameters_string(parameters, name));
    default:
        break;
    }
    json_t *list = json_array();
    ensure(param->type == LEAT_PARAM_LIST);
    for (size_t i = 0; i < parameters_count(parameters, name); i++) {
        add(list, json_string(parameters_item(parameters, name, i)));
    }
    return list;
}

static void put_operator(const struct program *program, const struct graph_node *node,
                         json_t *object)
{
    const struct config_operator *given = &program->config->operators[node->config_index];
    const struct plugin *plugin = program->plugins[node->config_index];
    json_t *params = json_object();
    json_t *stores = json_array();
    ensure(plugin != NULL);
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        put(params, plugin->params[i].name,
            parameter_json(program->parameters[node->config_index], &plugin->params[i]));
    }
    for (uint32_t i = 0; i < plugin->store_count; i++) {
        add(stores, json_string(plugin->stores[i].name));
    }
    put(object, "use", json_string(plugin->descriptor.name));
    put(object, "version", json_string(plugin->descriptor.version));
    put(object, "file", json_string(plugin->file));
    put(object, "params", params);
    put(object, "stores", stores);
    put(object, "on_error", json_string(given->on_error == CONFIG_ON_ERROR_SKIP ? "skip" : "fail"));
    put(object, "retries", json_integer(given->retries));
    put(object, "backoff_ms", json_integer(given->backoff_ms));
}

static json_t *node_json(const struct program *program, uint32_t index)
{
    static const char *const kinds[] = {"source", "operator", "repartition", "sink"};
    const struct graph_node *node = &program->graph->nodes[index];
    json_t *object = json_object();
    json_t *from = json_array();
    const char *feed;
    ensure((size_t)node->kind < sizeof kinds / sizeof *kinds);
    put(object, "name", json_string(node->name));
    put(object, "kind", json_string(kinds[node->kind]));
    for (size_t i = 0; (feed = describe_feed(program->graph, index, i)) != NULL; i++) {
        add(from, json_string(feed));
    }
    put(object, "from", from);
    if (node->kind == GRAPH_OPERATOR) {
        put_operator(program, node, object);
    } else if (node->kind == GRAPH_SINK) {
        const struct config_sink *sink = &program->config->sinks[node->config_index];
        put(object, "topic", json_string(sink->topic));
        put(object, "partition", json_string(sink->source_partition ? "source" : "key"));
    } else {
        put(object, "topic", json_string(program->config->repartitions[node->config_index].topic));
    }
    return object;
}

static json_t *part_json(const struct program *program, const struct graph_sub_topology *part)
{
    json_t *inputs = json_array();
    json_t *nodes = json_array();
    struct buffer tasks = {0};
    ensure(part->input_count > 0);
    for (uint32_t i = 0; i < part->input_count; i++) {
        json_t *input = json_object();
        put(input, "topic", json_string(part->inputs[i].topic));
        put(input, "node", json_string(program->graph->nodes[part->inputs[i].node].name));
        add(inputs, input);
    }
    for (uint32_t i = 0; i < part->node_count; i++) {
        add(nodes, node_json(program, part->nodes[i]));
    }
    describe_tasks(part, &tasks);
    json_t *object = json_object();
    put(object, "name", json_string(part->name));
    put(object, "stateful", json_boolean(part->stateful));
    put(object, "tasks", json_string(buffer_text(&tasks)));
    put(object, "inputs", inputs);
    put(object, "nodes", nodes);
    put(object, "changelog", part->stateful ? json_string(part->changelog) : json_null());
    buffer_finish(&tasks);
    return object;
}

static json_t *topic_json(const char *name, const char *kind, int32_t partitions)
{
    json_t *object = json_object();
    ensure(name != NULL);
    put(object, "name", json_string(name));
    put(object, "kind", json_string(kind));
    put(object, "partitions", partitions > 0 ? json_integer(partitions) : json_null());
    return object;
}

static json_t *internal_topics_json(const struct graph *graph)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        const struct graph_sub_topology *part = &graph->sub_topologies[i];
        ensure(part->input_count > 0);
        for (uint32_t j = 0; j < part->input_count; j++) {
            const struct graph_node *node = &graph->nodes[part->inputs[j].node];
            if (node->kind == GRAPH_REPARTITION) {
                add(list, topic_json(part->inputs[j].topic, "repartition",
                                     graph->config->repartitions[node->config_index].partitions));
            }
        }
        if (part->stateful) {
            struct buffer unused = {0};
            int32_t partitions;
            describe_partitions(graph, part, &unused, &partitions);
            buffer_finish(&unused);
            add(list, topic_json(part->changelog, "changelog", partitions));
        }
    }
    return list;
}

static void put_setting(void *opaque, const struct config_setting *setting)
{
    ensure(setting->path != NULL);
    put(opaque, setting->path,
        setting->number ? json_integer(strtoll(setting->value, NULL, 10))
                        : json_string(setting->value));
}

void describe_json(const struct program *program, struct buffer *text)
{
    json_t *parts = json_array();
    json_t *settings = json_object();
    for (uint32_t i = 0; i < program->graph->sub_topology_count; i++) {
        add(parts, part_json(program, &program->graph->sub_topologies[i]));
    }
    config_visit_settings(program->config, put_setting, settings);
    json_t *all = json_object();
    put(all, "application", json_string(program->config->application));
    put(all, "instance", json_string(program->config->instance));
    put(all, "file", json_string(program->config->file));
    put(all, "sub_topologies", parts);
    put(all, "internal_topics", internal_topics_json(program->graph));
    put(all, "settings", settings);
    char *line = json_dumps(all, JSON_COMPACT);
    ensure(line != NULL);
    buffer_append_text(text, line);
    free(line);
    json_decref(all);
}
