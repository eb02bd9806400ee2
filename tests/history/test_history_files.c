/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histories by hand: good/, bad/CLASS/ and bad/refused/. The first line of each says what is to be
 * found in it, no more and no less: "finds: lost, torn", "finds: nothing", "finds: refused".
 */
#include "examine.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* "finds: " and the classes found in the order of enum anomaly. */
static void judge(const char *path, struct buffer *found)
{
    struct history history;
    struct findings findings = {0};
    struct error error;
    history_init(&history);
    if (history_read(&history, path, &error) != STATUS_OK ||
        examine(&history, &findings, &error) != STATUS_OK) {
        buffer_append_text(found, "refused");
        cr_expect(strstr(error.text, ".jsonl:") != NULL || strstr(error.text, "\"end\"") != NULL ||
                      strstr(error.text, "topology") != NULL,
                  "%s: \"%s\" names no line", path, error.text);
    } else {
        for (size_t i = 0; i < ANOMALY_CLASSES; i++) {
            if (findings.counts[i] > 0) {
                buffer_format(found, "%s%s", found->size > 0 ? ", " : "",
                              anomaly_name((enum anomaly)i));
                cr_expect_not_null(findings.witnesses[i][0]);
            }
        }
        if (found->size == 0) {
            buffer_append_text(found, "nothing");
        }
    }
    findings_finish(&findings);
    history_finish(&history);
}

/* The words of `list`, each found in `other`. */
static bool covers(const char *list, const char *other)
{
    char *copy = memory_text(list);
    char *rest = NULL;
    bool all = true;
    for (char *word = strtok_r(copy, ", ", &rest); word != NULL;
         word = strtok_r(NULL, ", ", &rest)) {
        all = all && strstr(other, word) != NULL;
    }
    free(copy);
    return all;
}

static char *expectation(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char line[512] = "";
    cr_assert_not_null(fgets(line, sizeof line, file));
    (void)fclose(file);
    char *begin = strstr(line, "finds: ");
    cr_assert_not_null(begin, "%s: the first line says what is to be found", path);
    begin += strlen("finds: ");
    begin[strcspn(begin, "\"")] = '\0';
    return memory_text(begin);
}

/* Judges all files of a pattern below tests/history. */
static size_t judge_all(const char *pattern)
{
    char *full = memory_format("%s/tests/history/%s", LEAT_SOURCE_DIR, pattern);
    glob_t paths;
    cr_assert_eq(glob(full, 0, NULL, &paths), 0, "%s", full);
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        struct buffer found = {0};
        char *expected = expectation(paths.gl_pathv[i]);
        judge(paths.gl_pathv[i], &found);
        const char *text = buffer_text(&found);
        cr_expect(covers(expected, text) && covers(text, expected), "%s: %s instead of %s",
                  paths.gl_pathv[i], text, expected);
        free(expected);
        buffer_finish(&found);
    }
    size_t count = paths.gl_pathc;
    globfree(&paths);
    free(full);
    return count;
}

Test(history_files, nothing_is_found_in_good_histories)
{
    cr_expect_geq(judge_all("good/*.jsonl"), 20);
}

Test(history_files, every_class_is_found_in_at_least_two_histories)
{
    for (size_t i = 0; i < ANOMALY_CLASSES; i++) {
        char *pattern = memory_format("bad/%s/*.jsonl", anomaly_name((enum anomaly)i));
        cr_expect_geq(judge_all(pattern), 2, "%s", pattern);
        free(pattern);
    }
}

Test(history_files, what_is_no_history_is_refused)
{
    cr_expect_geq(judge_all("bad/refused/*.jsonl"), 20);
}
