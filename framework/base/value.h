/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Value: one scalar or list of strings of the configuration, with the place it came from. The
 * bridge between the JSON reader (topology/) and those who check it (plugin/, broker/), which do
 * not know each other. Owned by the struct config it hangs from.
 */
#ifndef LEAT_BASE_VALUE_H
#define LEAT_BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_kind { VALUE_STRING, VALUE_INTEGER, VALUE_REAL, VALUE_BOOLEAN, VALUE_LIST };

struct value {
    enum value_kind kind;
    const char *text;   /* VALUE_STRING */
    int64_t integer;    /* VALUE_INTEGER */
    double real;        /* VALUE_REAL */
    bool boolean;       /* VALUE_BOOLEAN */
    const char **items; /* VALUE_LIST of strings */
    size_t item_count;
};

struct named_value {
    const char *name;
    struct value value;
    const char *path; /* JSON path, "$.operators.count.params.function" */
    int line;         /* of the file, from 1; 0 = from the command line */
    bool secret;
};

/** "100ms" "10s" "5m" "1h" or a bare number of ms. False if malformed, negative or too large. */
bool value_parse_duration(const char *text, int64_t *ms);
/** "64KiB" "16MiB" "1GiB" "10B" or a bare number of bytes. */
bool value_parse_size(const char *text, int64_t *size);
bool value_parse_integer(const char *text, int64_t *integer);
bool value_parse_real(const char *text, double *real);

/** The candidate nearest to `name` by edit distance, or NULL if none is near. */
const char *value_nearest(const char *name, const char *const *candidates, size_t count);

#endif
