/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/settings.h"

#include <stdlib.h>

static enum status check_scope(const struct config *config, const char *scope,
                               const struct config_properties *properties, struct error *error)
{
    ensure(properties->count == 0 || properties->items != NULL);
    for (size_t i = 0; i < properties->count; i++) {
        const struct named_value *item = &properties->items[i];
        const char *refusal = kafka_property_refusal(scope, item->name);
        if (refusal == NULL) {
            continue;
        }
        if (item->line == 0) {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "--set: %s: %s", item->path,
                             refusal);
        }
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s:%d: %s: %s", config->file,
                         item->line, item->path, refusal);
    }
    return STATUS_OK;
}

enum status settings_check(const struct config *config, struct error *error)
{
    ensure(config != NULL);
    if (config->broker.kind != CONFIG_BROKER_KAFKA) {
        return STATUS_OK;
    }
    enum status status = check_scope(config, "properties", &config->broker.common, error);
    if (status == STATUS_OK) {
        status = check_scope(config, "consumer", &config->broker.consumer, error);
    }
    if (status == STATUS_OK) {
        status = check_scope(config, "producer", &config->broker.producer, error);
    }
    return status;
}

static struct broker_property *copy_properties(const struct config_properties *properties)
{
    struct broker_property *copy = memory_allocate(properties->count * sizeof *copy);
    for (size_t i = 0; i < properties->count; i++) {
        const struct named_value *item = &properties->items[i];
        ensure(item->value.kind == VALUE_STRING);
        copy[i] = (struct broker_property){item->name, item->value.text, item->secret};
    }
    return copy;
}

enum status settings_open_broker(const struct config *config, struct broker **broker,
                                 struct error *error)
{
    enum status status = settings_check(config, error);
    if (status != STATUS_OK) {
        return status;
    }
    const struct config_broker *given = &config->broker;
    struct broker_property *common = copy_properties(&given->common);
    struct broker_property *consumer = copy_properties(&given->consumer);
    struct broker_property *producer = copy_properties(&given->producer);
    struct broker_settings settings = {
        .directory = given->directory,
        .connect_timeout_ms = given->connect_timeout_ms,
        .session_timeout_ms = given->session_timeout_ms,
        .transaction_timeout_ms = given->transaction_timeout_ms,
        .callback_timeout_ms = config->callback_timeout_ms,
        .prefetch_size = given->prefetch_size,
        .common = common,
        .consumer = consumer,
        .producer = producer,
        .common_count = given->common.count,
        .consumer_count = given->consumer.count,
        .producer_count = given->producer.count,
    };
    ensure(given->kind == CONFIG_BROKER_KAFKA || given->directory != NULL);
    status = given->kind == CONFIG_BROKER_KAFKA ? broker_kafka_open(&settings, broker, error)
                                                : broker_local_open(&settings, broker, error);
    free(common);
    free(consumer);
    free(producer);
    return status;
}
