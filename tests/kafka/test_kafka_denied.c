/* SPDX-License-Identifier: Apache-2.0 */
/* A broker with passwords and permissions: what a user learns who lacks them. */
#include "kafka_cluster.h"
#include "kafka_own.h"

#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct error error;

enum { NUMBER = 8 };

/* Users admin (may do everything) and leat (may do nothing). */
static void start_secured(struct kafka_own *own)
{
    char options[1200];
    int port = LEAT_KAFKA_OWN_PORT + 2 * NUMBER;
    (void)snprintf(
        options, sizeof options,
        "--set listeners=SASL_PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d "
        "--set advertised.listeners=SASL_PLAINTEXT://127.0.0.1:%d "
        "--set listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT "
        "--set sasl.enabled.mechanisms=PLAIN --set sasl.mechanism.inter.broker.protocol=PLAIN "
        "--set security.inter.broker.protocol=SASL_PLAINTEXT "
        "--set 'listener.name.sasl_plaintext.plain.sasl.jaas.config="
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" "
        "password=\"admin-secret\" user_admin=\"admin-secret\" user_leat=\"leat-secret\";' "
        "--set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer "
        "--set 'super.users=User:admin;User:ANONYMOUS'",
        port, port + 1, port);
    own_start(own, NUMBER, options);
}

static enum status open_as(const struct kafka_own *own, const char *user, const char *password,
                           struct broker **broker)
{
    struct broker_property properties[] = {
        own->servers,
        {.name = "security.protocol", .value = "SASL_PLAINTEXT"},
        {.name = "sasl.mechanism", .value = "PLAIN"},
        {.name = "sasl.username", .value = user},
        {.name = "sasl.password", .value = password, .secret = true}};
    struct broker_settings settings = cluster_settings();
    settings.common = properties;
    settings.common_count = sizeof properties / sizeof *properties;
    return broker_kafka_open(&settings, broker, &error);
}

static char lines[65536];

static void keep_line(void *opaque, const char *line)
{
    (void)opaque;
    size_t used = strlen(lines);
    (void)snprintf(lines + used, sizeof lines - used, "%s\n", line);
}

static void must_be_denied(enum status status, const char *word)
{
    cr_assert_eq(status, STATUS_FATAL, "%s: %d %s", word, (int)status, error.text);
    cr_assert_eq(error.code, ERROR_DENIED, "%s", error.text);
    cr_assert(strstr(error.text, word) != NULL, "%s", error.text);
}

Test(kafka_denied, who_may_not_is_told_so_at_once_and_no_password_is_shown)
{
    struct kafka_own own = {0};
    start_secured(&own);
    log_set_sink(keep_line, NULL);
    log_set_debug("all");
    struct broker *broker = NULL, *admin = NULL;
    int64_t begin = cluster_now_ms();
    must_be_denied(open_as(&own, "leat", "canary-password", &broker), "uthentication");
    cr_assert_lt(cluster_now_ms() - begin, 5000);
    cr_assert_null(strstr(error.text, "canary"), "%s", error.text);
    cr_assert_null(strstr(lines, "canary"), "%s", lines);

    cr_assert_eq(open_as(&own, "admin", "admin-secret", &admin), STATUS_OK, "%s", error.text);
    char topic[NAME_SIZE];
    cluster_topic(admin, topic, 1, NULL, 0);
    cr_assert_eq(open_as(&own, "leat", "leat-secret", &broker), STATUS_OK, "%s", error.text);
    struct broker_topic facts;
    must_be_denied(broker_topic_get(broker, topic, &facts, &error), topic);
    must_be_denied(broker_topic_create(broker, "new", 1, 1, NULL, 0, &error), "new");
    struct broker_offset asked = {.topic = topic};
    for (int i = 0; i < 2; i++) { /* librdkafka tells it once */
        must_be_denied(broker_committed_unstable(broker, "group", &asked, 1, 3000, &error),
                       "group group");
    }
    struct producer *producer = NULL;
    cr_assert_eq(producer_open(broker, "word_count/a/0", &producer, &error), STATUS_OK);
    must_be_denied(producer_ready(producer, 10000, &error), "word_count/a/0");
    producer_close(producer);
    struct consumer_options options = {.group = "group"};
    struct consumer *consumer = NULL;
    cr_assert_eq(consumer_open(broker, &options, &consumer, &error), STATUS_OK);
    struct consumer_event event;
    enum status status = STATUS_OK;
    for (begin = cluster_now_ms(); status != STATUS_FATAL && cluster_now_ms() - begin < 10000;) {
        status = consumer_poll(consumer, 100, &event, &error);
    }
    must_be_denied(status, "roup");
    consumer_close(consumer);
    log_set_sink(NULL, NULL);
    broker_close(broker);
    broker_close(admin);
    own_stop(&own);
}
