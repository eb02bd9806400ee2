/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/timer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TIMER_HEAD_SIZE = 9 /* kind and time */, TIMER_TABLE = 0, TIMER_TICK = 0x80 };

/* ---- The key ---- */

/* Kind and time, a node's name of 100 bytes and its NUL, id, mark. */
_Static_assert(STORE_KEY_LIMIT >= TASK_KEY_LIMIT + TIMER_HEAD_SIZE + 101 + 5, "every key fits");
_Static_assert((LEAT_STREAM_TIME | LEAT_WALL_TIME) < TIMER_TICK, "a tick is told from a timer");

static void timer_head(uint8_t *at, leat_time_kind kind, int64_t time_ms)
{
    ensure(kind >= 0 && kind <= (LEAT_WALL_TIME | TIMER_TICK));
    at[0] = (uint8_t)kind;
    put_u64(at + 1, (uint64_t)time_ms ^ (UINT64_C(1) << 63));
}

static struct bytes timer_key(struct instance *instance, leat_time_kind kind, uint32_t id,
                              int64_t time_ms, leat_bytes key)
{
    ensure(instance->task != NULL);
    key.size = key.data == NULL ? 0 : key.size; /* null, whatever its size says */
    const char *node = instance->graph_node->name;
    size_t node_size = strlen(node) + 1;
    size_t size = TIMER_HEAD_SIZE + node_size + 4 + 1 + key.size;
    uint8_t *data = arena_take(&instance->task->arena, size);
    timer_head(data, kind, time_ms);
    memcpy(data + TIMER_HEAD_SIZE, node, node_size);
    uint8_t *rest = data + TIMER_HEAD_SIZE + node_size;
    put_u32(rest, id);
    rest[4] = key.data != NULL;
    if (key.size > 0) {
        memcpy(rest + 5, key.data, key.size);
    }
    return (struct bytes){data, size};
}

/* The instance a stored timer belongs to, NULL if there is none any more; fills `timer` with views.
 */
static struct instance *timer_parse(struct task *task, struct bytes stored, leat_timer *timer)
{
    const uint8_t *data = stored.data;
    ensure(stored.size > TIMER_HEAD_SIZE);
    const char *node = (const char *)data + TIMER_HEAD_SIZE;
    const uint8_t *end = memchr(node, 0, stored.size - TIMER_HEAD_SIZE);
    ensure(end != NULL && stored.size >= (size_t)(end - data) + 6);
    timer->kind = data[0];
    timer->time_ms = (int64_t)(get_u64(data + 1) ^ (UINT64_C(1) << 63));
    timer->id = get_u32(end + 1);
    size_t used = (size_t)(end - data) + 6;
    timer->key = end[5] == 0 ? (leat_bytes){0} : (leat_bytes){data + used, stored.size - used};
    for (size_t i = 0; i < task->instance_count; i++) {
        struct instance *instance = &task->instances[i];
        if (strcmp(instance->graph_node->name, node) == 0) {
            return instance->plugin->descriptor.timer == NULL ? NULL : instance;
        }
    }
    return NULL;
}

/* ---- Setting ---- */

static enum status timer_check(struct instance *instance, leat_time_kind kind, leat_bytes key)
{
    ensure(instance->phase == INSTANCE_CALLBACK);
    if (instance->plugin->descriptor.timer == NULL) {
        return task_fail(instance->task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                         "the operator sets a timer but has no timer callback");
    }
    if (kind != LEAT_STREAM_TIME && kind != LEAT_WALL_TIME) {
        return task_fail(instance->task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                         "a timer of unknown kind %" PRId32, kind);
    }
    if (key.data != NULL && key.size > TASK_KEY_LIMIT) {
        (void)snprintf(instance->fail_text, sizeof instance->fail_text,
                       "a timer's key of %zu bytes: the limit is %d", key.size, TASK_KEY_LIMIT);
        return STATUS_BAD_RECORD;
    }
    return STATUS_OK;
}

enum status timer_set(struct instance *instance, leat_time_kind kind, uint32_t id, int64_t time_ms,
                      leat_bytes key)
{
    ensure(instance->task->table_count > TIMER_TABLE);
    struct task *task = instance->task;
    enum status status = timer_check(instance, kind, key);
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes stored = timer_key(instance, kind, id, time_ms, key);
    status = task_write(task, TIMER_TABLE, stored, (struct bytes){"", 0});
    if (status == STATUS_OK && task->timer_known[kind] && time_ms < task->timer_first[kind]) {
        task->timer_first[kind] = time_ms;
    }
    return status;
}

enum status timer_cancel(struct instance *instance, leat_time_kind kind, uint32_t id,
                         int64_t time_ms, leat_bytes key)
{
    ensure(instance->task->table_count > TIMER_TABLE);
    struct task *task = instance->task;
    enum status status = timer_check(instance, kind, key);
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes stored = timer_key(instance, kind, id, time_ms, key);
    status = task_write(task, TIMER_TABLE, stored, (struct bytes){0});
    if (time_ms == task->timer_first[kind]) {
        task->timer_known[kind] = false;
    }
    return status;
}

/* ---- Schedules ---- */

enum status timer_schedule(struct instance *instance, leat_time_kind kind, int64_t interval_ms,
                           uint32_t id)
{
    ensure(instance->phase == INSTANCE_INIT);
    struct task *task = instance->task;
    if (instance->plugin->descriptor.timer == NULL || interval_ms <= 0 ||
        (kind != LEAT_STREAM_TIME && kind != LEAT_WALL_TIME)) {
        return task_fail(task, instance->node, STATUS_FATAL, ERROR_OPERATOR,
                         "leat_schedule needs a timer callback, a known kind and an interval > 0");
    }
    int64_t next = kind == LEAT_WALL_TIME           ? task->wall_ms + interval_ms
                   : task->stream_time == INT64_MIN ? INT64_MIN
                                                    : task->stream_time + interval_ms;
    instance->schedules = memory_resize(instance->schedules, (instance->schedule_count + 1) *
                                                                 sizeof *instance->schedules);
    instance->schedules[instance->schedule_count++] =
        (struct schedule){.kind = kind, .id = id, .interval_ms = interval_ms, .next_ms = next};
    if (next != INT64_MIN && next < task->schedule_first[kind]) {
        task->schedule_first[kind] = next;
    }
    return STATUS_OK;
}

/* The earliest schedule of a kind, NULL = none counted. */
static struct schedule *schedule_earliest(struct task *task, leat_time_kind kind,
                                          struct instance **owner)
{
    ensure(kind == LEAT_STREAM_TIME || kind == LEAT_WALL_TIME);
    struct schedule *best = NULL;
    for (size_t i = 0; i < task->instance_count; i++) {
        struct instance *instance = &task->instances[i];
        for (size_t s = 0; s < instance->schedule_count; s++) {
            struct schedule *schedule = &instance->schedules[s];
            if (schedule->kind == kind && schedule->next_ms != INT64_MIN &&
                (best == NULL || schedule->next_ms < best->next_ms)) {
                best = schedule;
                *owner = instance;
            }
        }
    }
    task->schedule_first[kind] = best == NULL ? INT64_MAX : best->next_ms;
    return best;
}

void timer_start_schedules(struct task *task, int64_t stream_time)
{
    ensure(stream_time >= 0 && task->stream_time == stream_time);
    struct instance *owner = NULL;
    for (size_t i = 0; i < task->instance_count; i++) {
        struct instance *instance = &task->instances[i];
        for (size_t s = 0; s < instance->schedule_count; s++) {
            struct schedule *schedule = &instance->schedules[s];
            if (schedule->kind == LEAT_STREAM_TIME && schedule->next_ms == INT64_MIN) {
                schedule->next_ms = stream_time + schedule->interval_ms;
            }
        }
    }
    (void)schedule_earliest(task, LEAT_STREAM_TIME, &owner);
}

void timer_forget(struct task *task)
{
    task->timer_known[LEAT_STREAM_TIME] = false;
    task->timer_known[LEAT_WALL_TIME] = false;
}

/* ---- Firing ---- */

/* The first durable timer of a kind that has an owner; its key is copied into the arena. */
static enum status timer_first(struct task *task, leat_time_kind kind, struct bytes *stored,
                               struct instance **owner, leat_timer *timer, struct error *error)
{
    ensure(kind == LEAT_STREAM_TIME || kind == LEAT_WALL_TIME);
    uint8_t prefix = (uint8_t)kind;
    struct store_cursor *cursor = NULL;
    task->timer_first[kind] = INT64_MAX;
    task->timer_known[kind] = true;
    if (!task->stateful || task->tables[TIMER_TABLE].table == NULL) {
        return STATUS_NOT_FOUND;
    }
    enum status status = store_scan(task->tables[TIMER_TABLE].table, (struct bytes){&prefix, 1},
                                    (struct bytes){0}, STORE_PREFIX, &cursor, error);
    while (status == STATUS_OK) {
        struct bytes key;
        struct bytes value;
        status = store_next(cursor, &key, &value, error);
        if (status != STATUS_OK) {
            break;
        }
        *owner = timer_parse(task, key, timer);
        if (*owner != NULL) {
            *stored = (struct bytes){arena_copy(&task->arena, key.data, key.size), key.size};
            (void)timer_parse(task, *stored, timer); /* its views outlive the scan */
            task->timer_first[kind] = timer->time_ms;
            break;
        }
    }
    store_cursor_close(cursor);
    return status;
}

static int64_t timer_now(const struct task *task, leat_time_kind kind, int64_t wall_ms)
{
    ensure(kind == LEAT_STREAM_TIME || kind == LEAT_WALL_TIME);
    return kind == LEAT_STREAM_TIME ? task->stream_time : wall_ms;
}

static bool kind_due(const struct task *task, leat_time_kind kind, int64_t wall_ms)
{
    int64_t now = timer_now(task, kind, wall_ms);
    bool durable = task->stateful && (!task->timer_known[kind] || task->timer_first[kind] <= now);
    return now != INT64_MIN && (durable || task->schedule_first[kind] <= now);
}

/* Reads what a cache has forgotten. A store that fails here fails again where that is handled. */
static void timer_refresh(struct task *task, leat_time_kind kind)
{
    struct bytes stored;
    struct instance *owner = NULL;
    leat_timer timer;
    struct error error;
    if (!task->stateful || task->timer_known[kind]) {
        return;
    }
    ensure(task->outputs == NULL); /* between units: the arena holds nothing */
    enum status status = timer_first(task, kind, &stored, &owner, &timer, &error);
    task->timer_known[kind] = status == STATUS_OK || status == STATUS_NOT_FOUND;
}

bool task_timer_due(struct task *task, int64_t wall_ms)
{
    timer_refresh(task, LEAT_STREAM_TIME);
    timer_refresh(task, LEAT_WALL_TIME);
    return kind_due(task, LEAT_STREAM_TIME, wall_ms) || kind_due(task, LEAT_WALL_TIME, wall_ms);
}

int64_t task_next_wall(struct task *task)
{
    ensure(task->state == TASK_RUNNING);
    timer_refresh(task, LEAT_WALL_TIME);
    if (task->stateful && !task->timer_known[LEAT_WALL_TIME]) {
        return INT64_MIN; /* unknown: look */
    }
    int64_t durable = task->stateful ? task->timer_first[LEAT_WALL_TIME] : INT64_MAX;
    int64_t tick = task->schedule_first[LEAT_WALL_TIME];
    return durable < tick ? durable : tick;
}

static enum status timer_call(struct instance *instance, const leat_timer *timer)
{
    ensure(instance->plugin->descriptor.timer != NULL);
    task_enter(instance);
    leat_status returned =
        instance->plugin->descriptor.timer(instance->self, &instance->context, timer);
    return task_leave(instance, returned);
}

/* Moves a schedule past `now`: missed ticks are skipped. Returns the newest tick that is due. */
static int64_t schedule_advance(struct schedule *schedule, int64_t now)
{
    ensure(schedule->interval_ms > 0);
    ensure(schedule->next_ms <= now);
    int64_t missed = (now - schedule->next_ms) / schedule->interval_ms;
    int64_t tick = schedule->next_ms + missed * schedule->interval_ms;
    schedule->next_ms = tick + schedule->interval_ms;
    return tick;
}

/* Whether the timer whose unit begins is bad already; it has failed then. */
static bool is_barred(struct task *task, const struct task_barred *barred)
{
    ensure(!task->failed);
    while (barred != NULL && !bytes_equal(barred->timer, task->timer)) {
        barred = barred->next;
    }
    if (barred == NULL) {
        return false;
    }
    task->failure = *barred->why;
    task->failure.status = STATUS_BAD_RECORD;
    task->failed = true;
    return true;
}

static enum status run_tick(struct task *task, struct instance *instance, struct schedule *schedule,
                            const struct task_barred *barred, struct error *error)
{
    ensure(schedule->next_ms != INT64_MIN);
    struct instance *owner = NULL;
    leat_timer timer = {.kind = schedule->kind, .id = schedule->id};
    /* No stored timer has this identity: their first byte is the kind alone. The time is left out,
       since a schedule counts anew after an abort. */
    task->timer = timer_key(instance, timer.kind | TIMER_TICK, timer.id, 0, (leat_bytes){0});
    task->tick = schedule;
    timer.time_ms = schedule_advance(schedule, timer_now(task, schedule->kind, task->wall_ms));
    (void)schedule_earliest(task, schedule->kind, &owner);
    if (!is_barred(task, barred)) {
        (void)timer_call(instance, &timer);
    }
    enum status status = task_finish_unit(task, error);
    if (status == STATUS_BAD_RECORD) {
        schedule->next_ms = timer.time_ms; /* still due, until it is dropped */
        (void)schedule_earliest(task, schedule->kind, &owner);
    }
    return status;
}

static enum status run_kind(struct task *task, leat_time_kind kind, int64_t wall_ms,
                            const struct task_barred *barred, struct error *error)
{
    int64_t now = timer_now(task, kind, wall_ms);
    struct bytes stored = {0};
    struct instance *owner = NULL;
    leat_timer timer = {0};
    task_begin_unit(task, wall_ms);
    if (task->stateful && (!task->timer_known[kind] || task->timer_first[kind] <= now)) {
        enum status status = timer_first(task, kind, &stored, &owner, &timer, error);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return task_store_failed(task, error);
        }
    }
    bool durable = owner != NULL && timer.time_ms <= now;
    struct instance *ticking = NULL;
    struct schedule *schedule = schedule_earliest(task, kind, &ticking);
    if (schedule != NULL && schedule->next_ms <= now &&
        (!durable || schedule->next_ms < timer.time_ms)) {
        return run_tick(task, ticking, schedule, barred, error);
    }
    if (!durable) {
        return STATUS_NOT_FOUND;
    }
    task->timer_known[kind] = false;
    task->timer = stored;
    if (is_barred(task, barred)) {
        return task_finish_unit(task, error);
    }
    if (task_write(task, TIMER_TABLE, stored, (struct bytes){0}) == STATUS_OK) {
        (void)timer_call(owner, &timer);
    }
    return task_finish_unit(task, error);
}

enum status task_run_timer(struct task *task, int64_t wall_ms, const struct task_barred *barred,
                           struct error *error)
{
    ensure(task->state == TASK_RUNNING && task->doom == STATUS_OK);
    for (leat_time_kind kind = LEAT_STREAM_TIME; kind <= LEAT_WALL_TIME; kind++) {
        if (kind_due(task, kind, wall_ms)) {
            enum status status = run_kind(task, kind, wall_ms, barred, error);
            if (status != STATUS_NOT_FOUND) {
                return status;
            }
        }
    }
    return STATUS_NOT_FOUND;
}

enum status task_drop_timer(struct task *task, struct error *error)
{
    ensure(task->failed && task->doom == STATUS_OK);
    ensure(task->timer.data != NULL);
    if (task->tick != NULL) {
        struct instance *owner = NULL;
        task->tick->next_ms += task->tick->interval_ms;
        (void)schedule_earliest(task, task->tick->kind, &owner);
        return STATUS_OK;
    }
    struct buffer copy = {0};
    buffer_append(&copy, task->timer.data, task->timer.size);
    task_begin_unit(task, task->wall_ms);
    (void)task_write(task, TIMER_TABLE, (struct bytes){copy.data, copy.size}, (struct bytes){0});
    timer_forget(task);
    enum status status = task_finish_unit(task, error);
    buffer_finish(&copy);
    return status;
}
