/* SPDX-License-Identifier: Apache-2.0 */
/* Describe parts: what text and JSON say in the same words. */
#include "cli/describe.h"

void describe_tasks(const struct graph_sub_topology *part, struct buffer *text)
{
    ensure(part->input_count > 0);
    buffer_append_text(text, "one per partition of ");
    for (uint32_t i = 0; i < part->input_count; i++) {
        const char *between = i == 0 ? "" : i + 1 == part->input_count ? " and " : ", ";
        buffer_format(text, "%s%s", between, part->inputs[i].topic);
    }
    if (part->input_count > 1 && part->stateful) {
        buffer_append_text(text, ", which have one partition count");
    }
}

void describe_partitions(const struct graph *graph, const struct graph_sub_topology *part,
                         struct buffer *text, int32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < part->input_count; i++) {
        const struct graph_node *node = &graph->nodes[part->inputs[i].node];
        if (node->kind == GRAPH_REPARTITION) {
            int32_t fixed = graph->config->repartitions[node->config_index].partitions;
            *count = fixed > *count ? fixed : *count;
        }
    }
    ensure(*count >= 0 && part->input_count > 0);
    if (*count > 0) {
        buffer_format(text, "%d partition%s", *count, *count == 1 ? "" : "s");
    } else {
        buffer_format(text, "as many partitions as %s", part->inputs[0].topic);
    }
}

const char *describe_feed(const struct graph *graph, uint32_t node, size_t index)
{
    const struct graph_node *at = &graph->nodes[node];
    const struct config *config = graph->config;
    ensure(node < graph->node_count);
    if (at->kind == GRAPH_SOURCE) {
        return NULL;
    }
    if (at->kind != GRAPH_OPERATOR) {
        const struct config_feeds *from = at->kind == GRAPH_SINK
                                              ? &config->sinks[at->config_index].from
                                              : &config->repartitions[at->config_index].from;
        return index < from->count ? from->names[index] : NULL;
    }
    const struct config_operator *reading = &config->operators[at->config_index];
    for (size_t i = 0; i < reading->input_count; i++) {
        if (index < reading->inputs[i].from.count) {
            return reading->inputs[i].from.names[index];
        }
        index -= reading->inputs[i].from.count;
    }
    return NULL;
}
