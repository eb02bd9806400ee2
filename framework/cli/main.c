/* SPDX-License-Identifier: Apache-2.0 */
/* Main: finds the command, sets the log up, runs it, and makes sure that its results were written.
 */
#include "base/log.h"
#include "cli/command_line.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {&command_run,
                                                 &command_check,
                                                 &command_describe,
                                                 &command_operators,
                                                 &command_topics,
                                                 &command_produce,
                                                 &command_consume,
                                                 &command_state,
                                                 &command_schema,
                                                 &command_version,
                                                 NULL};

static const struct command *find_command(const char *name)
{
    ensure(name != NULL);
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

/* Every part of a log line; --debug takes some of them, or all. */
static const char *const log_parts[] = {
    "all",     "broker", "consumer",   "group", "librdkafka", "operator",    "plugin", "recovery",
    "runtime", "state",  "statistics", "task",  "topics",     "transaction", "worker"};

/* STATUS_BAD_CONFIG for a part that no line has. */
static enum status check_debug(const char *parts, struct error *error)
{
    ensure(parts != NULL);
    char *copy = memory_text(parts);
    char *rest = copy;
    enum status status = STATUS_OK;
    for (char *part; status == STATUS_OK && (part = strsep(&rest, ",")) != NULL;) {
        size_t count = sizeof log_parts / sizeof *log_parts;
        size_t i = 0;
        while (i < count && strcmp(log_parts[i], part) != 0) {
            i++;
        }
        if (i == count) {
            const char *near = value_nearest(part, log_parts, count);
            status =
                error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                          "--debug: no part \"%s\"%s%s%s; known: all, broker, consumer, group, "
                          "librdkafka, operator, plugin, recovery, runtime, state, statistics, "
                          "task, topics, transaction, worker",
                          part, near == NULL ? "" : ", did you mean \"", near == NULL ? "" : near,
                          near == NULL ? "" : "\"?");
        }
    }
    free(copy);
    return status;
}

static void set_log(const struct command_line *line)
{
    const char *level_text = command_option(line, "log-level");
    enum log_level level = LOG_INFO;
    bool known = level_text == NULL || log_parse_level(level_text, &level);
    ensure(known); /* the parser let only these through */
    log_set_level(level);
    log_set_debug(command_option(line, "debug"));
}

static int print_help(const struct command *command)
{
    struct buffer text = {0};
    if (command == NULL) {
        command_help_all(commands, &text);
    } else {
        command_help(command, &text);
    }
    ensure(text.size > 0);
    size_t written = fwrite(text.data, 1, text.size, stdout);
    int code = written == text.size ? EXIT_DONE : EXIT_FAILED;
    buffer_finish(&text);
    return code;
}

int main(int argc, char **argv)
{
    struct command_line *line;
    struct error error = {0};
    /* Where its buffer cannot grow jansson drops a letter and goes on: of a record, of a name. */
    json_set_alloc_funcs(memory_allocate, free);
    enum status status = command_line_parse(commands, argc > 0 ? argc - 1 : 0,
                                            (const char *const *)argv + 1, &line, &error);
    int code;
    if (status == STATUS_OK && command_option(line, "debug") != NULL &&
        check_debug(command_option(line, "debug"), &error) != STATUS_OK) {
        status = STATUS_BAD_CONFIG;
        command_line_destroy(line);
    }
    if (status == STATUS_OK) {
        set_log(line);
        code = command_line_command(line)->run(line);
    } else if (status == STATUS_NOT_FOUND) {
        code = print_help(command_line_command(line));
    } else {
        const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
        (void)fprintf(stderr, "topology: %s (see topology %s%s--help)\n", error.text,
                      command == NULL ? "" : command->name, command == NULL ? "" : " ");
        return EXIT_USAGE;
    }
    command_line_destroy(line);
    ensure(code >= EXIT_DONE && code <= EXIT_DIFFERENT);
    bool written = ferror(stdout) == 0 && fflush(stdout) == 0;
    if (!written) {
        (void)fprintf(stderr, "topology: stdout: not all results could be written\n");
    }
    return written || code != EXIT_DONE ? code : EXIT_FAILED;
}
