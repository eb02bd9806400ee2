/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator that names everything of leat/operator.h. It is compiled as C11 and as C++17 with
 * every warning on, and never run: so a name that changes or a construct of one language only is
 * found here.
 */
#include "leat/operator.h"

static leat_status every_init(leat_context *ctx, void **self)
{
    leat_store *store;
    leat_status status = leat_store_open(ctx, "store", &store);
    *self = store;
    if (leat_param_string(ctx, "string")[0] != leat_param_item(ctx, "list", 0)[0] ||
        leat_param_count(ctx, "list") > 1 || leat_param_bool(ctx, "bool") ||
        leat_param_double(ctx, "double") > 0.5 || leat_param_int(ctx, "duration") > 1) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "%s", "cannot be");
    }
    return status == LEAT_OK ? leat_schedule(ctx, LEAT_WALL_TIME, 1000, 1) : status;
}

static leat_status every_scan(leat_store *store, leat_bytes from)
{
    leat_bytes none = {NULL, 0}, key, value;
    leat_cursor *cursor;
    leat_status status = leat_scan(store, from, none, LEAT_REVERSE | LEAT_PREFIX, &cursor);
    while (status == LEAT_OK) {
        status = leat_next(cursor, &key, &value);
    }
    leat_cursor_close(cursor);
    return status == LEAT_NOT_FOUND ? LEAT_OK : status;
}

static leat_status every_process(void *self, leat_context *ctx, const leat_record *record)
{
    leat_store *store = LEAT_CAST(leat_store *, self);
    leat_record out = *record;
    leat_bytes value;
    char *copy = LEAT_CAST(char *, leat_scratch(ctx, 16));
    leat_header header = {"name", {copy, 16}};
    out.headers = &header;
    out.header_count = 1;
    leat_status status = leat_get(store, record->key, &value);
    if (status == LEAT_NOT_FOUND) {
        status = leat_put(store, record->key, record->value);
    } else if (status == LEAT_OK) {
        status = leat_remove(store, record->key);
    }
    if (status == LEAT_OK) {
        status = every_scan(store, record->key);
    }
    if (status == LEAT_OK) {
        status = leat_timer_set(ctx, LEAT_STREAM_TIME, 7, leat_stream_time(ctx), record->key);
    }
    if (status == LEAT_OK) {
        status = leat_timer_cancel(ctx, LEAT_STREAM_TIME, 7, leat_wall_time(ctx), record->key);
    }
    leat_log(ctx, LEAT_LOG_DEBUG, "%s %d", leat_node(ctx), leat_partition(ctx));
    leat_count(ctx, "seen", 1);
    leat_request_commit(ctx);
    if (leat_extension(ctx, "leat.none/1") != NULL || record->flags != 0) {
        return LEAT_ERR_RETRY;
    }
    return status == LEAT_OK ? leat_forward(ctx, 0, &out) : LEAT_ERR_RECORD;
}

static leat_status every_timer(void *self, leat_context *ctx, const leat_timer *timer)
{
    (void)self;
    leat_log(ctx, timer->kind == LEAT_WALL_TIME ? LEAT_LOG_INFO : LEAT_LOG_WARN, "id %u",
             timer->id);
    return timer->time_ms > 0 && timer->key.size > 0 ? LEAT_OK : LEAT_ERR_FATAL;
}

static void every_close(void *self)
{
    (void)self;
}

static const leat_param params[] = {
    {"string", LEAT_PARAM_STRING, "", "a string"},
    {"int", LEAT_PARAM_INT, "1", "a number"},
    {"double", LEAT_PARAM_DOUBLE, "0.5", "a number"},
    {"bool", LEAT_PARAM_BOOL, "true", "yes or no"},
    {"duration", LEAT_PARAM_DURATION, "10s", "a time"},
    {"size", LEAT_PARAM_SIZE, "64MiB", "a size"},
    {"list", LEAT_PARAM_LIST, "a,b", "strings"},
    {"enum", LEAT_PARAM_ENUM, NULL, "a|b|c: a choice"},
    {NULL, LEAT_PARAM_STRING, NULL, NULL},
};
static const leat_port inputs[] = {{"left", "one"}, {"right", "other"}, {NULL, NULL}};
static const leat_port outputs[] = {{"out", "first"}, {"late", "second"}, {NULL, NULL}};
static const leat_store_spec stores[] = {{"store", "all"}, {NULL, NULL}};

static const leat_operator every = {
    LEAT_OPERATOR_SIZES, "every_call",  "1.0",       "names all", params, inputs, outputs, stores,
    every_init,          every_process, every_timer, every_close};

const leat_operator *leat_operator_entry(void)
{
    return every.abi_version == LEAT_ABI_VERSION ? &every : NULL;
}
