/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split: one record a token of the value; key and value of it are the token. See README.md.
 * Tokens are views into the value, or into one lower-case copy of it.
 */
#include "leat/operator.h"

#include <stdlib.h>
#include <string.h>

struct split {
    bool by_separator, lowercase;
    bool inside[256]; /* by byte: part of a token (not by_separator) */
    const char *separator;
    size_t separator_size;
};

static void choose_bytes(struct split *split, bool words)
{
    for (int byte = 0; byte < 256; byte++) {
        bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z' && byte < 0x80;
        bool digit = byte >= '0' && byte <= '9';
        bool space = byte == ' ' || (byte >= '\t' && byte <= '\r');
        split->inside[byte] = words ? letter || digit || byte >= 0x80 : !space;
    }
}

static leat_status split_init(leat_context *ctx, void **self)
{
    const char *by = leat_param_string(ctx, "by");
    const char *separator = leat_param_string(ctx, "separator");
    bool by_separator = strcmp(by, "separator") == 0;
    if (by_separator && separator[0] == 0) {
        return leat_fail(ctx, LEAT_ERR_FATAL,
                         "\"by\": \"separator\" needs a \"separator\" of at least one byte");
    }
    if (!by_separator && separator[0] != 0) {
        return leat_fail(ctx, LEAT_ERR_FATAL,
                         "\"separator\" has an effect only with \"by\": \"separator\", not \"%s\"",
                         by);
    }
    struct split *split = calloc(1, sizeof *split);
    if (split == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    split->by_separator = by_separator;
    split->lowercase = leat_param_bool(ctx, "lowercase");
    split->separator = separator;
    split->separator_size = strlen(separator);
    choose_bytes(split, strcmp(by, "words") == 0);
    *self = split;
    return LEAT_OK;
}

static leat_status forward_token(leat_context *ctx, const leat_record *record, const char *token,
                                 size_t size)
{
    leat_record out = *record;
    out.key = (leat_bytes){token, size};
    out.value = out.key;
    return leat_forward(ctx, 0, &out);
}

static leat_status split_at_separators(const struct split *split, leat_context *ctx,
                                       const leat_record *record, const char *at, const char *end)
{
    leat_status status = LEAT_OK;
    while (status == LEAT_OK && at < end) {
        const char *next = memmem(at, (size_t)(end - at), split->separator, split->separator_size);
        const char *token_end = next == NULL ? end : next;
        if (token_end > at) {
            status = forward_token(ctx, record, at, (size_t)(token_end - at));
        }
        at = next == NULL ? end : next + split->separator_size;
    }
    return status;
}

static leat_status split_into_runs(const struct split *split, leat_context *ctx,
                                   const leat_record *record, const char *at, const char *end)
{
    leat_status status = LEAT_OK;
    while (status == LEAT_OK) {
        while (at < end && !split->inside[(unsigned char)*at]) {
            at++;
        }
        if (at == end) {
            break;
        }
        const char *token = at;
        while (at < end && split->inside[(unsigned char)*at]) {
            at++;
        }
        status = forward_token(ctx, record, token, (size_t)(at - token));
    }
    return status;
}

static const char *lower_copy(leat_context *ctx, leat_bytes value)
{
    const char *from = value.data;
    char *copy = leat_scratch(ctx, value.size);
    for (size_t i = 0; i < value.size; i++) {
        bool upper = from[i] >= 'A' && from[i] <= 'Z';
        copy[i] = (char)(upper ? from[i] | 0x20 : from[i]);
    }
    return copy;
}

static leat_status split_process(void *self, leat_context *ctx, const leat_record *record)
{
    const struct split *split = self;
    if (record->value.size == 0) {
        return LEAT_OK;
    }
    const char *text = split->lowercase ? lower_copy(ctx, record->value) : record->value.data;
    const char *end = text + record->value.size;
    return split->by_separator ? split_at_separators(split, ctx, record, text, end)
                               : split_into_runs(split, ctx, record, text, end);
}

static const leat_param params[] = {
    {"by", LEAT_PARAM_ENUM, "whitespace",
     "whitespace|words|separator: what ends a token: white space, all but letters and digits, or "
     "the separator"},
    {"separator", LEAT_PARAM_STRING, "", "text between tokens, for \"by\": \"separator\""},
    {"lowercase", LEAT_PARAM_BOOL, "false", "make A-Z lower case"},
    {0},
};

static const leat_operator split_operator = {
    LEAT_OPERATOR_SIZES,
    .name = "split",
    .version = "0.1.0",
    .summary = "one record a token of the value, key and value are the token",
    .params = params,
    .init = split_init,
    .process = split_process,
    .close = free,
};

const leat_operator *leat_operator_entry(void)
{
    return &split_operator;
}
