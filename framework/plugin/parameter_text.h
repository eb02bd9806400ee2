/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameter text: how the text of a parameter becomes a value of its type: a default of a
 * descriptor, or a string of the topology file. Knows nothing of files and places; its callers word
 * the errors.
 */
#ifndef LEAT_PLUGIN_PARAMETER_TEXT_H
#define LEAT_PLUGIN_PARAMETER_TEXT_H

#include "base/bytes.h"
#include "leat/operator.h"

/** One value; which members count depends on the type. Owned: parameter_value_finish. */
struct parameter_value {
    char *text;      /* STRING, ENUM */
    int64_t integer; /* INT, DURATION (ms), SIZE (bytes) */
    double real;     /* DOUBLE */
    bool boolean;    /* BOOL */
    char **items;    /* LIST; NULL when empty */
    size_t item_count;
};

/** False, with `value` zeroed, when `text` is not of the type of `param`. */
bool parameter_text_parse(const leat_param *param, const char *text, struct parameter_value *value);
void parameter_value_finish(struct parameter_value *value);

/** Copies the choices of an ENUM, NULL-terminated in one block: free the array alone. NULL when the
 *  summary does not begin "a|b: " with at least one choice, none of them empty, none twice. */
const char **parameter_choices(const leat_param *param, size_t *count);

/** Appends what the type of `param` looks like: `a duration like "10s"`, `one of "a", "b"`. */
void parameter_expectation(const leat_param *param, struct buffer *text);

#endif
