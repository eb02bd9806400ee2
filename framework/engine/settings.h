/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: from the topology file to the broker: which one, with what properties. Where topology/
 * and broker/, which do not know each other, meet.
 */
#ifndef LEAT_ENGINE_SETTINGS_H
#define LEAT_ENGINE_SETTINGS_H

#include "broker/broker.h"
#include "topology/config.h"

/** Whether every librdkafka property of the file may be set. STATUS_BAD_CONFIG with FILE:LINE, path
 * and the key to use instead. Nothing to check for the local broker. */
enum status settings_check(const struct config *config, struct error *error);
/** settings_check, then broker_local_open or broker_kafka_open, with their errors. */
enum status settings_open_broker(const struct config *config, struct broker **broker,
                                 struct error *error);

#endif
