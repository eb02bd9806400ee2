/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <inttypes.h>
#include <string.h>

/* In quotes, with those inside escaped as JSON has them. */
static void append_quoted(struct buffer *text, const char *words)
{
    ensure(words != NULL);
    buffer_append_text(text, "\"");
    for (; *words != 0; words++) {
        if (*words == '"' || *words == '\\') {
            buffer_append_text(text, "\\");
        }
        buffer_append(text, words, 1);
    }
    buffer_append_text(text, "\"");
}

/* The value in effect, the operator's default included. */
static void append_parameter(const struct parameters *parameters, const leat_param *param,
                             struct buffer *text)
{
    const char *name = param->name;
    switch (param->type) {
    case LEAT_PARAM_INT:
    case LEAT_PARAM_DURATION:
    case LEAT_PARAM_SIZE:
        buffer_format(text, "%" PRId64, parameters_int(parameters, name));
        return;
    case LEAT_PARAM_DOUBLE:
        buffer_format(text, "%.15g", parameters_double(parameters, name));
        return;
    case LEAT_PARAM_BOOL:
        buffer_append_text(text, parameters_bool(parameters, name) ? "true" : "false");
        return;
    case LEAT_PARAM_LIST:
        buffer_append_text(text, "[");
        for (size_t i = 0; i < parameters_count(parameters, name); i++) {
            buffer_append_text(text, i == 0 ? "" : ", ");
            append_quoted(text, parameters_item(parameters, name, i));
        }
        buffer_append_text(text, "]");
        return;
    default:
        ensure(param->type == LEAT_PARAM_STRING || param->type == LEAT_PARAM_ENUM);
        append_quoted(text, parameters_string(parameters, name));
    }
}

static void append_feeds(const struct graph *graph, uint32_t node, struct buffer *text)
{
    const char *feed;
    ensure(graph->nodes[node].kind != GRAPH_SOURCE);
    for (size_t i = 0; (feed = describe_feed(graph, node, i)) != NULL; i++) {
        buffer_format(text, "%s%s", i == 0 ? "" : ", ", feed);
    }
}

static void append_operator(const struct program *program, uint32_t index, struct buffer *text)
{
    const struct graph_node *node = &program->graph->nodes[index];
    const struct config_operator *given = &program->config->operators[node->config_index];
    const struct plugin *plugin = program->plugins[node->config_index];
    ensure(plugin != NULL);
    buffer_format(text, "  operator     %s: %s %s, from ", node->name, plugin->descriptor.name,
                  plugin->descriptor.version);
    append_feeds(program->graph, index, text);
    buffer_format(text, ", on_error %s", given->on_error == CONFIG_ON_ERROR_SKIP ? "skip" : "fail");
    if (given->retries > 0) {
        buffer_format(text, ", retries %" PRId64 ", backoff %" PRId64 "ms", given->retries,
                      given->backoff_ms);
    }
    buffer_append_text(text, "\n");
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        buffer_format(text, "    parameter  %s = ", plugin->params[i].name);
        append_parameter(program->parameters[node->config_index], &plugin->params[i], text);
        buffer_append_text(text, "\n");
    }
    for (uint32_t i = 0; i < plugin->store_count; i++) {
        buffer_format(text, "    store      %s/%s: %s\n", node->name, plugin->stores[i].name,
                      plugin->stores[i].summary == NULL ? "" : plugin->stores[i].summary);
    }
}

static void append_node(const struct program *program, uint32_t index, struct buffer *text)
{
    const struct graph_node *node = &program->graph->nodes[index];
    if (node->kind == GRAPH_OPERATOR) {
        append_operator(program, index, text);
        return;
    }
    ensure(node->kind == GRAPH_SINK || node->kind == GRAPH_REPARTITION);
    bool sink = node->kind == GRAPH_SINK;
    const char *topic = sink ? program->config->sinks[node->config_index].topic
                             : program->config->repartitions[node->config_index].topic;
    buffer_format(text, "  %-12s %s: topic %s, from ", sink ? "sink" : "repartition", node->name,
                  topic);
    append_feeds(program->graph, index, text);
    if (sink && program->config->sinks[node->config_index].source_partition) {
        buffer_append_text(text, ", keeps the partition of the source");
    }
    buffer_append_text(text, "\n");
}

static void append_inputs(const struct graph *graph, const struct graph_sub_topology *part,
                          struct buffer *text)
{
    static const char *const starts[] = {"earliest", "latest", "stop"};
    for (uint32_t i = 0; i < part->input_count; i++) {
        const struct graph_node *node = &graph->nodes[part->inputs[i].node];
        if (node->kind == GRAPH_REPARTITION) {
            buffer_format(text, "  reads        %s (repartition %s)\n", part->inputs[i].topic,
                          node->name);
            continue;
        }
        const struct config_source *source = &graph->config->sources[node->config_index];
        ensure((size_t)source->start < sizeof starts / sizeof *starts);
        buffer_format(text, "  reads        %s (source %s, start %s)\n", part->inputs[i].topic,
                      node->name, starts[source->start]);
    }
}

static void append_part(const struct program *program, const struct graph_sub_topology *part,
                        struct buffer *text)
{
    buffer_format(text, "\nsub-topology %s: %s, tasks: ", part->name,
                  part->stateful ? "stateful" : "stateless");
    describe_tasks(part, text);
    buffer_append_text(text, "\n");
    append_inputs(program->graph, part, text);
    for (uint32_t i = 0; i < part->node_count; i++) {
        append_node(program, part->nodes[i], text);
    }
    ensure(part->stateful == (part->changelog != NULL));
    if (part->stateful) {
        buffer_format(text, "  changelog    %s\n  directory    %s/%s/%s/%s-N\n", part->changelog,
                      program->config->state.directory, program->config->application,
                      program->config->instance, part->name);
    }
}

static void append_internal_topics(const struct graph *graph, struct buffer *text)
{
    bool first = true;
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        const struct graph_sub_topology *part = &graph->sub_topologies[i];
        int32_t partitions;
        for (uint32_t j = 0; j < part->input_count; j++) {
            const struct graph_node *node = &graph->nodes[part->inputs[j].node];
            if (node->kind != GRAPH_REPARTITION) {
                continue;
            }
            partitions = graph->config->repartitions[node->config_index].partitions;
            buffer_format(text, "%s  %s: ", first ? "\ninternal topics\n" : "",
                          part->inputs[j].topic);
            first = false;
            if (partitions > 0) {
                buffer_format(text, "%d partition%s\n", partitions, partitions == 1 ? "" : "s");
            } else {
                buffer_append_text(text, "as many partitions as the largest source above it\n");
            }
        }
        ensure(part->stateful == (part->changelog != NULL));
        if (part->stateful) {
            buffer_format(text, "%s  %s: ", first ? "\ninternal topics\n" : "", part->changelog);
            first = false;
            describe_partitions(graph, part, text, &partitions);
            buffer_append_text(text, ", compacted\n");
        }
    }
}

static void append_setting(void *opaque, const struct config_setting *setting)
{
    struct buffer *text = opaque;
    ensure(setting->path != NULL);
    buffer_format(text, "  %s = %s\n", setting->path, setting->value);
}

void describe_text(const struct program *program, struct buffer *text)
{
    const struct graph *graph = program->graph;
    buffer_format(text, "application %s, instance %s, file %s\n", program->config->application,
                  program->config->instance, program->config->file);
    ensure(graph->sub_topology_count > 0);
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        append_part(program, &graph->sub_topologies[i], text);
    }
    append_internal_topics(graph, text);
    buffer_append_text(text, "\nsettings\n");
    config_visit_settings(program->config, append_setting, text);
}
