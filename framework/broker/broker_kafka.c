/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker Kafka: opening and closing; everything else is in the kafka_*.c units.
 *
 * One probe handle a process (read_uncommitted, no group, never creates a topic) asks and
 * administrates; a consumer and a producer have their own handles. Invariants: the probe lives as
 * long as the broker; what `lock` guards is named in kafka_handle.h; no librdkafka call is made
 * while it is held.
 */
#include "base/clock.h"
#include "base/log.h"
#include "broker/kafka_error.h"
#include "broker/kafka_handle.h"
#include "broker/kafka_shared.h"

#include <stdlib.h>
#include <string.h>

static void copy_properties(struct kafka_property_list *to, const struct broker_property *from,
                            size_t count)
{
    ensure(count == 0 || from != NULL);
    to->items = count == 0 ? NULL : memory_allocate(count * sizeof *to->items);
    to->count = count;
    for (size_t i = 0; i < count; i++) {
        to->items[i] = (struct broker_property){.name = memory_text(from[i].name),
                                                .value = memory_text(from[i].value),
                                                .secret = from[i].secret};
        if (from[i].secret) {
            log_redact(from[i].value);
        }
    }
}

static void drop_properties(struct kafka_property_list *list)
{
    ensure(list->count == 0 || list->items != NULL);
    for (size_t i = 0; i < list->count; i++) {
        char *value = (char *)(uintptr_t)list->items[i].value;
        explicit_bzero(value, strlen(value));
        free(value);
        free((char *)(uintptr_t)list->items[i].name);
    }
    free(list->items);
}

static void kafka_close(struct broker *base)
{
    struct broker_kafka *broker = (struct broker_kafka *)base;
    kafka_shared_close(broker);
    kafka_handle_close(&broker->probe);
    while (broker->limits != NULL) {
        struct kafka_limits *next = broker->limits->next;
        free(broker->limits->name);
        free(broker->limits);
        broker->limits = next;
    }
    drop_properties(&broker->common);
    drop_properties(&broker->consumer);
    drop_properties(&broker->producer);
    ensure(pthread_mutex_destroy(&broker->lock) == 0);
    free(broker);
}

static const struct broker_ops kafka_ops = {
    .close = kafka_close,
    .topic_get = kafka_topic_get,
    .topic_list = kafka_topic_list,
    .topic_create = kafka_topic_create,
    .topic_delete = kafka_topic_delete,
    .log_range = kafka_log_range,
    .delete_records = kafka_delete_records,
    .committed_unstable = kafka_committed_unstable,
    .blocking_header = kafka_blocking_header,
    .take_over = kafka_take_over,
    .consumer_open = kafka_consumer_open,
    .producer_open = kafka_producer_open,
};

static const char *bootstrap_servers(const struct broker_kafka *broker)
{
    ensure(broker->common.count == 0 || broker->common.items != NULL);
    for (size_t i = 0; i < broker->common.count; i++) {
        if (strcmp(broker->common.items[i].name, "bootstrap.servers") == 0 ||
            strcmp(broker->common.items[i].name, "metadata.broker.list") == 0) {
            return broker->common.items[i].value;
        }
    }
    return NULL;
}

/* Asks for metadata until somebody answers; says what librdkafka complained about last if none
 * does. */
static enum status wait_connected(struct broker_kafka *broker, struct error *error)
{
    ensure(broker->probe.rk != NULL && bootstrap_servers(broker) != NULL);
    int64_t end = clock_monotonic_ms(clock_system()) + broker->connect_timeout_ms;
    for (;;) {
        int64_t rest = end - clock_monotonic_ms(clock_system());
        int64_t slice = rest < 500 ? rest : 500;
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(broker->probe.rk, 0, NULL, &metadata,
                                                     kafka_timeout(slice < 1 ? 1 : slice));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            return STATUS_OK;
        }
        ensure(pthread_mutex_lock(&broker->lock) == 0);
        bool denied = broker->denied;
        char trouble[sizeof broker->trouble];
        memcpy(trouble, broker->trouble, sizeof trouble);
        ensure(pthread_mutex_unlock(&broker->lock) == 0);
        if (denied || rest <= 0) {
            return error_set(error, STATUS_FATAL, denied ? ERROR_DENIED : ERROR_NO_BROKER,
                             "no broker answers at %s within %lld ms%s%s",
                             bootstrap_servers(broker), (long long)broker->connect_timeout_ms,
                             *trouble == 0 ? "" : ": ", trouble);
        }
        /* A refused connection answers at once. */
        clock_sleep_ms(clock_system(), code == RD_KAFKA_RESP_ERR__TIMED_OUT ? 0 : 100);
    }
}

static enum status open_probe(struct broker_kafka *broker, struct error *error)
{
    ensure(broker->probe.rk == NULL);
    if (bootstrap_servers(broker) == NULL) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "broker.properties lacks \"bootstrap.servers\" (HOST:PORT[,...])");
    }
    /* Every role once: a bad property shows here and not in the middle of a run. */
    for (int role = KAFKA_PROBE; role <= KAFKA_PRODUCER; role++) {
        rd_kafka_conf_t *conf = kafka_conf(broker, (enum kafka_role)role, false, error);
        if (conf == NULL) {
            return error->status;
        }
        if (role != KAFKA_PROBE) {
            rd_kafka_conf_destroy(conf);
            continue;
        }
        if (kafka_handle_open(&broker->probe, broker, KAFKA_PROBE, conf, error) != STATUS_OK) {
            return error->status;
        }
    }
    ensure(broker->probe.rk != NULL);
    return wait_connected(broker, error);
}

enum status broker_kafka_open(const struct broker_settings *settings, struct broker **out,
                              struct error *error)
{
    ensure(settings != NULL && out != NULL && error != NULL);
    struct broker_kafka *broker = memory_allocate(sizeof *broker);
    broker->base.ops = &kafka_ops;
    broker->connect_timeout_ms = settings->connect_timeout_ms;
    broker->session_timeout_ms = settings->session_timeout_ms;
    broker->transaction_timeout_ms = settings->transaction_timeout_ms;
    broker->callback_timeout_ms = settings->callback_timeout_ms;
    broker->prefetch_size = settings->prefetch_size;
    ensure(pthread_mutex_init(&broker->lock, NULL) == 0);
    copy_properties(&broker->common, settings->common, settings->common_count);
    copy_properties(&broker->consumer, settings->consumer, settings->consumer_count);
    copy_properties(&broker->producer, settings->producer, settings->producer_count);
    enum status status = open_probe(broker, error);
    if (status != STATUS_OK) {
        kafka_close(&broker->base);
        return status;
    }
    *out = &broker->base;
    return STATUS_OK;
}
