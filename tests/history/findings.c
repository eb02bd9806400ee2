/* SPDX-License-Identifier: Apache-2.0 */
#include "findings.h"

#include "base/bytes.h"
#include "base/status.h"

#include <stdarg.h>
#include <stdlib.h>

void findings_finish(struct findings *findings)
{
    for (size_t i = 0; i < ANOMALY_CLASSES; i++) {
        for (size_t j = 0; j < FINDINGS_WITNESSES; j++) {
            free(findings->witnesses[i][j]);
        }
    }
}

void findings_add(struct findings *findings, enum anomaly anomaly, const char *format, ...)
{
    ensure(anomaly < ANOMALY_CLASSES);
    size_t number = findings->counts[anomaly]++;
    if (number < FINDINGS_WITNESSES) {
        char text[1024];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        findings->witnesses[anomaly][number] = memory_text(text);
    }
}

size_t findings_total(const struct findings *findings)
{
    size_t total = 0;
    for (size_t i = 0; i < ANOMALY_CLASSES; i++) {
        total += findings->counts[i];
    }
    return total;
}

const char *anomaly_name(enum anomaly anomaly)
{
    static const char *const names[ANOMALY_CLASSES] = {
        "aborted-read", "lost",         "unseen",  "duplicate",   "torn",    "inconsistent-offset",
        "order",        "nonmonotonic", "skipped", "wrong-value", "position"};
    ensure(anomaly < ANOMALY_CLASSES);
    return names[anomaly];
}

void findings_print(const struct findings *findings, FILE *file)
{
    for (size_t i = 0; i < ANOMALY_CLASSES; i++) {
        if (findings->counts[i] > 0) {
            fprintf(file, "%-20s %zu\n", anomaly_name((enum anomaly)i), findings->counts[i]);
        }
        for (size_t j = 0; j < FINDINGS_WITNESSES && findings->witnesses[i][j] != NULL; j++) {
            fprintf(file, "    %s\n", findings->witnesses[i][j]);
        }
    }
}
