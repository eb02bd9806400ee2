/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLI: what the command files share: the command table, options, exit codes.
 * One file a command (run.c, produce.c, ...); each exports one `struct command`.
 */
#ifndef LEAT_CLI_CLI_H
#define LEAT_CLI_CLI_H

#include "base/status.h"
#include "broker/broker.h"
#include "topology/config.h"

#include <stdbool.h>
#include <stddef.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_FENCED = 3,
    EXIT_DIFFERENT = 4
};

/** An option `--name VALUE` or `--name=VALUE` (value NULL in the table: a flag). The tables feed
 * --help, the parser and its suggestions. A command's own option hides the common one of that name:
 * --set of `topics create` is the topic's, and then command_config knows no --set. */
struct option_spec {
    const char *name;  /* without dashes */
    const char *value; /* what help calls the value; NULL = a flag */
    const char *summary;
    const char *values; /* "a,b,c" when only these are allowed, first = default; or NULL */
};

struct command_line;

struct command {
    const char *name;
    const char *arguments; /* "FILE TOPIC" as help shows it */
    const char *summary;
    const struct option_spec *options; /* ends with a zero element; the common ones are added */
    size_t argument_min, argument_max;
    int (*run)(const struct command_line *line); /* the exit code */
};

extern const struct command command_run, command_check, command_describe, command_operators,
    command_topics, command_produce, command_consume, command_state, command_schema,
    command_version;

/** Positional argument, NULL beyond the last. */
const char *command_argument(const struct command_line *line, size_t index);
size_t command_argument_count(const struct command_line *line);
/** Value of an option; NULL when not given. The last one given counts. */
const char *command_option(const struct command_line *line, const char *name);
/** The value given `index`-th (from 0) of an option that may be repeated; NULL beyond the last. */
const char *command_option_at(const struct command_line *line, const char *name, size_t index);
bool command_flag(const struct command_line *line, const char *name);
/** --json was given. */
bool command_json(const struct command_line *line);

/** Loads argument `index` as the topology file with --broker and --set applied. */
enum status command_config(const struct command_line *line, size_t index, struct config **config,
                           struct error *error);
/** Opens the broker the config names (checks the Kafka properties with kafka_property_refusal). */
enum status command_broker(const struct config *config, struct broker **broker,
                           struct error *error);
/** Prints `topology: text` to stderr and returns the exit code for the error: 2 for
 * STATUS_BAD_CONFIG, 3 for a fencing, else 1. */
int command_failed(const struct error *error);
/** Prints a usage error about this command and returns EXIT_USAGE. */
int command_usage(const struct command_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
