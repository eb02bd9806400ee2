/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

#include "base/hash.h"
#include "base/status.h"
#include "point.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_TEXT = 32, DELAY_MS = 250, STEP_MS = 100 };

void (*tally_processed)(void);
static bool timers;

struct tally_input tally_input(int partition, int index)
{
    struct tally_input input;
    bool late = index == 3;
    bool removes = index == 4;
    (void)snprintf(input.key, sizeof input.key, "%c%d", index % 3 == 1 ? 'b' : 'a', partition);
    (void)snprintf(input.value, sizeof input.value, "%d-%d%s", partition, index,
                   removes ? "x" : "");
    input.timestamp_ms = 1000 + index * 120 - (late ? 400 : 0);
    return input;
}

void tally_add(char text[TALLY_TEXT], const void *value, size_t size)
{
    uint64_t count = 0;
    uint32_t sum = 0;
    if (text[0] != '\0') {
        ensure(sscanf(text, "%" SCNu64 ":%" SCNx32, &count, &sum) == 2);
    }
    (void)snprintf(text, TALLY_TEXT, "%" PRIu64 ":%08" PRIx32, count + 1,
                   hash_crc32c(sum, value, size));
}

int tally_count(const char *text)
{
    int count = 0;
    ensure(sscanf(text, "%d:", &count) == 1);
    return count;
}

int64_t tally_due_ms(int64_t timestamp_ms)
{
    return (timestamp_ms + DELAY_MS) / STEP_MS * STEP_MS;
}

struct tally {
    leat_store *chains, *rows;
};

/* A failure that was planned; LEAT_OK: none. */
static leat_status failed(enum call call, const struct fault *fault, leat_context *context)
{
    struct error error;
    if (fault == NULL) {
        return LEAT_OK;
    }
    enum status status = point_refuse(call, fault, &error);
    return leat_fail(context,
                     status == STATUS_RETRY        ? LEAT_ERR_RETRY
                     : status == STATUS_BAD_RECORD ? LEAT_ERR_RECORD
                                                   : LEAT_ERR_FATAL,
                     "%s", error.text);
}

static leat_status tally_init(leat_context *context, void **self)
{
    leat_status status = failed(CALL_OPERATOR_INIT, point_enter(CALL_OPERATOR_INIT), context);
    if (status != LEAT_OK) {
        return status;
    }
    struct tally *tally = calloc(1, sizeof *tally);
    if (tally == NULL) {
        return leat_fail(context, LEAT_ERR_FATAL, "no memory");
    }
    status = leat_store_open(context, "chains", &tally->chains);
    if (status == LEAT_OK) {
        status = leat_store_open(context, "rows", &tally->rows);
    }
    if (status != LEAT_OK) {
        free(tally);
        return status;
    }
    *self = tally;
    point_leave(CALL_OPERATOR_INIT);
    return LEAT_OK;
}

static leat_status read_chain(struct tally *tally, leat_bytes key, char text[TALLY_TEXT])
{
    leat_bytes found;
    leat_status status = leat_get(tally->chains, key, &found);
    text[0] = '\0';
    if (status == LEAT_OK) {
        (void)snprintf(text, TALLY_TEXT, "%.*s", (int)found.size, (const char *)found.data);
    }
    return status == LEAT_NOT_FOUND ? LEAT_OK : status;
}

/* Rows of a key begin with it and a slash. `most` of them are removed; `count` says how many there
   were. */
static leat_status take_rows(struct tally *tally, leat_bytes key, int most, int *count)
{
    char prefix[ROW_TEXT];
    int size = snprintf(prefix, sizeof prefix, "%.*s/", (int)key.size, (const char *)key.data);
    leat_cursor *cursor = NULL;
    leat_bytes row;
    leat_bytes value;
    leat_status status = leat_scan(tally->rows, (leat_bytes){prefix, (size_t)size},
                                   (leat_bytes){NULL, 0}, LEAT_PREFIX, &cursor);
    *count = 0;
    while (status == LEAT_OK) {
        status = leat_next(cursor, &row, &value);
        if (status == LEAT_OK && ++*count <= most) {
            char copy[ROW_TEXT];
            memcpy(copy, row.data, row.size);
            status = leat_remove(tally->rows, (leat_bytes){copy, row.size});
        }
    }
    leat_cursor_close(cursor);
    return status == LEAT_NOT_FOUND ? LEAT_OK : status;
}

static leat_status forward(leat_context *context, uint32_t port, leat_bytes key, const char *text,
                           int64_t timestamp_ms)
{
    const leat_record output = {
        .key = key, .value = {text, strlen(text)}, .timestamp_ms = timestamp_ms};
    return leat_forward(context, port, &output);
}

static leat_status keep(struct tally *tally, leat_context *context, const leat_record *record,
                        const char *text)
{
    char row[ROW_TEXT];
    int size = snprintf(row, sizeof row, "%.*s/%06d", (int)record->key.size,
                        (const char *)record->key.data, tally_count(text));
    leat_status status = leat_put(tally->chains, record->key, (leat_bytes){text, strlen(text)});
    if (status == LEAT_OK) {
        status = leat_put(tally->rows, (leat_bytes){row, (size_t)size}, record->value);
    }
    return status == LEAT_OK && timers
               ? leat_timer_set(context, LEAT_STREAM_TIME, 1, tally_due_ms(record->timestamp_ms),
                                record->key)
               : status;
}

static leat_status work(struct tally *tally, leat_context *context, const leat_record *record)
{
    char text[TALLY_TEXT];
    int count = 0;
    leat_status status = read_chain(tally, record->key, text);
    if (status != LEAT_OK) {
        return status;
    }
    tally_add(text, record->value.data, record->value.size);
    const char *value = record->value.data;
    if (value[record->value.size - 1] == 'x') {
        status = leat_remove(tally->chains, record->key);
        status = status == LEAT_OK ? take_rows(tally, record->key, INT32_MAX, &count) : status;
    } else {
        status = keep(tally, context, record, text);
    }
    return status == LEAT_OK ? forward(context, 0, record->key, text, record->timestamp_ms)
                             : status;
}

static leat_status tally_process(void *self, leat_context *context, const leat_record *record)
{
    const struct fault *fault = point_enter(CALL_OPERATOR_PROCESS);
    if (fault != NULL && !fault->applied) {
        return failed(CALL_OPERATOR_PROCESS, fault, context);
    }
    leat_status status = work(self, context, record);
    point_leave(CALL_OPERATOR_PROCESS);
    if (tally_processed != NULL) {
        tally_processed();
    }
    return fault == NULL ? status : failed(CALL_OPERATOR_PROCESS, fault, context);
}

static leat_status ring(struct tally *tally, leat_context *context, const leat_timer *timer)
{
    char text[TALLY_TEXT];
    char told[TALLY_TEXT + 32] = "none";
    int count = 0;
    leat_status status = read_chain(tally, timer->key, text);
    if (status == LEAT_OK && text[0] != '\0') {
        status = take_rows(tally, timer->key, 1, &count);
        (void)snprintf(told, sizeof told, "%s of %d rows", text, count);
    }
    return status == LEAT_OK ? forward(context, 1, timer->key, told, timer->time_ms) : status;
}

static leat_status tally_timer(void *self, leat_context *context, const leat_timer *timer)
{
    const struct fault *fault = point_enter(CALL_OPERATOR_TIMER);
    if (fault != NULL && !fault->applied) {
        return failed(CALL_OPERATOR_TIMER, fault, context);
    }
    leat_status status = ring(self, context, timer);
    point_leave(CALL_OPERATOR_TIMER);
    return fault == NULL ? status : failed(CALL_OPERATOR_TIMER, fault, context);
}

static void tally_close(void *self)
{
    (void)point_enter(CALL_OPERATOR_CLOSE);
    free(self);
    point_leave(CALL_OPERATOR_CLOSE);
}

const leat_operator *tally_operator(bool timed)
{
    timers = timed;
    static const leat_store_spec stores[] = {
        {"chains", "count and checksum per key"}, {"rows", "one a record"}, {NULL, NULL}};
    static const leat_port outputs[] = {
        {"out", "of every record"}, {"late", "of every timer"}, {NULL, NULL}};
    static const leat_operator descriptor = {
        LEAT_OPERATOR_SIZES,  .name = "tally",
        .version = "1",       .summary = "chains, rows and timers per key",
        .outputs = outputs,   .stores = stores,
        .init = tally_init,   .process = tally_process,
        .timer = tally_timer, .close = tally_close,
    };
    return &descriptor;
}
