/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graph parts: the sub-topologies: what hangs together without passing through a topic. Union-find
 * over the ends of the nodes; a repartition has two ends, the written one (its index) and the read
 * one (node_count + its index).
 */
#include "base/bytes.h"
#include "topology/graph_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t root_of(uint32_t *parents, uint32_t end)
{
    ensure(end < GRAPH_NONE);
    while (parents[end] != end) {
        parents[end] = parents[parents[end]];
        end = parents[end];
    }
    return end;
}

static uint32_t read_end(const struct graph *graph, uint32_t node)
{
    ensure(node < graph->node_count);
    return graph->nodes[node].kind == GRAPH_REPARTITION ? graph->node_count + node : node;
}

static bool is_read(const struct graph_node *node)
{
    return node->kind == GRAPH_SOURCE || node->kind == GRAPH_REPARTITION;
}

static uint32_t *join_ends(const struct graph *graph)
{
    uint32_t count = graph->node_count * 2;
    uint32_t *parents = memory_allocate(count * sizeof *parents);
    ensure(graph->node_count < GRAPH_NONE / 2);
    for (uint32_t i = 0; i < count; i++) {
        parents[i] = i;
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        for (uint32_t j = 0; j < node->output_count; j++) {
            for (uint32_t k = 0; k < node->outputs[j].edge_count; k++) {
                uint32_t from = root_of(parents, read_end(graph, i));
                parents[root_of(parents, node->outputs[j].edges[k].node)] = from;
            }
        }
    }
    return parents;
}

static int compare_parts(const void *a, const void *b)
{
    return strcmp(((const struct graph_sub_topology *)a)->name,
                  ((const struct graph_sub_topology *)b)->name);
}

/* One part for each source or repartition that sorts first among those of its root. */
static void name_parts(struct graph *graph, uint32_t *parents)
{
    const char **names = memory_allocate(graph->node_count * 2 * sizeof *names);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        if (is_read(&graph->nodes[i])) {
            const char **name = &names[root_of(parents, read_end(graph, i))];
            if (*name == NULL || strcmp(graph->nodes[i].name, *name) < 0) {
                *name = graph->nodes[i].name;
            }
        }
    }
    for (uint32_t i = 0; i < graph->node_count * 2; i++) {
        graph->sub_topology_count += names[i] != NULL ? 1 : 0;
    }
    ensure(graph->sub_topology_count > 0);
    graph->sub_topologies =
        memory_allocate(graph->sub_topology_count * sizeof *graph->sub_topologies);
    uint32_t count = 0;
    for (uint32_t i = 0; i < graph->node_count * 2; i++) {
        if (names[i] != NULL) {
            graph->sub_topologies[count++].name = names[i];
        }
    }
    qsort(graph->sub_topologies, count, sizeof *graph->sub_topologies, compare_parts);
    free(names);
}

/* The part of every root, by the node that gave it its name. */
static uint32_t *number_parts(const struct graph *graph, uint32_t *parents)
{
    uint32_t *numbers = memory_allocate(graph->node_count * 2 * sizeof *numbers);
    for (uint32_t i = 0; i < graph->node_count * 2; i++) {
        numbers[i] = GRAPH_NONE;
    }
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        uint32_t node = graph_find(graph, graph->sub_topologies[i].name);
        ensure(node != GRAPH_NONE);
        numbers[root_of(parents, read_end(graph, node))] = i;
    }
    return numbers;
}

static void add_input(struct graph_sub_topology *part, const char *topic, uint32_t node)
{
    ensure(topic != NULL);
    part->inputs = memory_resize(part->inputs, (part->input_count + 1) * sizeof *part->inputs);
    part->inputs[part->input_count++] = (struct graph_input){topic, node};
}

/* Sources come before repartitions among the nodes, so they do among the inputs. */
static void add_inputs(struct graph *graph)
{
    const struct config *config = graph->config;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        if (node->kind == GRAPH_SOURCE) {
            const struct config_source *source = &config->sources[node->config_index];
            ensure(source->topic_count > 0);
            for (size_t j = 0; j < source->topic_count; j++) {
                add_input(&graph->sub_topologies[node->sub_topology], source->topics[j], i);
            }
        } else if (node->kind == GRAPH_REPARTITION) {
            add_input(&graph->sub_topologies[node->reader],
                      config->repartitions[node->config_index].topic, i);
        }
    }
}

static void add_members(const struct graph_build *build)
{
    struct graph *graph = build->graph;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        uint32_t index = graph->order[i];
        const struct graph_node *node = &graph->nodes[index];
        if (node->kind == GRAPH_SOURCE) {
            continue;
        }
        ensure(node->sub_topology < graph->sub_topology_count);
        struct graph_sub_topology *part = &graph->sub_topologies[node->sub_topology];
        part->nodes = memory_resize(part->nodes, (part->node_count + 1) * sizeof *part->nodes);
        part->nodes[part->node_count++] = index;
        if (node->kind == GRAPH_OPERATOR) {
            const struct graph_shape *shape = &build->shapes[node->config_index];
            part->stateful = part->stateful || shape->store_count > 0 || shape->timers;
        }
    }
}

/* A changelog belongs to the framework alone. */
static enum status check_changelog(const struct graph_build *build, const char *changelog)
{
    ensure(changelog != NULL);
    for (uint32_t i = 0; i < build->graph->node_count; i++) {
        const struct graph_node *node = &build->graph->nodes[i];
        bool clash = node->kind == GRAPH_SINK &&
                     strcmp(build->config->sinks[node->config_index].topic, changelog) == 0;
        if (node->kind == GRAPH_SOURCE) {
            const struct config_source *source = &build->config->sources[node->config_index];
            for (size_t j = 0; j < source->topic_count && !clash; j++) {
                clash = strcmp(source->topics[j], changelog) == 0;
            }
        }
        if (clash) {
            char place[160];
            int line;
            const char *path = graph_place(build, i, place, sizeof place, &line);
            return graph_error(build, path, line,
                               "expected a topic of others, found \"%s\", a changelog of this "
                               "application",
                               changelog);
        }
    }
    return STATUS_OK;
}

enum status graph_divide(const struct graph_build *build)
{
    struct graph *graph = build->graph;
    ensure(graph->sub_topologies == NULL);
    uint32_t *parents = join_ends(graph);
    name_parts(graph, parents);
    uint32_t *numbers = number_parts(graph, parents);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        struct graph_node *node = &graph->nodes[i];
        node->sub_topology = numbers[root_of(parents, i)];
        if (node->kind == GRAPH_REPARTITION) {
            node->reader = numbers[root_of(parents, read_end(graph, i))];
        }
        ensure(node->sub_topology < graph->sub_topology_count);
    }
    free(numbers);
    free(parents);
    add_inputs(graph);
    add_members(build);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < graph->sub_topology_count && status == STATUS_OK; i++) {
        struct graph_sub_topology *part = &graph->sub_topologies[i];
        if (part->stateful) {
            part->changelog =
                memory_format("%s-%s-changelog", build->config->application, part->name);
            status = check_changelog(build, part->changelog);
        }
    }
    return status;
}
