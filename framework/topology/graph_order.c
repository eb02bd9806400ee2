/* SPDX-License-Identifier: Apache-2.0 */
/* Graph order: whatever feeds a node comes before it; where that is impossible, the cycle is named.
 */
#include "base/bytes.h"
#include "topology/graph_build.h"

#include <stdio.h>
#include <stdlib.h>

static void count_feeds(const struct graph_node *node, uint32_t *counts)
{
    ensure(node->output_count == 0 || node->outputs != NULL);
    for (uint32_t i = 0; i < node->output_count; i++) {
        for (uint32_t j = 0; j < node->outputs[i].edge_count; j++) {
            counts[node->outputs[i].edges[j].node]++;
        }
    }
}

/* A feeder, itself not sorted, of every node that could not be sorted. */
static uint32_t *unsorted_feeders(const struct graph *graph, const uint32_t *waiting)
{
    uint32_t *feeders = memory_allocate(graph->node_count * sizeof *feeders);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        for (uint32_t j = 0; j < node->output_count && waiting[i] > 0; j++) {
            for (uint32_t k = 0; k < node->outputs[j].edge_count; k++) {
                ensure(node->outputs[j].edges[k].node < graph->node_count);
                feeders[node->outputs[j].edges[k].node] = i;
            }
        }
    }
    return feeders;
}

static enum status cycle_error(const struct graph_build *build, const uint32_t *waiting)
{
    const struct graph *graph = build->graph;
    uint32_t *feeders = unsorted_feeders(graph, waiting);
    uint32_t at = 0;
    while (waiting[at] == 0) {
        at++;
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        at = feeders[at]; /* against the flow, until surely within the cycle */
    }
    uint32_t first = at;
    uint32_t count = 0;
    uint32_t *members = memory_allocate(graph->node_count * sizeof *members);
    do {
        ensure(count < graph->node_count && waiting[at] > 0);
        members[count++] = at;
        first = at < first ? at : first;
        at = feeders[at];
    } while (at != members[0]);
    uint32_t start = 0;
    while (members[start] != first) {
        start++;
    }
    struct buffer text = {0};
    for (uint32_t i = 0; i <= count; i++) { /* members run against the flow */
        uint32_t member = members[(start + count - i % count) % count];
        buffer_format(&text, "%s%s", i == 0 ? "" : " -> ", graph->nodes[member].name);
    }
    char place[160];
    int line;
    const char *path = graph_place(build, first, place, sizeof place, &line);
    enum status status =
        graph_error(build, path, line, "expected no cycle, found %s", buffer_text(&text));
    buffer_finish(&text);
    free(members);
    free(feeders);
    return status;
}

enum status graph_sort(const struct graph_build *build)
{
    struct graph *graph = build->graph;
    ensure(graph->order == NULL);
    uint32_t *waiting = memory_allocate(graph->node_count * sizeof *waiting);
    graph->order = memory_allocate(graph->node_count * sizeof *graph->order);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        count_feeds(&graph->nodes[i], waiting);
    }
    uint32_t known = 0;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        if (waiting[i] == 0) {
            graph->order[known++] = i;
        }
    }
    for (uint32_t done = 0; done < known; done++) {
        const struct graph_node *node = &graph->nodes[graph->order[done]];
        for (uint32_t i = 0; i < node->output_count; i++) {
            for (uint32_t j = 0; j < node->outputs[i].edge_count; j++) {
                uint32_t reader = node->outputs[i].edges[j].node;
                ensure(waiting[reader] > 0);
                if (--waiting[reader] == 0) {
                    graph->order[known++] = reader;
                }
            }
        }
    }
    enum status status = known == graph->node_count ? STATUS_OK : cycle_error(build, waiting);
    free(waiting);
    return status;
}
