/* SPDX-License-Identifier: Apache-2.0 */
#include "base/value.h"

#include "base/bytes.h"
#include "base/status.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* A non-negative decimal integer followed by one of the units. */
static bool parse_with_unit(const char *text, const struct unit *units, int64_t *result)
{
    ensure(text != NULL && units != NULL);
    if (*text < '0' || *text > '9') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(end, unit->name) == 0) {
            return !__builtin_mul_overflow((int64_t)number, unit->factor, result);
        }
    }
    return false;
}

bool value_parse_duration(const char *text, int64_t *ms)
{
    ensure(ms != NULL);
    static const struct unit units[] = {{"", 1},          {"ms", 1},          {"s", 1000},
                                        {"m", 60 * 1000}, {"h", 3600 * 1000}, {NULL, 0}};
    return parse_with_unit(text, units, ms);
}

bool value_parse_size(const char *text, int64_t *size)
{
    ensure(size != NULL);
    static const struct unit units[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                        {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
    return parse_with_unit(text, units, size);
}

bool value_parse_integer(const char *text, int64_t *integer)
{
    ensure(text != NULL && integer != NULL);
    const char *digits = *text == '-' ? text + 1 : text;
    if (*digits < '0' || *digits > '9') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *integer = number;
    return errno == 0 && *end == 0;
}

bool value_parse_real(const char *text, double *real)
{
    ensure(text != NULL && real != NULL);
    const char *digits = *text == '-' ? text + 1 : text;
    if ((*digits < '0' || *digits > '9') && *digits != '.') {
        return false;
    }
    char *end = NULL;
    *real = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*real) && strpbrk(text, "xX") == NULL;
}

static size_t edit_distance(const char *a, const char *b)
{
    ensure(a != NULL && b != NULL);
    size_t b_size = strlen(b);
    size_t *row = memory_allocate((b_size + 1) * sizeof *row);
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != 0; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            diagonal = above;
        }
    }
    size_t distance = row[b_size];
    free(row);
    return distance;
}

const char *value_nearest(const char *name, const char *const *candidates, size_t count)
{
    ensure(count == 0 || candidates != NULL);
    const char *best = NULL;
    size_t size = strlen(name);
    size_t limit = size <= 3 ? 1 : size / 3 + 1;
    if (size > 256) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(candidates[i]) > 256) {
            continue;
        }
        size_t distance = edit_distance(name, candidates[i]);
        if (distance <= limit) {
            best = candidates[i];
            limit = distance == 0 ? 0 : distance - 1;
        }
    }
    ensure(best == NULL || strlen(best) <= 256);
    return best;
}
