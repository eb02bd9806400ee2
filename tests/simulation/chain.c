/* SPDX-License-Identifier: Apache-2.0 */
#include "scenario.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void chain_next(char text[CHAIN_TEXT_SIZE], const void *value, size_t size)
{
    uint64_t count = 0;
    uint32_t sum = 0;
    if (text[0] != '\0') {
        ensure(sscanf(text, "%" SCNu64 ":%" SCNx32, &count, &sum) == 2);
    }
    snprintf(text, CHAIN_TEXT_SIZE, "%" PRIu64 ":%08" PRIx32, count + 1,
             hash_crc32c(sum, value, size));
}

leat_status chain_open(leat_context *context, void **self)
{
    leat_store *store = NULL;
    leat_status status = leat_store_open(context, "state", &store);
    *self = store;
    return status;
}

/* The state of `key` with one more link; it stays valid in `text`. */
static leat_status add_link(leat_store *store, leat_bytes key, leat_bytes link,
                            char text[CHAIN_TEXT_SIZE])
{
    leat_bytes old;
    text[0] = '\0';
    leat_status status = leat_get(store, key, &old);
    if (status == LEAT_OK) {
        snprintf(text, CHAIN_TEXT_SIZE, "%.*s", (int)old.size, (const char *)old.data);
    } else if (status != LEAT_NOT_FOUND) {
        return status;
    }
    chain_next(text, link.data, link.size);
    return leat_put(store, key, (leat_bytes){text, strlen(text)});
}

bool chain_ends_with(leat_bytes value, char last)
{
    return value.size > 0 && ((const char *)value.data)[value.size - 1] == last;
}

leat_status chain_process(void *self, leat_context *context, const leat_record *record)
{
    char text[CHAIN_TEXT_SIZE];
    leat_status status = add_link(self, record->key, record->value, text);
    if (status != LEAT_OK) {
        return status;
    }
    leat_record output = *record;
    output.value = (leat_bytes){text, strlen(text)};
    status = leat_forward(context, 0, &output);
    if (status == LEAT_OK && chain_ends_with(record->value, CHAIN_BAD)) {
        return leat_fail(context, LEAT_ERR_RECORD, "bad after a put and a forward");
    }
    return status;
}

const leat_operator *chain_operator(void)
{
    static const leat_store_spec stores[] = {{"state", "count and checksum per key"}, {NULL, NULL}};
    static const leat_operator descriptor = {
        LEAT_OPERATOR_SIZES,      .name = "chain",
        .version = "1",           .summary = "count and checksum of the records of a key",
        .stores = stores,         .init = chain_open,
        .process = chain_process,
    };
    return &descriptor;
}

/* ---- The same with a timer a record ---- */

int64_t chain_timer_ms(int64_t timestamp_ms)
{
    return (timestamp_ms + CHAIN_DELAY_MS) / 100 * 100;
}

static leat_status process_and_set(void *self, leat_context *context, const leat_record *record)
{
    leat_status status = leat_timer_set(context, LEAT_STREAM_TIME, 3,
                                        chain_timer_ms(record->timestamp_ms), record->key);
    return status == LEAT_OK ? chain_process(self, context, record) : status;
}

static leat_status run_timer(void *self, leat_context *context, const leat_timer *timer)
{
    char text[CHAIN_TEXT_SIZE];
    leat_status status = add_link(self, timer->key, (leat_bytes){CHAIN_TIMER, 5}, text);
    leat_record output = {
        .key = timer->key, .value = {text, strlen(text)}, .timestamp_ms = timer->time_ms};
    return status == LEAT_OK ? leat_forward(context, 0, &output) : status;
}

const leat_operator *timer_chain_operator(void)
{
    static const leat_store_spec stores[] = {{"state", "count and checksum per key"}, {NULL, NULL}};
    static const leat_operator descriptor = {
        LEAT_OPERATOR_SIZES,
        .name = "chain",
        .version = "1",
        .summary = "count and checksum of the records and timers of a key",
        .stores = stores,
        .init = chain_open,
        .process = process_and_set,
        .timer = run_timer,
    };
    return &descriptor;
}
