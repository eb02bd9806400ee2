/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka shared: handles that the whole process shares, for questions only, each made by who needs
 * it first and closed with the broker. Any thread.
 */
#ifndef LEAT_BROKER_KAFKA_SHARED_H
#define LEAT_BROKER_KAFKA_SHARED_H

#include "broker/kafka_handle.h"

struct kafka_shared {
    struct kafka_shared *next;
    char *group; /* or NULL */
    struct kafka_handle handle;
    atomic_bool refused; /* the group was, since it last answered: librdkafka tells that once */
};

/** `group` NULL: the handle that sees committed records only; else one that sees all, has this
 *  group.id, and never joins the group. Lives until kafka_shared_close. */
enum status kafka_shared_get(struct broker_kafka *broker, const char *group,
                             struct kafka_shared **out, struct error *error);
void kafka_shared_close(struct broker_kafka *broker);

#endif
