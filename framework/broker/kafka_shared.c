/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_shared.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static bool same_group(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static struct kafka_shared *find(struct broker_kafka *broker, const char *group)
{
    ensure(pthread_mutex_lock(&broker->lock) == 0);
    struct kafka_shared *shared = broker->shared;
    while (shared != NULL && !same_group(shared->group, group)) {
        shared = shared->next;
    }
    ensure(pthread_mutex_unlock(&broker->lock) == 0);
    return shared;
}

static void drop(struct kafka_shared *shared)
{
    kafka_handle_close(&shared->handle);
    free(shared->group);
    free(shared);
}

static enum status make(struct broker_kafka *broker, const char *group, struct kafka_shared **out,
                        struct error *error)
{
    rd_kafka_conf_t *conf = kafka_conf(broker, KAFKA_READER, group != NULL, error);
    if (conf == NULL) {
        return error->status;
    }
    if (group != NULL && kafka_conf_set(conf, "group.id", group, error) != STATUS_OK) {
        rd_kafka_conf_destroy(conf);
        return error->status;
    }
    struct kafka_shared *shared = memory_allocate(sizeof *shared);
    enum status status = kafka_handle_open(&shared->handle, broker, KAFKA_READER, conf, error);
    if (status != STATUS_OK) {
        drop(shared);
        return status;
    }
    shared->group = group == NULL ? NULL : memory_text(group);
    *out = shared;
    return STATUS_OK;
}

enum status kafka_shared_get(struct broker_kafka *broker, const char *group,
                             struct kafka_shared **out, struct error *error)
{
    *out = find(broker, group);
    struct kafka_shared *fresh = NULL;
    enum status status = *out != NULL ? STATUS_OK : make(broker, group, &fresh, error);
    if (fresh == NULL) {
        return status;
    }
    ensure(status == STATUS_OK && fresh->handle.rk != NULL);
    ensure(pthread_mutex_lock(&broker->lock) == 0);
    fresh->next = broker->shared; /* if another thread was quicker, there are two: no harm */
    broker->shared = fresh;
    ensure(pthread_mutex_unlock(&broker->lock) == 0);
    *out = fresh;
    return STATUS_OK;
}

void kafka_shared_close(struct broker_kafka *broker)
{
    while (broker->shared != NULL) {
        struct kafka_shared *next = broker->shared->next;
        ensure(broker->shared->handle.rk != NULL);
        drop(broker->shared);
        broker->shared = next;
    }
}
