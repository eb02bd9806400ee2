/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_count: a running count of each key, exactly once. Per record a get and a put in LMDB and one
 * output record; per transaction one changelog record for every distinct key. The yardstick of
 * source, aggregate (count), sink with durability fast.
 *
 * The LMDB write transaction spans the Kafka transaction and commits only after it. It holds the
 * next offsets too, so a state that is ahead or behind (a kill between the two commits) is noticed
 * at start; this program then stops, where a whole one would replay the changelog.
 *
 * Keys have exactly 16 bytes; counts are decimal text, in the store, the changelog and the output.
 */
#include "raw_loop.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KEY_SIZE = 16, TEXT_SIZE = 24 };

/* A key that this transaction changed. */
struct change {
    uint8_t key[KEY_SIZE];
    uint64_t count;
    int32_t partition;
};

struct count {
    MDB_env *env;
    MDB_txn *write;
    MDB_dbi counts, offsets;
    struct change *changes; /* in order of the first change */
    uint32_t change_count;
    uint32_t
        *table; /* open addressing: index + 1 into changes, 0 = free; small, so it stays cached */
    size_t table_mask;
};

static void expect_lmdb(const char *what, int code)
{
    if (code != MDB_SUCCESS) {
        loop_fail(what, mdb_strerror(code));
    }
}

/* The store must hold what the group has committed; both are empty at the first start. */
static void check_offsets(struct count *count, struct loop *loop)
{
    rd_kafka_topic_partition_list_t *group =
        rd_kafka_topic_partition_list_new(loop->partition_count);
    for (int32_t p = 0; p < loop->partition_count; p++) {
        rd_kafka_topic_partition_list_add(group, loop->input, p);
    }
    if (rd_kafka_committed(loop->consumer, group, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        loop_fail("committed offsets", "no answer");
    }
    for (int i = 0; i < group->cnt; i++) {
        MDB_val key = {sizeof group->elems[i].partition, &group->elems[i].partition};
        MDB_val value;
        int64_t stored = RD_KAFKA_OFFSET_INVALID;
        if (mdb_get(count->write, count->offsets, &key, &value) == MDB_SUCCESS) {
            memcpy(&stored, value.mv_data, sizeof stored);
        }
        if (stored != group->elems[i].offset) {
            loop_fail("state", "it does not match the committed offsets");
        }
    }
    rd_kafka_topic_partition_list_destroy(group);
}

static void begin(struct count *count)
{
    expect_lmdb("mdb_txn_begin", mdb_txn_begin(count->env, NULL, 0, &count->write));
    count->change_count = 0;
    if (count->table != NULL) {
        memset(count->table, 0, (count->table_mask + 1) * sizeof *count->table);
    }
}

static void count_open(struct count *count, struct loop *loop)
{
    memset(count, 0, sizeof *count);
    if (loop->changelog == NULL || loop->state_directory == NULL) {
        loop_fail("usage", "--changelog and --state are needed");
    }
    mkdir(loop->state_directory, 0700);
    expect_lmdb("mdb_env_create", mdb_env_create(&count->env));
    expect_lmdb("mdb_env_set_mapsize", mdb_env_set_mapsize(count->env, (size_t)16 << 30));
    expect_lmdb("mdb_env_set_maxdbs", mdb_env_set_maxdbs(count->env, 2));
    expect_lmdb(loop->state_directory,
                mdb_env_open(count->env, loop->state_directory,
                             MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD | MDB_NOMEMINIT, 0600));
    begin(count);
    expect_lmdb("counts", mdb_dbi_open(count->write, "counts", MDB_CREATE, &count->counts));
    expect_lmdb("offsets", mdb_dbi_open(count->write, "offsets", MDB_CREATE, &count->offsets));
    check_offsets(count, loop);

    size_t size = 1024;
    while (size < (size_t)loop->records_max * 2) {
        size *= 2;
    }
    count->table = calloc(size, sizeof *count->table);
    count->changes = calloc((size_t)loop->records_max, sizeof *count->changes);
    if (count->table == NULL || count->changes == NULL) {
        loop_fail("table", "no memory");
    }
    count->table_mask = size - 1;
}

/* The entry of a key; a new one when the transaction had not changed it yet. */
static struct change *change_of(struct count *count, const void *key, int32_t partition)
{
    uint64_t word[2];
    memcpy(word, key, KEY_SIZE);
    uint64_t hash = (word[0] ^ word[1] * 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
    size_t at = (size_t)(hash >> 32) & count->table_mask;
    for (; count->table[at] != 0; at = (at + 1) & count->table_mask) {
        struct change *change = &count->changes[count->table[at] - 1];
        if (memcmp(change->key, key, KEY_SIZE) == 0) {
            return change;
        }
    }
    struct change *change = &count->changes[count->change_count++];
    count->table[at] = count->change_count;
    memcpy(change->key, key, KEY_SIZE);
    change->partition = partition;
    return change;
}

static size_t decimal(char *text, uint64_t number)
{
    char reversed[TEXT_SIZE];
    size_t size = 0;
    do {
        reversed[size++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < size; i++) {
        text[i] = reversed[size - 1 - i];
    }
    return size;
}

static uint64_t number_of(const MDB_val *text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text->mv_size; i++) {
        number = number * 10 + (uint64_t)(((const char *)text->mv_data)[i] - '0');
    }
    return number;
}

static void count_record(struct count *count, struct loop *loop, const rd_kafka_message_t *record)
{
    if (record->key_len != KEY_SIZE) {
        loop_fail("input", "a key has not 16 bytes");
    }
    MDB_val key = {KEY_SIZE, record->key};
    MDB_val value;
    int code = mdb_get(count->write, count->counts, &key, &value);
    uint64_t present = 0;
    if (code == MDB_SUCCESS) {
        present = number_of(&value);
    } else if (code != MDB_NOTFOUND) {
        expect_lmdb("mdb_get", code);
    }
    char text[TEXT_SIZE];
    value = (MDB_val){decimal(text, ++present), text};
    expect_lmdb("mdb_put", mdb_put(count->write, count->counts, &key, &value, 0));
    change_of(count, record->key, record->partition)->count = present;
    loop_send(loop, loop->output_topic, record->partition, record->key, KEY_SIZE, text,
              value.mv_size);
}

static void send_changelog(struct count *count, struct loop *loop)
{
    for (uint32_t i = 0; i < count->change_count; i++) {
        const struct change *change = &count->changes[i];
        char text[TEXT_SIZE];
        size_t size = decimal(text, change->count);
        loop_send(loop, loop->changelog_topic, change->partition, change->key, KEY_SIZE, text,
                  size);
    }
}

/* Before the Kafka commit: the store's transaction commits after it, so both hold or neither. */
static void store_offsets(struct count *count, struct loop *loop)
{
    for (int32_t p = 0; p < loop->partition_count; p++) {
        if (loop->next[p] > loop->committed[p]) {
            MDB_val key = {sizeof p, &p};
            MDB_val value = {sizeof loop->next[p], &loop->next[p]};
            expect_lmdb("mdb_put", mdb_put(count->write, count->offsets, &key, &value, 0));
        }
    }
}

int main(int argc, char **argv)
{
    struct loop loop;
    struct count count;
    loop_open(&loop, argc, argv);
    count_open(&count, &loop);
    while (!loop_ended(&loop)) {
        rd_kafka_message_t *record = loop_take(&loop);
        if (record != NULL) {
            count_record(&count, &loop, record);
            rd_kafka_message_destroy(record);
        }
        if (loop_due(&loop)) {
            send_changelog(&count, &loop);
            store_offsets(&count, &loop);
            loop_commit(&loop);
            expect_lmdb("mdb_txn_commit", mdb_txn_commit(count.write));
            begin(&count);
        }
    }
    mdb_txn_abort(count.write);
    mdb_env_close(count.env);
    loop_close(&loop);
    free(count.table);
    free(count.changes);
    return 0;
}
