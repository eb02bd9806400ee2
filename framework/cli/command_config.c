/* SPDX-License-Identifier: Apache-2.0 */
/* Command config: the topology file, the broker and the failures of a command. See cli.h. */
#include "cli/command_line.h"
#include "engine/settings.h"

#include <stdio.h>
#include <stdlib.h>

enum status command_config(const struct command_line *line, size_t index, struct config **config,
                           struct error *error)
{
    const char *file = command_argument(line, index);
    const struct command *command = command_line_command(line);
    const struct option_spec *set = command_option_spec(command, "set");
    bool common = set != NULL;
    for (const struct option_spec *own = command->options; own != NULL && own->name != NULL;
         own++) {
        common = common && own != set;
    }
    ensure(file != NULL);
    size_t count = 0;
    while (common && command_option_at(line, "set", count) != NULL) {
        count++;
    }
    const char **sets = memory_allocate(count * sizeof *sets);
    for (size_t i = 0; i < count; i++) {
        sets[i] = command_option_at(line, "set", i);
    }
    struct config_overrides overrides = {
        .broker = command_option(line, "broker"), .sets = sets, .set_count = count};
    enum status status = config_load(file, &overrides, config, error);
    free(sets);
    return status;
}

enum status command_broker(const struct config *config, struct broker **broker, struct error *error)
{
    ensure(config != NULL);
    return settings_open_broker(config, broker, error);
}

int command_failed(const struct error *error)
{
    ensure(error->status != STATUS_OK);
    (void)fprintf(stderr, "topology: %s\n", error->text);
    if (error->status == STATUS_BAD_CONFIG) {
        return EXIT_USAGE;
    }
    bool fenced = error->code == ERROR_FENCED || error->code == ERROR_FENCED_INSTANCE;
    return fenced ? EXIT_FENCED : EXIT_FAILED;
}

int command_usage(const struct command_line *line, const char *format, ...)
{
    const char *name = command_line_command(line)->name;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ensure(name != NULL);
    (void)fprintf(stderr, "topology: %s: %s (see topology %s --help)\n", name, text, name);
    return EXIT_USAGE;
}
