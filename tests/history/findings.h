/* SPDX-License-Identifier: Apache-2.0 */
/* Findings: the anomalies of a history by class, all counted, the first few with a witness. */
#ifndef LEAT_HISTORY_FINDINGS_H
#define LEAT_HISTORY_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/** docs/history.md says what each is. */
enum anomaly {
    ANOMALY_ABORTED_READ,
    ANOMALY_LOST,
    ANOMALY_UNSEEN,
    ANOMALY_DUPLICATE,
    ANOMALY_TORN,
    ANOMALY_INCONSISTENT_OFFSET,
    ANOMALY_ORDER,
    ANOMALY_NONMONOTONIC,
    ANOMALY_SKIPPED,
    ANOMALY_WRONG_VALUE,
    ANOMALY_POSITION,
    ANOMALY_CLASSES
};

enum { FINDINGS_WITNESSES = 5 };

struct findings {
    size_t counts[ANOMALY_CLASSES];
    char *witnesses[ANOMALY_CLASSES][FINDINGS_WITNESSES];
    size_t inputs, outputs; /* that were looked at */
};

void findings_finish(struct findings *findings);
void findings_add(struct findings *findings, enum anomaly anomaly, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t findings_total(const struct findings *findings);
/** "lost"; static. */
const char *anomaly_name(enum anomaly anomaly);
/** The table of classes, if there is anything in it. */
void findings_print(const struct findings *findings, FILE *file);

#endif
