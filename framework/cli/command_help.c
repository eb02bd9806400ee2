/* SPDX-License-Identifier: Apache-2.0 */
/* Command help: what --help prints, from the same tables that the parser reads. */
#include "cli/command_line.h"

#include <string.h>

enum { HELP_COLUMN = 28, HELP_WIDTH = 96 };

/* `text` from HELP_COLUMN on, broken at spaces. */
static void append_wrapped(struct buffer *out, size_t column, const char *text)
{
    ensure(text != NULL);
    if (column + 2 > HELP_COLUMN) {
        buffer_append_text(out, "\n");
        column = 0;
    }
    while (*text != 0) {
        for (; column < HELP_COLUMN; column++) {
            buffer_append_text(out, " ");
        }
        size_t size = strlen(text);
        if (size > HELP_WIDTH - HELP_COLUMN) {
            size = HELP_WIDTH - HELP_COLUMN;
            while (size > 0 && text[size] != ' ') {
                size--;
            }
            size = size == 0 ? strcspn(text, " ") : size;
        }
        buffer_append(out, text, size);
        text += size + strspn(text + size, " ");
        column = 0;
        buffer_append_text(out, "\n");
    }
}

static void append_option(struct buffer *out, const struct option_spec *option)
{
    struct buffer left = {0};
    struct buffer right = {0};
    ensure(option->name != NULL && option->summary != NULL);
    buffer_format(&left, "  --%s%s%s", option->name, option->value == NULL ? "" : " ",
                  option->value == NULL ? "" : option->value);
    buffer_append_text(&right, option->summary);
    if (option->values != NULL) {
        buffer_format(&right, ": %s", option->values);
    }
    buffer_append(out, left.data, left.size);
    append_wrapped(out, left.size, buffer_text(&right));
    buffer_finish(&left);
    buffer_finish(&right);
}

void command_help(const struct command *command, struct buffer *text)
{
    ensure(command->summary != NULL);
    buffer_format(text, "usage: topology %s%s%s [options]\n\n%s\n", command->name,
                  *command->arguments == 0 ? "" : " ", command->arguments, command->summary);
    const struct option_spec *option = command->options;
    if (option != NULL && option->name != NULL) {
        buffer_append_text(text, "\noptions:\n");
        for (; option->name != NULL; option++) {
            append_option(text, option);
        }
    }
    buffer_append_text(text, "\ncommon options:\n");
    for (option = common_options; option->name != NULL; option++) {
        if (command_option_spec(command, option->name) == option) {
            append_option(text, option);
        }
    }
}

void command_help_all(const struct command *const *commands, struct buffer *text)
{
    ensure(commands[0] != NULL);
    buffer_append_text(text, "usage: topology COMMAND [FILE] [options]\n\n"
                             "FILE is a topology file. Results go to stdout, logs to stderr.\n\n"
                             "commands:\n");
    for (; *commands != NULL; commands++) {
        size_t before = text->size;
        buffer_format(text, "  %s %s", (*commands)->name, (*commands)->arguments);
        append_wrapped(text, text->size - before, (*commands)->summary);
    }
    buffer_append_text(text, "\ncommon options:\n");
    for (const struct option_spec *option = common_options; option->name != NULL; option++) {
        append_option(text, option);
    }
    buffer_append_text(text,
                       "\nexit codes: 0 done, 1 failed, 2 wrong usage, config or plugin,\n"
                       "            3 fenced by a newer instance, 4 a check found a difference\n"
                       "\n\"topology COMMAND --help\" explains a command.\n");
}
