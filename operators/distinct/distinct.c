/* SPDX-License-Identifier: Apache-2.0 */
/* distinct: passes the first record with a key, or with a value of a JSON field. See README.md. */
#include "../json_scan.h"

#include <stdlib.h>

enum { KEY_LIMIT = 64 * 1024 };

struct distinct {
    struct json_field field; /* name "" = the record key */
    leat_store *seen;
};

static leat_status distinct_init(leat_context *ctx, void **self)
{
    const char *field = leat_param_string(ctx, "field");
    struct distinct *distinct = calloc(1, sizeof *distinct);
    if (distinct == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    distinct->field = (struct json_field){.name = field, .name_size = strlen(field)};
    leat_status status = leat_store_open(ctx, "seen", &distinct->seen);
    if (status != LEAT_OK) {
        free(distinct);
        return status;
    }
    *self = distinct;
    return LEAT_OK;
}

/* What two records must share to be the same. */
static leat_status identity_of(const struct distinct *distinct, leat_context *ctx,
                               const leat_record *record, leat_bytes *identity)
{
    *identity = record->key;
    struct json_field field = distinct->field;
    bool by_field = field.name_size > 0;
    if (by_field) {
        leat_status status = json_scan_fields(ctx, record->value, &field, 1);
        if (status != LEAT_OK) {
            return status;
        }
        *identity = json_field_bytes(ctx, &field);
    }
    const char *what = by_field ? "the field" : "the key";
    if (identity->data == NULL) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "%s is null; distinct has nothing to tell it by",
                         what);
    }
    if (identity->size == 0 || identity->size > KEY_LIMIT) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "%s has %zu bytes; a store takes 1 to %d", what,
                         identity->size, KEY_LIMIT);
    }
    return LEAT_OK;
}

static leat_status distinct_process(void *self, leat_context *ctx, const leat_record *record)
{
    const struct distinct *distinct = self;
    leat_bytes identity;
    leat_bytes before;
    leat_status status = identity_of(distinct, ctx, record, &identity);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_get(distinct->seen, identity, &before);
    if (status != LEAT_NOT_FOUND) {
        return status;
    }
    status = leat_put(distinct->seen, identity, (leat_bytes){"", 0});
    return status == LEAT_OK ? leat_forward(ctx, 0, record) : status;
}

static const leat_param params[] = {
    {"field", LEAT_PARAM_STRING, "",
     "top-level field of the JSON value that tells records apart; \"\" is the record key"},
    {0},
};

static const leat_store_spec stores[] = {
    {"seen", "the key or field -> empty, for every one seen"},
    {0},
};

static const leat_operator distinct_operator = {
    LEAT_OPERATOR_SIZES,   .name = "distinct",
    .version = "0.1.0",    .summary = "passes the first record with a key or JSON field, unchanged",
    .params = params,      .stores = stores,
    .init = distinct_init, .process = distinct_process,
    .close = free,
};

const leat_operator *leat_operator_entry(void)
{
    return &distinct_operator;
}
