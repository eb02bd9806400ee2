/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/graph.h"

#include "base/bytes.h"
#include "base/random.h"
#include "config_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const one_in[] = {"in"};
static const char *const one_out[] = {"out"};
static const char *const two_in[] = {"left", "right"};
static const char *const two_out[] = {"out", "late"};

/* `use` says the shape: plain, store, timer, join (two inputs), fork (two outputs). */
static struct graph_shape shape_of(const char *use)
{
    struct graph_shape shape = {one_in, 1, one_out, 1, 0, false};
    if (strcmp(use, "store") == 0) {
        shape.store_count = 1;
    } else if (strcmp(use, "timer") == 0) {
        shape.timers = true;
    } else if (strcmp(use, "join") == 0) {
        shape.inputs = two_in;
        shape.input_count = 2;
    } else if (strcmp(use, "fork") == 0) {
        shape.outputs = two_out;
        shape.output_count = 2;
    }
    return shape;
}

static enum status build(const struct config *config, struct graph **graph, struct error *error)
{
    struct graph_shape shapes[64];
    cr_assert_leq(config->operator_count, 64);
    for (size_t i = 0; i < config->operator_count; i++) {
        shapes[i] = shape_of(config->operators[i].use);
    }
    *graph = NULL;
    enum status status = graph_build(config, shapes, graph, error);
    cr_assert_eq(*graph != NULL, status == STATUS_OK);
    return status;
}

/* `nodes` are the sections of a file, in JSON with ' for ". */
static struct config *config_of(const char *nodes)
{
    struct buffer text = {0};
    buffer_append_text(&text, "{ 'application': 'app',\n");
    buffer_append_text(&text, nodes);
    buffer_append_text(&text, " }");
    char *at = (char *)(uintptr_t)buffer_text(&text);
    for (char *quote = at; (quote = strchr(quote, '\'')) != NULL;) {
        *quote = '"';
    }
    struct config *config = config_good(at, NULL);
    buffer_finish(&text);
    return config;
}

static struct graph *graph_good(const char *nodes, struct config **config)
{
    struct graph *graph;
    struct error error = {0};
    *config = config_of(nodes);
    enum status status = build(*config, &graph, &error);
    cr_assert(status == STATUS_OK, "%s", error.text);
    return graph;
}

static void expect_error(const char *nodes, const char *expected)
{
    struct config *config = config_of(nodes);
    struct graph *graph;
    struct error error = {0};
    cr_assert_eq(build(config, &graph, &error), STATUS_BAD_CONFIG, "accepted: %s", nodes);
    cr_expect_str_eq(error.text, expected);
    cr_expect_eq(error.code, ERROR_CONFIG);
    config_destroy(config);
}

#define SOURCE "'sources': { 'in': { 'topic': 'a' } },\n"
#define SINK(from) "'sinks': { 'out': { 'topic': 'b', 'from': " from " } }"

Test(graph, a_sink_fed_by_a_source_is_a_topology)
{
    struct config *config;
    struct graph *graph = graph_good(SOURCE SINK("'in'"), &config);
    cr_assert_eq(graph->node_count, 2);
    cr_expect_eq(graph_find(graph, "in"), 0);
    cr_expect_eq(graph_find(graph, "out"), 1);
    cr_expect_eq(graph_find(graph, "none"), GRAPH_NONE);
    cr_assert_eq(graph->sub_topology_count, 1);
    const struct graph_sub_topology *part = &graph->sub_topologies[0];
    cr_expect_str_eq(part->name, "in");
    cr_expect_not(part->stateful);
    cr_expect_null(part->changelog);
    cr_assert_eq(part->node_count, 1);
    cr_expect_eq(part->nodes[0], 1);
    cr_assert_eq(part->input_count, 1);
    cr_expect_str_eq(part->inputs[0].topic, "a");
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, a_repartition_ends_one_sub_topology_and_begins_another)
{
    struct config *config;
    struct graph *graph =
        graph_good("'sources': { 'lines': { 'topic': 'lines' } },\n"
                   "'operators': { 'words': { 'use': 'plain', 'from': 'lines' },\n"
                   "  'count': { 'use': 'store', 'from': 'by_word' } },\n"
                   "'repartitions': { 'by_word': { 'from': ['words'], 'partitions': 4 } },\n"
                   "'sinks': { 'counts': { 'topic': 'counts', 'from': 'count' } }",
                   &config);
    cr_assert_eq(graph->sub_topology_count, 2);
    const struct graph_sub_topology *first = &graph->sub_topologies[0];
    const struct graph_sub_topology *second = &graph->sub_topologies[1];
    cr_expect_str_eq(first->name, "by_word", "byte order of the names");
    cr_expect_str_eq(second->name, "lines");
    cr_expect(first->stateful);
    cr_expect_str_eq(first->changelog, "app-by_word-changelog");
    cr_expect_not(second->stateful);
    const struct graph_node *node = &graph->nodes[graph_find(graph, "by_word")];
    cr_expect_eq(node->kind, GRAPH_REPARTITION);
    cr_expect_eq(node->sub_topology, 1, "written by the one");
    cr_expect_eq(node->reader, 0, "read by the other");
    cr_expect_null(node->outputs[0].name);
    cr_expect_str_eq(first->inputs[0].topic, "app-by_word-repartition");
    cr_expect_eq(first->inputs[0].node, graph_find(graph, "by_word"));
    cr_assert_eq(second->node_count, 2, "words and the written repartition");
    cr_expect_eq(second->nodes[1], graph_find(graph, "by_word"));
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, a_timer_makes_a_sub_topology_stateful)
{
    struct config *config;
    struct graph *graph =
        graph_good(SOURCE "'operators': { 'tick': { 'use': 'timer', 'from': 'in' } }", &config);
    cr_expect(graph->sub_topologies[0].stateful);
    cr_expect_str_eq(graph->sub_topologies[0].changelog, "app-in-changelog");
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, sources_that_meet_are_one_sub_topology_named_by_the_first)
{
    struct config *config;
    struct graph *graph = graph_good(
        "'sources': { 'z': { 'topics': ['t2', 't1'] }, 'b': { 'topic': 'u' },"
        " 'a': { 'topic': 'v' }, '_': { 'topic': 'w' } },\n"
        "'operators': { 'j': { 'use': 'join', 'from': { 'right': ['b'], 'left': ['z', 'a'] } } },\n"
        "'sinks': { 'out': { 'topic': 'x', 'from': 'j' }, 'other': { 'topic': 'y', 'from': '_' } }",
        &config);
    cr_assert_eq(graph->sub_topology_count, 2);
    cr_expect_str_eq(graph->sub_topologies[0].name, "_");
    const struct graph_sub_topology *part = &graph->sub_topologies[1];
    cr_expect_str_eq(part->name, "a");
    cr_assert_eq(part->input_count, 4);
    cr_expect_str_eq(part->inputs[0].topic, "t2", "in file order");
    cr_expect_str_eq(part->inputs[1].topic, "t1");
    cr_expect_str_eq(part->inputs[2].topic, "u");
    cr_expect_str_eq(part->inputs[3].topic, "v");
    const struct graph_node *z = &graph->nodes[graph_find(graph, "z")];
    const struct graph_node *b = &graph->nodes[graph_find(graph, "b")];
    cr_assert_eq(z->outputs[0].edge_count, 1);
    cr_expect_eq(z->outputs[0].edges[0].node, graph_find(graph, "j"));
    cr_expect_eq(z->outputs[0].edges[0].input, 0, "left");
    cr_expect_eq(b->outputs[0].edges[0].input, 1, "right");
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, ports_name_outputs)
{
    struct config *config;
    struct graph *graph =
        graph_good(SOURCE "'operators': { 'f': { 'use': 'fork', 'from': 'in' } },\n"
                          "'sinks': { 'p': { 'topic': 'x', 'from': 'f' }, 'q': { 'topic': 'y',"
                          " 'from': ['f.late', 'f.out'] } }",
                   &config);
    const struct graph_node *node = &graph->nodes[graph_find(graph, "f")];
    cr_assert_eq(node->output_count, 2);
    cr_expect_str_eq(node->outputs[1].name, "late");
    cr_assert_eq(node->outputs[0].edge_count, 2);
    cr_expect_eq(node->outputs[0].edges[0].node, graph_find(graph, "p"));
    cr_expect_eq(node->outputs[0].edges[1].node, graph_find(graph, "q"));
    cr_assert_eq(node->outputs[1].edge_count, 1);
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, one_node_may_read_both_sides_of_a_repartition)
{
    struct config *config;
    struct graph *graph = graph_good(
        SOURCE "'operators': { 'j': { 'use': 'join', 'from': { 'left': 'in', 'right': 'r' } } },\n"
               "'repartitions': { 'r': { 'from': 'in' } },\n" SINK("'j'"),
        &config);
    cr_assert_eq(graph->sub_topology_count, 1);
    const struct graph_node *r = &graph->nodes[graph_find(graph, "r")];
    cr_expect_eq(r->sub_topology, 0);
    cr_expect_eq(r->reader, 0);
    cr_expect_eq(graph->sub_topologies[0].input_count, 2);
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, a_feed_may_go_to_two_inputs_of_one_operator)
{
    struct config *config;
    struct graph *graph = graph_good(
        SOURCE
        "'operators': { 'j': { 'use': 'join', 'from': { 'left': 'in', 'right': 'in' } } },\n" SINK(
            "'j'"),
        &config);
    cr_expect_eq(graph->nodes[0].outputs[0].edge_count, 2);
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, an_output_that_nobody_takes_is_legal)
{
    struct config *config;
    struct graph *graph = graph_good(
        SOURCE "'operators': { 'o': { 'use': 'plain', 'from': 'in' } },\n" SINK("'in'"), &config);
    cr_expect_eq(graph->nodes[graph_find(graph, "o")].outputs[0].edge_count, 0);
    graph_destroy(graph);
    config_destroy(config);
}

Test(graph, unknown_names_bring_the_nearest_one)
{
    expect_error(SOURCE "'operators': { 'words': { 'use': 'plain', 'from': 'in' } },\n"
                        "'sinks': { 'out': { 'topic': 'b',\n'from': ['in',\n 'word'] } }",
                 "topology.json:6: $.sinks.out.from[1]: expected the name of a source, operator or "
                 "repartition, found \"word\"; did you mean \"words\"?");
    expect_error(SOURCE SINK("'elsewhere'"),
                 "topology.json:3: $.sinks.out.from: expected the name of a source, operator or "
                 "repartition, found \"elsewhere\"");
    expect_error(SOURCE SINK("'in.'"), "topology.json:3: $.sinks.out.from: expected the name of a "
                                       "node or \"node.port\", found \"in.\"");
    expect_error(SOURCE SINK("''"),
                 "topology.json:3: $.sinks.out.from: expected the name of a node "
                 "or \"node.port\", found \"\"");
}

Test(graph, unknown_ports_list_the_known_ones)
{
    expect_error(
        SOURCE "'operators': { 'f': { 'use': 'fork', 'from': 'in' } },\n" SINK("'f.lat'"),
        "topology.json:4: $.sinks.out.from: expected an output of \"f\" (out, late), found "
        "\"lat\"; did you mean \"late\"?");
    expect_error(SOURCE "'operators': { 'j': { 'use': 'join',\n'from': { 'left': 'in', 'rihgt': "
                        "'in' } } },\n" SINK("'j'"),
                 "topology.json:4: $.operators.j.from.rihgt: expected an input of the operator "
                 "(left, right), found \"rihgt\"; did you mean \"right\"?");
    expect_error(SOURCE SINK("'in.out'"),
                 "topology.json:3: $.sinks.out.from: expected \"in\" alone, "
                 "for a source has no ports, found \"in.out\"");
}

Test(graph, a_feed_given_twice_is_refused)
{
    expect_error(SOURCE SINK("['in', 'in']"),
                 "topology.json:3: $.sinks.out.from[1]: expected every "
                 "feed once, found \"in\" again");
    expect_error(SOURCE
                 "'operators': { 'f': { 'use': 'fork', 'from': 'in' } },\n" SINK("['f', 'f.out']"),
                 "topology.json:4: $.sinks.out.from[1]: expected every feed once, found \"f.out\" "
                 "again");
}

Test(graph, a_sink_feeds_nobody)
{
    expect_error(SOURCE "'sinks': { 'out': { 'topic': 'b', 'from': 'in' }, 'more': { 'topic': 'c', "
                        "'from': 'out' } }",
                 "topology.json:3: $.sinks.more.from: expected a source, operator or repartition, "
                 "found the sink \"out\", which feeds nobody; name what feeds it instead");
}

Test(graph, what_nobody_reads_is_refused)
{
    expect_error(
        "'sources': { 'in': { 'topic': 'a' },\n 'idle': { 'topic': 'c' } },\n" SINK("'in'"),
        "topology.json:3: $.sources.idle: expected somebody who reads it, found nobody; "
        "name \"idle\" in a \"from\" or remove it");
    expect_error(SOURCE "'repartitions': { 'r': { 'from': 'in' } },\n" SINK("'in'"),
                 "topology.json:3: $.repartitions.r: expected somebody who reads it, found nobody; "
                 "name \"r\" in a \"from\" or remove it");
}

Test(graph, nothing_to_do_is_refused)
{
    const char *expected = "topology.json:1: $: expected a sink or an operator with a store or "
                           "timers, found neither: there is nothing to do";
    expect_error("'sources': { 'in': { 'topic': 'a' } }", expected);
    expect_error(SOURCE "'operators': { 'o': { 'use': 'plain', 'from': 'in' } }", expected);
}

Test(graph, a_cycle_is_named_with_all_its_nodes)
{
    expect_error(SOURCE "'operators': { 'x': { 'use': 'plain', 'from': ['in', 'z'] },\n"
                        "'y': { 'use': 'plain', 'from': 'x' },\n"
                        "'z': { 'use': 'plain', 'from': 'y' },\n"
                        "'below': { 'use': 'plain', 'from': 'z' } },\n" SINK("'below'"),
                 "topology.json:3: $.operators.x: expected no cycle, found x -> y -> z -> x");
    expect_error(SOURCE
                 "'operators': { 'x': { 'use': 'plain', 'from': ['in', 'x'] } },\n" SINK("'x'"),
                 "topology.json:3: $.operators.x: expected no cycle, found x -> x");
    expect_error(SOURCE "'operators': { 'x': { 'use': 'plain', 'from': ['in', 'r'] } },\n"
                        "'repartitions': { 'r': { 'from': 'x' } },\n" SINK("'x'"),
                 "topology.json:3: $.operators.x: expected no cycle, found x -> r -> x");
}

Test(graph, a_changelog_of_its_own_is_no_topic_for_others)
{
    expect_error(SOURCE "'operators': { 's': { 'use': 'store', 'from': 'in' } },\n"
                        "'sinks': { 'out': { 'topic': 'app-in-changelog', 'from': 's' } }",
                 "topology.json:4: $.sinks.out: expected a topic of others, found "
                 "\"app-in-changelog\", a changelog of this application");
}

Test(graph, a_feed_from_the_command_line_says_so)
{
    struct config *config = config_good(CONFIG_WITH(""), "sinks.out.from=inn", NULL);
    struct graph *graph;
    struct error error = {0};
    cr_assert_eq(build(config, &graph, &error), STATUS_BAD_CONFIG);
    cr_expect_str_eq(error.text, "--set: $.sinks.out.from[0]: expected the name of a source, "
                                 "operator or repartition, found \"inn\"; did you mean \"in\"?");
    config_destroy(config);
}

/* A graph of operators that read only those before them, shuffled in the file. */
static void random_nodes(struct random *random, struct buffer *text, size_t count)
{
    uint32_t place[40];
    for (uint32_t i = 0; i < count; i++) {
        place[i] = i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = random_below(random, i);
        uint32_t kept = place[i - 1];
        place[i - 1] = place[other];
        place[other] = kept;
    }
    buffer_append_text(text, "'sources': { 'in': { 'topic': 'a' } }, 'operators': {");
    for (size_t i = 0; i < count; i++) {
        uint32_t node = place[i];
        buffer_format(text, "%s'o%u': { 'use': 'store', 'from': ['in'", i == 0 ? "" : ",", node);
        for (uint32_t j = 0; j < node; j++) {
            if (random_below(random, 4) == 0) {
                buffer_format(text, ",'o%u'", j);
            }
        }
        buffer_append_text(text, "] }");
    }
    buffer_append_text(text, "}");
}

Test(graph, in_the_order_whatever_feeds_a_node_comes_before_it)
{
    struct random random;
    random_init(&random, 7);
    for (int round = 0; round < 50; round++) {
        struct buffer text = {0};
        random_nodes(&random, &text, 1 + random_below(&random, 40));
        struct config *config;
        struct graph *graph = graph_good(buffer_text(&text), &config);
        uint32_t *place = memory_allocate(graph->node_count * sizeof *place);
        for (uint32_t i = 0; i < graph->node_count; i++) {
            place[graph->order[i]] = i;
        }
        for (uint32_t i = 0; i < graph->node_count; i++) {
            for (uint32_t j = 0; j < graph->nodes[i].outputs[0].edge_count; j++) {
                cr_assert_lt(place[i], place[graph->nodes[i].outputs[0].edges[j].node]);
            }
        }
        cr_assert_eq(graph->sub_topologies[0].node_count, graph->node_count - 1);
        free(place);
        graph_destroy(graph);
        config_destroy(config);
        buffer_finish(&text);
    }
}

Test(graph, destroying_nothing_is_allowed)
{
    graph_destroy(NULL);
    struct config *config;
    struct graph *graph = graph_good(SOURCE SINK("'in'"), &config);
    cr_assert_eq(graph->config, config);
    graph_destroy(graph);
    config_destroy(config);
}
