/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: recomputes everything from the input, one record after the other, and compares it
 * with what is committed. It shares no code with the engine but the codec of the changelog and the
 * partitioner.
 *
 *   outputs   exactly the expected ones, in order of each key (or source partition)
 *   state     judge_state.c: the changelog, and every store against it
 */
#include "judge.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A copy by key: each route from partition to partition keeps order and content ---- */

static bool add_route(void *context, const struct broker_record *record)
{
    struct judge_lists *lists = context;
    struct judge *judge = lists->judge;
    char name[JUDGE_TEXT_SIZE];
    if (judge_marked(record->value, CHAIN_REFUSED)) {
        return true;
    }
    snprintf(name, sizeof name, "%d>%d", (int)judge->partition,
             (int)hash_partition(record->key.data, record->key.size,
                                 sim_partition_count(judge->cluster, judge->to)));
    judge_list_add(judge_list_of(lists, name), record->value);
    return true;
}

static bool check_route(void *context, const struct broker_record *record)
{
    struct judge_lists *lists = context;
    struct judge *judge = lists->judge;
    char value[JUDGE_TEXT_SIZE];
    char name[JUDGE_TEXT_SIZE];
    judge_copy(value, record->value);
    char *end = NULL;
    long long source = strtoll(value, &end, 10); /* a value begins with where it comes from */
    if (end == value) {
        judge_fail(judge, "%s/%d at offset %" PRId64 ": %s names no partition", judge->to,
                   (int)judge->partition, record->offset, value);
        return false;
    }
    snprintf(name, sizeof name, "%lld>%d", source, (int)judge->partition);
    struct judge_list *list = judge_list_of(lists, name);
    const char *expected = list->read < list->count ? list->items[list->read] : "nothing more";
    if (strcmp(expected, value) != 0) {
        judge_fail(judge, "%s/%d at offset %" PRId64 ": %s instead of %s (route %s)", judge->to,
                   (int)judge->partition, record->offset, value, expected, name);
        return false;
    }
    list->read++;
    return true;
}

static void check_copy(struct judge *judge, const char *from, const char *to)
{
    struct judge_lists *lists = judge_lists_make(judge);
    judge->from = from;
    judge->to = to;
    judge_read(judge, from, add_route, lists);
    judge_read(judge, to, check_route, lists);
    judge_all_read(judge, lists);
    judge_lists_free(lists);
}

/* ---- Chains: every output of a key, and the state it leaves ---- */

/** The timers of one input partition, as the oracle runs them. */
struct timers {
    struct judge_lists *lists;
    int64_t stream_ms;
    struct {
        int64_t time_ms;
        char key[JUDGE_TEXT_SIZE];
    } items[1024];
    size_t count;
};

/* Fires what is due, in order of time; between keys the order does not matter here. */
static void fire_timers(struct timers *timers)
{
    for (;;) {
        size_t first = timers->count;
        for (size_t i = 0; i < timers->count; i++) {
            if (timers->items[i].time_ms <= timers->stream_ms &&
                (first == timers->count ||
                 timers->items[i].time_ms < timers->items[first].time_ms)) {
                first = i;
            }
        }
        if (first == timers->count) {
            return;
        }
        judge_list_add(judge_list_of(timers->lists, timers->items[first].key),
                       bytes_of(CHAIN_TIMER));
        timers->items[first] = timers->items[--timers->count];
    }
}

static void set_timer(struct timers *timers, const char *key, int64_t time_ms)
{
    for (size_t i = 0; i < timers->count; i++) {
        if (timers->items[i].time_ms == time_ms && strcmp(timers->items[i].key, key) == 0) {
            return;
        }
    }
    ensure(timers->count < sizeof timers->items / sizeof *timers->items);
    timers->items[timers->count].time_ms = time_ms;
    snprintf(timers->items[timers->count++].key, JUDGE_TEXT_SIZE, "%s", key);
}

static bool add_timed(void *context, const struct broker_record *record)
{
    struct timers *timers = context;
    char name[JUDGE_TEXT_SIZE];
    judge_copy(name, record->key);
    if (record->timestamp_ms > timers->stream_ms) {
        timers->stream_ms = record->timestamp_ms;
    }
    fire_timers(timers);
    if (!judge_marked(record->value, CHAIN_BAD)) {
        (void)judge_chain_expect(timers->lists, record);
        set_timer(timers, name, chain_timer_ms(record->timestamp_ms));
        fire_timers(timers);
    }
    return true;
}

static void add_all_timed(struct judge_lists *lists, const char *topic)
{
    struct judge *judge = lists->judge;
    for (int32_t i = 0; i < sim_partition_count(judge->cluster, topic); i++) {
        struct timers *timers = memory_allocate(sizeof *timers);
        timers->lists = lists;
        timers->stream_ms = INT64_MIN;
        sim_read_history(judge->cluster, topic, i, add_timed, timers);
        free(timers);
    }
}

static bool check_output(void *context, const struct broker_record *record)
{
    struct judge_lists *lists = context;
    bool wall = lists->judge->scenario->topology == TOPOLOGY_WALL;
    return (wall && judge_wall_check(lists, record)) || judge_chain_check(lists, record);
}

static struct judge_lists *check_chains(struct judge *judge, const char *from, const char *to)
{
    struct judge_lists *lists = judge_lists_make(judge);
    judge->from = from;
    judge->to = to;
    if (judge->scenario->topology == TOPOLOGY_TIMERS) {
        add_all_timed(lists, from);
    } else {
        judge_read(judge, from, judge_chain_expect, lists);
    }
    if (judge->scenario->topology == TOPOLOGY_JOIN) {
        judge_read(judge, "in2", judge_chain_expect, lists);
    }
    if (judge->scenario->topology == TOPOLOGY_WALL) {
        judge_wall_expect(lists, from);
    }
    judge_read(judge, to, check_output, lists);
    judge_all_read(judge, lists);
    return lists;
}

void oracle_judge(struct scenario *scenario)
{
    struct judge *judge =
        &(struct judge){.scenario = scenario, .cluster = scenario->world->cluster};
    const char *input = "in";
    const char *changelog = "app-in-changelog";
    if (scenario->topology == TOPOLOGY_COPY) {
        check_copy(judge, "in", "out");
        return;
    }
    if (scenario->topology == TOPOLOGY_REGROUP) {
        input = "app-by_key-repartition";
        changelog = "app-by_key-changelog";
        check_copy(judge, "in", input);
    }
    struct judge_lists *lists = check_chains(judge, input, "out");
    judge_changelog(judge, changelog, lists);
    judge_lists_free(lists);
    judge_stores(judge, changelog);
}
