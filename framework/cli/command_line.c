/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command_line.h"

#include "base/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_LIMIT = 64 };

struct option_value {
    const struct option_spec *spec;
    const char *value;
};

struct command_line {
    const struct command *command;
    const char **arguments;
    size_t argument_count;
    struct option_value *options; /* in the order given */
    size_t option_count;
};

const struct option_spec common_options[] = {
    {"broker", "BROKER", "local:DIR or kafka:HOST:PORT instead of the file's broker", NULL},
    {"set", "PATH=VALUE",
     "another value for a key of the file, as in commit.interval=1s; repeatable", NULL},
    {"log-level", "LEVEL", "what is logged to stderr", "info,error,warn,debug"},
    {"debug", "PARTS", "debug lines of these parts, as in transaction,state; or all", NULL},
    {"json", NULL, "print results as JSON, one object a line", NULL},
    {"help", NULL, "print this and exit", NULL},
    {0}};

static bool takes_file(const struct command *command)
{
    ensure(command != NULL && command->arguments != NULL);
    return strncmp(command->arguments, "FILE", 4) == 0;
}

bool command_takes(const struct command *command, const struct option_spec *option)
{
    bool of_file = strcmp(option->name, "broker") == 0 || strcmp(option->name, "set") == 0;
    ensure(option->name != NULL);
    return takes_file(command) || !of_file;
}

const struct option_spec *command_option_spec(const struct command *command, const char *name)
{
    ensure(name != NULL);
    const struct option_spec *own = command->options;
    for (; own != NULL && own->name != NULL; own++) {
        if (strcmp(own->name, name) == 0) {
            return own;
        }
    }
    for (const struct option_spec *common = common_options; common->name != NULL; common++) {
        if (strcmp(common->name, name) == 0 && command_takes(command, common)) {
            return common;
        }
    }
    return NULL;
}

static const char *suggestion(const char *name, const char *const *names, size_t count,
                              const char *dashes, char *text, size_t size)
{
    const char *nearest = value_nearest(name, names, count);
    *text = 0;
    if (nearest != NULL) {
        (void)snprintf(text, size, "; did you mean \"%s%s\"?", dashes, nearest);
    }
    ensure(size > 0);
    return text;
}

static enum status unknown_option(const struct command *command, const char *name,
                                  struct error *error)
{
    const char *names[OPTION_LIMIT];
    char hint[128];
    size_t count = 0;
    for (const struct option_spec *own = command->options; own != NULL && own->name != NULL;
         own++) {
        ensure(count < OPTION_LIMIT / 2);
        names[count++] = own->name;
    }
    for (const struct option_spec *common = common_options; common->name != NULL; common++) {
        if (command_takes(command, common)) {
            names[count++] = common->name;
        }
    }
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                     "%s: expected an option of this command, found \"--%.60s\"%s", command->name,
                     name, suggestion(name, names, count, "--", hint, sizeof hint));
}

static bool is_listed(const char *value, const char *list)
{
    size_t size = strlen(value);
    ensure(*list != 0);
    for (const char *at = list; *at != 0;) {
        size_t item = strcspn(at, ",");
        if (item == size && strncmp(at, value, size) == 0) {
            return true;
        }
        at += item + (at[item] == ',' ? 1 : 0);
    }
    return false;
}

static enum status check_value(const struct command *command, const struct option_spec *spec,
                               const char *value, struct error *error)
{
    if (spec->values == NULL || is_listed(value, spec->values)) {
        return STATUS_OK;
    }
    char *list = memory_text(spec->values);
    const char *names[OPTION_LIMIT];
    size_t count = 0;
    char hint[128];
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        ensure(count < OPTION_LIMIT);
        names[count++] = name;
    }
    (void)suggestion(value, names, count, "", hint, sizeof hint);
    free(list);
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                     "%s: expected one of %s for --%s, found \"%.60s\"%s", command->name,
                     spec->values, spec->name, value, hint);
}

/* The option that `*at` names, with its value; `*at` is the last word used after. */
static enum status take_option(struct command_line *line, int argc, const char *const *argv,
                               int *at, struct error *error)
{
    const char *word = argv[*at] + 2;
    const char *equals = strchr(word, '=');
    char name[64];
    size_t size = equals == NULL ? strlen(word) : (size_t)(equals - word);
    (void)snprintf(name, sizeof name, "%.*s", (int)(size < 63 ? size : 63), word);
    const struct option_spec *spec = command_option_spec(line->command, name);
    if (spec == NULL) {
        return unknown_option(line->command, name, error);
    }
    const char *value = equals == NULL ? NULL : equals + 1;
    ensure(*at < argc);
    if (spec->value == NULL && value != NULL) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s: expected --%s alone, found a value after it", line->command->name,
                         spec->name);
    }
    if (spec->value != NULL && value == NULL) {
        if (*at + 1 == argc) {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "%s: expected %s after --%s, found nothing", line->command->name,
                             spec->value, spec->name);
        }
        value = argv[++*at];
    }
    line->options[line->option_count++] = (struct option_value){spec, value};
    return value == NULL ? STATUS_OK : check_value(line->command, spec, value, error);
}

/* A lone "-" and, for keys, what looks like a negative number are arguments. */
static bool is_option(const char *word)
{
    ensure(word != NULL);
    return word[0] == '-' && word[1] != 0 && !(word[1] >= '0' && word[1] <= '9');
}

static enum status take_words(struct command_line *line, int argc, const char *const *argv,
                              struct error *error)
{
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        ensure(line->argument_count <= (size_t)i);
        if (only_arguments || !is_option(word)) {
            line->arguments[line->argument_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (word[1] != '-') {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "%s: expected options with two dashes, found \"%.60s\" (what begins "
                             "with a dash and is no option goes behind --)",
                             line->command->name, word);
        } else {
            enum status status = take_option(line, argc, argv, &i, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    const struct command *command = line->command;
    if (line->argument_count < command->argument_min) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s: expected %s, found %zu argument%s", command->name, command->arguments,
                         line->argument_count, line->argument_count == 1 ? "" : "s");
    }
    if (line->argument_count > command->argument_max) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s: expected %s, found \"%.60s\" after it", command->name,
                         *command->arguments == 0 ? "no argument" : command->arguments,
                         line->arguments[command->argument_max]);
    }
    return STATUS_OK;
}

static bool asks_for_help(int argc, const char *const *argv)
{
    ensure(argc >= 0);
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static const struct command *find_command(const struct command *const *commands, const char *name)
{
    ensure(name != NULL);
    for (; *commands != NULL; commands++) {
        if (strcmp((*commands)->name, name) == 0) {
            return *commands;
        }
    }
    return NULL;
}

static enum status unknown_command(const struct command *const *commands, const char *name,
                                   struct error *error)
{
    const char *names[OPTION_LIMIT];
    size_t count = 0;
    char hint[128];
    for (; commands[count] != NULL; count++) {
        ensure(count < OPTION_LIMIT);
        names[count] = commands[count]->name;
    }
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                     "expected a command, found \"%.60s\"%s", name,
                     suggestion(name, names, count, "", hint, sizeof hint));
}

enum status command_line_parse(const struct command *const *commands, int argc,
                               const char *const *argv, struct command_line **line,
                               struct error *error)
{
    *line = NULL;
    if (argc == 0) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "expected a command, found none");
    }
    const char *name = argv[0];
    if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (help && argc > 1) {
        name = argv[1]; /* "help run" */
    }
    const struct command *command = find_command(commands, name);
    if (command == NULL && !(help && argc == 1)) {
        return unknown_command(commands, name, error);
    }
    struct command_line *made = memory_allocate(sizeof *made);
    made->command = command;
    made->arguments = memory_allocate((size_t)argc * sizeof *made->arguments);
    made->options = memory_allocate((size_t)argc * sizeof *made->options);
    enum status status = STATUS_NOT_FOUND;
    if (!help && !asks_for_help(argc - 1, argv + 1)) {
        status = take_words(made, argc - 1, argv + 1, error);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        command_line_destroy(made);
        return status;
    }
    ensure(status == STATUS_NOT_FOUND || made->command != NULL);
    *line = made;
    return status;
}

void command_line_destroy(struct command_line *line)
{
    if (line != NULL) {
        ensure(line->arguments != NULL);
        free(line->arguments);
        free(line->options);
        free(line);
    }
}

const struct command *command_line_command(const struct command_line *line)
{
    ensure(line != NULL);
    return line->command;
}

const char *command_argument(const struct command_line *line, size_t index)
{
    ensure(line != NULL);
    return index < line->argument_count ? line->arguments[index] : NULL;
}

size_t command_argument_count(const struct command_line *line)
{
    ensure(line != NULL);
    return line->argument_count;
}

const char *command_option_at(const struct command_line *line, const char *name, size_t index)
{
    ensure(command_option_spec(line->command, name) != NULL); /* a typo in a command file */
    for (size_t i = 0; i < line->option_count; i++) {
        if (strcmp(line->options[i].spec->name, name) == 0 && index-- == 0) {
            return line->options[i].value;
        }
    }
    return NULL;
}

const char *command_option(const struct command_line *line, const char *name)
{
    const struct option_spec *spec = command_option_spec(line->command, name);
    ensure(spec != NULL && spec->value != NULL);
    for (size_t i = line->option_count; i > 0; i--) {
        if (line->options[i - 1].spec == spec) {
            return line->options[i - 1].value;
        }
    }
    return NULL;
}

bool command_flag(const struct command_line *line, const char *name)
{
    const struct option_spec *spec = command_option_spec(line->command, name);
    ensure(spec != NULL && spec->value == NULL);
    for (size_t i = 0; i < line->option_count; i++) {
        if (line->options[i].spec == spec) {
            return true;
        }
    }
    return false;
}

bool command_json(const struct command_line *line)
{
    ensure(line != NULL);
    return command_flag(line, "json");
}
