/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: recomputes everything from the input, one record after the other, and compares it
 * with what is committed. It shares no code with the engine but the codec of the changelog and the
 * partitioner.
 *
 *   outputs   exactly the expected ones, in order of each key (or source partition)
 *   changelog folds to the expected state; the newest stamp says the committed offsets
 *   stores    each is the fold of the committed changelog below its position (I2), never ahead
 */
#include "scenario.h"

#include "base/hash.h"
#include "engine/changelog.h"
#include "sim_store.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 48, KEY_LIMIT = 128, PARTITION_LIMIT = 16 };

struct judge {
    struct scenario *scenario;
    struct sim_cluster *cluster;
    const char *from, *to;
    int32_t partition; /* that is being read */
};

static void fail(struct judge *judge, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void fail(struct judge *judge, const char *format, ...)
{
    char *text = judge->scenario->failure;
    if (text[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, SCENARIO_TEXT_SIZE, format, arguments);
        va_end(arguments);
    }
}

static void copy_text(char text[TEXT_SIZE], struct bytes bytes)
{
    snprintf(text, TEXT_SIZE, "%.*s", (int)bytes.size,
             bytes.data == NULL ? "" : (const char *)bytes.data);
}

/* ---- A list of texts a key or route ---- */

struct list {
    char name[TEXT_SIZE];
    char (*items)[TEXT_SIZE];
    size_t count, read;
    char chain[CHAIN_TEXT_SIZE];
};

struct lists {
    struct judge *judge;
    struct list items[PARTITION_LIMIT * PARTITION_LIMIT + KEY_LIMIT];
    size_t count;
};

static struct list *list_of(struct lists *lists, const char *name)
{
    for (size_t i = 0; i < lists->count; i++) {
        if (strcmp(lists->items[i].name, name) == 0) {
            return &lists->items[i];
        }
    }
    ensure(lists->count < sizeof lists->items / sizeof *lists->items);
    struct list *list = &lists->items[lists->count++];
    snprintf(list->name, sizeof list->name, "%s", name);
    return list;
}

static void list_add(struct list *list, struct bytes text)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    copy_text(list->items[list->count++], text);
}

static void lists_free(struct lists *lists)
{
    for (size_t i = 0; i < lists->count; i++) {
        free(lists->items[i].items);
    }
    free(lists);
}

static struct lists *lists_make(struct judge *judge)
{
    struct lists *lists = memory_allocate(sizeof *lists);
    lists->judge = judge;
    return lists;
}

static void read_all(struct judge *judge, const char *topic,
                     bool (*visit)(void *, const struct broker_record *), void *context)
{
    for (int32_t i = 0; i < sim_partition_count(judge->cluster, topic); i++) {
        judge->partition = i;
        sim_read_history(judge->cluster, topic, i, visit, context);
    }
}

static void expect_all_read(struct judge *judge, const struct lists *lists)
{
    for (size_t i = 0; i < lists->count; i++) {
        const struct list *list = &lists->items[i];
        if (list->read < list->count) {
            fail(judge, "%s: %zu of %zu records of %s are missing at the end; the first is %s",
                 judge->to, list->count - list->read, list->count, list->name,
                 list->items[list->read]);
        }
    }
}

static bool is_marked(struct bytes value, char mark)
{
    return value.size > 0 && ((const char *)value.data)[value.size - 1] == mark;
}

/* ---- A copy by key: each route from partition to partition keeps order and content ---- */

static bool add_route(void *context, const struct broker_record *record)
{
    struct lists *lists = context;
    struct judge *judge = lists->judge;
    char name[TEXT_SIZE];
    if (is_marked(record->value, CHAIN_REFUSED)) {
        return true;
    }
    snprintf(name, sizeof name, "%d>%d", (int)judge->partition,
             (int)hash_partition(record->key.data, record->key.size,
                                 sim_partition_count(judge->cluster, judge->to)));
    list_add(list_of(lists, name), record->value);
    return true;
}

static bool check_route(void *context, const struct broker_record *record)
{
    struct lists *lists = context;
    struct judge *judge = lists->judge;
    char value[TEXT_SIZE];
    char name[TEXT_SIZE];
    copy_text(value, record->value);
    char *end = NULL;
    long long source = strtoll(value, &end, 10); /* a value begins with where it comes from */
    if (end == value) {
        fail(judge, "%s/%d at offset %" PRId64 ": %s names no partition", judge->to,
             (int)judge->partition, record->offset, value);
        return false;
    }
    snprintf(name, sizeof name, "%lld>%d", source, (int)judge->partition);
    struct list *list = list_of(lists, name);
    const char *expected = list->read < list->count ? list->items[list->read] : "nothing more";
    if (strcmp(expected, value) != 0) {
        fail(judge, "%s/%d at offset %" PRId64 ": %s instead of %s (route %s)", judge->to,
             (int)judge->partition, record->offset, value, expected, name);
        return false;
    }
    list->read++;
    return true;
}

static void check_copy(struct judge *judge, const char *from, const char *to)
{
    struct lists *lists = lists_make(judge);
    judge->from = from;
    judge->to = to;
    read_all(judge, from, add_route, lists);
    read_all(judge, to, check_route, lists);
    expect_all_read(judge, lists);
    lists_free(lists);
}

/* ---- Chains: every output of a key, and the state it leaves ---- */

static bool add_key(void *context, const struct broker_record *record)
{
    struct lists *lists = context;
    char name[TEXT_SIZE];
    if (!is_marked(record->value, CHAIN_BAD) && !is_marked(record->value, CHAIN_REFUSED)) {
        copy_text(name, record->key);
        list_add(list_of(lists, name), record->value);
    }
    return true;
}

/** The timers of one input partition, as the oracle runs them. */
struct timers {
    struct lists *lists;
    int64_t stream_ms;
    struct {
        int64_t time_ms;
        char key[TEXT_SIZE];
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
        list_add(list_of(timers->lists, timers->items[first].key), bytes_of(CHAIN_TIMER));
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
    snprintf(timers->items[timers->count++].key, TEXT_SIZE, "%s", key);
}

static bool add_timed(void *context, const struct broker_record *record)
{
    struct timers *timers = context;
    char name[TEXT_SIZE];
    copy_text(name, record->key);
    if (record->timestamp_ms > timers->stream_ms) {
        timers->stream_ms = record->timestamp_ms;
    }
    fire_timers(timers);
    if (!is_marked(record->value, CHAIN_BAD)) {
        (void)add_key(timers->lists, record);
        set_timer(timers, name, chain_timer_ms(record->timestamp_ms));
        fire_timers(timers);
    }
    return true;
}

static void add_all_timed(struct lists *lists, const char *topic)
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

static bool check_chain(void *context, const struct broker_record *record)
{
    struct lists *lists = context;
    struct judge *judge = lists->judge;
    char name[TEXT_SIZE];
    char value[TEXT_SIZE];
    copy_text(name, record->key);
    copy_text(value, record->value);
    struct list *list = list_of(lists, name);
    char expected[CHAIN_TEXT_SIZE] = "nothing more";
    if (list->read < list->count) {
        chain_next(list->chain, list->items[list->read], strlen(list->items[list->read]));
        memcpy(expected, list->chain, sizeof expected);
        list->read++;
    }
    if (strcmp(expected, value) != 0) {
        fail(judge, "%s/%d at offset %" PRId64 ": key %s is %s instead of %s", judge->to,
             (int)judge->partition, record->offset, name, value, expected);
        return false;
    }
    return true;
}

static struct lists *check_chains(struct judge *judge, const char *from, const char *to)
{
    struct lists *lists = lists_make(judge);
    judge->from = from;
    judge->to = to;
    if (judge->scenario->topology == TOPOLOGY_TIMERS) {
        add_all_timed(lists, from);
    } else {
        read_all(judge, from, add_key, lists);
    }
    if (judge->scenario->topology == TOPOLOGY_JOIN) {
        read_all(judge, "in2", add_key, lists);
    }
    read_all(judge, to, check_chain, lists);
    expect_all_read(judge, lists);
    return lists;
}

/* ---- The changelog ---- */

struct pair {
    char key[TEXT_SIZE], value[TEXT_SIZE];
};

struct fold {
    struct judge *judge;
    int64_t before;
    struct pair pairs[KEY_LIMIT];
    size_t count;
    struct arena arena;
    struct stamp stamp; /* the newest; sequence 0 = none */
};

static void fold_put(struct fold *fold, struct bytes key, struct bytes value)
{
    char name[TEXT_SIZE];
    copy_text(name, key);
    size_t at = 0;
    while (at < fold->count && strcmp(fold->pairs[at].key, name) != 0) {
        at++;
    }
    if (value.data == NULL) {
        if (at < fold->count) {
            fold->pairs[at] = fold->pairs[--fold->count];
        }
        return;
    }
    ensure(at < KEY_LIMIT);
    fold->count += at == fold->count ? 1 : 0;
    memcpy(fold->pairs[at].key, name, sizeof name);
    copy_text(fold->pairs[at].value, value);
}

static bool fold_record(void *context, const struct broker_record *record)
{
    struct fold *fold = context;
    if (record->offset >= fold->before) {
        return false;
    }
    const char *table = NULL;
    struct bytes key;
    struct error error;
    if (stamp_is_key(record->key)) {
        struct stamp stamp;
        if (stamp_decode(record->value, &fold->arena, &stamp, &error) != STATUS_OK) {
            fail(fold->judge, "offset %" PRId64 ": %s", record->offset, error.text);
            return false;
        }
        if (stamp.sequence <= fold->stamp.sequence) {
            fail(fold->judge,
                 "%s/%d at offset %" PRId64 ": stamp %" PRIu64 " after stamp %" PRIu64 " (I6)",
                 fold->judge->from, (int)fold->judge->partition, record->offset, stamp.sequence,
                 fold->stamp.sequence);
        }
        fold->stamp = stamp;
    } else if (changelog_split(record->key, &table, &key) && strcmp(table, "chain/state") == 0) {
        fold_put(fold, key, record->value);
    }
    return true;
}

static struct fold *fold_make(struct judge *judge, const char *changelog, int32_t partition,
                              int64_t before)
{
    struct fold *fold = memory_allocate(sizeof *fold);
    fold->judge = judge;
    fold->before = before;
    arena_init(&fold->arena, 0);
    judge->from = changelog;
    judge->partition = partition;
    sim_read_history(judge->cluster, changelog, partition, fold_record, fold);
    return fold;
}

static void fold_free(struct fold *fold)
{
    arena_finish(&fold->arena);
    free(fold);
}

static const char *fold_get(const struct fold *fold, const char *key)
{
    for (size_t i = 0; i < fold->count; i++) {
        if (strcmp(fold->pairs[i].key, key) == 0) {
            return fold->pairs[i].value;
        }
    }
    return NULL;
}

static void check_stamp(struct judge *judge, const struct fold *fold)
{
    for (uint32_t i = 0; i < fold->stamp.offset_count; i++) {
        const struct stamp_offset *offset = &fold->stamp.offsets[i];
        int64_t committed =
            sim_group_offset(judge->cluster, "app", offset->topic, offset->partition);
        if (committed != offset->offset) {
            fail(judge,
                 "%s/%d: the last stamp says %s/%d at %" PRId64 ", committed is %" PRId64 " (I3)",
                 judge->from, (int)judge->partition, offset->topic, (int)offset->partition,
                 offset->offset, committed);
        }
    }
}

static void check_changelog(struct judge *judge, const char *changelog, struct lists *lists)
{
    size_t keys = 0;
    size_t expected = 0;
    for (size_t k = 0; k < lists->count; k++) {
        expected += lists->items[k].count > 0 ? 1 : 0;
    }
    for (int32_t i = 0; i < sim_partition_count(judge->cluster, changelog); i++) {
        struct fold *fold = fold_make(judge, changelog, i, INT64_MAX);
        check_stamp(judge, fold);
        keys += fold->count;
        for (size_t k = 0; k < lists->count; k++) {
            const char *value = fold_get(fold, lists->items[k].name);
            if (value != NULL && strcmp(value, lists->items[k].chain) != 0) {
                fail(judge, "%s/%d: key %s is %s, not %s", changelog, (int)i, lists->items[k].name,
                     value, lists->items[k].chain);
            }
        }
        fold_free(fold);
    }
    if (keys != expected) {
        fail(judge, "%s holds %zu keys of %zu", changelog, keys, expected);
    }
}

/* ---- Stores ---- */

struct store_check {
    struct judge *judge;
    const char *directory;
    const struct fold *fold;
    struct lists *newer; /* keys with a record at or behind the position */
    struct position position;
    size_t keys;
};

static void find_position(void *context, struct bytes key, struct bytes value)
{
    struct store_check *check = context;
    struct error error;
    if (bytes_equal(key, bytes_of("position")) &&
        position_decode(value, &check->position, &error) != STATUS_OK) {
        fail(check->judge, "%s: %s", check->directory, error.text);
    }
}

static bool note_newer(void *context, const struct broker_record *record)
{
    struct store_check *check = context;
    const char *table = NULL;
    struct bytes key;
    char name[TEXT_SIZE];
    if (record->offset >= check->position.next && !stamp_is_key(record->key) &&
        changelog_split(record->key, &table, &key) && strcmp(table, "chain/state") == 0) {
        copy_text(name, key);
        (void)list_of(check->newer, name);
    }
    return true;
}

/* Compaction may have taken the value below the position when a newer one lies behind it, which the
   store gets before its task runs again. */
static bool may_be_old(const struct store_check *check, const char *name)
{
    if (check->judge->scenario->world->options.faults.compact_ms == 0) {
        return false;
    }
    for (size_t i = 0; i < check->newer->count; i++) {
        if (strcmp(check->newer->items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void check_entry(void *context, struct bytes key, struct bytes value)
{
    struct store_check *check = context;
    char name[TEXT_SIZE];
    char text[TEXT_SIZE];
    copy_text(name, key);
    copy_text(text, value);
    const char *expected = fold_get(check->fold, name);
    check->keys++;
    if ((expected == NULL || strcmp(expected, text) != 0) && !may_be_old(check, name)) {
        fail(check->judge,
             "%s: key %s is %s, the changelog below position %" PRId64 " says %s (I2)",
             check->directory, name, text, check->position.next,
             expected == NULL ? "nothing" : expected);
    }
}

static void check_store(struct judge *judge, const char *changelog, const char *directory)
{
    const char *dash = strrchr(directory, '-');
    ensure(dash != NULL);
    char *end = NULL;
    long long partition = strtoll(dash + 1, &end, 10);
    ensure(end != dash + 1 && *end == '\0' && partition >= 0 && partition < PARTITION_LIMIT);
    struct store_check check = {.judge = judge, .directory = directory};
    (void)sim_store_read(directory, "", find_position, &check);
    struct fold *fold = fold_make(judge, changelog, (int32_t)partition, check.position.next);
    check.fold = fold;
    check.newer = lists_make(judge);
    sim_read_history(judge->cluster, changelog, judge->partition, note_newer, &check);
    (void)sim_store_read(directory, "chain/state", check_entry, &check);
    size_t absent = 0; /* that may be */
    for (size_t i = 0; i < fold->count; i++) {
        absent += may_be_old(&check, fold->pairs[i].key) ? 1 : 0;
    }
    lists_free(check.newer);
    if (check.keys > fold->count || check.keys + absent < fold->count) {
        fail(judge, "%s holds %zu keys, the changelog below position %" PRId64 " has %zu (I2)",
             directory, check.keys, check.position.next, fold->count);
    }
    fold_free(fold);
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
    struct lists *lists = check_chains(judge, input, "out");
    check_changelog(judge, changelog, lists);
    lists_free(lists);
    const char *directory;
    for (size_t i = 0; (directory = sim_store_directory(i)) != NULL; i++) {
        check_store(judge, changelog, directory);
    }
}
