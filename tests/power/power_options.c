/* SPDX-License-Identifier: Apache-2.0 */
#include "power_options.h"

#include "base/bytes.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const struct option known[] = {{"images", required_argument, NULL, 'i'},
                                      {"seed", required_argument, NULL, 's'},
                                      {"mode", required_argument, NULL, 'm'},
                                      {"chain", required_argument, NULL, 'c'},
                                      {"expect-wrong", required_argument, NULL, 'e'},
                                      {"trust-boot", no_argument, NULL, 't'},
                                      {"lying", no_argument, NULL, 'y'},
                                      {"verbose", no_argument, NULL, 'v'},
                                      {"help", no_argument, NULL, 'h'},
                                      {NULL, 0, NULL, 0}};

static void usage(const char *program, const char *modes, bool asked)
{
    (void)fprintf(asked ? stdout : stderr,
                  "usage: %s [--images N] [--seed S] [--mode %s] [--chain C] [--verbose]\n"
                  "          [--trust-boot | --lying] [--expect-wrong PERCENT]\n",
                  program, modes);
    exit(asked ? 0 : 2);
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end = NULL;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *number <= INT64_MAX;
}

void power_options_read(struct power_options *options, int count, char **arguments,
                        const char *modes)
{
    *options = (struct power_options){.images = 1000, .seed = 1, .mode = "both", .chain = -1};
    int letter;
    uint64_t chain = 0;
    bool right = true;
    while ((letter = getopt_long(count, arguments, "", known, NULL)) != -1 && right) {
        switch (letter) {
        case 'i':
            right = read_number(optarg, &options->images);
            break;
        case 's':
            right = read_number(optarg, &options->seed);
            break;
        case 'm':
            options->mode = optarg;
            break;
        case 'c':
            right = read_number(optarg, &chain);
            options->chain = (int64_t)chain;
            break;
        case 'e':
            right = read_number(optarg, &options->expect_wrong);
            break;
        case 't':
            options->trust_boot = true;
            break;
        case 'y':
            options->lying = true;
            break;
        case 'v':
            options->verbose = true;
            break;
        case 'h':
            usage(arguments[0], modes, true);
            break;
        default:
            right = false;
        }
    }
    if (!right || optind != count) {
        usage(arguments[0], modes, false);
    }
}

char *power_folder_make(void)
{
    const char *root = getenv("TMPDIR");
    char *folder = memory_format("%s/leat-power-XXXXXX", root == NULL ? "/tmp" : root);
    if (mkdtemp(folder) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    return folder;
}
