/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Script: the operator of the engine's tests. A callback runs statements, separated by ';', words
 * separated by spaces: those of the parameter `init` in init, of `do` for a record (empty: those in
 * the record's value), of `on_timer` for a timer (empty: "fired"). Built twice: as "script" with
 * stores and timers, and as "pure" without (PURE).
 *
 * Text: "-" is null, "-!" null with a size, "''" empty, "*N" N times x, "*N:T" T and N times x;
 * what else is itself.
 *
 *   put S K V, rm S K          get S K (forwards K=V, K:null if absent, K:empty)
 *   scan S FROM TO FLAGS       forwards "k=v,..."; FLAGS of f (none), r, p
 *   open S FROM TO FLAGS, next (forwards k=v or "end"), close
 *   copy S FROM TO             puts what FROM holds under TO
 *   size S K                   forwards the size of the value
 *   peek S K                   reads; "no K" is bad if absent
 *   fwd T, out N T, pass       forward to output 0, to N, the record as it came
 *   key T, at MS               key and timestamp of later forwards
 *   set K ID MS T, cancel ...  a durable timer, K = s or w; MS +N: from now on that clock
 *   every K MS ID              schedule
 *   fired, where, stream, mem, part, input   forward what a timer is, where a record came from, ...
 *   bad T, retry T, fatal T, status N        return that
 *   first F N S                return status S the first N times (counted in file F)
 *   mark F                     append a byte to file F
 *   closing F                  in init: close appends a byte to file F
 *   kill F                     SIGKILL, once (file F)
 *   sleep MS, slow F N MS      sleep; sleep the first N times
 *   commit, count NAME N
 *   on T                       skip the next statement unless the record's value is T
 *   try                        the next statement's status is ignored
 *   same V                     forward "same" if timestamp, headers are as the test sends them
 */
#include <leat/operator.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 8 };

struct script {
    char *record, *timer, *closing;
    leat_store *stores[2];
    int calls;
};

/* One running callback. */
struct call {
    struct script *self;
    leat_context *ctx;
    const leat_record *record; /* NULL in a timer and in init */
    const leat_timer *fired;
    leat_cursor *cursor;
    leat_bytes key;
    int64_t timestamp_ms;
    char *words[WORDS];
    int count;
};

static leat_bytes text_of(struct call *call, const char *word)
{
    if (strcmp(word, "-") == 0) {
        return (leat_bytes){NULL, 0};
    }
    if (strcmp(word, "-!") == 0) {
        return (leat_bytes){NULL, 5};
    }
    if (strcmp(word, "''") == 0) {
        return (leat_bytes){"", 0};
    }
    if (word[0] != '*') {
        return (leat_bytes){word, strlen(word)};
    }
    char *tail = NULL;
    size_t size = (size_t)strtoull(word + 1, &tail, 10);
    size_t head = *tail == ':' ? strlen(tail + 1) : 0;
    char *data = leat_scratch(call->ctx, size + head);
    memcpy(data, tail + 1, head);
    memset(data + head, 'x', size);
    return (leat_bytes){data, size + head};
}

static const char *arg(const struct call *call, int index)
{
    return index < call->count ? call->words[index] : "''";
}
static leat_bytes text_at(struct call *call, int index)
{
    return text_of(call, arg(call, index));
}
static int64_t number_at(const struct call *call, int index)
{
    return strtoll(arg(call, index), NULL, 10);
}
static leat_store *store_at(const struct call *call, int index)
{
    return call->self->stores[arg(call, index)[0] == 'b'];
}

/* How often a file was marked before this time. */
static long mark(const char *file)
{
    struct stat facts = {0};
    (void)stat(file, &facts);
    FILE *stream = fopen(file, "a");
    if (stream != NULL) {
        (void)fputc('x', stream);
        (void)fclose(stream);
    }
    return (long)facts.st_size;
}

static leat_status forward(struct call *call, uint32_t output, leat_bytes value)
{
    leat_record record = {.key = call->key, .value = value, .timestamp_ms = call->timestamp_ms};
    return leat_forward(call->ctx, output, &record);
}

LEAT_FORMAT(2, 3)
static leat_status say(struct call *call, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t shown = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
    return forward(call, 0, (leat_bytes){text, shown});
}

static void rest(int64_t ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

/* ---- Stores ---- */

static uint32_t flags_at(const struct call *call, int index)
{
    const char *flags = arg(call, index);
    return (strchr(flags, 'r') != NULL ? LEAT_REVERSE : 0u) |
           (strchr(flags, 'p') != NULL ? LEAT_PREFIX : 0u);
}

static leat_status scan(struct call *call)
{
    leat_cursor *cursor = NULL;
    leat_bytes key, value;
    char text[4096];
    size_t used = 0;
    leat_status status = leat_scan(store_at(call, 1), text_at(call, 2), text_at(call, 3),
                                   flags_at(call, 4), &cursor);
    while (status == LEAT_OK && (status = leat_next(cursor, &key, &value)) == LEAT_OK) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%.*s=%.*s", used == 0 ? "" : ",",
                             key.size > 20 ? 20 : (int)key.size, (const char *)key.data,
                             value.size > 20 ? 20 : (int)value.size, (const char *)value.data);
    }
    leat_cursor_close(cursor);
    text[used] = 0;
    return status == LEAT_NOT_FOUND ? say(call, "%s", text) : status;
}

static leat_status get(struct call *call, bool size_only)
{
    leat_bytes value;
    leat_bytes key = text_at(call, 2);
    leat_status status = leat_get(store_at(call, 1), key, &value);
    const char *name = arg(call, 2);
    if (status == LEAT_NOT_FOUND) {
        return say(call, "%s:null", name);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (size_only) {
        return say(call, "%zu", value.size);
    }
    return value.size == 0 ? say(call, "%s:empty", name)
                           : say(call, "%s=%.*s", name, (int)value.size, (const char *)value.data);
}

static leat_status copy(struct call *call)
{
    leat_bytes value;
    leat_status status = leat_get(store_at(call, 1), text_at(call, 2), &value);
    return status == LEAT_OK ? leat_put(store_at(call, 1), text_at(call, 3), value) : status;
}

static leat_status next(struct call *call)
{
    leat_bytes key, value;
    leat_status status = leat_next(call->cursor, &key, &value);
    if (status == LEAT_NOT_FOUND) {
        return say(call, "end");
    }
    return status != LEAT_OK ? status
                             : say(call, "%.*s=%.*s", (int)key.size, (const char *)key.data,
                                   (int)value.size, (const char *)value.data);
}

static leat_status open_cursor(struct call *call)
{
    /* The bounds are gone before the cursor is used. */
    char from[64] = "";
    char to[64] = "";
    leat_bytes low = text_at(call, 2);
    leat_bytes high = text_at(call, 3);
    memcpy(from, low.data == NULL ? "" : low.data, low.size);
    memcpy(to, high.data == NULL ? "" : high.data, high.size);
    low.data = low.data == NULL ? NULL : from;
    high.data = high.data == NULL ? NULL : to;
    leat_status status = leat_scan(store_at(call, 1), low, high, flags_at(call, 4), &call->cursor);
    memset(from, 0xff, sizeof from);
    memset(to, 0, sizeof to);
    return status;
}

/* ---- Timers ---- */

static leat_status timer(struct call *call, bool set)
{
    leat_time_kind kind = arg(call, 1)[0] == 'w' ? LEAT_WALL_TIME : LEAT_STREAM_TIME;
    int64_t time_ms = number_at(call, 3);
    if (arg(call, 3)[0] == '+') {
        time_ms += kind == LEAT_WALL_TIME ? leat_wall_time(call->ctx) : leat_stream_time(call->ctx);
    }
    uint32_t id = (uint32_t)number_at(call, 2);
    return set ? leat_timer_set(call->ctx, kind, id, time_ms, text_at(call, 4))
               : leat_timer_cancel(call->ctx, kind, id, time_ms, text_at(call, 4));
}

static leat_status fired(struct call *call)
{
    const leat_timer *fired = call->fired;
    if (fired->kind == LEAT_WALL_TIME) { /* its time differs from run to run */
        return say(call, "wall %u %.*s", fired->id, (int)fired->key.size,
                   fired->key.data == NULL ? "" : (const char *)fired->key.data);
    }
    return say(call, "stream %u %lld %s%.*s", fired->id, (long long)fired->time_ms,
               fired->key.data == NULL   ? "null"
               : fired->key.size == 0    ? "empty"
               : fired->key.size > 10000 ? "long"
                                         : "",
               fired->key.size > 10000 ? 0 : (int)fired->key.size,
               fired->key.data == NULL ? "" : (const char *)fired->key.data);
}

/* ---- Statements ---- */

static leat_status where(struct call *call)
{
    const leat_record *record = call->record;
    if (record == NULL || record->topic == NULL) {
        return say(call, "made by a timer");
    }
    return say(call, "%s/%d@%lld", record->topic, record->partition, (long long)record->offset);
}

static leat_status same(struct call *call)
{
    const leat_record *record = call->record;
    bool is_same = record->header_count == 2 && strcmp(record->headers[0].name, "one") == 0 &&
                   record->headers[0].value.size == 3 &&
                   memcmp(record->headers[0].value.data, "a\0b", 3) == 0 &&
                   strcmp(record->headers[1].name, "two") == 0 &&
                   record->headers[1].value.data == NULL && record->timestamp_ms == 77;
    return say(call, is_same ? "same" : "other");
}

static leat_status pass(struct call *call, uint32_t output)
{
    return leat_forward(call->ctx, output, call->record);
}

static leat_status return_of(struct call *call, const char *word)
{
    leat_status status = strcmp(word, "bad") == 0      ? LEAT_ERR_RECORD
                         : strcmp(word, "retry") == 0  ? LEAT_ERR_RETRY
                         : strcmp(word, "fatal") == 0  ? LEAT_ERR_FATAL
                         : strcmp(word, "absent") == 0 ? LEAT_NOT_FOUND
                                                       : (leat_status)strtol(word, NULL, 10);
    return call->count > 1 && strcmp(call->words[0], "first") != 0
               ? leat_fail(call->ctx, status, "%s", call->words[1])
               : leat_fail(call->ctx, status, "the script says so");
}

static leat_status side(struct call *call, const char *word)
{
    if (strcmp(word, "first") == 0) {
        return mark(arg(call, 1)) < number_at(call, 2) ? return_of(call, arg(call, 3)) : LEAT_OK;
    }
    if (strcmp(word, "mark") == 0) {
        (void)mark(arg(call, 1));
    } else if (strcmp(word, "closing") == 0) {
        call->self->closing = strdup(arg(call, 1));
    } else if (strcmp(word, "kill") == 0) {
        if (mark(arg(call, 1)) == 0) {
            (void)kill(getpid(), SIGKILL);
        }
    } else if (strcmp(word, "sleep") == 0) {
        rest(number_at(call, 1));
    } else if (strcmp(word, "slow") == 0) {
        if (mark(arg(call, 1)) < number_at(call, 2)) {
            rest(number_at(call, 3));
        }
    } else if (strcmp(word, "commit") == 0) {
        leat_request_commit(call->ctx);
    } else if (strcmp(word, "count") == 0) {
        leat_count(call->ctx, arg(call, 1), number_at(call, 2));
    } else if (strcmp(word, "status") == 0) {
        return (leat_status)number_at(call, 1);
    } else {
        return return_of(call, word);
    }
    return LEAT_OK;
}

static leat_status tell(struct call *call, const char *word)
{
    if (strcmp(word, "stream") == 0) {
        int64_t now = leat_stream_time(call->ctx);
        return now == INT64_MIN ? say(call, "min") : say(call, "%lld", (long long)now);
    }
    if (strcmp(word, "mem") == 0) {
        return say(call, "%d", ++call->self->calls);
    }
    if (strcmp(word, "part") == 0) {
        return say(call, "%s %d", leat_node(call->ctx), leat_partition(call->ctx));
    }
    if (strcmp(word, "input") == 0) {
        return say(call, "%u", call->record->input);
    }
    if (strcmp(word, "where") == 0) {
        return where(call);
    }
    if (strcmp(word, "fired") == 0) {
        return fired(call);
    }
    return strcmp(word, "same") == 0 ? same(call) : side(call, word);
}

static leat_status store_statement(struct call *call, const char *word)
{
    if (strcmp(word, "put") == 0) {
        return leat_put(store_at(call, 1), text_at(call, 2), text_at(call, 3));
    }
    if (strcmp(word, "rm") == 0) {
        return leat_remove(store_at(call, 1), text_at(call, 2));
    }
    if (strcmp(word, "get") == 0 || strcmp(word, "size") == 0) {
        return get(call, word[0] == 's');
    }
    if (strcmp(word, "peek") == 0) {
        leat_bytes value;
        leat_status status = leat_get(store_at(call, 1), text_at(call, 2), &value);
        return status != LEAT_NOT_FOUND
                   ? status
                   : leat_fail(call->ctx, LEAT_ERR_RECORD, "no %s", arg(call, 2));
    }
    if (strcmp(word, "copy") == 0) {
        return copy(call);
    }
    if (strcmp(word, "scan") == 0) {
        return scan(call);
    }
    if (strcmp(word, "open") == 0) {
        return open_cursor(call);
    }
    if (strcmp(word, "next") == 0) {
        return next(call);
    }
    if (strcmp(word, "close") == 0) {
        leat_cursor_close(call->cursor);
        call->cursor = NULL;
        return LEAT_OK;
    }
    return tell(call, word);
}

static leat_status run_one(struct call *call)
{
    const char *word = call->words[0];
    if (strcmp(word, "fwd") == 0) {
        return forward(call, 0, text_at(call, 1));
    }
    if (strcmp(word, "out") == 0) {
        return forward(call, (uint32_t)number_at(call, 1), text_at(call, 2));
    }
    if (strcmp(word, "pass") == 0) {
        return pass(call, (uint32_t)number_at(call, 1));
    }
    if (strcmp(word, "key") == 0) {
        call->key = text_at(call, 1);
        return LEAT_OK;
    }
    if (strcmp(word, "at") == 0) {
        call->timestamp_ms = number_at(call, 1);
        return LEAT_OK;
    }
    if (strcmp(word, "set") == 0 || strcmp(word, "cancel") == 0) {
        return timer(call, word[0] == 's');
    }
    if (strcmp(word, "every") == 0) {
        return leat_schedule(call->ctx, arg(call, 1)[0] == 'w' ? LEAT_WALL_TIME : LEAT_STREAM_TIME,
                             number_at(call, 2), (uint32_t)number_at(call, 3));
    }
    return store_statement(call, word);
}

static bool value_is(const struct call *call, const char *text)
{
    leat_bytes value = call->record->value;
    return value.size == strlen(text) && memcmp(value.data, text, value.size) == 0;
}

static leat_status run(struct call *call, leat_bytes script)
{
    char *text = leat_scratch(call->ctx, script.size + 1);
    if (script.size > 0) {
        memcpy(text, script.data, script.size);
    }
    text[script.size] = 0;
    bool skip = false;
    bool ignore = false;
    char *rest_of = NULL;
    for (char *line = strtok_r(text, ";", &rest_of); line != NULL;
         line = strtok_r(NULL, ";", &rest_of)) {
        char *words = NULL;
        call->count = 0;
        for (char *word = strtok_r(line, " ", &words); word != NULL && call->count < WORDS;
             word = strtok_r(NULL, " ", &words)) {
            call->words[call->count++] = word;
        }
        if (call->count == 0 || skip) {
            skip = false;
            continue;
        }
        if (strcmp(call->words[0], "on") == 0) {
            skip = !value_is(call, arg(call, 1));
            continue;
        }
        if (strcmp(call->words[0], "try") == 0) {
            ignore = true;
            continue;
        }
        leat_status status = run_one(call);
        if (status != LEAT_OK && !ignore) {
            return status;
        }
        ignore = false;
    }
    return LEAT_OK;
}

/* ---- Callbacks ---- */

static leat_status init(leat_context *ctx, void **self)
{
    struct script *script = calloc(1, sizeof *script);
    const char *record = leat_param_string(ctx, "do");
    const char *on_timer = leat_param_string(ctx, "on_timer");
    const char *start = leat_param_string(ctx, "init");
    script->record = record[0] == 0 ? NULL : strdup(record);
    script->timer = strdup(on_timer[0] == 0 ? "fired" : on_timer);
    *self = script;
#ifndef PURE
    if (leat_store_open(ctx, "a", &script->stores[0]) != LEAT_OK ||
        leat_store_open(ctx, "b", &script->stores[1]) != LEAT_OK) {
        return LEAT_ERR_FATAL;
    }
#endif
    struct call call = {.self = script, .ctx = ctx};
    leat_status status = run(&call, (leat_bytes){start, strlen(start)});
    if (status != LEAT_OK) {
        free(script->closing);
        free(script->record);
        free(script->timer);
        free(script);
    }
    return status;
}

static leat_status process(void *self, leat_context *ctx, const leat_record *record)
{
    struct script *script = self;
    struct call call = {.self = script,
                        .ctx = ctx,
                        .record = record,
                        .key = record->key,
                        .timestamp_ms = record->timestamp_ms};
    return run(&call, script->record == NULL
                          ? record->value
                          : (leat_bytes){script->record, strlen(script->record)});
}

static void finish(void *self)
{
    struct script *script = self;
    if (script->closing != NULL) {
        (void)mark(script->closing);
    }
    free(script->closing);
    free(script->record);
    free(script->timer);
    free(script);
}

static const leat_param params[] = {
    {"do", LEAT_PARAM_STRING, "", "statements for a record; empty: its value's"},
    {"on_timer", LEAT_PARAM_STRING, "", "statements for a timer; empty: fired"},
    {"init", LEAT_PARAM_STRING, "", "statements in init"},
    {NULL, 0, NULL, NULL},
};
static const leat_port inputs[] = {{"left", "first"}, {"right", "second"}, {NULL, NULL}};
static const leat_port outputs[] = {
    {"out", "first"}, {"other", "second"}, {"spare", "taken by nobody"}, {NULL, NULL}};

#ifdef PURE
static const leat_operator script_operator = {
    LEAT_OPERATOR_SIZES, .name = "pure",   .version = "1.0",   .summary = "runs statements",
    .params = params,    .inputs = inputs, .outputs = outputs, .init = init,
    .process = process,  .close = finish};
#else
static leat_status on_timer(void *self, leat_context *ctx, const leat_timer *timer_fired)
{
    struct script *script = self;
    struct call call = {.self = script,
                        .ctx = ctx,
                        .fired = timer_fired,
                        .key = {"t", 1},
                        .timestamp_ms = timer_fired->time_ms < 0 ? 1 : timer_fired->time_ms};
    return run(&call, (leat_bytes){script->timer, strlen(script->timer)});
}

static const leat_store_spec stores[] = {{"a", "first"}, {"b", "second"}, {NULL, NULL}};
static const leat_operator script_operator = {
    LEAT_OPERATOR_SIZES, .name = "script",   .version = "1.0",   .summary = "runs statements",
    .params = params,    .inputs = inputs,   .outputs = outputs, .stores = stores,
    .init = init,        .process = process, .timer = on_timer,  .close = finish};
#endif

const leat_operator *leat_operator_entry(void)
{
    return &script_operator;
}
