/* SPDX-License-Identifier: Apache-2.0 */
/* Topics and logs of a real Kafka: what readers see of transactions, ends, ranges, lost offsets. */
#include "kafka_cluster.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct error error;

Test(kafka_log, a_topic_tells_its_partitions_and_settings)
{
    struct broker *broker = cluster_open();
    struct broker_property properties[] = {
        {.name = "cleanup.policy", .value = "compact"},
        {.name = "max.message.bytes", .value = "17825792"},
        {.name = "delete.retention.ms", .value = "604800000"},
        {.name = "message.timestamp.after.max.ms", .value = "9223372036854775807"}};
    char name[NAME_SIZE];
    cluster_topic(broker, name, 3, properties, 4);
    struct broker_topic topic;
    cr_assert_eq(broker_topic_get(broker, name, &topic, &error), STATUS_OK);
    cr_assert_eq(topic.partition_count, 3);
    cr_assert(topic.compacted && !topic.deleted);
    cr_assert_eq(topic.max_message_size, 17825792);
    cr_assert_eq(topic.delete_retention_ms, 604800000);
    cr_assert_eq(broker_topic_create(broker, name, 3, 1, NULL, 0, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_TOPIC_EXISTS);

    char **names = NULL;
    size_t count = 0, found = 0;
    cr_assert_eq(broker_topic_list(broker, &names, &count, &error), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        found += strcmp(names[i], name) == 0;
        cr_assert(i == 0 || strcmp(names[i - 1], names[i]) < 0);
        cr_assert_neq(strncmp(names[i], "__", 2), 0);
    }
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    cr_assert_eq(found, 1);

    cr_assert_eq(broker_topic_delete(broker, name, &error), STATUS_OK);
    cr_assert_eq(broker_topic_delete(broker, name, &error), STATUS_NOT_FOUND);
    broker_close(broker);
}

Test(kafka_log, a_bad_topic_setting_is_bad_configuration)
{
    struct broker *broker = cluster_open();
    char name[NAME_SIZE];
    cluster_name(name, "bad");
    struct broker_property property = {.name = "cleanup.policy", .value = "keep"};
    cr_assert_eq(broker_topic_create(broker, name, 1, 1, &property, 1, &error), STATUS_BAD_CONFIG);
    cr_assert(strstr(error.text, name) != NULL, "%s", error.text);
    cr_assert_eq(broker_topic_create(broker, name, 1, 3, NULL, 0, &error), STATUS_BAD_CONFIG);
    broker_close(broker);
}

Test(kafka_log, asking_for_a_missing_topic_never_creates_it)
{
    struct broker *broker = cluster_open();
    char name[NAME_SIZE], id[NAME_SIZE], group[NAME_SIZE];
    cluster_name(name, "missing");
    cluster_name(id, "id");
    cluster_name(group, "group");
    struct broker_topic topic;
    cr_assert_eq(broker_topic_get(broker, name, &topic, &error), STATUS_NOT_FOUND);
    int64_t start, end;
    cr_assert_eq(broker_log_range(broker, name, 0, &start, &end, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_NO_TOPIC);

    struct producer *producer = cluster_producer(broker, id);
    uint32_t number;
    int32_t partitions;
    cr_assert_eq(producer_topic(producer, name, &number, &partitions, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_NO_TOPIC);
    cr_assert(strstr(error.text, name) != NULL, "%s", error.text);
    producer_close(producer);

    const char *topics[] = {name};
    struct consumer_options options = {.group = group, .topics = topics, .topic_count = 1};
    struct consumer *consumer = NULL;
    cr_assert_eq(consumer_open(broker, &options, &consumer, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_NO_TOPIC);
    cr_assert(strstr(error.text, "topics create") != NULL, "%s", error.text);

    cr_assert_eq(broker_topic_get(broker, name, &topic, &error), STATUS_NOT_FOUND);
    broker_close(broker);
}

Test(kafka_log, an_open_transaction_hides_its_records_and_moves_no_end)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE], text[256];
    cluster_topic(broker, topic, 1, NULL, 0);
    cluster_name(id, "id");
    cluster_write(broker, topic, 0, "a,b,c"); /* 0-2, marker 3 */
    struct producer *producer = cluster_producer(broker, id);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cluster_send(producer, topic, 0, "d", 1);
    cluster_send(producer, topic, 0, "e", 2);
    cr_assert_eq(producer_flush(producer, 5000, &error), STATUS_OK);
    uint32_t number;
    int32_t partitions;
    cr_assert_eq(producer_topic(producer, topic, &number, &partitions, &error), STATUS_OK);
    cr_assert_eq(producer_last_offset(producer, number, 0), 5);

    int64_t end = -1, start = -1, high = -1;
    struct consumer *reader = cluster_reader(broker, topic, 0, 0, false);
    cluster_read_to_end(reader, text, sizeof text, &end);
    cr_assert_str_eq(text, "a,b,c");
    cr_assert_eq(end, 4, "%lld", (long long)end);
    struct consumer *all = cluster_reader(broker, topic, 0, 0, true);
    cluster_read_to_end(all, text, sizeof text, &end);
    cr_assert_str_eq(text, "a,b,c,d,e");
    cr_assert_eq(end, 6);
    cr_assert_eq(broker_log_range(broker, topic, 0, &start, &high, &error), STATUS_OK);
    cr_assert_eq(start, 0);
    cr_assert_eq(high, 6, "the range ends at the high watermark: %lld", (long long)high);

    cr_assert_eq(producer_commit(producer, 5000, &error), STATUS_OK);
    cluster_settle(broker, topic, 0);
    cluster_read_to_end(reader, text, sizeof text, &end);
    cr_assert_str_eq(text, "d,e");
    cr_assert_eq(end, 7, "behind the marker");
    consumer_close(all);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

Test(kafka_log, aborted_records_are_never_read)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE], text[256];
    cluster_topic(broker, topic, 1, NULL, 0);
    cluster_name(id, "id");
    struct producer *producer = cluster_producer(broker, id);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cluster_send(producer, topic, 0, "never", 1);
    cr_assert_eq(producer_flush(producer, 5000, &error), STATUS_OK);
    cr_assert_eq(producer_abort(producer, 5000, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cluster_send(producer, topic, 0, "ever", 1);
    cluster_commit(producer);
    cluster_settle(broker, topic, 0);
    int64_t end = -1;
    struct consumer *reader = cluster_reader(broker, topic, 0, 0, false);
    cluster_read_to_end(reader, text, sizeof text, &end);
    cr_assert_str_eq(text, "ever");
    cr_assert_eq(end, 4);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

Test(kafka_log, an_offset_that_is_not_retained_or_beyond_the_end_is_lost)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE];
    cluster_topic(broker, topic, 1, NULL, 0);
    cluster_write(broker, topic, 0, "a,b,c,d"); /* 0-3, marker 4 */
    cr_assert_eq(broker_delete_records(broker, topic, 0, 2, &error), STATUS_OK, "%s", error.text);
    int64_t start = -1, end = -1;
    cr_assert_eq(broker_log_range(broker, topic, 0, &start, &end, &error), STATUS_OK);
    cr_assert_eq(start, 2);
    cr_assert_eq(end, 5);
    struct consumer *reader = cluster_reader(broker, topic, 0, 1, false);
    struct consumer_event event = cluster_await(reader, CONSUMER_OFFSET_LOST);
    cr_assert_eq(event.slot, 0);
    cr_assert_eq(event.offset, 1);
    consumer_close(reader);
    reader = cluster_reader(broker, topic, 0, 99, false);
    event = cluster_await(reader, CONSUMER_OFFSET_LOST);
    cr_assert_eq(event.offset, 99);
    consumer_close(reader);
    broker_close(broker);
}

Test(kafka_log, keys_values_headers_and_timestamps_come_back_as_written)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE];
    cluster_topic(broker, topic, 1, NULL, 0);
    struct producer *producer = NULL;
    cr_assert_eq(producer_open(broker, NULL, &producer, &error), STATUS_OK, "%s", error.text);
    uint32_t number;
    int32_t partitions;
    cr_assert_eq(producer_topic(producer, topic, &number, &partitions, &error), STATUS_OK);
    struct header headers[] = {{"one", {"1", 1}}, {"null", {NULL, 0}}, {"one", {"", 0}}};
    struct broker_output outputs[] = {
        {.key = {NULL, 0}, .value = {"v", 1}, .timestamp_ms = 0},
        {.key = {"", 0}, .value = {NULL, 0}, .timestamp_ms = 1234567890123},
        {.key = {"k\0k", 3},
         .value = {"", 0},
         .timestamp_ms = -1,
         .headers = headers,
         .header_count = 3}};
    int64_t before = clock_wall_ms(clock_system());
    for (size_t i = 0; i < 3; i++) {
        outputs[i].topic = number;
        cr_assert_eq(producer_send(producer, &outputs[i], &error), STATUS_OK, "%s", error.text);
    }
    cr_assert_eq(producer_flush(producer, 10000, &error), STATUS_OK, "%s", error.text);
    producer_close(producer);

    struct consumer *reader = cluster_reader(broker, topic, 0, 0, false);
    struct broker_record records[3];
    for (size_t i = 0; i < 3; i++) {
        records[i] = cluster_await(reader, CONSUMER_RECORD).record;
        cr_assert_eq(records[i].offset, (int64_t)i);
    }
    cr_assert_null(records[0].key.data);
    cr_assert(bytes_equal(records[0].value, bytes_of("v")));
    cr_assert_eq(records[0].timestamp_ms, 1, "0 would be \"now\" for librdkafka");
    cr_assert_eq(records[0].header_count, 0);
    cr_assert(records[1].key.data != NULL && records[1].key.size == 0);
    cr_assert_null(records[1].value.data);
    cr_assert_eq(records[1].timestamp_ms, 1234567890123);
    cr_assert(bytes_equal(records[2].key, (struct bytes){"k\0k", 3}));
    cr_assert(records[2].value.data != NULL && records[2].value.size == 0);
    cr_assert(records[2].timestamp_ms >= before);
    cr_assert_eq(records[2].header_count, 3);
    cr_assert_str_eq(records[2].headers[0].name, "one");
    cr_assert(bytes_equal(records[2].headers[0].value, bytes_of("1")));
    cr_assert_null(records[2].headers[1].value.data);
    cr_assert_str_eq(records[2].headers[2].name, "one");
    for (size_t i = 0; i < 3; i++) { /* any order */
        consumer_release(reader, &records[2 - i]);
    }
    consumer_close(reader);
    broker_close(broker);
}

Test(kafka_log, a_pause_in_the_middle_loses_and_repeats_nothing)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE];
    cluster_topic(broker, topic, 1, NULL, 0);
    cluster_name(id, "id");
    struct producer *producer = cluster_producer(broker, id);
    enum { COUNT = 3000 };
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    for (int i = 0; i < COUNT; i++) {
        cluster_send(producer, topic, 0, "v", 0);
    }
    cluster_commit(producer);
    producer_close(producer);
    struct consumer *reader = cluster_reader(broker, topic, 0, 0, false);
    for (int64_t i = 0; i < COUNT; i++) {
        struct consumer_event event = cluster_await(reader, CONSUMER_RECORD);
        cr_assert_eq(event.offset, i, "%lld instead of %lld", (long long)event.offset,
                     (long long)i);
        consumer_release(reader, &event.record);
        if (i % 700 == 5) {
            cr_assert_eq(consumer_pause(reader, 0, true, &error), STATUS_OK);
            cr_assert_eq(consumer_poll(reader, 50, &event, &error), STATUS_OK);
            cr_assert_eq(event.kind, CONSUMER_NOTHING);
            cr_assert_eq(consumer_pause(reader, 0, false, &error), STATUS_OK);
        }
    }
    consumer_close(reader);
    broker_close(broker);
}
