/* SPDX-License-Identifier: Apache-2.0 */
/* Version: own version, ABI version, and those of the libraries at build and run time. */
#include "leat/version.h"
#include "broker/kafka_version.h"
#include "cli/cli.h"
#include "leat/operator.h"
#include "state/store_version.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct library {
    const char *name;
    char built[64], running[64];
};

static int print_text(const struct library *libraries, size_t count)
{
    (void)printf("topology %s (operator ABI %d.%d)\n", LEAT_VERSION, LEAT_ABI_MAJOR,
                 LEAT_ABI_MINOR);
    for (size_t i = 0; i < count; i++) {
        ensure(*libraries[i].built != 0 && *libraries[i].running != 0);
        (void)printf("%s %s (built with %s)\n", libraries[i].name, libraries[i].running,
                     libraries[i].built);
    }
    return EXIT_DONE;
}

static int print_json(const struct library *libraries, size_t count)
{
    json_t *all = json_pack("{s:s, s:{s:i, s:i}}", "version", LEAT_VERSION, "abi", "major",
                            LEAT_ABI_MAJOR, "minor", LEAT_ABI_MINOR);
    ensure(all != NULL);
    for (size_t i = 0; i < count; i++) {
        int failed = json_object_set_new(
            all, libraries[i].name,
            json_pack("{s:s, s:s}", "built", libraries[i].built, "running", libraries[i].running));
        ensure(failed == 0);
    }
    char *text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    int written = puts(text);
    free(text);
    return written < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int run_version(const struct command_line *line)
{
    struct library libraries[] = {{.name = "librdkafka"}, {.name = "lmdb"}, {.name = "jansson"}};
    kafka_library_version(libraries[0].built, libraries[0].running, sizeof libraries[0].built);
    store_library_version(libraries[1].built, libraries[1].running, sizeof libraries[1].built);
    (void)snprintf(libraries[2].built, sizeof libraries[2].built, "%s", JANSSON_VERSION);
    (void)snprintf(libraries[2].running, sizeof libraries[2].running, "%s", jansson_version_str());
    size_t count = sizeof libraries / sizeof *libraries;
    ensure(count == 3);
    return command_json(line) ? print_json(libraries, count) : print_text(libraries, count);
}

const struct command command_version = {
    .name = "version",
    .arguments = "",
    .summary = "Prints the version of topology, of its operator ABI and of the libraries it uses.",
    .run = run_version,
};
