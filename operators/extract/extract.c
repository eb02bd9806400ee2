/* SPDX-License-Identifier: Apache-2.0 */
/* extract: makes fields of a JSON value the key, the value, or both. See README.md. */
#include "../json_scan.h"

#include <stdlib.h>

struct extract {
    struct json_field fields[2]; /* those that are named, key first */
    size_t count;
    bool key, value;
};

static void add_field(struct extract *extract, const char *name)
{
    extract->fields[extract->count++] =
        (struct json_field){.name = name, .name_size = strlen(name)};
}

static leat_status extract_init(leat_context *ctx, void **self)
{
    const char *key = leat_param_string(ctx, "key");
    const char *value = leat_param_string(ctx, "value");
    struct extract *extract = calloc(1, sizeof *extract);
    if (extract == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    extract->key = key[0] != 0;
    extract->value = value[0] != 0;
    if (extract->key) {
        add_field(extract, key);
    }
    if (extract->value) {
        add_field(extract, value);
    }
    *self = extract;
    return LEAT_OK;
}

static leat_status extract_process(void *self, leat_context *ctx, const leat_record *record)
{
    const struct extract *extract = self;
    struct json_field fields[2] = {extract->fields[0], extract->fields[1]};
    leat_record out = *record;
    if (extract->count > 0) {
        leat_status status = json_scan_fields(ctx, record->value, fields, extract->count);
        if (status != LEAT_OK) {
            return status;
        }
    }
    if (extract->key) {
        out.key = json_field_bytes(ctx, &fields[0]);
    }
    if (extract->value) {
        out.value = json_field_bytes(ctx, &fields[extract->count - 1]);
    }
    return leat_forward(ctx, 0, &out);
}

static const leat_param params[] = {
    {"key", LEAT_PARAM_STRING, "", "field that becomes the key; \"\" leaves the key as it is"},
    {"value", LEAT_PARAM_STRING, "",
     "field that becomes the value; \"\" leaves the value as it is"},
    {0},
};

static const leat_operator extract_operator = {
    LEAT_OPERATOR_SIZES,
    .name = "extract",
    .version = "0.1.0",
    .summary = "makes top-level fields of a JSON value the key, the value, or both",
    .params = params,
    .init = extract_init,
    .process = extract_process,
    .close = free,
};

const leat_operator *leat_operator_entry(void)
{
    return &extract_operator;
}
