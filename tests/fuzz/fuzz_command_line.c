/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a command line, one a line. Every word ends as the command, an argument, an option
 * or its value, in the order given, or the whole is refused with a text; numbers of arguments keep
 * their bounds and values of options their lists.
 */
#include "../unit/command_paint.h"

#include "fuzz_input.h"

#include <stdlib.h>

enum { WORDS_MOST = 64 };

static bool is_known(const char *word, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(words[i], '=');
        if (words[i] == word || (equals != NULL && equals + 1 == word)) {
            return true;
        }
    }
    return false;
}

static bool is_color(const char *value)
{
    return strcmp(value, "red") == 0 || strcmp(value, "green") == 0 || strcmp(value, "blue") == 0;
}

/* Values of an option, all of them words of the line; how many. */
static size_t check_option(const struct command_line *line, const char *name,
                           const char *const *words, int count)
{
    size_t values = 0;
    const char *last = NULL;
    if (command_option_spec(command_line_command(line), name) == NULL) {
        return 0;
    }
    for (const char *value; (value = command_option_at(line, name, values)) != NULL; values++) {
        ensure(is_known(value, words, count));
        last = value;
    }
    ensure(command_option(line, name) == last);
    return values;
}

static void check_line(const struct command_line *line, const char *const *words, int count)
{
    const struct command *command = command_line_command(line);
    size_t arguments = command_argument_count(line);
    ensure(arguments >= command->argument_min && arguments <= command->argument_max);
    for (size_t i = 0; i < arguments; i++) {
        ensure(is_known(command_argument(line, i), words, count));
    }
    ensure(command_argument(line, arguments) == NULL);
    size_t used = 1 + arguments;
    static const char *const names[] = {"color", "coats", "broker", "set", "log-level", "debug"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        used += check_option(line, names[i], words, count);
    }
    ensure(used <= (size_t)count && !command_flag(line, "help"));
    (void)command_json(line);
    if (command == &paint) {
        const char *color = command_option(line, "color");
        ensure(color == NULL || is_color(color));
        (void)command_flag(line, "quick");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > 4096 ? 4096 : size};
    char *words[WORDS_MOST];
    int count = 0;
    while (input.left > 0 && count < WORDS_MOST) {
        words[count++] = fuzz_line(&input);
    }
    const char *const *line_words = (const char *const *)(uintptr_t)words;
    struct command_line *line = NULL;
    struct error error = {0};
    struct buffer help = {0};
    enum status status = command_line_parse(commands, count, line_words, &line, &error);
    if (status == STATUS_OK) {
        check_line(line, line_words, count);
    } else if (status == STATUS_NOT_FOUND) {
        ensure(line != NULL);
        if (command_line_command(line) != NULL) {
            command_help(command_line_command(line), &help);
        } else {
            command_help_all(commands, &help);
        }
        ensure(help.size > 0);
    } else {
        fuzz_check_refusal(status, &error);
        ensure(status == STATUS_BAD_CONFIG && line == NULL);
    }
    buffer_finish(&help);
    command_line_destroy(line);
    while (count > 0) {
        free(words[--count]);
    }
    return 0;
}
