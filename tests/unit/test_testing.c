/* SPDX-License-Identifier: Apache-2.0 */
/* The driver behind leat/testing.h, on an operator that does what the records tell it. */
#include "leat/testing.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The operator: the key says what to do, the value with what ---- */

struct probe {
    leat_store *state;
    int64_t calls; /* in memory: gone after a restart */
};

static leat_status probe_init(leat_context *ctx, void **self)
{
    struct probe *probe = calloc(1, sizeof *probe);
    *self = probe;
    if (leat_param_int(ctx, "tick") > 0) {
        leat_status status = leat_schedule(ctx, LEAT_WALL_TIME, leat_param_int(ctx, "tick"), 9);
        if (status != LEAT_OK) {
            return status;
        }
    }
    if (leat_param_bool(ctx, "refuse")) {
        free(probe);
        return leat_fail(ctx, LEAT_ERR_FATAL, "refused by %s", leat_node(ctx));
    }
    return leat_store_open(ctx, "state", &probe->state);
}

static bool is(leat_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static leat_status forward(leat_context *ctx, uint32_t output, const char *key, leat_bytes value)
{
    leat_record out = {.key = {key, strlen(key)},
                       .value = value,
                       .timestamp_ms = leat_stream_time(ctx) < 0 ? 0 : leat_stream_time(ctx)};
    return leat_forward(ctx, output, &out);
}

static leat_status probe_process(void *self, leat_context *ctx, const leat_record *record)
{
    struct probe *probe = self;
    leat_bytes where = {"where", 5};
    leat_status status = leat_put(probe->state, where, record->value);
    probe->calls++;
    leat_count(ctx, "calls", 1);
    if (is(record->key, "bad")) {
        (void)leat_forward(ctx, 0, record);
        return leat_fail(ctx, LEAT_ERR_RECORD, "a bad record at %lld", (long long)record->offset);
    }
    if (is(record->key, "retry")) {
        return leat_fail(ctx, LEAT_ERR_RETRY, "not now");
    }
    if (is(record->key, "timer")) {
        return leat_timer_set(ctx, LEAT_STREAM_TIME, 1, record->timestamp_ms + 100, record->value);
    }
    if (is(record->key, "wall")) {
        return leat_timer_set(ctx, LEAT_WALL_TIME, 2, leat_wall_time(ctx) + 100, record->value);
    }
    if (is(record->key, "calls")) {
        char text[32];
        int size = snprintf(text, sizeof text, "%lld", (long long)probe->calls);
        return forward(ctx, 0, "calls", (leat_bytes){text, (size_t)size});
    }
    return status == LEAT_OK ? leat_forward(ctx, record->input, record) : status;
}

static leat_status probe_timer(void *self, leat_context *ctx, const leat_timer *timer)
{
    const struct probe *probe = self;
    char name[32];
    (void)snprintf(name, sizeof name, "fired %u at %lld", timer->id, (long long)timer->time_ms);
    if (is(timer->key, "bad")) {
        (void)leat_put(probe->state, timer->key, timer->key);
        return leat_fail(ctx, LEAT_ERR_RECORD, "a bad timer");
    }
    return forward(ctx, 0, name, timer->key);
}

static const leat_param params[] = {
    {"tick", LEAT_PARAM_DURATION, "0ms", ""}, {"refuse", LEAT_PARAM_BOOL, "false", ""}, {0}};
static const leat_port inputs[] = {{"left", ""}, {"right", ""}, {0}};
static const leat_port outputs[] = {{"out", ""}, {"other", ""}, {0}};
static const leat_store_spec stores[] = {{"state", ""}, {0}};
static const leat_operator probe = {
    LEAT_OPERATOR_SIZES,  .name = "probe",  .params = params,   .inputs = inputs,
    .outputs = outputs,   .stores = stores, .init = probe_init, .process = probe_process,
    .timer = probe_timer, .close = free,
};

/* ---- What the tests share ---- */

static leat_driver *driver;

static void create(void)
{
    driver = leat_driver_create(&probe, NULL);
    cr_assert_str_empty(leat_driver_error(driver));
}
static void destroy(void)
{
    leat_driver_destroy(driver);
}
TestSuite(testing, .init = create, .fini = destroy);

static void send(const char *key, const char *value, int64_t time)
{
    cr_assert_eq(leat_driver_send_text(driver, NULL, key, value, time), LEAT_OK, "%s",
                 leat_driver_error(driver));
    cr_assert_str_empty(leat_driver_error(driver));
}

static void expect(const char *from, const char *key, const char *value)
{
    leat_record out;
    cr_assert(leat_driver_read(driver, from, &out), "expected %s", key);
    cr_assert(is(out.key, key), "expected %s, found %.*s", key, (int)out.key.size,
              (const char *)out.key.data);
    cr_assert(value == NULL ? out.value.data == NULL : is(out.value, value), "of %s", key);
}

static void expect_nothing(const char *from)
{
    leat_record out;
    cr_assert_not(leat_driver_read(driver, from, &out));
}

static void expect_state(const char *value)
{
    leat_bytes found;
    cr_assert_eq(leat_driver_get(driver, "state", (leat_bytes){"where", 5}, &found), LEAT_OK);
    cr_assert(is(found, value), "%.*s", (int)found.size, (const char *)found.data);
}

/* ---- Records ---- */

Test(testing, hands_a_record_to_the_named_input_and_takes_it_from_the_named_output)
{
    const leat_header headers[] = {{"a", {"1", 1}}, {"b", {NULL, 0}}};
    const leat_record record = {.key = {"k", 1},
                                .value = {"v", 1},
                                .headers = headers,
                                .header_count = 2,
                                .timestamp_ms = 5};
    leat_record out;
    cr_assert_eq(leat_driver_send(driver, "right", &record), LEAT_OK);
    expect_nothing("out");
    cr_assert(leat_driver_read(driver, "other", &out));
    cr_assert_eq(out.timestamp_ms, 5);
    cr_assert_eq(out.header_count, 2);
    cr_assert_str_eq(out.headers[0].name, "a");
    cr_assert(is(out.headers[0].value, "1"));
    cr_assert_null(out.headers[1].value.data);
    expect_nothing("other");
    send("k", NULL, 6);
    expect("out", "k", NULL);
}

Test(testing, undoes_a_bad_record_without_a_trace)
{
    send("k", "good", 1);
    expect("out", "k", "good");
    cr_assert_eq(leat_driver_send_text(driver, NULL, "bad", "bad", 2), LEAT_ERR_RECORD);
    cr_assert_str_eq(leat_driver_error(driver), "node \"test\": a bad record at 1");
    expect_nothing("out");
    expect_state("good");
    send("calls", "after", 3);
    expect("out", "calls", "3"); /* memory is not undone: the instance goes on */
    expect_state("after");
}

Test(testing, reopens_the_operator_after_a_retry)
{
    send("k", "good", 1);
    cr_assert_eq(leat_driver_send_text(driver, NULL, "retry", "lost", 2), LEAT_ERR_RETRY);
    cr_assert_not_null(strstr(leat_driver_error(driver), "not now"));
    expect_state("good");
    expect("out", "k", "good");
    send("calls", "after", 3);
    expect("out", "calls", "1"); /* the memory is new */
}

Test(testing, keeps_stores_and_timers_through_a_restart_but_no_memory)
{
    send("k", "kept", 1);
    send("timer", "t", 2);
    cr_assert_eq(leat_driver_restart(driver), LEAT_OK);
    expect_state("t");
    cr_assert_eq(leat_driver_timer_count(driver), 1);
    expect("out", "k", "kept");
    send("calls", "x", 3);
    expect("out", "calls", "1");
    send("k", "later", 200);
    expect("out", "fired 1 at 102", "t");
    expect("out", "k", "later");
    cr_assert_eq(leat_driver_count(driver, "test/state"), 1);
}

/* ---- Time ---- */

Test(testing, fires_stream_timers_before_the_record_that_makes_them_due)
{
    send("timer", "b", 1050);
    send("timer", "a", 1000);
    send("k", "early", 1099);
    expect("out", "k", "early");
    expect_nothing("out");
    send("k", "late", 1160);
    expect("out", "fired 1 at 1100", "a");
    expect("out", "fired 1 at 1150", "b");
    expect("out", "k", "late");
    cr_assert_eq(leat_driver_timer_count(driver), 0);
}

Test(testing, fires_wall_timers_when_the_clock_is_moved)
{
    cr_assert_eq(leat_driver_advance(driver, 1000), LEAT_OK);
    send("wall", "w", 5);
    cr_assert_eq(leat_driver_advance(driver, 99), LEAT_OK);
    expect_nothing("out");
    cr_assert_eq(leat_driver_advance(driver, 1), LEAT_OK);
    expect("out", "fired 2 at 1100", "w");
    cr_assert_eq(leat_driver_wall_time(driver), 1100);
    cr_assert_eq(leat_driver_advance(driver, 1000), LEAT_OK);
    expect_nothing("out");
}

Test(testing, drops_a_timer_that_fails)
{
    send("wall", "bad", 5);
    cr_assert_eq(leat_driver_advance(driver, 100), LEAT_ERR_RECORD);
    cr_assert_not_null(strstr(leat_driver_error(driver), "a bad timer"));
    cr_assert_eq(leat_driver_timer_count(driver), 0);
    cr_assert_eq(leat_driver_count(driver, "state"), 1);
    cr_assert_eq(leat_driver_advance(driver, 100), LEAT_OK);
    cr_assert_str_empty(leat_driver_error(driver));
}

Test(testing, ticks_periodic_timers_and_skips_missed_ticks)
{
    const char *const every[] = {"tick", "10ms", NULL};
    leat_driver_destroy(driver);
    driver = leat_driver_create(&probe, every);
    cr_assert_eq(leat_driver_advance(driver, 10), LEAT_OK);
    expect("out", "fired 9 at 10", NULL);
    cr_assert_eq(leat_driver_advance(driver, 35), LEAT_OK);
    expect("out", "fired 9 at 40", NULL);
    expect_nothing("out");
}

/* ---- Refusals ---- */

Test(testing, says_what_it_refuses)
{
    const char *const refuse[] = {"refuse", "true", NULL};
    const char *const wrong[] = {"tick", "soon ${X}", NULL};
    leat_driver_destroy(driver);
    driver = leat_driver_create(&probe, refuse);
    cr_assert_not_null(strstr(leat_driver_error(driver), "refused by test"));
    cr_assert_eq(leat_driver_send_text(driver, NULL, "k", "v", 1), LEAT_ERR_FATAL);
    expect_nothing("out");
    leat_driver_destroy(driver);
    driver = leat_driver_create(&probe, wrong);
    cr_assert_not_null(strstr(leat_driver_error(driver), "expected a duration like \"10s\", found "
                                                         "\"soon ${X}\""),
                       "%s", leat_driver_error(driver));
    cr_assert_eq(leat_driver_advance(driver, 1), LEAT_ERR_FATAL);
    cr_assert_eq(leat_driver_restart(driver), LEAT_ERR_FATAL);
}

Test(testing, ends_a_test_that_names_an_unknown_input, .signal = SIGABRT)
{
    (void)leat_driver_send_text(driver, "middle", "k", "v", 1);
}

Test(testing, ends_a_test_that_names_an_unknown_output, .signal = SIGABRT)
{
    expect_nothing("outt");
}

Test(testing, ends_a_test_that_names_an_unknown_store, .signal = SIGABRT)
{
    (void)leat_driver_count(driver, "stat");
}

Test(testing, counts_what_the_operator_counts)
{
    send("k", "v", 1);
    send("k", "v", 2);
    cr_assert_eq(leat_driver_counted(driver, "test", "calls"), 2);
    cr_assert_eq(leat_driver_counted(driver, "test", "none"), 0);
}

/* ---- A whole topology ---- */

Test(testing, runs_a_topology_through_its_repartitions)
{
    leat_bytes count;
    leat_driver_destroy(driver);
    setenv("LEAT_OPERATOR_PATH", LEAT_BINARY_DIR "/operators", 1);
    driver = leat_driver_load(LEAT_SOURCE_DIR "/examples/word_count/topology.json");
    cr_assert_str_empty(leat_driver_error(driver));
    cr_assert_eq(leat_driver_send_text(driver, "lines", NULL, "the fox the end", 7), LEAT_OK);
    expect("counts", "the", "1");
    expect("counts", "fox", "1");
    expect("counts", "the", "2");
    expect("counts", "end", "1");
    expect_nothing("counts");
    expect("word_count-by_word-repartition", "the", "the");
    cr_assert_eq(leat_driver_get(driver, "count/state", (leat_bytes){"the", 3}, &count), LEAT_OK);
    cr_assert(is(count, "2"));
}

Test(testing, refuses_a_topology_that_is_not_there)
{
    leat_driver_destroy(driver);
    driver = leat_driver_load("/nonexistent/topology.json");
    cr_assert_not_null(strstr(leat_driver_error(driver), "/nonexistent/topology.json"));
    cr_assert_eq(leat_driver_send_text(driver, NULL, "k", "v", 1), LEAT_ERR_FATAL);
}
