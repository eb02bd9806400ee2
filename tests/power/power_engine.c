/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power engine: the engine itself, whose power is lost at random places of what it writes below its
 * state directory, again and again, while input arrives. In the end the output must be the
 * recomputation of the input.
 *
 * Exit: 0 nothing wrong, 1 wrong, 2 usage. The last line is for machines.
 */
#include "base/bytes.h"
#include "engine_life.h"
#include "power_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOSSES = 10, STARTS = 40, OPENING = 60 };

struct row {
    uint64_t chains, losses, starts, asides, wrong, records;
};

static enum power_subset choose_subset(struct random *random)
{
    static const enum power_subset others[] = {POWER_ALL, POWER_NONE, POWER_ONE, POWER_ALL_BUT_ONE};
    return random_below(random, 10) < 6 ? POWER_RANDOM : others[random_below(random, 4)];
}

static void show_log(const struct engine_life *life)
{
    FILE *file = fopen(life->log, "r");
    for (int c = file == NULL ? EOF : fgetc(file); c != EOF; c = fgetc(file)) {
        (void)fputc(c, stderr);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

/* Up to ten losses in one application, then a start without, and the check; false if wrong. */
static bool run_chain(struct engine_life *life, const struct power_options *options,
                      struct random *random, struct row *row)
{
    size_t usual = 200; /* how long the log of a start becomes */
    char text[200] = "";
    enum engine_end end = ENGINE_DONE;
    uint64_t losses = 0;
    for (int i = 0; i <= STARTS && end != ENGINE_FAILED; i++) {
        bool last = losses == LOSSES || i == STARTS;
        size_t size = 0;
        uint64_t span = random_below(random, 4) == 0 ? OPENING : usual + usual / 8;
        size_t loss = last ? 0 : 1 + random_below(random, span);
        engine_life_feed(life, 20 + random_below(random, 60));
        end = engine_life_run(life, loss, random, choose_subset(random), &size);
        row->starts++;
        row->asides += engine_life_asides(life);
        if (options->verbose) {
            (void)fprintf(stderr, "start %d: loss at %zu, %s, log %zu, %" PRIu64 " aside\n", i,
                          loss, end == ENGINE_LOST ? "lost" : "ended", size,
                          engine_life_asides(life));
        }
        if (end == ENGINE_LOST) {
            losses++;
            (void)random_next(random); /* the child's draws were its own */
        } else {
            usual = size;
        }
        if (last) {
            break;
        }
    }
    row->losses += losses;
    row->records += life->fed * 2;
    bool quiet = options->expect_wrong > 0;
    if (end == ENGINE_FAILED) {
        if (!quiet) {
            show_log(life);
        }
        (void)snprintf(text, sizeof text, "the engine stopped");
    }
    bool right = end == ENGINE_DONE && engine_life_right(life, text);
    if (!right && !quiet) {
        (void)fprintf(stderr, "WRONG: %s\n", text);
    }
    return right;
}

static void run_mode(const struct power_options *options, bool fast, struct row *row)
{
    char *folder = power_folder_make();
    for (uint64_t chain = 0; row->losses < options->images; chain++) {
        struct engine_life life;
        struct random random;
        if (options->chain >= 0) {
            chain = (uint64_t)options->chain;
        }
        random_init(&random, options->seed * 1000003 + chain);
        char *own = memory_format("%s/%" PRIu64, folder, chain);
        engine_life_begin(&life, own, fast, chain % 3 == 2 ? 50 : 0);
        life.trust_boot = options->trust_boot;
        row->chains++;
        if (!run_chain(&life, options, &random, row)) {
            row->wrong++;
            if (options->expect_wrong == 0) {
                (void)fprintf(stderr,
                              "again: power_engine --mode %s --seed %" PRIu64 " --chain %" PRIu64
                              "%s\n",
                              fast ? "fast" : "durable", options->seed, chain,
                              options->trust_boot ? " --trust-boot" : "");
            }
        }
        engine_life_finish(&life);
        free(own);
        if (options->chain >= 0) {
            break;
        }
    }
    (void)rmdir(folder);
    free(folder);
}

int main(int count, char **arguments)
{
    struct power_options options;
    struct row sum = {.losses = 0};
    power_options_read(&options, count, arguments, "durable|fast|both");
    (void)printf("%-10s %8s %8s %8s %8s %8s %8s\n", "mode", "losses", "starts", "records", "aside",
                 "wrong", "seconds");
    for (int fast = 0; fast < 2; fast++) {
        struct row row = {.losses = 0};
        const char *name = fast != 0 ? "fast" : "durable";
        if (strcmp(options.mode, name) != 0 && strcmp(options.mode, "both") != 0) {
            continue;
        }
        time_t begin = time(NULL);
        run_mode(&options, fast != 0, &row);
        (void)printf(
            "%-10s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8ld\n", name,
            row.losses, row.starts, row.records, row.asides, row.wrong, (long)(time(NULL) - begin));
        sum.chains += row.chains;
        sum.losses += row.losses;
        sum.starts += row.starts;
        sum.records += row.records;
        sum.asides += row.asides;
        sum.wrong += row.wrong;
    }
    if (sum.starts == 0) {
        (void)fprintf(stderr, "power_engine: unknown mode \"%s\"\n", options.mode);
        return 2;
    }
    (void)printf("power_engine: losses=%" PRIu64 " starts=%" PRIu64 " records=%" PRIu64
                 " aside=%" PRIu64 " wrong=%" PRIu64 "\n",
                 sum.losses, sum.starts, sum.records, sum.asides, sum.wrong);
    if (options.expect_wrong > 0) {
        return sum.wrong * 100 >= sum.chains * options.expect_wrong ? 0 : 1;
    }
    return sum.wrong == 0 ? 0 : 1;
}
