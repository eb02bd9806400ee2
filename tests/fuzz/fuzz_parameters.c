/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that become values: the parameters of operators by their types (choices of an enum come
 * from the second line), durations, sizes, numbers; and the nearest of several names. What is
 * accepted, written again in its plainest form, is the same value; what is not leaves nothing
 * behind.
 */
#include "plugin/parameter_text.h"

#include "base/value.h"
#include "fuzz_input.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_plain(const char *text)
{
    return *text != 0 && text[strspn(text, "0123456789")] == 0;
}

/* A number of the smallest unit is its own text, and no other number of digits means it. */
static void check_unit(bool (*parse)(const char *, int64_t *), const char *text)
{
    char again[32];
    int64_t number = -1;
    int64_t second = -2;
    if (!parse(text, &number)) {
        return;
    }
    ensure(number >= 0 && text[0] >= '0' && text[0] <= '9');
    (void)snprintf(again, sizeof again, "%" PRId64, number);
    ensure(parse(again, &second) && second == number);
    ensure(!is_plain(text) || strtoll(text, NULL, 10) == number);
}

static void check_numbers(const char *text)
{
    char again[64];
    int64_t integer = 0;
    int64_t second = 0;
    double real = 0;
    double other = 0;
    check_unit(value_parse_duration, text);
    check_unit(value_parse_size, text);
    if (value_parse_integer(text, &integer)) {
        (void)snprintf(again, sizeof again, "%" PRId64, integer);
        ensure(value_parse_integer(again, &second) && second == integer);
        ensure(text[strspn(text, "-0123456789")] == 0);
        ensure(value_parse_real(text, &real));
    }
    if (value_parse_real(text, &real)) {
        ensure(isfinite(real));
        (void)snprintf(again, sizeof again, "%.17g", real);
        ensure(value_parse_real(again, &other) && other == real);
        ensure(text[strspn(text, "-+.0123456789eE")] == 0);
    }
}

static void check_empty(const struct parameter_value *value)
{
    ensure(value->text == NULL && value->items == NULL && value->item_count == 0);
}

/* A list joined again is its text. */
static void check_list(const char *text, const struct parameter_value *value)
{
    struct buffer joined = {0};
    for (size_t i = 0; i < value->item_count; i++) {
        ensure(strchr(value->items[i], ',') == NULL);
        buffer_format(&joined, "%s%s", i == 0 ? "" : ",", value->items[i]);
    }
    ensure(strcmp(buffer_text(&joined), text) == 0);
    buffer_finish(&joined);
}

static void check_choice(const leat_param *param, const char *text, bool accepted)
{
    size_t count = 0;
    bool found = false;
    const char **choices = parameter_choices(param, &count);
    ensure((choices == NULL) == (count == 0));
    for (size_t i = 0; i < count; i++) {
        ensure(choices[i][0] != 0 && strchr(choices[i], '|') == NULL);
        found = found || strcmp(choices[i], text) == 0;
    }
    ensure(found == accepted);
    const char *nearest = value_nearest(text, choices, count);
    ensure(!found || (nearest != NULL && strcmp(nearest, text) == 0) || strlen(text) > 256);
    free(choices);
}

static void check_type(const leat_param *param, const char *text)
{
    struct parameter_value value;
    struct buffer words = {0};
    bool accepted = parameter_text_parse(param, text, &value);
    if (!accepted) {
        check_empty(&value);
        ensure(param->type != LEAT_PARAM_STRING && param->type != LEAT_PARAM_LIST);
    }
    if (param->type == LEAT_PARAM_STRING) {
        ensure(strcmp(value.text, text) == 0);
    } else if (param->type == LEAT_PARAM_LIST) {
        check_list(text, &value);
    } else if (param->type == LEAT_PARAM_ENUM) {
        check_choice(param, text, accepted);
    } else if (param->type == LEAT_PARAM_BOOL && accepted) {
        ensure(strcmp(text, value.boolean ? "true" : "false") == 0);
    }
    parameter_value_finish(&value);
    check_empty(&value);
    parameter_expectation(param, &words);
    buffer_finish(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > 4096 ? 4096 : size};
    char *text = fuzz_line(&input);
    char *summary = fuzz_line(&input);
    check_numbers(text);
    for (int32_t type = LEAT_PARAM_STRING; type <= LEAT_PARAM_ENUM; type++) {
        leat_param param = {.name = "p", .type = type, .summary = summary};
        check_type(&param, text);
    }
    free(text);
    free(summary);
    return 0;
}
