/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator "chain" with durable timers of wall time and, if asked, with schedules: what changes
 * state and sends records while no input comes.
 *
 *   record  adds a link to its key's chain, as ever, puts "?<key>/<value>" into the store and sets
 *           a timer of that name
 *   timer   removes that entry and counts it at "#<key>": "<count>:<sum>", whatever the order;
 *           that of a value with CHAIN_DUD is bad, and leaves nothing
 *   tick    counts itself at "!w<partition>" or "!s<partition>"
 *
 * Each record's timer fires exactly once; how often a schedule ticks is nobody's promise, but its
 * count has no gap and no repeat.
 */
#include "scenario.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TIMER_ID = 7, TICK_WALL = 1, TICK_STREAM = 2, TEXT_SIZE = 96 };

/* Half fire soon; half may find another owner, or the old one back. */
static int64_t delay_ms(leat_bytes value)
{
    uint32_t sum = hash_crc32c(0, value.data, value.size);
    return sum % 2 == 0 ? 20 + sum / 2 % 700 : 800 + sum / 2 % 8000;
}

static leat_bytes text_bytes(const char *text)
{
    return (leat_bytes){text, strlen(text)};
}

static leat_status process_record(void *self, leat_context *context, const leat_record *record)
{
    char name[TEXT_SIZE];
    snprintf(name, sizeof name, "?%.*s/%.*s", (int)record->key.size, (const char *)record->key.data,
             (int)record->value.size, (const char *)record->value.data);
    bool dud = chain_ends_with(record->value, CHAIN_DUD);
    leat_status status = dud ? LEAT_OK : leat_put(self, text_bytes(name), (leat_bytes){"set", 3});
    if (status == LEAT_OK) {
        status =
            leat_timer_set(context, LEAT_WALL_TIME, TIMER_ID,
                           leat_wall_time(context) + delay_ms(record->value), text_bytes(name));
    }
    return status == LEAT_OK ? chain_process(self, context, record) : status;
}

static leat_status send(leat_context *context, const char *key, const char *value)
{
    /* Any time of the clock might be refused by the broker: clocks jump here. */
    leat_record output = {
        .key = text_bytes(key), .value = text_bytes(value), .timestamp_ms = INT64_C(1700000000000)};
    return leat_forward(context, 0, &output);
}

static leat_status run_tick(leat_store *store, leat_context *context, const leat_timer *timer)
{
    char key[TEXT_SIZE];
    char value[TEXT_SIZE];
    uint64_t count = 0;
    leat_bytes old;
    snprintf(key, sizeof key, "!%c%d", timer->id == TICK_WALL ? 'w' : 's',
             (int)leat_partition(context));
    leat_status status = leat_get(store, text_bytes(key), &old);
    if (status == LEAT_OK) {
        snprintf(value, sizeof value, "%.*s", (int)old.size, (const char *)old.data);
        ensure(sscanf(value, "%" SCNu64, &count) == 1);
    }
    snprintf(value, sizeof value, "%" PRIu64, count + 1);
    status = leat_put(store, text_bytes(key), text_bytes(value));
    return status == LEAT_OK ? send(context, key, value) : status;
}

void chain_fire(char text[CHAIN_TEXT_SIZE], const char *record_value)
{
    uint64_t count = 0;
    uint32_t sum = 0;
    if (text[0] != '\0') {
        ensure(sscanf(text, "%" SCNu64 ":%" SCNx32, &count, &sum) == 2);
    }
    snprintf(text, CHAIN_TEXT_SIZE, "%" PRIu64 ":%08" PRIx32, count + 1,
             sum + hash_crc32c(0, record_value, strlen(record_value)));
}

static leat_status run_timer(void *self, leat_context *context, const leat_timer *timer)
{
    if (timer->key.data == NULL) {
        return run_tick(self, context, timer);
    }
    char name[TEXT_SIZE];
    char key[TEXT_SIZE];
    char text[CHAIN_TEXT_SIZE] = "";
    char output[TEXT_SIZE];
    leat_bytes old;
    snprintf(name, sizeof name, "%.*s", (int)timer->key.size, (const char *)timer->key.data);
    snprintf(key, sizeof key, "#%.*s", (int)strcspn(name + 1, "/"), name + 1);
    const char *value = strchr(name, '/') + 1;
    leat_status status = leat_get(self, timer->key, &old);
    const char *doubled = status == LEAT_NOT_FOUND ? " without its entry" : "";
    status = leat_get(self, text_bytes(key), &old);
    if (status == LEAT_OK) {
        snprintf(text, sizeof text, "%.*s", (int)old.size, (const char *)old.data);
    }
    chain_fire(text, value);
    snprintf(output, sizeof output, "%s %s%s", text, value, doubled);
    status = leat_remove(self, timer->key);
    status = status == LEAT_OK ? leat_put(self, text_bytes(key), text_bytes(text)) : status;
    status = status == LEAT_OK ? send(context, key, output) : status;
    if (status == LEAT_OK && chain_ends_with(timer->key, CHAIN_DUD)) {
        return leat_fail(context, LEAT_ERR_RECORD, "a bad timer, after a put and a forward");
    }
    return status;
}

static leat_status open_with_schedules(leat_context *context, void **self)
{
    leat_status status = chain_open(context, self);
    status = status == LEAT_OK ? leat_schedule(context, LEAT_WALL_TIME, 700, TICK_WALL) : status;
    return status == LEAT_OK ? leat_schedule(context, LEAT_STREAM_TIME, 900, TICK_STREAM) : status;
}

const leat_operator *wall_chain_operator(bool schedules)
{
    static const leat_store_spec stores[] = {{"state", "chains, timers and ticks"}, {NULL, NULL}};
    static const leat_operator descriptors[] = {
        {
            LEAT_OPERATOR_SIZES,
            .name = "chain",
            .version = "1",
            .summary = "count and checksum of a key's records, count of its timers",
            .stores = stores,
            .init = chain_open,
            .process = process_record,
            .timer = run_timer,
        },
        {
            LEAT_OPERATOR_SIZES,
            .name = "chain",
            .version = "1",
            .summary = "count and checksum of a key's records, count of its timers and ticks",
            .stores = stores,
            .init = open_with_schedules,
            .process = process_record,
            .timer = run_timer,
        },
    };
    return &descriptors[schedules ? 1 : 0];
}
