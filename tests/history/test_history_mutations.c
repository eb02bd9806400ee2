/* SPDX-License-Identifier: Apache-2.0 */
/* The checker under attack: clean histories stay clean, one wrong thing is found and well named. */
#include "examine.h"
#include "mutation.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { SEEDS = 200, MUTATIONS = 2000, RECORDS = 25 };

/* The classes found, as bits; MUTATION_REFUSED if it is no history. `told` gets what was said. */
static int judge(struct bytes text, struct buffer *told)
{
    struct history history;
    struct findings findings = {0};
    struct error error;
    int classes = 0;
    history_init(&history);
    if (history_read_text(&history, "made", text, &error) != STATUS_OK ||
        examine(&history, &findings, &error) != STATUS_OK) {
        classes = MUTATION_REFUSED;
        buffer_format(told, "%s\n", error.text);
    }
    for (size_t i = 0; classes != MUTATION_REFUSED && i < ANOMALY_CLASSES; i++) {
        if (findings.counts[i] > 0) {
            classes |= 1 << i;
            buffer_format(told, "%s: %s\n", anomaly_name((enum anomaly)i),
                          findings.witnesses[i][0]);
        }
    }
    findings_finish(&findings);
    history_finish(&history);
    return classes;
}

static json_t *parse_lines(struct bytes text)
{
    json_t *lines = json_array();
    const char *at = text.data;
    for (const char *end = at + text.size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        json_t *line = json_loadb(at, (size_t)(newline - at), 0, NULL);
        cr_assert_not_null(line);
        json_array_append_new(lines, line);
        at = newline + 1;
    }
    return lines;
}

static void write_lines(const json_t *lines, struct buffer *out)
{
    for (size_t i = 0; i < json_array_size(lines); i++) {
        char *line = json_dumps(json_array_get(lines, i), JSON_COMPACT);
        buffer_append_text(out, line);
        buffer_append_text(out, "\n");
        free(line);
    }
}

Test(history_mutations, a_made_history_is_clean)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct maker_options options = maker_choose(seed, RECORDS);
        struct buffer text = {0};
        struct buffer told = {0};
        maker_run(&options, &text);
        int classes = judge((struct bytes){text.data, text.size}, &told);
        cr_expect_eq(classes, 0, "seed %d:\n%s", (int)seed, buffer_text(&told));
        buffer_finish(&text);
        buffer_finish(&told);
    }
}

/* One mutation of one history. False: it has no place there. */
static bool mutate(uint64_t seed, const struct mutation *mutation)
{
    struct random random;
    random_init(&random, seed ^ 0x6d757461);
    struct maker_options options = maker_choose(seed, RECORDS);
    struct buffer text = {0};
    struct buffer told = {0};
    maker_run(&options, &text);
    struct scene scene = {&options, &random, parse_lines((struct bytes){text.data, text.size})};
    bool applied = mutation->apply(&scene);
    if (applied) {
        text.size = 0;
        write_lines(scene.lines, &text);
        int classes = judge((struct bytes){text.data, text.size}, &told);
        bool right = mutation->classes == 0 ? classes == 0 : (classes & mutation->classes) != 0;
        if (!right && getenv("HISTORY_SHOW") != NULL) {
            fputs(buffer_text(&text), stderr);
        }
        cr_expect(right, "seed %d (kind %d), %s:\n%s", (int)seed, (int)options.content,
                  mutation->name, told.size == 0 ? "nothing is found" : buffer_text(&told));
    }
    json_decref(scene.lines);
    buffer_finish(&text);
    buffer_finish(&told);
    return applied;
}

Test(history_mutations, every_mutation_that_matters_is_found_and_no_other, .timeout = 120)
{
    size_t *applied = calloc(mutation_count, sizeof *applied);
    size_t total = 0;
    for (uint64_t seed = 1000; total < MUTATIONS; seed++) {
        size_t number = seed % mutation_count;
        if (mutate(seed / mutation_count * 7 + number, &mutations[number])) {
            applied[number]++;
            total++;
        }
    }
    for (size_t i = 0; i < mutation_count; i++) {
        cr_expect_gt(applied[i], 20, "%s: only %zu times", mutations[i].name, applied[i]);
    }
    free(applied);
}

#if !defined(__SANITIZE_ADDRESS__)
Test(history_mutations, a_million_events_take_less_than_10_s_and_1_GB, .timeout = 120)
{
    struct maker_options options = {.content = CONTENT_COPY,
                                    .seed = 1,
                                    .records = 300000,
                                    .topics = 1,
                                    .offsets = true,
                                    .writes = true};
    struct buffer text = {0};
    struct buffer told = {0};
    struct rusage usage;
    maker_run(&options, &text);
    clock_t began = clock();
    cr_expect_eq(judge((struct bytes){text.data, text.size}, &told), 0, "%s", buffer_text(&told));
    double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
    cr_expect_lt(seconds, 10.0);
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    cr_expect_lt(usage.ru_maxrss, 1000000);
    buffer_finish(&text);
    buffer_finish(&told);
}
#endif
