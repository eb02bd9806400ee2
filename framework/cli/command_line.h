/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line: the words of one invocation, sorted by the tables into a command, its arguments and
 * its options. Parses and explains; runs nothing. Commands read it through cli.h.
 */
#ifndef LEAT_CLI_COMMAND_LINE_H
#define LEAT_CLI_COMMAND_LINE_H

#include "base/bytes.h"
#include "cli/cli.h"

/** Options that are no command's own. */
extern const struct option_spec common_options[];

/** Whether a common option means something to this command (--broker and --set want a FILE). */
bool command_takes(const struct command *command, const struct option_spec *option);
/** The command's own option, else the common one; NULL if it takes none of that name. */
const struct option_spec *command_option_spec(const struct command *command, const char *name);

/** Sorts `argv[0..argc)`, the words behind the program's name. `commands` ends with NULL; the words
 * live as long as the line. STATUS_BAD_CONFIG with the nearest name for what is unknown.
 * STATUS_NOT_FOUND: help was asked for, about (*line)->command or, when that is NULL, about all. */
enum status command_line_parse(const struct command *const *commands, int argc,
                               const char *const *argv, struct command_line **line,
                               struct error *error);
/** Takes NULL. */
void command_line_destroy(struct command_line *line);
/** NULL when help about all was asked for. */
const struct command *command_line_command(const struct command_line *line);

/** What --help prints. */
void command_help(const struct command *command, struct buffer *text);
void command_help_all(const struct command *const *commands, struct buffer *text);

#endif
