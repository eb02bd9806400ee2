/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graph: the nodes of a topology, what feeds what, and the sub-topologies.
 *
 * Invariants
 *  - Every feed is resolved to a node and an output; there is no cycle; every source and
 * repartition is read by somebody; no feed is given twice.
 *  - A repartition is one node with two ends: it is written in `sub_topology` and read in `reader`.
 * The two are one sub-topology when a node below the repartition also reads what lies above it.
 *  - `order` lists all nodes so that whatever feeds a node comes before it.
 * Read-only after graph_build; the config must outlive it.
 */
#ifndef LEAT_TOPOLOGY_GRAPH_H
#define LEAT_TOPOLOGY_GRAPH_H

#include "topology/config.h"

enum { GRAPH_NONE = UINT32_MAX };

enum graph_kind { GRAPH_SOURCE, GRAPH_OPERATOR, GRAPH_REPARTITION, GRAPH_SINK };

/** What the graph must know of an operator's descriptor; from the plugin, given by the caller in
 * the order of config->operators. */
struct graph_shape {
    const char *const *inputs; /* port names */
    uint32_t input_count;
    const char *const *outputs;
    uint32_t output_count;
    uint32_t store_count;
    bool timers; /* has a timer callback */
};

/** One reader of an output. */
struct graph_edge {
    uint32_t node;
    uint32_t input;
};

struct graph_output {
    const char *name;         /* port name; NULL for sources and repartitions */
    struct graph_edge *edges; /* in file order of the readers */
    uint32_t edge_count;
};

struct graph_node {
    enum graph_kind kind;
    const char *name;
    uint32_t config_index; /* into config->sources, operators, ... by kind */
    uint32_t sub_topology; /* where it runs; of a repartition and sink: where it is written */
    uint32_t reader;       /* repartition: the sub-topology that reads it; else GRAPH_NONE */
    struct graph_output *outputs; /* a source's and repartition's one output; an operator's ports */
    uint32_t output_count;
};

/** A topic that a sub-topology reads. */
struct graph_input {
    const char *topic;
    uint32_t node; /* the source or repartition */
};

struct graph_sub_topology {
    const char *name; /* its first source or repartition in byte order */
    char *changelog;  /* <application>-<name>-changelog; NULL when stateless */
    bool stateful;    /* one of its operators has a store or a timer callback */
    uint32_t *nodes;  /* operators and sinks and written repartitions, in `order` */
    uint32_t node_count;
    struct graph_input *inputs; /* every topic read, sources in file order first */
    uint32_t input_count;
};

struct graph {
    const struct config *config;
    struct graph_node *nodes;
    uint32_t node_count;
    uint32_t *order;
    struct graph_sub_topology *sub_topologies; /* in byte order of their names */
    uint32_t sub_topology_count;
};

/** STATUS_BAD_CONFIG with place and remedy: unknown names (nearest one named), cycles (all nodes of
 * it named), an unread source or repartition, a doubled feed, a sink fed by a sink, nothing to do.
 */
enum status graph_build(const struct config *config, const struct graph_shape *shapes,
                        struct graph **graph, struct error *error);
void graph_destroy(struct graph *graph);
/** Node index by name, GRAPH_NONE if unknown. */
uint32_t graph_find(const struct graph *graph, const char *name);

#endif
