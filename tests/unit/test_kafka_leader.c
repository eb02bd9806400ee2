/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition whose leader or broker is away, on the mock cluster of librdkafka: an outage, which
 * is answered in a bounded time and asked again, and not a missing topic.
 */
#include "base/clock.h"
#include "broker/broker.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <string.h>

static struct error error;

struct cluster {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *mock;
    struct broker *broker;
    struct broker_property servers;
};

static void begin(struct cluster *cluster)
{
    char text[256];
    cluster->host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    cr_assert_not_null(cluster->host, "%s", text);
    cluster->mock = rd_kafka_mock_cluster_new(cluster->host, 1);
    cr_assert_not_null(cluster->mock);
    cr_assert_eq(rd_kafka_mock_topic_create(cluster->mock, "pair", 2, 1), 0);
    cluster->servers = (struct broker_property){
        .name = "bootstrap.servers", .value = rd_kafka_mock_cluster_bootstraps(cluster->mock)};
    const struct broker_settings settings = {.connect_timeout_ms = 10000,
                                             .session_timeout_ms = 6000,
                                             .transaction_timeout_ms = 10000,
                                             .callback_timeout_ms = 60000,
                                             .prefetch_size = 16 << 20,
                                             .common = &cluster->servers,
                                             .common_count = 1};
    cr_assert_eq(broker_kafka_open(&settings, &cluster->broker, &error), STATUS_OK, "%s",
                 error.text);
}

static void end(struct cluster *cluster)
{
    broker_close(cluster->broker);
    rd_kafka_mock_cluster_destroy(cluster->mock);
    rd_kafka_destroy(cluster->host);
}

static enum status range(const struct cluster *cluster, int32_t partition)
{
    int64_t first = -1;
    int64_t next = -1;
    return broker_log_range(cluster->broker, "pair", partition, &first, &next, &error);
}

Test(kafka_leader, a_partition_without_a_leader_is_asked_again)
{
    struct cluster cluster = {0};
    begin(&cluster);
    cr_assert_eq(range(&cluster, 1), STATUS_OK, "%s", error.text);
    cr_assert_eq(rd_kafka_mock_partition_set_leader(cluster.mock, "pair", 1, -1), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(range(&cluster, 1), STATUS_RETRY, "%d: %s", error.status, error.text);
    }
    cr_assert_eq(rd_kafka_mock_partition_set_leader(cluster.mock, "pair", 1, 1), 0);
    enum status status = STATUS_RETRY;
    for (int i = 0; i < 100 && status == STATUS_RETRY; i++) {
        status = range(&cluster, 1);
    }
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    end(&cluster);
}

Test(kafka_leader, a_range_of_a_broker_that_hangs_is_given_up_in_time)
{
    struct cluster cluster = {0};
    begin(&cluster);
    cr_assert_eq(range(&cluster, 0), STATUS_OK, "%s", error.text);
    cr_assert_eq(rd_kafka_mock_broker_set_down(cluster.mock, 1), 0);
    int64_t began_ms = clock_monotonic_ms(clock_system());
    cr_assert_eq(range(&cluster, 0), STATUS_RETRY, "%d: %s", error.status, error.text);
    cr_assert_lt(clock_monotonic_ms(clock_system()) - began_ms, 20000);
    cr_assert_eq(rd_kafka_mock_broker_set_up(cluster.mock, 1), 0);
    end(&cluster);
}

Test(kafka_leader, a_partition_that_is_not_there_is_missing)
{
    struct cluster cluster = {0};
    begin(&cluster);
    cr_assert_eq(range(&cluster, 7), STATUS_FATAL, "%s", error.text);
    cr_assert_eq(error.code, ERROR_NO_TOPIC);
    cr_assert(strstr(error.text, "pair") != NULL, "%s", error.text);
    end(&cluster);
}
