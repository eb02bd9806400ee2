/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka of its own: a broker that one test starts, stops and hurts, beside that of the other tests.
 */
#ifndef LEAT_TESTS_KAFKA_OWN_H
#define LEAT_TESTS_KAFKA_OWN_H

#include "broker/broker.h"

struct kafka_own {
    char directory[256], address[32];
    int port;
    struct broker_property servers; /* bootstrap.servers */
};

/** Starts number `number` of this build, empty; `options` for scripts/kafka up, or "". The object
 *  may not move. */
void own_start(struct kafka_own *own, int number, const char *options);
/** scripts/kafka COMMAND of it. */
void own_script(const struct kafka_own *own, const char *command);
/** SIGSTOP returns when every thread of it has stopped. */
void own_signal(const struct kafka_own *own, int number);
void own_stop(const struct kafka_own *own);

#endif
