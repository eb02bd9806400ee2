/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graph build: what the graph units share while a graph is made. Private to them.
 * graph.c makes nodes and resolves feeds, graph_order.c sorts and finds cycles, graph_parts.c cuts
 * into sub-topologies.
 */
#ifndef LEAT_TOPOLOGY_GRAPH_BUILD_H
#define LEAT_TOPOLOGY_GRAPH_BUILD_H

#include "topology/graph.h"

struct graph_name {
    const char *name;
    uint32_t node;
};

struct graph_build {
    const struct config *config;
    const struct graph_shape *shapes;
    struct graph *graph;
    struct graph_name *names; /* of all nodes, in byte order */
    struct error *error;
};

/** STATUS_BAD_CONFIG with `FILE:LINE: path: text`; line 0 = from the command line. */
enum status graph_error(const struct graph_build *build, const char *path, int line,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
/** "$.operators.count" and its line; the text lives until the next call with the same buffer. */
const char *graph_place(const struct graph_build *build, uint32_t node, char *text, size_t size,
                        int *line);

/** Fills graph->order; an error for a cycle. */
enum status graph_sort(const struct graph_build *build);
/** Fills graph->sub_topologies and every node's place in them. */
enum status graph_divide(const struct graph_build *build);

#endif
