/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/parameter_text.h"

#include "base/status.h"
#include "base/value.h"

#include <stdlib.h>
#include <string.h>

/* The choices end at ": "; what follows is the summary proper. */
static size_t choices_size(const char *summary)
{
    const char *end = summary == NULL ? NULL : strstr(summary, ": ");
    return end == NULL ? 0 : (size_t)(end - summary);
}

const char **parameter_choices(const leat_param *param, size_t *count)
{
    ensure(param->type == LEAT_PARAM_ENUM);
    size_t size = choices_size(param->summary);
    size_t bars = 0;
    for (size_t i = 0; i < size; i++) {
        bars += param->summary[i] == '|';
    }
    /* The texts stand behind the pointers, in the same block. */
    const char **choices = memory_allocate((bars + 2) * sizeof *choices + size + 1);
    char *text = (char *)&choices[bars + 2];
    if (size > 0) {
        memcpy(text, param->summary, size);
    }
    *count = 0;
    for (char *at = text; at != NULL;) {
        char *bar = strchr(at, '|');
        if (bar != NULL) {
            *bar = 0;
        }
        bool wrong = *at == 0;
        for (size_t i = 0; i < *count; i++) {
            wrong = wrong || strcmp(choices[i], at) == 0;
        }
        if (wrong) {
            free(choices);
            *count = 0;
            return NULL;
        }
        choices[(*count)++] = at;
        at = bar == NULL ? NULL : bar + 1;
    }
    ensure(*count == bars + 1);
    return choices;
}

static bool parse_choice(const leat_param *param, const char *text, struct parameter_value *value)
{
    ensure(param->type == LEAT_PARAM_ENUM && text != NULL);
    size_t count = 0;
    const char **choices = parameter_choices(param, &count);
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || strcmp(choices[i], text) == 0;
    }
    free(choices);
    value->text = found ? memory_text(text) : NULL;
    return found;
}

/* "a,b" is two items, "" is none. */
static bool parse_list(const char *text, struct parameter_value *value)
{
    ensure(value->items == NULL && value->item_count == 0);
    for (const char *at = text; *text != 0 && at != NULL;) {
        const char *comma = strchr(at, ',');
        size_t size = comma == NULL ? strlen(at) : (size_t)(comma - at);
        value->items = memory_resize(value->items, (value->item_count + 1) * sizeof *value->items);
        value->items[value->item_count++] = memory_format("%.*s", (int)size, at);
        at = comma == NULL ? NULL : comma + 1;
    }
    return true;
}

static bool parse_boolean(const char *text, struct parameter_value *value)
{
    ensure(text != NULL);
    value->boolean = strcmp(text, "true") == 0;
    return value->boolean || strcmp(text, "false") == 0;
}

bool parameter_text_parse(const leat_param *param, const char *text, struct parameter_value *value)
{
    ensure(text != NULL);
    *value = (struct parameter_value){0};
    switch (param->type) {
    case LEAT_PARAM_STRING:
        value->text = memory_text(text);
        return true;
    case LEAT_PARAM_INT:
        return value_parse_integer(text, &value->integer);
    case LEAT_PARAM_DOUBLE:
        return value_parse_real(text, &value->real);
    case LEAT_PARAM_BOOL:
        return parse_boolean(text, value);
    case LEAT_PARAM_DURATION:
        return value_parse_duration(text, &value->integer);
    case LEAT_PARAM_SIZE:
        return value_parse_size(text, &value->integer);
    case LEAT_PARAM_LIST:
        return parse_list(text, value);
    case LEAT_PARAM_ENUM:
        return parse_choice(param, text, value);
    default:
        return false; /* a descriptor with such a type was refused */
    }
}

void parameter_value_finish(struct parameter_value *value)
{
    ensure(value->item_count == 0 || value->items != NULL);
    for (size_t i = 0; i < value->item_count; i++) {
        free(value->items[i]);
    }
    free(value->items);
    free(value->text);
    *value = (struct parameter_value){0};
}

static void expect_choices(const leat_param *param, struct buffer *text)
{
    ensure(param->type == LEAT_PARAM_ENUM);
    size_t count = 0;
    const char **choices = parameter_choices(param, &count);
    for (size_t i = 0; i < count; i++) {
        buffer_format(text, "%s\"%s\"", i == 0 ? "one of " : ", ", choices[i]);
    }
    free(choices);
}

void parameter_expectation(const leat_param *param, struct buffer *text)
{
    static const char *const words[] = {
        [LEAT_PARAM_STRING] = "a string",
        [LEAT_PARAM_INT] = "a whole number of 64 bits like 10",
        [LEAT_PARAM_DOUBLE] = "a number like 0.5",
        [LEAT_PARAM_BOOL] = "true or false",
        [LEAT_PARAM_DURATION] = "a duration like \"10s\"",
        [LEAT_PARAM_SIZE] = "a size like \"64MiB\"",
        [LEAT_PARAM_LIST] = "a list of strings like [\"a\", \"b\"]",
    };
    if (param->type == LEAT_PARAM_ENUM) {
        expect_choices(param, text);
        return;
    }
    ensure(param->type >= 0 && (size_t)param->type < sizeof words / sizeof *words);
    buffer_append_text(text, words[param->type]);
}
