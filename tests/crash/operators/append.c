/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append: a list per key. The value of each record goes to the end of the list of its key, and the
 * whole list goes out: `1`, then `1,5`, then `1,5,9`. So every output carries its history: a record
 * that was lost, doubled or undone shows in all that follow. The feeder keeps the lists short.
 */
#include <leat/operator.h>

#include <string.h>

static leat_status append_init(leat_context *ctx, void **self)
{
    leat_store *lists = NULL;
    leat_status status = leat_store_open(ctx, "lists", &lists);
    *self = lists;
    return status;
}

static leat_status append_process(void *self, leat_context *ctx, const leat_record *record)
{
    leat_store *lists = self;
    leat_bytes list = {NULL, 0};
    leat_status status = leat_get(lists, record->key, &list);
    if (status != LEAT_OK && status != LEAT_NOT_FOUND) {
        return status;
    }
    if (status == LEAT_NOT_FOUND) {
        list.size = 0;
    }
    char *longer = leat_scratch(ctx, list.size + 1 + record->value.size);
    size_t size = 0;
    if (list.size > 0) {
        memcpy(longer, list.data, list.size);
        longer[list.size] = ',';
        size = list.size + 1;
    }
    if (record->value.size > 0) {
        memcpy(longer + size, record->value.data, record->value.size);
        size += record->value.size;
    }
    leat_record out = *record;
    out.value = (leat_bytes){longer, size};
    status = leat_put(lists, record->key, out.value);
    return status == LEAT_OK ? leat_forward(ctx, 0, &out) : status;
}

static const leat_store_spec stores[] = {{"lists", "key: the values so far, separated by commas"},
                                         {NULL, NULL}};

static const leat_operator descriptor = {
    LEAT_OPERATOR_SIZES,      .name = "append",
    .version = "1",           .summary = "a list per key; every output carries all of it",
    .stores = stores,         .init = append_init,
    .process = append_process};

LEAT_EXPORT const leat_operator *leat_operator_entry(void)
{
    return &descriptor;
}
