/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check: everything that can be wrong before the first record: the file, the graph, the operators
 * with their parameters; with --online also what the broker says about the topics. Creates nothing.
 */
#include "cli/cli.h"
#include "engine/program.h"
#include "engine/settings.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_spec options[] = {
    {"online", NULL, "ask the broker too: topics, partitions", NULL}, {0}};

/* What `run` would refuse: a missing topic is an error with the command that creates it. */
static enum status check_topic(struct broker *broker, const struct config *config,
                               const char *topic, const char *what, int32_t *partitions,
                               struct error *error)
{
    struct broker_topic facts;
    ensure(topic != NULL);
    enum status status = broker_topic_get(broker, topic, &facts, error);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC,
                         "%s: there is no topic %s; create it with: topology topics %s create %s "
                         "--partitions N",
                         what, topic, config->file, topic);
    }
    if (status == STATUS_OK) {
        *partitions = facts.partition_count;
    }
    return status;
}

/* An internal topic need not be there yet; one that is must fit. `expected` 0 = unknown. */
static enum status check_internal(struct broker *broker, const char *topic, int32_t expected,
                                  int32_t *partitions, struct error *error)
{
    struct broker_topic facts;
    ensure(topic != NULL && expected >= 0);
    *partitions = expected;
    enum status status = broker_topic_get(broker, topic, &facts, error);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status == STATUS_OK && expected > 0 && facts.partition_count != expected) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "the internal topic %s has %d partitions, expected %d; delete it with its "
                         "application's state, or change the file back",
                         topic, facts.partition_count, expected);
    }
    if (status == STATUS_OK) {
        *partitions = facts.partition_count;
    }
    return status;
}

static enum status check_part(struct broker *broker, const struct graph *graph,
                              const struct graph_sub_topology *part, struct error *error)
{
    const char *first = NULL;
    int32_t first_count = 0;
    ensure(part->input_count > 0);
    for (uint32_t i = 0; i < part->input_count; i++) {
        const struct graph_node *node = &graph->nodes[part->inputs[i].node];
        const char *topic = part->inputs[i].topic;
        int32_t count = 0;
        char what[160];
        (void)snprintf(what, sizeof what, "source %s", node->name);
        enum status status =
            node->kind == GRAPH_SOURCE
                ? check_topic(broker, graph->config, topic, what, &count, error)
                : check_internal(broker, topic,
                                 graph->config->repartitions[node->config_index].partitions, &count,
                                 error);
        if (status != STATUS_OK) {
            return status;
        }
        if (part->stateful && count > 0 && first != NULL && count != first_count) {
            return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                             "the stateful sub-topology %s reads %s with %d partitions and %s with "
                             "%d; it needs one count: put a repartition between",
                             part->name, first, first_count, topic, count);
        }
        if (count > 0 && first == NULL) {
            first = topic;
            first_count = count;
        }
    }
    int32_t found;
    return part->stateful ? check_internal(broker, part->changelog, first_count, &found, error)
                          : STATUS_OK;
}

static enum status check_online(const struct program *program, struct error *error)
{
    const struct config *config = program->config;
    struct broker *broker = NULL;
    enum status status = settings_open_broker(config, &broker, error);
    ensure(status != STATUS_OK || broker != NULL);
    for (uint32_t i = 0; i < program->graph->sub_topology_count && status == STATUS_OK; i++) {
        status = check_part(broker, program->graph, &program->graph->sub_topologies[i], error);
    }
    for (size_t i = 0; i < config->sink_count && status == STATUS_OK; i++) {
        int32_t count;
        char what[160];
        (void)snprintf(what, sizeof what, "sink %s", config->sinks[i].name);
        status = check_topic(broker, config, config->sinks[i].topic, what, &count, error);
    }
    if (broker != NULL) {
        broker_close(broker);
    }
    return status;
}

static void print_good(const struct command_line *line, const struct program *program)
{
    const struct config *config = program->config;
    bool online = command_flag(line, "online");
    size_t nodes = program->graph->node_count;
    size_t parts = program->graph->sub_topology_count;
    ensure(parts > 0);
    if (!command_json(line)) {
        (void)printf("%s: good: application %s, %zu nodes, %zu sub-topolog%s%s\n", config->file,
                     config->application, nodes, parts, parts == 1 ? "y" : "ies",
                     online ? ", topics as they must be" : "");
        return;
    }
    json_t *file = json_string(config->file); /* NULL when its name is no UTF-8 */
    json_t *object =
        json_pack("{s:o, s:b, s:s, s:I, s:I, s:b}", "file", file == NULL ? json_null() : file,
                  "good", 1, "application", config->application, "nodes", (json_int_t)nodes,
                  "sub_topologies", (json_int_t)parts, "online", (int)online);
    char *text = json_dumps(object, JSON_COMPACT);
    ensure(text != NULL);
    (void)puts(text);
    free(text);
    json_decref(object);
}

static int run_check(const struct command_line *line)
{
    struct error error = {0};
    struct config *config = NULL;
    struct program *program = NULL;
    enum status status = command_config(line, 0, &config, &error);
    if (status == STATUS_OK) {
        status = settings_check(config, &error);
    }
    if (status == STATUS_OK) {
        status = program_load(config, &program, &error);
    }
    if (status == STATUS_OK) {
        status = program_check(program, &error);
    }
    if (status == STATUS_OK && command_flag(line, "online")) {
        status = check_online(program, &error);
    }
    ensure(status != STATUS_OK || program != NULL);
    int code = EXIT_DONE;
    if (status == STATUS_OK) {
        print_good(line, program);
    } else {
        code = command_failed(&error);
    }
    program_destroy(program);
    config_destroy(config);
    return code;
}

const struct command command_check = {
    .name = "check",
    .arguments = "FILE",
    .summary = "Checks the file, the graph, the operators and their parameters; with --online also "
               "the topics.",
    .options = options,
    .argument_min = 1,
    .argument_max = 1,
    .run = run_check,
};
