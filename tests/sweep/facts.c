/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void facts_add(struct facts *facts, const char *format, ...)
{
    va_list arguments;
    char line[400];
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    facts->lines = memory_resize(facts->lines, (facts->count + 1) * sizeof(char *));
    facts->lines[facts->count++] = memory_text(line);
}

void facts_finish(struct facts *facts)
{
    for (size_t i = 0; i < facts->count; i++) {
        free(facts->lines[i]);
    }
    free(facts->lines);
    *facts = (struct facts){0};
}

void facts_drop(struct facts *facts, const char *prefix)
{
    size_t kept = 0;
    for (size_t i = 0; i < facts->count; i++) {
        if (strncmp(facts->lines[i], prefix, strlen(prefix)) == 0) {
            free(facts->lines[i]);
        } else {
            facts->lines[kept++] = facts->lines[i];
        }
    }
    facts->count = kept;
}

static int line_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct facts *facts)
{
    if (facts->count > 1) {
        qsort(facts->lines, facts->count, sizeof *facts->lines, line_order);
    }
}

bool facts_equal(struct facts *expected, struct facts *found, char *text, size_t size)
{
    size_t e = 0;
    size_t f = 0;
    int missing = 0;
    int unexpected = 0;
    const char *first_missing = "-";
    const char *first_unexpected = "-";
    sort(expected);
    sort(found);
    while (e < expected->count || f < found->count) {
        int order = e == expected->count ? 1
                    : f == found->count  ? -1
                                         : strcmp(expected->lines[e], found->lines[f]);
        if (order < 0 && missing++ == 0) {
            first_missing = expected->lines[e];
        }
        if (order > 0 && unexpected++ == 0) {
            first_unexpected = found->lines[f];
        }
        e += order <= 0;
        f += order >= 0;
    }
    if (missing + unexpected > 0) {
        (void)snprintf(text, size, "%d missing (%s), %d unexpected (%s)", missing, first_missing,
                       unexpected, first_unexpected);
    }
    return missing + unexpected == 0;
}

const char *facts_printable(struct bytes bytes, char *text, size_t text_size)
{
    const unsigned char *data = bytes.data;
    size_t used = 0;
    ensure(text_size > 4 * bytes.size);
    for (size_t i = 0; i < bytes.size; i++) {
        bool plain = data[i] > ' ' && data[i] < 0x7f && data[i] != '\\';
        used += (size_t)snprintf(text + used, text_size - used, plain ? "%c" : "\\%02x", data[i]);
    }
    text[used] = '\0';
    return text;
}
