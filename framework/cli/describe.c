/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"format", "FORMAT", "how it is printed; --json is the same as --format json", "text,json"},
    {0}};

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
