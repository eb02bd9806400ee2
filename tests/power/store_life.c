/* SPDX-License-Identifier: Apache-2.0 */
#include "store_life.h"

#include "base/bytes.h"
#include "power_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS = 4, COMMITS = 16 };

static void must(enum status status, const char *what, const struct error *error)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "power: %s failed: %s\n", what, error->text);
        abort();
    }
}

static bool one_in(struct store_life *life, uint64_t many)
{
    return random_below(&life->random, many) == 0;
}

static void reach(struct store_life *life, const struct content *content, bool fast)
{
    life->states = memory_resize(life->states, (life->state_count + 1) * sizeof *life->states);
    life->states[life->state_count++] = (struct store_state){.digest = content_digest(content),
                                                             .reached = power_log_size(),
                                                             .firm = SIZE_MAX,
                                                             .fast = fast};
}

/* All that was reached is on the disk now. */
static void make_firm(struct store_life *life)
{
    struct store_state *last = &life->states[life->state_count - 1];
    if (last->firm == SIZE_MAX) {
        last->firm = power_log_size();
    }
}

static void note_making(struct store_life *life, size_t from)
{
    life->makings = memory_resize(life->makings, (life->making_count + 1) * sizeof *life->makings);
    life->makings[life->making_count++] = (struct store_span){from, power_log_size()};
}

/* As the engine does before it processes anything; what was moved aside goes after a self-check. */
static void begin_session(struct store_life *life, struct task_store *opened,
                          struct content *content, bool fast)
{
    struct error error = {.text = ""};
    struct task_store_options options = {.fast = fast,
                                         .suspect = life->state_count > 1 && one_in(life, 8)};
    size_t from = power_log_size();
    must(task_store_open(life->folder, &options, opened, &error), "opening", &error);
    uint64_t before = life->states[life->state_count - 1].digest;
    if (before == 0 || opened->aside) {
        note_making(life, from);
    }
    must(content_read(opened, content, &error), "reading", &error);
    if (content_digest(content) != (opened->aside ? 0 : before)) {
        (void)fprintf(stderr, "power: a store that was closed holds something else now\n");
        abort();
    }
    if (opened->aside) {
        reach(life, content, fast);
    }
    make_firm(life);
    if (!content->layout) {
        must(content_write_layout(opened, content, &error), "writing the layout", &error);
        reach(life, content, fast);
    }
    if (!one_in(life, 3)) {
        must(directory_delete_aside(opened->directory, &error), "deleting", &error);
    }
}

static void run_session(struct store_life *life, struct task_store *opened, struct content *content)
{
    struct error error = {.text = ""};
    size_t commits = 1 + random_below(&life->random, COMMITS);
    for (size_t i = 0; i < commits; i++) {
        if (one_in(life, 10)) {
            must(content_abort(opened, content, &life->random, &error), "aborting", &error);
        }
        if (one_in(life, 40)) {
            must(store_grow(opened->store, &error), "growing", &error);
        }
        if (one_in(life, 15)) {
            must(store_sync(opened->store, &error), "syncing", &error);
            if (!opened->fast) {
                make_firm(life); /* a `fast` one is firm when its marker is gone */
            }
        }
        must(content_commit(opened, content, &life->random, &error), "committing", &error);
        reach(life, content, opened->fast);
    }
}

void store_life_run(struct store_life *life, const char *root, uint64_t seed, int fast_of_16,
                    uint64_t digest)
{
    *life = (struct store_life){.root = memory_text(root),
                                .folder = memory_format("%s/application/a/counts-0", root),
                                .fast_of_16 = fast_of_16};
    random_init(&life->random, seed);
    power_log_start(root);
    life->states = memory_allocate(sizeof *life->states);
    life->states[life->state_count++] = (struct store_state){.digest = digest};
    size_t sessions = 1 + random_below(&life->random, SESSIONS);
    for (size_t i = 0; i < sessions; i++) {
        struct task_store opened;
        struct content content = {.sequence = 0};
        struct error error = {.text = ""};
        bool fast = random_below(&life->random, 16) < (uint64_t)fast_of_16;
        begin_session(life, &opened, &content, fast);
        run_session(life, &opened, &content);
        must(task_store_close(&opened, &error), "closing", &error);
        make_firm(life);
    }
    life->size = power_log_size();
}

void store_life_finish(struct store_life *life)
{
    free(life->root);
    free(life->folder);
    free(life->states);
    free(life->makings);
    *life = (struct store_life){.root = NULL};
}

size_t store_life_reached(const struct store_life *life, size_t cut)
{
    size_t index = 0;
    while (index + 1 < life->state_count && life->states[index + 1].reached <= cut) {
        index++;
    }
    return index;
}

bool store_life_making(const struct store_life *life, size_t cut)
{
    for (size_t i = 0; i < life->making_count; i++) {
        if (cut >= life->makings[i].from && cut < life->makings[i].to) {
            return true;
        }
    }
    return false;
}
