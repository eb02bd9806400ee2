/* SPDX-License-Identifier: Apache-2.0 */
/* filter: passes the records whose key or value matches a pattern, unchanged. See README.md. */
#include "leat/operator.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum match { MATCH_CONTAINS, MATCH_EQUALS, MATCH_PREFIX, MATCH_SUFFIX, MATCH_REGEX };

struct filter {
    enum match match;
    bool on_key, invert;
    const char *pattern;
    size_t pattern_size;
    regex_t regex; /* MATCH_REGEX */
};

static enum match match_of(const char *name)
{
    static const char *const names[] = {"contains", "equals", "prefix", "suffix", "regex"};
    enum match match = MATCH_CONTAINS;
    while (match < MATCH_REGEX && strcmp(names[match], name) != 0) {
        match++;
    }
    return match;
}

static leat_status filter_init(leat_context *ctx, void **self)
{
    struct filter *filter = calloc(1, sizeof *filter);
    if (filter == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    filter->on_key = strcmp(leat_param_string(ctx, "on"), "key") == 0;
    filter->match = match_of(leat_param_string(ctx, "match"));
    filter->pattern = leat_param_string(ctx, "pattern");
    filter->pattern_size = strlen(filter->pattern);
    filter->invert = leat_param_bool(ctx, "invert");
    if (filter->match == MATCH_REGEX) {
        int code = regcomp(&filter->regex, filter->pattern, REG_EXTENDED | REG_NOSUB);
        if (code != 0) {
            char why[128];
            (void)regerror(code, &filter->regex, why, sizeof why);
            leat_status status =
                leat_fail(ctx, LEAT_ERR_FATAL,
                          "pattern \"%s\" is not a POSIX extended regular expression: %s",
                          filter->pattern, why);
            free(filter);
            return status;
        }
    }
    *self = filter;
    return LEAT_OK;
}

/* The text is not NUL-terminated and may hold NULs: REG_STARTEND gives its size. */
static leat_status match_regex(const struct filter *filter, leat_context *ctx, leat_bytes text,
                               bool *matches)
{
    regmatch_t range = {.rm_so = 0, .rm_eo = (regoff_t)text.size};
    int code = regexec(&filter->regex, text.data, 0, &range, REG_STARTEND);
    *matches = code == 0;
    if (code != 0 && code != REG_NOMATCH) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "no memory to match the pattern against %zu bytes",
                         text.size);
    }
    return LEAT_OK;
}

static bool match_text(const struct filter *filter, leat_bytes text)
{
    const char *data = text.data;
    const char *pattern = filter->pattern;
    size_t size = filter->pattern_size;
    if (text.size < size) {
        return false;
    }
    switch (filter->match) {
    case MATCH_EQUALS:
        return text.size == size && memcmp(data, pattern, size) == 0;
    case MATCH_PREFIX:
        return memcmp(data, pattern, size) == 0;
    case MATCH_SUFFIX:
        return memcmp(data + text.size - size, pattern, size) == 0;
    case MATCH_CONTAINS:
    case MATCH_REGEX:
        break;
    }
    return memmem(data, text.size, pattern, size) != NULL;
}

static leat_status filter_process(void *self, leat_context *ctx, const leat_record *record)
{
    const struct filter *filter = self;
    leat_bytes text = filter->on_key ? record->key : record->value;
    bool matches = false;
    if (text.data != NULL) { /* null matches nothing, not even the empty pattern */
        if (filter->match == MATCH_REGEX) {
            leat_status status = match_regex(filter, ctx, text, &matches);
            if (status != LEAT_OK) {
                return status;
            }
        } else {
            matches = match_text(filter, text);
        }
    }
    return matches != filter->invert ? leat_forward(ctx, 0, record) : LEAT_OK;
}

static void filter_close(void *self)
{
    struct filter *filter = self;
    if (filter->match == MATCH_REGEX) {
        regfree(&filter->regex);
    }
    free(filter);
}

static const leat_param params[] = {
    {"on", LEAT_PARAM_ENUM, "value", "value|key: what is looked at"},
    {"match", LEAT_PARAM_ENUM, "contains",
     "contains|equals|prefix|suffix|regex: how the pattern is compared; regex is POSIX extended"},
    {"pattern", LEAT_PARAM_STRING, NULL, "the text, or the regular expression"},
    {"invert", LEAT_PARAM_BOOL, "false", "pass what does not match"},
    {0},
};

static const leat_operator filter_operator = {
    LEAT_OPERATOR_SIZES,
    .name = "filter",
    .version = "0.1.0",
    .summary = "passes the records whose key or value matches, unchanged",
    .params = params,
    .init = filter_init,
    .process = filter_process,
    .close = filter_close,
};

const leat_operator *leat_operator_entry(void)
{
    return &filter_operator;
}
