/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check: everything that can be wrong before the first record: the file, the graph, the operators
 * with their parameters; with --online also what the broker says about the topics. Creates nothing.
 */
#include "cli/cli.h"
#include "engine/prepare.h"
#include "engine/program.h"
#include "engine/settings.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_spec options[] = {
    {"online", NULL, "ask the broker too: topics, partitions", NULL}, {0}};

/* Just what `run` would refuse before it starts. */
static enum status check_online(const struct program *program, struct error *error)
{
    ensure(program != NULL && program->config != NULL);
    struct broker *broker = NULL;
    struct prepared_topics topics;
    enum status status = settings_open_broker(program->config, &broker, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = prepare_topics(program, broker, false, false, &topics, error);
    prepare_finish(&topics);
    broker_close(broker);
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
