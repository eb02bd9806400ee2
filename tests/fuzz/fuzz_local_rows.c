/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of the local broker: topics, partitions, groups, offsets, epochs, facts and batches, in
 * a real environment, replaced by any bytes. Whoever reads them answers, or says ERROR_CORRUPT;
 * never a signal, never an assert. What was read is written to the same bytes; a batch made of any
 * records gives them back. Nothing is committed: each input sees the same log.
 */
#include "base/log.h"
#include "broker/local_broker.h"
#include "broker/local_group.h"
#include "broker/local_log.h"

#include "../unit/test_folder.h"
#include "fuzz_input.h"

#include <stdio.h>
#include <stdlib.h>

enum { PARTITIONS = 2, RECORDS = 20, LIMIT = 4096 };

static char *folder;
static struct local_environment *environment;
static struct local_topic topic;

static const char member[] = "0123456789abcdef0123456789abcdef";
static const char *const names[] = {"t"};
static const struct local_joining joining = {member, "i", names, 1, 10000, 10000};

static void finish(void)
{
    local_environment_close(environment);
    test_folder_remove(folder);
}

static enum status fill(struct local_environment *own, MDB_txn *txn, void *argument,
                        struct error *error)
{
    (void)argument;
    uint8_t epoch[8];
    MDB_val id = local_val("id", 2);
    MDB_val third = local_val(epoch, sizeof epoch);
    put_u64(epoch, 3);
    ensure(mdb_put(txn, own->producers, &id, &third, 0) == 0);
    struct local_builder builder = {0};
    struct local_partition row = {0};
    struct local_group group = {0};
    struct broker_offset offset = {.topic = "t", .offset = 3, .metadata = "note"};
    bool changed = false;
    for (int i = 0; i < RECORDS; i++) {
        struct header header = {"h", {"x", 1}};
        struct local_record record = {.timestamp_ms = 1000 + i,
                                      .key = {"key", 3},
                                      .value = {"value", i % 2 == 0 ? 5 : 0},
                                      .headers = &header,
                                      .header_count = i % 3 == 0 ? 1 : 0};
        (void)local_builder_add(&builder, &record, 5000);
    }
    local_builder_seal(&builder);
    ensure(local_log_append(own, txn, topic.id, 0, &builder, &row, error) == STATUS_OK);
    ensure(local_log_append(own, txn, topic.id, 0, &builder, &row, error) == STATUS_OK);
    ensure(local_partition_put(own, txn, topic.id, 0, &row, error) == STATUS_OK);
    ensure(local_group_join(own, txn, &group, &joining, error) == STATUS_OK);
    ensure(local_group_tend(own, txn, &group, &changed, error) == STATUS_OK && changed);
    ensure(local_group_save(own, txn, "g", &group, error) == STATUS_OK);
    ensure(local_offset_put(own, txn, "g", &offset, error) == STATUS_OK);
    local_group_finish(&group);
    local_builder_finish(&builder);
    return STATUS_OK;
}

static void begin(void)
{
    struct error error;
    log_set_level(LOG_ERROR);
    folder = test_folder_make();
    ensure(local_environment_open(folder, &environment, &error) == STATUS_OK);
    ensure(local_topic_properties(NULL, 0, &topic, &error) == STATUS_OK);
    topic.partition_count = PARTITIONS;
    topic.retention_size = 1 << 20;
    ensure(local_topic_create(environment, "t", &topic, &error) == STATUS_OK);
    ensure(local_write(environment, 1000, fill, NULL, &error) == STATUS_OK);
    ensure(atexit(finish) == 0);
}

/* ---- Changes ---- */

/* A key that is there, or any. */
static struct bytes choose_key(struct fuzz_input *input, int table, uint8_t key[LOCAL_LOG_KEY_SIZE])
{
    uint8_t which = fuzz_byte(input);
    if (which % 8 == 7) {
        return fuzz_bytes(input, 1 + which / 8);
    }
    switch (table) {
    case 0:
        return bytes_of("t");
    case 1:
        put_u32(key, topic.id);
        put_u32(key + 4, which % PARTITIONS);
        return (struct bytes){key, 8};
    case 2:
        local_log_key(key, topic.id, 0, which % 4 * RECORDS / 2);
        return (struct bytes){key, LOCAL_LOG_KEY_SIZE};
    case 3:
        return bytes_of("id");
    case 4:
        return bytes_of("g");
    case 5:
        return (struct bytes){"g\0t\0\0\0\0\0", 8};
    case 6:
        return bytes_of(which % 3 == 0 ? "next topic" : which % 3 == 1 ? "grace" : "format");
    default:
        put_u32(key, topic.id + which % 2);
        return (struct bytes){key, 4};
    }
}

/* The row that is there with some of its bytes changed, or any bytes. */
static void change_row(struct fuzz_input *input, MDB_txn *txn)
{
    const MDB_dbi tables[] = {environment->topics,    environment->partitions, environment->log,
                              environment->producers, environment->groups,     environment->offsets,
                              environment->facts,     environment->graves};
    uint8_t key_bytes[LOCAL_LOG_KEY_SIZE];
    int table = fuzz_byte(input) % 8;
    struct bytes key = choose_key(input, table, key_bytes);
    MDB_val at = local_val(key.data, key.size);
    MDB_val old;
    uint8_t how = fuzz_byte(input);
    if (key.size == 0) {
        return;
    }
    if (how % 2 == 0 && mdb_get(txn, tables[table], &at, &old) == 0 && old.mv_size > 0) {
        uint8_t *copy = memory_copy(old.mv_data, old.mv_size);
        for (int i = how / 2 % 8; i >= 0; i--) {
            copy[fuzz_number(input, 2) % old.mv_size] = fuzz_byte(input);
        }
        MDB_val value = local_val(copy, old.mv_size - (how >= 0xf0 ? 1 : 0));
        ensure(mdb_put(txn, tables[table], &at, &value, 0) == 0);
        free(copy);
        return;
    }
    struct bytes bytes = fuzz_bytes(input, fuzz_number(input, 2) % LIMIT);
    MDB_val value = local_val(bytes.data, bytes.size);
    ensure(mdb_put(txn, tables[table], &at, &value, 0) == 0);
}

/* ---- Whoever reads them ---- */

static bool answered(enum status status, const struct error *error)
{
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        return true;
    }
    fuzz_check_refusal(status, error);
    ensure(status == STATUS_FATAL && error->code == ERROR_CORRUPT);
    ensure(strstr(error->text, folder) != NULL);
    return false;
}

static enum status count_topic(void *argument, const char *name, const struct local_topic *found)
{
    ensure(local_topic_name_valid(name) && found->partition_count > 0);
    *(size_t *)argument += 1;
    return STATUS_OK;
}

static struct buffer row_of(MDB_txn *txn, MDB_dbi table, const char *name)
{
    MDB_val key = local_val(name, strlen(name));
    MDB_val value;
    struct buffer row = {0};
    ensure(mdb_get(txn, table, &key, &value) == 0);
    buffer_append(&row, value.mv_data, value.mv_size);
    return row;
}

/* Saved, it is read as the same and saved as the same. */
static void check_saved(MDB_txn *txn, const struct local_group *group)
{
    struct error error = {0};
    struct local_group again;
    ensure(local_group_save(environment, txn, "g", group, &error) == STATUS_OK);
    struct buffer first = row_of(txn, environment->groups, "g");
    ensure(local_group_load(environment, txn, "g", &again, &error) == STATUS_OK);
    ensure(again.version == group->version && again.count == group->count);
    ensure(local_group_save(environment, txn, "g", &again, &error) == STATUS_OK);
    struct buffer second = row_of(txn, environment->groups, "g");
    ensure(bytes_equal((struct bytes){first.data, first.size},
                       (struct bytes){second.data, second.size}));
    buffer_finish(&first);
    buffer_finish(&second);
    local_group_finish(&again);
}

static void read_group(MDB_txn *txn)
{
    struct error error = {0};
    struct local_group group;
    uint64_t version = 0;
    bool changed = false;
    (void)answered(local_group_version(environment, txn, "g", &version, &error), &error);
    if (answered(local_group_load(environment, txn, "g", &group, &error), &error)) {
        ensure(group.version == version);
        if (version > 0) {
            check_saved(txn, &group);
        }
        if (answered(local_group_join(environment, txn, &group, &joining, &error), &error) &&
            answered(local_group_tend(environment, txn, &group, &changed, &error), &error)) {
            (void)local_group_answer(&group, member);
            local_group_leave(&group, member);
            (void)answered(local_group_tend(environment, txn, &group, &changed, &error), &error);
            check_saved(txn, &group);
        }
    }
    local_group_finish(&group);
}

static void read_block(const struct local_block *block)
{
    const uint8_t *at = block->data;
    struct arena arena;
    arena_init(&arena, 0);
    while (at < block->data + block->size) {
        int64_t base = 0;
        uint64_t size = 0;
        struct local_reader reader;
        struct local_record record;
        memcpy(&base, at, 8);
        memcpy(&size, at + 8, 8);
        ensure(base >= 0 && size <= (size_t)(block->data + block->size - at) - 16);
        struct bytes batch = {at + 16, size};
        for (int check = 0; check <= 1; check++) {
            bool open = local_reader_open(&reader, batch, base, check != 0);
            while (open && local_reader_next(&reader, &record)) {
                ensure(record.offset >= base);
                if (record.header_count > 0) {
                    (void)local_headers(&record, &arena);
                }
            }
        }
        at += 16 + size;
    }
    arena_finish(&arena);
}

static void read_log(MDB_txn *txn)
{
    struct error error = {0};
    struct local_partition row;
    struct local_topic found = topic;
    bool flag = false;
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        if (local_partition_get(environment, txn, topic.id, partition, &row, &error) != STATUS_OK) {
            ensure(error.code == ERROR_CORRUPT);
            continue;
        }
        ensure(row.start >= 0 && row.start <= row.end && row.size >= 0);
        for (int64_t offset = 0; offset <= RECORDS * 2; offset += 7) {
            struct local_block *block = NULL;
            if (answered(local_log_fetch(environment, txn, topic.id, partition, offset, 1 << 20,
                                         &block, &error),
                         &error) &&
                block != NULL) {
                read_block(block);
                local_block_release(block);
            }
        }
        struct local_builder builder = {0};
        (void)local_builder_add(&builder, &(struct local_record){.value = {"v", 1}}, 1);
        local_builder_seal(&builder);
        (void)answered(
            local_log_append(environment, txn, topic.id, partition, &builder, &row, &error),
            &error);
        local_builder_finish(&builder);
        (void)answered(local_log_retain(environment, txn, &found, partition, &row, INT64_C(1) << 45,
                                        10, &flag, &error),
                       &error);
        row.start = row.end;
        (void)answered(
            local_log_trim(environment, txn, topic.id, partition, &row, 10, &flag, &error), &error);
    }
}

static uint64_t fuzz_epoch(MDB_txn *txn)
{
    MDB_val key = local_val("id", 2);
    MDB_val value;
    ensure(mdb_get(txn, environment->producers, &key, &value) == 0 && value.mv_size == 8);
    return get_u64(value.mv_data);
}

static void read_all(MDB_txn *txn)
{
    struct error error = {0};
    struct local_topic found;
    struct broker_offset offset = {.topic = "t"};
    size_t count = 0;
    uint64_t number = 0;
    bool mine = false;
    (void)answered(local_topic_find(environment, txn, "t", &found, &error), &error);
    (void)answered(local_topic_each(environment, txn, count_topic, &count, &error), &error);
    if (answered(local_offset_get(environment, txn, "g", &offset, &error), &error)) {
        ensure(offset.offset >= BROKER_NO_OFFSET && strlen(offset.metadata) < BROKER_METADATA_SIZE);
    }
    (void)answered(local_fact(environment, txn, "grace", 0, &number, &error), &error);
    (void)answered(local_fact(environment, txn, "next topic", 1, &number, &error), &error);
    if (answered(local_epoch_is(environment, txn, "id", 3, &mine, &error), &error)) {
        ensure(!mine || fuzz_epoch(txn) == 3);
    }
    read_group(txn);
    read_log(txn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (environment == NULL) {
        begin();
    }
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    MDB_txn *txn = NULL;
    ensure(mdb_txn_begin(environment->env, NULL, 0, &txn) == 0);
    do {
        change_row(&input, txn);
    } while (input.left > 0);
    read_all(txn);
    mdb_txn_abort(txn);
    return 0;
}
