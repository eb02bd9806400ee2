/* SPDX-License-Identifier: Apache-2.0 */
/* Producers on a real Kafka: fencing, refused records, limits, connecting. */
#include "kafka_cluster.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error error;

static uint32_t topic_of(struct producer *producer, const char *name)
{
    uint32_t number = 0;
    int32_t partitions = 0;
    cr_assert_eq(producer_topic(producer, name, &number, &partitions, &error), STATUS_OK, "%s",
                 error.text);
    return number;
}

Test(kafka_producer, an_abandoned_transaction_is_ended_in_less_than_200_ms)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE];
    cluster_topic(broker, topic, 4, NULL, 0);
    cluster_name(id, "id");
    int64_t best = INT64_MAX;
    for (int round = 0; round < 3; round++) { /* the best of three: the machine is shared */
        struct producer *producer = cluster_producer(broker, id);
        (void)topic_of(producer, topic);
        cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
        for (int32_t partition = 0; partition < 4; partition++) {
            cluster_send(producer, topic, partition, "v", 0);
        }
        cr_assert_eq(producer_flush(producer, 5000, &error), STATUS_OK);
        producer_close(producer); /* as a kill would: the transaction stays open */
        int64_t begin = cluster_now_ms();
        producer = cluster_producer(broker, id);
        int64_t took = cluster_now_ms() - begin;
        best = took < best ? took : best;
        producer_close(producer);
    }
    cr_assert_lt(best, 200, "%lld ms", (long long)best);
    broker_close(broker);
}

Test(kafka_producer, nothing_is_ready_before_the_fencing_is_answered)
{
    struct broker *broker = cluster_open();
    char id[NAME_SIZE];
    cluster_name(id, "id");
    struct producer *producer = NULL;
    cr_assert_eq(producer_open(broker, id, &producer, &error), STATUS_OK);
    cr_assert_eq(producer_ready(producer, 0, &error), STATUS_RETRY);
    cr_assert_eq(error.code, ERROR_TIMED_OUT);
    producer_close(producer); /* in the middle of it */
    broker_close(broker);
}

Test(kafka_producer, a_newer_producer_of_the_same_id_fences_the_older)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE], text[64];
    cluster_topic(broker, topic, 1, NULL, 0);
    cluster_name(id, "id");
    struct producer *older = cluster_producer(broker, id);
    (void)topic_of(older, topic);
    cr_assert_eq(producer_begin(older, &error), STATUS_OK);
    cluster_send(older, topic, 0, "older", 0);
    cr_assert_eq(producer_flush(older, 5000, &error), STATUS_OK);
    struct producer *newer = cluster_producer(broker, id);
    cluster_send(older, topic, 0, "late", 0);
    enum status status = producer_flush(older, 5000, &error);
    cr_assert_eq(status, STATUS_FATAL, "%d %s", (int)status, error.text);
    cr_assert_eq(error.code, ERROR_FENCED, "%s", error.text);
    cr_assert_eq(producer_commit(older, 5000, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_FENCED);
    cr_assert_eq(producer_begin(newer, &error), STATUS_OK);
    cluster_send(newer, topic, 0, "newer", 0);
    cluster_commit(newer);
    cluster_settle(broker, topic, 0);
    int64_t end = 0;
    struct consumer *reader = cluster_reader(broker, topic, 0, 0, false);
    cluster_read_to_end(reader, text, sizeof text, &end);
    cr_assert_str_eq(text, "newer");
    consumer_close(reader);
    producer_close(older);
    producer_close(newer);
    broker_close(broker);
}

Test(kafka_producer, a_record_that_cannot_fit_is_refused_at_once)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], compacted[NAME_SIZE], id[NAME_SIZE];
    struct broker_property policy = {.name = "cleanup.policy", .value = "compact"};
    cluster_topic(broker, topic, 1, NULL, 0);
    cluster_topic(broker, compacted, 1, &policy, 1);
    cluster_name(id, "id");
    struct producer *producer = cluster_producer(broker, id);
    uint32_t number = topic_of(producer, topic), keyed = topic_of(producer, compacted);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    size_t size = 2 << 20;
    char *large = calloc(1, size);
    struct broker_output output = {.topic = number, .value = {large, size}, .timestamp_ms = -1};
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_BAD_RECORD);
    cr_assert_eq(error.code, ERROR_TOO_LARGE);
    cr_assert(strstr(error.text, topic) != NULL, "%s", error.text);
    output.value.size = 1;
    output.timestamp_ms = clock_wall_ms(clock_system()) + 7200000; /* 4.3.1 takes an hour */
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_BAD_RECORD);
    cr_assert_eq(error.code, ERROR_BAD_TIMESTAMP, "%s", error.text);
    output.timestamp_ms = -1;
    output.topic = keyed;
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_BAD_RECORD);
    output.partition = 7;
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_NO_TOPIC);
    cluster_send(producer, topic, 0, "good", 0);
    cluster_commit(producer); /* the transaction took no harm */
    free(large);
    producer_close(producer);
    broker_close(broker);
}

/* Runs transactions of `count` records, of which `bad` has a timestamp that only the broker refuses
 * (within our margin for its clock), as the engine would, until the refused one is known. */
static int find_refused(struct broker *broker, const char *topic, const char *id, uint64_t count,
                        uint64_t bad, uint64_t *origin)
{
    for (int round = 1; round <= 8; round++) {
        struct producer *producer = cluster_producer(broker, id);
        uint32_t number = topic_of(producer, topic);
        cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
        enum status status = STATUS_OK;
        for (uint64_t i = 0; i < count && status == STATUS_OK; i++) {
            int64_t now = clock_wall_ms(clock_system());
            struct broker_output output = {.topic = number,
                                           .value = bytes_of("v"),
                                           .timestamp_ms = i == bad ? now + 10000 + 900 : now,
                                           .origin = i};
            status = producer_send(producer, &output, &error);
            cr_assert_neq(status, STATUS_BAD_RECORD, "%s", error.text);
        }
        status = producer_flush(producer, 10000, &error);
        bool known = producer_refused(producer, origin, &error);
        cr_assert_eq(known, status == STATUS_BAD_RECORD);
        cr_assert(known || status == STATUS_ABORT, "%d %s", (int)status, error.text);
        cr_assert_eq(error.code, ERROR_BAD_TIMESTAMP, "%s", error.text);
        cr_assert(producer_suspect(producer), "its sequence has a gap");
        cr_assert_eq(producer_abort(producer, 5000, &error), STATUS_OK, "%s", error.text);
        producer_close(producer);
        if (known) {
            return round;
        }
    }
    return 0;
}

Test(kafka_producer, a_record_that_only_the_broker_refuses_is_found_in_its_batch)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE];
    struct broker_property limit = {.name = "message.timestamp.after.max.ms", .value = "10000"};
    cluster_topic(broker, topic, 1, &limit, 1);
    cluster_name(id, "id");
    uint64_t origin = 0;
    int rounds = find_refused(broker, topic, id, 300, 211, &origin);
    cr_assert_eq(origin, 211);
    cr_assert(rounds > 1 && rounds <= 4, "300 -> 18 -> 1: %d rounds", rounds);
    rounds = find_refused(broker, topic, id, 1, 0, &origin);
    cr_assert_eq(rounds, 1, "a batch of one needs no search");
    broker_close(broker);
}

Test(kafka_producer, batches_stay_below_the_limit_of_their_topic)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE];
    struct broker_property limit = {.name = "max.message.bytes", .value = "5000"};
    cluster_topic(broker, topic, 1, &limit, 1);
    cluster_name(id, "id");
    struct producer *producer = cluster_producer(broker, id);
    (void)topic_of(producer, topic);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    char value[1000] = {0};
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 40; i++) {
        cluster_send(producer, topic, 0, value, 0);
    }
    cluster_commit(producer);
    producer_close(producer);
    broker_close(broker);
}

Test(kafka_producer, a_value_of_16_mib_goes_through)
{
    struct broker *broker = cluster_open();
    char topic[NAME_SIZE], id[NAME_SIZE];
    struct broker_property limit = {.name = "max.message.bytes", .value = "17825792"};
    cluster_topic(broker, topic, 1, &limit, 1);
    cluster_name(id, "id");
    struct producer *producer = cluster_producer(broker, id);
    size_t size = 16 << 20;
    char *large = calloc(1, size);
    memset(large, 'x', size);
    struct broker_output output = {
        .topic = topic_of(producer, topic), .value = {large, size}, .timestamp_ms = -1};
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_OK, "%s", error.text);
    cluster_commit(producer);
    struct consumer *reader = cluster_reader(broker, topic, 0, 0, false);
    struct consumer_event event = cluster_await(reader, CONSUMER_RECORD);
    cr_assert_eq(event.record.value.size, size);
    cr_assert_eq(memcmp(event.record.value.data, large, size), 0);
    consumer_release(reader, &event.record);
    consumer_close(reader);
    free(large);
    producer_close(producer);
    broker_close(broker);
}

Test(kafka_producer, a_transaction_timeout_that_the_broker_refuses_names_its_setting)
{
    struct broker_settings settings = cluster_settings();
    settings.transaction_timeout_ms = 3600000;
    struct broker *broker = cluster_open_with(&settings);
    struct producer *producer = NULL;
    cr_assert_eq(producer_open(broker, "limit", &producer, &error), STATUS_OK);
    enum status status = producer_ready(producer, 10000, &error);
    cr_assert_eq(status, STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_LIMIT);
    cr_assert(strstr(error.text, "transaction.max.timeout.ms") != NULL, "%s", error.text);
    producer_close(producer);
    broker_close(broker);
}

Test(kafka_producer, nobody_there_is_said_in_time_and_with_the_reason)
{
    struct broker_property nobody = {.name = "bootstrap.servers", .value = "127.0.0.1:1"};
    struct broker_settings settings = cluster_settings();
    settings.common = &nobody;
    settings.connect_timeout_ms = 700;
    struct broker *broker = NULL;
    int64_t begin = cluster_now_ms();
    cr_assert_eq(broker_kafka_open(&settings, &broker, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_NO_BROKER);
    cr_assert(strstr(error.text, "127.0.0.1:1") != NULL && strstr(error.text, "refused") != NULL,
              "%s", error.text);
    int64_t took = cluster_now_ms() - begin;
    cr_assert(took >= 600 && took < 3000, "%lld ms", (long long)took);
}

Test(kafka_producer, a_property_that_librdkafka_refuses_is_named_without_a_secret_value)
{
    struct broker_settings settings = cluster_settings();
    struct broker_property bad = {.name = "linger.ms", .value = "canary-value"};
    settings.producer = &bad;
    settings.producer_count = 1;
    struct broker *broker = NULL;
    cr_assert_eq(broker_kafka_open(&settings, &broker, &error), STATUS_BAD_CONFIG);
    cr_assert(strstr(error.text, "broker.producer") != NULL, "%s", error.text);
    cr_assert(strstr(error.text, "linger.ms") != NULL, "%s", error.text);
    bad.secret = true;
    cr_assert_eq(broker_kafka_open(&settings, &broker, &error), STATUS_BAD_CONFIG);
    cr_assert_null(strstr(error.text, "canary"), "%s", error.text);
    settings.producer_count = 0;
    settings.common_count = 0;
    cr_assert_eq(broker_kafka_open(&settings, &broker, &error), STATUS_BAD_CONFIG);
    cr_assert(strstr(error.text, "bootstrap.servers") != NULL, "%s", error.text);
}
