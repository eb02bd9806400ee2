/* SPDX-License-Identifier: Apache-2.0 */
#include "scenario.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void chain_next(char text[32], const void *value, size_t size)
{
    uint64_t count = 0;
    uint32_t sum = 0;
    if (text[0] != '\0') {
        ensure(sscanf(text, "%" SCNu64 ":%" SCNx32, &count, &sum) == 2);
    }
    snprintf(text, 32, "%" PRIu64 ":%08" PRIx32, count + 1, hash_crc32c(sum, value, size));
}

static leat_status chain_init(leat_context *context, void **self)
{
    leat_store *store = NULL;
    leat_status status = leat_store_open(context, "state", &store);
    *self = store;
    return status;
}

static leat_status chain_process(void *self, leat_context *context, const leat_record *record)
{
    leat_store *store = self;
    char text[32] = "";
    leat_bytes old;
    leat_status status = leat_get(store, record->key, &old);
    if (status == LEAT_OK) {
        snprintf(text, sizeof text, "%.*s", (int)old.size, (const char *)old.data);
    } else if (status != LEAT_NOT_FOUND) {
        return status;
    }
    chain_next(text, record->value.data, record->value.size);
    leat_bytes value = {text, strlen(text)};
    status = leat_put(store, record->key, value);
    leat_record output = *record;
    output.value = value;
    return status == LEAT_OK ? leat_forward(context, 0, &output) : status;
}

const leat_operator *chain_operator(void)
{
    static const leat_store_spec stores[] = {{"state", "count and checksum per key"}, {NULL, NULL}};
    static const leat_operator descriptor = {
        LEAT_OPERATOR_SIZES,      .name = "chain",
        .version = "1",           .summary = "count and checksum of the records of a key",
        .stores = stores,         .init = chain_init,
        .process = chain_process,
    };
    return &descriptor;
}
