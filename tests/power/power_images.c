/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power images: a task's store after power losses.
 *
 * A life (store_life.h) writes a store; the power log cuts its history anywhere and builds what the
 * disk may hold then; verdict.h opens that as the engine would. Up to three lives make a chain: one
 * begins with what a power loss left of the one before.
 *
 * Exit: 0 nothing wrong (or, with --expect-wrong, enough wrong), 1 wrong, 2 usage. The last line is
 * for machines.
 */
#include "base/bytes.h"
#include "power_log.h"
#include "power_options.h"
#include "verdict.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LIVES = 3, LIFE_IMAGES = 14 };

struct mode {
    const char *name;
    int fast_of_16;
    bool hurt; /* data.mdb is cut short besides */
};

static const struct mode modes[] = {
    {"durable", 0, false}, {"fast", 16, false}, {"switching", 8, false}, {"short", 0, true}};

struct row {
    uint64_t images, count[VERDICT_KINDS];
};

/* One image. */
struct loss {
    size_t cut;
    enum power_subset how;
    bool reboot; /* else the process was killed and the machine stayed up */
    struct random random;
};

static uint64_t seed_of(uint64_t seed, uint64_t index)
{
    struct random random;
    random_init(&random, seed + index * 0x9E3779B97F4A7C15u);
    return random_next(&random);
}

/* ---- what is lost ---- */

static size_t choose_cut(const struct store_life *life, struct random *random)
{
    uint64_t kind = random_below(random, 10);
    if (kind < 6) {
        return random_below(random, life->size + 1);
    }
    size_t at = life->states[random_below(random, life->state_count)].reached;
    if (kind < 8 && life->making_count > 0) {
        const struct store_span *span = &life->makings[random_below(random, life->making_count)];
        at = span->from + random_below(random, span->to - span->from + 1);
    }
    at += random_below(random, 7);
    return at < 3 ? at : at - 3 > life->size ? life->size : at - 3;
}

static struct loss choose_loss(const struct store_life *life, const struct power_options *options,
                               struct random *random)
{
    static const enum power_subset others[] = {POWER_ALL, POWER_NONE, POWER_ONE, POWER_ALL_BUT_ONE};
    struct loss loss = {.cut = choose_cut(life, random), .how = POWER_RANDOM, .reboot = true};
    if (random_below(random, 20) == 0) {
        loss.how = POWER_ALL;
        loss.reboot = false;
    } else if (random_below(random, 10) < 4) {
        loss.how = others[random_below(random, 4)];
    }
    if (options->lying) {
        loss.how = POWER_LYING;
        loss.reboot = true;
    }
    random_init(&loss.random, random_next(random));
    return loss;
}

static void make_image(const char *path, const struct loss *loss)
{
    struct random random = loss->random;
    power_log_image(path, loss->cut, &random, loss->how);
    if (loss->reboot) {
        power_reboot(path);
    }
}

/* Cuts the store's file short, which no power loss of the sort that we assume does to what was
 * synced: the size that the store keeps of itself must show it. */
static void hurt_image(const struct store_life *life, const char *image, struct random *random)
{
    char *path = memory_format("%s%s/data.mdb", image, life->folder + strlen(life->root));
    struct stat facts;
    if (stat(path, &facts) == 0 && facts.st_size > 0) {
        off_t size = (off_t)random_below(random, (uint64_t)facts.st_size);
        ensure(truncate(path, random_below(random, 2) == 0 ? size : size / 4096 * 4096) == 0);
    }
    free(path);
}

static int remove_one(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    (void)facts;
    (void)type;
    (void)place;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- lives ---- */

struct campaign {
    const struct power_options *options;
    const struct mode *mode;
    struct row *row;
    char *folder; /* where images are made */
    uint64_t chain_index, chain_seed;
};

static void report(const struct campaign *campaign, const struct loss *loss, int number,
                   const struct verdict *verdict)
{
    static const char *const kinds[] = {"exact", "behind", "aside", "WRONG"};
    static const char *const subsets[] = {"random", "all", "none", "one", "all but one", "lying"};
    bool wrong = verdict->kind == VERDICT_WRONG;
    if (campaign->options->verbose || (wrong && campaign->options->expect_wrong == 0)) {
        (void)fprintf(stderr, "%s: %s life %d cut %zu %s%s: %s\n", kinds[verdict->kind],
                      campaign->mode->name, number, loss->cut, subsets[loss->how],
                      loss->reboot ? "" : ", no reboot", verdict->text);
    }
    if (wrong && campaign->options->expect_wrong == 0) {
        (void)fprintf(stderr,
                      "again: power_images --mode %s --seed %" PRIu64 " --chain %" PRIu64 "%s%s\n",
                      campaign->mode->name, campaign->options->seed, campaign->chain_index,
                      campaign->options->lying ? " --lying" : "",
                      campaign->options->trust_boot ? " --trust-boot" : "");
    }
}

static struct verdict try_one(struct campaign *campaign, const struct store_life *life,
                              struct random *random, const struct loss *loss, int number)
{
    char *image = memory_format("%s/image", campaign->folder);
    bool canary = campaign->options->expect_wrong > 0;
    struct verdict_options how = {.fast = random_below(random, 16) < (uint64_t)life->fast_of_16,
                                  .trust_boot = campaign->options->trust_boot,
                                  .hurt = campaign->mode->hurt || canary,
                                  .quiet = canary};
    make_image(image, loss);
    if (campaign->mode->hurt) {
        hurt_image(life, image, random);
    }
    struct verdict verdict = verdict_of(life, loss->cut, image, &how);
    report(campaign, loss, number, &verdict);
    campaign->row->images++;
    campaign->row->count[verdict.kind]++;
    remove_tree(image);
    free(image);
    return verdict;
}

/* One life and its images; makes the next one's beginning and answers what it holds, if any. */
static bool live(struct campaign *campaign, const char *root, int number, uint64_t *digest,
                 const char *next)
{
    struct store_life life;
    struct random random;
    store_life_run(&life, root, seed_of(campaign->chain_seed, (uint64_t)number),
                   campaign->mode->fast_of_16, *digest);
    random_init(&random, seed_of(campaign->chain_seed, 100 + (uint64_t)number));
    bool last = number == LIVES || campaign->options->expect_wrong > 0 || campaign->mode->hurt;
    bool made = false;
    for (int i = 0; i < LIFE_IMAGES; i++) {
        struct loss loss = choose_loss(&life, campaign->options, &random);
        struct verdict verdict = try_one(campaign, &life, &random, &loss, number);
        if (!last && !made && i >= LIFE_IMAGES / 2 && verdict.kind != VERDICT_WRONG) {
            make_image(next, &loss);
            *digest = verdict.digest;
            made = true;
        }
    }
    power_log_stop();
    store_life_finish(&life);
    return made;
}

static void run_chain(struct campaign *campaign)
{
    uint64_t digest = 0;
    campaign->chain_seed = seed_of(campaign->options->seed, campaign->chain_index);
    char *root = memory_format("%s/life1", campaign->folder);
    ensure(mkdir(root, 0700) == 0);
    bool more = true;
    for (int number = 1; more; number++) {
        char *next = memory_format("%s/life%d", campaign->folder, number + 1);
        more = live(campaign, root, number, &digest, next);
        remove_tree(root);
        free(root);
        root = next;
    }
    free(root);
}

static void run_mode(const struct power_options *options, const struct mode *mode, struct row *row)
{
    struct campaign campaign = {
        .options = options, .mode = mode, .row = row, .folder = power_folder_make()};
    struct timespec begin;
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    if (options->chain >= 0) {
        campaign.chain_index = (uint64_t)options->chain;
        run_chain(&campaign);
    }
    for (; options->chain < 0 && row->images < options->images; campaign.chain_index++) {
        run_chain(&campaign);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    (void)printf("%-10s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8.1f\n",
                 mode->name, row->images, row->count[VERDICT_EXACT], row->count[VERDICT_BEHIND],
                 row->count[VERDICT_ASIDE], row->count[VERDICT_WRONG],
                 (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    (void)fflush(stdout);
    remove_tree(campaign.folder);
    free(campaign.folder);
}

int main(int count, char **arguments)
{
    struct power_options options;
    struct row sum = {.images = 0};
    power_options_read(&options, count, arguments, "durable|fast|switching|short|both|all");
    (void)printf("%-10s %8s %8s %8s %8s %8s %8s\n", "mode", "images", "exact", "behind", "aside",
                 "wrong", "seconds");
    bool known = false;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct row row = {.images = 0};
        if (strcmp(options.mode, modes[i].name) != 0 && strcmp(options.mode, "all") != 0 &&
            (strcmp(options.mode, "both") != 0 || i > 1)) {
            continue;
        }
        known = true;
        run_mode(&options, &modes[i], &row);
        sum.images += row.images;
        for (int kind = 0; kind < VERDICT_KINDS; kind++) {
            sum.count[kind] += row.count[kind];
        }
    }
    if (!known) {
        (void)fprintf(stderr, "power_images: unknown mode \"%s\"\n", options.mode);
        return 2;
    }
    (void)printf("power: images=%" PRIu64 " exact=%" PRIu64 " behind=%" PRIu64 " aside=%" PRIu64
                 " wrong=%" PRIu64 "\n",
                 sum.images, sum.count[VERDICT_EXACT], sum.count[VERDICT_BEHIND],
                 sum.count[VERDICT_ASIDE], sum.count[VERDICT_WRONG]);
    if (options.expect_wrong > 0) {
        return sum.count[VERDICT_WRONG] * 100 >= sum.images * options.expect_wrong ? 0 : 1;
    }
    return sum.count[VERDICT_WRONG] == 0 ? 0 : 1;
}
