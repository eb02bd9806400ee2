/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the oracle says of state: the changelog folds to the expected state, the newest stamp says
 * the committed offsets; each store is the fold of the committed changelog below its position (I2),
 * never ahead.
 */
#include "judge.h"

#include "engine/changelog.h"
#include "sim_lmdb.h"
#include "sim_rows.h"
#include "sim_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The changelog ---- */

struct fold {
    struct judge *judge;
    int64_t before;
    struct sim_rows rows;
    struct arena arena;
    struct stamp stamp; /* the newest; sequence 0 = none */
};

static void rows_put(struct sim_rows *rows, struct bytes key, struct bytes value)
{
    size_t at = sim_table_at(rows, key);
    if (sim_table_has(rows, at, key)) {
        sim_bytes_free(rows->entries[at].key);
        sim_table_take(rows, at);
    }
    if (value.data != NULL) {
        sim_table_insert(rows, at, sim_entry_make(key, value));
    }
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
            judge_fail(fold->judge, "offset %" PRId64 ": %s", record->offset, error.text);
            return false;
        }
        if (stamp.sequence <= fold->stamp.sequence) {
            judge_fail(fold->judge,
                       "%s/%d at offset %" PRId64 ": stamp %" PRIu64 " after stamp %" PRIu64
                       " (I6)",
                       fold->judge->from, (int)fold->judge->partition, record->offset,
                       stamp.sequence, fold->stamp.sequence);
        }
        fold->stamp = stamp;
    } else if (changelog_split(record->key, &table, &key) && strcmp(table, "chain/state") == 0) {
        rows_put(&fold->rows, key, record->value);
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
    sim_rows_free(&fold->rows);
    arena_finish(&fold->arena);
    free(fold);
}

static void check_stamp(struct judge *judge, const struct fold *fold)
{
    for (uint32_t i = 0; i < fold->stamp.offset_count; i++) {
        const struct stamp_offset *offset = &fold->stamp.offsets[i];
        int64_t committed =
            sim_group_offset(judge->cluster, "app", offset->topic, offset->partition);
        if (committed != offset->offset) {
            judge_fail(judge,
                       "%s/%d: the last stamp says %s/%d at %" PRId64 ", committed is %" PRId64
                       " (I3)",
                       judge->from, (int)judge->partition, offset->topic, (int)offset->partition,
                       offset->offset, committed);
        }
    }
}

void judge_changelog(struct judge *judge, const char *changelog, struct judge_lists *lists)
{
    size_t keys = 0;
    size_t expected = 0;
    for (size_t k = 0; k < lists->count; k++) {
        expected += lists->items[k].state[0] != '\0' ? 1 : 0;
    }
    for (int32_t i = 0; i < sim_partition_count(judge->cluster, changelog); i++) {
        struct fold *fold = fold_make(judge, changelog, i, INT64_MAX);
        check_stamp(judge, fold);
        keys += fold->rows.count;
        for (size_t k = 0; k < lists->count; k++) {
            const struct judge_list *list = &lists->items[k];
            struct bytes value;
            if (sim_table_get(&fold->rows, bytes_of(list->name), &value) == STATUS_OK &&
                !bytes_equal(value, bytes_of(list->state))) {
                judge_fail(judge, "%s/%d: key %s is %.*s, not %s", changelog, (int)i, list->name,
                           (int)value.size, (const char *)value.data, list->state);
            }
        }
        fold_free(fold);
    }
    if (keys != expected) {
        judge_fail(judge, "%s holds %zu keys of %zu", changelog, keys, expected);
    }
}

/* ---- Stores ---- */

struct store_check {
    struct judge *judge;
    const char *directory;
    const struct fold *fold;
    struct sim_rows newer; /* keys with a record at or behind the position */
    struct position position;
    size_t keys;
};

static void find_position(void *context, struct bytes key, struct bytes value)
{
    struct store_check *check = context;
    struct error error;
    if (bytes_equal(key, bytes_of("position")) &&
        position_decode(value, &check->position, &error) != STATUS_OK) {
        judge_fail(check->judge, "%s: %s", check->directory, error.text);
    }
}

static bool note_newer(void *context, const struct broker_record *record)
{
    struct store_check *check = context;
    const char *table = NULL;
    struct bytes key;
    if (record->offset >= check->position.next && !stamp_is_key(record->key) &&
        changelog_split(record->key, &table, &key) && strcmp(table, "chain/state") == 0) {
        rows_put(&check->newer, key, (struct bytes){"", 0});
    }
    return true;
}

/* Compaction may have taken the value below the position when a newer one lies behind it, which the
   store gets before its task runs again. */
static bool may_be_old(const struct store_check *check, struct bytes key)
{
    return check->judge->scenario->compacts &&
           sim_table_has(&check->newer, sim_table_at(&check->newer, key), key);
}

static void check_entry(void *context, struct bytes key, struct bytes value)
{
    struct store_check *check = context;
    struct bytes expected = {"nothing", 7};
    bool found = sim_table_get(&check->fold->rows, key, &expected) == STATUS_OK;
    check->keys++;
    if ((!found || !bytes_equal(expected, value)) && !may_be_old(check, key)) {
        judge_fail(check->judge,
                   "%s: key %.*s is %.*s, the changelog below position %" PRId64 " says %.*s (I2)",
                   check->directory, (int)key.size, (const char *)key.data, (int)value.size,
                   (const char *)value.data, check->position.next, (int)expected.size,
                   (const char *)expected.data);
    }
}

static bool read_store(const struct judge *judge, const char *directory, const char *table,
                       void (*visit)(void *context, struct bytes key, struct bytes value),
                       void *context)
{
    return judge->scenario->lmdb ? sim_lmdb_read(directory, table, visit, context)
                                 : sim_store_read(directory, table, visit, context);
}

static void check_store(struct judge *judge, const char *changelog, const char *directory)
{
    const char *dash = strrchr(directory, '-');
    ensure(dash != NULL);
    char *end = NULL;
    long long partition = strtoll(dash + 1, &end, 10);
    ensure(end != dash + 1 && *end == '\0' && partition >= 0 && partition < JUDGE_PARTITION_LIMIT);
    struct store_check check = {.judge = judge, .directory = directory};
    (void)read_store(judge, directory, "", find_position, &check);
    struct fold *fold = fold_make(judge, changelog, (int32_t)partition, check.position.next);
    check.fold = fold;
    sim_read_history(judge->cluster, changelog, judge->partition, note_newer, &check);
    (void)read_store(judge, directory, "chain/state", check_entry, &check);
    size_t absent = 0; /* that may be */
    for (size_t i = 0; i < fold->rows.count; i++) {
        absent += may_be_old(&check, fold->rows.entries[i].key) ? 1 : 0;
    }
    if (check.keys > fold->rows.count + check.newer.count ||
        check.keys + absent < fold->rows.count) {
        judge_fail(judge,
                   "%s holds %zu keys, the changelog below position %" PRId64 " has %zu (I2)",
                   directory, check.keys, check.position.next, fold->rows.count);
    }
    sim_rows_free(&check.newer);
    fold_free(fold);
}

void judge_stores(struct judge *judge, const char *changelog)
{
    const char *directory;
    bool real = judge->scenario->lmdb;
    for (size_t i = 0; (directory = real ? sim_lmdb_directory(i) : sim_store_directory(i)) != NULL;
         i++) {
        check_store(judge, changelog, directory);
    }
}
