/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aggregate: a running result per key, in decimal text. See README.md.
 * Per record one get, one put, one forward; the text is made and read by hand, it is the hot path.
 */
#include "leat/operator.h"

#include <stdlib.h>
#include <string.h>

enum { NUMBER_SIZE = 20 /* "-9223372036854775808" */, KEY_LIMIT = 64 * 1024 };

struct aggregate {
    bool sum;
    leat_store *state;
};

/* All of `text` as a decimal integer; false if it is none or does not fit. */
static bool parse_number(leat_bytes text, int64_t *number)
{
    const unsigned char *at = text.data;
    size_t size = text.size;
    bool negative = size > 0 && at[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == size) {
        return false;
    }
    /* Downwards, because INT64_MIN has no positive counterpart. */
    int64_t value = 0;
    for (; i < size; i++) {
        unsigned digit = at[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, (int64_t)digit, &value)) {
            return false;
        }
    }
    if (!negative && value == INT64_MIN) {
        return false;
    }
    *number = negative ? value : -value;
    return true;
}

/* Writes at the end of `text`; the view that is returned points into it. */
static leat_bytes format_number(int64_t number, char text[NUMBER_SIZE])
{
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    char *at = text + NUMBER_SIZE;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        *--at = '-';
    }
    return (leat_bytes){at, (size_t)(text + NUMBER_SIZE - at)};
}

static leat_status aggregate_init(leat_context *ctx, void **self)
{
    struct aggregate *aggregate = calloc(1, sizeof *aggregate);
    if (aggregate == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    aggregate->sum = strcmp(leat_param_string(ctx, "function"), "sum") == 0;
    leat_status status = leat_store_open(ctx, "state", &aggregate->state);
    if (status != LEAT_OK) {
        free(aggregate);
        return status;
    }
    *self = aggregate;
    return LEAT_OK;
}

static leat_status check_key(leat_context *ctx, leat_bytes key)
{
    if (key.data == NULL) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "the key is null; aggregate works per key");
    }
    if (key.size == 0 || key.size > KEY_LIMIT) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "the key has %zu bytes; a store takes 1 to %d",
                         key.size, KEY_LIMIT);
    }
    return LEAT_OK;
}

/* What this record adds. */
static leat_status take_number(const struct aggregate *aggregate, leat_context *ctx,
                               const leat_record *record, int64_t *number)
{
    *number = 1;
    if (!aggregate->sum || parse_number(record->value, number)) {
        return LEAT_OK;
    }
    if (record->value.data == NULL) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "the value is null; sum needs a number");
    }
    return leat_fail(ctx, LEAT_ERR_RECORD,
                     "the value \"%.*s\"%s is not a whole number of 64 bits; sum needs one",
                     (int)(record->value.size < 40 ? record->value.size : 40),
                     (const char *)record->value.data, record->value.size < 40 ? "" : "...");
}

static leat_status aggregate_process(void *self, leat_context *ctx, const leat_record *record)
{
    const struct aggregate *aggregate = self;
    int64_t number = 0;
    int64_t total = 0;
    leat_bytes before;
    leat_status status = check_key(ctx, record->key);
    if (status == LEAT_OK) {
        status = take_number(aggregate, ctx, record, &number);
    }
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_get(aggregate->state, record->key, &before);
    if (status != LEAT_OK && status != LEAT_NOT_FOUND) {
        return status;
    }
    if (status == LEAT_OK && !parse_number(before, &total)) {
        return leat_fail(ctx, LEAT_ERR_FATAL,
                         "the stored result of a key is not a number; was the store written by "
                         "another operator?");
    }
    int64_t result = 0;
    if (__builtin_add_overflow(total, number, &result)) {
        return leat_fail(ctx, LEAT_ERR_RECORD,
                         "the result would leave the range of 64 bits: %lld + %lld",
                         (long long)total, (long long)number);
    }
    char text[NUMBER_SIZE];
    leat_record out = *record;
    out.value = format_number(result, text);
    status = leat_put(aggregate->state, record->key, out.value);
    return status == LEAT_OK ? leat_forward(ctx, 0, &out) : status;
}

static const leat_param params[] = {
    {"function", LEAT_PARAM_ENUM, "count",
     "count|sum: the number of records, or the sum of values"},
    {0},
};

static const leat_store_spec stores[] = {
    {"state", "the record key -> its running result, decimal text"},
    {0},
};

static const leat_operator aggregate_operator = {
    LEAT_OPERATOR_SIZES,    .name = "aggregate",
    .version = "0.1.0",     .summary = "a running count or sum per key, one output per input",
    .params = params,       .stores = stores,
    .init = aggregate_init, .process = aggregate_process,
    .close = free,
};

const leat_operator *leat_operator_entry(void)
{
    return &aggregate_operator;
}
