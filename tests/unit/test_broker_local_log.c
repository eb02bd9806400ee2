/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker's log: batches, retention, deleting, compaction. */
#include "broker_steps.h"
#include "local_process.h"
#include "test_folder.h"

#include "base/clock.h"
#include "base/random.h"
#include "broker/local_batch.h"
#include "broker/local_environment.h"
#include "broker/local_log.h"
#include "broker/local_upkeep.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 20000 };

/* ---- Batches ---- */

static void add_text(struct local_builder *builder, int64_t offset, const char *key,
                     const char *value, int64_t timestamp_ms)
{
    const struct header header = {"h", {"\x01\x02", 2}};
    struct local_record record = {.offset = offset,
                                  .timestamp_ms = timestamp_ms,
                                  .key = bytes_of(key),
                                  .value = bytes_of(value),
                                  .headers = &header,
                                  .header_count = offset % 2 == 0 ? 1 : 0};
    size_t size = local_builder_add(builder, &record, 50);
    cr_assert_leq(size, local_record_size(&record));
}

Test(broker_local_log, a_batch_reads_as_written)
{
    static const int64_t times[] = {0, INT64_MAX, 5, 1};
    for (int sparse = 0; sparse < 2; sparse++) {
        struct local_builder builder = {.sparse = sparse != 0};
        struct local_reader reader;
        struct local_record record;
        struct arena arena;
        arena_init(&arena, 0);
        for (int64_t i = 0; i < 4; i++) {
            add_text(&builder, sparse ? 10 + i * 301 : i, i == 1 ? NULL : "key",
                     i == 2 ? NULL : "value", times[i]);
        }
        local_builder_seal(&builder);
        cr_assert_eq(builder.count, 1);
        struct bytes batch = {builder.data.data, builder.spans[0].size};
        cr_assert(local_reader_open(&reader, batch, 1000, true));
        for (int64_t i = 0; i < 4; i++) {
            cr_assert(local_reader_next(&reader, &record));
            cr_assert_eq(record.offset, 1000 + (sparse ? i * 301 : i));
            cr_assert_eq(record.timestamp_ms, times[i]);
            cr_assert(bytes_equal(record.key, i == 1 ? bytes_of(NULL) : bytes_of("key")));
            cr_assert_eq(record.value.data == NULL, i == 2);
            cr_assert_eq(record.header_count, i % 2 == 0);
            if (record.header_count == 1) {
                const struct header *headers = local_headers(&record, &arena);
                cr_assert_str_eq(headers[0].name, "h");
                cr_assert(bytes_equal(headers[0].value, (struct bytes){"\x01\x02", 2}));
            }
        }
        cr_assert_not(local_reader_next(&reader, &record));
        cr_assert_eq(reader.left, 0);
        local_builder_finish(&builder);
        arena_finish(&arena);
    }
}

/* As compaction does it, with the changelog's first record of each transaction. */
Test(broker_local_log, a_record_with_headers_that_was_read_is_written_again)
{
    struct local_builder builder = {.sparse = true};
    struct local_builder again = {.sparse = true};
    struct local_reader reader;
    struct local_record record;
    struct arena arena;
    arena_init(&arena, 0);
    add_text(&builder, 10, "key", "value", 5);
    local_builder_seal(&builder);
    struct bytes batch = {builder.data.data, builder.spans[0].size};
    cr_assert(local_reader_open(&reader, batch, 10, true));
    cr_assert(local_reader_next(&reader, &record));
    cr_assert_leq(local_builder_add(&again, &record, 50), local_record_size(&record));
    local_builder_seal(&again);
    batch = (struct bytes){again.data.data, again.spans[0].size};
    cr_assert(local_reader_open(&reader, batch, 10, true));
    cr_assert(local_reader_next(&reader, &record));
    cr_assert_eq(record.header_count, 1);
    const struct header *headers = local_headers(&record, &arena);
    cr_assert_str_eq(headers[0].name, "h");
    cr_assert(bytes_equal(headers[0].value, (struct bytes){"\x01\x02", 2}));
    local_builder_finish(&builder);
    local_builder_finish(&again);
    arena_finish(&arena);
}

Test(broker_local_log, a_damaged_batch_is_noticed_and_never_read_beyond)
{
    struct local_builder builder = {0};
    struct random random;
    random_init(&random, 3);
    for (int i = 0; i < 20; i++) {
        add_text(&builder, i, "a key", "some value", 1000 + i);
    }
    local_builder_seal(&builder);
    size_t size = builder.spans[0].size;
    uint8_t *copy = memory_copy(builder.data.data, size);
    for (int round = 0; round < 5000; round++) {
        size_t at = 4 + random_below(&random, size - 4);
        uint8_t old = copy[at];
        copy[at] ^= (uint8_t)(1u << random_below(&random, 8));
        size_t cut = size - random_below(&random, 3) * random_below(&random, 40);
        uint8_t *exact = memory_copy(copy, cut); /* so that ASan sees the end */
        struct local_reader reader;
        struct local_record record;
        struct arena arena;
        arena_init(&arena, 0);
        cr_assert_not(local_reader_open(&reader, (struct bytes){exact, cut}, 0, true));
        if (local_reader_open(&reader, (struct bytes){exact, cut}, 0, false)) {
            while (local_reader_next(&reader, &record)) {
                if (record.header_count > 0) {
                    (void)local_headers(&record, &arena);
                }
            }
        }
        arena_finish(&arena);
        free(exact);
        copy[at] = old;
    }
    free(copy);
    local_builder_finish(&builder);
}

/* ---- Retention ---- */

static void range_of(struct broker *broker, int64_t *start, int64_t *end)
{
    struct error error;
    must(broker_log_range(broker, "t", 0, start, end, &error));
}

/* A record of `size` bytes in a transaction of its own. */
static void write_sized(struct producer *producer, const char *key, size_t size)
{
    struct error error;
    char *value = memory_allocate(size + 1);
    memset(value, 'x', size);
    must(producer_begin(producer, &error));
    step_send(producer, "t", 0, key, value);
    step_commit(producer, PATIENCE_MS);
    free(value);
}

Test(broker_local_log, retention_by_size_keeps_the_newest)
{
    char *folder = test_folder_make();
    struct error error = {0};
    int64_t start = 0;
    int64_t end = 0;
    const struct broker_property bytes = {"retention.bytes", "100000", false};
    struct broker *broker = local_open(folder);
    must(broker_topic_create(broker, "t", 1, -1, &bytes, 1, &error));
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    for (int i = 0; i < 50; i++) {
        write_sized(producer, NULL, 10000);
    }
    range_of(broker, &start, &end);
    cr_assert_eq(end, 50);
    cr_assert(end - start >= 10 && end - start <= 12, "%lld kept", (long long)(end - start));
    producer_close(producer);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_log, retention_by_time_counts_from_the_write)
{
    char *folder = test_folder_make();
    struct error error = {0};
    int64_t start = 0;
    int64_t end = 0;
    const struct broker_property age = {"retention.ms", "20", false};
    struct broker *broker = local_open(folder);
    must(broker_topic_create(broker, "t", 1, -1, &age, 1, &error));
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    for (int i = 0; i < 10; i++) {
        write_sized(producer, NULL, 10); /* their timestamps are of 1970 */
    }
    struct consumer *reader = step_reader(broker, "t", 0, 9);
    char *text = step_read(reader, PATIENCE_MS, NULL);
    cr_assert_str_eq(text, "xxxxxxxxxx");
    clock_sleep_ms(clock_system(), 30);
    for (int i = 0; i < 10; i++) {
        write_sized(producer, NULL, 10);
    }
    range_of(broker, &start, &end);
    cr_assert_eq(end, 20);
    cr_assert_geq(start, 10);
    free(text);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_log, a_deleted_topic_leaves_nothing)
{
    char *folder = test_folder_make();
    struct error error = {0};
    int64_t start = 0;
    int64_t end = 0;
    struct local_environment *environment = NULL;
    struct broker *broker = local_open(folder);
    must(local_environment_open(folder, &environment, &error));
    step_topic(broker, "t", 1);
    step_topic(broker, "other", 1);
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    struct consumer *member = step_member(broker, "g", NULL, "t");
    free(step_assigned(member, PATIENCE_MS));
    step_assign(member, "t", 0, 0);
    struct broker_offset offsets[] = {{.topic = "t", .offset = 1}, {.topic = "other", .offset = 2}};
    must(producer_begin(producer, &error));
    step_send(producer, "t", 0, NULL, "x");
    must(producer_send_offsets(producer, member, offsets, 2, &error));
    step_commit(producer, PATIENCE_MS);
    must(broker_topic_delete(broker, "t", &error));
    cr_assert_eq(step_committed(member, "t", 0, PATIENCE_MS, NULL), BROKER_NO_OFFSET);
    cr_assert_eq(step_committed(member, "other", 0, PATIENCE_MS, NULL), 2);
    MDB_txn *txn = NULL;
    MDB_stat facts;
    must(local_read_begin(environment, &txn, &error));
    cr_assert_eq(mdb_stat(txn, environment->log, &facts), 0);
    cr_assert_eq(facts.ms_entries, 0);
    cr_assert_eq(mdb_stat(txn, environment->graves, &facts), 0);
    cr_assert_eq(facts.ms_entries, 0);
    local_read_end(environment, txn);
    must(producer_begin(producer, &error));
    step_send(producer, "other", 0, NULL, "x");
    step_commit(producer, PATIENCE_MS);
    step_topic(broker, "t", 1);
    range_of(broker, &start, &end);
    cr_assert_eq(end, 0);
    consumer_close(member);
    producer_close(producer);
    local_environment_close(environment);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_log, unknown_and_wrong_properties_are_refused_by_name)
{
    char *folder = test_folder_make();
    struct error error = {0};
    struct broker *broker = local_open(folder);
    const struct broker_property typo = {"retention.msec", "1", false};
    const struct broker_property word = {"retention.ms", "week", false};
    const struct broker_property policy = {"cleanup.policy", "keep", false};
    must_be(STATUS_BAD_CONFIG, broker_topic_create(broker, "t", 1, -1, &typo, 1, &error));
    cr_assert_not_null(strstr(error.text, "retention.ms\""));
    must_be(STATUS_BAD_CONFIG, broker_topic_create(broker, "t", 1, -1, &word, 1, &error));
    cr_assert_not_null(strstr(error.text, "week"));
    must_be(STATUS_BAD_CONFIG, broker_topic_create(broker, "t", 1, -1, &policy, 1, &error));
    must_be(STATUS_BAD_CONFIG, broker_topic_create(broker, "t", 1, 3, NULL, 0, &error));
    cr_assert_eq(error.code, ERROR_LIMIT);
    must_be(STATUS_BAD_CONFIG, broker_topic_create(broker, "a/b", 1, -1, NULL, 0, &error));
    must_be(STATUS_BAD_CONFIG, broker_topic_create(broker, "t", 0, -1, NULL, 0, &error));
    broker_close(broker);
    test_folder_remove(folder);
}

/* ---- Compaction ---- */

enum { KEYS = 2000, ROUNDS = 130, VALUE_SIZE = 100 };

/* Each round writes all keys anew; the last one deletes every third. */
static void write_rounds(struct producer *producer)
{
    struct error error;
    char value[VALUE_SIZE + 1];
    for (int round = 0; round < ROUNDS; round++) {
        must(producer_begin(producer, &error));
        for (int i = 0; i < KEYS; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%d", i);
            memset(value, 'v', VALUE_SIZE);
            value[snprintf(value, sizeof value, "%d:%d:", i, round)] = 'v';
            value[VALUE_SIZE] = 0;
            bool gone = round == ROUNDS - 1 && i % 3 == 0;
            step_send(producer, "t", 0, key, gone ? NULL : value);
        }
        step_commit(producer, PATIENCE_MS);
    }
}

static int64_t log_size(struct local_environment *environment)
{
    struct error error = {0};
    struct local_topic topic;
    struct local_partition row;
    MDB_txn *txn = NULL;
    must(local_read_begin(environment, &txn, &error));
    must(local_topic_find(environment, txn, "t", &topic, &error));
    must(local_partition_get(environment, txn, topic.id, 0, &row, &error));
    local_read_end(environment, txn);
    return row.size;
}

/* One reading of the whole log into `newest`: 1 + round, -1: deleted; every record must be a true
 * one. */
static void read_fold(struct broker *broker, int64_t end, int *newest, size_t *records)
{
    struct consumer *reader = step_reader(broker, "t", 0, 0);
    struct consumer_event event;
    int64_t last = -1;
    memset(newest, 0, KEYS * sizeof *newest);
    *records = 0;
    for (;;) {
        step_event(reader, PATIENCE_MS, &event);
        if (event.kind == CONSUMER_END) {
            break;
        }
        cr_assert_eq(event.kind, CONSUMER_RECORD);
        cr_assert_gt(event.offset, last);
        last = event.offset;
        *records += 1;
        char key[16] = "";
        memcpy(key, event.record.key.data, event.record.key.size);
        long index = strtol(key + 1, NULL, 10);
        cr_assert_eq(event.offset % KEYS, index, "a record moved");
        newest[index] = event.record.value.data == NULL ? -1 : 1 + (int)(event.offset / KEYS);
        consumer_release(reader, &event.record);
    }
    cr_assert_eq(event.offset, end);
    consumer_close(reader);
}

/* The newest state of each key, from what the log holds now. With a delete.retention.ms of 0 a
 * tombstone may go while a reader is between it and what it deletes: only a reading that no
 * compaction fell into counts. */
static void check_fold(struct local_environment *environment, struct broker *broker, int64_t end,
                       size_t *records)
{
    int *newest = memory_allocate(KEYS * sizeof *newest);
    int64_t size = 0;
    do {
        size = log_size(environment);
        read_fold(broker, end, newest, records);
    } while (log_size(environment) != size);
    for (int i = 0; i < KEYS; i++) {
        int wanted = i % 3 == 0 ? -1 : ROUNDS;
        cr_assert(newest[i] == wanted || (wanted == -1 && newest[i] == 0), "key %d: %d", i,
                  newest[i]);
    }
    free(newest);
}

static void wait_compacted(struct local_environment *environment, int64_t most)
{
    int64_t until = clock_monotonic_ms(clock_system()) + PATIENCE_MS;
    while (log_size(environment) > most && clock_monotonic_ms(clock_system()) < until) {
        clock_sleep_ms(clock_system(), 20);
    }
    cr_assert_leq(log_size(environment), most);
}

static void compact_with(const char *delete_retention_ms, bool tombstones_stay)
{
    char *folder = test_folder_make();
    struct error error = {0};
    int64_t start = 0;
    int64_t end = 0;
    size_t records = 0;
    struct local_environment *environment = NULL;
    const struct broker_property properties[] = {
        {"cleanup.policy", "compact", false}, {"delete.retention.ms", delete_retention_ms, false}};
    struct broker *broker = local_open(folder);
    must(local_environment_open(folder, &environment, &error));
    must(broker_topic_create(broker, "t", 1, -1, properties, 2, &error));
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    write_rounds(producer);
    range_of(broker, &start, &end);
    cr_assert_eq(end, KEYS * ROUNDS);
    /* Live: 2000 keys of about 120 bytes. The promise: twice that and 64 MiB; 16 MiB may be dirty.
     */
    wait_compacted(environment, (17 << 20) + 2 * KEYS * 130);
    check_fold(environment, broker, end, &records);
    cr_assert_lt(records, (size_t)KEYS * ROUNDS * 3 / 4);
    if (!tombstones_stay) {
        wait_compacted(environment, 17 << 20);
    }
    struct consumer *reader = step_reader(broker, "t", 0, 1); /* in a gap */
    struct consumer_event event;
    step_event(reader, PATIENCE_MS, &event);
    cr_assert_eq(event.kind, CONSUMER_RECORD);
    cr_assert_geq(event.offset, 1);
    consumer_release(reader, &event.record);
    consumer_close(reader);
    producer_close(producer);
    local_environment_close(environment);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_log, compaction_keeps_the_newest_of_each_key)
{
    compact_with("86400000", true);
}

Test(broker_local_log, compaction_drops_old_tombstones)
{
    compact_with("0", false);
}

Test(broker_local_log, a_compacted_topic_wants_keys)
{
    char *folder = test_folder_make();
    struct error error = {0};
    const struct broker_property compact = {"cleanup.policy", "compact", false};
    struct broker *broker = local_open(folder);
    must(broker_topic_create(broker, "t", 1, -1, &compact, 1, &error));
    struct producer *producer = step_producer(broker, NULL, PATIENCE_MS);
    struct broker_output output = {.value = {"x", 1}, .timestamp_ms = 1};
    int32_t count = 0;
    must(producer_topic(producer, "t", &output.topic, &count, &error));
    must_be(STATUS_BAD_RECORD, producer_send(producer, &output, &error));
    cr_assert_not_null(strstr(error.text, "key"));
    producer_close(producer);
    broker_close(broker);
    test_folder_remove(folder);
}
