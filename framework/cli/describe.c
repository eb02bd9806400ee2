/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"format", "FORMAT", "how it is printed; --json is the same as --format json", "text,json"},
    {0}};

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

static int run_describe(const struct command_line *line)
{
    struct error error = {0};
    struct config *config = NULL;
    struct program *program = NULL;
    enum status status = command_config(line, 0, &config, &error);
    if (status == STATUS_OK) {
        status = program_load(config, &program, &error);
    }
    int code = EXIT_DONE;
    if (status != STATUS_OK) {
        code = command_failed(&error);
    } else {
        const char *format = command_option(line, "format");
        struct buffer text = {0};
        if (command_json(line) || (format != NULL && strcmp(format, "json") == 0)) {
            describe_json(program, &text);
            buffer_append_text(&text, "\n");
        } else {
            describe_text(program, &text);
        }
        ensure(text.size > 0);
        code = fwrite(text.data, 1, text.size, stdout) == text.size ? EXIT_DONE : EXIT_FAILED;
        buffer_finish(&text);
    }
    program_destroy(program);
    config_destroy(config);
    return code;
}

const struct command command_describe = {
    .name = "describe",
    .arguments = "FILE",
    .summary = "Shows sub-topologies, tasks, stores, internal topics and effective settings.",
    .options = options,
    .argument_min = 1,
    .argument_max = 1,
    .run = run_describe,
};
