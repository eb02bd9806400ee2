/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timers: durable timers that each must fire exactly once. The values are
 *
 *     set ID STREAM_MS WALL_MS   sets a stream-time timer at its timestamp + STREAM_MS and one of
 *                                the wall clock at now + WALL_MS
 *     cancel ID [...]            cancels the stream-time timer: `ID cancelled`, or `ID late` when
 *                                it is gone already
 *     flush                      only its timestamp matters
 *
 * A timer that fires says `ID stream` or `ID wall` under the key of the record that set it. The
 * store `pending` holds what is set (`s ID` and `w ID`: due time and key), so it is empty in the
 * end; a timer that fires without its row (twice, or after its abort) stops the run.
 */
#include <leat/operator.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 256 };

struct text {
    char data[TEXT_SIZE];
};

static leat_bytes bytes_of(const struct text *text)
{
    return (leat_bytes){text->data, strlen(text->data)};
}

static struct text text_of(leat_bytes bytes)
{
    struct text text;
    (void)snprintf(text.data, sizeof text.data, "%.*s", (int)bytes.size, (const char *)bytes.data);
    return text;
}

static leat_status timers_init(leat_context *ctx, void **self)
{
    leat_store *pending = NULL;
    leat_status status = leat_store_open(ctx, "pending", &pending);
    *self = pending;
    return status;
}

static leat_status say(leat_context *ctx, leat_bytes key, int64_t time_ms, const char *id,
                       const char *what)
{
    struct text value;
    (void)snprintf(value.data, sizeof value.data, "%s %s", id, what);
    leat_record out = {.key = key, .value = bytes_of(&value), .timestamp_ms = time_ms};
    return leat_forward(ctx, 0, &out);
}

/* The name of the row of a pending timer: kind and id. Its value: due time and key. */
static struct text row_name(leat_time_kind kind, const char *id)
{
    struct text name;
    (void)snprintf(name.data, sizeof name.data, "%c %.200s", kind == LEAT_STREAM_TIME ? 's' : 'w',
                   id);
    return name;
}

static leat_status set(leat_store *pending, leat_context *ctx, leat_time_kind kind, const char *id,
                       int64_t time_ms, leat_bytes key)
{
    struct text name = row_name(kind, id);
    struct text key_text = text_of(key);
    struct text row;
    int size = snprintf(row.data, sizeof row.data, "%" PRId64 " %s", time_ms, key_text.data);
    if (size < 0 || (size_t)size >= sizeof row.data) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "the key is too long");
    }
    leat_status status = leat_put(pending, bytes_of(&name), bytes_of(&row));
    return status == LEAT_OK ? leat_timer_set(ctx, kind, 0, time_ms, (leat_bytes){id, strlen(id)})
                             : status;
}

static leat_status cancel(leat_store *pending, leat_context *ctx, const leat_record *record,
                          const char *id)
{
    struct text name = row_name(LEAT_STREAM_TIME, id);
    leat_bytes found;
    leat_status status = leat_get(pending, bytes_of(&name), &found);
    if (status == LEAT_NOT_FOUND) {
        return say(ctx, record->key, record->timestamp_ms, id, "late");
    }
    int64_t time_ms = 0;
    struct text row = text_of(status == LEAT_OK ? found : (leat_bytes){"", 0});
    if (sscanf(row.data, "%" SCNd64, &time_ms) != 1) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "the row of timer %s cannot be read", id);
    }
    status = leat_timer_cancel(ctx, LEAT_STREAM_TIME, 0, time_ms, (leat_bytes){id, strlen(id)});
    if (status == LEAT_OK) {
        status = leat_remove(pending, bytes_of(&name));
    }
    return status == LEAT_OK ? say(ctx, record->key, record->timestamp_ms, id, "cancelled")
                             : status;
}

static leat_status timers_process(void *self, leat_context *ctx, const leat_record *record)
{
    leat_store *pending = self;
    struct text value = text_of(record->value);
    char id[24];
    int64_t stream_ms = 0;
    int64_t wall_ms = 0;
    if (sscanf(value.data, "set %23s %" SCNd64 " %" SCNd64, id, &stream_ms, &wall_ms) == 3) {
        leat_status status =
            set(pending, ctx, LEAT_STREAM_TIME, id, record->timestamp_ms + stream_ms, record->key);
        return status == LEAT_OK ? set(pending, ctx, LEAT_WALL_TIME, id,
                                       leat_wall_time(ctx) + wall_ms, record->key)
                                 : status;
    }
    if (sscanf(value.data, "cancel %23s", id) == 1) {
        return cancel(pending, ctx, record, id);
    }
    return strcmp(value.data, "flush") == 0
               ? LEAT_OK
               : leat_fail(ctx, LEAT_ERR_RECORD, "not understood: %s", value.data);
}

static leat_status timers_timer(void *self, leat_context *ctx, const leat_timer *timer)
{
    leat_store *pending = self;
    struct text id = text_of(timer->key);
    struct text name = row_name(timer->kind, id.data);
    leat_bytes found;
    leat_status status = leat_get(pending, bytes_of(&name), &found);
    if (status == LEAT_NOT_FOUND) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "timer %s fired and was not pending", name.data);
    }
    if (status != LEAT_OK) {
        return status;
    }
    struct text row = text_of(found);
    struct text key;
    int64_t time_ms = 0;
    if (sscanf(row.data, "%" SCNd64 " %255s", &time_ms, key.data) != 2 ||
        time_ms != timer->time_ms) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "timer %s fired at %" PRId64 ", due: %s", name.data,
                         timer->time_ms, row.data);
    }
    status = leat_remove(pending, bytes_of(&name));
    return status == LEAT_OK ? say(ctx, bytes_of(&key), time_ms, id.data,
                                   timer->kind == LEAT_STREAM_TIME ? "stream" : "wall")
                             : status;
}

static const leat_store_spec stores[] = {{"pending", "s ID, w ID: due time and key"}, {NULL, NULL}};

static const leat_operator descriptor = {LEAT_OPERATOR_SIZES,
                                         .name = "timers",
                                         .version = "1",
                                         .summary = "timers that each must fire exactly once",
                                         .stores = stores,
                                         .init = timers_init,
                                         .process = timers_process,
                                         .timer = timers_timer};

LEAT_EXPORT const leat_operator *leat_operator_entry(void)
{
    return &descriptor;
}
