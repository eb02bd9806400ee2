/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/graph.h"

#include "base/bytes.h"
#include "base/value.h"
#include "topology/graph_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"source", "operator", "repartition", "sink"};

enum status graph_error(const struct graph_build *build, const char *path, int line,
                        const char *format, ...)
{
    char text[sizeof build->error->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ensure(path != NULL && line >= 0);
    if (line == 0) {
        return error_set(build->error, STATUS_BAD_CONFIG, ERROR_CONFIG, "--set: %s: %s", path,
                         text);
    }
    return error_set(build->error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s:%d: %s: %s",
                     build->config->file, line, path, text);
}

const char *graph_place(const struct graph_build *build, uint32_t node, char *text, size_t size,
                        int *line)
{
    const struct graph_node *at = &build->graph->nodes[node];
    const struct config *config = build->config;
    uint32_t i = at->config_index;
    ensure(node < build->graph->node_count);
    (void)snprintf(text, size, "$.%ss.%s", kind_names[at->kind], at->name);
    *line = at->kind == GRAPH_SOURCE        ? config->sources[i].line
            : at->kind == GRAPH_OPERATOR    ? config->operators[i].line
            : at->kind == GRAPH_REPARTITION ? config->repartitions[i].line
                                            : config->sinks[i].line;
    return text;
}

uint32_t graph_find(const struct graph *graph, const char *name)
{
    ensure(name != NULL);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        if (strcmp(graph->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return GRAPH_NONE;
}

static void add_node(struct graph *graph, enum graph_kind kind, const char *name, size_t index)
{
    ensure(name != NULL && index < UINT32_MAX);
    graph->nodes[graph->node_count++] = (struct graph_node){.kind = kind,
                                                            .name = name,
                                                            .config_index = (uint32_t)index,
                                                            .sub_topology = GRAPH_NONE,
                                                            .reader = GRAPH_NONE};
}

/* A sink has no output; sources and repartitions have one without a name. */
static void add_outputs(struct graph_node *node, const struct graph_shape *shape)
{
    ensure((node->kind == GRAPH_OPERATOR) == (shape != NULL));
    if (node->kind == GRAPH_SINK) {
        return;
    }
    node->output_count = shape != NULL ? shape->output_count : 1;
    ensure(node->output_count > 0);
    node->outputs = memory_allocate(node->output_count * sizeof *node->outputs);
    for (uint32_t i = 0; shape != NULL && i < node->output_count; i++) {
        node->outputs[i].name = shape->outputs[i];
    }
}

static int compare_names(const void *a, const void *b)
{
    ensure(a != NULL && b != NULL);
    return strcmp(((const struct graph_name *)a)->name, ((const struct graph_name *)b)->name);
}

static void add_nodes(struct graph_build *build)
{
    const struct config *config = build->config;
    struct graph *graph = build->graph;
    size_t size = config->source_count + config->operator_count + config->repartition_count +
                  config->sink_count;
    graph->nodes = memory_allocate(size * sizeof *graph->nodes);
    for (size_t i = 0; i < config->source_count; i++) {
        add_node(graph, GRAPH_SOURCE, config->sources[i].name, i);
    }
    for (size_t i = 0; i < config->operator_count; i++) {
        add_node(graph, GRAPH_OPERATOR, config->operators[i].name, i);
    }
    for (size_t i = 0; i < config->repartition_count; i++) {
        add_node(graph, GRAPH_REPARTITION, config->repartitions[i].name, i);
    }
    for (size_t i = 0; i < config->sink_count; i++) {
        add_node(graph, GRAPH_SINK, config->sinks[i].name, i);
    }
    ensure(graph->node_count == size);
    build->names = memory_allocate(size * sizeof *build->names);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        struct graph_node *node = &graph->nodes[i];
        add_outputs(node, node->kind == GRAPH_OPERATOR ? &build->shapes[node->config_index] : NULL);
        build->names[i] = (struct graph_name){node->name, i};
    }
    qsort(build->names, size, sizeof *build->names, compare_names);
}

/* One feed: where it is written and what it says. */
struct feed {
    const struct config_feeds *from;
    size_t index;
    uint32_t reader, input;
};

__attribute__((format(printf, 3, 4))) static enum status
feed_error(const struct graph_build *build, const struct feed *feed, const char *format, ...)
{
    char text[512];
    char path[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ensure(feed->index < feed->from->count);
    if (feed->from->list) {
        (void)snprintf(path, sizeof path, "%s[%zu]", feed->from->path, feed->index);
    } else {
        (void)snprintf(path, sizeof path, "%s", feed->from->path);
    }
    return graph_error(build, path, feed->from->lines[feed->index], "%s", text);
}

/* `; did you mean "x"?` over what may feed a node. */
static enum status unknown_feed(const struct graph_build *build, const struct feed *feed,
                                const char *name)
{
    const struct graph *graph = build->graph;
    const char **candidates = memory_allocate(graph->node_count * sizeof *candidates);
    size_t count = 0;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        if (graph->nodes[i].kind != GRAPH_SINK && i != feed->reader) {
            candidates[count++] = graph->nodes[i].name;
        }
    }
    const char *nearest = value_nearest(name, candidates, count);
    free(candidates);
    ensure(feed->reader < graph->node_count);
    if (nearest == NULL) {
        return feed_error(
            build, feed, "expected the name of a source, operator or repartition, found \"%.100s\"",
            name);
    }
    return feed_error(build, feed,
                      "expected the name of a source, operator or repartition, found \"%.100s\"; "
                      "did you mean \"%s\"?",
                      name, nearest);
}

/* Output `port` of `node`; NULL = its first. */
static enum status find_output(const struct graph_build *build, const struct feed *feed,
                               const struct graph_node *node, const char *port, uint32_t *output)
{
    *output = 0;
    if (port == NULL) {
        return STATUS_OK;
    }
    if (node->kind != GRAPH_OPERATOR) {
        return feed_error(build, feed,
                          "expected \"%s\" alone, for a %s has no ports, found \"%s.%.60s\"",
                          node->name, kind_names[node->kind], node->name, port);
    }
    char listed[256] = "";
    size_t used = 0;
    ensure(build->shapes != NULL);
    const struct graph_shape *shape = &build->shapes[node->config_index];
    ensure(shape->output_count == node->output_count);
    for (uint32_t i = 0; i < node->output_count; i++) {
        if (strcmp(shape->outputs[i], port) == 0) {
            *output = i;
            return STATUS_OK;
        }
        if (used < sizeof listed) {
            used += (size_t)snprintf(listed + used, sizeof listed - used, "%s%s",
                                     i == 0 ? "" : ", ", shape->outputs[i]);
        }
    }
    const char *nearest = value_nearest(port, shape->outputs, shape->output_count);
    return feed_error(build, feed, "expected an output of \"%s\" (%s), found \"%.60s\"%s%s%s",
                      node->name, listed, port, nearest == NULL ? "" : "; did you mean \"",
                      nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?");
}

static enum status add_edge(const struct graph_build *build, const struct feed *feed,
                            const struct graph_node *node, uint32_t output_index)
{
    struct graph_output *output = &node->outputs[output_index];
    ensure(output_index < node->output_count);
    for (uint32_t i = output->edge_count; i > 0 && output->edges[i - 1].node == feed->reader; i--) {
        if (output->edges[i - 1].input == feed->input) {
            return feed_error(build, feed, "expected every feed once, found \"%s\" again",
                              feed->from->names[feed->index]);
        }
    }
    output->edges = memory_resize(output->edges, (output->edge_count + 1) * sizeof *output->edges);
    output->edges[output->edge_count++] = (struct graph_edge){feed->reader, feed->input};
    return STATUS_OK;
}

static enum status resolve_feed(const struct graph_build *build, const struct feed *feed)
{
    const char *text = feed->from->names[feed->index];
    const char *dot = strchr(text, '.');
    size_t size = dot == NULL ? strlen(text) : (size_t)(dot - text);
    char name[128];
    if (size == 0 || size >= sizeof name || (dot != NULL && dot[1] == 0)) {
        return feed_error(build, feed,
                          "expected the name of a node or \"node.port\", found \"%.100s\"", text);
    }
    memcpy(name, text, size);
    name[size] = 0;
    struct graph_name wanted = {.name = name};
    const struct graph_name *found =
        bsearch(&wanted, build->names, build->graph->node_count, sizeof wanted, compare_names);
    if (found == NULL) {
        return unknown_feed(build, feed, name);
    }
    const struct graph_node *node = &build->graph->nodes[found->node];
    ensure(strcmp(node->name, name) == 0);
    if (node->kind == GRAPH_SINK) {
        return feed_error(
            build, feed,
            "expected a source, operator or repartition, found the sink \"%s\", which "
            "feeds nobody; name what feeds it instead",
            name);
    }
    uint32_t output;
    enum status status = find_output(build, feed, node, dot == NULL ? NULL : dot + 1, &output);
    return status != STATUS_OK ? status : add_edge(build, feed, node, output);
}

static enum status resolve_feeds(const struct graph_build *build, const struct config_feeds *from,
                                 uint32_t reader, uint32_t input)
{
    ensure(from->count > 0);
    for (size_t i = 0; i < from->count; i++) {
        struct feed feed = {from, i, reader, input};
        enum status status = resolve_feed(build, &feed);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status find_input(const struct graph_build *build, const struct config_input *input,
                              const struct graph_shape *shape, uint32_t *index)
{
    ensure(shape != NULL && shape->input_count > 0);
    *index = 0;
    if (input->port == NULL) {
        return STATUS_OK;
    }
    char listed[256] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < shape->input_count; i++) {
        if (strcmp(shape->inputs[i], input->port) == 0) {
            *index = i;
            return STATUS_OK;
        }
        if (used < sizeof listed) {
            used += (size_t)snprintf(listed + used, sizeof listed - used, "%s%s",
                                     i == 0 ? "" : ", ", shape->inputs[i]);
        }
    }
    const char *nearest = value_nearest(input->port, shape->inputs, shape->input_count);
    return graph_error(build, input->from.path, input->from.line,
                       "expected an input of the operator (%s), found \"%.60s\"%s%s%s", listed,
                       input->port, nearest == NULL ? "" : "; did you mean \"",
                       nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?");
}

static enum status resolve_operator(const struct graph_build *build, uint32_t reader)
{
    uint32_t index = build->graph->nodes[reader].config_index;
    const struct config_operator *reading = &build->config->operators[index];
    ensure(reading->input_count > 0);
    for (size_t i = 0; i < reading->input_count; i++) {
        const struct config_input *input = &reading->inputs[i];
        uint32_t port;
        enum status status = find_input(build, input, &build->shapes[index], &port);
        if (status == STATUS_OK) {
            status = resolve_feeds(build, &input->from, reader, port);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status resolve_all(const struct graph_build *build)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < build->graph->node_count && status == STATUS_OK; i++) {
        const struct graph_node *node = &build->graph->nodes[i];
        ensure(node->name != NULL);
        if (node->kind == GRAPH_OPERATOR) {
            status = resolve_operator(build, i);
        } else if (node->kind == GRAPH_REPARTITION) {
            status =
                resolve_feeds(build, &build->config->repartitions[node->config_index].from, i, 0);
        } else if (node->kind == GRAPH_SINK) {
            status = resolve_feeds(build, &build->config->sinks[node->config_index].from, i, 0);
        }
    }
    return status;
}

/* Somebody must write something, and what is read must be read for somebody. */
static enum status check_use(const struct graph_build *build)
{
    const struct config *config = build->config;
    bool useful = config->sink_count > 0;
    ensure(config->operator_count == 0 || build->shapes != NULL);
    for (size_t i = 0; i < config->operator_count && !useful; i++) {
        useful = build->shapes[i].store_count > 0 || build->shapes[i].timers;
    }
    if (!useful) {
        return graph_error(build, "$", 1,
                           "expected a sink or an operator with a store or timers, found neither: "
                           "there is nothing to do");
    }
    for (uint32_t i = 0; i < build->graph->node_count; i++) {
        const struct graph_node *node = &build->graph->nodes[i];
        bool read = node->kind == GRAPH_SOURCE || node->kind == GRAPH_REPARTITION;
        ensure(!read || node->output_count == 1);
        if (read && node->outputs[0].edge_count == 0) {
            char place[160];
            int line;
            const char *path = graph_place(build, i, place, sizeof place, &line);
            return graph_error(build, path, line,
                               "expected somebody who reads it, found nobody; name \"%s\" in a "
                               "\"from\" or remove it",
                               node->name);
        }
    }
    return STATUS_OK;
}

enum status graph_build(const struct config *config, const struct graph_shape *shapes,
                        struct graph **graph, struct error *error)
{
    ensure(config != NULL && (shapes != NULL || config->operator_count == 0));
    struct graph *made = memory_allocate(sizeof *made);
    struct graph_build build = {.config = config, .shapes = shapes, .graph = made, .error = error};
    made->config = config;
    add_nodes(&build);
    enum status status = resolve_all(&build);
    if (status == STATUS_OK) {
        status = graph_sort(&build);
    }
    if (status == STATUS_OK) {
        status = check_use(&build);
    }
    if (status == STATUS_OK) {
        status = graph_divide(&build);
    }
    free(build.names);
    if (status != STATUS_OK) {
        graph_destroy(made);
        return status;
    }
    *graph = made;
    return STATUS_OK;
}

void graph_destroy(struct graph *graph)
{
    if (graph == NULL) {
        return;
    }
    ensure(graph->nodes != NULL);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        for (uint32_t j = 0; j < graph->nodes[i].output_count; j++) {
            free(graph->nodes[i].outputs[j].edges);
        }
        free(graph->nodes[i].outputs);
    }
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        free(graph->sub_topologies[i].changelog);
        free(graph->sub_topologies[i].nodes);
        free(graph->sub_topologies[i].inputs);
    }
    free(graph->sub_topologies);
    free(graph->order);
    free(graph->nodes);
    free(graph);
}
