/* SPDX-License-Identifier: Apache-2.0 */
/* Schema: the JSON Schema of the topology file. It is JSON with and without --json. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int run_schema(const struct command_line *line)
{
    (void)line;
    char *text = config_schema();
    ensure(text != NULL);
    int written = puts(text);
    free(text);
    return written < 0 ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_schema = {
    .name = "schema",
    .arguments = "",
    .summary = "Prints the JSON Schema of the topology file.",
    .run = run_schema,
};
