/* SPDX-License-Identifier: Apache-2.0 */
/* Some commands for those who try the command line: its unit test and its fuzz target. */
#ifndef LEAT_TESTS_COMMAND_PAINT_H
#define LEAT_TESTS_COMMAND_PAINT_H

#include "cli/command_line.h"

static int run_nothing(const struct command_line *line)
{
    (void)line;
    return EXIT_DONE;
}

static const struct option_spec paint_options[] = {
    {"color", "COLOR", "what color", "red,green,blue"},
    {"coats", "N", "how many coats", NULL},
    {"quick", NULL, "do not wait", NULL},
    {0}};
static const struct option_spec own_set[] = {{"set", "NAME=VALUE", "a setting of its own", NULL},
                                             {0}};

static const struct command paint = {"paint", "FILE [WALL]", "Paints a wall.", paint_options, 1,
                                     2,       run_nothing};
static const struct command topic = {"topic", "FILE",     "Has a --set of its own.", own_set, 1,
                                     1,       run_nothing};
static const struct command rest = {"rest", "", "Does nothing.", NULL, 0, 0, run_nothing};
static const struct command *const commands[] = {&paint, &topic, &rest, NULL};

#endif
