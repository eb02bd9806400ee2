/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check-history [--kind KIND] FILE...: decides the anomalies of a history (docs/history.md).
 * Exit 0: none. 1: some; a table with witnesses. 2: not a history, or it says too little.
 */
#include "examine.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: check-history [--kind any|copy|count|regroup|append|chain|transfer] FILE...\n"
    "\"-\" is the standard input. The format: docs/history.md.\n";

static int judge(const struct history *history)
{
    struct findings findings;
    struct error error;
    if (examine(history, &findings, &error) != STATUS_OK) {
        fprintf(stderr, "check-history: %s\n", error.text);
        findings_finish(&findings);
        return 2;
    }
    size_t total = findings_total(&findings);
    findings_print(&findings, stdout);
    printf("history: events=%zu inputs=%zu outputs=%zu anomalies=%zu\n", history->event_count,
           findings.inputs, findings.outputs, total);
    findings_finish(&findings);
    return total == 0 ? 0 : 1;
}

static int check(char **files, int count, const enum content *content)
{
    struct history history;
    struct error error;
    enum status status = STATUS_OK;
    history_init(&history);
    for (int i = 0; status == STATUS_OK && i < count; i++) {
        status = history_read(&history, files[i], &error);
    }
    int result = 2;
    if (status == STATUS_OK) {
        for (size_t i = 0; content != NULL && i < history.stage_count; i++) {
            history.stages[i].content = *content;
        }
        result = judge(&history);
    } else {
        fprintf(stderr, "check-history: %s\n", error.text);
    }
    history_finish(&history);
    return result;
}

int main(int argc, char **argv)
{
    enum content content = CONTENT_ANY;
    bool chosen = argc > 2 && strcmp(argv[1], "--kind") == 0;
    int first = chosen ? 3 : 1;
    if (argc <= first || (chosen && !content_parse(argv[2], &content)) ||
        (argv[first][0] == '-' && argv[first][1] != '\0')) {
        fputs(usage, stderr);
        return 2;
    }
    return check(argv + first, argc - first, chosen ? &content : NULL);
}
