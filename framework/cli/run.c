/* SPDX-License-Identifier: Apache-2.0 */
/* Command run: loads a topology and runs it until a signal, the end or a failure. */
#include "cli/cli.h"
#include "cli/stop.h"
#include "engine/program.h"
#include "engine/runtime.h"

#include <string.h>

static const struct option_spec run_options[] = {
    {"until-end", NULL, "stop when the group has committed everything that is there now", NULL},
    {"continue-from", "WHAT",
     "after a stop by the self-check: go on from the state's offsets, from the committed offsets, "
     "or "
     "from these with an empty state",
     "state,offsets,empty"},
    {"stats-interval", "DURATION", "how often to log a line of statistics (default 60s, 0 = never)",
     NULL},
    {NULL, NULL, NULL, NULL},
};

static enum continue_from continue_option(const struct command_line *line)
{
    const char *from = command_option(line, "continue-from");
    if (from == NULL) {
        return CONTINUE_NOTHING;
    }
    return strcmp(from, "state") == 0     ? CONTINUE_STATE
           : strcmp(from, "offsets") == 0 ? CONTINUE_OFFSETS
                                          : CONTINUE_EMPTY;
}

static int run_main(const struct command_line *line)
{
    struct error error;
    struct config *config = NULL;
    struct program *program = NULL;
    struct broker *broker = NULL;
    struct runtime_options options = {
        .until_end = command_flag(line, "until-end"),
        .continue_from = continue_option(line),
        .stats_interval_ms = 60000,
    };
    const char *interval = command_option(line, "stats-interval");
    if (interval != NULL && !value_parse_duration(interval, &options.stats_interval_ms)) {
        return command_usage(line, "--stats-interval expects a duration like \"10s\", found \"%s\"",
                             interval);
    }
    stop_at_once(); /* until the runtime takes the signals: a broker may be waited for */
    enum status status = command_config(line, 0, &config, &error);
    status = status == STATUS_OK ? program_load(config, &program, &error) : status;
    status = status == STATUS_OK ? command_broker(config, &broker, &error) : status;
    status = status == STATUS_OK ? runtime_run(program, broker, &options, &error) : status;
    int code = status == STATUS_OK ? EXIT_DONE : command_failed(&error);
    broker_close(broker);
    program_destroy(program);
    config_destroy(config);
    return code;
}

const struct command command_run = {
    .name = "run",
    .arguments = "FILE",
    .summary = "Runs a topology until SIGTERM, its end or a failure.",
    .options = run_options,
    .argument_min = 1,
    .argument_max = 1,
    .run = run_main,
};
