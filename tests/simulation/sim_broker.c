/* SPDX-License-Identifier: Apache-2.0 */
/* Handles of processes, administration, and what every request shares. */
#include "sim_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The cluster ---- */

static void compact_any(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim *sim = cluster->sim;
    if (cluster->faults.compact_ms == 0) {
        return;
    }
    for (size_t i = 0; number > 0 && i < cluster->topic_count; i++) {
        if (cluster->topics[i]->facts.compacted && sim_chance(sim, 5000)) {
            const char *name = cluster->topics[i]->name;
            if (cluster->faults.tombstone_ms > 0) {
                sim_compact_aged(cluster, name, cluster->faults.tombstone_ms);
            } else {
                sim_compact(cluster, name, true);
            }
        }
    }
    sim_at(sim, sim_now_us(sim) + sim_between(sim, 1, 2 * cluster->faults.compact_ms * 1000),
           compact_any, cluster, 1);
}

struct sim_cluster *sim_cluster_create(struct sim *sim, const struct sim_faults *faults)
{
    struct sim_cluster *cluster = memory_allocate(sizeof *cluster);
    cluster->sim = sim;
    if (faults != NULL) {
        cluster->faults = *faults;
    }
    sim_at(sim, sim_now_us(sim), sim_transaction_scan, cluster, 0);
    if (cluster->faults.fence_ms > 0) {
        sim_at(sim, sim_now_us(sim) + cluster->faults.fence_ms * 1000, sim_transaction_fence_any,
               cluster, 0);
    }
    sim_at(sim, sim_now_us(sim), compact_any, cluster, 0);
    sim_at(sim, sim_now_us(sim), sim_cut_any, cluster, 0);
    return cluster;
}

void sim_cluster_destroy(struct sim_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    ensure(cluster->client_count == 0);
    for (size_t i = 0; i < cluster->topic_count; i++) {
        sim_topic_free(cluster->topics[i]);
    }
    for (size_t i = 0; i < cluster->transaction_count; i++) {
        free(cluster->transactions[i]->places);
        free(cluster->transactions[i]);
    }
    for (size_t i = 0; i < cluster->group_count; i++) {
        sim_group_free(cluster->groups[i]);
    }
    free(cluster->topics);
    free(cluster->transactions);
    free(cluster->groups);
    free(cluster->clients);
    free(cluster);
}

void sim_cluster_heal(struct sim_cluster *cluster)
{
    bool unverified = cluster->faults.unverified;
    int64_t scan_ms = cluster->faults.scan_ms;
    cluster->faults = (struct sim_faults){.unverified = unverified, .scan_ms = scan_ms};
}

const struct sim_statistics *sim_cluster_statistics(const struct sim_cluster *cluster)
{
    return &cluster->statistics;
}

/* ---- Clients ---- */

void sim_client_add(struct sim_client *client, enum client_kind kind, struct sim_handle *handle)
{
    struct sim_cluster *cluster = handle->cluster;
    client->kind = kind;
    client->number = ++cluster->client_number;
    client->handle = handle;
    client->cluster = cluster;
    client->sim = cluster->sim;
    client->fiber = sim_current(cluster->sim);
    cluster->clients =
        memory_resize(cluster->clients, (cluster->client_count + 1) * sizeof(struct sim_client *));
    cluster->clients[cluster->client_count++] = client;
}

void sim_client_remove(struct sim_client *client)
{
    struct sim_cluster *cluster = client->cluster;
    for (size_t i = 0; i < cluster->client_count; i++) {
        if (cluster->clients[i] == client) {
            memmove(&cluster->clients[i], &cluster->clients[i + 1],
                    (cluster->client_count - i - 1) * sizeof(struct sim_client *));
            cluster->client_count--;
            return;
        }
    }
    ensure(false && "a client that is not in the list");
}

struct sim_client *sim_client_find(struct sim_cluster *cluster, uint64_t number)
{
    for (size_t i = 0; i < cluster->client_count; i++) {
        if (cluster->clients[i]->number == number) {
            return cluster->clients[i];
        }
    }
    return NULL;
}

/* ---- Requests ---- */

void sim_enter(struct sim_cluster *cluster, const char *call)
{
    sim_trace(cluster->sim, (uint64_t)call[0] << 8 | (uint64_t)call[1]);
    sim_point_in(cluster->sim, call);
}

int64_t sim_latency_us(struct sim_cluster *cluster)
{
    return sim_between(cluster->sim, 200, 1500);
}

enum sim_cut sim_cut_of(const struct sim_handle *handle)
{
    bool cut = handle->cluster->faults.cut_ms > 0 &&
               sim_now_us(handle->cluster->sim) < handle->cut_until_us;
    return cut ? handle->cut : CUT_NOTHING;
}

static void cut_client(const struct sim_client *client, enum sim_cut cut, int64_t us)
{
    static const char *const names[] = {"", "out", "in", "both"};
    client->handle->cut = cut;
    client->handle->cut_until_us = sim_now_us(client->sim) + us;
    sim_note(client->sim, "---- the network of %s is cut (%s) for %lld ms",
             client->fiber == NULL ? "a process" : sim_fiber_name(client->fiber), names[cut],
             (long long)us / 1000);
}

void sim_cut_any(void *subject, uint64_t number)
{
    struct sim_cluster *cluster = subject;
    struct sim *sim = cluster->sim;
    if (cluster->faults.cut_ms == 0) {
        return;
    }
    enum sim_cut cut = (enum sim_cut)sim_between(sim, CUT_OUT, CUT_BOTH);
    int64_t us = sim_between(sim, 50, sim_chance(sim, 5000) ? 800 : 9000) * 1000;
    bool all = sim_chance(sim, 1000);
    size_t only = (size_t)sim_below(sim, cluster->client_count + 1);
    for (size_t i = 0; number > 0 && i < cluster->client_count; i++) {
        if (all || i == only) {
            cut_client(cluster->clients[i], cut, us);
            cluster->statistics.cuts++;
        }
    }
    sim_at(sim, sim_now_us(sim) + sim_between(sim, 1, 2 * cluster->faults.cut_ms * 1000),
           sim_cut_any, cluster, 1);
}

enum fate sim_fate(const struct sim_handle *handle)
{
    struct sim_cluster *cluster = handle->cluster;
    enum sim_cut cut = sim_cut_of(handle);
    if (cut != CUT_NOTHING) {
        cluster->statistics.broken++;
        return cut == CUT_IN ? FATE_UNANSWERED : FATE_LOST;
    }
    if (sim_chance(cluster->sim, cluster->faults.broken)) {
        cluster->statistics.broken++;
        return (enum fate)(FATE_LOST + (int)sim_below(cluster->sim, 3));
    }
    return sim_chance(cluster->sim, cluster->faults.slow) ? FATE_SLOW : FATE_FINE;
}

int64_t sim_arrival_us(struct sim_cluster *cluster, enum fate fate)
{
    int64_t late_ms = cluster->faults.late_ms > 0 ? cluster->faults.late_ms : 1000;
    switch (fate) {
    case FATE_SLOW:
        return sim_between(cluster->sim, 200, 3000) * 1000;
    case FATE_LATE:
        return sim_between(cluster->sim, 1, late_ms) * 1000;
    case FATE_FINE:
    case FATE_LOST:
    case FATE_UNANSWERED:
        break;
    }
    return sim_latency_us(cluster);
}

enum status sim_request(const struct sim_handle *handle, const char *call, struct error *error)
{
    struct sim_cluster *cluster = handle->cluster;
    sim_enter(cluster, call);
    enum fate fate = sim_fate(handle);
    sim_wait_us(cluster->sim, sim_arrival_us(cluster, fate));
    sim_point(cluster->sim);
    if (fate == FATE_FINE || fate == FATE_SLOW) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "%s: no answer", call);
}

/* ---- Administration ---- */

static struct sim_handle *handle_of(struct broker *broker)
{
    return (struct sim_handle *)(void *)broker;
}

static struct sim_cluster *cluster_of(struct broker *broker)
{
    return handle_of(broker)->cluster;
}

static enum status get_topic(struct broker *broker, const char *name, struct broker_topic *facts,
                             struct error *error)
{
    enum status status = sim_request(handle_of(broker), "topic_get", error);
    if (status != STATUS_OK) {
        return status;
    }
    struct sim_topic *topic = sim_topic_find(cluster_of(broker), name);
    if (topic == NULL) {
        return STATUS_NOT_FOUND;
    }
    *facts = topic->facts;
    return STATUS_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status list_topics(struct broker *broker, char ***names, size_t *count,
                               struct error *error)
{
    struct sim_cluster *cluster = cluster_of(broker);
    enum status status = sim_request(handle_of(broker), "topic_list", error);
    if (status != STATUS_OK) {
        return status;
    }
    *count = cluster->topic_count;
    *names = memory_allocate((*count + 1) * sizeof **names);
    for (size_t i = 0; i < *count; i++) {
        (*names)[i] = memory_text(cluster->topics[i]->name);
    }
    qsort(*names, *count, sizeof **names, by_text);
    return STATUS_OK;
}

static enum status create_topic(struct broker *broker, const char *name, int32_t partitions,
                                int32_t replication, const struct broker_property *properties,
                                size_t count, struct error *error)
{
    (void)replication;
    struct sim_cluster *cluster = cluster_of(broker);
    enum status status = sim_request(handle_of(broker), "topic_create", error);
    if (status != STATUS_OK) {
        return status;
    }
    if (sim_topic_find(cluster, name) != NULL) {
        return error_set(error, STATUS_FATAL, ERROR_TOPIC_EXISTS, "topic %s exists", name);
    }
    struct sim_topic *topic = sim_topic_add(cluster, name, partitions, false);
    for (size_t i = 0; i < count; i++) {
        const char *value = properties[i].value;
        if (strcmp(properties[i].name, "cleanup.policy") == 0) {
            topic->facts.compacted = strstr(value, "compact") != NULL;
            topic->facts.deleted = strstr(value, "delete") != NULL;
        } else if (strcmp(properties[i].name, "max.message.bytes") == 0) {
            topic->facts.max_message_size = strtoll(value, NULL, 10);
        } else if (strcmp(properties[i].name, "retention.ms") == 0) {
            topic->facts.retention_ms = strtoll(value, NULL, 10);
        } else if (strcmp(properties[i].name, "delete.retention.ms") == 0) {
            topic->facts.delete_retention_ms = strtoll(value, NULL, 10);
        }
    }
    return STATUS_OK;
}

static enum status delete_topic(struct broker *broker, const char *name, struct error *error)
{
    struct sim_cluster *cluster = cluster_of(broker);
    enum status status = sim_request(handle_of(broker), "topic_delete", error);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < cluster->topic_count; i++) {
        if (strcmp(cluster->topics[i]->name, name) == 0) {
            sim_topic_free(cluster->topics[i]);
            cluster->topics[i] = cluster->topics[--cluster->topic_count];
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

static enum status find_log(struct broker *broker, const char *call, const char *topic,
                            int32_t partition, struct sim_partition **log, struct error *error)
{
    enum status status = sim_request(handle_of(broker), call, error);
    if (status != STATUS_OK) {
        return status;
    }
    *log = sim_partition_find(cluster_of(broker), topic, partition);
    if (*log == NULL) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "no partition %s/%d", topic,
                         (int)partition);
    }
    return STATUS_OK;
}

static enum status get_range(struct broker *broker, const char *topic, int32_t partition,
                             int64_t *start, int64_t *end, struct error *error)
{
    struct sim_partition *log;
    enum status status = find_log(broker, "log_range", topic, partition, &log, error);
    if (status != STATUS_OK) {
        return status;
    }
    *start = log->start;
    *end = log->end;
    sim_wait_us(cluster_of(broker)->sim, sim_latency_us(cluster_of(broker)));
    sim_point(cluster_of(broker)->sim);
    return STATUS_OK;
}

static enum status remove_records(struct broker *broker, const char *topic, int32_t partition,
                                  int64_t before, struct error *error)
{
    struct sim_partition *log;
    enum status status = find_log(broker, "delete_records", topic, partition, &log, error);
    if (status == STATUS_OK) {
        sim_retain(cluster_of(broker), topic, partition, before);
    }
    return status;
}

static enum status get_unstable(struct broker *broker, const char *group,
                                struct broker_offset *offsets, size_t count, int64_t timeout_ms,
                                struct error *error)
{
    (void)timeout_ms;
    struct sim_cluster *cluster = cluster_of(broker);
    enum status status = sim_request(handle_of(broker), "committed_unstable", error);
    if (status != STATUS_OK) {
        return status;
    }
    struct sim_group *found = sim_group_get(cluster, group);
    for (size_t i = 0; i < count; i++) {
        struct sim_offset *place =
            sim_group_offset_get(found, offsets[i].topic, offsets[i].partition);
        offsets[i].offset = place->offset;
        memcpy(offsets[i].metadata, place->metadata, sizeof offsets[i].metadata);
    }
    return STATUS_OK;
}

static enum status get_blocking_header(struct broker *broker, const char *topic, int32_t partition,
                                       const char *header, char *value, size_t value_size,
                                       struct error *error)
{
    struct sim_partition *log;
    enum status status = find_log(broker, "blocking_header", topic, partition, &log, error);
    if (status != STATUS_OK) {
        return status;
    }
    int64_t stable = sim_partition_stable(log);
    size_t at = sim_partition_index(log, stable);
    if (stable == log->end || at >= log->count) {
        return STATUS_NOT_FOUND;
    }
    const struct sim_record *record = log->records[at];
    for (uint32_t i = 0; i < record->header_count; i++) {
        if (strcmp(record->headers[i].name, header) == 0) {
            snprintf(value, value_size, "%.*s", (int)record->headers[i].value.size,
                     (const char *)record->headers[i].value.data);
            sim_wait_us(cluster_of(broker)->sim, sim_latency_us(cluster_of(broker)));
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

/* K1 of the engine's takeover.c: whoever ends a transaction owns its assignment, and the
 * transaction is not its own. */
static void check_take_over(struct sim_handle *handle, const char *transactional_id)
{
    struct sim_cluster *cluster = handle->cluster;
    const struct sim_fiber *fiber = sim_current(cluster->sim);
    for (size_t i = 0; fiber != NULL && i < cluster->client_count; i++) {
        struct sim_client *client = cluster->clients[i];
        if (client->handle == handle && client->fiber == fiber) {
            ensure(client->kind == CLIENT_CONSUMER ? sim_consumer_may_take_over(client)
                                                   : !sim_producer_is(client, transactional_id));
        }
    }
}

static enum status fence_other(struct broker *broker, const char *transactional_id,
                               struct error *error)
{
    struct sim_cluster *cluster = cluster_of(broker);
    check_take_over(handle_of(broker), transactional_id);
    cluster->statistics.takeovers++;
    sim_note(cluster->sim, "takes over %s", transactional_id);
    int64_t deadline_us = sim_now_us(cluster->sim) + 1000000;
    enum status status = sim_request(handle_of(broker), "take_over", error);
    while (status == STATUS_OK) {
        int32_t epoch = 0;
        struct sim_transaction *transaction = sim_transaction_get(cluster, transactional_id);
        if (sim_transaction_init(transaction, 0, &epoch) == ANSWER_OK) {
            sim_touch(cluster->sim);
            return STATUS_OK;
        }
        if (sim_now_us(cluster->sim) + 500000 > deadline_us) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT, "taking over %s: no answer yet",
                             transactional_id);
        }
        sim_wait_us(cluster->sim, 500000); /* librdkafka's pause after CONCURRENT_TRANSACTIONS */
        sim_point(cluster->sim);
    }
    return status;
}

static void close_handle(struct broker *broker)
{
    struct sim_handle *handle = (struct sim_handle *)(void *)broker;
    for (size_t i = 0; i < handle->cluster->client_count; i++) {
        ensure(handle->cluster->clients[i]->handle != handle);
    }
    free(handle);
}

static const struct broker_ops operations = {
    .close = close_handle,
    .topic_get = get_topic,
    .topic_list = list_topics,
    .topic_create = create_topic,
    .topic_delete = delete_topic,
    .log_range = get_range,
    .delete_records = remove_records,
    .committed_unstable = get_unstable,
    .blocking_header = get_blocking_header,
    .take_over = fence_other,
    .consumer_open = sim_consumer_open,
    .producer_open = sim_producer_open,
};

struct broker *sim_broker_open(struct sim_cluster *cluster, const struct broker_settings *settings)
{
    struct sim_handle *handle = memory_allocate(sizeof *handle);
    handle->broker.ops = &operations;
    handle->broker.commit_gap_us = sim_chance(cluster->sim, 5000) ? 5000 : 0;
    handle->cluster = cluster;
    handle->session_us = settings->session_timeout_ms * 1000;
    handle->transaction_us = settings->transaction_timeout_ms * 1000;
    handle->callback_us = settings->callback_timeout_ms * 1000;
    ensure(handle->session_us > 0 && handle->transaction_us > 0 && handle->callback_us > 0);
    return &handle->broker;
}

void sim_broker_drop(struct broker *broker)
{
    if (broker == NULL) {
        return;
    }
    struct sim_handle *handle = (struct sim_handle *)(void *)broker;
    struct sim_cluster *cluster = handle->cluster;
    for (size_t i = cluster->client_count; i-- > 0;) {
        struct sim_client *client = cluster->clients[i];
        if (client->handle != handle) {
            continue;
        }
        if (client->kind == CLIENT_CONSUMER) {
            sim_consumer_drop(client);
        } else {
            sim_producer_drop(client);
        }
    }
    free(handle);
}
